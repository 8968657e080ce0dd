"""What events of limits change, on whatever state holds limits. No rule and no refusal. Called by the aggregates' `evolve`."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeVar

from msgspec.structs import replace

from hub.model.aggregate import Event
from hub.model.attention import alarm, calm_overdue
from hub.model.bykind import ByKind
from hub.model.district.areas import UnitCode
from hub.model.limits import events as e
from hub.model.limits.state import Asked, Deadline, Limited

EVOLVES: Final[ByKind[Event]] = ByKind()
"""How each event of the part changes the state. An aggregate that holds more (assignments) replaces some of them."""

L = TypeVar("L", bound=Limited)


@EVOLVES.on(e.DeadlineSet)
def deadline_set(state: L, event: e.DeadlineSet, at: datetime) -> L:
    """After `DeadlineSet`."""
    fresh = Deadline(
        kind=event.kind,
        owner=event.owner,
        due_at=event.due_at,
        assignment=event.assignment,
        next_at=event.due_at,
        remaining=None if state.suspended_at is None else event.due_at - at,
    )
    rest = [d for d in state.deadlines if d.kind is not event.kind or d.assignment != event.assignment]
    return replace(
        state,
        deadlines=(*rest, fresh),
        attention=calm_overdue(state.attention, event.assignment or event.kind.value),
    )


@EVOLVES.on(e.DeadlineMoved)
def deadline_moved(state: L, event: e.DeadlineMoved, at: datetime) -> L:
    """After a suspension the ladder goes on where it stood, all shifted; an extension is a fresh limit."""
    moved = []
    shifted = False
    for d in state.deadlines:
        if d.kind is not event.kind or d.assignment != event.assignment:
            moved.append(d)
        elif state.suspended_at is None and d.remaining is not None:
            shifted = True
            later = None if d.next_at is None else d.next_at + (event.due_at - d.due_at)
            moved.append(replace(d, due_at=event.due_at, next_at=later, remaining=None))
        else:
            left = None if state.suspended_at is None else event.due_at - state.suspended_at
            moved.append(replace(d, due_at=event.due_at, next_at=event.due_at, step=0, remaining=left))
    return replace(
        state,
        deadlines=tuple(moved),
        asked=tuple(item for item in state.asked if item.id != event.asked) if event.asked else state.asked,
        attention=state.attention if shifted else calm_overdue(state.attention, event.assignment or event.kind.value),
    )


@EVOLVES.on(e.DeadlineBreached)
def deadline_breached(state: L, event: e.DeadlineBreached, at: datetime) -> L:
    """At the end of the ladder, and where a unit can't be escalated past, an operator has to look."""
    deadlines = tuple(
        replace(d, step=event.step, next_at=event.next_at) if d.kind is event.kind and d.assignment == event.assignment else d
        for d in state.deadlines
    )
    attention = state.attention
    if event.next_at is None or (event.action == "escalate" and event.assignment is not None):
        attention = alarm(attention, f"overdue:{event.assignment or event.kind.value}")
    return replace(state, deadlines=deadlines, attention=attention)


@EVOLVES.on(e.Suspended)
def suspended(state: L, event: e.Suspended, at: datetime) -> L:
    """After `Suspended`."""
    return replace(
        state,
        suspended_at=at,
        suspended_until=event.until,
        deadlines=tuple(replace(d, remaining=d.due_at - at) for d in state.deadlines),
        asked=tuple(item for item in state.asked if item.id != event.asked) if event.asked else state.asked,
    )


@EVOLVES.on(e.Resumed)
def resumed(state: L, event: e.Resumed, at: datetime) -> L:
    """After `Resumed`."""
    return replace(state, suspended_at=None, suspended_until=None)


@EVOLVES.on(e.PermissionAsked)
def permission_asked(state: L, event: e.PermissionAsked, at: datetime) -> L:
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
    return replace(state, asked=(*state.asked, asked), asked_ever=state.asked_ever + 1)


@EVOLVES.on(e.PermissionDeclined)
def permission_declined(state: L, event: e.PermissionDeclined, at: datetime) -> L:
    """After `PermissionDeclined`."""
    return replace(state, asked=tuple(item for item in state.asked if item.id != event.request))


@EVOLVES.on(e.Urged, e.Supervised)
def told(state: L, event: Event, at: datetime) -> L:
    """For the timeline alone."""
    return state


def owned_by(deadlines: tuple[Deadline, ...], unit: UnitCode) -> tuple[Deadline, ...]:
    """The limits after the matter's own ones passed to another unit."""
    if any(d.assignment is None and d.owner != unit for d in deadlines):
        return tuple(replace(d, owner=unit) if d.assignment is None else d for d in deadlines)
    return deadlines
