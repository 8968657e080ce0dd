"""One reconciliation of one adapter: compares its tickets and its catalogue with the hub's and notes differences as repairs.

Changes no case by itself. `Corrections` takes over the department's state when an operator asks for it. Called by `Reconciliation` and the
API.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from hub.contract import Capability, Feedback, FeedbackKind
from hub.errors import BusUnavailable, HubError, InvalidInput, NotAllowed
from hub.model.assignments.state import parse_delivery_key
from hub.platform.upkeep.comparison import Auditor, Comparison, Pass
from hub.platform.upkeep.disagreements import FIXES, HANDED_OVER, repair_of
from hub.platform.upkeep.repairs import RepairItem, RepairKind, Repairs
from hub.platform.upkeep.run_log import Run, RunState
from hub.privacy.masks import mask_text
from hub.spine.ledger.desk import utc_now

if TYPE_CHECKING:
    from hub.platform.adapters import Adapters
    from hub.platform.upkeep.catalogues import Catalogues

log = structlog.get_logger("hub.reconciliation")

GONE = "最近一次对账双方已一致"


class Auditing:
    """Asks a department's system, compares, and tells what disagrees."""

    def __init__(
        self,
        adapters: Adapters,
        comparison: Comparison,
        repairs: Repairs,
        catalogues: Catalogues,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._adapters = adapters
        self._comparison = comparison
        self._repairs = repairs
        self._catalogues = catalogues
        self._clock = clock

    def why_not(self, adapter: str) -> str | None:
        """Why an instance can't be asked at all, in Chinese; None when it can."""
        try:
            pause = self._adapters.get(adapter).pause
        except NotAllowed:
            return "适配器已停用"
        if pause is not None:
            return "适配器已暂停"
        return None if self.auditors(adapter) else "适配器不能列出工单或分类目录，或不在中枢内运行"

    def auditors(self, adapter: str, capability: Capability | None = None) -> list[Auditor]:
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

    async def compare(self, run: Run) -> Run:
        """One whole run; raises hub errors."""
        began = run.began_at or self._clock()
        said: dict[str, int] = {}
        last = Pass()
        resolved = 0
        if auditors := self.auditors(run.adapter, Capability.AUDIT):
            confirmed, last = await self._comparison.compare(run.adapter, auditors)
            keep = set()
            for found in confirmed:
                repair = repair_of(run.adapter, found)
                await self._repairs.note(repair)
                keep.add(repair.id)
                said[found.what.value] = said.get(found.what.value, 0) + 1
            resolved = await self._repairs.settle(run.adapter, RepairKind.DISAGREEMENT, GONE, before=began, keep=keep)
        return ended(
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
        auditors = self.auditors(adapter, Capability.CATALOGUE)
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


class Corrections:
    """Puts right what reconciliation found. `take` is report-back's way in."""

    def __init__(self, comparison: Comparison, take: Callable[[str, Feedback], Awaitable[object]]) -> None:
        self._comparison = comparison
        self._take = take

    async def take_over(self, item: RepairItem, by: str) -> None:
        """Take the department's state as the missed feedback: resolved or returned. Done once however often it is asked.

        Raises InvalidInput when this repair offers no such thing or the case has moved on, NotAllowed.
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
        note = f"对账补记：部门系统已{'办结' if wanted is FeedbackKind.RESOLVED else '退回'}，反馈未到达本中枢（操作人：{by}）"
        await self._take(item.adapter, Feedback(id=f"reconciliation:{key}:{wanted.value}", kind=wanted, key=key, note=note))
        after = await self._comparison.part(case, part)
        if after is not None and after.open:
            raise InvalidInput("the report was not taken: see what was put aside", subject="apply")


def ended(run: Run, at: datetime, **changes: Any) -> Run:
    """The run as it is once it is over."""
    return msgspec.structs.replace(run, ended_at=at, **changes)
