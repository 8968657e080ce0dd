"""Limits: set, move, stop, run on, and the steps when they pass; reminders and supervision. Pure.

The policy counts a limit on its own calendar. While a matter is suspended its limits stand still: resuming gives each the time it had left.
Called by the aggregates that hold limits.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec

from hub.errors import InvalidInput
from hub.model.actors import ActorKind
from hub.model.aggregate import Command
from hub.model.bykind import ByKind
from hub.model.district.areas import Level, UnitCode
from hub.model.limits import commands as c
from hub.model.limits import events as e
from hub.model.limits.deciding import LimitDeciding
from hub.model.limits.state import Asked, Deadline, DeadlineKind
from hub.model.policy.rules import LadderAction, Limit
from hub.model.words import LIMITS

DECIDES: Final[ByKind[Command]] = ByKind()
"""Which rule decides each command of this part."""

BACKSTOP = timedelta(days=30)
"""The limit for finishing and resolving where the policy gives none: nothing may be open without a deadline."""

_BACKED = (DeadlineKind.FINISH, DeadlineKind.RESOLVE)


def limit_of(d: LimitDeciding[Any], kind: DeadlineKind) -> Limit | None:
    """The matter's limit of a kind; finishing and resolving always have one."""
    found = d.policy_limit(kind)
    if found is None and kind in _BACKED:
        return Limit(kind=kind, duration=BACKSTOP, working=False, words="30 days, the policy names no limit")
    return found


def set_limit(d: LimitDeciding[Any], kind: DeadlineKind, owner: UnitCode, assignment: str | None = None) -> None:
    """Start a limit now, if the policy has one of that kind."""
    limit = limit_of(d, kind)
    if limit is not None:
        due = d.rules.limits.due(d.now, limit)
        d.emit(e.DeadlineSet(kind=kind, owner=owner, due_at=due, assignment=assignment, limit=limit.words))


# --- when time passes ---


@DECIDES.on(c.CheckDeadlines)
def check_deadlines(d: LimitDeciding[Any], _command: c.CheckDeadlines) -> None:
    """Take every due ladder step; end a suspension whose time is over. At most one escalation in one go."""
    d.needs_hub()
    state = d.state
    if state.ended:
        return
    if state.suspended_at is not None:
        if state.suspended_until is None or state.suspended_until > d.now:
            return
        run_on(d, "the suspension's time is over")
    due = [item for item in d.state.deadlines if item.next_at is not None and item.next_at <= d.now]
    escalated = False
    for deadline in sorted(due, key=lambda item: item.next_at or d.now):
        escalated = _breach(d, deadline, escalated)


def _breach(d: LimitDeciding[Any], deadline: Deadline, escalated: bool) -> bool:
    """Take the steps of one limit that are due; returns whether the matter went up by now."""
    ladder = d.ladder()
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
            d.emit(e.Urged(message=f"{LIMITS[deadline.kind]}已过，请尽快办理", assignment=deadline.assignment, automatic=True))
        elif action is LadderAction.SUPERVISE:
            level = Level(min(d.level + 1, Level.DISTRICT))
            message = f"{LIMITS[deadline.kind]}已过，督办"
            d.emit(e.Supervised(level=level, message=message, assignment=deadline.assignment, automatic=True))
        elif action is LadderAction.ESCALATE and deadline.assignment is None and not escalated:
            escalated = d.climb(f"{LIMITS[deadline.kind]}已过")
    return escalated


# --- suspension ---


def run_on(d: LimitDeciding[Any], reason: str | None) -> None:
    """Let the clock of a suspended matter run on: every limit gets the time it had left when the clock was stopped."""
    since = d.state.suspended_at
    assert since is not None
    d.emit(e.Resumed(reason=reason))
    for item in d.state.deadlines:
        limit = limit_of(d, item.kind) or Limit(kind=item.kind, duration=timedelta(), working=False, words="")
        left = d.rules.limits.left(since, item.due_at, limit)
        due = item.due_at + (d.now - since)
        if left > timedelta():
            due = d.rules.limits.due(d.now, msgspec.structs.replace(limit, duration=left))
        d.emit(e.DeadlineMoved(kind=item.kind, due_at=due, assignment=item.assignment, reason=reason))


@DECIDES.on(c.Suspend)
def suspend(d: LimitDeciding[Any], command: c.Suspend) -> None:
    """Stop the clock on one's own authority."""
    d.at_work()
    d.needs_authority("suspension")
    d.text("reason", command.reason)
    d.ahead("until", command.until)
    if d.state.suspended_at is not None:
        d.refuse(f"the {d.kind} is suspended already")
    d.emit(e.Suspended(reason=command.reason, until=command.until))


@DECIDES.on(c.Resume)
def resume(d: LimitDeciding[Any], command: c.Resume) -> None:
    """Let the clock run on before its time."""
    d.at_work()
    d.needs_holder()
    if d.state.suspended_at is None:
        d.refuse(f"the {d.kind} is not suspended")
    run_on(d, command.reason)


