"""Orders carried out at the department's system, beside it: attempts, doubt, failures, dead letters, effects.

The same rules as for an adapter in the hub (hub/spine/dispatch/handing.py), with the journal in the ledger's place: intent is kept before
anything is sent; what may have arrived is asked about by key and never sent blindly. Called by the runner, one order of a key at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
import structlog

from hub.contract import AdapterInstance, Assignment, Capability, Contact, Notice
from hub.errors import DeliveryError, HubError
from hub.observing.logs import redact_text
from hub.platform.adapters.running import Running
from hub.platform.remote import messages
from hub.platform.remote.far.journal import ENDED, IN_DOUBT, Journal, Out, Row, State
from hub.platform.remote.far.saying import Saying
from hub.platform.remote.messages import Deliver, Inform, Recall, ReportName, Urge
from hub.platform.remote.protocol import Event
from hub.privacy.marks import known_here
from hub.privacy.masks import hider
from hub.spine.dispatch.follow_up import Doing, NextStep, follow_up, within_attempt

log = structlog.get_logger("hub.remote")

MOST_KNOWN = 1000
"""Assignments whose reporter is looked out for in the log, those handed over last."""


class Delivery(Protocol):
    """The part of a queue's message that is used."""

    @property
    def deliveries(self) -> int:
        """How often it was given out."""
        ...

    async def ack(self, *, confirmed: bool = False) -> None:
        """Done."""
        ...

    async def retry(self, delay: float) -> None:
        """Again after so many seconds."""
        ...


def nowhere(step: str) -> None:
    """Nothing happens at a step."""


