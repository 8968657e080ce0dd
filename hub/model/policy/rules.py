"""What `decide` asks of the policy, split by question. The policy answers from configuration; tests may answer by hand.

All methods are pure and deterministic for one policy version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import msgspec

from hub.model.answers import Satisfied, Solved
from hub.model.assignments.commands import Target
from hub.model.case.state import Channel, Severity
from hub.model.district.areas import AreaCode, Level, Unit, UnitCode
from hub.model.limits.state import DeadlineKind


class Matter(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What routing looks at."""

    channel: Channel
    title: str
    text: str
    area: AreaCode
    category: str | None = None
    severity: Severity | None = None
    source_adapter: str | None = None


class Plan(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the policy says about a matter. `targets` are not yet assigned unless `dispatch` is true.

    `rule` reads `routing.yaml:42 noise-at-night`; `because` has one line for each thing that decided.
    """

    category: str
    severity: Severity
    level: Level
    holder: UnitCode
    targets: tuple[Target, ...]
    dispatch: bool
    rule: str
    because: tuple[str, ...] = ()


class Limit(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A limit: `duration` counted on the `working` calendar or around the clock; `words` for people: `4 working hours`."""

    kind: DeadlineKind
    duration: timedelta
    working: bool
    words: str


class LadderAction(StrEnum):
    """What happens when a limit passes."""

    URGE = "urge"
    ESCALATE = "escalate"
    SUPERVISE = "supervise"


class Step(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One step of the escalation ladder; `after` the limit (around the clock), ascending; the first is usually 0."""

    action: LadderAction
    after: timedelta


class Units(Protocol):
    """Who is there, and where."""

    def unit(self, code: str) -> Unit | None:
        """The unit with that code, or None."""
        ...

    def unit_at(self, level: Level, area: str) -> Unit | None:
        """The level's own unit responsible for `area`; None when the area is not located that deep."""
        ...

    def is_area(self, code: str) -> bool:
        """Whether such an area exists (or it is a zero-filled code of one that does)."""
        ...


class Routing(Protocol):
    """Where a matter goes, and how far up."""

    def plan(self, matter: Matter, at: datetime) -> Plan:
        """Route a matter: category, severity, first level and holder, lead and support, whether to dispatch at once. Total."""
        ...

    def is_category(self, code: str) -> bool:
        """Whether such a category exists."""
        ...

    def adapter_for(self, unit: Unit, *, matter: str, area: str, category: str) -> str | None:
        """The adapter instance that takes an assignment of a unit; None: the unit works in the hub."""
        ...

    def settle_level(self, category: str, severity: Severity) -> Level:
        """The lowest level that may settle such a matter itself."""
        ...

    def top_level(self, category: str, severity: Severity) -> Level:
        """The highest level to which a person may escalate such a matter (small matters stay low). The ladder may go beyond."""
        ...


class Timing(Protocol):
    """How long things may take, and what happens after."""

    def limit(self, kind: DeadlineKind, category: str, severity: Severity) -> Limit | None:
        """The limit of a kind, None when there is none."""
        ...

    def due(self, start: datetime, limit: Limit) -> datetime:
        """When a limit that starts at `start` ends (UTC)."""
        ...

    def left(self, now: datetime, due: datetime, limit: Limit) -> timedelta:
        """Time left of a limit on its own calendar (negative when passed); `due(now, left)` gives `due` back."""
        ...

    def ladder(self, severity: Severity) -> tuple[Step, ...]:
        """The steps taken when a limit passes."""
        ...


class Powers(Protocol):
    """Who may grant what."""

    def authority(self, what: str) -> Level:
        """The lowest level that may grant `suspension`, `extension`, `void`, `merge` on its own authority."""
        ...


class Visits(Protocol):
    """Whose reporters are visited, and what follows from their answers."""

    def visit_required(self, channel: Channel, category: str, severity: Severity) -> bool:
        """Whether the reporter must be visited before closing."""
        ...

    def reopens(self, solved: Solved | None, satisfied: Satisfied | None) -> bool:
        """Whether such answers open a case again."""
        ...


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules as `decide` sees them, one answer for each question.

    They compose: `dataclasses.replace(rules, limits=...)` puts other limits over these, and all others stay. `version` is the number of the
    published policy; 0 for an unpublished one.
    """

    version: int
    units: Units
    routing: Routing
    limits: Timing
    powers: Powers
    visits: Visits
