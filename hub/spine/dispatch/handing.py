"""Handing over: attempts at one assignment, doubt about their outcome, failures and dead letters.

Intent is committed before anything is sent; what may have arrived is asked about by key and never sent blindly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from hub.contract import Capability, Contact
from hub.errors import DeliveryError, HubError, InvalidInput
from hub.model.actors import SYSTEM
from hub.model.aggregate import MatterId
from hub.model.assignments.commands import (
    RecordDead,
    RecordDelivered,
    RecordFailed,
    RecordRefused,
    RecordUncertain,
    StartDelivery,
)
from hub.model.assignments.state import AttemptOutcome, DeadLetter
from hub.observing import telemetry
from hub.observing.logs import redact_text
from hub.spine.departments import DepartmentHere, Departments
from hub.spine.dispatch.follow_up import Doing, NextStep, follow_up, within_attempt
from hub.spine.handover import Handovers, awaits_delivery
from hub.spine.ledger.desk import Desks, Outcome

if TYPE_CHECKING:
    from hub.bus.pull import Delivery
    from hub.contract import Receipt
    from hub.model.assignments.state import Assigned, Assignment
    from hub.model.effects import Task
    from hub.model.policy.district import District

log = structlog.get_logger("hub.dispatch")


OpenContact = Callable[[MatterId], Awaitable["Contact | None"]]
"""Reads a matter's contact; its access must have been committed before."""


