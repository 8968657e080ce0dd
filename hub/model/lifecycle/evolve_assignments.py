"""What events of assignments and their delivery change. No rule and no refusal. Called through `evolve.EVOLVES`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from hub.errors import CredentialsRejected, LedgerDamaged, Withdrawn
from hub.model import events as e
from hub.model.cases import (
    Asked,
    Assignment,
    AssignmentState,
    Attempt,
    AttemptOutcome,
    Case,
    Deadline,
    DeadlineKind,
    Role,
    Stage,
)
from hub.model.lifecycle.attention import alarm, calm, calm_delivery, calm_overdue

UNDELIVERED = frozenset(
    {AssignmentState.MADE, AssignmentState.SENDING, AssignmentState.UNCERTAIN, AssignmentState.DEAD},
)
"""Open states in which the department is not known to have the assignment."""

_SPENDS_NOTHING = (CredentialsRejected.code, Withdrawn.code)


def _with(case: Case, id: str, **changes: Any) -> tuple[Assignment, ...]:
    """The assignments with one of them changed. Raises LedgerDamaged when there is no such assignment."""
    for index, item in enumerate(case.assignments):
        if item.id == id:
            return (*case.assignments[:index], replace(item, **changes), *case.assignments[index + 1 :])
    raise LedgerDamaged(f"case {case.id} has no assignment {id}", subject=case.id)


def _found(case: Case, id: str) -> Assignment:
    found = case.assignment(id)
    if found is None:
        raise LedgerDamaged(f"case {case.id} has no assignment {id}", subject=case.id)
    return found


def _deadlines_without(case: Case, assignment: str, kind: DeadlineKind | None = None) -> tuple[Deadline, ...]:
    return tuple(d for d in case.deadlines if d.assignment != assignment or (kind is not None and d.kind is not kind))


def _asked_without(case: Case, assignment: str) -> tuple[Asked, ...]:
    return tuple(item for item in case.asked if item.assignment != assignment) if case.asked else case.asked


def _over(case: Case, id: str, entry: str | None = None, **changes: Any) -> Case:
    """The case after an assignment's end: its limits, requests and attention are gone; `entry` is the new attention."""
    attention = calm(case.attention, id)
    return replace(
        case,
        assignments=_with(case, id, **changes),
        deadlines=_deadlines_without(case, id),
        asked=_asked_without(case, id),
        attention=alarm(attention, entry) if entry is not None else attention,
    )


def _attempts(assignment: Assignment, number: int | None, **changes: Any) -> tuple[Attempt, ...]:
    """The attempts with one of them (None: the last, if its outcome is not known) changed."""
    attempts = assignment.attempts
    if number is None:
        last = attempts[-1] if attempts else None
        if last is None or last.outcome not in (AttemptOutcome.STARTED, AttemptOutcome.UNKNOWN):
            return attempts
        number = last.number
    return tuple(replace(item, **changes) if item.number == number else item for item in attempts)


def urged(case: Case, event: e.Urged, at: datetime) -> Case:
    """After `Urged`."""
    if event.assignment is None:
        return case
    urged = _found(case, event.assignment).urged + 1
    return replace(case, assignments=_with(case, event.assignment, urged=urged))


def supervised(case: Case, event: e.Supervised, at: datetime) -> Case:
    """After `Supervised`."""
    if event.assignment is None:
        return replace(case, supervised=case.supervised + 1)
    supervised = _found(case, event.assignment).supervised + 1
    return replace(case, assignments=_with(case, event.assignment, supervised=supervised))


def made(case: Case, event: e.AssignmentMade, at: datetime) -> Case:
    """A unit without adapter has it at once. A new lead answers what was given back or refused before, support answers support."""
    made = Assignment(
        id=event.assignment,
        unit=event.unit,
        role=event.role,
        required=event.required,
        state=AssignmentState.DELIVERED if event.adapter is None else AssignmentState.MADE,
        made_at=at,
        task=event.task,
        adapter=event.adapter,
        round=case.reopened,
    )
    attention = case.attention
    if attention:
        answered = {item.id for item in case.assignments if event.role is Role.LEAD or item.role is event.role}
        attention = tuple(
            entry
            for entry in attention
            if not (entry.startswith(("returned:", "refused:")) and entry.partition(":")[2] in answered)
        )
    return replace(
        case,
        stage=Stage.DISPATCHED if case.stage in (Stage.HELD, Stage.REPORTED) else case.stage,
        assignments=(*case.assignments, made),
        attention=attention,
    )


def delivery_started(case: Case, event: e.DeliveryStarted, at: datetime) -> Case:
    """After `DeliveryStarted`."""
    found = _found(case, event.assignment)
    attempt = Attempt(number=event.attempt, started_at=at)
    return replace(
        case,
        assignments=_with(
            case, found.id, state=AssignmentState.SENDING, attempts=(*found.attempts, attempt), tries=found.tries + 1
        ),
    )


def delivery_failed(case: Case, event: e.DeliveryFailed, at: datetime) -> Case:
    """Rejected credentials and a shut door spend no attempt: the adapter pauses, and all tries are there when it goes on."""
    found = _found(case, event.assignment)
    attempts = _attempts(
        found,
        event.attempt,
        outcome=AttemptOutcome.UNKNOWN if event.unknown else AttemptOutcome.FAILED,
        ended_at=at,
        error=event.error,
        reason=event.reason,
        retry_at=event.retry_at,
        status=event.status,
    )
    tries = max(0, found.tries - 1) if event.error in _SPENDS_NOTHING else found.tries
    return replace(case, assignments=_with(case, found.id, attempts=attempts, tries=tries))


