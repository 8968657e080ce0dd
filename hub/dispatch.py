"""Dispatch: one lane per adapter takes tasks from its own durable queue and carries them out at the departmental system.

Owns attempts, retries at two time-scales, the breaker's gate and dead letters. A task is looked up in the ledger before anything
is sent: recalled and finished assignments are dropped. Intent is committed before sending; when an outcome is unknown the
department is asked by key. Started by the composition root.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from hub import telemetry
from hub.adapters import Adapters, Running
from hub.bus.connection import Bus
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import DISPATCH, ensure_consumer
from hub.contract import Capability, Contact, Notice
from hub.desk import Desk, Outcome, utc_now
from hub.errors import (
    BusUnavailable,
    CredentialsRejected,
    Disposition,
    HubError,
    InvalidInput,
    LedgerConflict,
    NotAllowed,
    Unavailable,
    disposition_of,
)
from hub.handover import assignment_for, awaits_delivery
from hub.model.cases import SYSTEM, AttemptOutcome
from hub.model.commands import (
    AccessContact,
    RecordDead,
    RecordDelivered,
    RecordEffect,
    RecordFailed,
    RecordRefused,
    RecordUncertain,
    StartDelivery,
)
from hub.model.events import DeadLetter
from hub.model.tasks import Task, TaskKind, decode_task

if TYPE_CHECKING:
    from hub.config import District
    from hub.contract import AdapterInstance, Receipt
    from hub.model.cases import Assignment, Case
    from hub.privacy import Vault

log = structlog.get_logger("hub.dispatch")

INNER_TRIES = 3
INNER_SECONDS = 4.0
"""Inside one attempt: at most this many tries within this time, when nothing was sent and the department named no delay."""
FAULT_ATTEMPTS = 3
"""Attempts spent on a plugin's own fault before an operator is asked."""
HUB_BUSY_DELAY = 2.0
"""Seconds until a task comes again when the hub itself could not commit."""


def durable_of(adapter: str) -> str:
    """The durable consumer of an adapter's queue."""
    return f"adapter-{adapter}"


def backoff(instance: AdapterInstance, attempt: int, draw: Callable[[], float]) -> timedelta:
    """Full jitter: U(0, min(cap, base·2^(attempt-1))); `draw` gives U(0, 1)."""
    ceiling = min(instance.backoff_cap.total_seconds(), instance.backoff_base.total_seconds() * 2.0 ** min(attempt - 1, 40))
    return timedelta(seconds=draw() * ceiling)


