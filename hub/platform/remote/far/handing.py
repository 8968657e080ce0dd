"""Carries out orders beside the department's system. The journal stands in the ledger's place.

The rules are those of an adapter in the hub (`hub.spine.dispatch.carrying_out`). This module gives them their store and their answers.
Called by the runner, one order of a key at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec
import structlog

from hub.contract import AdapterInstance, Assignment, Capability, Contact, Notice
from hub.errors import HubError
from hub.model.effects import Verb
from hub.platform.remote import messages
from hub.platform.remote.far.journal import ENDED, IN_DOUBT, Journal, Row, State
from hub.platform.remote.far.saying import Saying
from hub.platform.remote.messages import AnswerName, Deliver, Inform, Tell
from hub.platform.remote.protocol import Event
from hub.privacy.marks import known_here
from hub.privacy.masks import hider
from hub.spine.departments import DepartmentHere
from hub.spine.dispatch.carrying_out import CarryingOut, Delivery, FailedCall
from hub.spine.dispatch.follow_up import NextStep

log = structlog.get_logger("hub.remote")

MOST_KNOWN = 1000
"""The most recent assignments whose reporters the log masks."""


def nowhere(step: str) -> None:
    """Nothing happens at a step."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What orders are carried out with. `contact` asks the hub; `step` hears of every point at which a kill could hurt."""

    journal: Journal
    saying: Saying
    contact: Callable[[str], Awaitable[Contact | None]]
    clock: Callable[[], datetime]
    step: Callable[[str], None] = nowhere


class Handing:
    """Carries orders out. `shut_out` pauses the instance."""

    def __init__(
        self, beside: Beside, *, shut_out: Callable[[str, HubError], Awaitable[None]], draw: Callable[[], float]
    ) -> None:
        self._beside = beside
        self._carrying_out = CarryingOut(shut_out=shut_out, draw=draw)
        self._known: OrderedDict[str, Callable[[str], str]] = OrderedDict()
        """By key of the assignment, what masks its reporter: keyed hashes, which open no contact."""

    async def carry_out(self, department: DepartmentHere, event: Event, delivery: Delivery) -> None:
        """Carry one order out as far as it goes now; ends or repeats the queue's delivery."""
        data = event.data
        hide = None if isinstance(data, Inform) else self._known.get(data.key)
        with ExitStack() as stack:
            # The plugin's logs and errors may repeat data of this order or of an earlier one.
            stack.enter_context(known_here(*(() if hide is None else (hide,))))
            if isinstance(data, Deliver):
                known = lambda person: stack.enter_context(known_here(self._knowing(data.key, person)))  # noqa: E731
                await self._deliver(department, event, data, delivery, known)
                self._beside.step("acknowledged")
            elif await self._beside.journal.effect_done(event.id):
                department.breaker.undecided()
                await delivery.ack(confirmed=True)
            else:
                await self._carrying_out.tell(department, _JournalTelling(self._beside, event), delivery)

    async def _deliver(
        self,
        department: DepartmentHere,
        event: Event,
        data: Deliver,
        delivery: Delivery,
        known: Callable[[Contact | None], object],
    ) -> None:
        row = await self._beside.journal.row(data.key)
        mine = row is not None and row.order == event.id
        if row is not None and (row.state is State.RECALLED or (mine and row.state in ENDED)):
            department.breaker.undecided()
            await delivery.ack(confirmed=True)
            return
        filed = row is not None and row.state is State.FILED and not department.can(Capability.IDEMPOTENT)
        if row is None:
            # Begun by somebody who kept another journal: the department may have it.
            doubt = data.attempt > 1 and department.can(Capability.LOOKUP)
            state = State.UNKNOWN if doubt else State.FAILED
            row = Row(
                key=data.key, order=event.id, attempt=data.attempt - 1, tries=0, state=state, first_at=self._beside.clock()
            )
        elif not mine:
            row = replace(row, order=event.id, tries=0, first_at=self._beside.clock())
        attempts = _JournalAttempts(self._beside, department, data, row, known)
        if filed and not mine:
            department.breaker.undecided()
            await attempts.filed(row.ticket or "", "lookup")
            await delivery.ack(confirmed=True)
            return
        await self._carrying_out.deliver(department, attempts, delivery)

    def _knowing(self, key: str, person: Contact | None) -> Callable[[str], str]:
        """What masks a reporter, kept for later orders about the same assignment."""
        hide = hider(person)
        if person is not None:
            self._known[key] = hide
            self._known.move_to_end(key)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return hide


