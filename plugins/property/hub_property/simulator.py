"""A property desk with simulated managers for tests and demos: `python -m hub_property.simulator --port 0 --data DIR`.

It is the desk itself (`hub_property.desk`) on the chassis of simulators: same pages, same interface, same state on disk. Managers of
all companies use its pages. It refuses an order whose title contains 不予受理.
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
from hub.testing.tracing import SimulatorTracing, current_traceparent, failed
from hub_property.desk.app import create_desk, links_of
from hub_property.desk.courier import Courier
from hub_property.desk.outbox import Callback, Outbox
from hub_property.desk.store import DeskStore
from hub_property.managers import Managers
from hub_property.messages import NewOrder

_SCHEDULE = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, *(30.0,) * 200)
"""Much quicker than the desk's own: a demo does not wait five minutes for the third attempt."""
_COMPANIES: tuple[dict[str, object], ...] = (
    {"id": "yaohua", "name": "尧化物业服务有限公司", "areas": ["320113001"]},
    {"id": "yaolin", "name": "尧林仙居物业服务中心", "areas": ["320113001019"]},
    {"id": "jinyao", "name": "金尧花园物业服务处", "areas": ["320113001001", "320113001009"]},
    {"id": "baishui", "name": "百水物业管理有限公司", "areas": ["320113002"]},
    {"id": "maigaoqiao", "name": "迈皋桥物业管理有限公司", "areas": ["320113003"]},
    {"id": "mufu", "name": "幕府山庄物业服务中心", "areas": ["320113004"]},
    {"id": "xianlin", "name": "仙林物业集团", "areas": ["320113007", "320113406"]},
)


def adapter_settings(url: str, secret: str) -> dict[str, object]:
    """Adapter settings that match a running simulator: some companies of the demo district, the rest to the fallback."""
    return {"url": url, "secret": secret, "companies": _COMPANIES}


class PropertySimulator(Simulator):
    """Simulated property desk with managers."""

    department: ClassVar[str] = "property"

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.desk = DeskStore(arguments.data, clock=time.time)
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
        parser.add_argument("--idle", action="store_true", help="no managers: somebody uses the pages by hand")

    def files(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Only a new order files something."""
        return method == "POST" and path == "/api/v1/orders"

    def faulty(self, method: str, path: str) -> bool:
        """The pages have no faults; the interface has."""
        return path.startswith("/api/")

    def routes(self, app: FastAPI) -> None:
        """The desk itself, and the managers' links."""
        app.get("/_sim/links")(self.manager_links)
        app.mount("/", create_desk(self.desk, secret=self.secret, zone=ZoneInfo("Asia/Shanghai"), refuses=_refuses))

    def background(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The courier and the managers."""
        return (self.courier.run(),) if self.arguments.idle else (self.courier.run(), self._manage())

    def listed(self) -> Sequence[Ticket]:
        """The desk's orders; `unit` is the company that got it."""
        rows = self.desk.db.execute("SELECT ticket, key, company, state, created_at, trace FROM orders ORDER BY seq")
        return [
            Ticket(
                ticket=row["ticket"],
                key=row["key"],
                unit=row["company"],
                state=row["state"],
                created_at=row["created_at"],
                trace=row["trace"],
                body={},
            )
            for row in rows
        ]

    def unsent(self) -> int:
        """Callbacks that wait in the desk's outbox."""
        return self.courier.outbox.count()

    async def manager_links(self) -> dict[str, Any]:
        """Every company's link, as a path."""
        return {"links": {company.id: self.links.path(company.id, number) for company, number in self.desk.companies()}}

    async def _manage(self) -> None:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://desk", follow_redirects=False) as client:
            managers = Managers(
                client,
                self.desk,
                self.links,
                pace=self.pace,
                returns=self.arguments.returns,
                chance=self.random,
                away=lambda: self.faults.outage,
            )
            await managers.run()


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


def _refuses(order: NewOrder) -> str | None:
    return "不属于物业服务范围" if "不予受理" in order.title else None


if __name__ == "__main__":
    PropertySimulator.main()
