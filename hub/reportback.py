"""Report-back: what departments say, by callback or poll, becomes commands on the right case, each report once.

Owns the poll loops, one hub's at a time, with their durable cursors, and the queue of reports whose case is not known yet. A report is
never dropped: what can't be matched waits in REPORTS, what conflicts is recorded in the case. Called by the API; started by the
composition root.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from hub import telemetry
from hub.adapters import Adapters, Brought, Running
from hub.bus.buckets import Bucket, Entry, Objects
from hub.bus.connection import Bus
from hub.bus.lease import Lease
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import REPORTS, ensure_consumer, forget_consumer
from hub.cancellation import raise_if_cancelled
from hub.contract import CallbackRejected, CallbackRequest, Capability, IncomingCase, Report, ReportedFile, ReportKind
from hub.desk import Desk, Outcome, utc_now
from hub.errors import (
    BusUnavailable,
    CredentialsRejected,
    HubError,
    InvalidInput,
    LedgerConflict,
    NotAllowed,
    TransitionRefused,
    Withdrawn,
)
from hub.handover import awaits_delivery
from hub.model.areas import UnitCode
from hub.model.cases import Actor, ActorKind, Attachment, CaseId, parse_delivery_key
from hub.model.commands import Accept, AnyCommand, Comment, Progress, RecordDelivered, Resolve, Return, Visit
from hub.privacy import mask_file_name, mask_text
from hub.repairs import Repair, RepairKind
from hub.trial.sample import is_sample

if TYPE_CHECKING:
    from hub.model.cases import Case
    from hub.repairs import Repairs

log = structlog.get_logger("hub.reportback")

DURABLE = "waiting-reports"
_FORMER_DURABLE = "reports"  # until `report.>` became what comes from afar
KEEP_TRYING = timedelta(days=3)
"""How long a report waits for its case before it is put aside for an operator."""
MOST_FILE = 10 * 1024 * 1024
MOST_BY = 100
MOST_NOTE = 2000


class TicketIndex(Protocol):
    """Finds cases by the departments' own numbers; may be a moment behind the ledger."""

    async def case_of_ticket(self, adapter: str, ticket: str) -> tuple[CaseId, str] | None:
        """(case, assignment) of a department's ticket."""
        ...

    async def case_of_source(self, adapter: str, ref: str) -> CaseId | None:
        """The case a system's own matter became or joined."""
        ...


class Unmatched(HubError):
    """The case of a report is not known (yet)."""

    code = "unmatched_report"


