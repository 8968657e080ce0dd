"""Recall, urge and inform: what a department or a source hears besides its assignments. At-least-once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from hub.contract import Capability, Notice
from hub.errors import HubError
from hub.model.actors import SYSTEM
from hub.model.assignments.commands import RecordEffect
from hub.model.effects import TaskKind
from hub.observing import telemetry
from hub.observing.logs import redact_text
from hub.spine.departments import DepartmentHere, Departments
from hub.spine.dispatch.follow_up import Doing, NextStep, follow_up
from hub.spine.handover import Handovers
from hub.spine.ledger.desk import Desks

if TYPE_CHECKING:
    from hub.bus.pull import Delivery
    from hub.model.assignments.state import Assigned
    from hub.model.effects import Task
    from hub.model.policy.district import District

log = structlog.get_logger("hub.dispatch")


class Effects:
    """Carries out what is not a delivery."""

    def __init__(
        self,
        desks: Desks,
        departments: Departments,
        district: Callable[[], District],
        handover: Handovers,
        *,
        draw: Callable[[], float],
    ) -> None:
        self._desks = desks
        self._departments = departments
        self._district = district
        self._draw = draw
        self._handover = handover

    async def carry_out(self, department: DepartmentHere, task: Task, delivery: Delivery, matter: Assigned) -> None:
        """Recall, urge or inform; at-least-once, so the department may hear it twice after a crash."""
        capability = {
            TaskKind.RECALL: Capability.RECALL,
            TaskKind.URGE: Capability.URGE,
            TaskKind.INFORM: Capability.INFORM,
        }[task.kind]
        if not department.can(capability):
            department.breaker.undecided()
            await self._record_effect(
                task, "unsupported", f"the {department.manifest.department} system can't {task.kind.value}", True
            )
            await delivery.ack(confirmed=True)
            return
        try:
            if not await self._do_effect(department, task, matter):
                department.breaker.undecided()
                await delivery.ack(confirmed=True)
                return
        except HubError as problem:
            await self._effect_failed(department, task, delivery, problem)
            return
        department.breaker.succeeded()
        await self._record_effect(task, None, None, False)
        await delivery.ack(confirmed=False)

    async def _do_effect(self, department: DepartmentHere, task: Task, matter: Assigned) -> bool:
        """Do it; false when it is pointless by now."""
        if task.kind is TaskKind.INFORM:
            await department.inform(
                Notice(
                    case=task.matter,
                    ref=task.ref or "",
                    stage=task.stage or "",
                    text=task.text or "",
                    at=task.at.astimezone(self._district().zone),
                )
            )
            return True
        assignment = matter.assignment(task.assignment or "")
        if assignment is None:
            return False
        handed = self._handover(matter, assignment, self._district(), None)
        if task.kind is TaskKind.URGE:
            if not assignment.state.open or assignment.ticket is None:
                return False
            await department.urge(handed, task.text or "")
            return True
        if assignment.ticket is None and department.can(Capability.LOOKUP) and await department.lookup(handed) is None:
            return False
        await department.recall(handed, task.text or "")
        return True

    async def _effect_failed(self, department: DepartmentHere, task: Task, delivery: Delivery, problem: HubError) -> None:
        tries = delivery.deliveries
        then = follow_up(problem, department.instance, doing=Doing.EFFECT, tries=tries, draw=self._draw)
        then.tell(department.breaker)
        if then.next is NextStep.SHUT_OUT:
            await self._departments.shut_out(department.name, problem)
            await delivery.retry(then.delay.total_seconds())
            return
        final = then.next is NextStep.GIVEN_UP
        if final or tries == 1:
            await self._record_effect(task, problem.code, redact_text(problem.message)[:500], final)
        if final:
            log.error("effect given up", task=task.id, error=problem.code)
            await delivery.stop()
        else:
            await delivery.retry(then.delay.total_seconds())

    async def _record_effect(self, task: Task, error: str | None, reason: str | None, final: bool) -> None:
        await self._desks.execute(
            task.matter,
            RecordEffect(effect=task.effect, adapter=task.adapter, error=error, reason=reason, final=final),
            actor=SYSTEM,
            command_id=task.id if error is None else None,
            cause=telemetry.traceparent(),
        )