class Handing:
    """Carries orders out.

    `contact` asks the hub; `shut_out` pauses the instance; `step` is told of every point at which a kill could hurt (tests kill there).
    """

    def __init__(
        self,
        journal: Journal,
        saying: Saying,
        *,
        contact: Callable[[str], Awaitable[Contact | None]],
        shut_out: Callable[[HubError], None],
        clock: Callable[[], datetime],
        draw: Callable[[], float],
        step: Callable[[str], None] = nowhere,
    ) -> None:
        self._journal = journal
        self._saying = saying
        self._contact = contact
        self._shut_out = shut_out
        self._clock = clock
        self._draw = draw
        self._step = step
        self._known: OrderedDict[str, Callable[[str], str]] = OrderedDict()
        """By key of the assignment, what masks its reporter: keyed hashes, which open no contact."""

    async def carry_out(self, running: Running, event: Event, delivery: Delivery) -> None:
        """Carry one order out as far as it goes now; ends or repeats the queue's delivery."""
        data = event.data
        hide = None if isinstance(data, Inform) else self._known.get(data.key)
        with known_here(*(() if hide is None else (hide,))):  # the plugin may remember what it was given
            if isinstance(data, Deliver):
                await self._deliver(running, event, data, delivery)
            else:
                await self._effect(running, event, delivery)

    # --- deliveries ---

    async def _deliver(self, running: Running, event: Event, data: Deliver, delivery: Delivery) -> None:
        row = await self._journal.row(data.key)
        if row is not None and (row.state is State.RECALLED or (row.order == event.id and row.state in ENDED)):
            await delivery.ack(confirmed=True)
            return
        again = row is not None and row.order == event.id
        if row is None:
            row = Row(
                key=data.key, order=event.id, attempt=data.attempt - 1, tries=0, state=State.FAILED, first_at=self._clock()
            )
            if data.attempt > 1 and running.can(Capability.LOOKUP):  # begun by somebody who kept another journal
                row = replace(row, state=State.UNKNOWN)
        elif not again:
            if row.state is State.FILED and not running.can(Capability.IDEMPOTENT):
                await self._filed(replace(row, order=event.id), row.ticket or "", data.attempt, "lookup", delivery)
                return
            row = replace(row, order=event.id, tries=0, first_at=self._clock())
        if row.state in IN_DOUBT:
            settled = await self._settle_doubt(running, data, row, delivery)
            if settled is None:
                return
            row = settled
        person: Contact | None = None
        if data.contact_available and running.can(Capability.NEEDS_CONTACT):
            person = await self._contact(data.key)
        with known_here(self._knowing(data.key, person)):  # what the plugin logs or throws may repeat what it is given
            await self._hand_over(running, data, row, delivery, person)

    async def _hand_over(self, running: Running, data: Deliver, row: Row, delivery: Delivery, person: Contact | None) -> None:
        attempt = max(data.attempt, row.attempt + 1)
        row = replace(row, attempt=attempt, tries=row.tries + 1, state=State.BEGUN, ticket=None)
        begun = messages.Started(key=data.key, attempt=attempt)
        await self._journal.keep(row, [self._out(row, ReportName.STARTED, begun)] if attempt > data.attempt else [])
        self._step("begun")
        try:
            receipt = await within_attempt(lambda: running.deliver(data.assignment(person)))
        except HubError as problem:
            await self._failed(running, data, row, delivery, problem)
            return
        running.breaker.succeeded()
        self._step("handed over")
        await self._filed(row, receipt.ticket, attempt, "deliver", delivery)

    def _knowing(self, key: str, person: Contact | None) -> Callable[[str], str]:
        """What masks a reporter, kept for later orders about the same assignment."""
        hide = hider(person)
        if person is not None:
            self._known[key] = hide
            self._known.move_to_end(key)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return hide

    async def _filed(self, row: Row, ticket: str, attempt: int | None, via: str, delivery: Delivery) -> None:
        data = messages.Filed(key=row.key, ticket=ticket, attempt=attempt, via=via)
        await self._journal.keep(replace(row, state=State.FILED, ticket=ticket), [self._out(row, ReportName.RECEIPT, data)])
        self._step("filed")
        await delivery.ack(confirmed=True)
        self._step("acknowledged")

    async def _settle_doubt(self, running: Running, data: Deliver, row: Row, delivery: Delivery) -> Row | None:
        """Find out whether the department has it: the row to go on with when it certainly has not, or takes the same key once; else
        None, all said and done."""
        reason = "interrupted; the department takes the same key once"
        if running.can(Capability.LOOKUP):
            try:
                receipt = await running.lookup(data.assignment())
            except HubError as problem:
                await self._failed(running, data, row, delivery, problem, asking=True)
                return None
            if receipt is not None:
                running.breaker.succeeded()
                await self._filed(row, receipt.ticket, max(row.attempt, data.attempt), "lookup", delivery)
                return None
            reason = "the department does not have it"
        elif not running.can(Capability.IDEMPOTENT):
            running.breaker.undecided()
            doubt = messages.Doubt(
                key=row.key, attempt=row.attempt, reason="the outcome is unknown and the department can't be asked"
            )
            await self._journal.keep(replace(row, state=State.UNCERTAIN), [self._out(row, ReportName.UNCERTAIN, doubt)])
            await delivery.ack(confirmed=True)
            return None
        if row.state is State.BEGUN:
            ended = messages.Failure(key=row.key, attempt=row.attempt, error="interrupted", reason=reason)
            await self._journal.keep(replace(row, state=State.FAILED), [self._out(row, ReportName.FAILED, ended)])
        return replace(row, state=State.FAILED)

    async def _failed(
        self, running: Running, data: Deliver, row: Row, delivery: Delivery, problem: HubError, *, asking: bool = False
    ) -> None:
        """Keep and say what became of an attempt (or of asking after one), then end or repeat the order."""
        doing, tries = (Doing.ASK, delivery.deliveries) if asking else (Doing.DELIVER, max(row.tries, 1))
        then = follow_up(problem, _patience(running.instance, data), doing=doing, tries=tries, draw=self._draw)
        then.tell(running.breaker)
        reason = redact_text(problem.message)[:500]
        status = problem.status if isinstance(problem, DeliveryError) else None
        if then.next is NextStep.REFUSED:
            refusal = messages.Refusal(key=row.key, attempt=row.attempt, reason=reason, status=status)
            await self._journal.keep(replace(row, state=State.REFUSED), [self._out(row, ReportName.REFUSED, refusal)])
            await delivery.ack(confirmed=True)
            return
        failure = messages.Failure(
            key=row.key, attempt=row.attempt, error=problem.code, reason=reason, status=status, retry_at=self._clock()
        )
        if then.next is NextStep.SHUT_OUT:
            if not asking:
                row = replace(row, state=State.FAILED, tries=row.tries - 1)
                await self._journal.keep(row, [self._out(row, ReportName.FAILED, failure)])
            self._shut_out(problem)
            await delivery.retry(then.delay.total_seconds())
            return
        exhausted = then.next is NextStep.GIVEN_UP
        row = replace(row, state=State.UNKNOWN if then.unknown else State.FAILED)
        reports = []
        if not asking:
            retry_at = None if exhausted else self._clock() + then.delay
            failure = msgspec.structs.replace(failure, unknown=then.unknown, retry_at=retry_at)
            reports.append(self._out(row, ReportName.FAILED, failure))
        if exhausted:
            row = replace(row, state=State.DEAD)
            buried = messages.Buried(
                key=row.key,
                order=row.order,
                attempts=max(row.attempt, 1),
                first_at=row.first_at,
                last_at=self._clock(),
                error=problem.code,
                reason=reason,
                version=running.manifest.version,
            )
            reports.append(self._out(row, ReportName.DEAD, buried))
        if not asking or exhausted:
            await self._journal.keep(row, reports)
        self._step("failed")
        if exhausted:
            log.error("dead letter", order=row.order, error=problem.code, attempts=row.attempt)
            await delivery.ack(confirmed=True)
        else:
            await delivery.retry(then.delay.total_seconds())

    def _out(self, row: Row, kind: ReportName, data: msgspec.Struct) -> Out:
        return self._saying.out(kind, f"{row.order}#{row.attempt}", data, subject=row.key)

    # --- effects ---

    async def _effect(self, running: Running, event: Event, delivery: Delivery) -> None:
        """Recall, urge or inform; at least once, so the department may hear it twice after a kill."""
        if await self._journal.effect_done(event.id):
            running.breaker.undecided()
            await delivery.ack(confirmed=True)
            return
        data = event.data
        case, effect = data.case, data.effect
        wanted = Capability(event.kind)
        reports: list[Out] = []
        if not running.can(wanted):
            running.breaker.undecided()
            text = f"the {running.manifest.department} system can't {event.kind}"
            failed = messages.Effect(case=case, effect=effect, error="unsupported", reason=text, final=True)
            reports.append(self._saying.out(ReportName.EFFECT, f"{event.id}#unsupported", failed))
        else:
            try:
                done = await self._do_effect(running, data)
            except HubError as problem:
                await self._effect_failed(running, event, delivery, problem)
                return
            running.breaker.succeeded()
            if done:
                told = messages.Effect(case=case, effect=effect)
                reports.append(self._saying.out(ReportName.EFFECT, f"{event.id}#done", told))
        self._step("effect done")
        await self._journal.end_effect(event.id, reports)
        await delivery.ack(confirmed=True)

    async def _do_effect(self, running: Running, data: Recall | Urge | Inform) -> bool:
        """Do it; false when it is pointless by now."""
        if isinstance(data, Inform):
            await running.inform(Notice(case=data.case, ref=data.ref, stage=data.stage, text=data.text, at=data.at))
            return True
        row = await self._journal.row(data.key)
        ticket = data.ticket or (row.ticket if row is not None else None)
        if isinstance(data, Urge):
            if ticket is None:
                return False
            await running.urge(replace(data.assignment(), ticket=ticket), data.message)
            return True
        await self._recall(running, data, row, ticket)
        return True

    async def _recall(self, running: Running, data: Recall, row: Row | None, ticket: str | None) -> None:
        """Take back what the department has or may have; nothing to do when it certainly has nothing."""
        handed: Assignment = replace(data.assignment(), ticket=ticket)
        may_have = ticket is not None or (row is not None and row.state in (*IN_DOUBT, State.UNCERTAIN, State.DEAD))
        if ticket is None and (may_have or row is None) and running.can(Capability.LOOKUP):
            found = await running.lookup(handed)
            may_have = found is not None
            handed = replace(handed, ticket=found.ticket if found is not None else None)
        if may_have:
            await running.recall(handed, data.reason)
        ended = Row(
            key=data.key,
            order=row.order if row is not None else "",
            attempt=row.attempt if row is not None else 0,
            tries=row.tries if row is not None else 0,
            state=State.RECALLED,
            first_at=row.first_at if row is not None else self._clock(),
            ticket=handed.ticket,
        )
        await self._journal.keep(ended)

    async def _effect_failed(self, running: Running, event: Event, delivery: Delivery, problem: HubError) -> None:
        tries = delivery.deliveries
        then = follow_up(problem, running.instance, doing=Doing.EFFECT, tries=tries, draw=self._draw)
        then.tell(running.breaker)
        if then.next is NextStep.SHUT_OUT:
            self._shut_out(problem)
            await delivery.retry(then.delay.total_seconds())
            return
        final = then.next is NextStep.GIVEN_UP
        data = event.data
        failed = messages.Effect(
            case=data.case, effect=data.effect, error=problem.code, reason=redact_text(problem.message)[:500], final=final
        )
        out = self._saying.out(ReportName.EFFECT, f"{event.id}#{'given up' if final else 'failed'}", failed)
        if final:
            await self._journal.end_effect(event.id, [out])
            await delivery.ack(confirmed=True)
            return
        if tries == 1:
            await self._journal.post([out])
        await delivery.retry(then.delay.total_seconds())


def _patience(instance: AdapterInstance, data: Deliver) -> AdapterInstance:
    """The instance as patient as the order says."""
    return replace(
        instance,
        attempts=data.attempts,
        backoff_base=timedelta(seconds=data.backoff.base),
        backoff_cap=timedelta(seconds=data.backoff.cap),
        schedule=tuple(timedelta(seconds=step) for step in data.backoff.schedule),
    )
