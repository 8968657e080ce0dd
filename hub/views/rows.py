"""The projector's rows, as pure functions of a folded matter and its commits. No SQL, no clock.

Rows of cases, assignments and attempts are functions of the folded state alone; those of the timeline, of sources and of files of single
events. Values have the names of the columns in `schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from hub.model.aggregate import NO_COMMANDS, Commit, Event, Folded
from hub.model.answers import QUESTIONS
from hub.model.assignments.events import AssignmentProgressed, AssignmentResolved, AssignmentReturned, Delivered
from hub.model.assignments.state import Assigned, Assignment, AssignmentState
from hub.model.case.events import Attached, CaseReported, Commented, ReportAttached
from hub.model.case.state import NO_SOURCES, Case
from hub.model.positions import rounded
from hub.model.records import Attachment
from hub.views import schema
from hub.views.bulk import Row, row_of
from hub.views.schema import micros, micros_or_none

CaseRow = row_of(schema.cases)
AssignmentRow = row_of(schema.assignments)
AttemptRow = row_of(schema.attempts)
TimelineRow = row_of(schema.timeline)
SourceRow = row_of(schema.sources)
FileRow = row_of(schema.files)

_encode = msgspec.json.Encoder().encode


def case_row(folded: Folded[Case], opened: int, updated_at: int) -> Row:
    """The row of `cases`; `opened` is the sequence of the first commit, `updated_at` the time of the last."""
    case = folded.state
    live = not case.stage.ended
    running = live and case.suspended_at is None
    due = min((deadline.due_at for deadline in case.deadlines), default=None) if running else None
    point = case.wgs84
    far = None if point is None else rounded(point)
    return CaseRow(
        opened=opened,
        id=case.id,
        area=case.area,
        stage=case.stage.value,
        channel=case.channel.value,
        category=case.category,
        severity=None if case.severity is None else case.severity.value,
        level=None if case.level is None else int(case.level),
        holder=case.holder,
        reported_at=micros(case.reported_at),
        updated_at=updated_at,
        closed_at=micros_or_none(case.closed_at),
        **{question: _answer(case, question) for question in QUESTIONS},
        closing=None if case.closing is None else case.closing.value,
        due_at=micros_or_none(due),
        attention=len(case.attention) if live else 0,
        dead=int(live and any(item.state is AssignmentState.DEAD for item in case.assignments)),
        longitude=None if point is None else point.longitude,
        latitude=None if point is None else point.latitude,
        far_longitude=None if far is None else far.longitude,
        far_latitude=None if far is None else far.latitude,
        doc=encode_case(folded),
    )


def _answer(case: Case, question: str) -> str | None:
    """What the reporter said to a question."""
    said = None if case.reporter_said is None else getattr(case.reporter_said, question)
    return None if said is None else str(said.value)


def encode_case(folded: Folded[Case]) -> str:
    """A case in its form for the views: without the commands' keys, and without the attached reports, which `sources` has."""
    state = folded.state
    if state.attached_reports:
        state = msgspec.structs.replace(state, attached_reports=NO_SOURCES)
    return _encode(msgspec.structs.replace(folded, state=state, commands=NO_COMMANDS)).decode()


decode_case: Callable[[str], Folded[Case]] = msgspec.json.Decoder(Folded[Case]).decode


def assignment_row(matter: Assigned, item: Assignment, delivered_at: int | None) -> Row:
    """The row of `assignments`. `delivered_at` comes from this batch's events; None keeps the stored one."""
    owing = item.state.open and not matter.ended
    due = None
    if owing and matter.suspended_at is None:
        due = min((d.due_at for d in matter.deadlines if d.assignment == item.id), default=None)
    last = item.attempts[-1] if item.attempts else None
    return AssignmentRow(
        matter=matter.id,
        assignment=item.id,
        unit=item.unit,
        role=item.role.value,
        state=item.state.value,
        open=int(owing),
        adapter=item.adapter,
        ticket=item.ticket,
        attempts=len(item.attempts),
        outcome=None if last is None else last.outcome.value,
        tried_at=micros(item.made_at if last is None else last.started_at),
        made_at=micros(item.made_at),
        delivered_at=delivered_at,
        due_at=micros_or_none(due),
    )


def attempt_rows(matter: Assigned, item: Assignment, before: Assignment | None) -> Iterator[Row]:
    """The rows of `attempts` that are new or changed since `before`."""
    known = () if before is None else before.attempts
    for place, attempt in enumerate(item.attempts):
        if place < len(known) and known[place] == attempt:
            continue
        yield AttemptRow(
            matter=matter.id,
            assignment=item.id,
            number=attempt.number,
            outcome=attempt.outcome.value,
            started_at=micros(attempt.started_at),
            ended_at=micros_or_none(attempt.ended_at),
            error=attempt.error,
        )


def timeline_rows(commit: Commit[Any], sequence: int, at: int) -> Iterator[Row]:
    """One row of `timeline` for each event."""
    actor = _encode(commit.actor).decode()
    for ordinal, event in enumerate(commit.events):
        yield TimelineRow(
            matter=commit.id,
            number=commit.number,
            ordinal=ordinal,
            sequence=sequence,
            at=at,
            actor=actor,
            command=commit.command,
            policy=commit.policy,
            traceparent=commit.traceparent,
            body=_encode(event).decode(),
        )


def delivered_assignment(event: Event) -> str | None:
    """The assignment this event says is delivered, if any."""
    return event.assignment if isinstance(event, Delivered) else None


def source_row(commit: Commit[Any], event: Event) -> Row | None:
    """The row of `sources` when the event ties a system's own number to the case."""
    if isinstance(event, CaseReported | ReportAttached) and event.source is not None:
        return SourceRow(adapter=event.source.adapter, ref=event.source.ref, matter=commit.id)
    return None


def file_rows(commit: Commit[Any], event: Event) -> Iterator[Row]:
    """The rows of `files`: the event's attachments."""
    attached: tuple[Attachment, ...] = ()
    owner = ""
    match event:
        case Attached():
            attached = (event.attachment,)
        case CaseReported():
            attached, owner = event.attachments, commit.id  # what came with the report can be destroyed
        case AssignmentProgressed() | AssignmentResolved():
            attached = event.attachments
    for file in attached:
        yield FileRow(
            sha256=file.sha256,
            matter=commit.id,
            owner=owner,
            name=file.name,
            media_type=file.media_type,
        )


def searchable(commit: Commit[Any], event: Event) -> str | None:
    """The words by which the case can be found because of this event, if any."""
    match event:
        case CaseReported():
            ref = event.source.ref if event.source is not None else ""
            return "\n".join(part for part in (commit.id, ref, event.title, event.text, event.place) if part)
        case ReportAttached():
            ref = event.source.ref if event.source is not None else ""
            return "\n".join(part for part in (ref, event.text, event.place) if part)
        case Delivered():
            return event.ticket
        case Commented():
            return event.text
        case AssignmentProgressed() | AssignmentResolved():
            return event.note
        case AssignmentReturned():
            return event.reason
        case _:
            return None
