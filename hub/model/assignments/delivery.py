"""Deliveries: dispatch's records of handing an assignment over. Pure.

The hub is at-least-once, so every record may come twice or late. A known fact gives no event; a contradiction is recorded. Called by the
aggregates that hold assignments.
"""

from __future__ import annotations

from typing import Any, Final

from hub.errors import InvalidInput
from hub.model.aggregate import Command
from hub.model.assignments import commands as c
from hub.model.assignments import events as e
from hub.model.assignments.deciding import WorkDeciding
from hub.model.assignments.evolve import UNDELIVERED
from hub.model.assignments.state import STOPPED, Assignment, AssignmentState, Attempt, AttemptOutcome, delivery_key
from hub.model.bykind import ByKind
from hub.model.limits.clock import set_limit
from hub.model.limits.state import DeadlineKind

DECIDES: Final[ByKind[Command]] = ByKind()
"""Which rule decides each command of this part."""

S = AssignmentState

_WAITING = (S.MADE, S.SENDING)
_NOT_WANTED = (S.RECALLED, S.DROPPED)


@DECIDES.on(c.StartDelivery)
def start(d: WorkDeciding[Any], command: c.StartDelivery) -> None:
    """An attempt begins; refused unless the assignment waits for one and the last has ended."""
    d.needs_hub()
    found = d.assignment(command.assignment)
    if found.adapter is None:
        d.refuse_for(found, "the unit works in the hub; there is nothing to send")
    if found.state not in _WAITING:
        d.refuse_for(found, "the assignment does not wait for delivery")
    last = found.attempts[-1] if found.attempts else None
    if last is not None and last.outcome is AttemptOutcome.STARTED:
        d.refuse_for(found, f"attempt {last.number} has not ended")
    d.emit(e.DeliveryStarted(assignment=found.id, attempt=1 if last is None else last.number + 1))


@DECIDES.on(c.RecordDelivered)
def delivered(d: WorkDeciding[Any], command: c.RecordDelivered) -> None:
    """The department has it. The ticket is always kept, so that a department whose work is no longer wanted can be told."""
    found = d.assignment(command.assignment)
    if d.actor.unit != found.unit:
        d.needs_hub()
    ticket = d.text("ticket", command.ticket)
    if command.attempt is not None:
        _attempt(found, command.attempt)
    known = found.ticket
    again = found.state in _WAITING
    if known == ticket and not again:
        return
    received = e.Delivered(assignment=found.id, ticket=ticket, attempt=command.attempt, via=command.via)
    if known is not None and known not in (ticket, delivery_key(d.id, found.id)):
        reason = f"the department gave two tickets: {known}, then {ticket}"
        if again:
            # Sent once more on request: the attempt has to end, and the department works with the newer number.
            d.emit(received)
        d.emit(e.FeedbackConflicted(assignment=found.id, kind="delivered", reason=reason, note=ticket))
        return
    d.emit(received)
    if found.state in _NOT_WANTED:
        reason = f"the department has it as {ticket}, but it was {found.state.value}"
        d.emit(
            e.FeedbackConflicted(assignment=found.id, kind="delivered", reason=reason, note=ticket),
            e.AssignmentRecalled(assignment=found.id, reason=found.note or reason, tell=True),
        )
    elif found.state is S.REFUSED:
        reason = f"the department refused it and has it as {ticket}"
        d.emit(e.FeedbackConflicted(assignment=found.id, kind="delivered", reason=reason, note=ticket))


def _attempt(found: Assignment, number: int) -> Attempt:
    attempt = next((item for item in found.attempts if item.number == number), None)
    if attempt is None:
        raise InvalidInput(f"{found.id} has no attempt {number}", subject="attempt")
    return attempt


@DECIDES.on(c.RecordFailed)
def failed(d: WorkDeciding[Any], command: c.RecordFailed) -> None:
    """An attempt ended without a receipt; an attempt ends once."""
    d.needs_hub()
    found = d.assignment(command.assignment)
    d.aware("retry_at", command.retry_at)
    if _attempt(found, command.attempt).outcome is AttemptOutcome.STARTED:
        d.emit(
            e.DeliveryFailed(
                assignment=found.id,
                attempt=command.attempt,
                error=command.error,
                reason=command.reason,
                unknown=command.unknown,
                retry_at=command.retry_at,
                status=command.status,
            )
        )


