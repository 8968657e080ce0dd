"""What the projector writes, as pure functions: a folded case and its commits become rows. No SQL, no clock.

Rows of cases, assignments and attempts are functions of the folded state alone, those of the timeline, of sources and of dead
letters of single events. The order of values is that of the columns in `schema`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hub.model.cases import Assignment, AssignmentState, Attachment, Case
from hub.model.events import (
    AnyEvent,
    AssignmentProgressed,
    AssignmentResolved,
    AssignmentReturned,
    Attached,
    CaseReported,
    Commented,
    Commit,
    Delivered,
    DeliveryDead,
    ReportAttached,
)
from hub.views.bulk import Row
from hub.views.schema import micros, micros_or_none

_encode = msgspec.json.Encoder().encode
decode_case = msgspec.json.Decoder(Case).decode


def case_row(case: Case, opened: int, updated_at: int) -> Row:
    """The row of `cases`; `opened` is the sequence of the first commit, `updated_at` the time of the last."""
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
        _encode(msgspec.structs.replace(case, commands={}) if case.commands else case).decode(),
    )


def assignment_row(case: Case, item: Assignment, delivered_at: int | None) -> Row:
    """The row of `assignments`; `delivered_at` from this batch's events, None keeps what is stored."""
    owing = item.state.open and not case.stage.ended
    due = None
    if owing and case.suspended_at is None:
        due = min((d.due_at for d in case.deadlines if d.assignment == item.id), default=None)
    last = item.attempts[-1] if item.attempts else None
    return (
        case.id,
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


def attempt_rows(case: Case, item: Assignment, before: Assignment | None) -> Iterator[Row]:
    """The rows of `attempts` that are new or changed since `before`."""
    known = () if before is None else before.attempts
    for place, attempt in enumerate(item.attempts):
        if place < len(known) and known[place] == attempt:
            continue
        yield (
            case.id,
            item.id,
            attempt.number,
            attempt.outcome.value,
            micros(attempt.started_at),
            micros_or_none(attempt.ended_at),
            attempt.error,
        )


def timeline_rows(commit: Commit, sequence: int, at: int) -> Iterator[Row]:
    """One row of `timeline` for each event."""
    actor = _encode(commit.actor).decode()
    for ordinal, event in enumerate(commit.events):
        yield (
            commit.case,
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


def delivered_assignment(event: AnyEvent) -> str | None:
    """The assignment this event says is delivered, if any."""
    return event.assignment if isinstance(event, Delivered) else None


def source_row(commit: Commit, event: AnyEvent) -> Row | None:
    """The row of `sources` when the event ties a system's own number to the case."""
    if isinstance(event, CaseReported | ReportAttached) and event.source is not None:
        return (event.source.adapter, event.source.ref, commit.case)
    return None


def file_rows(commit: Commit, event: AnyEvent) -> Iterator[Row]:
    """The rows of `files`: what the event attached to the case."""
    attached: tuple[Attachment, ...] = ()
    match event:
        case Attached():
            attached = (event.attachment,)
        case CaseReported() | AssignmentProgressed() | AssignmentResolved():
            attached = event.attachments
    for file in attached:
        yield (file.sha256, commit.case, file.name, file.media_type)


def letter_row(commit: Commit, event: AnyEvent, at: int) -> Row | None:
    """The row of `dead_letters` when the event is one."""
    if isinstance(event, DeliveryDead):
        return (commit.case, event.assignment, at, _encode(event.letter).decode())
    return None


def searchable(commit: Commit, event: AnyEvent) -> str | None:
    """The words by which the case can be found because of this event, if any."""
    match event:
        case CaseReported():
            ref = event.source.ref if event.source is not None else ""
            return "\n".join(part for part in (commit.case, ref, event.title, event.text, event.place) if part)
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
