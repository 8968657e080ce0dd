"""Limits: set, move, stop, run on, and what happens when they pass. Pure.

A limit is counted on its own calendar by the policy. While a case is suspended its limits stand still: resuming gives each the
time it had left. Called by `decide` and the other modules of this package.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from hub.errors import InvalidInput
from hub.model import commands as c
from hub.model import events as e
from hub.model.areas import Level, UnitCode
from hub.model.cases import Asked, Deadline, DeadlineKind
from hub.model.lifecycle.deciding import LIVE, Deciding
from hub.model.rules import LadderAction, Limit

BACKSTOP = timedelta(days=30)
"""The limit for finishing and resolving where the policy gives none: nothing may be open without a deadline."""

_BACKED = (DeadlineKind.FINISH, DeadlineKind.RESOLVE)

WORDS = {
    DeadlineKind.FIRST_RESPONSE: "首次响应",
    DeadlineKind.RESOLVE: "办结",
    DeadlineKind.ACCEPT: "签收",
    DeadlineKind.FINISH: "办理",
}
"""How people call the limits; for the messages that units get."""


def limit_of(d: Deciding, kind: DeadlineKind) -> Limit | None:
    """The case's limit of a kind; finishing and resolving always have one."""
    found = d.rules.limit(kind, d.case.category or "", d.severity)
    if found is None and kind in _BACKED:
        return Limit(kind=kind, duration=BACKSTOP, working=False, words="30 days, the policy names no limit")
    return found


def set_limit(d: Deciding, kind: DeadlineKind, owner: UnitCode, assignment: str | None = None) -> None:
    """Start a limit now, if the policy has one of that kind."""
    limit = limit_of(d, kind)
    if limit is not None:
        due = d.rules.due(d.now, limit)
        d.emit(e.DeadlineSet(kind=kind, owner=owner, due_at=due, assignment=assignment, limit=limit.words))


def deadline_of(d: Deciding, kind: DeadlineKind, assignment: str | None) -> Deadline | None:
    """The open limit of that kind and assignment."""
    return next((item for item in d.case.deadlines if item.kind is kind and item.assignment == assignment), None)


# --- when time passes ---


def check_deadlines(d: Deciding) -> None:
    """Take every ladder step that is due; end a suspension whose time is over. At most one escalation in one go."""
    d.needs_hub()
    case = d.case
    if case.stage.ended:
        return
    if case.suspended_at is not None:
        if case.suspended_until is None or case.suspended_until > d.now:
            return
        run_on(d, "the suspension's time is over")
    due = [item for item in d.case.deadlines if item.next_at is not None and item.next_at <= d.now]
    escalated = False
    for deadline in sorted(due, key=lambda item: item.next_at or d.now):
        escalated = _breach(d, deadline, escalated)


def _breach(d: Deciding, deadline: Deadline, escalated: bool) -> bool:
    """Take the steps of one limit that are due; returns whether the case was escalated by now."""
    ladder = d.rules.ladder(d.severity)
    step, next_at = deadline.step, deadline.next_at
    while next_at is not None and next_at <= d.now:
        action = None
        if step < len(ladder) and deadline.due_at + ladder[step].after <= d.now:
            action = ladder[step].action
            step += 1
        next_at = deadline.due_at + ladder[step].after if step < len(ladder) else None
        d.emit(
            e.DeadlineBreached(
                kind=deadline.kind,
                owner=deadline.owner,
                step=step,
                action="none" if action is None else action.value,
                assignment=deadline.assignment,
                next_at=next_at,
            )
        )
        if action is LadderAction.URGE:
            d.emit(
                e.Urged(message=f"{WORDS[deadline.kind]}时限已过，请尽快办理", assignment=deadline.assignment, automatic=True)
            )
        elif action is LadderAction.SUPERVISE:
            level = Level(min((d.case.level or Level.GRID) + 1, Level.DISTRICT))
            message = f"{WORDS[deadline.kind]}时限已过，督办"
            d.emit(e.Supervised(level=level, message=message, assignment=deadline.assignment, automatic=True))
        elif action is LadderAction.ESCALATE and deadline.assignment is None and not escalated:
            escalated = _escalate(d, deadline)
    return escalated


def _escalate(d: Deciding, deadline: Deadline) -> bool:
    """One level up, whatever the policy's top level for people is; false at the top."""
    level = d.case.level
    if level is None or level is Level.DISTRICT:
        return False
    above = d.rules.unit_at(Level(level + 1), d.case.area)
    if above is None:
        return False
    reason = f"{WORDS[deadline.kind]}时限已过"
    d.emit(e.CaseHeld(level=Level(level + 1), unit=above.code, cause="escalated", reason=reason))
    return True


# --- suspension ---


