"""Carries out calls to a department. The record of them may be the ledger, or the journal beside a department.

The intent is recorded before anything is sent. After an unclear outcome the department is asked by key; nothing is sent again blindly.
Dispatch calls this with tasks, the process beside a department with orders.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from hub.contract import AdapterInstance, Assignment, Capability
from hub.errors import DeliveryError, HubError
from hub.model.effects import Verb
from hub.observing import telemetry
from hub.observing.logs import redact_text
from hub.spine.departments import DepartmentHere
from hub.spine.dispatch.follow_up import Doing, FollowUp, NextStep, follow_up, within_attempt

log = structlog.get_logger("hub.dispatch")

MOST_REASON = 500
"""Characters kept of why something failed."""


class Delivery(Protocol):
    """The part of a queue's message that is used."""

    @property
    def deliveries(self) -> int:
        """How often it was given out."""

    async def ack(self, *, confirmed: bool = False) -> None:
        """Done."""

    async def retry(self, delay: float) -> None:
        """Again after so many seconds."""

    async def stop(self) -> None:
        """Never again."""


@dataclass(frozen=True, kw_only=True)
class FailedCall:
    """A call that failed, and what follows."""

    problem: HubError
    then: FollowUp

    @property
    def reason(self) -> str:
        """The reason in a form that may be stored. It is redacted, because a department may repeat the data it was sent."""
        return redact_text(self.problem.message)[:MOST_REASON]

    @property
    def status(self) -> int | None:
        """HTTP status of the department's answer, where there was one."""
        return self.problem.status if isinstance(self.problem, DeliveryError) else None

    def retry_at(self, now: datetime) -> datetime | None:
        """When the next try may begin; None: there is none."""
        match self.then.next:
            case NextStep.GIVEN_UP | NextStep.REFUSED:
                return None
            case NextStep.SHUT_OUT:
                return now
            case NextStep.AGAIN:
                return now + self.then.delay


class Attempts(Protocol):
    """The attempts at one assignment, and their record."""

    @property
    def assignment(self) -> Assignment:
        """The assignment to ask the department about."""

    @property
    def patience(self) -> AdapterInstance:
        """The instance, as patient as it is to be with this assignment."""

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier attempt may have reached the department: begun and never ended, or its outcome unknown."""

    @property
    def tries(self) -> int:
        """Attempts spent so far."""

    async def begin(self) -> Assignment:
        """Record that an attempt begins. Returns the assignment to hand over."""

    async def filed(self, ticket: str, via: str) -> None:
        """The department has it."""

    async def not_there(self, reason: str) -> None:
        """What was in doubt did no harm: end an attempt that a crash left open."""

    async def uncertain(self, reason: str) -> None:
        """Nobody can find out whether the department has it."""

    async def failed(self, failure: FailedCall, *, asking: bool) -> None:
        """An attempt failed, or asking after one did."""


class Telling(Protocol):
    """One message to a department or a source besides assignments, and the record of its outcome."""

    @property
    def verb(self) -> Verb:
        """The verb of the message."""

    async def say(self, department: DepartmentHere) -> bool:
        """Say it; false when it is pointless by now."""

    async def record(self, error: str | None, reason: str | None, *, final: bool) -> None:
        """Record that it was said (no `error`), or failed."""


@dataclass(frozen=True, kw_only=True)
class CarryingOut:
    """Carries out. `shut_out` pauses an instance that its department does not let in, `draw` gives U(0, 1)."""

    shut_out: Callable[[str, HubError], Awaitable[None]]
    draw: Callable[[], float]

    async def deliver(self, department: DepartmentHere, attempts: Attempts, delivery: Delivery) -> None:
        """One attempt, or one look at what became of an earlier one; ends or repeats the queue's delivery."""
        if attempts.in_doubt and not await self._settle_doubt(department, attempts, delivery):
            return
        handed = await attempts.begin()
        try:
            receipt = await within_attempt(lambda: department.deliver(handed))
        except HubError as problem:
            await self._failed(department, attempts, delivery, problem)
            return
        department.breaker.succeeded()
        await attempts.filed(receipt.ticket, "deliver")
        await delivery.ack(confirmed=False)

    async def _settle_doubt(self, department: DepartmentHere, attempts: Attempts, delivery: Delivery) -> bool:
        """Ask whether the department has it. True: it certainly has not, or it takes the same key twice without harm."""
        if not department.can(Capability.LOOKUP):
            if department.can(Capability.IDEMPOTENT):
                await attempts.not_there("interrupted; the department takes the same key once")
                return True
            department.breaker.undecided()
            await attempts.uncertain("the outcome is unknown and the department can't be asked")
            await delivery.ack(confirmed=True)
            return False
        try:
            receipt = await department.lookup(attempts.assignment)
        except HubError as problem:
            await self._failed(department, attempts, delivery, problem, asking=True)
            return False
        if receipt is not None:
            department.breaker.succeeded()
            await attempts.filed(receipt.ticket, "lookup")
            await delivery.ack(confirmed=False)
            return False
        await attempts.not_there("the department does not have it")
        return True

    async def _failed(
        self, department: DepartmentHere, attempts: Attempts, delivery: Delivery, problem: HubError, *, asking: bool = False
    ) -> None:
        current = telemetry.current()
        if current is not None:
            current.fail(problem.code)
        doing, tries = (Doing.ASK, delivery.deliveries) if asking else (Doing.DELIVER, max(attempts.tries, 1))
        then = follow_up(problem, attempts.patience, doing=doing, tries=tries, draw=self.draw)
        then.tell(department.breaker)
        await attempts.failed(FailedCall(problem=problem, then=then), asking=asking)
        await self._end(department, then, delivery, problem)

    async def tell(self, department: DepartmentHere, telling: Telling, delivery: Delivery) -> None:
        """Say it once more than not at all: the department may hear it twice after a crash. Ends or repeats the queue's delivery."""
        breaker = department.breaker
        if not department.can(Capability(telling.verb.value)):
            breaker.undecided()
            await telling.record("unsupported", unsupported(department.manifest.department, telling.verb), final=True)
            await delivery.ack(confirmed=True)
            return
        try:
            said = await telling.say(department)
        except HubError as problem:
            tries = delivery.deliveries
            then = follow_up(problem, department.instance, doing=Doing.EFFECT, tries=tries, draw=self.draw)
            then.tell(breaker)
            final = then.next is NextStep.GIVEN_UP
            if final or (tries == 1 and then.next is not NextStep.SHUT_OUT):
                await telling.record(problem.code, FailedCall(problem=problem, then=then).reason, final=final)
            if final:
                log.error("effect given up", adapter=department.name, effect=telling.verb.value, error=problem.code)
            await self._end(department, then, delivery, problem)
            return
        if said:
            breaker.succeeded()
            await telling.record(None, None, final=False)
        else:
            breaker.undecided()
        await delivery.ack(confirmed=not said)

    async def _end(self, department: DepartmentHere, then: FollowUp, delivery: Delivery, problem: HubError) -> None:
        match then.next:
            case NextStep.REFUSED:
                await delivery.ack(confirmed=True)
            case NextStep.GIVEN_UP:
                await delivery.stop()
            case NextStep.SHUT_OUT:
                await self.shut_out(department.name, problem)
                await delivery.retry(then.delay.total_seconds())
            case NextStep.AGAIN:
                await delivery.retry(then.delay.total_seconds())


def unsupported(department: str, verb: Verb) -> str:
    """Why a department is not told something."""
    return f"the {department} system can't {verb.value}"