class Dispatch:
    """Runs one lane per enabled adapter."""

    def __init__(
        self,
        bus: Bus,
        desk: Desk,
        adapters: Adapters,
        district: Callable[[], District],
        vault: Vault,
        *,
        clock: Callable[[], datetime] = utc_now,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._bus = bus
        self._desk = desk
        self._adapters = adapters
        self._district = district
        self._vault = vault
        self._clock = clock
        self._draw = draw

    async def run(self) -> None:
        """Run every lane for ever; a lane's own trouble stops no other."""
        async with asyncio.TaskGroup() as group:
            for running in self._adapters.running():
                group.create_task(self._lane(running), name=f"lane {running.name}")

    async def _lane(self, running: Running) -> None:
        instance = running.instance
        durable = durable_of(instance.name)
        await ensure_consumer(self._bus, DISPATCH, durable, subject=f"dispatch.{instance.name}.>", most_pending=100_000)
        working: set[asyncio.Task[None]] = set()
        try:
            async with PullConsumer(self._bus, DISPATCH, durable, capacity=instance.concurrency) as consumer:
                while True:
                    await self._until_open(running, consumer)
                    delivery = await consumer.next()
                    task = asyncio.create_task(self._one(running, delivery))
                    working.add(task)
                    task.add_done_callback(working.discard)
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _until_open(self, running: Running, consumer: PullConsumer) -> None:
        """Ask for nothing while the adapter is paused or its breaker is open, so that no attempt is spent."""
        while running.pause is not None or running.breaker.wait > 0:
            consumer.pause()
            running.stirred.clear()
            pause = running.breaker.wait if running.pause is None else 15.0
            try:
                async with asyncio.timeout(max(0.05, min(pause, 15.0))):
                    await running.stirred.wait()
            except TimeoutError:
                await self._adapters.try_resume(running)
        consumer.resume()

    async def _one(self, running: Running, delivery: Delivery) -> None:
        """Carry one task out and end its delivery in every case."""
        task = decode_task(delivery.data)
        try:
            with telemetry.span(
                f"process dispatch.{task.adapter}",
                kind="consumer",
                parent=task.traceparent,
                links=(task.traceparent,),
                case=task.case,
                attributes={
                    telemetry.ADAPTER: task.adapter,
                    telemetry.DEPARTMENT: running.manifest.department,
                    "hub.effect": task.effect,
                    telemetry.MESSAGE_ID: task.id,
                    "messaging.delivery_count": delivery.deliveries,
                },
            ):
                if running.pause is not None or not running.breaker.admit():
                    await delivery.retry(max(1.0, running.breaker.wait))
                    return
                await self._carry_out(running, task, delivery)
        except (BusUnavailable, LedgerConflict) as problem:
            log.warning("task comes again", task=task.id, reason=problem.message)
            await self._retry_quietly(delivery, HUB_BUSY_DELAY)
        except HubError as problem:
            # The lifecycle does not want it any more (recalled meanwhile, ended): nothing is owed.
            log.info("task dropped", task=task.id, reason=problem.message)
            await delivery.stop()

    async def _retry_quietly(self, delivery: Delivery, seconds: float) -> None:
        try:
            await delivery.retry(seconds)
        except BusUnavailable:
            delivery.forget()

    async def _carry_out(self, running: Running, task: Task, delivery: Delivery) -> None:
        called = False
        try:
            case = await self._desk.load(task.case)
            if case is None:
                raise NotAllowed("no such case", subject=task.case)
            if task.kind is TaskKind.DELIVER:
                called = True
                await self._deliver(running, task, delivery, case)
            else:
                called = True
                await self._effect(running, task, delivery, case)
        finally:
            if not called:
                running.breaker.undecided()

    async def _deliver(self, running: Running, task: Task, delivery: Delivery, case: Case) -> None:
        assignment = case.assignment(task.assignment or "")
        if assignment is None or not awaits_delivery(assignment):
            running.breaker.undecided()
            await delivery.ack(confirmed=True)
            return
        if self._in_doubt(assignment) and not await self._settle_doubt(running, task, delivery, case, assignment):
            return
        contact = await self._contact(running, case)
        outcome = await self._desk.execute(
            task.case, StartDelivery(assignment=assignment.id), actor=SYSTEM, cause=telemetry.traceparent()
        )
        attempt = _attempt(outcome, assignment.id)
        current = telemetry.current()
        if current is not None:
            current.set(telemetry.ATTEMPT, attempt)
            if attempt > 1:
                current.set(telemetry.RETRY, True)
        handed = assignment_for(outcome.case, outcome.case.assignment(assignment.id) or assignment, self._district(), contact)
        try:
            receipt = await self._with_inner_retries(lambda: running.deliver(handed))
        except HubError as problem:
            await self._failed(running, task, delivery, outcome.case, attempt, problem)
            return
        running.breaker.succeeded()
        await self._delivered(task, delivery, receipt, attempt, "deliver")

    async def _with_inner_retries(self, call: Callable[[], object]) -> Receipt:
        """Seconds-scale retries inside one attempt: only for what was certainly not taken and named no delay."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(lambda e: isinstance(e, Unavailable) and e.retry_after is None),
            stop=stop_after_attempt(INNER_TRIES) | stop_after_delay(INNER_SECONDS),
            wait=wait_random_exponential(multiplier=0.1, max=1.0),
            reraise=True,
        ):
            with attempt:
                return await call()  # type: ignore[misc, no-any-return]
        raise AssertionError("tenacity ended without a result")

    async def _delivered(self, task: Task, delivery: Delivery, receipt: Receipt, attempt: int | None, via: str) -> None:
        await self._desk.execute(
            task.case,
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

    async def _settle_doubt(self, running: Running, task: Task, delivery: Delivery, case: Case, assignment: Assignment) -> bool:
        """Find out whether the department has it; true when it certainly has not, or takes the same key twice without harm."""
        last = assignment.attempts[-1]
        if not running.can(Capability.LOOKUP):
            if running.can(Capability.IDEMPOTENT):
                await self._close_attempt(task, assignment, "interrupted; the department takes the same key once")
                return True
            running.breaker.undecided()
            await self._desk.execute(
                task.case,
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
            receipt = await running.lookup(assignment_for(case, assignment, self._district(), None))
        except HubError as problem:
            await self._failed(running, task, delivery, case, last.number, problem, asking=True)
            return False
        if receipt is not None:
            running.breaker.succeeded()
            await self._delivered(task, delivery, receipt, last.number, "lookup")
            return False
        await self._close_attempt(task, assignment, "the department does not have it")
        return True

    async def _close_attempt(self, task: Task, assignment: Assignment, reason: str) -> None:
        """End an attempt that a crash left open."""
        last = assignment.attempts[-1]
        if last.outcome is AttemptOutcome.STARTED:
            await self._desk.execute(
                task.case,
                RecordFailed(assignment=assignment.id, attempt=last.number, error="interrupted", reason=reason),
                actor=SYSTEM,
                cause=telemetry.traceparent(),
            )

    async def _failed(
        self,
        running: Running,
        task: Task,
        delivery: Delivery,
        case: Case,
        attempt: int,
        problem: HubError,
        *,
        asking: bool = False,
    ) -> None:
        """Commit what became of an attempt (or of asking after one), then end or repeat the task."""
        current = telemetry.current()
        if current is not None:
            current.fail(problem.code)
        disposition = disposition_of(problem)
        assignment = case.assignment(task.assignment or "")
        assert assignment is not None
        reason = problem.message[:500]
        if disposition is Disposition.REFUSE and not asking:
            running.breaker.succeeded()
            await self._desk.execute(
                task.case,
                RecordRefused(assignment=assignment.id, attempt=attempt, reason=reason),
                actor=SYSTEM,
                cause=telemetry.traceparent(),
            )
            await delivery.ack(confirmed=True)
            return
        if disposition is Disposition.PAUSE:
            running.breaker.undecided()
            if not asking:
                await self._record_failed(task, attempt, problem, reason, unknown=False, delay=timedelta(0))
            if isinstance(problem, CredentialsRejected):
                await self._adapters.credentials_rejected(running.name, problem)
            await delivery.retry(5.0)
            return
        if disposition is Disposition.FAULT:
            running.breaker.undecided()
        else:
            running.breaker.failed()
        most = min(running.instance.attempts, FAULT_ATTEMPTS) if disposition is Disposition.FAULT else running.instance.attempts
        tries = max(assignment.tries, 1)
        unknown = disposition in (Disposition.UNKNOWN, Disposition.FAULT) or asking
        delay = self._delay(running.instance, tries, problem)
        exhausted = (tries >= most) if not asking else delivery.deliveries >= most * 2
        if not asking:
            await self._record_failed(task, attempt, problem, reason, unknown=unknown, delay=None if exhausted else delay)
        if exhausted:
            await self._bury(running, task, assignment.id, problem, reason, delivery)
            return
        await delivery.retry(delay.total_seconds())

    def _delay(self, instance: AdapterInstance, tries: int, problem: HubError) -> timedelta:
        delay = backoff(instance, tries, self._draw)
        if isinstance(problem, Unavailable) and problem.retry_after is not None:
            delay = max(delay, problem.retry_after)
        return delay

    async def _record_failed(
        self, task: Task, attempt: int, problem: HubError, reason: str, *, unknown: bool, delay: timedelta | None
    ) -> None:
        await self._desk.execute(
            task.case,
            RecordFailed(
                assignment=task.assignment or "",
                attempt=attempt,
                error=problem.code,
                reason=reason,
                unknown=unknown,
                retry_at=None if delay is None else self._clock() + delay,
            ),
            actor=SYSTEM,
            cause=telemetry.traceparent(),
        )

    async def _bury(
        self, running: Running, task: Task, assignment: str, problem: HubError, reason: str, delivery: Delivery
    ) -> None:
        """Attempts are used up: the dead letter goes into the ledger first, then the task ends."""
        case = await self._desk.load(task.case)
        found = case.assignment(assignment) if case is not None else None
        attempts = found.attempts if found is not None else ()
        letter = DeadLetter(
            event_id=task.id,
            subject=f"dispatch.{task.adapter}.{task.case}",
            attempts=len(attempts),
            first_at=attempts[0].started_at if attempts else self._clock(),
            last_at=self._clock(),
            error=problem.code,
            reason=reason,
            adapter_version=running.manifest.version,
            payload_hash=hashlib.sha256(delivery.data).hexdigest(),
            traceparent=task.traceparent,
        )
        await self._desk.execute(
            task.case, RecordDead(assignment=assignment, letter=letter), actor=SYSTEM, cause=telemetry.traceparent()
        )
        log.error("dead letter", task=task.id, error=problem.code, attempts=len(attempts))
        await delivery.stop()

    async def _contact(self, running: Running, case: Case) -> Contact | None:
        """The reporter's contact for an adapter that asks for it; the access is committed before it is read."""
        if not running.can(Capability.NEEDS_CONTACT) or not case.has_contact or case.contact_erased:
            return None
        await self._desk.execute(
            case.id,
            AccessContact(by=running.name, purpose="dispatch", fields=("name", "phone", "address")),
            actor=SYSTEM,
            cause=telemetry.traceparent(),
        )
        return await self._vault.open(case.id)

    async def _effect(self, running: Running, task: Task, delivery: Delivery, case: Case) -> None:
        """Recall, urge or inform; at-least-once, so the department may hear it twice after a crash."""
        capability = {
            TaskKind.RECALL: Capability.RECALL,
            TaskKind.URGE: Capability.URGE,
            TaskKind.INFORM: Capability.INFORM,
        }[task.kind]
        if not running.can(capability):
            running.breaker.undecided()
            await self._record_effect(
                task, "unsupported", f"the {running.manifest.department} system can't {task.kind.value}", True
            )
            await delivery.ack(confirmed=True)
            return
        try:
            if not await self._do_effect(running, task, case):
                running.breaker.undecided()
                await delivery.ack(confirmed=True)
                return
        except HubError as problem:
            await self._effect_failed(running, task, delivery, problem)
            return
        running.breaker.succeeded()
        await self._record_effect(task, None, None, False)
        await delivery.ack(confirmed=False)

    async def _do_effect(self, running: Running, task: Task, case: Case) -> bool:
        """Do it; false when it is pointless by now."""
        if task.kind is TaskKind.INFORM:
            await running.inform(
                Notice(
                    case=case.id,
                    ref=task.ref or "",
                    stage=task.stage or "",
                    text=task.text or "",
                    at=self._clock().astimezone(self._district().zone),
                )
            )
            return True
        assignment = case.assignment(task.assignment or "")
        if assignment is None:
            return False
        handed = assignment_for(case, assignment, self._district(), None)
        if task.kind is TaskKind.URGE:
            if not assignment.state.open or assignment.ticket is None:
                return False
            await running.urge(handed, task.text or "")
            return True
        if assignment.ticket is None and running.can(Capability.LOOKUP) and await running.lookup(handed) is None:
            return False
        await running.recall(handed, task.text or "")
        return True

    async def _effect_failed(self, running: Running, task: Task, delivery: Delivery, problem: HubError) -> None:
        disposition = disposition_of(problem)
        if disposition is Disposition.PAUSE:
            running.breaker.undecided()
            if isinstance(problem, CredentialsRejected):
                await self._adapters.credentials_rejected(running.name, problem)
            await delivery.retry(5.0)
            return
        if disposition in (Disposition.RETRY, Disposition.UNKNOWN):
            running.breaker.failed()
        elif disposition is Disposition.REFUSE:
            running.breaker.succeeded()
        else:
            running.breaker.undecided()
        # Attempts of an effect are the queue's deliveries; deferrals by a breaker count too, hence the larger number.
        final = disposition is Disposition.REFUSE or delivery.deliveries >= running.instance.attempts * 3
        if final or delivery.deliveries == 1:
            await self._record_effect(task, problem.code, problem.message[:500], final)
        if final:
            log.error("effect given up", task=task.id, error=problem.code)
            await delivery.stop()
        else:
            await delivery.retry(max(0.2, self._delay(running.instance, delivery.deliveries, problem).total_seconds()))

    async def _record_effect(self, task: Task, error: str | None, reason: str | None, final: bool) -> None:
        await self._desk.execute(
            task.case,
            RecordEffect(effect=task.effect, adapter=task.adapter, error=error, reason=reason, final=final),
            actor=SYSTEM,
            command_id=task.id if error is None else None,
            cause=telemetry.traceparent(),
        )


def _attempt(outcome: Outcome, assignment: str) -> int:
    found = outcome.case.assignment(assignment)
    if found is None or not found.attempts:
        raise InvalidInput("no attempt was started", subject=assignment)
    return found.attempts[-1].number


__all__ = ["Dispatch", "backoff", "durable_of"]
