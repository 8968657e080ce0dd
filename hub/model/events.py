"""What happened to a case: registered, versioned event names, and the commit that carries them.

An event's stored name is its tag (`case.reported`); its version `v` is stored when above 1. Old versions are upcast on
read (`hub.ledger_codec`). An event is never changed or removed once released; golden files replay every version.
Nothing personal is in an event. Times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from hub.model.areas import AreaCode, Level, UnitCode
from hub.model.cases import (
    Actor,
    Attachment,
    CaseId,
    Channel,
    DeadlineKind,
    Role,
    Severity,
    Source,
)


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag_field="type"):
    """Base of all events."""


class CaseReported(Event, frozen=True, tag="case.reported"):
    """A report was accepted; the case exists from here on."""

    channel: Channel
    title: str
    text: str
    area: AreaCode
    reported_at: datetime
    place: str | None = None
    source: Source | None = None
    has_contact: bool = False
    covers: tuple[AreaCode, ...] = ()
    covers_until: datetime | None = None
    attachments: tuple[Attachment, ...] = ()


class CaseTriaged(Event, frozen=True, tag="case.triaged"):
    """Category, severity and current area were set, by a policy rule (`rule` = `file:line id`) or a person."""

    category: str
    severity: Severity
    area: AreaCode
    rule: str


class DuplicateSuspected(Event, frozen=True, tag="case.duplicate_suspected"):
    """Another open case has the same place and category within the window; an operator may merge."""

    of: CaseId


class CaseHeld(Event, frozen=True, tag="case.held"):
    """A level's unit has the case from now on. `cause`: triage, escalated, delegated, reopened, returned, claimed."""

    level: Level
    unit: UnitCode
    cause: str
    reason: str | None = None


class DeadlineSet(Event, frozen=True, tag="case.deadline_set"):
    """A limit starts (or replaces the one of the same kind and assignment). `limit` is the rule in words: `4 working hours`."""

    kind: DeadlineKind
    owner: UnitCode
    due_at: datetime
    assignment: str | None = None
    limit: str | None = None


class DeadlineMoved(Event, frozen=True, tag="case.deadline_moved"):
    """A limit was moved: an extension was approved (`asked` names the request), or the clock ran on after a suspension."""

    kind: DeadlineKind
    due_at: datetime
    assignment: str | None = None
    asked: str | None = None
    reason: str | None = None


class DeadlineBreached(Event, frozen=True, tag="case.deadline_breached"):
    """A limit passed; `action` is the ladder step taken: urge, escalate, supervise, or none when the first step comes later.

    `step` counts the steps taken so far, this one included. `next_at`: when the next step is due, None after the last.
    """

    kind: DeadlineKind
    owner: UnitCode
    step: int
    action: str
    assignment: str | None = None
    next_at: datetime | None = None


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
    """The department's system has it. `via`: deliver, lookup (found by key) or report (it reported before we knew)."""

    assignment: str
    ticket: str
    attempt: int | None = None
    via: str = "deliver"


class DeliveryRefused(Event, frozen=True, tag="delivery.refused"):
    """The department's system said no; an operator is asked."""

    assignment: str
    attempt: int
    reason: str
    status: int | None = None


class DeliveryUncertain(Event, frozen=True, tag="delivery.uncertain"):
    """Nobody knows whether the department has it and it can't be asked; an operator is asked."""

    assignment: str
    attempt: int
    reason: str