def delivered(case: Case, event: e.Delivered, at: datetime) -> Case:
    """The ticket is kept whatever the state; only an assignment that was not known to have arrived moves on."""
    found = _found(case, event.assignment)
    arrived = found.state in UNDELIVERED
    return replace(
        case,
        assignments=_with(
            case,
            found.id,
            state=AssignmentState.DELIVERED if arrived else found.state,
            ticket=event.ticket,
            attempts=_attempts(found, event.attempt, outcome=AttemptOutcome.DELIVERED, ended_at=at),
        ),
        attention=calm_delivery(case.attention, found.id) if arrived else case.attention,
    )


def delivery_refused(case: Case, event: e.DeliveryRefused, at: datetime) -> Case:
    """After `DeliveryRefused`."""
    found = _found(case, event.assignment)
    changes = {"outcome": AttemptOutcome.REFUSED, "ended_at": at, "reason": event.reason, "status": event.status}
    attempts = _attempts(found, event.attempt, **changes)
    if found.state not in UNDELIVERED:
        return replace(case, assignments=_with(case, found.id, attempts=attempts))
    return _over(case, found.id, f"refused:{found.id}", state=AssignmentState.REFUSED, attempts=attempts, note=event.reason)


def delivery_uncertain(case: Case, event: e.DeliveryUncertain, at: datetime) -> Case:
    """After `DeliveryUncertain`."""
    found = _found(case, event.assignment)
    attempts = _attempts(found, event.attempt, outcome=AttemptOutcome.UNKNOWN, ended_at=at, reason=event.reason)
    return replace(
        case,
        assignments=_with(case, found.id, state=AssignmentState.UNCERTAIN, attempts=attempts),
        attention=alarm(case.attention, f"uncertain:{found.id}"),
    )


def delivery_dead(case: Case, event: e.DeliveryDead, at: datetime) -> Case:
    """After `DeliveryDead`."""
    return replace(
        case,
        assignments=_with(case, event.assignment, state=AssignmentState.DEAD),
        attention=alarm(case.attention, f"dead:{event.assignment}"),
    )


def delivery_replayed(case: Case, event: e.DeliveryReplayed, at: datetime) -> Case:
    """Whoever replays an uncertain delivery says that it has not arrived; a dead one in doubt is still asked after."""
    found = _found(case, event.assignment)
    attempts = found.attempts
    if found.state is AssignmentState.UNCERTAIN:
        attempts = _attempts(found, None, outcome=AttemptOutcome.FAILED, ended_at=at)
    back = case.stage is Stage.HELD and found.role is Role.LEAD
    return replace(
        case,
        stage=Stage.DISPATCHED if back else case.stage,
        assignments=_with(case, found.id, state=AssignmentState.MADE, attempts=attempts, tries=0),
        attention=calm_delivery(case.attention, found.id),
    )


def delivery_dropped(case: Case, event: e.DeliveryDropped, at: datetime) -> Case:
    """After `DeliveryDropped`."""
    return _over(case, event.assignment, state=AssignmentState.DROPPED, note=event.reason)


def accepted(case: Case, event: e.AssignmentAccepted, at: datetime) -> Case:
    """After `AssignmentAccepted`."""
    found = _found(case, event.assignment)
    deadlines = _deadlines_without(case, found.id, DeadlineKind.ACCEPT)
    attention = calm_delivery(case.attention, found.id)
    if not any(d.assignment == found.id and d.step > 0 for d in deadlines):
        attention = calm_overdue(attention, found.id)
    return replace(
        case,
        assignments=_with(
            case,
            found.id,
            state=AssignmentState.ACCEPTED,
            accepted_at=at,
            note=found.note if event.note is None else event.note,
        ),
        deadlines=deadlines,
        attention=attention,
    )


def progressed(case: Case, event: e.AssignmentProgressed, at: datetime) -> Case:
    """After `AssignmentProgressed`."""
    return replace(
        case,
        assignments=_with(case, event.assignment, state=AssignmentState.IN_PROGRESS, note=event.note),
        attachments=(*case.attachments, *event.attachments) if event.attachments else case.attachments,
    )


def assignment_resolved(case: Case, event: e.AssignmentResolved, at: datetime) -> Case:
    """After `AssignmentResolved`."""
    found = _found(case, event.assignment)
    note = found.note if event.note is None else event.note
    after = _over(case, found.id, state=AssignmentState.RESOLVED, resolved_at=at, note=note)
    if not event.attachments:
        return after
    return replace(after, attachments=(*after.attachments, *event.attachments))


def returned(case: Case, event: e.AssignmentReturned, at: datetime) -> Case:
    """After `AssignmentReturned`."""
    id = event.assignment
    return _over(case, id, f"returned:{id}", state=AssignmentState.RETURNED, note=event.reason)


def recalled(case: Case, event: e.AssignmentRecalled, at: datetime) -> Case:
    """After `AssignmentRecalled`."""
    found = _found(case, event.assignment)
    state = AssignmentState.DROPPED if found.state is AssignmentState.DROPPED else AssignmentState.RECALLED
    return _over(case, found.id, state=state, note=event.reason)
