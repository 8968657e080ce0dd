"""A durable pull consumer with a bounded number of messages in hand.

nats-py's `fetch(n)` waits for the whole batch or its time-out once the first message came. That adds up to seconds of latency. So requests
are kept open here, each with its own reply subject, and messages are handed on as they arrive.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg

from hub.bus.connection import Bus
from hub.bus.streams import ACK_WAIT
from hub.errors import BusUnavailable, LedgerConflict

log = structlog.get_logger("hub.bus")

_EXPIRES = 2.0
"""Seconds a pull request stays open. Short, because only its time-out reveals a request in flight when the server died."""


def backing_off(deliveries: int) -> float:
    """Seconds until a message comes again that was delivered so often: 1, 2, 4 … 60."""
    return min(60.0, 0.5 * 2.0 ** min(deliveries, 8))


class Delivery:
    """One message in hand. Exactly one of ack, retry, stop must be called; else it comes again after ack_wait."""

    __slots__ = ("_consumer", "_message", "_open", "touched")

    def __init__(self, message: Msg, consumer: PullConsumer) -> None:
        self._message = message
        self._consumer = consumer
        self._open = True
        self.touched = time.monotonic()

    @property
    def subject(self) -> str:
        """Subject it was published on."""
        return self._message.subject

    @property
    def data(self) -> bytes:
        """Its payload."""
        return self._message.data

    @property
    def headers(self) -> dict[str, str]:
        """Its headers."""
        return self._message.headers or {}

    @property
    def stream(self) -> str:
        """The stream it lies in."""
        return self._ack_part(2)

    @property
    def sequence(self) -> int:
        """Its stream sequence."""
        return int(self._ack_part(5))

    @property
    def deliveries(self) -> int:
        """How often it was delivered, this time included."""
        return int(self._ack_part(4))

    def _ack_part(self, index: int) -> str:
        parts = self._message.reply.split(".")
        return parts[index if len(parts) == 9 else index + 2]

    async def ack(self, *, confirmed: bool = False) -> None:
        """Done. `confirmed` waits until the server has it (for what must not come again). Raises BusUnavailable."""
        await self._tell(self._message.ack_sync(timeout=5) if confirmed else self._message.ack())

    async def retry(self, delay: float) -> None:
        """Deliver it again after `delay` seconds. Raises BusUnavailable: then it comes after the acknowledgement wait."""
        await self._tell(self._message.nak(delay=max(delay, 0.001)))

    async def stop(self) -> None:
        """Never deliver it again; what happened to it must be in the ledger already. Raises BusUnavailable."""
        await self._tell(self._message.term())

    @asynccontextmanager
    async def handling(self, again: Callable[[int], float] = backing_off) -> AsyncIterator[None]:
        """Around all work on it. Work that the hub can't do now comes again after `again` seconds, and the queue goes on.

        That is BusUnavailable and LedgerConflict, from the work or from an answer given here. A delivery without an answer comes again
        after the acknowledgement wait.
        """
        try:
            yield
        except (BusUnavailable, LedgerConflict) as problem:
            log.warning("message comes again", subject=self.subject, deliveries=self.deliveries, reason=problem.message)
            if self._open:
                with suppress(BusUnavailable):
                    await self.retry(again(self.deliveries))
        finally:
            self._end()

    async def _tell(self, answer: Awaitable[object]) -> None:
        """Whatever comes of the answer, the message is in hand no longer: heartbeats for it would keep it from everybody."""
        try:
            await answer
        except (TimeoutError, nats.errors.Error) as problem:
            raise BusUnavailable(f"answer for {self.subject} not delivered") from problem
        finally:
            self._end()

    async def working(self) -> None:
        """Still at it: restart the acknowledgement wait. The consumer does this by itself for messages in hand."""
        self.touched = time.monotonic()
        await self._message.in_progress()

    @property
    def held(self) -> bool:
        """Whether it is still in hand."""
        return self._open

    @property
    def reply(self) -> str:
        """Where it is acknowledged."""
        return self._message.reply

    def forget(self) -> None:
        """Leave it to the acknowledgement wait."""
        self._end()

    def ended(self) -> None:
        """The consumer has acknowledged it, among others."""
        self._open = False

    def _end(self) -> None:
        if self._open:
            self._open = False
            self._consumer._freed(self)


class PullConsumer:
    """Binds to a durable consumer and keeps up to `capacity` messages in hand. Use as an async context manager.

    While messages are in hand the server hears of it every third of `ack_wait` seconds. So the wait can be short: a killed process's
    messages soon come to another.
    """

    def __init__(self, bus: Bus, stream: str, durable: str, *, capacity: int, ack_wait: float = ACK_WAIT) -> None:
        self._bus = bus
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._name = f"{stream}/{durable}"
        self._capacity = capacity
        self._heartbeat = ack_wait / 3
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._requests: dict[str, tuple[int, float]] = {}
        self._asked = 0
        self._ids = itertools.count()
        self._held: set[Delivery] = set()
        self._paused = False
        self._closed = False
        self._inbox = ""
        self._subscription: Any = None
        self._clock: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> PullConsumer:
        self._inbox = self._bus.nc.new_inbox()
        self._subscription = await self._bus.nc.subscribe(
            f"{self._inbox}.*", cb=self._arrived, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        self._bus.on_reconnect(self._reissue)
        self._clock = asyncio.create_task(self._tick(), name=f"pull {self._name}")
        self._replenish()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._clock is not None:
            self._clock.cancel()
        for task in self._sending:
            task.cancel()
        if not self._bus.nc.is_closed:
            await self._subscription.unsubscribe()

    @property
    def in_hand(self) -> int:
        """Messages delivered and not yet ended."""
        return len(self._held)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """All of them are done: one write to the server. An acknowledgement by itself costs as much as a publish."""
        held = [delivery for delivery in deliveries if delivery.held]
        await self._bus.send_all((delivery.reply, b"") for delivery in held)
        for delivery in held:
            delivery.ended()
        self._held.difference_update(held)
        self._replenish()

    def resize(self, capacity: int) -> None:
        """Keep up to so many messages in hand from now on."""
        self._capacity = capacity
        self._replenish()

    def pause(self) -> None:
        """Ask for no more messages. Messages asked for earlier may still arrive within two seconds."""
        self._paused = True

    def resume(self) -> None:
        """Ask again."""
        self._paused = False
        self._replenish()

    async def give_back(self) -> None:
        """Ask for no more, and hand back the messages that nobody took. Done when nothing more can arrive (about two seconds)."""
        self._paused = True
        until = time.monotonic() + _EXPIRES + 0.5
        while True:
            while not self._queue.empty():
                delivery = self._queue.get_nowait()
                try:
                    await delivery.retry(_EXPIRES + 0.5)  # not into this consumer's own open requests
                except BusUnavailable:
                    delivery.forget()
            if not self._requests or time.monotonic() > until:
                return
            await asyncio.sleep(0.02)

    async def next(self) -> Delivery:
        """The next message."""
        return await self._queue.get()

    async def batch(self, most: int) -> list[Delivery]:
        """At least one message, and whatever else has arrived, up to `most`."""
        found = [await self._queue.get()]
        while len(found) < most and not self._queue.empty():
            found.append(self._queue.get_nowait())
        return found

    async def _arrived(self, message: Msg) -> None:
        status = message.headers.get("Status") if message.headers and not message.data else None
        if status is not None:
            if status != "100":
                self._withdraw(message.subject)
                if status not in ("404", "408"):
                    log.debug("pull request ended", consumer=self._name, status=status)
                    return  # the clock asks again; at once would spin while the consumer is missing
                self._replenish()
            return
        self._count_down()
        delivery = Delivery(message, self)
        self._held.add(delivery)
        self._queue.put_nowait(delivery)

    def _count_down(self) -> None:
        """A message arrived for the oldest open request: the server serves them in order and does not name the request."""
        for token, (left, until) in self._requests.items():
            self._asked -= 1
            if left > 1:
                self._requests[token] = (left - 1, until)
            else:
                del self._requests[token]
            return

    def _withdraw(self, token: str) -> None:
        """A request is open no longer."""
        left, _ = self._requests.pop(token, (0, 0.0))
        self._asked -= left

    def _freed(self, delivery: Delivery) -> None:
        self._held.discard(delivery)
        self._replenish()

    def _replenish(self) -> None:
        if self._paused or self._closed:
            return
        asked, held = self._asked, len(self._held)
        free = self._capacity - held - asked
        if free < max(1, self._capacity // 4) and (held or asked) and not (self._capacity < 16 and free >= 1):
            return
        if free < 1 or not self._bus.connected:
            return
        token = f"{self._inbox}.{next(self._ids)}"
        self._requests[token] = (free, time.monotonic() + _EXPIRES + 1.0)
        self._asked += free
        task = asyncio.get_running_loop().create_task(self._ask(token, free))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _ask(self, token: str, number: int) -> None:
        body = json.dumps({"batch": number, "expires": int(_EXPIRES * 1e9)}).encode()
        try:
            await self._bus.nc.publish(self._next, body, reply=token)
        except nats.errors.Error as problem:
            self._withdraw(token)
            log.warning("pull request not sent", consumer=self._name, error=str(problem))

    def _reissue(self) -> None:
        self._requests.clear()
        self._asked = 0
        self._replenish()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            now = time.monotonic()
            for token in [token for token, (_, until) in self._requests.items() if until < now]:
                self._withdraw(token)
            self._replenish()
            if self._bus.connected:
                for delivery in [held for held in self._held if now - held.touched > self._heartbeat]:
                    await self._tell(delivery)

    async def _tell(self, delivery: Delivery) -> None:
        try:
            await delivery.working()
        except nats.errors.Error as problem:
            log.warning("heartbeat not sent", consumer=self._name, error=str(problem))