class DeadLetter(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The record of a task whose attempts are used up."""

    event_id: str
    subject: str
    attempts: int
    first_at: datetime
    last_at: datetime
    error: str
    reason: str
    adapter_version: str
    payload_hash: str
    traceparent: str | None = None


class DeliveryDead(Event, frozen=True, tag="delivery.dead"):
    """Attempts are used up; the dead letter is kept for replay and an operator is asked."""

    assignment: str
    letter: DeadLetter


class DeliveryReplayed(Event, frozen=True, tag="delivery.replayed"):
    """An operator lets a dead, refused or uncertain delivery be tried again under the same key."""

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
    """The unit says it is done 办结."""

    assignment: str
    note: str | None = None
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
    """The assignment was taken back; `tell` is true when the department's system may have it and has to be told."""

    assignment: str
    reason: str
    tell: bool = False


class ReportConflicted(Event, frozen=True, tag="assignment.report_conflicted"):
    """A report that does not fit the state (late, out of order, contradictory): recorded, the state stays."""

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


class CaseResolved(Event, frozen=True, tag="case.resolved"):
    """The join holds (all leads and required support), or a level that may settle it did. Waits for the callback visit."""

    by: UnitCode | None = None
    note: str | None = None


class CallbackVisited(Event, frozen=True, tag="case.callback_visited"):
    """The reporter was asked 回访. `solved`/`satisfied` None when not reached. `rating` 1–5 if given."""

    reached: bool
    solved: bool | None = None
    satisfied: bool | None = None
    rating: int | None = None
    note: str | None = None


class CaseClosed(Event, frozen=True, tag="case.closed"):
    """End of the case 结案. `outcome`: satisfied, unsatisfied, not_reached, no_visit."""

    outcome: str


class CaseReopened(Event, frozen=True, tag="case.reopened"):
    """Not content: opened again, once."""

    reason: str


class CaseSuspended(Event, frozen=True, tag="case.suspended"):
    """The clock stands still 挂起 until resumed or `until`."""

    reason: str
    until: datetime | None = None
    asked: str | None = None


class CaseResumed(Event, frozen=True, tag="case.resumed"):
    """The clock runs on; DeadlineMoved events follow in the same commit."""

    reason: str | None = None


class PermissionAsked(Event, frozen=True, tag="case.permission_asked"):
    """A unit asks for suspension or extension 挂起/延期申请."""

    request: str
    what: str
    reason: str
    by: UnitCode | None = None
    assignment: str | None = None
    kind: DeadlineKind | None = None
    until: datetime | None = None


class PermissionDeclined(Event, frozen=True, tag="case.permission_declined"):
    """A higher level said no to a request."""

    request: str
    reason: str


class Urged(Event, frozen=True, tag="case.urged"):
    """A reminder 催办; to one assignment's unit, or to the holder when `assignment` is None."""

    message: str
    assignment: str | None = None
    automatic: bool = False


class Supervised(Event, frozen=True, tag="case.supervised"):
    """A formal supervision 督办 by a higher level."""

    level: Level
    message: str
    assignment: str | None = None
    automatic: bool = False


class FirstResponded(Event, frozen=True, tag="case.first_responded"):
    """Somebody took the matter up for the first time; stops the first-response clock."""


class Commented(Event, frozen=True, tag="case.commented"):
    """A remark on the timeline."""

    text: str


class Attached(Event, frozen=True, tag="case.attached"):
    """A file was added."""

    attachment: Attachment
    note: str | None = None


class ReportAttached(Event, frozen=True, tag="case.report_attached"):
    """A later report about the same matter was attached to this case instead of opening another."""

    channel: Channel
    text: str
    area: AreaCode
    reported_at: datetime
    place: str | None = None
    source: Source | None = None


class CaseVoided(Event, frozen=True, tag="case.voided"):
    """Taken out with a reason (test report, not a matter for the city)."""

    reason: str


class CaseMerged(Event, frozen=True, tag="case.merged"):
    """This case goes on in another; ends here."""

    into: CaseId
    reason: str | None = None


class CaseAbsorbed(Event, frozen=True, tag="case.absorbed"):
    """Another case was merged into this one."""

    other: CaseId


class ContactStored(Event, frozen=True, tag="case.contact_stored"):
    """The reporter's contact lies encrypted in the vault; `fields` are names of fields, never values."""

    fields: tuple[str, ...]


class ContactAccessed(Event, frozen=True, tag="case.contact_accessed"):
    """Somebody (a person, an adapter) read the contact. Committed before it is handed out."""

    by: str
    purpose: str
    fields: tuple[str, ...]


class ContactErased(Event, frozen=True, tag="case.contact_erased"):
    """The key was destroyed; the contact can't be read any more, in backups neither."""

    reason: str


AnyEvent = (
    CaseReported
    | CaseTriaged
    | DuplicateSuspected
    | CaseHeld
    | DeadlineSet
    | DeadlineMoved
    | DeadlineBreached
    | AssignmentMade
    | DeliveryStarted
    | DeliveryFailed
    | Delivered
    | DeliveryRefused
    | DeliveryUncertain
    | DeliveryDead
    | DeliveryReplayed
    | DeliveryDropped
    | AssignmentAccepted
    | AssignmentProgressed
    | AssignmentResolved
    | AssignmentReturned
    | AssignmentRecalled
    | ReportConflicted
    | EffectDone
    | EffectFailed
    | CaseResolved
    | CallbackVisited
    | CaseClosed
    | CaseReopened
    | CaseSuspended
    | CaseResumed
    | PermissionAsked
    | PermissionDeclined
    | Urged
    | Supervised
    | FirstResponded
    | Commented
    | Attached
    | ReportAttached
    | CaseVoided
    | CaseMerged
    | CaseAbsorbed
    | ContactStored
    | ContactAccessed
    | ContactErased
)


class Commit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One ledger message: all events of one command on one case.

    `number` counts the case's commits from 1; `previous` is the SHA-256 (hex) of the case's previous commit's bytes ("" for
    the first), so commits are hash-chained per case. `wake_at`: linkage sets the case's timer to it. `traceparent` is the
    W3C context of the span that decided this; `cause` that of the stimulus before it.
    """

    case: CaseId
    number: int
    at: datetime
    command: str
    command_id: str
    command_digest: str
    actor: Actor
    policy: int
    events: tuple[AnyEvent, ...]
    previous: str = ""
    wake_at: datetime | None = None
    traceparent: str | None = None
    cause: str | None = None
    v: int = 1