class Taken(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A report as the hub keeps it, also in the REPORTS queue: text masked, files already in the object store."""

    adapter: str
    id: str
    kind: ReportKind
    since: datetime
    key: str | None = None
    ticket: str | None = None
    at: datetime | None = None
    by: str | None = None
    note: str | None = None
    files: tuple[Attachment, ...] = ()
    reached: bool | None = None
    solved: bool | None = None
    satisfied: bool | None = None
    rating: int | None = None


class Incoming(Protocol):
    """What report-back needs of intake: open a case for what a department's system brings in."""

    async def __call__(self, adapter: str, item: IncomingCase, actor: Actor, cause: str | None) -> Outcome:
        """Open or find the case."""
        ...


class ReportBack:
    """Takes reports in."""

    def __init__(
        self,
        bus: Bus,
        desk: Desk,
        adapters: Adapters,
        incoming: Incoming,
        tickets: TicketIndex,
        objects: Objects,
        cursors: Bucket,
        repairs: Repairs,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._bus = bus
        self._desk = desk
        self._adapters = adapters
        self._incoming = incoming
        self._tickets = tickets
        self._objects = objects
        self._cursors = cursors
        self._repairs = repairs
        self._clock = clock

    async def run(self) -> None:
        """Poll every adapter that can be polled, and work the queue of waiting reports, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._waiting(), name="waiting reports")
            polls: dict[Running, asyncio.Task[None]] = {}
            async for _ in self._adapters.changes():
                raise_if_cancelled()
                wanted = {one for one in self._adapters.running() if one.can(Capability.POLL)}
                for gone in polls.keys() - wanted:
                    polls.pop(gone).cancel()
                for fresh in wanted - polls.keys():
                    polls[fresh] = group.create_task(self._poll(fresh), name=f"poll {fresh.name}")

    async def callback(self, adapter: str, request: CallbackRequest) -> int:
        """Verify, read and take a callback; returns how many items it held, all of them stored.

        Raises CallbackRejected, NotAllowed (no such adapter), BusUnavailable (the department has to send it again).
        """
        rejection: CallbackRejected | None = None
        for running in self._adapters.versions_here(adapter):
            if not running.can(Capability.CALLBACK):
                continue
            try:
                brought = await running.parse_callback(request)
            except CallbackRejected as problem:
                rejection = rejection or problem  # a version on trial may have another secret
                continue
            wait = running.reports.admit(len(brought.items))
            if wait > 0:
                raise CallbackRejected(f"too many reports, come back in {wait:.0f} s", status=429)
            await self._take_all(running, brought)
            return len(brought.items)
        if rejection is not None:
            raise rejection
        raise NotAllowed("no such callback", subject=adapter)

    async def _take_all(self, running: Running, brought: Brought) -> None:
        for id, reason in brought.rejected:
            await self._put_aside(running.name, id, reason)
        for item in brought.items:
            if isinstance(item, IncomingCase):
                await self._take_case(running, item)
            else:
                await self.take(running.name, item)

    async def _take_case(self, running: Running, item: IncomingCase) -> None:
        actor = Actor(kind=ActorKind.SYSTEM, name=running.name)
        with telemetry.span(
            f"receive report.{running.name}",
            kind="consumer",
            attributes={telemetry.ADAPTER: running.name, "hub.report": "case"},
        ):
            try:
                await self._incoming(running.name, item, actor, telemetry.traceparent())
            except InvalidInput as problem:
                # Sending it again would not help: it is put aside with its reason, for an operator.
                await self._put_aside(running.name, f"case:{item.ref}", problem.message)

    async def take(self, adapter: str, report: Report) -> Outcome | None:
        """Take one report: committed on its case, or stored to wait for it (then None). One about a trial's sample is dropped."""
        if report.key is not None and is_sample(report.key):
            log.info("report on a trial's sample dropped", adapter=adapter, report=report.id, kind=report.kind.value)
            return None
        with telemetry.span(
            f"receive report.{adapter}",
            kind="consumer",
            attributes={
                telemetry.ADAPTER: adapter,
                "hub.report": report.kind.value,
                telemetry.DEPARTMENT: self._adapters.get(adapter).manifest.department,
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
        return Taken(
            adapter=adapter,
            id=report.id,
            kind=report.kind,
            since=self._clock(),
            key=report.key,
            ticket=report.ticket,
            at=report.at,
            by=mask_text(report.by)[:MOST_BY] if report.by else None,
            note=mask_text(report.note)[:MOST_NOTE] if report.note else None,
            files=await self._files(report.files),
            reached=report.reached,
            solved=report.solved,
            satisfied=report.satisfied,
            rating=report.rating,
        )

    async def _commit(self, report: Taken, span: telemetry.ActiveSpan) -> Outcome:
        adapter = report.adapter
        if report.kind is ReportKind.VISITED:
            return await self._visited(report, span)
        case, assignment = await self._match(report)
        found = case.assignment(assignment)
        if found is None or found.adapter != adapter:
            raise Unmatched("the assignment is not this adapter's", subject=report.id)
        span.set(telemetry.CONVERSATION, case.id)
        cause = case.last_trace
        actor = Actor(kind=ActorKind.DEPARTMENT, name=adapter, unit=UnitCode(found.unit))
        if awaits_delivery(found):
            ticket = report.ticket or report.key or ""
            await self._desk.execute(
                case.id, RecordDelivered(assignment=assignment, ticket=ticket, via="report"), actor=actor, cause=cause
            )
        command = _command(report, assignment)
        try:
            return await self._desk.execute(
                case.id, command, actor=actor, command_id=_command_id(report), cause=cause, strict=False
            )
        except TransitionRefused as problem:
            log.warning("report refused", adapter=adapter, report=report.id, reason=problem.message)
            await self._put_aside(adapter, report.id, problem.message, case=case.id)
            return Outcome(case, case.sequence)

    async def _visited(self, report: Taken, span: telemetry.ActiveSpan) -> Outcome:
        adapter = report.adapter
        ref = report.ticket or ""
        found = await self._tickets.case_of_source(adapter, ref)
        if found is None:
            raise Unmatched("no case came from this number (yet)", subject=ref)
        case = await self._desk.load(found)
        if case is None:
            raise Unmatched("no such case", subject=ref)
        while case.merged_into is not None:
            other = await self._desk.load(case.merged_into)
            if other is None:
                break
            case = other
        span.set(telemetry.CONVERSATION, case.id)
        actor = Actor(kind=ActorKind.SYSTEM, name=adapter)
        command = Visit(
            reached=bool(report.reached),
            solved=report.solved,
            satisfied=report.satisfied,
            rating=report.rating,
            note=report.note,
        )
        try:
            return await self._desk.execute(
                case.id, command, actor=actor, command_id=_command_id(report), cause=case.last_trace, strict=False
            )
        except TransitionRefused as problem:
            # A visit that comes too late (the case is closed by then) changes nothing any more; it stays on the timeline.
            log.info("visit noted only", adapter=adapter, report=report.id, case=case.id, reason=problem.message)
            words = f"回访结果（{_content(report)}）未计入：{problem.rule}"
            return await self._desk.execute(
                case.id, Comment(text=words), actor=actor, command_id=_command_id(report), cause=case.last_trace, strict=False
            )

    async def _match(self, report: Taken) -> tuple[Case, str]:
        """The case and assignment of a report; raises Unmatched."""
        adapter = report.adapter
        place: tuple[CaseId, str] | None = None
        if report.key:
            try:
                place = parse_delivery_key(report.key)
            except ValueError:
                log.warning("report with a foreign key", adapter=adapter, report=report.id)
        if place is None and report.ticket:
            place = await self._tickets.case_of_ticket(adapter, report.ticket)
        if place is None:
            raise Unmatched("neither our key nor a known ticket", subject=report.id)
        case = await self._desk.load(place[0])
        if case is None:
            raise Unmatched("no such case", subject=place[0])
        return case, place[1]

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

    async def _put_aside(self, adapter: str, id: str, reason: str, *, case: str | None = None) -> None:
        """Keep what can't be used where an operator finds it: among the repairs. Raises BusUnavailable."""
        log.error("report put aside", adapter=adapter, report=id, case=case, reason=reason)
        text = f"上报 {id} 无法采用，已搁置：{reason}"
        await self._repairs.note(Repair(kind=RepairKind.PUT_ASIDE, adapter=adapter, subject=id[:300], text=text, case=case))

    async def _waiting(self) -> None:
        await forget_consumer(self._bus, REPORTS, _FORMER_DURABLE)
        await ensure_consumer(self._bus, REPORTS, DURABLE, subject="waiting.>", most_pending=10_000)
        async with PullConsumer(self._bus, REPORTS, DURABLE, capacity=16) as consumer, asyncio.TaskGroup() as group:
            while True:
                raise_if_cancelled()
                group.create_task(self._again(await consumer.next()))

    async def _again(self, delivery: Delivery) -> None:
        waiting = msgspec.json.decode(delivery.data, type=Taken)
        try:
            with telemetry.span(
                f"receive report.{waiting.adapter}",
                kind="consumer",
                parent=delivery.headers.get("traceparent"),
                attributes={telemetry.ADAPTER: waiting.adapter, "hub.report": waiting.kind.value, telemetry.RETRY: True},
            ) as span:
                await self._commit(waiting, span)
        except (Unmatched, NotAllowed) as problem:
            if self._clock() - waiting.since > KEEP_TRYING:
                await self._put_aside(waiting.adapter, waiting.id, problem.message)
                await delivery.stop()
            else:
                await delivery.retry(min(600.0, 0.25 * 2.0 ** min(delivery.deliveries, 12)))
        except (BusUnavailable, LedgerConflict):
            await delivery.retry(1.0)
        except InvalidInput as problem:
            await self._put_aside(waiting.adapter, waiting.id, problem.message)
            await delivery.stop()
        else:
            await delivery.ack()
        finally:
            delivery.forget()

    async def _poll(self, running: Running) -> None:
        """Poll for ever, whenever no other hub of the bus does: what has one cursor is read by one at a time."""
        key = f"{running.name}.{running.cursor_name}"
        lease = Lease(self._bus, f"poll.{key}")
        await lease.keep(lambda: self._poll_alone(running, key))

    async def _poll_alone(self, running: Running, key: str) -> None:
        """Poll for ever; the cursor moves only when everything a poll brought is stored."""
        every = running.manifest.poll_every.total_seconds()
        troubles = 0
        cursor: Entry | None = None
        while True:
            raise_if_cancelled()
            if running.pause is not None:
                await asyncio.sleep(every)
                continue
            more = False
            try:
                cursor = cursor or await self._cursor(key)
                found = await running.poll(cursor.value.decode() or None)
                if found.items or found.rejected:
                    with telemetry.span(f"poll {running.name}", root=True, attributes={telemetry.ADAPTER: running.name}):
                        await self._take_slowly(running, found)
                if found.cursor is not None and found.cursor.encode() != cursor.value:
                    value = found.cursor.encode()
                    cursor = Entry(value, await self._cursors.update(key, value, cursor.revision))
                more = found.more
                troubles = 0
            except (CredentialsRejected, Withdrawn) as problem:
                await self._adapters.shut_out(running.name, problem)
            except HubError as problem:
                if isinstance(problem, LedgerConflict):
                    cursor = None  # another hub moved it, or a write is stored whose answer was lost
                troubles += 1
                if troubles == 1:
                    log.warning("poll failed", adapter=running.name, reason=problem.message)
            if not more:
                await asyncio.sleep(min(60.0, every * 2.0 ** min(troubles, 5)))

    async def _cursor(self, key: str) -> Entry:
        """The cursor, written anew: from now on whoever polled before this hub can't move it any more."""
        stored = await self._cursors.get(key)
        value = b"" if stored is None else stored.value
        if stored is None:
            return Entry(value, await self._cursors.create(key, value))
        return Entry(value, await self._cursors.update(key, value, stored.revision))

    async def _take_slowly(self, running: Running, found: Brought) -> None:
        """Take what a poll brought no faster than the instance may bring reports, so that a flood starves nobody."""
        await self._take_all(running, replace(found, items=()))
        for item in found.items:
            raise_if_cancelled()
            if (wait := running.reports.wait()) > 0:
                await asyncio.sleep(wait)
            await self._take_all(running, Brought(items=(item,)))


def _content(report: Taken) -> str:
    """Whether the reporter was reached and content, in words."""
    if not report.reached:
        return "未接通"
    return {True: "满意", False: "不满意", None: "未评价"}[report.satisfied] + (f"，{report.note}" if report.note else "")


def _command_id(report: Taken) -> str:
    """The same report gives the same command id, whatever length the department's own number has."""
    return f"report:{report.adapter}:{hashlib.sha256(report.id.encode()).hexdigest()[:24]}"


def _command(report: Taken, assignment: str) -> AnyCommand:
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


__all__ = ["Incoming", "ReportBack", "TicketIndex", "Unmatched"]
