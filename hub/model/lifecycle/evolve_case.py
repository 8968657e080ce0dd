"""What a case's own events and limits change. No rule and no refusal. Called through `evolve.EVOLVES`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from hub.errors import LedgerDamaged
from hub.model import events as e
from hub.model.cases import Asked, Case, CaseId, Deadline, DeadlineKind, Stage
from hub.model.lifecycle.attention import alarm, calm, calm_overdue


def opened(event: e.CaseReported, id: CaseId) -> Case:
    """The case that a report opens."""
    return Case(
        id=id,
        stage=Stage.REPORTED,
        channel=event.channel,
        title=event.title,
        text=event.text,
        area=event.area,
        reported_at=event.reported_at,
        place=event.place,
        source=event.source,
        has_contact=event.has_contact,
        covers=event.covers,
        covers_until=event.covers_until,
        attachments=event.attachments,
    )


def reported(case: Case, event: e.CaseReported, at: datetime) -> Case:
    """After `CaseReported`."""
    raise LedgerDamaged(f"case {case.id} was opened twice", subject=case.id)


def triaged(case: Case, event: e.CaseTriaged, at: datetime) -> Case:
    """After `CaseTriaged`."""
    return replace(case, category=event.category, severity=event.severity, area=event.area, rule=event.rule)


def duplicate_suspected(case: Case, event: e.DuplicateSuspected, at: datetime) -> Case:
    """After `DuplicateSuspected`."""
    return replace(case, duplicate_of=event.of)


def held(case: Case, event: e.CaseHeld, at: datetime) -> Case:
    """A new holder owes the case's own limits. Assignments go on, unless the case came back to its holder for want of a lead."""
    stays = case.stage is Stage.DISPATCHED and event.cause not in ("returned", "reopened")
    levels = case.visited_levels
    deadlines = case.deadlines
    if any(d.assignment is None and d.owner != event.unit for d in deadlines):
        deadlines = tuple(replace(d, owner=event.unit) if d.assignment is None else d for d in deadlines)
    return replace(
        case,
        stage=Stage.DISPATCHED if stays else Stage.HELD,
        level=event.level,
        holder=event.unit,
        visited_levels=levels if event.level in levels else (*levels, event.level),
        deadlines=deadlines,
    )


def resolved(case: Case, event: e.CaseResolved, at: datetime) -> Case:
    """The case's own limits end; support that was not required may go on under its own."""
    open_ids = {item.id for item in case.assignments if item.state.open}
    return replace(
        case,
        stage=Stage.RESOLVED,
        resolved_at=at,
        deadlines=tuple(d for d in case.deadlines if d.assignment in open_ids),
        asked=(),
        attention=tuple(entry for entry in case.attention if entry.partition(":")[2] in open_ids),
        suspended_at=None,
        suspended_until=None,
    )


def visited(case: Case, event: e.CallbackVisited, at: datetime) -> Case:
    """After `CallbackVisited`."""
    return replace(case, visits=case.visits + 1, satisfied=event.satisfied if event.reached else case.satisfied)


def _ended(case: Case, stage: Stage, **changes: Any) -> Case:
    return replace(case, stage=stage, deadlines=(), asked=(), attention=(), suspended_at=None, suspended_until=None, **changes)


def closed(case: Case, event: e.CaseClosed, at: datetime) -> Case:
    """After `CaseClosed`."""
    return _ended(case, Stage.CLOSED, closed_at=at)


def voided(case: Case, event: e.CaseVoided, at: datetime) -> Case:
    """After `CaseVoided`."""
    return _ended(case, Stage.VOID)


def merged(case: Case, event: e.CaseMerged, at: datetime) -> Case:
    """After `CaseMerged`."""
    return _ended(case, Stage.MERGED, merged_into=event.into)


def absorbed(case: Case, event: e.CaseAbsorbed, at: datetime) -> Case:
    """After `CaseAbsorbed`."""
    return case if event.other in case.absorbed else replace(case, absorbed=(*case.absorbed, event.other))


def reopened(case: Case, event: e.CaseReopened, at: datetime) -> Case:
    """After `CaseReopened`."""
    return replace(case, stage=Stage.HELD, reopened=case.reopened + 1, visits=0, resolved_at=None, closed_at=None)


def first_responded(case: Case, event: e.FirstResponded, at: datetime) -> Case:
    """After `FirstResponded`."""
    return replace(
        case,
        first_response_at=case.first_response_at or at,
        deadlines=tuple(d for d in case.deadlines if d.kind is not DeadlineKind.FIRST_RESPONSE),
        attention=calm(case.attention, DeadlineKind.FIRST_RESPONSE.value),
    )


