"""Takes feedback of units: each becomes a command on the right matter, once.

Nothing is ever dropped. Feedback that matches nothing yet waits in a queue. Feedback that conflicts is recorded on the matter. Unusable
feedback is put aside for an operator. Called by report-back, reconciliation and the answers of adapters elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec
import structlog

from hub.bus.buckets import Objects
from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import WAITING, ensure_consumer
from hub.contract import Feedback, FeedbackKind, ReportedFile
from hub.contract.instances import NAME
from hub.contract.values import Value
from hub.errors import (
    HubError,
    InvalidInput,
    LedgerConflict,
    NotAllowed,
    TransitionRefused,
)
from hub.model.actors import Actor, ActorKind
from hub.model.aggregate import Command, Folded
from hub.model.answers import Reached, Satisfied, Solved, satisfied_by
from hub.model.assignments.commands import Accept, Progress, RecordDelivered, Resolve, Return
from hub.model.assignments.state import Assignment, parse_delivery_key
from hub.model.case.commands import Comment, Visit
from hub.model.case.state import CaseId
from hub.model.district.areas import UnitCode
from hub.model.effects import Aware
from hub.model.records import Attachment
from hub.model.words import REACHED, SATISFIED, SOLVED
from hub.observing import telemetry
from hub.privacy.masks import mask_file_name, mask_text
from hub.spine.aside.put_aside import NO_ADAPTER, Note, read_or_put_aside
from hub.spine.aside.repair_items import Repair, RepairKind
from hub.spine.handover import awaits_delivery
from hub.spine.ledger.desk import Desks, Outcome, utc_now

log = structlog.get_logger("hub.reportback")

DURABLE = "waiting-feedback"
KEEP_TRYING = timedelta(days=3)
"""How long it waits for its case before it is put aside for an operator."""
_MEDIA_TYPE = re.compile(r"[a-z]{1,20}/[A-Za-z0-9.+-]{1,80}")
"""What may stand as a file's type: the department's word, and it goes into the ledger as it is."""
MOST_FILE = 10 * 1024 * 1024
MOST_BY = 100
MOST_NOTE = 2000


class TicketIndex(Protocol):
    """Finds cases by the departments' own numbers; may be a moment behind the ledger."""

    async def case_of_ticket(self, adapter: str, ticket: str) -> tuple[str, str] | None:
        """(case, assignment) of a department's ticket."""
        ...

    async def case_of_source(self, adapter: str, ref: str) -> CaseId | None:
        """The case a system's own matter became or joined."""
        ...


class Unmatched(HubError):
    """Its case is not known (yet)."""

    code = "unmatched_report"


class Taken(Value, frozen=True, omit_defaults=True, kw_only=True):
    """What a unit said as the hub keeps it, also in the WAITING queue: text masked, files already in the object store."""

    adapter: str
    id: str
    kind: FeedbackKind
    since: Aware
    key: str | None = None
    ticket: str | None = None
    at: datetime | None = None  # as it came; the lifecycle says no to one without offset
    by: str | None = None
    note: str | None = None
    public_reply: str | None = None
    files: tuple[Attachment, ...] = ()
    reached: Reached | None = None
    tries: int | None = None
    solved: Solved | None = None
    satisfied: Satisfied | None = None
    rating: int | None = None


_read_taken = msgspec.json.Decoder(Taken).decode


