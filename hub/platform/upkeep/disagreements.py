"""The points on which two sides can disagree about one assignment, and their words for an operator. Pure; called by reconciliation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hub.contract import FeedbackKind, Standing, StandingState
from hub.model.assignments.state import Assignment, AssignmentState, delivery_key
from hub.model.case.state import Case, CaseId
from hub.model.words import ASSIGNMENTS
from hub.spine.aside.repair_items import Repair, RepairKind

HANDED_OVER = frozenset({AssignmentState.DELIVERED, AssignmentState.ACCEPTED, AssignmentState.IN_PROGRESS})
"""We say: the department has it and works on it."""
NOT_ARRIVED = frozenset({AssignmentState.UNCERTAIN, AssignmentState.DEAD})
"""We say: nobody knows whether it arrived, or it did not."""
OPEN_THERE = frozenset({StandingState.FILED, StandingState.ACCEPTED})
FIXES = {StandingState.RESOLVED: FeedbackKind.RESOLVED, StandingState.RETURNED: FeedbackKind.RETURNED}
"""States of theirs that the hub can take over as missed feedback."""

_THEIRS = {
    StandingState.FILED: "已登记",
    StandingState.ACCEPTED: "已受理",
    StandingState.RESOLVED: "已办结",
    StandingState.RETURNED: "已退回",
    StandingState.RECALLED: "已撤销",
}


class What(StrEnum):
    """The kinds of disagreement."""

    MISSING_THERE = "missing_there"
    """We say they have it, they don't list it."""
    UNKNOWN_HERE = "unknown_here"
    """They have a ticket that is none of ours, or a second one for the same assignment."""
    ENDED_THERE = "ended_there"
    """They say resolved, returned or recalled, we say open."""
    OPEN_THERE = "open_there"
    """They say open, we say ended."""
    ARRIVED_THERE = "arrived_there"
    """They have it, we say that it did not arrive or that nobody knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """An assignment as the hub has it. `open`: the department owes something; `ended_at`: at the latest, when it did not any more."""

    case: CaseId
    assignment: str
    unit: str
    state: AssignmentState
    open: bool
    ticket: str | None
    ended_at: datetime
    adapter: str | None = None

    @property
    def key(self) -> str:
        """Its delivery key."""
        return delivery_key(self.case, self.assignment)


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """One point on which the two sides disagree."""

    what: What
    key: str | None = None
    case: str | None = None
    unit: str | None = None
    ticket: str | None = None
    ours: AssignmentState | None = None
    theirs: StandingState | None = None

    @property
    def subject(self) -> str:
        """What it is about: stable from night to night."""
        second = self.what is What.UNKNOWN_HERE and self.ticket
        about = f"{self.key}:{self.ticket}" if self.key and second else self.key or self.ticket or ""
        return f"{self.what.value}:{about}"

    @property
    def facts(self) -> str:
        """What a dismissal of it is about."""
        return f"{self.theirs.value if self.theirs else '-'}/{self.ours.value if self.ours else '-'}"


def held_of(case: Case, item: Assignment) -> Held:
    """The assignment as the ledger has it."""
    return Held(
        case=case.id,
        assignment=item.id,
        unit=item.unit,
        state=item.state,
        open=item.state.open and not case.stage.ended,
        ticket=item.ticket,
        ended_at=item.resolved_at or case.closed_at or item.made_at,
        adapter=item.adapter,
    )


def between(held: Held | None, standing: Standing | None) -> What | None:
    """What the two sides disagree on, None when they agree or something is under way. Either may be unknown, not both."""
    if standing is None:
        return What.MISSING_THERE if held is not None and held.open and held.state in HANDED_OVER else None
    open_there = standing.state in OPEN_THERE
    if held is None:
        return What.UNKNOWN_HERE if open_there else None
    if held.open and held.state in NOT_ARRIVED:
        return What.ARRIVED_THERE
    if held.open and held.state in HANDED_OVER:
        return None if open_there else What.ENDED_THERE
    return What.OPEN_THERE if not held.open and open_there else None


def disagreement(what: What, held: Held | None, standing: Standing | None) -> Disagreement:
    """The point with its known facts."""
    return Disagreement(
        what=what,
        key=held.key if held is not None else (standing.key if standing is not None else None),
        case=None if held is None else held.case,
        unit=None if held is None else held.unit,
        ticket=standing.ticket if standing is not None else (held.ticket if held is not None else None),
        ours=None if held is None else held.state,
        theirs=None if standing is None else standing.state,
    )


def repair_of(adapter: str, found: Disagreement) -> Repair:
    """The repair that names it."""
    details = {"what": found.what.value}
    for name in ("key", "ticket", "ours", "theirs"):
        value = getattr(found, name)
        if value is not None:
            details[name] = str(value)
    if found.what is What.ENDED_THERE and found.theirs in FIXES:
        details["apply"] = FIXES[found.theirs].value
    return Repair(
        kind=RepairKind.DISAGREEMENT,
        adapter=adapter,
        subject=found.subject,
        text=_said(found),
        case=found.case,
        unit=found.unit,
        facts=found.facts,
        details=details,
    )


def _said(found: Disagreement) -> str:
    ours = ASSIGNMENTS[found.ours] if found.ours is not None else ""
    theirs = _THEIRS[found.theirs] if found.theirs is not None else ""
    ticket = f"工单 {found.ticket}" if found.ticket else "工单"
    match found.what:
        case What.MISSING_THERE:
            return f"对账：派单 {found.key} 本中枢记为{ours}，部门系统中没有对应工单（{found.ticket or '无工单号'}）"
        case What.UNKNOWN_HERE if found.case is not None:
            return f"对账：派单 {found.key} 在部门系统中另有一张{ticket}（{theirs}），疑似重复建单"
        case What.UNKNOWN_HERE:
            return f"对账：部门系统中的{ticket}（{theirs}）在本中枢没有对应派单"
        case What.ENDED_THERE:
            return f"对账：派单 {found.key} 部门系统{ticket}{theirs}，本中枢仍为{ours}"
        case What.OPEN_THERE:
            return f"对账：派单 {found.key} 本中枢{ours}，部门系统{ticket}仍为{theirs}"
        case What.ARRIVED_THERE:
            return f"对账：派单 {found.key} 本中枢记为{ours}，部门系统已有{ticket}（{theirs}）"
