"""A department's view of a matter: builds the plugin's Assignment from the matter's state and the district. Pure.

Each kind of matter that holds assignments has a handover of its own; the composition root names them to dispatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from hub import contract
from hub.model.assignments.state import AssignmentState, delivery_key
from hub.model.case.state import Case, Severity
from hub.model.limits.state import DeadlineKind

if TYPE_CHECKING:
    from hub.model.assignments.state import Assignment
    from hub.model.policy.district import District


class Handover(Protocol):
    """Shows an assignment of a matter to a department."""

    def __call__(
        self, state: Any, assignment: Assignment, district: District, contact: contract.Contact | None, /
    ) -> contract.Assignment:
        """The assignment as the department's system should get it; times are in the district's zone."""
        ...


def of_case(case: Case, assignment: Assignment, district: District, contact: contract.Contact | None) -> contract.Assignment:
    """The assignment as the department's system should get it; times are in the district's zone."""
    category = district.policy.category(case.category) if case.category else None
    due = {
        deadline.kind: deadline.due_at.astimezone(district.zone)
        for deadline in case.deadlines
        if deadline.assignment == assignment.id
    }
    return contract.Assignment(
        key=delivery_key(case.id, assignment.id),
        case=case.id,
        unit=assignment.unit,
        role=assignment.role,
        title=case.title,
        text=case.text,
        category=case.category or "",
        category_name=category.name if category is not None else "",
        severity=case.severity or Severity.ORDINARY,
        area=case.area,
        area_path=tuple(district.areas.path(case.area)),
        reported_at=case.reported_at.astimezone(district.zone),
        place=case.place,
        position=case.position,
        wgs84=case.wgs84,
        task=assignment.task,
        accept_by=due.get(DeadlineKind.ACCEPT),
        finish_by=due.get(DeadlineKind.FINISH),
        ticket=assignment.ticket,
        contact=contact,
    )


class Handovers:
    """The handovers by the state they are for."""

    def __init__(self, by_state: Mapping[type, Handover]) -> None:
        self._by_state = dict(by_state)

    def __call__(
        self, state: object, assignment: Assignment, district: District, contact: contract.Contact | None
    ) -> contract.Assignment:
        """The assignment as the department's system should get it. Raises LookupError for a kind that is handed to no department."""
        return self._by_state[type(state)](state, assignment, district, contact)


def awaits_delivery(assignment: Assignment | None) -> bool:
    """Whether there is still something to hand over."""
    return assignment is not None and assignment.state in (AssignmentState.MADE, AssignmentState.SENDING)
