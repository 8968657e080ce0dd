"""What events of assignments and their deliveries change, on whatever state holds them. No rule and no refusal.

Called by the aggregates' `evolve`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from hub.errors import CredentialsRejected, LedgerDamaged, Withdrawn
from hub.model.aggregate import Event
from hub.model.answers import Verdict
from hub.model.assignments import events as e
from hub.model.assignments.state import Assigned, Assignment, AssignmentState, Attempt, AttemptOutcome, Role
from hub.model.attention import alarm, calm, calm_delivery, calm_overdue
from hub.model.bykind import ByKind
from hub.model.limits import evolve as on_limits
from hub.model.limits.events import Supervised, Urged
from hub.model.limits.state import Asked, Deadline, DeadlineKind

EVOLVES: Final[ByKind[Event]] = ByKind(
    on_limits.EVOLVES | dict.fromkeys((e.FeedbackConflicted, e.EffectDone, e.EffectFailed), on_limits.told)
)
"""How each event of the part changes the state. An aggregate adds the meaning for the matter itself."""

A = TypeVar("A", bound=Assigned)

UNDELIVERED = frozenset(
    {AssignmentState.MADE, AssignmentState.SENDING, AssignmentState.UNCERTAIN, AssignmentState.DEAD},
)
"""Open states in which the department is not known to have the assignment."""

_SPENDS_NOTHING = (CredentialsRejected.code, Withdrawn.code)


def _with(matter: A, id: str, **changes: Any) -> tuple[Assignment, ...]:
    """The assignments with one of them changed. Raises LedgerDamaged when there is no such assignment."""
    for index, item in enumerate(matter.assignments):
        if item.id == id:
            return (*matter.assignments[:index], replace(item, **changes), *matter.assignments[index + 1 :])
    raise LedgerDamaged(f"{matter.id} has no assignment {id}", subject=matter.id)


def _found(state: A, id: str) -> Assignment:
    found = state.assignment(id)
    if found is None:
        raise LedgerDamaged(f"{state.id} has no assignment {id}", subject=state.id)
    return found


def _deadlines_without(state: A, assignment: str, kind: DeadlineKind | None = None) -> tuple[Deadline, ...]:
    return tuple(d for d in state.deadlines if d.assignment != assignment or (kind is not None and d.kind is not kind))


def _asked_without(state: A, assignment: str) -> tuple[Asked, ...]:
    return tuple(item for item in state.asked if item.assignment != assignment) if state.asked else state.asked


def _over(matter: A, id: str, entry: str | None = None, **changes: Any) -> A:
    """The matter after an assignment's end: its limits, requests and attention are gone; `entry` is the new attention."""
    attention = calm(matter.attention, id)
    return replace(
        matter,
        assignments=_with(matter, id, **changes),
        deadlines=_deadlines_without(matter, id),
        asked=_asked_without(matter, id),
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


@EVOLVES.on(Urged, over=True)
def urged(state: A, event: Urged, at: datetime) -> A:
    """After `Urged`."""
    if event.assignment is None:
        return state
    urged = _found(state, event.assignment).urged + 1
    return replace(state, assignments=_with(state, event.assignment, urged=urged))


@EVOLVES.on(Supervised, over=True)
def supervised(state: A, event: Supervised, at: datetime) -> A:
    """After `Supervised`."""
    if event.assignment is None:
        return replace(state, supervised=state.supervised + 1)
    supervised = _found(state, event.assignment).supervised + 1
    return replace(state, assignments=_with(state, event.assignment, supervised=supervised))


@EVOLVES.on(e.AssignmentMade)
def made(state: A, event: e.AssignmentMade, at: datetime) -> A:
    """A unit without adapter has it at once. A new lead ends attention for all returned or refused ones, new support for support."""
    made = Assignment(
        id=event.assignment,
        unit=event.unit,
        role=event.role,
        required=event.required,
        state=AssignmentState.DELIVERED if event.adapter is None else AssignmentState.MADE,
        made_at=at,
        task=event.task,
        adapter=event.adapter,
        round=state.round,
    )
    attention = state.attention
    if attention:
        answered = {item.id for item in state.assignments if event.role is Role.LEAD or item.role is event.role}
        attention = tuple(
            entry
            for entry in attention
            if not (entry.startswith(("returned:", "refused:")) and entry.partition(":")[2] in answered)
        )
    return replace(
        state,
        assignments=(*state.assignments, made),
        attention=attention,
    )


@EVOLVES.on(e.DeliveryStarted)
def delivery_started(state: A, event: e.DeliveryStarted, at: datetime) -> A:
    """After `DeliveryStarted`."""
    found = _found(state, event.assignment)
    attempt = Attempt(number=event.attempt, started_at=at)
    return replace(
        state,
        assignments=_with(
            state, found.id, state=AssignmentState.SENDING, attempts=(*found.attempts, attempt), tries=found.tries + 1
        ),
    )


@EVOLVES.on(e.DeliveryFailed)
def delivery_failed(state: A, event: e.DeliveryFailed, at: datetime) -> A:
    """Rejected credentials and a shut door spend no attempt: the adapter pauses, and all tries are there when it goes on."""
    found = _found(state, event.assignment)
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
    return replace(state, assignments=_with(state, found.id, attempts=attempts, tries=tries))


@EVOLVES.on(e.Delivered)
def delivered(state: A, event: e.Delivered, at: datetime) -> A:
    """The ticket is kept whatever the state. Only an assignment not yet known to have arrived moves on."""
    found = _found(state, event.assignment)
    arrived = found.state in UNDELIVERED
    return replace(
        state,
        assignments=_with(
            state,
            found.id,
            state=AssignmentState.DELIVERED if arrived else found.state,
            ticket=event.ticket,
            attempts=_attempts(found, event.attempt, outcome=AttemptOutcome.DELIVERED, ended_at=at),
        ),
        attention=calm_delivery(state.attention, found.id) if arrived else state.attention,
    )


@EVOLVES.on(e.DeliveryRefused)
def delivery_refused(state: A, event: e.DeliveryRefused, at: datetime) -> A:
    """After `DeliveryRefused`."""
    found = _found(state, event.assignment)
    changes = {"outcome": AttemptOutcome.REFUSED, "ended_at": at, "reason": event.reason, "status": event.status}
    attempts = _attempts(found, event.attempt, **changes)
    if found.state not in UNDELIVERED:
        return replace(state, assignments=_with(state, found.id, attempts=attempts))
    return _over(state, found.id, f"refused:{found.id}", state=AssignmentState.REFUSED, attempts=attempts, note=event.reason)


@EVOLVES.on(e.DeliveryUncertain)
def delivery_uncertain(state: A, event: e.DeliveryUncertain, at: datetime) -> A:
    """After `DeliveryUncertain`."""
    found = _found(state, event.assignment)
    attempts = _attempts(found, event.attempt, outcome=AttemptOutcome.UNKNOWN, ended_at=at, reason=event.reason)
    return replace(
        state,
        assignments=_with(state, found.id, state=AssignmentState.UNCERTAIN, attempts=attempts),
        attention=alarm(state.attention, f"uncertain:{found.id}"),
    )


@EVOLVES.on(e.DeliveryDead)
def delivery_dead(state: A, event: e.DeliveryDead, at: datetime) -> A:
    """After `DeliveryDead`."""
    return replace(
        state,
        assignments=_with(state, event.assignment, state=AssignmentState.DEAD, letter=event.letter),
        attention=alarm(state.attention, f"dead:{event.assignment}"),
    )


@EVOLVES.on(e.DeliveryResent)
def delivery_resent(state: A, event: e.DeliveryResent, at: datetime) -> A:
    """Sending an uncertain delivery again says that it has not arrived. A dead one in doubt is still asked about first."""
    found = _found(state, event.assignment)
    attempts = found.attempts
    if found.state is AssignmentState.UNCERTAIN:
        attempts = _attempts(found, None, outcome=AttemptOutcome.FAILED, ended_at=at)
    return replace(
        state,
        assignments=_with(state, found.id, state=AssignmentState.MADE, attempts=attempts, tries=0, letter=None),
        attention=calm_delivery(state.attention, found.id),
    )


@EVOLVES.on(e.DeliveryDropped)
def delivery_dropped(state: A, event: e.DeliveryDropped, at: datetime) -> A:
    """After `DeliveryDropped`."""
    return _over(state, event.assignment, state=AssignmentState.DROPPED, note=event.reason)


@EVOLVES.on(e.AssignmentAccepted)
def accepted(state: A, event: e.AssignmentAccepted, at: datetime) -> A:
    """After `AssignmentAccepted`."""
    found = _found(state, event.assignment)
    deadlines = _deadlines_without(state, found.id, DeadlineKind.ACCEPT)
    attention = calm_delivery(state.attention, found.id)
    if not any(d.assignment == found.id and d.step > 0 for d in deadlines):
        attention = calm_overdue(attention, found.id)
    return replace(
        state,
        assignments=_with(
            state,
            found.id,
            state=AssignmentState.ACCEPTED,
            accepted_at=at,
            note=found.note if event.note is None else event.note,
        ),
        deadlines=deadlines,
        attention=attention,
    )


@EVOLVES.on(e.AssignmentProgressed)
def progressed(state: A, event: e.AssignmentProgressed, at: datetime) -> A:
    """After `AssignmentProgressed`."""
    return replace(
        state,
        assignments=_with(state, event.assignment, state=AssignmentState.IN_PROGRESS, note=event.note),
        attachments=(*state.attachments, *event.attachments) if event.attachments else state.attachments,
    )


@EVOLVES.on(e.AssignmentResolved)
def assignment_resolved(state: A, event: e.AssignmentResolved, at: datetime) -> A:
    """After `AssignmentResolved`."""
    found = _found(state, event.assignment)
    note = found.note if event.note is None else event.note
    said = found.said
    if (event.reached, event.tries, event.solved, event.satisfied) != (None,) * 4:
        said = Verdict(
            at=at,
            by=found.unit,
            reached=event.reached,
            tries=event.tries,
            solved=event.solved,
            satisfied=event.satisfied,
        )
    after = _over(
        state, found.id, state=AssignmentState.RESOLVED, resolved_at=at, note=note, public_reply=event.public_reply, said=said
    )
    if not event.attachments:
        return after
    return replace(after, attachments=(*after.attachments, *event.attachments))


@EVOLVES.on(e.AssignmentReturned)
def returned(state: A, event: e.AssignmentReturned, at: datetime) -> A:
    """After `AssignmentReturned`."""
    id = event.assignment
    return _over(state, id, f"returned:{id}", state=AssignmentState.RETURNED, note=event.reason)


@EVOLVES.on(e.AssignmentRecalled)
def recalled(state: A, event: e.AssignmentRecalled, at: datetime) -> A:
    """After `AssignmentRecalled`."""
    found = _found(state, event.assignment)
    now = AssignmentState.DROPPED if found.state is AssignmentState.DROPPED else AssignmentState.RECALLED
    return _over(state, found.id, state=now, note=event.reason)
