"""The join: when a case is resolved by its units, and when it falls back to its holder. Pure. Called when an assignment changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.model.answers import Closing, Ending
from hub.model.assignments.state import Assignment, AssignmentState, Role
from hub.model.assignments.work import SENT_BACK, recall_open
from hub.model.case import events as e
from hub.model.case.state import Case, Stage
from hub.model.district.areas import UnitCode
from hub.model.limits.clock import run_on

if TYPE_CHECKING:
    from hub.model.case.deciding import CaseDeciding

S = AssignmentState

LIVE = (Stage.HELD, Stage.DISPATCHED)
"""Stages in which somebody works on the case."""

_GIVEN_UP = frozenset({S.RECALLED, S.DROPPED})


def _counted(case: Case) -> list[Assignment]:
    """The assignments the join looks at: leads and required support of this round, unless given up or answered anew."""
    return [
        item
        for item in case.assignments
        if item.round == case.reopened
        and (item.role is Role.LEAD or item.required)
        and item.state not in _GIVEN_UP
        and (item.state not in SENT_BACK or f"{item.state.value}:{item.id}" in case.attention)
    ]


def join_holds(case: Case) -> bool:
    """Whether all leads and required support are done, and there is a lead among them."""
    counted = _counted(case)
    return any(item.role is Role.LEAD for item in counted) and all(item.state is S.RESOLVED for item in counted)


def _stuck(case: Case) -> bool:
    """Whether no lead is at work, and the case waits for more than required support that is at work."""
    counted = _counted(case)
    leads = [item for item in counted if item.role is Role.LEAD]
    if any(item.state.open for item in leads):
        return False
    waits = any(item.state.open for item in counted)
    lacks = any(item.state in SENT_BACK for item in counted)
    return lacks or not leads or not waits


def after_change(d: CaseDeciding) -> None:
    """Resolve the case when the join holds. Give it back to its holder when no lead is at work any more."""
    case = d.state
    if case.stage not in LIVE:
        return
    if join_holds(case):
        resolve_case(d, None, None)
    elif case.stage is Stage.DISPATCHED and _stuck(case):
        assert case.level is not None
        assert case.holder is not None
        d.emit(e.CaseHeld(level=case.level, unit=case.holder, cause="returned"))


def resolve_case(d: CaseDeciding, by: UnitCode | None, note: str | None) -> None:
    """Resolve the case, and close it where the policy asks for no visit.

    A suspended one's clock runs on first, so that what stays open is not late at once.
    """
    if d.state.suspended_at is not None:
        run_on(d, None)
    d.emit(e.CaseResolved(by=by, note=note))
    if not d.rules.visits.visit_required(d.state.channel, d.state.category or "", d.severity):
        close_case(d, Ending.NO_VISIT)


def close_case(d: CaseDeciding, outcome: Ending, kind: Closing | None = None, reason: str | None = None) -> None:
    """Close the case; without a kind the limit for resolving it says whether it was late. What is still open is taken back."""
    d.must_be_settled()
    recall_open(d, "the case is closed")
    late = Closing.LATE if d.state.resolved_late else Closing.NORMAL
    d.emit(e.CaseClosed(outcome=outcome, kind=kind or late, reason=reason))