class Handing:
    """Hands assignments over."""

    def __init__(
        self,
        desks: Desks,
        departments: Departments,
        district: Callable[[], District],
        open_contact: OpenContact,
        handover: Handovers,
        *,
        clock: Callable[[], datetime],
        draw: Callable[[], float],
    ) -> None:
        self._desks = desks
        self._departments = departments
        self._district = district
        self._open_contact = open_contact
        self._handover = handover
        self._clock = clock
        self._draw = draw

    async def deliver(self, department: DepartmentHere, task: Task, delivery: Delivery, matter: Assigned) -> None:
        """One attempt, or one look at what became of an earlier one; ends or repeats the queue's delivery."""
        assignment = matter.assignment(task.assignment or "")
        if assignment is None or not awaits_delivery(assignment):
            department.breaker.undecided()
            await delivery.ack(confirmed=True)
            return
        if self._in_doubt(assignment) and not await self._settle_doubt(department, task, delivery, matter, assignment):
            return
        contact = await self._contact(department, task, matter)
        outcome = await self._desks.execute(
            task.matter, StartDelivery(assignment=assignment.id), actor=SYSTEM, cause=telemetry.traceparent()
        )
        attempt = _attempt(outcome, assignment.id)
        current = telemetry.current()
        if current is not None:
            current.set(telemetry.ATTEMPT, attempt)
            if attempt > 1:
                current.set(telemetry.RETRY, True)
        handed = self._handover(outcome.state, outcome.state.assignment(assignment.id) or assignment, self._district(), contact)
        try:
            receipt = await within_attempt(lambda: department.deliver(handed))
        except HubError as problem:
            await self._failed(department, task, delivery, outcome.state, attempt, problem)
            return
        department.breaker.succeeded()
        await self._delivered(task, delivery, receipt, attempt, "deliver")

    async def _delivered(self, task: Task, delivery: Delivery, receipt: Receipt, attempt: int | None, via: str) -> None:
        await self._desks.execute(
            task.matter,
            RecordDelivered(assignment=task.assignment or "", ticket=receipt.ticket, attempt=attempt, via=via),
            actor=SYSTEM,
            cause=telemetry.traceparent(),
        )
        await delivery.ack(confirmed=False)

    @staticmethod
    def _in_doubt(assignment: Assignment) -> bool:
        """Whether an earlier attempt may have reached the department: begun and never ended, or its outcome unknown."""
        return bool(assignment.attempts) and assignment.attempts[-1].outcome in (
            AttemptOutcome.STARTED,
            AttemptOutcome.UNKNOWN,
        )

    async def _settle_doubt(
        self, department: DepartmentHere, task: Task, delivery: Delivery, matter: Assigned, assignment: Assignment
    ) -> bool:
        """Find out whether the department has it; true when it certainly has not, or takes the same key twice without harm."""
        last = assignment.attempts[-1]
        if not department.can(Capability.LOOKUP):
            if department.can(Capability.IDEMPOTENT):
                await self._close_attempt(task, assignment, "interrupted; the department takes the same key once")
                return True
            department.breaker.undecided()
            await self._desks.execute(
                task.matter,
                RecordUncertain(
                    assignment=assignment.id,
                    attempt=last.number,
                    reason="the outcome is unknown and the department can't be asked",
                ),
                actor=SYSTEM,
                cause=telemetry.traceparent(),
            )
            await delivery.ack(confirmed=True)
            return False
        try:
            receipt = await department.lookup(self._handover(matter, assignment, self._district(), None))
        except HubError as problem:
            await self._failed(department, task, delivery, matter, last.number, problem, asking=True)
            return False
        if receipt is not None:
            department.breaker.succeeded()
            await self._delivered(task, delivery, receipt, last.number, "lookup")
            return False
        await self._close_attempt(task, assignment, "the department does not have it")
        return True

    async def _close_attempt(self, task: Task, assignment: Assignment, reason: str) -> None:
        """End an attempt that a crash left open."""
        last = assignment.attempts[-1]
        if last.outcome is AttemptOutcome.STARTED:
            await self._desks.execute(
                task.matter,
                RecordFailed(assignment=assignment.id, attempt=last.number, error="interrupted", reason=reason),
                actor=SYSTEM,
                cause=telemetry.traceparent(),
            )

    async def _failed(
        self,
        department: DepartmentHere,
        task: Task,
        delivery: Delivery,
        matter: Assigned,
        attempt: int,
        problem: HubError,
        *,
        asking: bool = False,
    ) -> None:
        """Commit what became of an attempt (or of asking after one), then end or repeat the task."""
        current = telemetry.current()
        if current is not None:
            current.fail(problem.code)
        assignment = matter.assignment(task.assignment or "")
        assert assignment is not None
        doing, tries = (Doing.ASK, delivery.deliveries) if asking else (Doing.DELIVER, max(assignment.tries, 1))
        then = follow_up(problem, department.instance, doing=doing, tries=tries, draw=self._draw)
        then.tell(department.breaker)
        reason = redact_text(problem.message)[:500]  # a department may repeat what it was sent
        if then.next is NextStep.REFUSED:
            await self._desks.execute(
                task.matter,
                RecordRefused(assignment=assignment.id, attempt=attempt, reason=reason, status=_status(problem)),
                actor=SYSTEM,
                cause=telemetry.traceparent(),
            )
            await delivery.ack(confirmed=True)
            return
        if not asking:
            delay = {NextStep.SHUT_OUT: timedelta(0), NextStep.GIVEN_UP: None}.get(then.next, then.delay)
            await self._record_failed(task, attempt, problem, reason, unknown=then.unknown, delay=delay)
        match then.next:
            case NextStep.SHUT_OUT:
                await self._departments.shut_out(department.name, problem)
                await delivery.retry(then.delay.total_seconds())
            case NextStep.GIVEN_UP:
                await self._bury(department, task, assignment.id, problem, reason, delivery)
            case _:
                await delivery.retry(then.delay.total_seconds())

    async def _record_failed(
        self, task: Task, attempt: int, problem: HubError, reason: str, *, unknown: bool, delay: timedelta | None
    ) -> None:
        await self._desks.execute(
            task.matter,
            RecordFailed(
                assignment=task.assignment or "",
                attempt=attempt,
                error=problem.code,
                reason=reason,
                unknown=unknown,
                retry_at=None if delay is None else self._clock() + delay,
                status=_status(problem),
            ),
            actor=SYSTEM,
            cause=telemetry.traceparent(),
        )

    async def _bury(
        self, department: DepartmentHere, task: Task, assignment: str, problem: HubError, reason: str, delivery: Delivery
    ) -> None:
        """Attempts are used up: the dead letter goes into the ledger first, then the task ends."""
        folded = await self._desks.known(task.matter)
        found = folded.state.assignment(assignment) if folded is not None else None
        attempts = found.attempts if found is not None else ()
        letter = DeadLetter(
            event_id=task.id,
            subject=f"dispatch.{task.adapter}.{task.matter}",
            attempts=len(attempts),
            first_at=attempts[0].started_at if attempts else self._clock(),
            last_at=self._clock(),
            error=problem.code,
            reason=reason,
            adapter_version=department.manifest.version,
            payload_hash=hashlib.sha256(delivery.data).hexdigest(),
            traceparent=task.traceparent,
        )
        await self._desks.execute(
            task.matter, RecordDead(assignment=assignment, letter=letter), actor=SYSTEM, cause=telemetry.traceparent()
        )
        log.error("dead letter", task=task.id, error=problem.code, attempts=len(attempts))
        await delivery.stop()

    async def _contact(self, department: DepartmentHere, task: Task, matter: Assigned) -> Contact | None:
        """The reporter's contact for an adapter that asks for it; the access is committed before it is read."""
        if not department.can(Capability.NEEDS_CONTACT):
            return None
        access = self._desks.of(task.matter).aggregate.contact_access(matter, department.name, "dispatch")
        if access is None:
            return None
        await self._desks.execute(task.matter, access, actor=SYSTEM, cause=telemetry.traceparent())
        return await self._open_contact(MatterId(task.matter))


def _status(problem: HubError) -> int | None:
    return problem.status if isinstance(problem, DeliveryError) else None


def _attempt(outcome: Outcome[Assigned], assignment: str) -> int:
    found = outcome.state.assignment(assignment)
    if found is None or not found.attempts:
        raise InvalidInput("no attempt was started", subject=assignment)
    return found.attempts[-1].number
