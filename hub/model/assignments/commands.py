"""What can be wanted of assignments and told of their deliveries."""

from __future__ import annotations

from datetime import datetime

import msgspec

from hub.model.aggregate import Command
from hub.model.assignments.events import DeadLetter
from hub.model.assignments.state import Role
from hub.model.district.areas import UnitCode
from hub.model.records import Attachment


class Target(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One unit to dispatch to."""

    unit: UnitCode
    role: Role = Role.LEAD
    required: bool = True
    task: str | None = None


class Dispatch(Command, frozen=True, tag="dispatch"):
    """Assign to units; empty `targets`: those the policy names for this case."""

    targets: tuple[Target, ...] = ()
    note: str | None = None


class Reassign(Command, frozen=True, tag="reassign"):
    """Recall one assignment and give it to another unit in the same role."""

    assignment: str
    unit: UnitCode
    reason: str


class Recall(Command, frozen=True, tag="recall"):
    """Take an assignment back."""

    assignment: str
    reason: str


class Accept(Command, frozen=True, tag="accept"):
    """A unit takes its assignment 签收."""

    assignment: str
    by: str | None = None
    note: str | None = None
    reported_at: datetime | None = None


class Progress(Command, frozen=True, tag="progress"):
    """A unit tells of progress 进展."""

    assignment: str
    note: str
    by: str | None = None
    reported_at: datetime | None = None
    attachments: tuple[Attachment, ...] = ()


class Resolve(Command, frozen=True, tag="resolve"):
    """A unit says its assignment is done 办结."""

    assignment: str
    note: str | None = None
    by: str | None = None
    reported_at: datetime | None = None
    attachments: tuple[Attachment, ...] = ()


class Return(Command, frozen=True, tag="return"):
    """A unit gives its assignment back 退单."""

    assignment: str
    reason: str
    by: str | None = None
    reported_at: datetime | None = None


class StartDelivery(Command, frozen=True, tag="start_delivery"):
    """Dispatch begins an attempt."""

    assignment: str


class RecordDelivered(Command, frozen=True, tag="record_delivered"):
    """Dispatch got a receipt."""

    assignment: str
    ticket: str
    attempt: int | None = None
    via: str = "deliver"


class RecordFailed(Command, frozen=True, tag="record_failed"):
    """Dispatch's attempt failed and will be repeated."""

    assignment: str
    attempt: int
    error: str
    reason: str
    unknown: bool = False
    retry_at: datetime | None = None
    status: int | None = None


class RecordRefused(Command, frozen=True, tag="record_refused"):
    """The department's system refused."""

    assignment: str
    attempt: int
    reason: str
    status: int | None = None


class RecordUncertain(Command, frozen=True, tag="record_uncertain"):
    """The outcome can't be found out."""

    assignment: str
    attempt: int
    reason: str


class RecordDead(Command, frozen=True, tag="record_dead"):
    """Attempts are used up."""

    assignment: str
    letter: DeadLetter


class RecordEffect(Command, frozen=True, tag="record_effect"):
    """A recall, urge or inform was handed over (`error` None) or failed."""

    effect: str
    adapter: str
    error: str | None = None
    reason: str | None = None
    final: bool = False


class Replay(Command, frozen=True, tag="replay"):
    """Try a dead, refused or uncertain delivery again under the same key."""

    assignment: str
    reason: str


class Resend(Command, frozen=True, tag="resend"):
    """A unit asks for one of its own deliveries again, under the same key: a stopped one, or one it has and can't find any more.

    The latter only with `again`, and only where its system takes the same key once; who gives the command makes sure of that.
    """

    assignment: str
    reason: str
    again: bool = False


class Drop(Command, frozen=True, tag="drop"):
    """Give a dead, refused or uncertain delivery up."""

    assignment: str
    reason: str


AssignmentCommand = (
    Dispatch
    | Reassign
    | Recall
    | Accept
    | Progress
    | Resolve
    | Return
    | StartDelivery
    | RecordDelivered
    | RecordFailed
    | RecordRefused
    | RecordUncertain
    | RecordDead
    | RecordEffect
    | Replay
    | Resend
    | Drop
)