@DECIDES.on(c.RecordRefused)
def refused(d: WorkDeciding[Any], command: c.RecordRefused) -> None:
    """The department's system said no. The operator is asked. Without any lead left the holder has the case again."""
    d.needs_hub()
    found = d.assignment(command.assignment)
    if _attempt(found, command.attempt).outcome not in (AttemptOutcome.STARTED, AttemptOutcome.UNKNOWN):
        return
    d.emit(e.DeliveryRefused(assignment=found.id, attempt=command.attempt, reason=command.reason, status=command.status))
    if found.state in UNDELIVERED:
        d.after_change()
    elif found.state not in _NOT_WANTED:
        reason = f"refused by the department, but the assignment is {found.state.value}"
        d.emit(e.FeedbackConflicted(assignment=found.id, kind="refused", reason=reason, note=command.reason))


@DECIDES.on(c.RecordUncertain)
def uncertain(d: WorkDeciding[Any], command: c.RecordUncertain) -> None:
    """Nobody can find out whether it arrived."""
    d.needs_hub()
    found = d.assignment(command.assignment)
    attempt = _attempt(found, command.attempt)
    if found.state in _WAITING and attempt.outcome in (AttemptOutcome.STARTED, AttemptOutcome.UNKNOWN):
        d.emit(e.DeliveryUncertain(assignment=found.id, attempt=command.attempt, reason=command.reason))


@DECIDES.on(c.RecordDead)
def dead(d: WorkDeciding[Any], command: c.RecordDead) -> None:
    """Attempts are used up. Only a waiting assignment can die."""
    d.needs_hub()
    found = d.assignment(command.assignment)
    if found.state in _WAITING:
        d.emit(e.DeliveryDead(assignment=found.id, letter=command.letter))


@DECIDES.on(c.RecordEffect)
def effect(d: WorkDeciding[Any], command: c.RecordEffect) -> None:
    """A recall, urge or inform reached the department, or did not."""
    d.needs_hub()
    _ = d.state  # refuses when there is none
    d.text("effect", command.effect)
    if command.error is None:
        d.emit(e.EffectDone(effect=command.effect, adapter=command.adapter))
    else:
        d.emit(
            e.EffectFailed(
                effect=command.effect,
                adapter=command.adapter,
                error=command.error,
                reason=command.reason or command.error,
                final=command.final,
            )
        )


@DECIDES.on(c.Resend)
def resend(d: WorkDeciding[Any], command: c.Resend) -> None:
    """The holder or the unit asks, for a stopped delivery, or for one that the unit has and has not taken up yet."""
    d.may_deliver()
    found = d.assignment(command.assignment)
    d.needs_worker(found)
    reason = d.text("reason", command.reason)
    if found.state is S.DELIVERED:
        if found.adapter is None:
            d.refuse_for(found, "the unit works in the hub; there is nothing to send")
        if not command.again:
            d.refuse_for(
                found, f"the department's system has it as {found.ticket}; ask for it `again` to have it sent once more"
            )
        d.emit(e.DeliveryResent(assignment=found.id, reason=reason))
        return
    if found.state in _WAITING:
        d.refuse_for(found, "it is being delivered already")
    if found.state not in STOPPED:
        d.refuse_for(found, "the unit has it and has said so; only what stopped or was not taken up is sent again")
    if found.state is S.REFUSED and not d.steers and d.went_on_without(found):
        d.refuse_for(found, f"the unit refused it and the {d.kind} went on without it; ask who holds the {d.kind}")
    _again(d, found, reason)


def _again(d: WorkDeciding[Any], found: Assignment, reason: str) -> None:
    """A refused one gets fresh limits, for its own ended with the refusal."""
    state = d.state
    if found.round != state.round:
        d.refuse_for(found, f"the {d.kind} was reopened since; dispatch it anew")
    ended = d.deadline(DeadlineKind.FINISH, found.id) is None
    if ended and d.done:
        d.refuse_for(found, f"the {d.kind} is resolved; nothing is owed any more")
    if ended and state.suspended_at is not None:
        d.refuse_for(found, f"the {d.kind} is suspended; resume it first")
    if any(item.unit == found.unit and item.state.open and item.id != found.id for item in state.assignments):
        d.refuse_for(found, f"{found.unit} has another open assignment of this {d.kind}")
    d.emit(e.DeliveryResent(assignment=found.id, reason=reason))
    if ended:
        set_limit(d, DeadlineKind.ACCEPT, found.unit, found.id)
        set_limit(d, DeadlineKind.FINISH, found.unit, found.id)
    d.after_change()


@DECIDES.on(c.Drop)
def drop(d: WorkDeciding[Any], command: c.Drop) -> None:
    """Give it up. Without any lead left the holder has the case again."""
    d.live()
    d.needs_holder()
    found = d.assignment(command.assignment)
    reason = d.text("reason", command.reason)
    if found.state not in STOPPED:
        d.refuse_for(found, "only a dead, refused or uncertain delivery can be dropped")
    d.emit(e.DeliveryDropped(assignment=found.id, reason=reason))
    d.after_change()