def run_on(d: Deciding, reason: str | None) -> None:
    """Let the clock of a suspended case run on: every limit gets the time it had left when the clock was stopped."""
    since = d.case.suspended_at
    assert since is not None
    d.emit(e.CaseResumed(reason=reason))
    for item in d.case.deadlines:
        limit = limit_of(d, item.kind) or Limit(kind=item.kind, duration=timedelta(), working=False, words="")
        left = d.rules.left(since, item.due_at, limit)
        due = item.due_at + (d.now - since)
        if left > timedelta():
            due = d.rules.due(d.now, msgspec.structs.replace(limit, duration=left))
        d.emit(e.DeadlineMoved(kind=item.kind, due_at=due, assignment=item.assignment, reason=reason))


def suspend(d: Deciding, command: c.Suspend) -> None:
    """Stop the clock on one's own authority."""
    d.stages(*LIVE)
    d.needs_authority("suspension")
    d.text("reason", command.reason)
    d.ahead("until", command.until)
    if d.case.suspended_at is not None:
        d.refuse("the case is suspended already")
    d.emit(e.CaseSuspended(reason=command.reason, until=command.until))


def resume(d: Deciding, command: c.Resume) -> None:
    """Let the clock run on before its time."""
    d.stages(*LIVE)
    d.needs_holder()
    if d.case.suspended_at is None:
        d.refuse("the case is not suspended")
    run_on(d, command.reason)


# --- extension ---


def extend(d: Deciding, command: c.Extend) -> None:
    """Move a limit on one's own authority."""
    d.live()
    d.needs_authority("extension")
    d.text("reason", command.reason)
    d.ahead("until", command.until)
    if command.assignment is not None:
        d.assignment(command.assignment)
    deadline = _extendable(d, command.kind, command.assignment)
    if command.until <= deadline.due_at:
        raise InvalidInput("must be later than the present limit", subject="until")
    d.emit(e.DeadlineMoved(kind=command.kind, due_at=command.until, assignment=command.assignment, reason=command.reason))


def _extendable(d: Deciding, kind: DeadlineKind, assignment: str | None) -> Deadline:
    found = deadline_of(d, kind, assignment)
    if found is None:
        d.refuse(f"there is no open {kind.value} limit{f' of {assignment}' if assignment else ''}")
    return found


# --- asking and granting ---


def ask(d: Deciding, command: c.Ask) -> None:
    """Ask a higher level. A unit that does not hold the case asks about its own assignment."""
    case = d.stages(*LIVE)
    if command.what not in ("suspension", "extension"):
        raise InvalidInput("one can ask for suspension or extension", subject="what")
    owned = None if command.assignment is None else d.assignment(command.assignment)
    if owned is not None:
        d.needs_worker(owned)
        if not owned.state.open:
            d.refuse("nothing is owed on this assignment any more", assignment=owned)
    else:
        d.needs_holder()
    d.text("reason", command.reason)
    d.ahead("until", command.until)
    kind = None
    if command.what == "extension":
        kind = command.kind or (DeadlineKind.RESOLVE if command.assignment is None else DeadlineKind.FINISH)
        deadline = _extendable(d, kind, command.assignment)
        if command.until is None or command.until <= deadline.due_at:
            raise InvalidInput("must be later than the present limit", subject="until")
    elif case.suspended_at is not None:
        d.refuse("the case is suspended already")
    for other in case.asked:
        if (other.what, other.assignment, other.kind) == (command.what, command.assignment, kind):
            d.refuse(f"the same was asked as {other.id} and waits for an answer")
    d.emit(
        e.PermissionAsked(
            request=f"q{case.number + 1}",
            what=command.what,
            reason=command.reason,
            by=d.actor.unit,
            assignment=command.assignment,
            kind=kind,
            until=command.until,
        )
    )


def _asked(d: Deciding, request: str) -> Asked:
    found = next((item for item in d.case.asked if item.id == request), None)
    if found is None:
        raise InvalidInput(f"there is no open request {request}", subject="request")
    d.needs_authority(found.what)
    return found


def approve(d: Deciding, command: c.Approve) -> None:
    """Grant a request: suspend, or move the limit."""
    case = d.stages(*LIVE)
    asked = _asked(d, command.request)
    if asked.until is not None and asked.until <= d.now:
        d.refuse("the time that was asked for has passed; decline it")
    if asked.what == "suspension":
        if case.suspended_at is not None:
            d.refuse("the case is suspended already")
        d.emit(e.CaseSuspended(reason=asked.reason, until=asked.until, asked=asked.id))
        return
    assert asked.kind is not None
    assert asked.until is not None
    deadline = _extendable(d, asked.kind, asked.assignment)
    if asked.until <= deadline.due_at:
        d.refuse("the limit is later than what was asked for; decline it")
    d.emit(
        e.DeadlineMoved(kind=asked.kind, due_at=asked.until, assignment=asked.assignment, asked=asked.id, reason=asked.reason)
    )


def decline(d: Deciding, command: c.Decline) -> None:
    """Say no to a request."""
    d.stages(*LIVE)
    asked = _asked(d, command.request)
    d.text("reason", command.reason)
    d.emit(e.PermissionDeclined(request=asked.id, reason=command.reason))
