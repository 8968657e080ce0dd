"""Alerts: tells the notifier plugins about everything that waits for a person. Each hears at least once, in its own time.

Follows the ledger for events of matters; roster and repairs add their own findings here. One durable queue per notifier, so that a chat
group that is down delays no other. Refuses nothing. An alert that reached nobody within a day is dropped with a line in the log. Started by
the composition root.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec
import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import ALERTS, LEDGER, ensure_consumer
from hub.contract import Alert, AlertKind
from hub.errors import BusUnavailable, HubError
from hub.model.aggregate import MATTERS, Commit
from hub.model.assignments.events import DeliveryDead, DeliveryRefused, DeliveryUncertain
from hub.model.limits.events import DeadlineBreached, Supervised
from hub.model.words import LEVELS, LIMITS
from hub.spine.aside.put_aside import read_or_put_aside
from hub.spine.aside.repair_items import Repair, RepairKind

log = structlog.get_logger("hub.alerts")

DURABLE = "alerts"
KEEP_TRYING = timedelta(days=1)
TOLD = frozenset({RepairKind.FAILED_INSTANCE, RepairKind.BLOCKED_LOOP})
"""Repairs that people hear of at once: an adapter does not work, and will not by itself."""
_alerts = msgspec.json.Decoder(Alert)
_FIRST_DELAY, _LONGEST_DELAY = 2.0, 600.0


class Reader(Protocol):
    """What alerts need of the ledger."""

    def read(self, subject: str, raw: bytes) -> Commit[Any]:
        """A ledger message as a commit."""
        ...


class Notifier(Protocol):
    """A notifier at work."""

    @property
    def name(self) -> str:
        """The instance's name."""
        ...

    async def notify(self, alert: Alert) -> None:
        """Tell people; raises HubError."""
        ...


class Repairs(Protocol):
    """The store of everything that waits for a person."""

    async def note(self, repair: Repair) -> None:
        """Keep a repair; raises BusUnavailable."""
        ...

    async def say(self, kind: str, adapter: str, subject: str, text: str) -> None:
        """`note` for those who have nobody to tell when it fails."""
        ...


class Roster(Protocol):
    """Where the notifiers come from."""

    def notifiers(self) -> Sequence[Notifier]:
        """Every notifier that runs in this process."""
        ...

    def stirring(self) -> asyncio.Event:
        """An event that is set at every change of the roster from now on."""
        ...


def alerts_of(commit: Commit[Any]) -> Iterable[Alert]:
    """What a commit has to say to people. Pure; ids are those of the commit, so that telling twice is seen."""
    for number, event in enumerate(commit.events):
        found: tuple[AlertKind, str, str | None] | None = None
        match event:
            case DeliveryDead(assignment=assignment, letter=letter):
                found = AlertKind.DEAD_LETTER, f"投递 {letter.attempts} 次未成功，已成死信，请人工处理", assignment
            case DeliveryRefused(assignment=assignment):
                found = AlertKind.REFUSED, "部门系统拒收，请人工处理", assignment
            case DeliveryUncertain(assignment=assignment):
                found = AlertKind.UNCERTAIN, "无法确认部门系统是否收到，请人工核实", assignment
            case Supervised(level=level, assignment=supervised):
                found = AlertKind.SUPERVISED, f"{LEVELS[level.word]}发起督办", supervised
            case DeadlineBreached(kind=limit, action=action, assignment=late) if action != "urge":
                found = AlertKind.OVERDUE, f"{LIMITS[limit]}已过", late
        if found is not None:
            kind, text, whose = found
            yield Alert(
                id=f"{commit.id}:{commit.number}:{number}",
                kind=kind,
                text=f"{text}（{commit.id}{f' {whose}' if whose else ''}）",
                at=commit.at,
                case=commit.id,
            )


