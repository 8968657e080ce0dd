"""Sends a simulator's callbacks from its durable outbox: at least once, signed, in order per case, with retries.

Only a 2xx answer counts as taken. 410 ends that callback. After any other answer it is tried again. Called by the chassis.
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import structlog
from opentelemetry.trace import SpanKind
from standardwebhooks import Webhook

from hub.testing.faults import FaultKind, Faults
from hub.testing.store import Outgoing, SimulatorStore
from hub.testing.tracing import SimulatorTracing, current_traceparent, failed

if TYPE_CHECKING:
    from collections.abc import Iterable

Sign = Callable[[str, int, bytes], Mapping[str, str]]
"""(callback id, Unix seconds of this attempt, body) → headers that prove the origin."""

_DELAYS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
_IDLE = 5.0
_PARALLEL = 8

log = structlog.get_logger(__name__)


def webhook_secret(secret: str) -> str:
    """The Standard Webhooks form (`whsec_…`) of any shared secret; one already in that form stays."""
    if secret.startswith("whsec_"):
        return secret
    return f"whsec_{base64.b64encode(secret.encode()).decode()}"


def standard_webhook(secret: str) -> Sign:
    """Sign as Standard Webhooks says: HMAC-SHA256 over `id.timestamp.body`."""
    webhook = Webhook(webhook_secret(secret))

    def sign(id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
        signature = webhook.sign(id, datetime.fromtimestamp(timestamp, UTC), body.decode())
        return {"webhook-id": id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}

    return sign


class CallbackSender:
    """Works the outbox off. `url` may change while running; without one callbacks wait."""

    def __init__(
        self,
        store: SimulatorStore,
        faults: Faults,
        tracing: SimulatorTracing,
        sign: Sign,
        *,
        url: str | None,
        seed: int,
        hold_for: float,
    ) -> None:
        self.url = url
        self._store = store
        self._faults = faults
        self._tracing = tracing
        self._sign = sign
        self._hold_for = hold_for
        self._random = random.Random(f"callbacks:{seed}")  # noqa: S311 - jitter
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something new is in the outbox, or the address changed."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        async with httpx.AsyncClient(timeout=15, follow_redirects=False, trust_env=False) as client:
            while True:
                self._wake.clear()
                await self._round(client)
                await self._store.durable()
                try:
                    async with asyncio.timeout(self._pause()):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _round(self, client: httpx.AsyncClient) -> None:
        """Send the due callbacks: cases in parallel, the callbacks of one case one after the other."""
        if self.url is None or self._faults.outage:
            return
        places = asyncio.Semaphore(_PARALLEL)
        async with asyncio.TaskGroup() as group:
            for chain in _due(self._store.outgoing(), time.time()):
                group.create_task(self._send_chain(client, chain, places))

    async def _send_chain(self, client: httpx.AsyncClient, chain: list[Outgoing], places: asyncio.Semaphore) -> None:
        async with places:
            for item in chain:
                if not item.held and self._faults.draw(FaultKind.REORDER_CALLBACKS):
                    self._store.hold(item.id, time.time() + self._hold_for)
                    continue
                if not await self._send(client, item):
                    return

    async def _send(self, client: httpx.AsyncClient, item: Outgoing) -> bool:
        """One callback; True when the receiver is done with it."""
        links = [item.trace] if item.trace else []
        with self._tracing.span("POST callback", kind=SpanKind.CLIENT, links=links, case=item.case) as span:
            try:
                status, retry_after = await self._post(client, item)
            except httpx.TransportError as error:
                status, retry_after = 0, None
                failed(span, type(error).__name__)
            else:
                span.set_attribute("http.response.status_code", status)
                if not 200 <= status < 300:
                    failed(span, str(status))
            if 200 <= status < 300 and self._faults.draw(FaultKind.DUPLICATE_CALLBACK):
                try:
                    await self._post(client, item)
                except httpx.TransportError as error:
                    log.info("second_callback_lost", id=item.id, error=type(error).__name__)
        if 200 <= status < 300 or status == 410:
            self._store.sent(item.id)
            return True
        delay = _DELAYS[min(item.attempts, len(_DELAYS) - 1)] * self._random.uniform(0.8, 1.2)
        self._store.resend(item.id, time.time() + max(delay, retry_after or 0.0))
        return False

    async def _post(self, client: httpx.AsyncClient, item: Outgoing) -> tuple[int, float | None]:
        headers = {"content-type": item.media_type, **self._sign(item.id, int(time.time()), item.body)}
        traceparent = current_traceparent()
        if traceparent is not None:
            headers["traceparent"] = traceparent
        answer = await client.post(f"{self.url}{item.path}", content=item.body, headers=headers)
        retry_after = answer.headers.get("retry-after", "")
        return answer.status_code, float(retry_after) if retry_after.isdigit() else None

    def _pause(self) -> float:
        """Seconds until something may be due."""
        if self.url is None:
            return _IDLE
        if self._faults.outage:
            return 0.2
        waiting = self._store.outgoing()
        if not waiting:
            return _IDLE
        due_at = min(item.due_at for chain in _chains(waiting) for item in chain[:1])
        return min(_IDLE, max(0.02, due_at - time.time()))


def _chains(items: Iterable[Outgoing]) -> list[list[Outgoing]]:
    """Callbacks by case, in order; one that was held stands alone."""
    chains: dict[str, list[Outgoing]] = {}
    for item in items:
        chains.setdefault(item.id if item.held or item.case is None else f"case:{item.case}", []).append(item)
    return list(chains.values())


def _due(items: Iterable[Outgoing], now: float) -> list[list[Outgoing]]:
    """The part of every chain that may go out now: up to the first that has to wait."""
    due = []
    for chain in _chains(items):
        ready = next((place for place, item in enumerate(chain) if item.due_at > now), len(chain))
        if ready:
            due.append(chain[:ready])
    return due
