"""What happens to assignments and their deliveries. See `hub.model.aggregate.Event`."""

from __future__ import annotations

from datetime import datetime

from hub.model.aggregate import Event
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.assignments.state import DeadLetter, Role
from hub.model.district.areas import UnitCode
from hub.model.records import Attachment


class AssignmentMade(Event, frozen=True, tag="assignment.made"):
    """The case was dispatched to a unit. `adapter` None: the unit works in the hub and has it at once."""

    assignment: str
    unit: UnitCode
    role: Role
    required: bool
    task: str | None = None
    adapter: str | None = None


class DeliveryStarted(Event, frozen=True, tag="delivery.started"):
    """Intent: an attempt to hand the assignment over begins now. Committed before anything is sent."""

    assignment: str
    attempt: int


class DeliveryFailed(Event, frozen=True, tag="delivery.failed"):
    """The attempt ended without a receipt. `unknown`: the request may have arrived; ask by key before sending again."""

    assignment: str
    attempt: int
    error: str
    reason: str
    unknown: bool = False
    retry_at: datetime | None = None
    status: int | None = None
    """HTTP status of the department's answer, where there was one."""


class Delivered(Event, frozen=True, tag="delivery.delivered"):
    """The department's system has it. `via`: deliver, lookup (found by key) or feedback (it spoke before we knew)."""

    assignment: str
    ticket: str
    attempt: int | None = None
    via: str = "deliver"


class DeliveryRefused(Event, frozen=True, tag="delivery.refused"):
    """The department's system said no. An operator is asked."""

    assignment: str
    attempt: int
    reason: str
    status: int | None = None


class DeliveryUncertain(Event, frozen=True, tag="delivery.uncertain"):
    """Nobody knows whether the department has it, and it can't be asked. An operator is asked."""

    assignment: str
    attempt: int
    reason: str


class DeliveryDead(Event, frozen=True, tag="delivery.dead"):
    """Attempts are used up. The dead letter is kept and an operator is asked."""

    assignment: str
    letter: DeadLetter


class DeliveryResent(Event, frozen=True, tag="delivery.resent"):
    """An operator or the unit has the delivery sent again under the same key."""

    assignment: str
    reason: str


class DeliveryDropped(Event, frozen=True, tag="delivery.dropped"):
    """An operator gave a dead, refused or uncertain delivery up; the case is with its holder again."""

    assignment: str
    reason: str


class AssignmentAccepted(Event, frozen=True, tag="assignment.accepted"):
    """The unit has taken it 签收."""

    assignment: str
    by: str | None = None
    note: str | None = None
    reported_at: datetime | None = None


class AssignmentProgressed(Event, frozen=True, tag="assignment.progressed"):
    """Progress 进展."""

    assignment: str
    note: str
    by: str | None = None
    reported_at: datetime | None = None
    attachments: tuple[Attachment, ...] = ()


class AssignmentResolved(Event, frozen=True, tag="assignment.resolved"):
    """The unit says it is done 办结. What it says of the reporter stays its own word, beside the reporter's.

    `public_reply` may be read to the reporter; `note` is internal.
    """

    assignment: str
    note: str | None = None
    public_reply: str | None = None
    reached: Reached | None = None
    tries: int | None = None
    solved: Solved | None = None
    satisfied: Satisfied | None = None
    by: str | None = None
    reported_at: datetime | None = None
    attachments: tuple[Attachment, ...] = ()


class AssignmentReturned(Event, frozen=True, tag="assignment.returned"):
    """The unit gives it back 退单 with a reason; the holder decides what next."""

    assignment: str
    reason: str
    by: str | None = None
    reported_at: datetime | None = None


class AssignmentRecalled(Event, frozen=True, tag="assignment.recalled"):
    """The assignment was taken back. `tell` is true when the department's system may have it and must hear of it."""

    assignment: str
    reason: str
    tell: bool = False


class FeedbackConflicted(Event, frozen=True, tag="assignment.feedback_conflicted"):
    """Feedback that does not fit the state (late, out of order, contradictory). It is recorded; the state stays."""

    assignment: str
    kind: str
    reason: str
    note: str | None = None
    reported_at: datetime | None = None


class EffectDone(Event, frozen=True, tag="effect.done"):
    """A recall, urge or inform reached the departmental system. `effect`: recall:a1, urge:a1, inform:<stage>."""

    effect: str
    adapter: str


class EffectFailed(Event, frozen=True, tag="effect.failed"):
    """A recall, urge or inform could not be handed over; `final` when it won't be tried again."""

    effect: str
    adapter: str
    error: str
    reason: str
    final: bool = False