# --- extension ---


@DECIDES.on(c.Extend)
def extend(d: LimitDeciding[Any], command: c.Extend) -> None:
    """Move a limit on one's own authority."""
    d.live()
    d.needs_authority("extension")
    d.text("reason", command.reason)
    d.ahead("until", command.until)
    d.must_know(command.assignment)
    deadline = _extendable(d, command.kind, command.assignment)
    if command.until <= deadline.due_at:
        raise InvalidInput("must be later than the present limit", subject="until")
    d.emit(e.DeadlineMoved(kind=command.kind, due_at=command.until, assignment=command.assignment, reason=command.reason))


def _extendable(d: LimitDeciding[Any], kind: DeadlineKind, assignment: str | None) -> Deadline:
    found = d.deadline(kind, assignment)
    if found is None:
        d.refuse(f"there is no open {kind.value} limit{f' of {assignment}' if assignment else ''}")
    return found


# --- asking and granting ---


@DECIDES.on(c.Ask)
def ask(d: LimitDeciding[Any], command: c.Ask) -> None:
    """Ask a higher level. A unit that does not hold the case asks about its own assignment."""
    state = d.at_work()
    if command.what not in ("suspension", "extension"):
        raise InvalidInput("one can ask for suspension or extension", subject="what")
    d.may_ask_about(command.assignment)
    d.text("reason", command.reason)
    d.ahead("until", command.until)
    kind = None
    if command.what == "extension":
        kind = command.kind or (DeadlineKind.RESOLVE if command.assignment is None else DeadlineKind.FINISH)
        deadline = _extendable(d, kind, command.assignment)
        if command.until is None or command.until <= deadline.due_at:
            raise InvalidInput("must be later than the present limit", subject="until")
    elif state.suspended_at is not None:
        d.refuse(f"the {d.kind} is suspended already")
    for other in state.asked:
        if (other.what, other.assignment, other.kind) == (command.what, command.assignment, kind):
            d.refuse(f"the same was asked as {other.id} and waits for an answer")
    d.emit(
        e.PermissionAsked(
            request=f"q{state.asked_ever + 1}",
            what=command.what,
            reason=command.reason,
            by=d.actor.unit,
            assignment=command.assignment,
            kind=kind,
            until=command.until,
        )
    )


def _asked(d: LimitDeciding[Any], request: str) -> Asked:
    found: Asked | None = next((item for item in d.state.asked if item.id == request), None)
    if found is None:
        raise InvalidInput(f"there is no open request {request}", subject="request")
    d.needs_authority(found.what)
    return found


@DECIDES.on(c.Approve)
def approve(d: LimitDeciding[Any], command: c.Approve) -> None:
    """Grant a request: suspend, or move the limit."""
    state = d.at_work()
    asked = _asked(d, command.request)
    if asked.until is not None and asked.until <= d.now:
        d.refuse("the time that was asked for has passed; decline it")
    if asked.what == "suspension":
        if state.suspended_at is not None:
            d.refuse(f"the {d.kind} is suspended already")
        d.emit(e.Suspended(reason=asked.reason, until=asked.until, asked=asked.id))
        return
    assert asked.kind is not None
    assert asked.until is not None
    deadline = _extendable(d, asked.kind, asked.assignment)
    if asked.until <= deadline.due_at:
        d.refuse("the limit is later than what was asked for; decline it")
    d.emit(
        e.DeadlineMoved(kind=asked.kind, due_at=asked.until, assignment=asked.assignment, asked=asked.id, reason=asked.reason)
    )


@DECIDES.on(c.Decline)
def decline(d: LimitDeciding[Any], command: c.Decline) -> None:
    """Say no to a request."""
    d.at_work()
    asked = _asked(d, command.request)
    d.text("reason", command.reason)
    d.emit(e.PermissionDeclined(request=asked.id, reason=command.reason))


# --- reminders ---


@DECIDES.on(c.Urge)
def urge(d: LimitDeciding[Any], command: c.Urge) -> None:
    """Remind the unit of one assignment, or the holder."""
    if command.assignment is None:
        d.at_work()
    else:
        d.live()
        d.must_be_open(command.assignment)
    d.needs_holder()
    d.text("message", command.message)
    d.emit(e.Urged(message=command.message, assignment=command.assignment))


@DECIDES.on(c.Supervise)
def supervise(d: LimitDeciding[Any], command: c.Supervise) -> None:
    """Formal supervision by a level above the holder; where the district itself holds the matter it supervises its units."""
    d.at_work()
    d.needs_holder()
    d.text("message", command.message)
    d.must_be_open(command.assignment)
    held_at = d.level
    above = Level(min(held_at + 1, Level.DISTRICT))
    level = above if d.actor.kind is ActorKind.SYSTEM else d.actor.level
    own = held_at is Level.DISTRICT and command.assignment is not None
    if level is None or (level <= held_at and not own):
        d.refuse("only a level above the holder may supervise")
    d.emit(e.Supervised(level=level, message=command.message, assignment=command.assignment))
