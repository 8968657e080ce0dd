"""The assignments a matter holds, each with its deliveries. Immutable; changed only by `assignments.evolve`."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum

import msgspec

from hub.model.aggregate import ID_PATTERN, MatterId, parse_id
from hub.model.answers import Verdict
from hub.model.district.areas import AreaCode, UnitCode
from hub.model.limits.state import Limited
from hub.model.records import Attachment
from hub.model.texts import Code, Written


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
    DEAD = "dead"  # attempts used up; the letter is kept
    DROPPED = "dropped"  # an operator gave the dead letter up
    RECALLED = "recalled"

    @property
    def open(self) -> bool:
        """Whether the unit (or the hub on its behalf) still owes something."""
        return self in _OPEN


STOPPED = (AssignmentState.DEAD, AssignmentState.REFUSED, AssignmentState.UNCERTAIN)
"""What waits for an operator: the only deliveries that are sent again without the unit's asking, or dropped."""
_OPEN = (
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


class DeadLetter(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The record of a task whose attempts are used up."""

    event_id: Code
    subject: Code
    attempts: int
    first_at: datetime
    last_at: datetime
    error: Code
    reason: Written
    adapter_version: Code
    payload_hash: Code
    traceparent: Code | None = None


class Assignment(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One matter to one unit 派单: its delivery record with its own ticket, state and attempt log."""

    id: str  # "a1", "a2" … within the matter
    unit: UnitCode
    role: Role
    required: bool
    state: AssignmentState
    made_at: datetime
    task: str | None = None
    adapter: str | None = None
    ticket: str | None = None
    attempts: tuple[Attempt, ...] = ()
    tries: int = 0  # attempts spent since made or last resent
    accepted_at: datetime | None = None
    resolved_at: datetime | None = None
    note: str | None = None
    public_reply: str | None = None  # what may be read to the reporter, apart from the note
    said: Verdict | None = None  # what the unit says of the result beside that it is done
    letter: DeadLetter | None = None  # how the attempts were used up the last time, until it is sent again
    urged: int = 0
    supervised: int = 0
    round: int = 0  # how often the matter had been reopened when it was made; the join looks at the last round only


class Assigned(Limited, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The part of a state that holds assignments; an aggregate's state inherits it (and with it the limits)."""

    id: MatterId
    area: AreaCode
    assignments: tuple[Assignment, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    supervised: int = 0

    @property
    def round(self) -> int:
        """How often the matter was opened again. An assignment remembers its round."""
        return 0

    @property
    def units(self) -> frozenset[str]:
        """The units that have or had an assignment."""
        return frozenset(item.unit for item in self.assignments)

    def assignment(self, id: str) -> Assignment | None:
        """The assignment with that id, or None."""
        for item in self.assignments:
            if item.id == id:
                return item
        return None


def public_reply(state: Assigned) -> str | None:
    """What the units of this round let be read to the reporter, one a line."""
    said = [item.public_reply for item in state.assignments if item.round == state.round and item.public_reply]
    return "\n".join(said) or None


KEY_PATTERN = rf"{ID_PATTERN}\.a\d{{1,4}}"
"""A delivery key as a regular expression, to find one in what people and systems write."""


def delivery_key(matter: MatterId, assignment: str) -> str:
    """The idempotency key of an assignment towards the department, stable over all retries: `<id>.<assignment>`."""
    return f"{matter}.{assignment}"


def parse_delivery_key(key: str) -> tuple[MatterId, str]:
    """Split a delivery key; raises ValueError."""
    matter, _, assignment = key.partition(".")
    if not re.fullmatch(r"a\d{1,4}", assignment):
        raise ValueError(f"not a delivery key: {key!r}")
    return parse_id(matter), assignment
