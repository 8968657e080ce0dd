"""Deadlines: when a matter's timer fires, the matter is asked to take every step that is due.

Linkage sets the timers, JetStream schedules, from the matters' state; here they only come in. A timer may fire early, when its limit was
moved or the matter suspended. Then it is set again or does nothing. It is acknowledged by the ledger's present state, never by this
process's memory. Started by the composition root.
"""

from __future__ import annotations

import asyncio

import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import TIMERS, ensure_consumer
from hub.bus.timers import DUE
from hub.errors import InvalidInput, LedgerDamaged, NotAllowed
from hub.model.actors import SYSTEM
from hub.model.aggregate import MatterId, parse_id
from hub.observing import telemetry
from hub.spine.aside.put_aside import NO_ADAPTER, Note, unreadable
from hub.spine.effects.waking import wake_when_due
from hub.spine.ledger.desk import Desks

log = structlog.get_logger("hub.deadlines")

DURABLE = "deadlines"


class Deadlines:
    """Works due timers."""

    def __init__(self, bus: Bus, desks: Desks, note: Note) -> None:
        self._bus = bus
        self._desks = desks
        self._note = note

    async def run(self) -> None:
        """Work due timers for ever."""
        await ensure_consumer(self._bus, TIMERS, DURABLE, subject=f"{DUE}>", most_pending=10_000)
        async with PullConsumer(self._bus, TIMERS, DURABLE, capacity=64) as consumer, asyncio.TaskGroup() as group:
            while True:
                raise_if_cancelled()
                group.create_task(self._due(await consumer.next()))

    async def _due(self, delivery: Delivery) -> None:
        async with delivery.handling():
            text = delivery.subject.removeprefix(DUE)
            try:
                await self._wake(parse_id(text))
            except (InvalidInput, NotAllowed, LedgerDamaged, ValueError) as problem:
                log.error("timer put aside", matter=text, reason=str(problem))
                await self._note(unreadable(delivery, str(problem), adapter=NO_ADAPTER))
                await delivery.stop()
            else:
                await delivery.ack()

    async def _wake(self, id: MatterId) -> None:
        """Ask a matter to take every step that is due. Raises ValueError for an id of no kind, and the desk's errors."""
        desk = self._desks.of(id)
        aggregate = desk.aggregate
        folded = await desk.load(id)
        if folded is None or aggregate.wake is None or aggregate.next_due(folded.state) is None:
            return
        links = [trace for trace in (folded.opening_trace, folded.last_trace) if trace is not None]
        with telemetry.span("process timer.due", kind="consumer", root=True, links=links, matter=id):
            outcome = await desk.execute(id, aggregate.wake, actor=SYSTEM, cause=folded.last_trace)
            if not outcome.events:  # it fired too early
                await wake_when_due(self._bus, desk, outcome.folded)
