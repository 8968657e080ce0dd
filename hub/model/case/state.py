"""The state of a case 事件: what folding its events gives. Immutable; changed only by `hub.model.case.evolve`.

Read by every stage; written by none. Times are aware UTC datetimes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from hub.model.aggregate import MatterId, mark_of, new_id, parse_id
from hub.model.answers import Closing, Verdict
from hub.model.assignments.state import Assigned
from hub.model.district.areas import AreaCode, Level, UnitCode
from hub.model.grown import Grown
from hub.model.positions import Point, Position
from hub.model.records import ASKS_ITSELF, Source

CaseId = MatterId
"""The id of a case; the id of a matter of any kind has the same form."""


def case_id(area: str, suffix: str) -> CaseId:
    """Build a case id from the area where it arose and a unique lower-case Crockford base-32 suffix.

    An area above the grid is filled with zeros: `320113001` → `320113001000000-…` (not located further).
    """
    return new_id(area, suffix)


def parse_case_id(text: str) -> CaseId:
    """Check the form of a case id; raises ValueError."""
    id = parse_id(text)
    if mark_of(id):
        raise ValueError(f"not a case id: {text!r}")
    return CaseId(id)


class Channel(StrEnum):
    """Where a report came from 来源渠道."""

    HOTLINE = "hotline"
    PATROL = "patrol"
    RESIDENT = "resident"
    DEVICE = "device"
    SUPERIOR = "superior"
    WHISTLE = "whistle"
    DEPARTMENT = "department"


class Severity(StrEnum):
    """How urgent; decides limits, who may settle it and how fast departments are called."""

    MINOR = "minor"
    ORDINARY = "ordinary"
    MAJOR = "major"
    URGENT = "urgent"


class Stage(StrEnum):
    """Where a case stands."""

    REPORTED = "reported"
    HELD = "held"
    DISPATCHED = "dispatched"
    RESOLVED = "resolved"
    CLOSED = "closed"
    VOID = "void"
    MERGED = "merged"

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected (closed, void, merged)."""
        return self in _ENDED


_ENDED = (Stage.CLOSED, Stage.VOID, Stage.MERGED)


NO_SOURCES: Grown[Source, None] = Grown()

MERGE_SEEN = timedelta(seconds=10)
"""For so long after another case was merged in, a case can't be voided: whoever voids it may not have seen the other."""


MOST_ABSORBED = 20
"""So many of the latest merged cases have their reporters' names masked here, too."""


class Merging(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A requested merge that waits for the other case's answer. `stamp` orders merges, so that no chain of them closes to a ring."""

    into: CaseId
    stamp: datetime
    reason: str | None = None


class Case(Assigned, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A case as folded from its commits."""

    id: CaseId
    stage: Stage
    channel: Channel
    title: str
    text: str
    reported_at: datetime
    place: str | None = None
    position: Position | None = None  # as it was given
    wgs84: Point | None = None  # the same, converted once by intake
    source: Source | None = None
    category: str | None = None
    severity: Severity | None = None
    rule: str | None = None
    level: Level | None = None
    holder: UnitCode | None = None
    first_response_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    reopened: int = 0
    visits: int = 0  # tries to reach the reporter in this round
    reporter_said: Verdict | None = None
    checker_said: Verdict | None = None
    resolved_late: bool = False  # past the limit for resolving it, in this round
    closing: Closing | None = None
    closing_reason: str | None = None
    duplicate_of: CaseId | None = None
    merging: Merging | None = None
    merged_into: CaseId | None = None
    absorbed: tuple[CaseId, ...] = ()  # with those they had absorbed themselves
    absorbed_at: datetime | None = None
    latest_stamp: datetime | None = None  # of the merges into this case
    covers: tuple[AreaCode, ...] = ()  # areas a notice (planned outage) stands for
    covers_until: datetime | None = None
    attached_reports: Grown[Source, None] = NO_SOURCES  # empty in snapshots
    has_contact: bool = False
    contact_erased: bool = False
    visited_levels: tuple[Level, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected (closed, void, merged)."""
        return self.stage.ended

    @property
    def round(self) -> int:
        """How often the case was opened again."""
        return self.reopened

    @property
    def reporters(self) -> tuple[MatterId, ...]:
        """The cases whose reporters' names may not stand in texts here: this one, and the latest ones merged in."""
        own = (self.id,) if self.has_contact and not self.contact_erased else ()
        return (*own, *self.absorbed[-MOST_ABSORBED:])

    @property
    def sources(self) -> tuple[Source, ...]:
        """The outside records that wait for word on the case: its own and the attached ones, except those of clients that ask."""
        own = (self.source,) if self.source is not None else ()
        found = dict.fromkeys((*own, *self.attached_reports))
        return tuple(source for source in found if not source.adapter.startswith(ASKS_ITSELF))
