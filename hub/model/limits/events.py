"""What happens to limits; held by whatever aggregate holds limits. See `hub.model.aggregate.Event`."""

from __future__ import annotations

from datetime import datetime

from hub.model.aggregate import Event
from hub.model.district.areas import Level, UnitCode
from hub.model.limits.state import DeadlineKind


class DeadlineSet(Event, frozen=True, tag="limit.set"):
    """A limit starts (or replaces the one of the same kind and assignment). `limit` is the rule in words: `4 working hours`."""

    kind: DeadlineKind
    owner: UnitCode
    due_at: datetime
    assignment: str | None = None
    limit: str | None = None


class DeadlineMoved(Event, frozen=True, tag="limit.moved"):
    """A limit was moved: an extension was approved (`asked` names the request), or the clock ran on after a suspension."""

    kind: DeadlineKind
    due_at: datetime
    assignment: str | None = None
    asked: str | None = None
    reason: str | None = None


class DeadlineBreached(Event, frozen=True, tag="limit.breached"):
    """A limit passed. `action` is the ladder step taken: urge, escalate, supervise, or none when the first step comes later.

    `step` counts the steps taken so far, this one included. `next_at`: time of the next step, None after the last.
    """

    kind: DeadlineKind
    owner: UnitCode
    step: int
    action: str
    assignment: str | None = None
    next_at: datetime | None = None


class Suspended(Event, frozen=True, tag="clock.suspended"):
    """The clock stands still 挂起 until resumed or `until`."""

    reason: str
    until: datetime | None = None
    asked: str | None = None


class Resumed(Event, frozen=True, tag="clock.resumed"):
    """The clock runs on; DeadlineMoved events follow in the same commit."""

    reason: str | None = None


class PermissionAsked(Event, frozen=True, tag="permission.asked"):
    """A unit asks for suspension or extension 挂起/延期申请."""

    request: str
    what: str
    reason: str
    by: UnitCode | None = None
    assignment: str | None = None
    kind: DeadlineKind | None = None
    until: datetime | None = None


class PermissionDeclined(Event, frozen=True, tag="permission.declined"):
    """A higher level said no to a request."""

    request: str
    reason: str


class Urged(Event, frozen=True, tag="work.urged"):
    """A reminder 催办; to one assignment's unit, or to the holder when `assignment` is None."""

    message: str
    assignment: str | None = None
    automatic: bool = False


class Supervised(Event, frozen=True, tag="work.supervised"):
    """A formal supervision 督办 by a higher level."""

    level: Level
    message: str
    assignment: str | None = None
    automatic: bool = False
