"""The hub's side of answers: messages of adapters elsewhere become commands on the right case, each message once.

One durable queue, one rate and one hub at a time per adapter: a flood delays its own adapter only. The subject names the adapter, never the
body. An unusable message is put aside with its reason and blocks nothing. Also answers questions for a contact, and hears the signs of
life. Started by the composition root.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.exchange import Listening, Reply
from hub.bus.lease import Lease
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import ensure_answer_stream, ensure_consumer
from hub.contract import Feedback, FeedbackKind, IncomingCase
from hub.contract.values import Said
from hub.errors import BusUnavailable, CredentialsRejected, InvalidInput, LedgerConflict, NotAllowed, Withdrawn
from hub.observing import telemetry
from hub.platform.adapters import Adapters, Away
from hub.platform.adapters.soundness import item as sound_item
from hub.platform.remote import messages
from hub.platform.remote.contacts import Contacts
from hub.platform.remote.messages import Beat, Terms
from hub.platform.remote.orders import Orders
from hub.platform.remote.outcomes import Outcomes
from hub.platform.remote.protocol import Event, decode_answer, read
from hub.spine.aside.put_aside import Note, read_or_put_aside
from hub.spine.aside.repair_items import Repair, RepairKind, unmapped
from hub.spine.ledger.desk import utc_now

if TYPE_CHECKING:
    from hub.spine.ways_in.reportback import ReportBack

log = structlog.get_logger("hub.remote")

T = TypeVar("T", Feedback, IncomingCase)

IN_HAND = 8
"""Answers of one adapter in work at once; each may hold 15 MiB."""
BUSY_DELAY = 1.0
"""Seconds until an answer is tried again when the hub itself could not commit."""
SILENT_AFTER = timedelta(seconds=60)
"""An adapter that gave no sign of life for so long counts as silent."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The last sign of life of an adapter elsewhere."""

    beat: Beat
    at: datetime

    def silent(self, now: datetime) -> bool:
        """Whether it has not been heard of for too long."""
        return now - self.at > SILENT_AFTER


