"""What can be wanted of limits; an aggregate that holds limits takes these commands."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from hub.model.aggregate import Command
from hub.model.forms import AssignmentRef, Form, Message, Reason, RequestRef, Until
from hub.model.limits.state import DeadlineKind
from hub.model.rights import CLERKS, GRID, WORKERS, KeyScope

Permission = Annotated[Literal["suspension", "extension"], Meta(description="suspension or extension.")]
LimitKind = Annotated[DeadlineKind, Meta(description="Which limit.")]


class Ask(Command, frozen=True, tag="ask"):
    """Ask a higher level for `suspension` or `extension`."""

    form = Form(
        roles=WORKERS,
        example={
            "what": "extension",
            "reason": "需采购配件",
            "assignment": "a1",
            "kind": "finish",
            "until": "2026-03-01T10:00:00Z",
        },
        scope=KeyScope.FEEDBACK_WRITE,
    )

    what: Permission
    reason: Reason
    until: Until | None = None
    assignment: AssignmentRef | None = None
    kind: LimitKind | None = None


class Approve(Command, frozen=True, tag="approve"):
    """Grant an open request."""

    form = Form(roles=CLERKS, example={"request": "q1"})

    request: RequestRef


class Decline(Command, frozen=True, tag="decline"):
    """Refuse an open request."""

    form = Form(roles=CLERKS, example={"request": "q1", "reason": "理由不充分"})

    request: RequestRef
    reason: Reason


class Suspend(Command, frozen=True, tag="suspend"):
    """Stop the clock on one's own authority (policy says from which level)."""

    form = Form(roles=CLERKS, example={"reason": "等待施工许可", "until": "2026-03-01T10:00:00Z"})

    reason: Reason
    until: Until | None = None


class Resume(Command, frozen=True, tag="resume"):
    """Let the clock run on."""

    form = Form(roles=GRID, example={"reason": "许可已下达"})

    reason: Reason | None = None


class Extend(Command, frozen=True, tag="extend"):
    """Move a limit on one's own authority (policy says from which level)."""

    form = Form(roles=CLERKS, example={"kind": "resolve", "until": "2026-03-01T10:00:00Z", "reason": "需跨部门会商"})

    kind: LimitKind
    until: Until
    reason: Reason
    assignment: AssignmentRef | None = None


class CheckDeadlines(Command, frozen=True, tag="check_deadlines"):
    """The case's timer fired: take every ladder step that is due, end a suspension whose time is over."""


class Urge(Command, frozen=True, tag="urge"):
    """Remind the unit of one assignment, or the holder."""

    form = Form(roles=GRID, example={"message": "请尽快处理", "assignment": "a1"})

    message: Message
    assignment: AssignmentRef | None = None


class Supervise(Command, frozen=True, tag="supervise"):
    """Formally supervise; only a level above the holder may."""

    form = Form(roles=CLERKS, example={"message": "区领导督办，请于今日报告", "assignment": "a1"})

    message: Message
    assignment: AssignmentRef | None = None
