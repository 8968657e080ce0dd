"""Orders to instances whose plugin runs elsewhere: in a worker process of its own, or beside the department.

First the intent is committed, then the order goes to the instance's queue, then the task ends. The outcome comes back as answers. When an
assignment is recalled before anybody fetched its order, the order is withdrawn from the queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hub.contract import Assignment, Capability, Notice
from hub.model.assignments.commands import StartDelivery
from hub.model.assignments.state import AttemptOutcome
from hub.model.effects import Verb
from hub.spine.dispatch.carrying_out import unsupported
from hub.spine.handover import awaits_delivery

if TYPE_CHECKING:
    from hub.contract import AdapterInstance
    from hub.model.assignments.state import Assigned
    from hub.model.effects import Task
    from hub.spine.departments import Department
    from hub.spine.dispatch.carrying_out import Delivery
    from hub.spine.dispatch.means import Means


class Orders(Protocol):
    """The queues of instances that run elsewhere."""

    async def deliver(
        self, task: Task, assignment: Assignment, instance: AdapterInstance, attempt: int, contact_available: bool
    ) -> None:
        """Store an order to hand an assignment over; the same task is stored once."""

    async def tell(self, task: Task, about: Assignment | Notice) -> None:
        """Store an order to say something else; the same task is stored once."""

    async def withdraw(self, name: str, key: str) -> None:
        """Take an order to deliver back that nobody fetched yet."""


class Afar:
    """Sends orders."""

    def __init__(self, means: Means, orders: Orders) -> None:
        self._means = means
        self._orders = orders

    async def send(self, department: Department, task: Task, delivery: Delivery, matter: Assigned) -> None:
        """Turn a task into an order; ends the queue's delivery."""
        if task.verb is Verb.DELIVER:
            await self._deliver(department, task, matter)
        else:
            await self._tell(department, task, matter)
        department.breaker.undecided()  # the breaker is the remote's own
        await delivery.ack(confirmed=True)

    async def _deliver(self, department: Department, task: Task, matter: Assigned) -> None:
        assignment = matter.assignment(task.assignment or "")
        if assignment is None or not awaits_delivery(assignment):
            return
        if not assignment.attempts or assignment.attempts[-1].outcome is not AttemptOutcome.STARTED:
            matter = (await self._means.record(task, StartDelivery(assignment=assignment.id))).state
            assignment = matter.assignment(assignment.id) or assignment
        access = self._means.desks.of(task.matter).aggregate.contact_access
        contact = department.can(Capability.NEEDS_CONTACT) and access(matter, department.name, "dispatch") is not None
        handed = self._means.handed(matter, assignment)
        await self._orders.deliver(task, handed, department.instance, assignment.attempts[-1].number, contact)
        now = await self._means.desks.load(task.matter)
        if now is None or not awaits_delivery(now.state.assignment(assignment.id)):
            # Recalled while its order was being stored: the recall found nothing to withdraw.
            await self._orders.withdraw(department.name, handed.key)

    async def _tell(self, department: Department, task: Task, matter: Assigned) -> None:
        about = self._means.about(task, matter)
        if about is None:
            return
        if task.verb is Verb.RECALL and isinstance(about, Assignment):
            await self._orders.withdraw(department.name, about.key)
        if department.can(Capability(task.verb.value)):
            await self._orders.tell(task, about)
        else:
            text = unsupported(department.manifest.department, task.verb)
            await self._means.record_effect(task, "unsupported", text, final=True)
