"""Assignments: dispatching, taking back, and what units say about them. Pure.

Owns the join: when a case is resolved by its units, and when it falls back to its holder. A report never moves an assignment
backwards; what does not fit is recorded. Called by `decide` and `course`.
"""

from __future__ import annotations

from hub.errors import InvalidInput
from hub.model import commands as c
from hub.model import events as e
from hub.model.areas import UnitCode
from hub.model.cases import (
    ActorKind,
    Assignment,
    AssignmentState,
    Attachment,
    Case,
    DeadlineKind,
    Role,
    Stage,
)
from hub.model.lifecycle.clock import run_on, set_limit
from hub.model.lifecycle.deciding import LIVE, Deciding
from hub.model.lifecycle.evolve_assignments import UNDELIVERED
from hub.model.rules import Matter

S = AssignmentState

_NOT_ACCEPTED = UNDELIVERED | {S.DELIVERED}
_GIVEN_UP = frozenset({S.RECALLED, S.DROPPED})
_SENT_BACK = frozenset({S.RETURNED, S.REFUSED})


def matter_of(case: Case) -> Matter:
    """What routing looks at, from the case as it is."""
    return Matter(
        channel=case.channel,
        title=case.title,
        text=case.text,
        area=case.area,
        category=case.category,
        severity=case.severity,
        source_adapter=case.source.adapter if case.source else None,
    )


# --- the join ---


def _counted(case: Case) -> list[Assignment]:
    """The assignments the join looks at: leads and required support of this round, unless given up or answered anew."""
    return [
        item
        for item in case.assignments
        if item.round == case.reopened
        and (item.role is Role.LEAD or item.required)
        and item.state not in _GIVEN_UP
        and (item.state not in _SENT_BACK or f"{item.state.value}:{item.id}" in case.attention)
    ]


def join_holds(case: Case) -> bool:
    """Whether all leads and required support are done, and there is a lead among them."""
    counted = _counted(case)
    return any(item.role is Role.LEAD for item in counted) and all(item.state is S.RESOLVED for item in counted)


def _stuck(case: Case) -> bool:
    """Whether no lead is at work and what is missing is not just required support that is at work."""
    counted = _counted(case)
    leads = [item for item in counted if item.role is Role.LEAD]
    if any(item.state.open for item in leads):
        return False
    waits = any(item.state.open for item in counted)
    lacks = any(item.state in _SENT_BACK for item in counted)
    return lacks or not leads or not waits


def after_change(d: Deciding) -> None:
    """Resolve the case when the join holds; give it back to its holder when no lead is at work any more."""
    case = d.case
    if case.stage not in LIVE:
        return
    if join_holds(case):
        resolve_case(d, None, None)
    elif case.stage is Stage.DISPATCHED and _stuck(case):
        assert case.level is not None
        assert case.holder is not None
        d.emit(e.CaseHeld(level=case.level, unit=case.holder, cause="returned"))


def resolve_case(d: Deciding, by: UnitCode | None, note: str | None) -> None:
    """Resolve the case, and close it where the policy asks for no visit.

    A suspended one's clock runs on first, so that what stays open is not late at once.
    """
    if d.case.suspended_at is not None:
        run_on(d, None)
    d.emit(e.CaseResolved(by=by, note=note))
    if not d.rules.visit_required(d.case.channel, d.case.category or "", d.severity):
        recall_open(d, "the case is closed")
        d.emit(e.CaseClosed(outcome="no_visit"))


# --- dispatching ---


def first_response(d: Deciding) -> None:
    """Stop the first-response clock, if it still runs."""
    if d.case.first_response_at is None:
        d.emit(e.FirstResponded())


def make(d: Deciding, target: c.Target) -> None:
    """Assign to one unit, with its limits."""
    unit = d.rules.unit(target.unit)
    assert unit is not None
    id = f"a{len(d.case.assignments) + 1}"
    d.emit(
        e.AssignmentMade(
            assignment=id,
            unit=target.unit,
            role=target.role,
            required=target.required,
            task=target.task,
            adapter=d.rules.adapter_for(unit, case=d.case.id, area=d.case.area, category=d.case.category or ""),
        )
    )
    set_limit(d, DeadlineKind.ACCEPT, target.unit, id)
    set_limit(d, DeadlineKind.FINISH, target.unit, id)


def _busy(d: Deciding, unit: str) -> bool:
    return any(item.unit == unit and item.state.open for item in d.case.assignments)


def dispatch(d: Deciding, command: c.Dispatch) -> None:
    """Assign to the units that are named, or to those of the policy."""
    case = d.running(*LIVE)
    d.needs_holder()
    if command.targets:
        chosen = list(command.targets)
        for target in chosen:
            d.unit(target.unit, "targets")
        if len({target.unit for target in chosen}) != len(chosen):
            raise InvalidInput("a unit is named twice", subject="targets")
        for target in chosen:
            if _busy(d, target.unit):
                d.refuse(f"{target.unit} has an open assignment of this case")
    else:
        planned = d.rules.plan(matter_of(case), case.reported_at).targets
        chosen = [target for target in planned if d.rules.unit(target.unit) is not None and not _busy(d, target.unit)]
        if not chosen:
            d.refuse("the policy names no further unit for this case; name the units")
    if case.stage is Stage.HELD and not any(target.role is Role.LEAD for target in chosen):
        d.refuse("somebody has to lead")
    for target in chosen:
        make(d, target)
    if d.actor.kind is ActorKind.PERSON:
        first_response(d)
    if command.note:
        d.emit(e.Commented(text=command.note))


