"""Messages to a department or a source besides assignments, recorded in the ledger. At-least-once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.contract import Assignment, Capability
from hub.model.effects import Verb

if TYPE_CHECKING:
    from hub.model.assignments.state import Assigned
    from hub.model.effects import Task
    from hub.spine.departments import DepartmentHere
    from hub.spine.dispatch.means import Means


class LedgerTelling:
    """One task that is no delivery, in the ledger."""

    def __init__(self, means: Means, task: Task, matter: Assigned) -> None:
        self._means = means
        self._task = task
        self._matter = matter

    @property
    def verb(self) -> Verb:
        """The verb of the message."""
        return self._task.verb

    async def say(self, department: DepartmentHere) -> bool:
        """Say it; false when it is pointless by now."""
        about = self._means.about(self._task, self._matter)
        if isinstance(about, Assignment) and about.ticket is None:
            # Without a ticket there is nothing to tell the department. Except a recall: it may have the assignment, so ask.
            if self.verb is not Verb.RECALL:
                return False
            if department.can(Capability.LOOKUP) and await department.lookup(about) is None:
                return False
        if about is None:
            return False
        await department.tell(self.verb, about, self._task.text or "")
        return True

    async def record(self, error: str | None, reason: str | None, *, final: bool) -> None:
        """Commit that it was said, or failed."""
        await self._means.record_effect(self._task, error, reason, final=final)
