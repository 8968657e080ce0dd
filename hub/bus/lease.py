"""Leases: work for one process of a bus at a time. When that process ends or dies, another takes over.

A lease is one message. The server forgets it by itself unless its holder stores it again. Each storing expects the one before, so two never
hold it. No clocks are compared. A process that starts again where it died goes on at once. Used for polls, and for work in order that
several hubs could do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable

import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus, WrongSequence
from hub.bus.exchange import Listening, Reply
from hub.bus.streams import LEASES
from hub.errors import BusUnavailable

log = structlog.get_logger("hub.bus")

TTL = 10
"""Whole seconds a lease outlives its holder; the server cuts parts of a second off. Renewed every third of it."""
_LOOK_AGAIN = 1.0
_RELEASE_WITHIN = 1.0


class Lease:
    """One lease. `name`: words of letters, digits, `-` and `_`, joined by dots."""

    def __init__(self, bus: Bus, name: str, *, ttl: int = TTL) -> None:
        self._bus = bus
        self._name = name
        self._subject = f"lease.{name}"
        self._ttl = ttl
        self._word = f"{bus.run} {secrets.token_hex(4)} {socket.gethostname()} {os.getpid()}".encode()
        self._sequence = 0
        self._until = 0.0
        self._renewed_at = 0.0
        self._free = asyncio.Event()

    @property
    def held(self) -> bool:
        """Whether nobody else can hold it right now."""
        return time.monotonic() < self._until

    async def keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` whenever the lease is held, until `work` ends by itself. It is cancelled in time when the lease can't be renewed."""
        async with Listening(self._bus, self._subject, self._heard):
            while True:
                raise_if_cancelled()
                await self._take()
                log.info("lease taken", lease=self._name)
                working = asyncio.ensure_future(work())
                renewing = asyncio.create_task(self._renew(), name=f"lease {self._name}")
                try:
                    await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
                    ended = working.done()
                finally:
                    for task in (working, renewing):
                        task.cancel()
                    await asyncio.gather(working, renewing, return_exceptions=True)
                    await self._release()
                if ended:
                    working.result()
                    return
                log.warning("lease lost", lease=self._name)

    async def _take(self) -> None:
        """Wait until the lease is held. It listens for the holder's renewals, so it asks nobody while they come."""
        while True:
            raise_if_cancelled()
            self._free.clear()
            try:
                last = await self._bus.last(LEASES, self._subject)
                if last is None or self._may_follow(last.data):
                    await self._store(0 if last is None else last.sequence)
                    return
            except WrongSequence:
                log.debug("another was first", lease=self._name)
            except BusUnavailable as problem:
                log.debug("lease not asked for", lease=self._name, reason=problem.message)
            await self._worth_a_look()

    def _may_follow(self, word: bytes) -> bool:
        """Whether its last writer is done with it: released it, is this lease itself, or is the run before this one here."""
        former = self._bus.former.encode()
        return word in (b"", self._word) or (former != b"" and word.split(b" ")[0] == former)

    async def _worth_a_look(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN):
                    await self._free.wait()
            if self._free.is_set() or time.monotonic() - self._renewed_at > self._ttl / 2:
                return

    async def _heard(self, subject: str, raw: bytes, reply: Reply | None) -> None:
        if raw:
            self._renewed_at = time.monotonic()
        else:
            self._free.set()

    async def _store(self, expect: int) -> None:
        began = time.monotonic()
        self._sequence = await self._bus.publish(
            self._subject, self._word, expect=expect, headers={"Nats-TTL": f"{self._ttl}s"}
        )
        self._until = began + self._ttl * 0.9  # the server counts from later on; `work` needs time to end

    async def _renew(self) -> None:
        """Keep it; returns when it is lost."""
        with contextlib.suppress(TimeoutError, WrongSequence):
            while True:
                await asyncio.sleep(self._ttl / 3)
                async with asyncio.timeout(self._until - time.monotonic()):
                    await self._store_again()

    async def _store_again(self) -> None:
        """Raises WrongSequence when another holds it."""
        while True:
            try:
                await self._store(self._sequence)
                return
            except WrongSequence:
                last = await self._bus.last(LEASES, self._subject)
                if last is None or last.data != self._word:
                    raise
                self._sequence = last.sequence  # stored, but the answer was lost
            except BusUnavailable:
                await asyncio.sleep(self._ttl / 30)

    async def _release(self) -> None:
        """Release it, so that the next one has it at once. If the release fails, the next one waits for the end."""
        if not self.held:
            return
        self._until = 0.0
        try:
            async with asyncio.timeout(_RELEASE_WITHIN):
                await self._bus.publish(self._subject, b"", expect=self._sequence, headers={"Nats-TTL": "1s"})
        except (TimeoutError, BusUnavailable, WrongSequence) as problem:
            log.debug("lease not released", lease=self._name, reason=str(problem))
