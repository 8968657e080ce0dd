"""What can be wanted of limits; an aggregate that holds limits takes these commands."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from hub.model.aggregate import Command
from hub.model.limits.state import DeadlineKind


class Ask(Command, frozen=True, tag="ask"):
    """Ask a higher level for `suspension` or `extension`."""

    what: Literal["suspension", "extension"]
    reason: str
    until: datetime | None = None
    assignment: str | None = None
    kind: DeadlineKind | None = None


class Approve(Command, frozen=True, tag="approve"):
    """Grant an open request."""

    request: str


class Decline(Command, frozen=True, tag="decline"):
    """Refuse an open request."""

    request: str
    reason: str


class Suspend(Command, frozen=True, tag="suspend"):
    """Stop the clock on one's own authority (policy says from which level)."""

    reason: str
    until: datetime | None = None


class Resume(Command, frozen=True, tag="resume"):
    """Let the clock run on."""

    reason: str | None = None


class Extend(Command, frozen=True, tag="extend"):
    """Move a limit on one's own authority (policy says from which level)."""

    kind: DeadlineKind
    until: datetime
    reason: str
    assignment: str | None = None


class CheckDeadlines(Command, frozen=True, tag="check_deadlines"):
    """The case's timer fired: take every ladder step that is due, end a suspension whose time is over."""


class Urge(Command, frozen=True, tag="urge"):
    """Remind the unit of one assignment, or the holder."""

    message: str
    assignment: str | None = None


class Supervise(Command, frozen=True, tag="supervise"):
    """Formally supervise; only a level above the holder may."""

    message: str
    assignment: str | None = None


LimitCommand = Ask | Approve | Decline | Suspend | Resume | Extend | Urge | Supervise | CheckDeadlines
