"""Orders to instances whose plugin runs elsewhere: in a worker process of its own, or beside the department.

The intent is committed, then the order is stored in the instance's queue, then the task ends; what becomes of it comes back as reports.
A recalled assignment whose order nobody fetched yet is withdrawn from the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from hub.contract import Capability, Notice
from hub.model.actors import SYSTEM
from hub.model.assignments.commands import RecordEffect, StartDelivery
from hub.model.assignments.state import AttemptOutcome, delivery_key
from hub.model.effects import TaskKind
from hub.observing import telemetry
from hub.spine.handover import Handovers, awaits_delivery
from hub.spine.ledger.desk import Desks

if TYPE_CHECKING:
    from hub import contract
    from hub.bus.pull import Delivery
    from hub.contract import AdapterInstance
    from hub.model.assignments.state import Assigned
    from hub.model.effects import Task
    from hub.model.policy.district import District
    from hub.spine.departments import Department


class Orders(Protocol):
    """The queues of instances that run elsewhere."""

    async def deliver(
        self, task: Task, assignment: contract.Assignment, instance: AdapterInstance, attempt: int, contact_available: bool
    ) -> None:
        """Store an order to hand an assignment over; the same task is stored once."""
        ...

    async def effect(self, task: Task, assignment: contract.Assignment | None, notice: Notice | None) -> None:
        """Store an order to recall, urge or inform; the same task is stored once."""
        ...

    async def withdraw(self, name: str, key: str) -> None:
        """Take an order to deliver back that nobody fetched yet."""
        ...


class Afar:
    """Sends orders."""

    def __init__(self, desks: Desks, orders: Orders, district: Callable[[], District], handover: Handovers) -> None:
        self._desks = desks
        self._orders = orders
        self._district = district
        self._handover = handover

    async def send(self, department: Department, task: Task, delivery: Delivery, matter: Assigned) -> None:
        """Turn a task into an order; ends the queue's delivery."""
        if task.kind is TaskKind.DELIVER:
            await self._deliver(department, task, matter)
        else:
            await self._effect(department, task, matter)
        department.breaker.undecided()  # the breaker is the remote's own
        await delivery.ack(confirmed=True)

    async def _deliver(self, department: Department, task: Task, matter: Assigned) -> None:
        assignment = matter.assignment(task.assignment or "")
        if assignment is None or not awaits_delivery(assignment):
            return
        if not assignment.attempts or assignment.attempts[-1].outcome is not AttemptOutcome.STARTED:
            outcome = await self._desks.execute(
                task.matter, StartDelivery(assignment=assignment.id), actor=SYSTEM, cause=telemetry.traceparent()
            )
            matter = outcome.state
            assignment = matter.assignment(assignment.id) or assignment
        access = self._desks.of(task.matter).aggregate.contact_access
        contact = department.can(Capability.NEEDS_CONTACT) and access(matter, department.name, "dispatch") is not None
        handed = self._handover(matter, assignment, self._district(), None)
        await self._orders.deliver(task, handed, department.instance, assignment.attempts[-1].number, contact)

    async def _effect(self, department: Department, task: Task, matter: Assigned) -> None:
        if task.kind is TaskKind.INFORM:
            at = task.at.astimezone(self._district().zone)
            notice = Notice(case=task.matter, ref=task.ref or "", stage=task.stage or "", text=task.text or "", at=at)
            if department.can(Capability.INFORM):
                await self._orders.effect(task, None, notice)
            else:
                await self._unsupported(department, task)
            return
        assignment = matter.assignment(task.assignment or "")
        if assignment is None:
            return
        handed = self._handover(matter, assignment, self._district(), None)
        if task.kind is TaskKind.RECALL:
            await self._orders.withdraw(department.name, delivery_key(matter.id, assignment.id))
        elif not assignment.state.open:
            return
        if department.can(Capability.RECALL if task.kind is TaskKind.RECALL else Capability.URGE):
            await self._orders.effect(task, handed, None)
        else:
            await self._unsupported(department, task)

    async def _unsupported(self, department: Department, task: Task) -> None:
        await self._desks.execute(
            task.matter,
            RecordEffect(
                effect=task.effect,
                adapter=task.adapter,
                error="unsupported",
                reason=f"the {department.manifest.department} system can't {task.kind.value}",
                final=True,
            ),
            actor=SYSTEM,
            cause=telemetry.traceparent(),
        )
