"""What the projector writes, as pure functions: a folded matter and its commits become rows. No SQL, no clock.

Rows of cases, assignments and attempts are functions of the folded state alone, those of the timeline, of sources and of files
of single events. The order of values is that of the columns in `schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from hub.model.aggregate import NO_COMMANDS, Commit, Event, Folded
from hub.model.assignments.events import AssignmentProgressed, AssignmentResolved, AssignmentReturned, Delivered
from hub.model.assignments.state import Assigned, Assignment, AssignmentState
from hub.model.case.events import Attached, CaseReported, Commented, ReportAttached
from hub.model.case.state import NO_SOURCES, Case
from hub.model.records import Attachment
from hub.views.bulk import Row
from hub.views.schema import micros, micros_or_none

_encode = msgspec.json.Encoder().encode


def case_row(folded: Folded[Case], opened: int, updated_at: int) -> Row:
    """The row of `cases`; `opened` is the sequence of the first commit, `updated_at` the time of the last."""
    case = folded.state
    live = not case.stage.ended
    running = live and case.suspended_at is None
    due = min((deadline.due_at for deadline in case.deadlines), default=None) if running else None
    return (
        opened,
        case.id,
        case.area,
        case.stage.value,
        case.channel.value,
        case.category,
        None if case.severity is None else case.severity.value,
        None if case.level is None else int(case.level),
        case.holder,
        micros(case.reported_at),
        updated_at,
        micros_or_none(case.closed_at),
        micros_or_none(due),
        len(case.attention) if live else 0,
        int(live and any(item.state is AssignmentState.DEAD for item in case.assignments)),
        encode_case(folded),
    )


def encode_case(folded: Folded[Case]) -> str:
    """A case as it is kept in the views: without the commands' keys and without the attached reports, which `sources` has."""
    state = folded.state
    if state.attached_reports:
        state = msgspec.structs.replace(state, attached_reports=NO_SOURCES)
    return _encode(msgspec.structs.replace(folded, state=state, commands=NO_COMMANDS)).decode()


decode_case: Callable[[str], Folded[Case]] = msgspec.json.Decoder(Folded[Case]).decode


def assignment_row(matter: Assigned, item: Assignment, delivered_at: int | None) -> Row:
    """The row of `assignments`; `delivered_at` from this batch's events, None keeps what is stored."""
    owing = item.state.open and not matter.ended
    due = None
    if owing and matter.suspended_at is None:
        due = min((d.due_at for d in matter.deadlines if d.assignment == item.id), default=None)
    last = item.attempts[-1] if item.attempts else None
    return (
        matter.id,
        item.id,
        item.unit,
        item.role.value,
        item.state.value,
        int(owing),
        item.adapter,
        item.ticket,
        len(item.attempts),
        None if last is None else last.outcome.value,
        micros(item.made_at if last is None else last.started_at),
        micros(item.made_at),
        delivered_at,
        micros_or_none(due),
    )


def attempt_rows(matter: Assigned, item: Assignment, before: Assignment | None) -> Iterator[Row]:
    """The rows of `attempts` that are new or changed since `before`."""
    known = () if before is None else before.attempts
    for place, attempt in enumerate(item.attempts):
        if place < len(known) and known[place] == attempt:
            continue
        yield (
            matter.id,
            item.id,
            attempt.number,
            attempt.outcome.value,
            micros(attempt.started_at),
            micros_or_none(attempt.ended_at),
            attempt.error,
        )


def timeline_rows(commit: Commit[Any], sequence: int, at: int) -> Iterator[Row]:
    """One row of `timeline` for each event."""
    actor = _encode(commit.actor).decode()
    for ordinal, event in enumerate(commit.events):
        yield (
            commit.id,
            commit.number,
            ordinal,
            sequence,
            at,
            actor,
            commit.command,
            commit.policy,
            commit.traceparent,
            _encode(event).decode(),
        )


def delivered_assignment(event: Event) -> str | None:
    """The assignment this event says is delivered, if any."""
    return event.assignment if isinstance(event, Delivered) else None


def source_row(commit: Commit[Any], event: Event) -> Row | None:
    """The row of `sources` when the event ties a system's own number to the case."""
    if isinstance(event, CaseReported | ReportAttached) and event.source is not None:
        return (event.source.adapter, event.source.ref, commit.id)
    return None


def file_rows(commit: Commit[Any], event: Event) -> Iterator[Row]:
    """The rows of `files`: what the event attached to the case."""
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
        yield (file.sha256, commit.id, owner, file.name, file.media_type)


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