def may_have_arrived(assignment: Assignment) -> bool:
    """Whether the department's system may have it, so that it has to be told of a recall."""
    return (
        assignment.adapter is not None
        and assignment.state.open
        and (bool(assignment.attempts) or assignment.ticket is not None or assignment.state not in UNDELIVERED)
    )


def recall_open(d: Deciding, reason: str) -> None:
    """Take back all that is open."""
    for item in d.case.assignments:
        if item.state.open:
            d.emit(e.AssignmentRecalled(assignment=item.id, reason=reason, tell=may_have_arrived(item)))


def _takable(d: Deciding, id: str) -> Assignment:
    found = d.assignment(id)
    if not found.state.open and found.state not in _SENT_BACK:
        d.refuse("there is nothing to take back", assignment=found)
    return found


def recall(d: Deciding, command: c.Recall) -> None:
    """Take an assignment back; also one that was returned or refused, to say that it is not needed any more."""
    d.live()
    d.needs_holder()
    d.text("reason", command.reason)
    found = _takable(d, command.assignment)
    d.emit(e.AssignmentRecalled(assignment=found.id, reason=command.reason, tell=may_have_arrived(found)))
    after_change(d)


def reassign(d: Deciding, command: c.Reassign) -> None:
    """Give an assignment to another unit, in the same role and with fresh limits."""
    d.running(*LIVE)
    d.needs_holder()
    d.text("reason", command.reason)
    found = _takable(d, command.assignment)
    unit = d.unit(command.unit, "unit")
    if _busy(d, unit):
        d.refuse(f"{unit} has an open assignment of this case", assignment=found)
    d.emit(e.AssignmentRecalled(assignment=found.id, reason=command.reason, tell=may_have_arrived(found)))
    make(d, c.Target(unit=unit, role=found.role, required=found.required, task=found.task))
    after_change(d)


# --- what units say ---


def _check_files(files: tuple[Attachment, ...]) -> None:
    for file in files:
        check_file(file, "attachments")


def check_file(file: Attachment, field: str) -> None:
    """Raise InvalidInput when an attachment's record can't be right."""
    if file.size < 0 or len(file.sha256) != 64 or not file.name.strip():
        raise InvalidInput("an attachment needs a name, a size and a SHA-256", subject=field)


def _said(d: Deciding, command: c.Accept | c.Progress | c.Resolve | c.Return) -> Assignment:
    found = d.assignment(command.assignment)
    d.needs_worker(found)
    d.aware("reported_at", command.reported_at)
    return found


def _take_up(d: Deciding, found: Assignment, by: str | None, note: str | None = None) -> None:
    """Accepting, said or implied."""
    if found.state in _NOT_ACCEPTED:
        reported_at = getattr(d.command, "reported_at", None)
        d.emit(e.AssignmentAccepted(assignment=found.id, by=by, note=note, reported_at=reported_at))
        first_response(d)


def _conflict(d: Deciding, found: Assignment, kind: str, note: str | None) -> None:
    d.emit(
        e.ReportConflicted(
            assignment=found.id,
            kind=kind,
            reason=f"the assignment is {found.state.value}",
            note=note,
            reported_at=getattr(d.command, "reported_at", None),
        )
    )


def _repeats(found: Assignment, state: AssignmentState, note: str | None) -> bool:
    """Whether a report says only what is known."""
    return found.state is state and (note is None or note == found.note)


def accept(d: Deciding, command: c.Accept) -> None:
    """A unit takes its assignment."""
    found = _said(d, command)
    if found.state in _NOT_ACCEPTED:
        _take_up(d, found, command.by, command.note)
    elif not _repeats(found, S.ACCEPTED, command.note):
        _conflict(d, found, "accepted", command.note)


def progress(d: Deciding, command: c.Progress) -> None:
    """Progress; implies that it was accepted."""
    found = _said(d, command)
    d.text("note", command.note)
    _check_files(command.attachments)
    if not found.state.open:
        _conflict(d, found, "progress", command.note)
        return
    _take_up(d, found, command.by)
    d.emit(
        e.AssignmentProgressed(
            assignment=found.id,
            note=command.note,
            by=command.by,
            reported_at=command.reported_at,
            attachments=command.attachments,
        )
    )


def resolve(d: Deciding, command: c.Resolve) -> None:
    """The unit's part is done; implies that it was accepted. The last part resolves the case."""
    found = _said(d, command)
    _check_files(command.attachments)
    if not found.state.open:
        if not _repeats(found, S.RESOLVED, command.note):
            _conflict(d, found, "resolved", command.note)
        return
    _take_up(d, found, command.by)
    d.emit(
        e.AssignmentResolved(
            assignment=found.id,
            note=command.note,
            by=command.by,
            reported_at=command.reported_at,
            attachments=command.attachments,
        )
    )
    after_change(d)


def give_back(d: Deciding, command: c.Return) -> None:
    """The unit gives it back; the holder decides what next."""
    found = _said(d, command)
    d.text("reason", command.reason)
    if not found.state.open:
        if not _repeats(found, S.RETURNED, command.reason):
            _conflict(d, found, "returned", command.reason)
        return
    d.emit(e.AssignmentReturned(assignment=found.id, reason=command.reason, by=command.by, reported_at=command.reported_at))
    after_change(d)
