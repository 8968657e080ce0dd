"""What somebody wants done to a case. Validated values, no behaviour; `decide` answers with events or a refusal.

The tag is the command's stored name and the last part of its API path (`POST /api/v1/cases/{id}/escalate`). `CaseCommand` adds the
commands of the parts a case holds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from hub.model.aggregate import SUFFIX_PATTERN, Command
from hub.model.assignments.commands import (
    Accept,
    AssignmentCommand,
    Dispatch,
    Drop,
    Progress,
    Reassign,
    Recall,
    RecordDead,
    RecordDelivered,
    RecordEffect,
    RecordFailed,
    RecordRefused,
    RecordUncertain,
    Replay,
    Resend,
    Resolve,
    Return,
    StartDelivery,
    Target,
)
from hub.model.case.state import CaseId, Channel, Severity
from hub.model.district.areas import AreaCode, UnitCode
from hub.model.limits.commands import (
    Approve,
    Ask,
    CheckDeadlines,
    Decline,
    Extend,
    LimitCommand,
    Resume,
    Supervise,
    Suspend,
    Urge,
)
from hub.model.records import Attachment, Source


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


class Visit(Command, frozen=True, tag="visit"):
    """Record a callback visit 回访; closes the case, or reopens it once when the reporter is not content."""

    reached: bool
    solved: bool | None = None
    satisfied: bool | None = None
    rating: Annotated[int, msgspec.Meta(ge=1, le=5)] | None = None
    note: str | None = None


class Close(Command, frozen=True, tag="close"):
    """Close a resolved case whose policy asks for no visit, or whose reporter can't be reached; with a reason."""

    reason: str


class Reopen(Command, frozen=True, tag="reopen"):
    """Open a closed case again, once."""

    reason: str


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

    into: Annotated[CaseId, msgspec.Meta(pattern=rf"^\d{{15}}-{SUFFIX_PATTERN}$", max_length=42)]
    reason: str | None = None


class Absorb(Command, frozen=True, tag="absorb"):
    """The other side of a merge; given by the hub when a merge was asked for."""

    other: CaseId
    stamp: datetime
    others: tuple[CaseId, ...] = ()


class FinishMerge(Command, frozen=True, tag="finish_merge"):
    """The other case has taken this one; given by the hub."""

    into: CaseId


class RefuseMerge(Command, frozen=True, tag="refuse_merge"):
    """The other case could not take this one; given by the hub. `reason` is the other's refusal."""

    into: CaseId
    reason: str = ""


class AccessContact(Command, frozen=True, tag="access_contact"):
    """Record that the contact is about to be read."""

    by: str
    purpose: str
    fields: tuple[str, ...]


class EraseContact(Command, frozen=True, tag="erase_contact"):
    """Destroy the reporter's contact, and the files that came with the report."""

    reason: str


class RecordDestroyed(Command, frozen=True, tag="record_destroyed"):
    """The contact's key is destroyed, and these files."""

    files: tuple[str, ...] = ()


CaseCommand = (
    Report
    | Triage
    | Claim
    | Escalate
    | Delegate
    | Settle
    | Visit
    | Close
    | Reopen
    | Comment
    | Attach
    | AttachReport
    | Void
    | Merge
    | Absorb
    | FinishMerge
    | RefuseMerge
    | AccessContact
    | EraseContact
    | RecordDestroyed
    | AssignmentCommand
    | LimitCommand
)

__all__ = [
    "Absorb",
    "Accept",
    "AccessContact",
    "Approve",
    "Ask",
    "Attach",
    "AttachReport",
    "CaseCommand",
    "CheckDeadlines",
    "Claim",
    "Close",
    "Command",
    "Comment",
    "Decline",
    "Delegate",
    "Dispatch",
    "Drop",
    "EraseContact",
    "Escalate",
    "Extend",
    "FinishMerge",
    "Merge",
    "Progress",
    "Reassign",
    "Recall",
    "RecordDead",
    "RecordDelivered",
    "RecordDestroyed",
    "RecordEffect",
    "RecordFailed",
    "RecordRefused",
    "RecordUncertain",
    "RefuseMerge",
    "Reopen",
    "Replay",
    "Report",
    "Resend",
    "Resolve",
    "Resume",
    "Return",
    "Settle",
    "StartDelivery",
    "Supervise",
    "Suspend",
    "Target",
    "Triage",
    "Urge",
    "Visit",
    "Void",
]
