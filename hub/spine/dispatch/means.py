"""The means of dispatch: the ledger, the departments, and the form in which a department sees a matter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hub.contract import Contact, Notice
from hub.model.actors import SYSTEM
from hub.model.aggregate import MatterId
from hub.model.assignments.commands import RecordEffect
from hub.model.assignments.state import public_reply
from hub.model.effects import Verb
from hub.observing import telemetry
from hub.spine.handover import Handovers
from hub.spine.ledger.desk import Desks, Outcome

if TYPE_CHECKING:
    from hub import contract
    from hub.model.aggregate import Command
    from hub.model.assignments.state import Assigned, Assignment
    from hub.model.effects import Task
    from hub.model.policy.district import District

OpenContact = Callable[[MatterId], Awaitable["Contact | None"]]
"""Reads a matter's contact; its access must have been committed before."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """What all tasks are carried out with."""

    desks: Desks
    district: Callable[[], District]
    handover: Handovers
    open_contact: OpenContact
    clock: Callable[[], datetime]

    async def record(self, task: Task, command: Command, *, command_id: str | None = None) -> Outcome[Any]:
        """Commit a command on the task's matter."""
        return await self.desks.execute(
            task.matter, command, actor=SYSTEM, command_id=command_id, cause=telemetry.traceparent()
        )

    async def record_effect(self, task: Task, error: str | None, reason: str | None, *, final: bool) -> None:
        """Commit that a task was done or failed. Done counts once, however often the task runs."""
        command = RecordEffect(effect=task.effect, adapter=task.adapter, error=error, reason=reason, final=final)
        await self.record(task, command, command_id=task.id if error is None else None)

    def handed(self, matter: Assigned, assignment: Assignment, contact: Contact | None = None) -> contract.Assignment:
        """An assignment as the department should get it."""
        return self.handover(matter, assignment, self.district(), contact)

    def about(self, task: Task, matter: Assigned) -> contract.Assignment | Notice | None:
        """The assignment or notice to tell the department or source about. None: telling has become pointless."""
        if task.verb is Verb.INFORM:
            at = task.at.astimezone(self.district().zone)
            reply = public_reply(matter) if task.stage in ("resolved", "closed") else None
            return Notice(
                case=task.matter, ref=task.ref or "", stage=task.stage or "", text=task.text or "", at=at, reply=reply
            )
        assignment = matter.assignment(task.assignment or "")
        if assignment is None or (task.while_open and not assignment.state.open):
            return None
        return self.handed(matter, assignment)
