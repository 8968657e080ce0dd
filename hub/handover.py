"""What a department gets to see of a case: builds the plugin's Assignment from the case's state and the district. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub import contract
from hub.model.cases import AssignmentState, Case, DeadlineKind, Severity, delivery_key

if TYPE_CHECKING:
    from hub.config import District
    from hub.model.cases import Assignment


def assignment_for(
    case: Case, assignment: Assignment, district: District, contact: contract.Contact | None
) -> contract.Assignment:
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
        task=assignment.task,
        accept_by=due.get(DeadlineKind.ACCEPT),
        finish_by=due.get(DeadlineKind.FINISH),
        ticket=assignment.ticket,
        contact=contact,
    )


def awaits_delivery(assignment: Assignment | None) -> bool:
    """Whether there is still something to hand over."""
    return assignment is not None and assignment.state in (AssignmentState.MADE, AssignmentState.SENDING)
