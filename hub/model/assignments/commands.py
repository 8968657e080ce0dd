"""What can be wanted of assignments and told of their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from hub.model.aggregate import Command
from hub.model.assignments.state import DeadLetter, Role
from hub.model.forms import (
    AssignmentRef,
    Files,
    Form,
    HappenedAt,
    IsReached,
    IsSatisfied,
    IsSolved,
    Note,
    PublicReply,
    Reason,
    SaidBy,
    Task,
    Tries,
    UnitRef,
)
from hub.model.rights import CLERKS, GRID, WORKERS, KeyScope
from hub.model.texts import Code, Written


class Target(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """One unit to dispatch to."""

    unit: UnitRef
    role: Role = Role.LEAD
    required: bool = True
    task: Task | None = None


Targets = Annotated[
    tuple[Target, ...],
    msgspec.Meta(
        max_length=20,
        description="Unit to dispatch to: UNIT, UNIT:support or UNIT:support:optional, then =TASK if only a part. May be repeated.",
    ),
]


class Dispatch(Command, frozen=True, tag="dispatch"):
    """Assign to units; empty `targets`: those the policy names for this case."""

    form = Form(
        roles=GRID,
        example={
            "targets": [
                {"unit": "drainage", "role": "lead", "task": "疏通下水道"},
                {"unit": "water", "role": "support", "required": False},
            ],
            "note": "请今日内处理",
        },
    )

    targets: Targets = ()
    note: Note | None = None


class Reassign(Command, frozen=True, tag="reassign"):
    """Recall one assignment and give it to another unit in the same role."""

    form = Form(roles=CLERKS, example={"assignment": "a1", "unit": "water", "reason": "主管单位应为供水公司"})

    assignment: AssignmentRef
    unit: UnitRef
    reason: Reason


class Recall(Command, frozen=True, tag="recall"):
    """Take an assignment back."""

    form = Form(roles=CLERKS, example={"assignment": "a1", "reason": "派单有误"})

    assignment: AssignmentRef
    reason: Reason


class Accept(Command, frozen=True, tag="accept"):
    """A unit takes its assignment 签收."""

    form = Form(roles=WORKERS, example={"assignment": "a1", "note": "已安排人员"}, scope=KeyScope.FEEDBACK_WRITE)

    assignment: AssignmentRef
    by: SaidBy | None = None
    note: Note | None = None
    reported_at: HappenedAt | None = None


class Progress(Command, frozen=True, tag="progress"):
    """A unit tells of progress 进展."""

    form = Form(roles=WORKERS, example={"assignment": "a1", "note": "正在抢修"}, scope=KeyScope.FEEDBACK_WRITE)

    assignment: AssignmentRef
    note: Note
    by: SaidBy | None = None
    reported_at: HappenedAt | None = None
    attachments: Files = ()


class Resolve(Command, frozen=True, tag="resolve"):
    """A unit says its assignment is done 办结, and how far that solved it, where it asked the reporter itself."""

    form = Form(roles=WORKERS, example={"assignment": "a1", "note": "管道已疏通"}, scope=KeyScope.FEEDBACK_WRITE)

    assignment: AssignmentRef
    note: Note | None = None
    public_reply: PublicReply | None = None
    reached: IsReached | None = None
    tries: Tries | None = None
    solved: IsSolved | None = None
    satisfied: IsSatisfied | None = None
    by: SaidBy | None = None
    reported_at: HappenedAt | None = None
    attachments: Files = ()


class Return(Command, frozen=True, tag="return"):
    """A unit gives its assignment back 退单."""

    form = Form(roles=WORKERS, example={"assignment": "a1", "reason": "不属本单位管辖"}, scope=KeyScope.FEEDBACK_WRITE)

    assignment: AssignmentRef
    reason: Reason
    by: SaidBy | None = None
    reported_at: HappenedAt | None = None


class StartDelivery(Command, frozen=True, tag="start_delivery"):
    """Dispatch begins an attempt."""

    assignment: AssignmentRef


class RecordDelivered(Command, frozen=True, tag="record_delivered"):
    """Dispatch got a receipt."""

    assignment: AssignmentRef
    ticket: Code
    attempt: int | None = None
    via: Code = "deliver"


class RecordFailed(Command, frozen=True, tag="record_failed"):
    """Dispatch's attempt failed and will be repeated."""

    assignment: AssignmentRef
    attempt: int
    error: Code
    reason: Written
    unknown: bool = False
    retry_at: datetime | None = None
    status: int | None = None


class RecordRefused(Command, frozen=True, tag="record_refused"):
    """The department's system refused."""

    assignment: AssignmentRef
    attempt: int
    reason: Written
    status: int | None = None


class RecordUncertain(Command, frozen=True, tag="record_uncertain"):
    """The outcome can't be found out."""

    assignment: AssignmentRef
    attempt: int
    reason: Written


class RecordDead(Command, frozen=True, tag="record_dead"):
    """Attempts are used up."""

    assignment: AssignmentRef
    letter: DeadLetter


class RecordEffect(Command, frozen=True, tag="record_effect"):
    """A recall, urge or inform was handed over (`error` None) or failed."""

    effect: Code
    adapter: Code
    error: Code | None = None
    reason: Written | None = None
    final: bool = False


class Resend(Command, frozen=True, tag="resend"):
    """Send a delivery again under the same key: a stopped one (dead, refused, uncertain), or one that the unit has and can't find.

    The latter only with `again`, and only where its system takes the same key once. The giver of the command makes sure of that.
    """

    assignment: AssignmentRef
    reason: Reason
    again: bool = False


class Drop(Command, frozen=True, tag="drop"):
    """Give a dead, refused or uncertain delivery up."""

    assignment: AssignmentRef
    reason: Reason
