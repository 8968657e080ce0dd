"""People's and the hub's wishes for a case. Validated values, no behaviour; `decide` answers with events or a refusal.

The tag is the command's stored name and the last part of its API path (`POST /api/v1/cases/{id}/escalate`). People can give those with a
`form`; the form says which people. The commands of the parts that a case holds come with them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from hub.model.aggregate import SUFFIX_PATTERN, Command
from hub.model.assignments.commands import (
    Accept,
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
    Resend,
    Resolve,
    Return,
    StartDelivery,
    Target,
)
from hub.model.case.state import CaseId, Channel, Severity
from hub.model.forms import (
    AreaRef,
    CategoryRef,
    ClosingSaid,
    Files,
    Form,
    HappenedAt,
    IsReached,
    IsSatisfied,
    IsSolved,
    Note,
    Reason,
    Remark,
    SaidBy,
    Tries,
    UnitRef,
)
from hub.model.limits.commands import (
    Approve,
    Ask,
    CheckDeadlines,
    Decline,
    Extend,
    Resume,
    Supervise,
    Suspend,
    Urge,
)
from hub.model.positions import Point, Position
from hub.model.records import Attachment, Source
from hub.model.rights import CLERKS, GRID, OPERATORS, WORKERS, KeyScope, Role
from hub.model.texts import CODE, Code, Moment, Written

CaseRef = Annotated[CaseId, msgspec.Meta(pattern=rf"^\d{{15}}-{SUFFIX_PATTERN}$", max_length=42, extra=CODE)]


class Report(Command, frozen=True, tag="report"):
    """Open a case. Text is already masked; the contact is already in the vault when `contact_fields` is not empty."""

    channel: Channel
    title: Written
    text: Written
    area: AreaRef
    reported_at: HappenedAt
    place: Written | None = None
    position: Position | None = None
    wgs84: Point | None = None
    source: Source | None = None
    category: CategoryRef | None = None
    severity: Severity | None = None
    contact_fields: tuple[Code, ...] = ()
    covers: tuple[AreaRef, ...] = ()
    covers_until: Moment | None = None
    attachments: Files = ()
    duplicate_of: CaseRef | None = None


class Triage(Command, frozen=True, tag="triage"):
    """A person corrects category, severity or area; None keeps what is. Routes the case anew while it is only held."""

    form = Form(roles=GRID, example={"category": "P0103", "severity": "ordinary", "reason": "现场查看后改类"})

    category: CategoryRef | None = None
    severity: Severity | None = None
    area: AreaRef | None = None
    reason: Reason | None = None


class Claim(Command, frozen=True, tag="claim"):
    """The holder takes the matter up (stops the first-response clock)."""

    form = Form(roles=GRID, example={"note": "已到现场查看"})

    note: Note | None = None


class Escalate(Command, frozen=True, tag="escalate"):
    """One level up 上报, with a reason."""

    form = Form(roles=GRID, example={"reason": "涉及两个社区，需街道协调"})

    reason: Reason


class Delegate(Command, frozen=True, tag="delegate"):
    """One level down 下派; `unit` is the unit below (needed when the case's area does not name one)."""

    form = Form(roles=CLERKS, example={"reason": "属社区职责"})

    reason: Reason
    unit: UnitRef | None = None


class Settle(Command, frozen=True, tag="settle"):
    """The holder settles the case itself, without (further) assignments."""

    form = Form(roles=GRID, example={"note": "已现场劝导，停车恢复有序"})

    note: Note


class Check(Command, frozen=True, tag="check"):
    """Say as the checker 核查 whether a result holds. It stands beside the reporter's and the units' word and moves nothing."""

    form = Form(roles=GRID, example={"solved": "yes", "note": "现场已恢复原状"})

    solved: IsSolved
    satisfied: IsSatisfied | None = None
    reached: IsReached | None = None
    tries: Tries | None = None
    note: Note | None = None


class Visit(Command, frozen=True, tag="visit"):
    """Record a callback visit 回访; closes the case, or reopens it once when the answers are such by the policy."""

    form = Form(roles=GRID, example={"reached": "yes", "solved": "yes", "satisfied": "mostly", "rating": 4})

    reached: IsReached
    tries: Tries = 1
    solved: IsSolved | None = None
    satisfied: IsSatisfied | None = None
    rating: Annotated[int, msgspec.Meta(ge=1, le=5, description="1 to 5.")] | None = None
    note: Note | None = None


class Close(Command, frozen=True, tag="close"):
    """Close a resolved case whose policy asks for no visit, or whose reporter can't be reached; with a reason.

    A special closing needs no visit, but the level that may void a case.
    """

    form = Form(roles=CLERKS, example={"reason": "无需回访"})

    reason: Reason
    kind: ClosingSaid | None = None


class Reopen(Command, frozen=True, tag="reopen"):
    """Open a closed case again, once."""

    form = Form(roles=CLERKS, example={"reason": "问题再次出现"})

    reason: Reason


class Comment(Command, frozen=True, tag="comment"):
    """Add a remark."""

    form = Form(roles=WORKERS | {Role.DEVOPS}, example={"text": "居民补充：夜间更严重"}, scope=KeyScope.FEEDBACK_WRITE)

    text: Remark


class Attach(Command, frozen=True, tag="attach"):
    """Add a file already stored."""

    attachment: Attachment
    note: Note | None = None


class AttachReport(Command, frozen=True, tag="attach_report"):
    """A later report about the same matter."""

    channel: Channel
    text: Written
    area: AreaRef
    reported_at: HappenedAt
    place: Written | None = None
    position: Position | None = None
    wgs84: Point | None = None
    source: Source | None = None


class Void(Command, frozen=True, tag="void"):
    """Take the case out."""

    form = Form(roles=CLERKS, example={"reason": "测试工单"})

    reason: Reason


class Merge(Command, frozen=True, tag="merge"):
    """Go on in another case; its open assignments are recalled."""

    form = Form(roles=CLERKS, example={"into": "320113001001001-01jd8x2m9qk3v5wz", "reason": "同一路灯"})

    into: Annotated[CaseRef, msgspec.Meta(description="Case to go on in.")]
    reason: Reason | None = None


class Absorb(Command, frozen=True, tag="absorb"):
    """The other side of a merge. The hub gives it when somebody asked for a merge."""

    other: CaseRef
    stamp: datetime
    others: tuple[CaseRef, ...] = ()


class FinishMerge(Command, frozen=True, tag="finish_merge"):
    """The other case has taken this one; given by the hub."""

    into: CaseRef


class RefuseMerge(Command, frozen=True, tag="refuse_merge"):
    """The other case could not take this one; given by the hub. `reason` is the other's refusal."""

    into: CaseRef
    reason: Written = ""


class AccessContact(Command, frozen=True, tag="access_contact"):
    """Record that the contact is about to be read."""

    by: SaidBy
    purpose: Written
    fields: tuple[Code, ...]


class EraseContact(Command, frozen=True, tag="erase_contact"):
    """Destroy the reporter's contact, and the files that came with the report."""

    form = Form(roles=OPERATORS, example={"reason": "诉求人要求删除个人信息"})

    reason: Reason


class RecordDestroyed(Command, frozen=True, tag="record_destroyed"):
    """The contact's key is destroyed, and these files."""

    files: tuple[Code, ...] = ()


__all__ = [
    "Absorb",
    "Accept",
    "AccessContact",
    "Approve",
    "Ask",
    "Attach",
    "AttachReport",
    "Check",
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
