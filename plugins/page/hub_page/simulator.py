"""A desk with simulated people for tests and demos: `python -m hub_page.simulator --port 0 --data DIR`.

It is the desk itself (`hub_page.desk`) on the chassis of simulators: same pages, same interface, same state on disk. People of all
teams use its pages. It refuses an order whose title contains 不予受理. Another plugin with a desk subclasses `PageSimulator`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import httpx
from fastapi import FastAPI
from opentelemetry.trace import SpanKind

from hub.testing.faults import FaultKind, Faults
from hub.testing.simulator import Simulator, Ticket
from hub.testing.store import KeptFile
from hub.testing.tracing import SimulatorTracing, current_traceparent, failed
from hub_page.desk.app import PLAIN, create_desk, links_of
from hub_page.desk.courier import Courier
from hub_page.desk.orders import Step
from hub_page.desk.outbox import Callback, Outbox
from hub_page.desk.store import DeskStore
from hub_page.desk.wording import Wording
from hub_page.messages import NewOrder
from hub_page.people import People

_SCHEDULE = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, *(30.0,) * 200)
"""Much quicker than the desk's own: a demo does not wait five minutes for the third attempt."""
_TEAMS: tuple[dict[str, object], ...] = (
    {"id": "landscaping", "name": "园林绿化养护队", "units": ["landscaping"]},
    {"id": "landscaping-yaohua", "name": "园林尧化片区养护班", "units": ["landscaping"], "areas": ["320113001"]},
    {"id": "urban", "name": "城管执法中队", "units": ["urban"]},
    {"id": "mediation", "name": "人民调解室", "units": ["mediation"]},
    {"id": "xianlin", "name": "仙林街道综合服务队", "areas": ["320113007"]},
)


def adapter_settings(url: str, secret: str) -> dict[str, object]:
    """Adapter settings that match a running simulator: some teams of the demo district, the rest to the fallback."""
    return {"url": url, "secret": secret, "teams": _TEAMS}


class PageSimulator(Simulator):
    """Simulated desk with people who use its pages."""

    department: ClassVar[str] = "page"
    prefix: ClassVar[str] = "GD"
    statuses: ClassVar[tuple[str, ...]] = tuple(step.value for step in Step)
    words: ClassVar[Wording] = PLAIN
    refusal: ClassVar[str] = "不属于我们的服务范围"
    """Why it does not take an order whose title contains 不予受理."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.desk = DeskStore(arguments.data, clock=time.time, prefix=self.prefix, undo_for=arguments.undo)
        self.links = links_of(self.desk)
        super().__init__(arguments)
        self.courier = FaultyCourier(
            Outbox(self.desk),
            self.faults,
            self.tracing,
            url=lambda: None if self.faults.outage else self.callbacks.url,
            secret=self.secret,
            hold_for=max(0.5, 3 * self.pace),
        )
        self.desk.posted = self.courier.wake

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Its own options."""
        parser.add_argument("--returns", type=float, default=0.0, help="share of orders given back 退单")
        parser.add_argument("--idle", action="store_true", help="no people: somebody uses the pages by hand")
        parser.add_argument("--undo", type=float, default=0.0, help="seconds in which 办结 can be undone")

    def files(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Only a new order files something."""
        return method == "POST" and path == "/api/v1/orders"

    def faulty(self, method: str, path: str) -> bool:
        """The pages have no faults; the interface has."""
        return path.startswith("/api/")

    def routes(self, app: FastAPI) -> None:
        """The desk itself, and the teams' links."""
        app.get("/_sim/links")(self.team_links)
        zone = ZoneInfo("Asia/Shanghai")
        app.mount("/", create_desk(self.desk, secrets=[self.secret], zone=zone, words=self.words, refuses=self._refuses))

    def background(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The courier and the people."""
        return (self.courier.run(),) if self.arguments.idle else (self.courier.run(), self._work())

    def listed(self) -> Sequence[Ticket]:
        """The desk's orders; `unit` is the team that got it."""
        rows = self.desk.db.execute("SELECT ticket, key, team, state, created_at, trace FROM orders ORDER BY seq")
        return [
            Ticket(
                ticket=row["ticket"],
                key=row["key"],
                unit=row["team"],
                state=row["state"],
                created_at=row["created_at"],
                trace=row["trace"],
                body={},
            )
            for row in rows
        ]

    def kept_files(self) -> Sequence[KeptFile]:
        """The photos that went out with reports."""
        rows = self.desk.db.execute(
            "SELECT id, ticket, media_type, content FROM photos WHERE event IS NOT NULL ORDER BY at, id"
        )
        return [
            KeptFile(id=row["id"], ticket=row["ticket"], name="", media_type=row["media_type"], content=bytes(row["content"]))
            for row in rows
        ]

    def unsent(self) -> int:
        """Callbacks that wait in the desk's outbox."""
        return self.courier.outbox.count()

    async def team_links(self) -> dict[str, Any]:
        """Every team's link, as a path."""
        return {"links": {team.id: self.links.path(team.id, number) for team, number in self.desk.teams()}}

    def _refuses(self, order: NewOrder) -> str | None:
        return self.refusal if "不予受理" in order.title else None

    async def _work(self) -> None:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://desk", follow_redirects=False) as client:
            people = People(
                client,
                self.desk,
                self.links,
                pace=self.pace,
                returns=self.arguments.returns,
                chance=self.random,
                away=lambda: self.faults.outage,
            )
            await people.run()


class FaultyCourier(Courier):
    """The desk's courier with the chassis's faults (twice, out of order) and spans, and a quicker schedule."""

    def __init__(
        self, outbox: Outbox, faults: Faults, tracing: SimulatorTracing, *, url: Any, secret: str, hold_for: float
    ) -> None:
        super().__init__(outbox, url=url, secret=secret, clock=time.time, schedule=_SCHEDULE)
        self._faults = faults
        self._tracing = tracing
        self._hold_for = hold_for
        self._held: dict[str, float] = {}

    async def send(self, client: httpx.AsyncClient, callback: Callback) -> bool:
        """One attempt; a callback that is held lets the next one of its order overtake."""
        if callback.id not in self._held and callback.attempts == 0 and self._faults.draw(FaultKind.REORDER_CALLBACKS):
            self._held[callback.id] = time.time() + self._hold_for
        if self._held.get(callback.id, 0.0) > time.time():
            return True
        sent = await super().send(client, callback)
        if sent and self._faults.draw(FaultKind.DUPLICATE_CALLBACK):
            try:
                await self.post(client, callback)
            except httpx.TransportError:
                return sent  # the first one arrived; a second one that does not is no loss
        return sent

    async def post(
        self, client: httpx.AsyncClient, callback: Callback, headers: Mapping[str, str] | None = None
    ) -> tuple[int, float | None]:
        """Send it once inside a span that links to the order's trace."""
        links = [callback.trace] if callback.trace else []
        with self._tracing.span("POST callback", kind=SpanKind.CLIENT, links=links, case=callback.case) as span:
            traceparent = current_traceparent()
            status, retry_after = await super().post(client, callback, {"traceparent": traceparent} if traceparent else None)
            span.set_attribute("http.response.status_code", status)
            if not 200 <= status < 300:
                failed(span, str(status))
            return status, retry_after

    def _pause(self) -> float:
        """A callback that is held is due all the time: look again soon, but not at once."""
        return max(super()._pause(), 0.1) if self._held else super()._pause()


if __name__ == "__main__":
    PageSimulator.main()