class Alerts:
    """Tells the notifiers."""

    def __init__(
        self,
        bus: Bus,
        ledger: Reader,
        roster: Roster,
        repairs: Repairs,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._roster = roster
        self._repairs = repairs
        self._clock = clock

    async def tell(self, alert: Alert) -> None:
        """Put an alert into every notifier's queue; raises BusUnavailable."""
        raw = msgspec.json.encode(alert)
        for notifier in {one.name for one in self._roster.notifiers()}:
            await self._bus.publish(f"alert.{notifier}", raw, message_id=f"{notifier}:{alert.id}")

    async def noted(self, kind: str, adapter: str, subject: str, text: str) -> None:
        """Store the platform's finding as a repair. If it stops an adapter, tell people as well."""
        await self._repairs.say(kind, adapter, subject, text)
        if kind not in TOLD:
            return
        now = self._clock()
        id = f"{kind}:{adapter}:{subject}:{now:%Y%m%d%H}"
        with contextlib.suppress(BusUnavailable):  # it stands in the repairs
            await self.tell(Alert(id=id, kind=AlertKind.ADAPTER_FAILED, text=text, at=now, adapter=adapter))

    async def run(self) -> None:
        """Follow the ledger and work every notifier's queue, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="alerts of the ledger")
            queues: dict[str, asyncio.Task[None]] = {}
            stirring = self._roster.stirring()
            while True:
                raise_if_cancelled()
                stirring.clear()
                wanted = {one.name: one for one in self._roster.notifiers()}
                for name in queues.keys() - wanted.keys():
                    queues.pop(name).cancel()
                for name in wanted.keys() - queues.keys():
                    queues[name] = group.create_task(self._queue(name), name=f"notify {name}")
                await stirring.wait()

    async def _follow(self) -> None:
        await ensure_consumer(self._bus, LEDGER, DURABLE, subject=MATTERS, most_pending=20_000)
        async with PullConsumer(self._bus, LEDGER, DURABLE, capacity=1024) as consumer:
            while True:
                raise_if_cancelled()
                batch = await consumer.batch(256)
                if self._roster.notifiers():
                    for delivery in batch:
                        for alert in alerts_of(self._ledger.read(delivery.subject, delivery.data)):
                            await self._until_told(alert)
                await consumer.ack(batch)

    async def _until_told(self, alert: Alert) -> None:
        while True:
            raise_if_cancelled()
            try:
                await self.tell(alert)
                return
            except BusUnavailable as problem:
                log.warning("alert not stored, trying again", alert=alert.id, reason=problem.message)
                await asyncio.sleep(0.5)

    async def _queue(self, name: str) -> None:
        durable = f"notifier-{name}"
        await ensure_consumer(self._bus, ALERTS, durable, subject=f"alert.{name}", most_pending=1_000)
        async with PullConsumer(self._bus, ALERTS, durable, capacity=4) as consumer:
            while True:
                raise_if_cancelled()
                await self._notify(name, await consumer.next())

    async def _notify(self, name: str, delivery: Delivery) -> None:
        alert = await read_or_put_aside(delivery, _read_alert, self._repairs.note, adapter=name)
        if alert is None:
            return
        async with delivery.handling():
            notifier = next((one for one in self._roster.notifiers() if one.name == name), None)
            if notifier is None:
                await delivery.retry(_FIRST_DELAY)
                return
            try:
                await notifier.notify(alert)
            except HubError as problem:
                if self._clock() - alert.at > KEEP_TRYING:
                    log.error("nobody could be told", adapter=name, alert=alert.id, reason=problem.message)
                    await delivery.stop()
                else:
                    log.warning("notifier failed, trying again", adapter=name, alert=alert.id, reason=problem.message)
                    await delivery.retry(min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(delivery.deliveries, 10)))
            else:
                await delivery.ack()


def _read_alert(raw: bytes) -> Alert:
    """An alert from its queue; raises ValueError."""
    alert = _alerts.decode(raw)
    if alert.at.utcoffset() is None:
        raise ValueError("its time has no offset")
    return alert


__all__ = ["Alerts", "alerts_of"]