def attached(case: Case, event: e.Attached, at: datetime) -> Case:
    """After `Attached`."""
    return replace(case, attachments=(*case.attachments, event.attachment))


def report_attached(case: Case, event: e.ReportAttached, at: datetime) -> Case:
    """After `ReportAttached`."""
    if event.source is None:
        return case
    return replace(case, attached_reports=(*case.attached_reports, event.source))


def contact_stored(case: Case, event: e.ContactStored, at: datetime) -> Case:
    """After `ContactStored`."""
    return replace(case, has_contact=True)


def contact_erased(case: Case, event: e.ContactErased, at: datetime) -> Case:
    """After `ContactErased`."""
    return replace(case, contact_erased=True)


def only_told(case: Case, event: e.AnyEvent, at: datetime) -> Case:
    """For the timeline alone."""
    return case


# --- limits ---


def deadline_set(case: Case, event: e.DeadlineSet, at: datetime) -> Case:
    """After `DeadlineSet`."""
    fresh = Deadline(
        kind=event.kind,
        owner=event.owner,
        due_at=event.due_at,
        assignment=event.assignment,
        next_at=event.due_at,
        remaining=None if case.suspended_at is None else event.due_at - at,
    )
    rest = [d for d in case.deadlines if d.kind is not event.kind or d.assignment != event.assignment]
    return replace(
        case,
        deadlines=(*rest, fresh),
        attention=calm_overdue(case.attention, event.assignment or event.kind.value),
    )


def deadline_moved(case: Case, event: e.DeadlineMoved, at: datetime) -> Case:
    """After a suspension the ladder goes on where it stood, all shifted; an extension is a fresh limit."""
    moved = []
    shifted = False
    for d in case.deadlines:
        if d.kind is not event.kind or d.assignment != event.assignment:
            moved.append(d)
        elif case.suspended_at is None and d.remaining is not None:
            shifted = True
            later = None if d.next_at is None else d.next_at + (event.due_at - d.due_at)
            moved.append(replace(d, due_at=event.due_at, next_at=later, remaining=None))
        else:
            left = None if case.suspended_at is None else event.due_at - case.suspended_at
            moved.append(replace(d, due_at=event.due_at, next_at=event.due_at, step=0, remaining=left))
    return replace(
        case,
        deadlines=tuple(moved),
        asked=tuple(item for item in case.asked if item.id != event.asked) if event.asked else case.asked,
        attention=case.attention if shifted else calm_overdue(case.attention, event.assignment or event.kind.value),
    )


def deadline_breached(case: Case, event: e.DeadlineBreached, at: datetime) -> Case:
    """At the end of the ladder, and where a unit can't be escalated past, an operator has to look."""
    deadlines = tuple(
        replace(d, step=event.step, next_at=event.next_at) if d.kind is event.kind and d.assignment == event.assignment else d
        for d in case.deadlines
    )
    attention = case.attention
    if event.next_at is None or (event.action == "escalate" and event.assignment is not None):
        attention = alarm(attention, f"overdue:{event.assignment or event.kind.value}")
    return replace(case, deadlines=deadlines, attention=attention)


def suspended(case: Case, event: e.CaseSuspended, at: datetime) -> Case:
    """After `CaseSuspended`."""
    return replace(
        case,
        suspended_at=at,
        suspended_until=event.until,
        deadlines=tuple(replace(d, remaining=d.due_at - at) for d in case.deadlines),
        asked=tuple(item for item in case.asked if item.id != event.asked) if event.asked else case.asked,
    )


def resumed(case: Case, event: e.CaseResumed, at: datetime) -> Case:
    """After `CaseResumed`."""
    return replace(case, suspended_at=None, suspended_until=None)


def permission_asked(case: Case, event: e.PermissionAsked, at: datetime) -> Case:
    """After `PermissionAsked`."""
    asked = Asked(
        id=event.request,
        what=event.what,
        by=event.by,
        reason=event.reason,
        assignment=event.assignment,
        kind=event.kind,
        until=event.until,
    )
    return replace(case, asked=(*case.asked, asked))


def permission_declined(case: Case, event: e.PermissionDeclined, at: datetime) -> Case:
    """After `PermissionDeclined`."""
    return replace(case, asked=tuple(item for item in case.asked if item.id != event.request))
