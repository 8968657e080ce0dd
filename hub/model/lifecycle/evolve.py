"""What a case is after an event: one small function per event type, no rule and no refusal.

Whatever was committed happened; an event that can't be applied means that the ledger is damaged. Called by `fold` and, while a
command is being decided, by `deciding`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from hub.errors import LedgerDamaged
from hub.model import events as e
from hub.model.cases import Case, CaseId
from hub.model.lifecycle import evolve_assignments as on_assignment
from hub.model.lifecycle import evolve_case as on_case
from hub.model.lifecycle.evolve_case import opened


def evolve(case: Case | None, event: e.AnyEvent, *, at: datetime, id: CaseId) -> Case:
    """The case after one event that was committed at `at`. Raises LedgerDamaged when it does not fit the state at all."""
    if case is None:
        if not isinstance(event, e.CaseReported):
            raise LedgerDamaged(f"case {id} begins with {event.__struct_config__.tag}", subject=id)
        return opened(event, id)
    return EVOLVES[type(event)](case, event, at)


EVOLVES: dict[type[e.Event], Callable[[Case, Any, datetime], Case]] = {
    e.CaseReported: on_case.reported,
    e.CaseTriaged: on_case.triaged,
    e.DuplicateSuspected: on_case.duplicate_suspected,
    e.CaseHeld: on_case.held,
    e.DeadlineSet: on_case.deadline_set,
    e.DeadlineMoved: on_case.deadline_moved,
    e.DeadlineBreached: on_case.deadline_breached,
    e.AssignmentMade: on_assignment.made,
    e.DeliveryStarted: on_assignment.delivery_started,
    e.DeliveryFailed: on_assignment.delivery_failed,
    e.Delivered: on_assignment.delivered,
    e.DeliveryRefused: on_assignment.delivery_refused,
    e.DeliveryUncertain: on_assignment.delivery_uncertain,
    e.DeliveryDead: on_assignment.delivery_dead,
    e.DeliveryReplayed: on_assignment.delivery_replayed,
    e.DeliveryDropped: on_assignment.delivery_dropped,
    e.AssignmentAccepted: on_assignment.accepted,
    e.AssignmentProgressed: on_assignment.progressed,
    e.AssignmentResolved: on_assignment.assignment_resolved,
    e.AssignmentReturned: on_assignment.returned,
    e.AssignmentRecalled: on_assignment.recalled,
    e.ReportConflicted: on_case.only_told,
    e.EffectDone: on_case.only_told,
    e.EffectFailed: on_case.only_told,
    e.CaseResolved: on_case.resolved,
    e.CallbackVisited: on_case.visited,
    e.CaseClosed: on_case.closed,
    e.CaseReopened: on_case.reopened,
    e.CaseSuspended: on_case.suspended,
    e.CaseResumed: on_case.resumed,
    e.PermissionAsked: on_case.permission_asked,
    e.PermissionDeclined: on_case.permission_declined,
    e.Urged: on_assignment.urged,
    e.Supervised: on_assignment.supervised,
    e.FirstResponded: on_case.first_responded,
    e.Commented: on_case.only_told,
    e.Attached: on_case.attached,
    e.ReportAttached: on_case.report_attached,
    e.CaseVoided: on_case.voided,
    e.CaseMerged: on_case.merged,
    e.CaseAbsorbed: on_case.absorbed,
    e.ContactStored: on_case.contact_stored,
    e.ContactAccessed: on_case.only_told,
    e.ContactErased: on_case.contact_erased,
}
"""How each event type changes a case; a test holds it total over `AnyEvent`."""
