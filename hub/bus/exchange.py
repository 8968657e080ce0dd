"""Questions and answers, and signs of life, by plain messages: nothing here is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import nats.errors
from nats.aio.msg import Msg

from hub.bus.connection import Bus
from hub.errors import BusUnavailable

Reply = Callable[[bytes], Awaitable[None]]
Listener = Callable[[str, bytes, Reply | None], Awaitable[None]]
"""Gets subject, data, and a function to answer with if the sender asks for an answer."""


class Listening:
    """Hears a subject while entered. With `queue` one of the processes gets each message, else all do."""

    def __init__(self, bus: Bus, subject: str, take: Listener, *, queue: str = "") -> None:
        self._bus = bus
        self._subject = subject
        self._take = take
        self._queue = queue
        self._subscription: Any = None

    async def __aenter__(self) -> Listening:
        self._subscription = await self._bus.nc.subscribe(self._subject, queue=self._queue, cb=self._arrived)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bus.nc.is_closed:
            await self._subscription.unsubscribe()

    async def _arrived(self, message: Msg) -> None:
        async def reply(data: bytes) -> None:
            try:
                await message.respond(data)
            except nats.errors.Error as problem:
                raise BusUnavailable(f"no answer to {message.subject}", subject=message.subject) from problem

        await self._take(message.subject, message.data, reply if message.reply else None)


async def ask(bus: Bus, subject: str, data: bytes, *, within: float) -> bytes:
    """The answer to a question; raises BusUnavailable when none comes within `within` seconds."""
    try:
        return (await bus.nc.request(subject, data, timeout=within)).data
    except (TimeoutError, nats.errors.Error, ConnectionError) as problem:
        raise BusUnavailable(f"no answer from {subject}", subject=subject) from problem