class Answers:
    """Takes the messages of adapters elsewhere: outcomes of orders, feedback, new matters, questions for a contact."""

    def __init__(
        self,
        bus: Bus,
        adapters: Adapters,
        orders: Orders,
        outcomes: Outcomes,
        contacts: Contacts,
        reportback: ReportBack,
        note: Note,
        *,
        clock: Callable[[], datetime] = utc_now,
        replicas: int = 1,
    ) -> None:
        self._bus = bus
        self._adapters = adapters
        self._orders = orders
        self._reportback = reportback
        self._note = note
        self._clock = clock
        self._replicas = replicas
        self._outcomes = outcomes
        self._contacts = contacts
        self._seen: dict[str, Seen] = {}
        self._questions: dict[str, int] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve every instance that runs elsewhere, for ever; they come and go with the roster."""
        serving: dict[str, asyncio.Task[None]] = {}
        async with (
            Listening(self._bus, "contact.*", self._asked, queue="hub"),
            Listening(self._bus, "beat.*", self._beaten),
            asyncio.TaskGroup() as group,
        ):
            try:
                async for _ in self._adapters.changes():
                    raise_if_cancelled()
                    wanted = self.names()
                    for name in serving.keys() - wanted:
                        serving.pop(name).cancel()
                    for name in wanted - serving.keys():
                        serving[name] = group.create_task(self._in_turn(name), name=f"reports of {name}")
            finally:
                for task in self._working:
                    task.cancel()

    def names(self) -> set[str]:
        """The instances whose code runs elsewhere."""
        return {name for name in self._adapters.names() if self._away(name) is not None}

    def seen(self, name: str) -> Seen | None:
        """The last sign of life of an instance; None: not heard of since this hub started."""
        return self._seen.get(name)

    def _away(self, name: str) -> Away | None:
        found = self._adapters.get(name) if self._adapters.serves(name) else None
        return found if isinstance(found, Away) else None

    async def _in_turn(self, name: str) -> None:
        """Take one adapter's answers while no other hub of the bus does. Two would keep neither their order nor the rate."""
        await Lease(self._bus, f"answers.{name}").keep(lambda: self._serve(name))

    async def _serve(self, name: str) -> None:
        """Take one adapter's answers in their order, no faster than its rate."""
        await self._orders.ensure(name)
        stream = await ensure_answer_stream(self._bus, name, replicas=self._replicas)
        await ensure_consumer(self._bus, stream, "hub", subject=f"answer.{name}.>", most_pending=1000)
        chains: dict[str, asyncio.Task[None]] = {}
        async with PullConsumer(self._bus, stream, "hub", capacity=IN_HAND) as consumer, asyncio.TaskGroup() as group:
            while True:
                raise_if_cancelled()
                delivery = await consumer.next()
                away = self._away(name)
                if away is None:
                    delivery.forget()
                    return
                if (wait := away.reports.wait()) > 0:
                    await asyncio.sleep(wait)
                kind = delivery.subject.split(".", 2)[-1]
                event = await read_or_put_aside(
                    delivery, partial(decode_answer, kind=kind), self._note, adapter=name, subject=f"{kind}: unreadable"
                )
                if event is None:
                    continue
                about = _about(event)
                # Reports about the same assignment keep their order, others don't wait for one another.
                task = group.create_task(self._one(name, delivery, event, chains.get(about)), name=f"report of {name}")
                chains[about] = task
                task.add_done_callback(partial(_unchained, chains, about))

    async def _one(self, name: str, delivery: Delivery, event: Event, before: asyncio.Task[None] | None) -> None:
        """Take one answer. While the hub itself is in trouble, it is tried here again and again, so that order is kept."""
        if before is not None:
            await asyncio.wait((before,))
        while True:
            raise_if_cancelled()
            try:
                with telemetry.span(
                    f"receive feedback.{name}",
                    kind="consumer",
                    parent=event.traceparent,
                    attributes={telemetry.ADAPTER: name, "hub.feedback": event.kind, telemetry.MESSAGE_ID: event.id},
                ):
                    await self._commit_or_put_aside(name, event)
                break
            except (BusUnavailable, LedgerConflict) as problem:
                log.warning("report waits for the hub", adapter=name, report=event.id, reason=problem.message)
                await asyncio.sleep(BUSY_DELAY)
        try:
            await delivery.ack()
        except BusUnavailable as problem:
            log.warning("report comes again", reason=problem.message)

    async def _commit_or_put_aside(self, name: str, event: Event) -> None:
        try:
            await self._commit(name, event)
        except (InvalidInput, NotAllowed) as problem:
            await self._aside(name, event.id, problem.message)

    async def _commit(self, name: str, event: Event) -> None:
        data = event.data
        match data:
            case Said():
                report = Feedback.of(data, id=event.id, kind=FeedbackKind(event.kind))
                await self._reportback.take(name, _sound(report, self._clock()))
            case IncomingCase():
                await self._reportback.bring(name, _sound(data, self._clock()))
            case messages.Unmapped():
                await self._note(unmapped(name, data.table, data.word, data.about))
            case messages.Aside():
                await self._aside(name, data.item, data.reason)
            case _:
                away = self._away(name)
                if away is None:
                    raise NotAllowed("no such adapter", subject=name)
                await self._outcomes.record(away, event)

    async def _aside(self, name: str, item: str, reason: str) -> None:
        """Keep what can't be used where an operator finds it. Raises BusUnavailable."""
        log.error("report put aside", adapter=name, report=item, reason=reason)
        text = f"无法处理的反馈：{reason[:500]}"
        await self._note(Repair(kind=RepairKind.PUT_ASIDE, adapter=name, subject=item[:200], text=text))

    # --- signs of life and questions ---

    async def _beaten(self, subject: str, raw: bytes, reply: Reply | None) -> None:
        name = subject.partition(".")[2]
        away = self._away(name)
        if away is None:
            return
        try:
            beat = read(raw, Beat)
        except InvalidInput as problem:
            log.warning("a beat that can't be read", adapter=name, reason=problem.message)
            return
        self._seen[name] = Seen(beat=beat, at=self._clock())
        self._background(self._heed(away, beat))
        if reply is not None:
            try:
                await reply(msgspec.json.encode(self._terms(away)))
            except BusUnavailable as problem:
                log.warning("terms not told", adapter=name, reason=problem.message)

    async def _heed(self, away: Away, beat: Beat) -> None:
        """When a department does not let its adapter in, the hub pauses the adapter here too, until it says that it is let in again."""
        pause = away.pause
        try:
            if beat.paused is not None and pause is None:
                kind = CredentialsRejected if beat.automatic else Withdrawn
                await self._adapters.shut_out(away.name, kind(beat.paused[:300], subject=away.name))
            elif beat.paused is None and pause is not None:
                await self._adapters.let_in(away.name)
        except BusUnavailable as problem:
            log.warning("the state of an adapter is not kept", adapter=away.name, reason=problem.message)

    def _terms(self, away: Away) -> Terms:
        instance = away.instance
        return Terms(
            concurrency=instance.concurrency,
            items_per_second=instance.items_per_second,
            paused=away.pause is not None,
            crosswalk=instance.crosswalk,
        )

    async def _asked(self, subject: str, raw: bytes, reply: Reply | None) -> None:
        """A question for a contact. Each adapter may have a few open at once; further ones get no answer."""
        name = subject.partition(".")[2]
        if reply is None or self._questions.get(name, 0) >= IN_HAND:
            return
        self._questions[name] = self._questions.get(name, 0) + 1
        self._background(self._answer(name, raw, reply))

    async def _answer(self, name: str, raw: bytes, reply: Reply) -> None:
        try:
            await reply(msgspec.json.encode(await self._contacts.answer(name, raw)))
        except (BusUnavailable, LedgerConflict) as problem:
            log.warning("a question for a contact has no answer", adapter=name, reason=problem.message)
        finally:
            self._questions[name] -= 1

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)


def _about(event: Event) -> str:
    """The subject of an answer. Answers on one subject are taken in their order."""
    data = event.data
    return next((str(found) for field in ("key", "ticket", "case", "ref") if (found := getattr(data, field, None))), event.id)


def _unchained(chains: dict[str, asyncio.Task[None]], about: str, done: asyncio.Task[None]) -> None:
    if chains.get(about) is done:
        del chains[about]


def _sound(item: T, now: datetime) -> T:
    """Apply the bounds that also hold for a plugin in the hub. Raises InvalidInput."""
    try:
        sound_item(item, now)
    except ValueError as problem:
        raise InvalidInput(str(problem), subject="data") from problem
    return item
