"""What tests and the demo ask and tell a simulator: the routes under /_sim. Added by the chassis to the department's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from hub.testing.faults import FaultKind, FaultOrder
from hub.testing.scripts import Script, ScriptOrder, parse_script
from hub.testing.store import iso

if TYPE_CHECKING:
    from hub.testing.simulator import Simulator


class CallbackTarget(BaseModel):
    """Body of `PUT /_sim/callback`."""

    model_config = ConfigDict(extra="forbid")

    url: str


class Control:
    """The routes. See docs/plugins/reference.md."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def add_to(self, app: FastAPI) -> None:
        """Add them."""
        app.get("/_sim/tickets")(self.tickets)
        app.get("/_sim/state")(self.state)
        app.get("/_sim/files")(self.files)
        app.get("/_sim/requests")(self.requests)
        app.delete("/_sim/requests")(self.forget_requests)
        app.get("/_sim/faults")(self.list_faults)
        app.post("/_sim/faults")(self.set_fault)
        app.delete("/_sim/faults")(self.clear_faults)
        app.get("/_sim/script")(self.show_script)
        app.post("/_sim/script", response_model=None)(self.play_script)
        app.delete("/_sim/script")(self.end_script)
        app.put("/_sim/callback")(self.set_callback)

    async def tickets(self) -> dict[str, Any]:
        """What was filed from outside; records the department made itself have no key and are not listed."""
        return {
            "tickets": [
                {
                    "ticket": item.ticket,
                    "key": item.key,
                    "unit": item.unit,
                    "state": item.state,
                    "created_at": iso(item.created_at),
                }
                for item in self._simulator.listed()
                if item.key is not None
            ]
        }

    async def state(self) -> dict[str, Any]:
        """How much there is."""
        simulator = self._simulator
        steps = simulator.store.db.execute("SELECT COUNT(*) FROM steps").fetchone()[0]
        return {"tickets": len(simulator.listed()), "planned_steps": steps, "unsent_callbacks": simulator.unsent()}

    async def files(self) -> dict[str, Any]:
        """What its people attached to tickets."""
        return {
            "files": [
                {"id": file.id, "ticket": file.ticket, "name": file.name, "media_type": file.media_type, "sha256": file.sha256}
                for file in self._simulator.kept_files()
            ]
        }

    async def requests(self, since: int = 0) -> dict[str, Any]:
        """The recorded requests after number `since`."""
        return self._simulator.recorder.since(since)

    async def forget_requests(self) -> dict[str, Any]:
        """Forget them."""
        self._simulator.recorder.forget()
        return self._simulator.recorder.since()

    async def list_faults(self) -> dict[str, Any]:
        """The faults set."""
        return {"faults": self._simulator.faults.listed()}

    async def set_fault(self, order: FaultOrder) -> dict[str, Any]:
        """Set one."""
        if order.kind is FaultKind.OUTAGE and order.seconds is None:
            order = order.model_copy(update={"seconds": 30.0})
        self._simulator.faults.order(order)
        return await self.list_faults()

    async def clear_faults(self) -> dict[str, Any]:
        """Neither faults nor a script any more."""
        self._simulator.faults.clear()
        self._simulator.script = Script()
        return await self.list_faults()

    async def show_script(self) -> dict[str, Any]:
        """The steps that are left."""
        return {"left": self._simulator.script.left()}

    async def play_script(self, order: ScriptOrder) -> dict[str, Any] | JSONResponse:
        """Play a script from its beginning, instead of the one there is."""
        try:
            self._simulator.script = Script(parse_script(order.script), order.only)
        except ValueError as error:
            return JSONResponse({"reason": str(error)}, status_code=422)
        return await self.show_script()

    async def end_script(self) -> dict[str, Any]:
        """No script any more."""
        self._simulator.script = Script()
        return await self.show_script()

    async def set_callback(self, target: CallbackTarget) -> dict[str, Any]:
        """Where callbacks go from now on; kept over a restart."""
        simulator = self._simulator
        simulator.callbacks.url = target.url.rstrip("/")
        simulator.store.set_note("callback_url", simulator.callbacks.url)
        await simulator.store.durable()
        simulator.callbacks.wake()
        return {"url": simulator.callbacks.url}
