"""The hub's side of orders to an adapter that runs elsewhere. Each instance has its own durable queue.

Refuses nothing. An adapter that is away finds its orders when it comes back. Called by dispatch.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from hub.bus.connection import Bus
from hub.bus.permissions import durable_of
from hub.bus.streams import ORDERS, consumer_backlog, ensure_consumer, withdraw
from hub.contract import Notice
from hub.model.assignments.state import parse_delivery_key
from hub.model.effects import Verb
from hub.observing import telemetry
from hub.platform.remote import messages
from hub.platform.remote.messages import Backoff
from hub.platform.remote.protocol import encode
from hub.spine.ledger.desk import utc_now

if TYPE_CHECKING:
    from hub.contract import AdapterInstance, Assignment
    from hub.model.effects import Task

ACK_WAIT = 60.0
"""Seconds without a sign of life after which an order is given out again."""
MOST_PENDING = 100_000
"""Orders of one adapter that may be given out and not yet done, those that wait for their next attempt included."""
SOURCE = "/hub"


class Orders:
    """Stores orders; use the same object for all instances."""

    def __init__(self, bus: Bus, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._bus = bus
        self._clock = clock
        self._ensured: set[str] = set()

    async def ensure(self, name: str) -> None:
        """Make the instance's durable consumer; an adapter elsewhere may only bind to it."""
        if name not in self._ensured:
            await ensure_consumer(
                self._bus, ORDERS, durable_of(name), subject=f"order.{name}.>", most_pending=MOST_PENDING, ack_wait=ACK_WAIT
            )
            self._ensured.add(name)

    async def deliver(
        self, task: Task, assignment: Assignment, instance: AdapterInstance, attempt: int, contact_available: bool
    ) -> None:
        """Store an order to hand an assignment over; the same task is stored once."""
        data = messages.Deliver.of(
            assignment,
            attempt=attempt,
            attempts=instance.attempts,
            backoff=Backoff(
                base=instance.backoff_base.total_seconds(),
                cap=instance.backoff_cap.total_seconds(),
                schedule=tuple(step.total_seconds() for step in instance.schedule),
            ),
            contact_available=contact_available,
        )
        await self._store(task, data, assignment.key)

    async def tell(self, task: Task, about: Assignment | Notice) -> None:
        """Store an order to say something else; the same task is stored once."""
        if isinstance(about, Notice):
            notice = messages.Inform.of(about, effect=task.effect)
            await self._store(task, notice, f"{task.matter}.{about.stage or 'notice'}")
        else:
            told = messages.Tell.of(about, effect=task.effect, message=task.text or "")
            await self._store(task, told, about.key)

    async def withdraw(self, name: str, key: str) -> None:
        """Take back an order to deliver that nobody has done yet. An order under way goes on; a recall follows it."""
        parse_delivery_key(key)
        await withdraw(self._bus, ORDERS, f"order.{name}.{Verb.DELIVER.value}.{key}")

    async def backlog(self, name: str) -> tuple[int, int]:
        """(waiting, given out) of an instance's orders."""
        return await consumer_backlog(self._bus, ORDERS, durable_of(name))

    async def _store(self, task: Task, data: msgspec.Struct, key: str) -> None:
        await self.ensure(task.adapter)
        trace = telemetry.traceparent() or task.traceparent
        kind = task.verb.value
        raw = encode("order", kind, data, id=task.id, source=SOURCE, at=self._clock(), subject=key, traceparent=trace)
        headers = {"content-type": "application/cloudevents+json"}
        await self._bus.publish(f"order.{task.adapter}.{kind}.{key}", raw, message_id=task.id, headers=headers)
