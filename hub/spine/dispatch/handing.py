"""Handing over with the ledger: what became of the attempts at one assignment is committed on its matter."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import structlog

from hub.contract import Capability, Contact
from hub.errors import InvalidInput
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
from hub.spine.dispatch.follow_up import NextStep

if TYPE_CHECKING:
    from hub import contract
    from hub.contract import AdapterInstance
    from hub.model.assignments.state import Assigned, Assignment
    from hub.model.effects import Task
    from hub.spine.departments import DepartmentHere
    from hub.spine.dispatch.carrying_out import FailedCall
    from hub.spine.dispatch.means import Means

log = structlog.get_logger("hub.dispatch")


class LedgerAttempts:
    """The attempts at one assignment, in the ledger."""

    def __init__(
        self, means: Means, department: DepartmentHere, task: Task, payload: bytes, matter: Assigned, assignment: Assignment
    ) -> None:
        self._means = means
        self._department = department
        self._task = task
        self._payload = payload
        self._matter = matter
        self._found = assignment

    @property
    def assignment(self) -> contract.Assignment:
        """The assignment to ask the department about."""
        return self._means.handed(self._matter, self._found)

    @property
    def patience(self) -> AdapterInstance:
        """The instance."""
        return self._department.instance

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier attempt may have reached the department: begun and never ended, or its outcome unknown."""
        attempts = self._found.attempts
        return bool(attempts) and attempts[-1].outcome in (AttemptOutcome.STARTED, AttemptOutcome.UNKNOWN)

    @property
    def tries(self) -> int:
        """Attempts spent so far."""
        return self._found.tries

    @property
    def _attempt(self) -> int:
        if not self._found.attempts:
            raise InvalidInput("no attempt was started", subject=self._found.id)
        return self._found.attempts[-1].number

    async def begin(self) -> contract.Assignment:
        """Commit that an attempt begins. Returns the assignment to hand over."""
        contact = await self._contact()
        outcome = await self._means.record(self._task, StartDelivery(assignment=self._found.id))
        self._matter = outcome.state
        self._found = self._matter.assignment(self._found.id) or self._found
        attempt = self._attempt
        current = telemetry.current()
        if current is not None:
            current.set(telemetry.ATTEMPT, attempt)
            if attempt > 1:
                current.set(telemetry.RETRY, True)
        return self._means.handed(self._matter, self._found, contact)

    async def filed(self, ticket: str, via: str) -> None:
        """The department has it."""
        command = RecordDelivered(assignment=self._found.id, ticket=ticket, attempt=self._attempt, via=via)
        await self._means.record(self._task, command)

    async def not_there(self, reason: str) -> None:
        """End an attempt that a crash left open."""
        if self._found.attempts[-1].outcome is AttemptOutcome.STARTED:
            command = RecordFailed(assignment=self._found.id, attempt=self._attempt, error="interrupted", reason=reason)
            await self._means.record(self._task, command)

    async def uncertain(self, reason: str) -> None:
        """Nobody can find out whether the department has it."""
        command = RecordUncertain(assignment=self._found.id, attempt=self._attempt, reason=reason)
        await self._means.record(self._task, command)

    async def failed(self, failure: FailedCall, *, asking: bool) -> None:
        """Commit the outcome of an attempt, or of asking after one. Without a further attempt also commit the dead letter."""
        then, error = failure.then, failure.problem.code
        if then.next is NextStep.REFUSED:
            refused = RecordRefused(
                assignment=self._found.id, attempt=self._attempt, reason=failure.reason, status=failure.status
            )
            await self._means.record(self._task, refused)
            return
        if not asking:
            command = RecordFailed(
                assignment=self._found.id,
                attempt=self._attempt,
                error=error,
                reason=failure.reason,
                unknown=then.unknown,
                retry_at=failure.retry_at(self._means.clock()),
                status=failure.status,
            )
            await self._means.record(self._task, command)
        if then.next is NextStep.GIVEN_UP:
            await self._means.record(self._task, RecordDead(assignment=self._found.id, letter=await self._letter(failure)))
            log.error("dead letter", task=self._task.id, error=error)

    async def _letter(self, failure: FailedCall) -> DeadLetter:
        folded = await self._means.desks.known(self._task.matter)
        found = folded.state.assignment(self._found.id) if folded is not None else None
        attempts = found.attempts if found is not None else ()
        now = self._means.clock()
        return DeadLetter(
            event_id=self._task.id,
            subject=f"dispatch.{self._task.adapter}.{self._task.matter}",
            attempts=len(attempts),
            first_at=attempts[0].started_at if attempts else now,
            last_at=now,
            error=failure.problem.code,
            reason=failure.reason,
            adapter_version=self._department.manifest.version,
            payload_hash=hashlib.sha256(self._payload).hexdigest(),
            traceparent=self._task.traceparent,
        )

    async def _contact(self) -> Contact | None:
        """The reporter's contact, if the adapter asks for it. The access is committed first, so nobody reads a contact without a trace."""
        if not self._department.can(Capability.NEEDS_CONTACT):
            return None
        aggregate = self._means.desks.of(self._task.matter).aggregate
        access = aggregate.contact_access(self._matter, self._department.name, "dispatch")
        if access is None:
            return None
        await self._means.record(self._task, access)
        return await self._means.open_contact(MatterId(self._task.matter))