class _JournalAttempts:
    """The attempts at one assignment, in the journal. `known` hears of the reporter that is handed over."""

    def __init__(
        self,
        beside: Beside,
        department: DepartmentHere,
        data: Deliver,
        row: Row,
        known: Callable[[Contact | None], object],
    ) -> None:
        self._beside = beside
        self._department = department
        self._data = data
        self._row = row
        self._known = known

    @property
    def assignment(self) -> Assignment:
        return Assignment.of(self._data)

    @property
    def patience(self) -> AdapterInstance:
        backoff = self._data.backoff
        return replace(
            self._department.instance,
            attempts=self._data.attempts,
            backoff_base=timedelta(seconds=backoff.base),
            backoff_cap=timedelta(seconds=backoff.cap),
            schedule=tuple(timedelta(seconds=step) for step in backoff.schedule),
        )

    @property
    def in_doubt(self) -> bool:
        return self._row.state in IN_DOUBT

    @property
    def tries(self) -> int:
        return self._row.tries

    async def begin(self) -> Assignment:
        data, person = self._data, None
        if data.contact_available and self._department.can(Capability.NEEDS_CONTACT):
            person = await self._beside.contact(data.key)
        self._known(person)
        row = self._row
        row = replace(row, attempt=max(data.attempt, row.attempt + 1), tries=row.tries + 1, state=State.BEGUN, ticket=None)
        begun = messages.Started(key=data.key, attempt=row.attempt)
        await self._keep(row, *([(AnswerName.STARTED, begun)] if row.attempt > data.attempt else []))
        self._beside.step("begun")
        return Assignment.of(data, contact=person)

    async def filed(self, ticket: str, via: str) -> None:
        if via == "deliver":
            self._beside.step("handed over")
        attempt = max(self._row.attempt, self._data.attempt)
        filed = messages.Filed(key=self._row.key, ticket=ticket, attempt=attempt, via=via)
        await self._keep(replace(self._row, state=State.FILED, ticket=ticket), (AnswerName.RECEIPT, filed))
        self._beside.step("filed")

    async def not_there(self, reason: str) -> None:
        row = replace(self._row, state=State.FAILED)
        if self._row.state is State.BEGUN:
            ended = messages.Failure(key=row.key, attempt=row.attempt, error="interrupted", reason=reason)
            await self._keep(row, (AnswerName.FAILED, ended))
        self._row = row

    async def uncertain(self, reason: str) -> None:
        doubt = messages.Doubt(key=self._row.key, attempt=self._row.attempt, reason=reason)
        await self._keep(replace(self._row, state=State.UNCERTAIN), (AnswerName.UNCERTAIN, doubt))

    async def failed(self, failure: FailedCall, *, asking: bool) -> None:
        then, row, now = failure.then, self._row, self._beside.clock()
        error, reason, status = failure.problem.code, failure.reason, failure.status
        if then.next is NextStep.REFUSED:
            refusal = messages.Refusal(key=row.key, attempt=row.attempt, reason=reason, status=status)
            await self._keep(replace(row, state=State.REFUSED), (AnswerName.REFUSED, refusal))
            return
        reports: list[tuple[AnswerName, msgspec.Struct]] = []
        if not asking:
            ended = messages.Failure(
                key=row.key,
                attempt=row.attempt,
                error=error,
                reason=reason,
                unknown=then.unknown,
                retry_at=failure.retry_at(now),
                status=status,
            )
            reports.append((AnswerName.FAILED, ended))
            spent = row.tries - 1 if then.next is NextStep.SHUT_OUT else row.tries
            row = replace(row, state=State.UNKNOWN if then.unknown else State.FAILED, tries=spent)
        if then.next is NextStep.GIVEN_UP:
            row = replace(row, state=State.DEAD)
            buried = messages.Buried(
                key=row.key,
                order=row.order,
                attempts=max(row.attempt, 1),
                first_at=row.first_at,
                last_at=now,
                error=error,
                reason=reason,
                version=self._department.manifest.version,
            )
            reports.append((AnswerName.DEAD, buried))
            log.error("dead letter", order=row.order, error=error, attempts=row.attempt)
        if reports:
            await self._keep(row, *reports)
        self._beside.step("failed")

    async def _keep(self, row: Row, *reports: tuple[AnswerName, msgspec.Struct]) -> None:
        self._row = row
        outs = [self._beside.saying.out(kind, f"{row.order}#{row.attempt}", data, subject=row.key) for kind, data in reports]
        await self._beside.journal.keep(row, outs)


class _JournalTelling:
    """Everything else for a department or a source. At least once: after a kill it may hear the same twice."""

    def __init__(self, beside: Beside, event: Event) -> None:
        self._beside = beside
        self._event = event

    @property
    def verb(self) -> Verb:
        return Verb(self._event.kind)

    async def say(self, department: DepartmentHere) -> bool:
        data: Inform | Tell = self._event.data
        if isinstance(data, Inform):
            await department.tell(self.verb, Notice.of(data))
            return True
        row = await self._beside.journal.row(data.key)
        handed = Assignment.of(data, ticket=data.ticket or (row.ticket if row is not None else None))
        if self.verb is Verb.RECALL:
            await self._recall(department, data, row, handed)
        elif handed.ticket is None:
            return False
        else:
            await department.tell(self.verb, handed, data.message)
        return True

    async def _recall(self, department: DepartmentHere, data: Tell, row: Row | None, handed: Assignment) -> None:
        """Take back whatever the department has or may have. Does nothing when it certainly has nothing."""
        may_have = handed.ticket is not None or (row is not None and row.state in (*IN_DOUBT, State.UNCERTAIN, State.DEAD))
        if handed.ticket is None and (may_have or row is None) and department.can(Capability.LOOKUP):
            found = await department.lookup(handed)
            may_have = found is not None
            handed = Assignment.of(data, ticket=found.ticket if found is not None else None)
        if may_have:
            await department.tell(Verb.RECALL, handed, data.message)
        if row is None:
            row = Row(key=data.key, order="", attempt=0, tries=0, state=State.RECALLED, first_at=self._beside.clock())
        await self._beside.journal.keep(replace(row, state=State.RECALLED, ticket=handed.ticket))

    async def record(self, error: str | None, reason: str | None, *, final: bool) -> None:
        if error is None:
            self._beside.step("effect done")
        data = self._event.data
        told = messages.Effect(case=data.case, effect=data.effect, error=error, reason=reason, final=final)
        how = "done" if error is None else "given up" if final else "failed"
        out = self._beside.saying.out(AnswerName.EFFECT, f"{self._event.id}#{how}", told)
        if error is None or final:
            await self._beside.journal.end_effect(self._event.id, [out])
        else:
            await self._beside.journal.post([out])
