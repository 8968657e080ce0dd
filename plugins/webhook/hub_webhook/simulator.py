"""A department with a webhook endpoint for tests and demos: `python -m hub_webhook.simulator --port 0 --data DIR`.

Its endpoint checks signatures as Standard Webhooks says, does nothing twice for one id, and calls back in the default form. It refuses an
assignment whose title contains 不予受理.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from hub.testing.callbacks import Sign
from hub.testing.simulator import Simulator, Step, Ticket, iso
from hub.testing.tracing import note_case
from hub.webhooks import SignatureRejected, Signer, Verifier

_NEXT = {"accepted": ("progressed", 1.0), "progressed": ("resolved", 1.5)}
_STANDINGS = {
    "received": "filed",
    "accepted": "accepted",
    "progressed": "accepted",
    "resolved": "resolved",
    "returned": "returned",
    "recalled": "recalled",
}
_CATALOGUE = {"LH01": "树木修剪", "LH02": "绿地养护", "LH03": "设施维修"}
_PAGE = 100
_NOTES = {"accepted": "已接单", "progressed": "正在现场处置", "resolved": "已处理完毕", "returned": "不属于本单位职责"}


def secret_of(text: str) -> str:
    """The webhook secret that stands for any shared text; one that is one already stays."""
    if text.startswith("whsec_"):
        return text
    return f"whsec_{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def adapter_settings(url: str, secret: str) -> dict[str, object]:
    """Adapter settings that match a running simulator on this machine."""
    return {
        "url": f"{url}/events",
        "secret": secret_of(secret),
        "answers": {"ticket_required": True},
        "lookup_url": f"{url}/orders?key={{key}}",
        "health_url": f"{url}/status",
        "audit": {"url": f"{url}/audit?after={{cursor}}", "states": dict(_STANDINGS)},
        "catalogue": {"url": f"{url}/catalogue"},
        "plain_http": True,
        "private_networks": ["127.0.0.0/8"],
    }


class WebhookSimulator(Simulator):
    """Simulated department with a webhook endpoint."""

    department: ClassVar[str] = "webhook"
    prefix: ClassVar[str] = "WH"

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._verifier = Verifier([secret_of(arguments.callback_secret)])
        super().__init__(arguments)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Its own options."""
        parser.add_argument("--returns", type=float, default=0.0, help="share of assignments given back 退单")

    def signer(self, secret: str) -> Sign:
        """Callbacks are signed with the same secret."""
        signer = Signer([secret_of(secret)])
        return lambda id, timestamp, body: signer.headers(id, body, now=timestamp)

    def files(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Only events file something."""
        return method == "POST" and path == "/events"

    def routes(self, app: FastAPI) -> None:
        """The endpoint, a way to ask for one's orders, and whether it is there; `GET /_sim/events` lists what came."""
        app.post("/events")(self.event)
        app.get("/orders")(self.order)
        app.get("/status")(self.status)
        app.get("/audit")(self.audit)
        app.get("/catalogue")(self.catalogue)
        app.get("/_sim/events")(self.events)

    async def event(self, request: Request) -> JSONResponse:
        """One event; the same id again is answered as before and does nothing."""
        body = await request.body()
        id = self._checked(request, body)
        if id is None:
            return JSONResponse({"reason": "签名无效"}, status_code=401)
        known = self.store.note(f"event.{id}")
        if known is not None:
            return _answer(json.loads(known))
        try:
            given = json.loads(body)
            status, answer = self._take(str(given["type"]), given["data"])
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"reason": "请求格式错误"}, status_code=400)
        self.store.set_note(f"event.{id}", json.dumps([status, answer]))
        await self.store.durable()
        return _answer([status, answer])

    async def order(self, request: Request, key: str) -> JSONResponse:
        """What is filed under a key of the hub."""
        if self._checked(request, b"") is None:
            return JSONResponse({"reason": "签名无效"}, status_code=401)
        note_case(key.partition(".")[0])
        found = self.store.ticket_of_key(key)
        return JSONResponse({"reason": "没有该工单"}, status_code=404) if found is None else JSONResponse(_standing(found))

    async def status(self, request: Request) -> JSONResponse:
        """It is there, and knows who asks or not."""
        known = self._checked(request, b"") is not None
        return JSONResponse({"status": "ok" if known else "unknown caller"}, status_code=200 if known else 401)

    async def audit(self, request: Request, after: str = "") -> JSONResponse:
        """How all orders stand, a page at a time."""
        if self._checked(request, b"") is None:
            return JSONResponse({"reason": "签名无效"}, status_code=401)
        start = int(after) if after.isdigit() else 0
        known = [ticket for ticket in self.store.tickets() if ticket.key is not None]
        page = {"items": [_standing(ticket) for ticket in known[start : start + _PAGE]]}
        return JSONResponse(page | ({"next": start + _PAGE} if len(known) > start + _PAGE else {}))

    async def catalogue(self, request: Request) -> JSONResponse:
        """What it deals with."""
        if self._checked(request, b"") is None:
            return JSONResponse({"reason": "签名无效"}, status_code=401)
        return JSONResponse({"items": [{"code": code, "name": name} for code, name in _CATALOGUE.items()]})

    async def events(self) -> dict[str, Any]:
        """The ids of all events that were taken, in order."""
        rows = self.store.db.execute("SELECT name FROM notes WHERE name LIKE 'event.%' ORDER BY rowid").fetchall()
        return {"events": [row[0].removeprefix("event.") for row in rows]}

    def _checked(self, request: Request, body: bytes) -> str | None:
        """The id of a request whose signature holds."""
        try:
            return self._verifier.verify(request.headers, body, now=time.time())
        except SignatureRejected:
            return None

    def _take(self, kind: str, data: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        key = str(data["key"])
        found = self.store.ticket_of_key(key)
        if kind == "assignment.made":
            if "不予受理" in str(data["title"]):
                return 422, {"reason": "不属于本单位受理范围"}
            return 200, _standing(self.file(key=key, unit=str(data["unit"]), body=dict(data)))
        if found is None:
            return 404, {"reason": "没有该工单"}
        if kind == "assignment.recalled":
            if found.state in ("resolved", "returned"):
                return 409, {"reason": "工单已办结，不能撤回"}
            with self.store.change():
                self.store.cancel_steps(found.ticket)
                self.store.set_ticket(found.ticket, state="recalled", body=found.body | {"recalled": data.get("message")})
        elif kind == "assignment.urged":
            urged = [*found.body.get("urged", []), data.get("message")]
            self.store.set_ticket(found.ticket, body=found.body | {"urged": urged})
        return 200, _standing(found)

    # people

    def planned(self, ticket: Ticket) -> None:
        """Somebody takes it soon."""
        self.after(0.5, "accepted", ticket.ticket)

    def step(self, step: Step) -> None:
        """Somebody at work."""
        ticket = self.store.ticket(step.ticket)
        if ticket is None:
            return
        self.store.set_ticket(ticket.ticket, state=step.kind)
        body = {
            "type": f"assignment.{step.kind}",
            "key": ticket.key,
            "ticket": ticket.ticket,
            "at": iso(time.time()),
            "by": "处置一组",
            "note": _NOTES[step.kind],
        }
        self.call_back(f"{ticket.ticket}.{step.kind}", body, ticket=ticket)
        if step.kind == "accepted" and self.random(ticket.ticket, "returns").random() < self.arguments.returns:
            self.after(1, "returned", ticket.ticket)
        elif step.kind in _NEXT:
            following, steps = _NEXT[step.kind]
            self.after(steps, following, ticket.ticket)


def _standing(ticket: Ticket) -> dict[str, Any]:
    return {"ticket": ticket.ticket, "key": ticket.key, "state": ticket.state}


def _answer(known: list[Any]) -> JSONResponse:
    return JSONResponse(known[1], status_code=known[0])


if __name__ == "__main__":
    WebhookSimulator.main()
