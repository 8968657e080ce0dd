"""Reconciliation 对账: each night the hub compares, adapter by adapter, the state of its assignments with the department's.

Owns the runs (`runs.<adapter>` in the bucket RECONCILIATION) and their schedules in TIMERS: at 02:00 district time, spread over half an
hour. A crashed run comes again; a finished one is never repeated. `Auditing` does the work of a run. Started by the composition root; asked
by the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

import msgspec
import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import TIMERS, ensure_consumer
from hub.bus.timers import AUDIT_DUE, audit_due_now, audit_waits, set_audit
from hub.errors import BusUnavailable, HubError, InvalidInput, Unavailable
from hub.observing import telemetry
from hub.platform.upkeep.auditing import Auditing, ended
from hub.platform.upkeep.comparison import Behind
from hub.platform.upkeep.run_log import Run, RunLog, RunState
from hub.privacy.masks import mask_text
from hub.spine.ledger.desk import utc_now

if TYPE_CHECKING:
    from hub.model.policy.district import District
    from hub.platform.adapters import Adapters

log = structlog.get_logger("hub.reconciliation")

DURABLE = "reconciliation"
AT = time(2, 0)
"""When the night's runs begin, district time."""
SPREAD = timedelta(minutes=30)
AGAIN_AFTER = 600.0
"""Seconds after which a nightly run is tried again when the department can't be asked."""
MOST_TRIES = 4


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A due run. `by`: who asked for it. A `nightly` one sets the next night's."""

    adapter: str
    run: str
    by: str = "hub"
    nightly: bool = True


class Reconciliation:
    """Has every adapter audited each night, and when somebody asks."""

    def __init__(
        self,
        bus: Bus,
        adapters: Adapters,
        audit: Auditing,
        runs: RunLog,
        district: Callable[[], District],
        *,
        clock: Callable[[], datetime] = utc_now,
        again_after: float = AGAIN_AFTER,
    ) -> None:
        self._bus = bus
        self._adapters = adapters
        self._audit = audit
        self._runs = runs
        self._district = district
        self._clock = clock
        self._again_after = again_after
        self._alone: dict[str, asyncio.Lock] = {}

    async def run(self) -> None:
        """Keep every adapter's nightly run scheduled, and do the due ones, for ever."""
        await ensure_consumer(self._bus, TIMERS, DURABLE, subject=f"{AUDIT_DUE}>", most_pending=1000)
        async with PullConsumer(self._bus, TIMERS, DURABLE, capacity=4) as consumer, asyncio.TaskGroup() as group:
            group.create_task(self._keep_set(), name="reconciliation schedule")
            while True:
                raise_if_cancelled()
                group.create_task(self._due(await consumer.next()))

    async def ask(self, adapter: str, by: str) -> str:
        """Order a run for now; any process may take it. Returns its name. Raises NotAllowed, InvalidInput, BusUnavailable."""
        self._adapters.get(adapter)
        if not self._audit.auditors(adapter):
            raise InvalidInput("this adapter can list neither its tickets nor its categories here", subject="adapter")
        run = f"asked-{secrets.token_hex(6)}"
        await self._runs.put(Run(run=run, adapter=adapter, by=by, state=RunState.ASKED, asked_at=self._clock()))
        await audit_due_now(self._bus, adapter, run, msgspec.json.encode(Due(adapter=adapter, run=run, by=by, nightly=False)))
        return run

    async def runs(self, adapter: str) -> list[Run]:
        """The last runs, latest first. Raises NotAllowed."""
        self._adapters.record(adapter)
        return await self._runs.of(adapter)

    def next_at(self, adapter: str) -> datetime | None:
        """Time of the adapter's next nightly run, the same minute every night. None when it can't be asked here."""
        return next_night(adapter, self._clock(), self._district()) if self._audit.auditors(adapter) else None

    async def _keep_set(self) -> None:
        async for _ in self._adapters.changes():
            raise_if_cancelled()
            for name in self._adapters.names():
                if self._audit.auditors(name) and not await audit_waits(self._bus, name):
                    await self._set_next(name)

    async def _set_next(self, adapter: str) -> None:
        at = next_night(adapter, self._clock(), self._district())
        run = f"{at.astimezone(self._district().zone):%Y-%m-%d}"
        await set_audit(self._bus, adapter, run, at, msgspec.json.encode(Due(adapter=adapter, run=run)))

    async def _due(self, delivery: Delivery) -> None:
        async with delivery.handling():
            try:
                due = msgspec.json.decode(delivery.data, type=Due)
            except msgspec.DecodeError:
                log.error("not a run", subject=delivery.subject)
                await delivery.stop()
                return
            try:
                async with self._alone.setdefault(due.adapter, asyncio.Lock()):
                    again = await self._once(due, delivery.deliveries)
            except asyncio.CancelledError:
                with contextlib.suppress(BusUnavailable):  # else it comes again after the acknowledgement wait
                    await delivery.retry(0.1)
                raise
            if again:
                await delivery.retry(self._again_after)
                return
            if due.nightly and self._audit.auditors(due.adapter):
                await self._set_next(due.adapter)
            await delivery.ack(confirmed=True)

    async def _once(self, due: Due, attempt: int) -> bool:
        """Do a run unless it was done before; True: the department could not be asked, later again."""
        known = await self._runs.get(due.adapter, due.run)
        if known is not None and known.state.ended:
            return False
        began = self._clock()
        run = Run(
            run=due.run,
            adapter=due.adapter,
            by=due.by,
            state=RunState.RUNNING,
            asked_at=known.asked_at if known is not None else began,
            began_at=began,
            attempts=attempt,
        )
        await self._runs.put(run)
        reason = self._audit.why_not(due.adapter)
        if reason is not None:
            await self._runs.put(ended(run, self._clock(), state=RunState.SKIPPED, reason=reason))
            return False
        with telemetry.span("reconcile", root=True, attributes={telemetry.ADAPTER: due.adapter}):
            try:
                done = await self._audit.compare(run)
            except (Unavailable, Behind) as problem:
                later = due.nightly and attempt < MOST_TRIES
                state = RunState.WAITING if later else RunState.FAILED
                await self._runs.put(ended(run, self._clock(), state=state, reason=mask_text(problem.message)))
                log.warning("reconciliation not done", adapter=due.adapter, run=due.run, again=later, reason=problem.message)
                return later
            except BusUnavailable:
                raise
            except HubError as problem:
                await self._runs.put(ended(run, self._clock(), state=RunState.FAILED, reason=mask_text(problem.message)))
                log.error("reconciliation failed", adapter=due.adapter, run=due.run, reason=problem.message)
                return False
        await self._runs.put(done)
        log.info("reconciled", adapter=due.adapter, run=due.run, theirs=done.theirs, ours=done.ours, found=done.found)
        return False


def next_night(adapter: str, now: datetime, district: District) -> datetime:
    """The adapter's next nightly time after `now`: AT district time, later by a part of SPREAD that its name decides."""
    part = int(hashlib.sha256(adapter.encode()).hexdigest()[:8], 16) % int(SPREAD.total_seconds())
    today = now.astimezone(district.zone).date()
    for days in range(3):
        at = datetime.combine(today + timedelta(days=days), AT, district.zone) + timedelta(seconds=part)
        if at > now:
            return at.astimezone(UTC)
    raise AssertionError("no night within three days")
