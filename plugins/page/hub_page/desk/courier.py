"""Sends the desk's callbacks to the hub as Standard Webhooks: at least once, signed, in order per order, on the published schedule.

Only a 2xx answer counts; 410 and the end of the schedule give the callback up (kept, `resend` brings it back). The hub's
address is the operator's setting, so private addresses are meant. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

import httpx
import structlog

from hub_page.desk.outbox import Callback, Outbox
from hub_page.signing import signed_headers, webhook

SCHEDULE = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds between attempts; the first is made at once (Standard Webhooks specification, "Deliverability and reliability")."""
_JITTER = 0.1
_TIMEOUT = 20.0
_PARALLEL = 4
_IDLE = 5.0

log = structlog.get_logger("hub_page.desk")


class Courier:
    """Works the outbox off. `url` gives the hub's address, None while there is none; `clock` Unix seconds."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        url: Callable[[], str | None],
        secret: str,
        clock: Callable[[], float],
        schedule: tuple[float, ...] = SCHEDULE,
    ) -> None:
        self.outbox = outbox
        self._url = url
        self._signer = webhook(secret)
        self._clock = clock
        self._schedule = schedule
        self._wake = asyncio.Event()
        self._random = random.Random()  # noqa: S311 - jitter

    def wake(self) -> None:
        """Something new is in the outbox, or the address changed."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        async with httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, trust_env=False) as client:
            while True:
                self._wake.clear()
                await self.round(client)
                try:
                    async with asyncio.timeout(self._pause()):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def round(self, client: httpx.AsyncClient) -> None:
        """Send what is due now: orders side by side, the callbacks of one order one after the other."""
        if self._url() is None:
            return
        places = asyncio.Semaphore(_PARALLEL)
        async with asyncio.TaskGroup() as group:
            for chain in self.outbox.chains(self._clock()):
                group.create_task(self._send_chain(client, chain, places))

    async def _send_chain(self, client: httpx.AsyncClient, chain: list[Callback], places: asyncio.Semaphore) -> None:
        async with places:
            for callback in chain:
                if not await self.send(client, callback):
                    return

    async def send(self, client: httpx.AsyncClient, callback: Callback) -> bool:
        """One attempt; True when the next callback of the order may follow."""
        try:
            status, retry_after = await self.post(client, callback)
        except httpx.TransportError as error:
            log.warning("hub not reached", callback=callback.id, error=type(error).__name__)
            status, retry_after = 0, None
        if 200 <= status < 300:
            self.outbox.sent(callback.id)
            if self.outbox.hub_is_back(self._clock()):
                self.wake()
            return True
        if status == 410 or callback.attempts >= len(self._schedule):
            log.error("callback given up", callback=callback.id, status=status, attempts=callback.attempts + 1)
            self.outbox.give_up(callback.id, status)
            return True
        delay = self._schedule[callback.attempts] * self._random.uniform(1 - _JITTER, 1 + _JITTER)
        self.outbox.put_off(callback.id, self._clock() + max(delay, retry_after or 0.0), status)
        return False

    async def post(
        self, client: httpx.AsyncClient, callback: Callback, headers: Mapping[str, str] | None = None
    ) -> tuple[int, float | None]:
        """Send it once; (status, seconds of Retry-After). Raises httpx.TransportError."""
        url = self._url()
        if url is None:
            return 0, None
        signed = signed_headers(self._signer, callback.id, callback.body, now=self._clock())
        answer = await client.post(
            url, content=callback.body, headers={"content-type": "application/json", **(headers or {}), **signed}
        )
        retry_after = answer.headers.get("retry-after", "")
        return answer.status_code, float(retry_after) if retry_after.isdigit() else None

    def _pause(self) -> float:
        """Seconds until something may be due."""
        next_at = self.outbox.next_at()
        if self._url() is None or next_at is None:
            return _IDLE
        return min(_IDLE, max(0.02, next_at - self._clock()))