class Taking:
    """Takes what units say onto its matter."""

    def __init__(
        self,
        bus: Bus,
        desks: Desks,
        tickets: TicketIndex,
        objects: Objects,
        note: Note,
        *,
        dropped: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`dropped` says whether feedback on a delivery key is ignored: so it is for a trial's sample."""
        self._bus = bus
        self._desks = desks
        self._tickets = tickets
        self._objects = objects
        self._note = note
        self._dropped = dropped
        self._clock = clock

    async def run(self) -> None:
        """Work the queue of what waits for its matter, for ever."""
        await ensure_consumer(self._bus, WAITING, DURABLE, subject="waiting.>", most_pending=10_000)
        async with PullConsumer(self._bus, WAITING, DURABLE, capacity=16) as consumer, asyncio.TaskGroup() as group:
            while True:
                raise_if_cancelled()
                group.create_task(self._again(await consumer.next()))

    async def take(self, adapter: str, feedback: Feedback, department: str) -> Outcome[Any] | None:
        """Take one: committed on its case, or stored to wait for it (then None). One about a trial's sample is dropped.

        `department` is the code in the adapter's manifest. What the lifecycle refuses is put aside. Raises BusUnavailable.
        """
        if feedback.key is not None and self._dropped(feedback.key):
            log.info("feedback on a trial's sample dropped", adapter=adapter, feedback=feedback.id, kind=feedback.kind.value)
            return None
        with telemetry.span(
            f"receive feedback.{adapter}",
            kind="consumer",
            attributes={
                telemetry.ADAPTER: adapter,
                telemetry.FEEDBACK: feedback.kind.value,
                telemetry.DEPARTMENT: department,
            },
        ) as span:
            taken = await self._keep(adapter, feedback)
            try:
                return await self._commit(taken, span)
            except (Unmatched, LedgerConflict) as problem:
                log.info("feedback waits", adapter=adapter, feedback=feedback.id, reason=problem.message)
                await self._bus.publish(
                    f"waiting.{adapter}.{feedback.kind.value}",
                    msgspec.json.encode(taken),
                    message_id=f"{adapter}:{hashlib.sha256(feedback.id.encode()).hexdigest()[:24]}",
                    headers={"traceparent": span.traceparent} if span.traceparent else None,
                )
                return None

    async def _keep(self, adapter: str, feedback: Feedback) -> Taken:
        return Taken.of(
            feedback,
            adapter=adapter,
            since=self._clock(),
            by=_said(feedback.by, MOST_BY),
            note=_said(feedback.note, MOST_NOTE),
            public_reply=_said(feedback.public_reply, MOST_NOTE),
            files=await self._files(feedback.files),
        )

    async def _commit(self, feedback: Taken, span: telemetry.ActiveSpan) -> Outcome[Any]:
        adapter = feedback.adapter
        if feedback.kind is FeedbackKind.VISITED:
            return await self._visited(feedback, span)
        folded, found = await self._match(feedback)
        span.set(telemetry.CONVERSATION, folded.id)
        actor = Actor(kind=ActorKind.DEPARTMENT, name=adapter, unit=UnitCode(found.unit))
        try:
            if awaits_delivery(found):
                arrived = RecordDelivered(assignment=found.id, ticket=feedback.ticket or feedback.key or "", via="feedback")
                await self._desks.execute(folded.id, arrived, actor=actor, cause=folded.last_trace)
            return await self._execute(folded, feedback, _command(feedback, found.id), actor)
        except InvalidInput as problem:
            return await self._refused(folded, feedback, problem)

    async def _execute(self, folded: Folded[Any], feedback: Taken, command: Command, actor: Actor) -> Outcome[Any]:
        return await self._desks.execute(
            folded.id, command, actor=actor, command_id=_command_id(feedback), cause=folded.last_trace, strict=False
        )

    async def _refused(self, folded: Folded[Any], feedback: Taken, problem: InvalidInput) -> Outcome[Any]:
        """The lifecycle will not have it, and would not have it next time: put aside with its reason, for an operator."""
        await self.put_aside(feedback.adapter, feedback.id, problem.message, case=folded.id)
        return Outcome(folded)

    async def _visited(self, feedback: Taken, span: telemetry.ActiveSpan) -> Outcome[Any]:
        adapter = feedback.adapter
        ref = feedback.ticket or ""
        found = await self._tickets.case_of_source(adapter, ref)
        if found is None:
            raise Unmatched("no case came from this number (yet)", subject=ref)
        folded = await self._last(found)
        if folded is None:
            raise Unmatched("no such case", subject=ref)
        span.set(telemetry.CONVERSATION, folded.id)
        actor = Actor(kind=ActorKind.SYSTEM, name=adapter)
        try:
            return await self._execute(folded, feedback, _visit(feedback), actor)
        except TransitionRefused as problem:
            # A visit that comes too late changes nothing: the case is closed by then. It stays on the timeline.
            log.info("visit noted only", adapter=adapter, feedback=feedback.id, case=folded.id, reason=problem.message)
            return await self._execute(
                folded, feedback, Comment(text=f"回访结果（{_content(feedback)}）未计入：{problem.rule}"), actor
            )
        except InvalidInput as problem:
            return await self._refused(folded, feedback, problem)

    async def _last(self, id: str) -> Folded[Any] | None:
        """The case, or the one it went on in, over any number of merges."""
        folded = await self._desks.load(id)
        seen = {id}
        while folded is not None and (into := folded.state.merged_into) is not None and into not in seen:
            seen.add(into)
            folded = await self._desks.load(into)
        return folded

    async def _match(self, feedback: Taken) -> tuple[Folded[Any], Assignment]:
        """The matter and assignment it is about; raises Unmatched."""
        adapter = feedback.adapter
        place: tuple[str, str] | None = None
        if feedback.key:
            try:
                place = parse_delivery_key(feedback.key)
                self._desks.of(place[0])
            except ValueError:
                place = None
                log.warning("feedback with a foreign key", adapter=adapter, feedback=feedback.id)
        if place is None and feedback.ticket:
            place = await self._tickets.case_of_ticket(adapter, feedback.ticket)
        if place is None:
            raise Unmatched("neither our key nor a known ticket", subject=feedback.id)
        for look in (self._desks.known, self._desks.load):  # what this process knows may be older than the assignment
            folded = await look(place[0])
            found: Assignment | None = folded.state.assignment(place[1]) if folded is not None else None
            if folded is not None and found is not None and found.adapter == adapter:
                return folded, found
        raise Unmatched("the assignment is not this adapter's, or there is no such matter", subject=feedback.id)

    async def _files(self, files: Sequence[ReportedFile]) -> tuple[Attachment, ...]:
        stored = []
        for file in files:
            if len(file.content) > MOST_FILE:
                log.warning("file too large, left out", name=file.name, size=len(file.content))
                continue
            digest = await self._objects.put(file.content)
            stored.append(
                Attachment(
                    name=mask_file_name(file.name) or "file",
                    media_type=file.media_type if _MEDIA_TYPE.fullmatch(file.media_type) else "application/octet-stream",
                    size=len(file.content),
                    sha256=digest,
                )
            )
        return tuple(stored)

    async def put_aside(self, adapter: str, id: str, reason: str, *, case: str | None = None) -> None:
        """Keep what can't be used where an operator finds it: among the repairs. Raises BusUnavailable."""
        log.error("feedback put aside", adapter=adapter, feedback=id, case=case, reason=reason)
        text = f"上报 {id} 无法采用，已搁置：{reason}"
        await self._note(Repair(kind=RepairKind.PUT_ASIDE, adapter=adapter, subject=id[:300], text=text, case=case))

    async def _again(self, delivery: Delivery) -> None:
        waiting = await read_or_put_aside(delivery, _read_taken, self._note, adapter=_adapter_of(delivery.subject))
        if waiting is None:
            return
        async with delivery.handling():
            try:
                with telemetry.span(
                    f"receive feedback.{waiting.adapter}",
                    kind="consumer",
                    parent=delivery.headers.get("traceparent"),
                    attributes={
                        telemetry.ADAPTER: waiting.adapter,
                        telemetry.FEEDBACK: waiting.kind.value,
                        telemetry.RETRY: True,
                    },
                ) as span:
                    await self._commit(waiting, span)
            except (Unmatched, NotAllowed) as problem:
                if self._clock() - waiting.since > KEEP_TRYING:
                    await self.put_aside(waiting.adapter, waiting.id, problem.message)
                    await delivery.stop()
                else:
                    await delivery.retry(min(600.0, 0.25 * 2.0 ** min(delivery.deliveries, 12)))
            else:
                await delivery.ack()


def _adapter_of(subject: str) -> str:
    """Whose queue it is."""
    name = subject.split(".")[1]
    return name if NAME.fullmatch(name) else NO_ADAPTER


def _said(text: str | None, most: int) -> str | None:
    """What a department says as it may be kept; nothing but spaces says nothing."""
    return mask_text(text)[:most] if text and text.strip() else None


def _content(feedback: Taken) -> str:
    """Whether the reporter was reached and content, in words."""
    if feedback.reached is not Reached.YES:
        return REACHED[feedback.reached or Reached.NO]
    satisfied = SATISFIED[feedback.satisfied or satisfied_by(feedback.rating)]
    return "，".join(filter(None, (SOLVED[feedback.solved] if feedback.solved else "", satisfied, feedback.note)))


def _command_id(feedback: Taken) -> str:
    """The same one gives the same command id, whatever length the department's own number has."""
    return f"feedback:{feedback.adapter}:{hashlib.sha256(feedback.id.encode()).hexdigest()[:24]}"


def _visit(feedback: Taken) -> Visit:
    """The visit it tells of; raises InvalidInput when it does not say whether the reporter was reached."""
    if feedback.reached is None:
        raise InvalidInput("a visit says whether the reporter was reached", subject="reached")
    return Visit(
        reached=feedback.reached,
        tries=1 if feedback.tries is None else feedback.tries,
        solved=feedback.solved,
        satisfied=feedback.satisfied,
        rating=feedback.rating,
        note=feedback.note,
    )


def _command(feedback: Taken, assignment: str) -> Command:
    """The command it stands for."""
    match feedback.kind:
        case FeedbackKind.ACCEPTED:
            return Accept(assignment=assignment, by=feedback.by, note=feedback.note, reported_at=feedback.at)
        case FeedbackKind.PROGRESS:
            return Progress(
                assignment=assignment,
                note=feedback.note or "（无说明）",
                by=feedback.by,
                reported_at=feedback.at,
                attachments=feedback.files,
            )
        case FeedbackKind.RESOLVED:
            return Resolve(
                assignment=assignment,
                note=feedback.note,
                public_reply=feedback.public_reply,
                reached=feedback.reached,
                tries=feedback.tries,
                solved=feedback.solved,
                satisfied=feedback.satisfied,
                by=feedback.by,
                reported_at=feedback.at,
                attachments=feedback.files,
            )
        case FeedbackKind.RETURNED:
            return Return(
                assignment=assignment, reason=feedback.note or "（未说明原因）", by=feedback.by, reported_at=feedback.at
            )
        case FeedbackKind.VISITED:
            raise InvalidInput("a visit is not about an assignment", subject="kind")


__all__ = ["Taking", "TicketIndex", "Unmatched"]
