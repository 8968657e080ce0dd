"""The state of a case 事件: what folding its events gives. Immutable; changed only by `lifecycle.evolve`.

Read by every stage; written by none. Times are aware UTC datetimes.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

import msgspec

from hub.model.areas import AreaCode, Level, UnitCode

CaseId = NewType("CaseId", str)
_CASE_ID = re.compile(r"^\d{15}-[0-9a-hjkmnp-tv-z]{10,26}$")


def case_id(area: str, suffix: str) -> CaseId:
    """Build a case id from the area where it arose and a unique lower-case Crockford base-32 suffix.

    An area above the grid is filled with zeros: `320113001` → `320113001000000-…` (not located further).
    """
    return parse_case_id(f"{area.ljust(15, '0')}-{suffix.lower()}")


def parse_case_id(text: str) -> CaseId:
    """Check the form of a case id; raises ValueError."""
    if not _CASE_ID.match(text):
        raise ValueError(f"not a case id: {text!r}")
    return CaseId(text)


def subject_of(case: CaseId) -> str:
    """The ledger subject of a case: `ledger.case.<district>.<street>.<community>.<grid>.<case id>`."""
    return f"ledger.case.{case[:6]}.{case[6:9]}.{case[9:12]}.{case[12:15]}.{case}"


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


class ActorKind(StrEnum):
    """What sort of actor gave a command."""

    PERSON = "person"
    DEPARTMENT = "department"
    SYSTEM = "system"


class Actor(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Who gives a command. `level` is that of the unit, None for departments and the hub itself."""

    kind: ActorKind
    name: str
    unit: UnitCode | None = None
    level: Level | None = None


SYSTEM = Actor(kind=ActorKind.SYSTEM, name="hub")


ASKS_ITSELF = "@"
"""What the name of a source begins with that is no adapter: its clients ask how their matters stand, nobody tells them."""


class Source(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The outside record a case came from: the adapter that brought it and that system's own number."""

    adapter: str
    ref: str


class Attachment(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A file kept beside the ledger: `sha256` (hex) is its name in the object store, `size` in bytes."""

    name: str
    media_type: str
    size: int
    sha256: str


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
        return self in (Stage.CLOSED, Stage.VOID, Stage.MERGED)


class Role(StrEnum):
    """Lead 主办 or support 协办. A case may have several leads, each for its part."""

    LEAD = "lead"
    SUPPORT = "support"


class AssignmentState(StrEnum):
    """Where an assignment stands. The order of the first six is the order of progress."""

    MADE = "made"  # decided, not yet handed over
    SENDING = "sending"  # an attempt's intent is committed
    DELIVERED = "delivered"  # the department's system has it
    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"
    RESOLVED = "resolved"
    RETURNED = "returned"  # 退单 by the unit
    REFUSED = "refused"  # the department's system said no
    UNCERTAIN = "uncertain"  # outcome unknown and the department can't be asked; an operator looks
    DEAD = "dead"  # attempts used up; kept for replay
    DROPPED = "dropped"  # an operator gave the dead letter up
    RECALLED = "recalled"

    @property
    def open(self) -> bool:
        """Whether the unit (or the hub on its behalf) still owes something."""
        return self in (
            AssignmentState.MADE,
            AssignmentState.SENDING,
            AssignmentState.DELIVERED,
            AssignmentState.ACCEPTED,
            AssignmentState.IN_PROGRESS,
            AssignmentState.UNCERTAIN,
            AssignmentState.DEAD,
        )


class AttemptOutcome(StrEnum):
    """How one try to hand an assignment over ended; STARTED means not known yet."""

    STARTED = "started"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUSED = "refused"


class Attempt(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One try 投递. `error` is the error's class code, `reason` its text (no personal data), `status` that of an HTTP answer."""

    number: int
    started_at: datetime
    outcome: AttemptOutcome = AttemptOutcome.STARTED
    ended_at: datetime | None = None
    error: str | None = None
    reason: str | None = None
    retry_at: datetime | None = None
    status: int | None = None


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


class Assignment(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One case to one unit 派单: its delivery record with its own ticket, state and attempt log."""

    id: str  # "a1", "a2" … within the case
    unit: UnitCode
    role: Role
    required: bool
    state: AssignmentState
    made_at: datetime
    task: str | None = None
    adapter: str | None = None
    ticket: str | None = None
    attempts: tuple[Attempt, ...] = ()
    tries: int = 0  # attempts spent since made or last replayed
    accepted_at: datetime | None = None
    resolved_at: datetime | None = None
    note: str | None = None
    urged: int = 0
    supervised: int = 0
    round: int = 0  # how often the case had been reopened when it was made; the join looks at the last round only


class Asked(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """An open request for suspension or extension that waits for a higher level's word."""

    id: str  # "q1" …
    what: str  # "suspension" | "extension"
    by: UnitCode | None
    reason: str
    assignment: str | None = None
    kind: DeadlineKind | None = None
    until: datetime | None = None


class CommandRecord(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A command already committed: its commit number and the hash of its content (for Idempotency-Key)."""

    number: int
    digest: str


class Case(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A case as folded from its commits. `number` counts its commits; `digest` is the last commit's hash."""

    id: CaseId
    stage: Stage
    channel: Channel
    title: str
    text: str
    area: AreaCode
    reported_at: datetime
    place: str | None = None
    source: Source | None = None
    category: str | None = None
    severity: Severity | None = None
    rule: str | None = None
    level: Level | None = None
    holder: UnitCode | None = None
    assignments: tuple[Assignment, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    asked: tuple[Asked, ...] = ()
    suspended_at: datetime | None = None
    suspended_until: datetime | None = None
    first_response_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    reopened: int = 0
    visits: int = 0
    satisfied: bool | None = None
    duplicate_of: CaseId | None = None
    merged_into: CaseId | None = None
    absorbed: tuple[CaseId, ...] = ()
    covers: tuple[AreaCode, ...] = ()  # areas a notice (planned outage) stands for
    covers_until: datetime | None = None
    attached_reports: tuple[Source, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    has_contact: bool = False
    contact_erased: bool = False
    supervised: int = 0
    visited_levels: tuple[Level, ...] = ()
    attention: tuple[str, ...] = ()  # why an operator has to look: "refused:a1", "dead:a2", "uncertain:a1", "overdue:resolve" …
    number: int = 0
    digest: str = ""
    sequence: int = 0  # ledger stream sequence of the last commit
    wake_at: datetime | None = None
    commands: dict[str, CommandRecord] = {}
    opening_trace: str | None = None
    last_trace: str | None = None

    def assignment(self, id: str) -> Assignment | None:
        """The assignment with that id, or None."""
        return next((item for item in self.assignments if item.id == id), None)

    @property
    def next_due(self) -> datetime | None:
        """When a timer has to wake this case: the earliest open `next_at`; None while suspended (but `suspended_until`)."""
        if self.stage.ended:
            return None
        if self.suspended_at is not None:
            return self.suspended_until
        return min((d.next_at for d in self.deadlines if d.next_at is not None), default=None)


def delivery_key(case: CaseId, assignment: str) -> str:
    """The idempotency key of an assignment towards the department, stable over all retries: `<case id>.<assignment>`."""
    return f"{case}.{assignment}"


def parse_delivery_key(key: str) -> tuple[CaseId, str]:
    """Split a delivery key; raises ValueError."""
    case, _, assignment = key.partition(".")
    if not re.fullmatch(r"a\d{1,4}", assignment):
        raise ValueError(f"not a delivery key: {key!r}")
    return parse_case_id(case), assignment
