"""Reconciliation 对账: each night the hub compares, adapter by adapter, how its assignments stand with what the department says.

Owns the runs (`runs.<adapter>` in the bucket RECONCILIATION) and their schedules in TIMERS: at 02:00 district time, spread over half an
hour; a run that crashed comes again, one that is done is never done twice. Each disagreement is one repair, and what no longer disagrees
is resolved by the next run. Changes no case by itself. Started by the composition root; asked by the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from hub.bus.buckets import Bucket
from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import TIMERS, ensure_consumer
from hub.bus.timers import AUDIT_DUE, audit_due_now, audit_waits, set_audit
from hub.contract import Capability, Report, ReportKind
from hub.errors import BusUnavailable, HubError, InvalidInput, NotAllowed, Unavailable
from hub.model.assignments.state import parse_delivery_key
from hub.observing import telemetry
from hub.platform.upkeep.comparison import Auditor, Behind, Comparison, Pass
from hub.platform.upkeep.disagreements import FIXES, HANDED_OVER, repair_of
from hub.platform.upkeep.repairs import RepairItem, RepairKind, Repairs
from hub.platform.upkeep.run_log import Run, RunLog, RunState
from hub.privacy.masks import mask_text
from hub.spine.ledger.desk import utc_now

if TYPE_CHECKING:
    from hub.model.policy.district import District
    from hub.platform.adapters import Adapters
    from hub.platform.upkeep.catalogues import Catalogues
    from hub.spine.ledger.store import Ledger
    from hub.views import Views

log = structlog.get_logger("hub.reconciliation")

DURABLE = "reconciliation"
AT = time(2, 0)
"""When the night's runs begin, district time."""
SPREAD = timedelta(minutes=30)
ENDED_WITHIN = timedelta(days=30)
"""How far back ended assignments are compared."""
GRACE = timedelta(seconds=60)
"""Between the two passes: what is under way on either side arrives meanwhile."""
AGAIN_AFTER = 600.0
"""Seconds after which a nightly run is tried again when the department can't be asked."""
MOST_TRIES = 4
GONE = "最近一次对账双方已一致"


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is due. `by`: who asked for it; `nightly` ones set the next night's."""

    adapter: str
    run: str
    by: str = "hub"
    nightly: bool = True


