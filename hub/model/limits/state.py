"""The limits of a matter, and questions about them. Immutable; changed only by `limits.evolve`."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from hub.model.district.areas import UnitCode


class DeadlineKind(StrEnum):
    """What a limit is for. FIRST_RESPONSE and RESOLVE are the case's, ACCEPT and FINISH an assignment's."""

    FIRST_RESPONSE = "first_response"
    RESOLVE = "resolve"
    ACCEPT = "accept"
    FINISH = "finish"


class Deadline(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """An open limit. `owner` is the unit that has to keep it; `step` counts ladder steps already taken.

    `next_at` is when something happens next: the limit itself, or the next step of the ladder.
    While the case is suspended `remaining` holds the limit's time left and nothing happens.
    """

    kind: DeadlineKind
    owner: UnitCode
    due_at: datetime
    assignment: str | None = None
    step: int = 0
    next_at: datetime | None = None
    remaining: timedelta | None = None


class Asked(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """An open request for suspension or extension that waits for a higher level's word."""

    id: str  # "q1" …
    what: str  # "suspension" | "extension"
    by: UnitCode | None
    reason: str
    assignment: str | None = None
    kind: DeadlineKind | None = None
    until: datetime | None = None


class Limited(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The part of a state that holds limits; an aggregate's state inherits it.

    `attention`: why an operator has to look, `<why>:<assignment or kind of limit>`. `asked_ever` numbers the requests.
    """

    deadlines: tuple[Deadline, ...] = ()
    asked: tuple[Asked, ...] = ()
    asked_ever: int = 0
    suspended_at: datetime | None = None
    suspended_until: datetime | None = None
    attention: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected of the matter."""
        raise NotImplementedError

    @property
    def next_due(self) -> datetime | None:
        """When a timer has to wake the matter: the earliest open `next_at`; None while suspended (but `suspended_until`)."""
        if self.ended:
            return None
        if self.suspended_at is not None:
            return self.suspended_until
        earliest: datetime | None = None
        for deadline in self.deadlines:
            due = deadline.next_at
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest
