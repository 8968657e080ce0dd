"""Taking what units say: each report becomes a command on the right matter, once.

A report is never dropped. What can't be matched yet waits in REPORTS, what conflicts is recorded on the matter, what nobody can use is put
aside for an operator. Called by report-back, reconciliation and the answers of adapters elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec
import structlog

from hub.bus.buckets import Objects
from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import REPORTS, ensure_consumer
from hub.contract import Report, ReportedFile, ReportKind
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
from hub.model.assignments.commands import Accept, Progress, RecordDelivered, Resolve, Return
from hub.model.assignments.state import Assignment, parse_delivery_key
from hub.model.case.commands import Comment, Visit
from hub.model.case.state import CaseId
from hub.model.district.areas import UnitCode
from hub.model.effects import Aware
from hub.model.records import Attachment
from hub.observing import telemetry
from hub.privacy.masks import mask_file_name, mask_text
from hub.spine.aside.put_aside import NO_ADAPTER, Note, read_or_put_aside
from hub.spine.aside.repair_items import Repair, RepairKind
from hub.spine.handover import awaits_delivery
from hub.spine.ledger.desk import Desks, Outcome, utc_now

log = structlog.get_logger("hub.reportback")

DURABLE = "waiting-reports"
KEEP_TRYING = timedelta(days=3)
"""How long a report waits for its case before it is put aside for an operator."""
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
    """The case of a report is not known (yet)."""

    code = "unmatched_report"


class Taken(Value, frozen=True, omit_defaults=True, kw_only=True):
    """A report as the hub keeps it, also in the REPORTS queue: text masked, files already in the object store."""

    adapter: str
    id: str
    kind: ReportKind
    since: Aware
    key: str | None = None
    ticket: str | None = None
    at: datetime | None = None  # as it came; the lifecycle says no to one without offset
    by: str | None = None
    note: str | None = None
    files: tuple[Attachment, ...] = ()
    reached: bool | None = None
    solved: bool | None = None
    satisfied: bool | None = None
    rating: int | None = None


_read_taken = msgspec.json.Decoder(Taken).decode


class Taking:
    """Takes reports onto their matters."""

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
        """`dropped` says of which delivery keys nothing is taken: those of a trial's sample."""
        self._bus = bus
        self._desks = desks
        self._tickets = tickets
        self._objects = objects
        self._note = note
        self._dropped = dropped
        self._clock = clock

    async def run(self) -> None:
        """Work the queue of reports that wait for their matter, for ever."""
        await ensure_consumer(self._bus, REPORTS, DURABLE, subject="waiting.>", most_pending=10_000)
        async with PullConsumer(self._bus, REPORTS, DURABLE, capacity=16) as consumer, asyncio.TaskGroup() as group:
            while True:
                raise_if_cancelled()
                group.create_task(self._again(await consumer.next()))

    async def take(self, adapter: str, report: Report, department: str) -> Outcome[Any] | None:
        """Take one report: committed on its case, or stored to wait for it (then None). One about a trial's sample is dropped.

        `department` is the code in the adapter's manifest. What the lifecycle refuses is put aside. Raises BusUnavailable.
        """
        if report.key is not None and self._dropped(report.key):
            log.info("report on a trial's sample dropped", adapter=adapter, report=report.id, kind=report.kind.value)
            return None
        with telemetry.span(
            f"receive report.{adapter}",
            kind="consumer",
            attributes={
                telemetry.ADAPTER: adapter,
                telemetry.REPORT: report.kind.value,
                telemetry.DEPARTMENT: department,
            },
        ) as span:
            taken = await self._keep(adapter, report)
            try:
                return await self._commit(taken, span)
            except (Unmatched, LedgerConflict) as problem:
                log.info("report waits", adapter=adapter, report=report.id, reason=problem.message)
                await self._bus.publish(
                    f"waiting.{adapter}.{report.kind.value}",
                    msgspec.json.encode(taken),
                    message_id=f"{adapter}:{hashlib.sha256(report.id.encode()).hexdigest()[:24]}",
                    headers={"traceparent": span.traceparent} if span.traceparent else None,
                )
                return None

    async def _keep(self, adapter: str, report: Report) -> Taken:
        return Taken.of(
            report,
            adapter=adapter,
            since=self._clock(),
            by=_said(report.by, MOST_BY),
            note=_said(report.note, MOST_NOTE),
            files=await self._files(report.files),
        )

    async def _commit(self, report: Taken, span: telemetry.ActiveSpan) -> Outcome[Any]:
        adapter = report.adapter
        if report.kind is ReportKind.VISITED:
            return await self._visited(report, span)
        folded, found = await self._match(report)
        span.set(telemetry.CONVERSATION, folded.id)
        actor = Actor(kind=ActorKind.DEPARTMENT, name=adapter, unit=UnitCode(found.unit))
        try:
            if awaits_delivery(found):
                arrived = RecordDelivered(assignment=found.id, ticket=report.ticket or report.key or "", via="report")
                await self._desks.execute(folded.id, arrived, actor=actor, cause=folded.last_trace)
            return await self._execute(folded, report, _command(report, found.id), actor)
        except InvalidInput as problem:
            return await self._refused(folded, report, problem)

    async def _execute(self, folded: Folded[Any], report: Taken, command: Command, actor: Actor) -> Outcome[Any]:
        return await self._desks.execute(
            folded.id, command, actor=actor, command_id=_command_id(report), cause=folded.last_trace, strict=False
        )

    async def _refused(self, folded: Folded[Any], report: Taken, problem: InvalidInput) -> Outcome[Any]:
        """The lifecycle will not have it, and would not have it next time: put aside with its reason, for an operator."""
        await self.put_aside(report.adapter, report.id, problem.message, case=folded.id)
        return Outcome(folded)

    async def _visited(self, report: Taken, span: telemetry.ActiveSpan) -> Outcome[Any]:
        adapter = report.adapter
        ref = report.ticket or ""
        found = await self._tickets.case_of_source(adapter, ref)
        if found is None:
            raise Unmatched("no case came from this number (yet)", subject=ref)
        folded = await self._last(found)
        if folded is None:
            raise Unmatched("no such case", subject=ref)
        span.set(telemetry.CONVERSATION, folded.id)
        actor = Actor(kind=ActorKind.SYSTEM, name=adapter)
        command = Visit(
            reached=bool(report.reached),
            solved=report.solved,
            satisfied=report.satisfied,
            rating=report.rating,
            note=report.note,
        )
        try:
            return await self._execute(folded, report, command, actor)
        except TransitionRefused as problem:
            # A visit that comes too late (the case is closed by then) changes nothing any more; it stays on the timeline.
            log.info("visit noted only", adapter=adapter, report=report.id, case=folded.id, reason=problem.message)
            return await self._execute(
                folded, report, Comment(text=f"回访结果（{_content(report)}）未计入：{problem.rule}"), actor
            )
        except InvalidInput as problem:
            return await self._refused(folded, report, problem)

    async def _last(self, id: str) -> Folded[Any] | None:
        """The case, or the one it went on in, over any number of merges."""
        folded = await self._desks.load(id)
        seen = {id}
        while folded is not None and (into := folded.state.merged_into) is not None and into not in seen:
            seen.add(into)
            folded = await self._desks.load(into)
        return folded

    async def _match(self, report: Taken) -> tuple[Folded[Any], Assignment]:
        """The matter and assignment of a report; raises Unmatched."""
        adapter = report.adapter
        place: tuple[str, str] | None = None
        if report.key:
            try:
                place = parse_delivery_key(report.key)
                self._desks.of(place[0])
            except ValueError:
                place = None
                log.warning("report with a foreign key", adapter=adapter, report=report.id)
        if place is None and report.ticket:
            place = await self._tickets.case_of_ticket(adapter, report.ticket)
        if place is None:
            raise Unmatched("neither our key nor a known ticket", subject=report.id)
        for look in (self._desks.known, self._desks.load):  # what this process knows may be older than the assignment
            folded = await look(place[0])
            found: Assignment | None = folded.state.assignment(place[1]) if folded is not None else None
            if folded is not None and found is not None and found.adapter == adapter:
                return folded, found
        raise Unmatched("the assignment is not this adapter's, or there is no such matter", subject=report.id)

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
                    media_type=file.media_type[:100],
                    size=len(file.content),
                    sha256=digest,
                )
            )
        return tuple(stored)

    async def put_aside(self, adapter: str, id: str, reason: str, *, case: str | None = None) -> None:
        """Keep what can't be used where an operator finds it: among the repairs. Raises BusUnavailable."""
        log.error("report put aside", adapter=adapter, report=id, case=case, reason=reason)
        text = f"上报 {id} 无法采用，已搁置：{reason}"
        await self._note(Repair(kind=RepairKind.PUT_ASIDE, adapter=adapter, subject=id[:300], text=text, case=case))

    async def _again(self, delivery: Delivery) -> None:
        waiting = await read_or_put_aside(delivery, _read_taken, self._note, adapter=_adapter_of(delivery.subject))
        if waiting is None:
            return
        async with delivery.handling():
            try:
                with telemetry.span(
                    f"receive report.{waiting.adapter}",
                    kind="consumer",
                    parent=delivery.headers.get("traceparent"),
                    attributes={
                        telemetry.ADAPTER: waiting.adapter,
                        telemetry.REPORT: waiting.kind.value,
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
    """Whose queue of waiting reports it is."""
    name = subject.split(".")[1]
    return name if NAME.fullmatch(name) else NO_ADAPTER


def _said(text: str | None, most: int) -> str | None:
    """What a department says as it may be kept; nothing but spaces says nothing."""
    return mask_text(text)[:most] if text and text.strip() else None


def _content(report: Taken) -> str:
    """Whether the reporter was reached and content, in words."""
    if not report.reached:
        return "未接通"
    return {True: "满意", False: "不满意", None: "未评价"}[report.satisfied] + (f"，{report.note}" if report.note else "")


def _command_id(report: Taken) -> str:
    """The same report gives the same command id, whatever length the department's own number has."""
    return f"report:{report.adapter}:{hashlib.sha256(report.id.encode()).hexdigest()[:24]}"


def _command(report: Taken, assignment: str) -> Command:
    """The command a report stands for."""
    match report.kind:
        case ReportKind.ACCEPTED:
            return Accept(assignment=assignment, by=report.by, note=report.note, reported_at=report.at)
        case ReportKind.PROGRESS:
            return Progress(
                assignment=assignment,
                note=report.note or "（无说明）",
                by=report.by,
                reported_at=report.at,
                attachments=report.files,
            )
        case ReportKind.RESOLVED:
            return Resolve(
                assignment=assignment, note=report.note, by=report.by, reported_at=report.at, attachments=report.files
            )
        case ReportKind.RETURNED:
            return Return(assignment=assignment, reason=report.note or "（未说明原因）", by=report.by, reported_at=report.at)
        case ReportKind.VISITED:
            raise InvalidInput("a visit is not about an assignment", subject="kind")


__all__ = ["Taking", "TicketIndex", "Unmatched"]