class Reconciliation:
    """Compares the two sides. `take` is report-back's way in, for a fix that an operator asks for."""

    def __init__(
        self,
        bus: Bus,
        adapters: Adapters,
        ledger: Ledger,
        views: Views,
        repairs: Repairs,
        catalogues: Catalogues,
        bucket: Bucket,
        district: Callable[[], District],
        take: Callable[[str, Report], Awaitable[object]],
        *,
        clock: Callable[[], datetime] = utc_now,
        grace: timedelta = GRACE,
        ended_within: timedelta = ENDED_WITHIN,
        again_after: float = AGAIN_AFTER,
    ) -> None:
        self._bus = bus
        self._adapters = adapters
        self._comparison = Comparison(adapters.names, ledger, views, clock=clock, grace=grace, ended_within=ended_within)
        self._repairs = repairs
        self._catalogues = catalogues
        self._runs = RunLog(bucket)
        self._district = district
        self._take = take
        self._clock = clock
        self._again_after = again_after
        self._alone: dict[str, asyncio.Lock] = {}

    # --- when ---

    async def run(self) -> None:
        """Keep every adapter's nightly run set, and do what is due, for ever."""
        await ensure_consumer(self._bus, TIMERS, DURABLE, subject=f"{AUDIT_DUE}>", most_pending=1000)
        async with PullConsumer(self._bus, TIMERS, DURABLE, capacity=4) as consumer, asyncio.TaskGroup() as group:
            group.create_task(self._keep_set(), name="reconciliation schedule")
            while True:
                raise_if_cancelled()
                group.create_task(self._due(await consumer.next()))

    async def ask(self, adapter: str, by: str) -> str:
        """Have a run done now, by whichever process takes it; returns its name. Raises NotAllowed, InvalidInput, BusUnavailable."""
        self._adapters.get(adapter)
        if not self._auditors(adapter):
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
        """When the adapter's next nightly run is, the same minute every night; None when it can't be asked here."""
        return next_night(adapter, self._clock(), self._district()) if self._auditors(adapter) else None

    async def _keep_set(self) -> None:
        async for _ in self._adapters.changes():
            raise_if_cancelled()
            for name in self._adapters.names():
                if self._auditors(name) and not await audit_waits(self._bus, name):
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
            if due.nightly and self._auditors(due.adapter):
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
        reason = self._why_not(due.adapter)
        if reason is not None:
            await self._runs.put(_ended(run, self._clock(), state=RunState.SKIPPED, reason=reason))
            return False
        with telemetry.span("reconcile", root=True, attributes={telemetry.ADAPTER: due.adapter}):
            try:
                done = await self._compare(run)
            except (Unavailable, Behind) as problem:
                later = due.nightly and attempt < MOST_TRIES
                state = RunState.WAITING if later else RunState.FAILED
                await self._runs.put(_ended(run, self._clock(), state=state, reason=mask_text(problem.message)))
                log.warning("reconciliation not done", adapter=due.adapter, run=due.run, again=later, reason=problem.message)
                return later
            except BusUnavailable:
                raise
            except HubError as problem:
                await self._runs.put(_ended(run, self._clock(), state=RunState.FAILED, reason=mask_text(problem.message)))
                log.error("reconciliation failed", adapter=due.adapter, run=due.run, reason=problem.message)
                return False
        await self._runs.put(done)
        log.info("reconciled", adapter=due.adapter, run=due.run, theirs=done.theirs, ours=done.ours, found=done.found)
        return False

    def _why_not(self, adapter: str) -> str | None:
        """Why an instance can't be asked at all, in Chinese; None when it can."""
        try:
            pause = self._adapters.get(adapter).pause
        except NotAllowed:
            return "适配器已停用"
        if pause is not None:
            return "适配器已暂停"
        return None if self._auditors(adapter) else "适配器不能列出工单或分类目录，或不在中枢内运行"

    def _auditors(self, adapter: str, capability: Capability | None = None) -> list[Auditor]:
        """The versions of an instance that can be asked: stable and candidate, which may stand before different systems."""
        try:
            versions: Iterable[object] = self._adapters.versions_here(adapter)
        except NotAllowed:
            try:
                versions = (self._adapters.get(adapter),)
            except NotAllowed:
                return []
        wanted = (capability,) if capability is not None else (Capability.AUDIT, Capability.CATALOGUE)
        return [one for one in versions if isinstance(one, Auditor) and any(one.can(each) for each in wanted)]

    # --- comparing ---

    async def _compare(self, run: Run) -> Run:
        """One whole run; raises hub errors."""
        began = run.began_at or self._clock()
        said: dict[str, int] = {}
        last = Pass()
        resolved = 0
        if auditors := self._auditors(run.adapter, Capability.AUDIT):
            confirmed, last = await self._comparison.compare(run.adapter, auditors)
            keep = set()
            for found in confirmed:
                repair = repair_of(run.adapter, found)
                await self._repairs.note(repair)
                keep.add(repair.id)
                said[found.what.value] = said.get(found.what.value, 0) + 1
            resolved = await self._repairs.settle(run.adapter, RepairKind.DISAGREEMENT, GONE, before=began, keep=keep)
        return _ended(
            run,
            self._clock(),
            state=RunState.DONE,
            pages=last.pages,
            theirs=last.theirs,
            ours=last.ours,
            agreed=last.agreed,
            elsewhere=last.elsewhere,
            found=said,
            resolved=resolved,
            catalogue=await self._catalogue(run.adapter),
        )

    async def _catalogue(self, adapter: str) -> str | None:
        """What came of looking at the department's catalogue; None when it has none."""
        auditors = self._auditors(adapter, Capability.CATALOGUE)
        if not auditors:
            return None
        try:
            drift = await self._catalogues.look(adapter, await auditors[0].catalogue())
        except BusUnavailable:
            raise
        except HubError as problem:
            log.warning("catalogue not read", adapter=adapter, reason=problem.message)
            return f"failed: {mask_text(problem.message)}"
        return "changed" if drift else "same"

    # --- putting right ---

    async def take_over(self, item: RepairItem, by: str) -> None:
        """Take what the department says as the report that was missed: resolved or returned. Done once however often it is asked.

        Raises InvalidInput when this repair offers no such thing or the case does not stand so any more, NotAllowed.
        """
        wanted = next((kind for kind in FIXES.values() if kind.value == item.details.get("apply")), None)
        key = item.details.get("key")
        if item.kind is not RepairKind.DISAGREEMENT or wanted is None or key is None:
            raise InvalidInput("this repair can't be put right by taking a report over", subject="apply")
        case, part = parse_delivery_key(key)
        before = await self._comparison.part(case, part)
        if before is None or before.adapter != item.adapter:
            raise InvalidInput("the assignment is not this adapter's any more", subject="apply")
        if not before.open:
            return
        if before.state not in HANDED_OVER:
            raise InvalidInput(f"the assignment is {before.state.value}", subject="apply")
        note = f"对账补记：部门系统已{'办结' if wanted is ReportKind.RESOLVED else '退回'}，反馈未到达本中枢（操作人：{by}）"
        await self._take(item.adapter, Report(id=f"reconciliation:{key}:{wanted.value}", kind=wanted, key=key, note=note))
        after = await self._comparison.part(case, part)
        if after is not None and after.open:
            raise InvalidInput("the report was not taken: see what was put aside", subject="apply")


def next_night(adapter: str, now: datetime, district: District) -> datetime:
    """The adapter's next nightly time after `now`: AT district time, later by a part of SPREAD that its name decides."""
    part = int(hashlib.sha256(adapter.encode()).hexdigest()[:8], 16) % int(SPREAD.total_seconds())
    today = now.astimezone(district.zone).date()
    for days in range(3):
        at = datetime.combine(today + timedelta(days=days), AT, district.zone) + timedelta(seconds=part)
        if at > now:
            return at.astimezone(UTC)
    raise AssertionError("no night within three days")


def _ended(run: Run, at: datetime, **changes: Any) -> Run:
    return msgspec.structs.replace(run, ended_at=at, **changes)
