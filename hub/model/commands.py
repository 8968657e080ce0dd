"""What somebody wants done to a case. Validated values, no behaviour; `lifecycle.decide` answers with events or a refusal.

The tag is the command's stored name and the last part of its API path (`POST /api/v1/cases/{id}/escalate`).
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from hub.model.areas import AreaCode, UnitCode
from hub.model.cases import Attachment, CaseId, Channel, DeadlineKind, Role, Severity, Source
from hub.model.events import DeadLetter


class Command(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag_field="command"):
    """Base of all commands."""


class Report(Command, frozen=True, tag="report"):
    """Open a case. Text is already masked; the contact is already in the vault when `contact_fields` is not empty."""

    channel: Channel
    title: str
    text: str
    area: AreaCode
    reported_at: datetime
    place: str | None = None
    source: Source | None = None
    category: str | None = None
    severity: Severity | None = None
    contact_fields: tuple[str, ...] = ()
    covers: tuple[AreaCode, ...] = ()
    covers_until: datetime | None = None
    attachments: tuple[Attachment, ...] = ()
    duplicate_of: CaseId | None = None


class Triage(Command, frozen=True, tag="triage"):
    """A person corrects category, severity or area; None keeps what is. Routes the case anew while it is only held."""

    category: str | None = None
    severity: Severity | None = None
    area: AreaCode | None = None
    reason: str | None = None


class Claim(Command, frozen=True, tag="claim"):
    """The holder takes the matter up (stops the first-response clock)."""

    note: str | None = None


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


class Escalate(Command, frozen=True, tag="escalate"):
    """One level up 上报, with a reason."""

    reason: str


class Delegate(Command, frozen=True, tag="delegate"):
    """One level down 下派; `unit` is the unit below (needed when the case's area does not name one)."""

    reason: str
    unit: UnitCode | None = None


class Settle(Command, frozen=True, tag="settle"):
    """The holder settles the case itself, without (further) assignments."""

    note: str


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


class Visit(Command, frozen=True, tag="visit"):
    """Record a callback visit 回访; closes the case, or reopens it once when the reporter is not content."""

    reached: bool
    solved: bool | None = None
    satisfied: bool | None = None
    rating: int | None = None
    note: str | None = None


class Close(Command, frozen=True, tag="close"):
    """Close a resolved case whose policy asks for no visit, or whose reporter can't be reached; with a reason."""

    reason: str


class Reopen(Command, frozen=True, tag="reopen"):
    """Open a closed case again, once."""

    reason: str


class Ask(Command, frozen=True, tag="ask"):
    """Ask a higher level for `suspension` or `extension`."""

    what: str
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


class Urge(Command, frozen=True, tag="urge"):
    """Remind the unit of one assignment, or the holder."""

    message: str
    assignment: str | None = None


class Supervise(Command, frozen=True, tag="supervise"):
    """Formally supervise; only a level above the holder may."""

    message: str
    assignment: str | None = None


class Comment(Command, frozen=True, tag="comment"):
    """Add a remark."""

    text: str


class Attach(Command, frozen=True, tag="attach"):
    """Add a file already stored."""

    attachment: Attachment
    note: str | None = None


class AttachReport(Command, frozen=True, tag="attach_report"):
    """A later report about the same matter."""

    channel: Channel
    text: str
    area: AreaCode
    reported_at: datetime
    place: str | None = None
    source: Source | None = None


class Void(Command, frozen=True, tag="void"):
    """Take the case out."""

    reason: str


class Merge(Command, frozen=True, tag="merge"):
    """Go on in another case; its open assignments are recalled."""

    into: CaseId
    reason: str | None = None


class Absorb(Command, frozen=True, tag="absorb"):
    """The other side of a merge; given by the hub before `merge`."""

    other: CaseId


class CheckDeadlines(Command, frozen=True, tag="check_deadlines"):
    """The case's timer fired: take every ladder step that is due, end a suspension whose time is over."""


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


class AccessContact(Command, frozen=True, tag="access_contact"):
    """Record that the contact is about to be read."""

    by: str
    purpose: str
    fields: tuple[str, ...]


class EraseContact(Command, frozen=True, tag="erase_contact"):
    """Record that the contact's key was destroyed."""

    reason: str


AnyCommand = (
    Report
    | Triage
    | Claim
    | Dispatch
    | Escalate
    | Delegate
    | Settle
    | Reassign
    | Recall
    | Accept
    | Progress
    | Resolve
    | Return
    | Visit
    | Close
    | Reopen
    | Ask
    | Approve
    | Decline
    | Suspend
    | Resume
    | Extend
    | Urge
    | Supervise
    | Comment
    | Attach
    | AttachReport
    | Void
    | Merge
    | Absorb
    | CheckDeadlines
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
    | AccessContact
    | EraseContact
)
