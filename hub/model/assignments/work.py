"""Assignments: making and taking back, and what units say about them. Pure.

A report never moves an assignment backwards; what does not fit is recorded. Called by the aggregates that hold assignments.
"""

from __future__ import annotations

import re
from typing import Any, Final

from hub.errors import InvalidInput
from hub.model.aggregate import Command
from hub.model.assignments import commands as c
from hub.model.assignments import events as e
from hub.model.assignments.deciding import WorkDeciding
from hub.model.assignments.evolve import UNDELIVERED
from hub.model.assignments.state import Assignment, AssignmentState
from hub.model.bykind import ByKind
from hub.model.limits.clock import set_limit
from hub.model.limits.state import DeadlineKind
from hub.model.records import Attachment

_MASKED_NUMBER = re.compile(r"\d\*|\*[-\s]?\d")
"""A number of a person's as the masks leave it: what people write is masked before it is decided on."""

DECIDES: Final[ByKind[Command]] = ByKind()
"""Which rule decides each command of this part."""

S = AssignmentState

_NOT_ACCEPTED = UNDELIVERED | {S.DELIVERED}
SENT_BACK = frozenset({S.RETURNED, S.REFUSED})


def make(d: WorkDeciding[Any], target: c.Target) -> None:
    """Assign to one unit, with its limits."""
    unit = d.rules.units.unit(target.unit)
    assert unit is not None
    id = f"a{len(d.state.assignments) + 1}"
    d.emit(
        e.AssignmentMade(
            assignment=id,
            unit=target.unit,
            role=target.role,
            required=target.required,
            task=target.task,
            adapter=d.adapter_for(unit),
        )
    )
    set_limit(d, DeadlineKind.ACCEPT, target.unit, id)
    set_limit(d, DeadlineKind.FINISH, target.unit, id)


def busy(d: WorkDeciding[Any], unit: str) -> bool:
    """Whether the unit owes something on the matter already."""
    return any(item.unit == unit and item.state.open for item in d.state.assignments)


def may_have_arrived(assignment: Assignment) -> bool:
    """Whether the department's system may have it, so that it has to be told of a recall."""
    return (
        assignment.adapter is not None
        and assignment.state.open
        and (bool(assignment.attempts) or assignment.ticket is not None or assignment.state not in UNDELIVERED)
    )


def recall_open(d: WorkDeciding[Any], reason: str) -> None:
    """Take back all that is open."""
    for item in d.state.assignments:
        if item.state.open:
            d.emit(e.AssignmentRecalled(assignment=item.id, reason=reason, tell=may_have_arrived(item)))


def _takable(d: WorkDeciding[Any], id: str) -> Assignment:
    found = d.assignment(id)
    if not found.state.open and found.state not in SENT_BACK:
        d.refuse_for(found, "there is nothing to take back")
    return found


@DECIDES.on(c.Recall)
def recall(d: WorkDeciding[Any], command: c.Recall) -> None:
    """Take an assignment back. Also a returned or refused one, to say that nobody needs it any more."""
    d.live()
    d.needs_holder()
    d.text("reason", command.reason)
    found = _takable(d, command.assignment)
    d.emit(e.AssignmentRecalled(assignment=found.id, reason=command.reason, tell=may_have_arrived(found)))
    d.after_change()


@DECIDES.on(c.Reassign)
def reassign(d: WorkDeciding[Any], command: c.Reassign) -> None:
    """Give an assignment to another unit, in the same role and with fresh limits."""
    d.at_work()
    d.must_run()
    d.needs_holder()
    d.text("reason", command.reason)
    found = _takable(d, command.assignment)
    unit = d.unit(command.unit, "unit")
    if busy(d, unit):
        d.refuse_for(found, f"{unit} has an open assignment of this {d.kind}")
    d.emit(e.AssignmentRecalled(assignment=found.id, reason=command.reason, tell=may_have_arrived(found)))
    make(d, c.Target(unit=unit, role=found.role, required=found.required, task=found.task))
    d.after_change()


# --- what units say ---


def _check_files(files: tuple[Attachment, ...]) -> None:
    for file in files:
        check_file(file, "attachments")


def check_file(file: Attachment, field: str) -> None:
    """Raise InvalidInput when an attachment's record can't be right."""
    if file.size < 0 or len(file.sha256) != 64 or not file.name.strip():
        raise InvalidInput("an attachment needs a name, a size and a SHA-256", subject=field)


def _said(d: WorkDeciding[Any], command: c.Accept | c.Progress | c.Resolve | c.Return) -> Assignment:
    found = d.assignment(command.assignment)
    d.needs_worker(found)
    d.aware("reported_at", command.reported_at)
    return found


def _take_up(d: WorkDeciding[Any], found: Assignment, by: str | None, note: str | None = None) -> None:
    """Accepting, said or implied."""
    if found.state in _NOT_ACCEPTED:
        reported_at = getattr(d.command, "reported_at", None)
        d.emit(e.AssignmentAccepted(assignment=found.id, by=by, note=note, reported_at=reported_at))
        d.taken_up()


def _conflict(d: WorkDeciding[Any], found: Assignment, kind: str, note: str | None) -> None:
    d.emit(
        e.FeedbackConflicted(
            assignment=found.id,
            kind=kind,
            reason=f"the assignment is {found.state.value}",
            note=note,
            reported_at=getattr(d.command, "reported_at", None),
        )
    )


def _repeats(found: Assignment, state: AssignmentState, note: str | None) -> bool:
    """Whether a unit's feedback says nothing new."""
    return found.state is state and (note is None or note == found.note)


@DECIDES.on(c.Accept)
def accept(d: WorkDeciding[Any], command: c.Accept) -> None:
    """A unit takes its assignment."""
    found = _said(d, command)
    if found.state in _NOT_ACCEPTED:
        _take_up(d, found, command.by, command.note)
    elif not _repeats(found, S.ACCEPTED, command.note):
        _conflict(d, found, "accepted", command.note)


@DECIDES.on(c.Progress)
def progress(d: WorkDeciding[Any], command: c.Progress) -> None:
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


@DECIDES.on(c.Resolve)
def resolve(d: WorkDeciding[Any], command: c.Resolve) -> None:
    """The unit's part is done; implies that it was accepted. The last part resolves the case."""
    found = _said(d, command)
    _check_files(command.attachments)
    if command.public_reply is not None and _MASKED_NUMBER.search(command.public_reply):
        raise InvalidInput("holds the number of a person; it may be read to the reporter", subject="public_reply")
    if not found.state.open:
        if not _repeats(found, S.RESOLVED, command.note):
            _conflict(d, found, "resolved", command.note)
        return
    _take_up(d, found, command.by)
    d.emit(
        e.AssignmentResolved(
            assignment=found.id,
            note=command.note,
            public_reply=command.public_reply,
            reached=command.reached,
            tries=command.tries,
            solved=command.solved,
            satisfied=command.satisfied,
            by=command.by,
            reported_at=command.reported_at,
            attachments=command.attachments,
        )
    )
    d.after_change()


@DECIDES.on(c.Return)
def give_back(d: WorkDeciding[Any], command: c.Return) -> None:
    """The unit gives it back; the holder decides what next."""
    found = _said(d, command)
    d.text("reason", command.reason)
    if not found.state.open:
        if not _repeats(found, S.RETURNED, command.reason):
            _conflict(d, found, "returned", command.reason)
        return
    d.emit(e.AssignmentReturned(assignment=found.id, reason=command.reason, by=command.by, reported_at=command.reported_at))
    d.after_change()
