"""Repairs 待修事项: faults that do not mend by themselves and wait for a person. Each is listed once, however often it happens.

Owns the bucket REPAIRS. The same kind, adapter and subject count up instead of piling. A resolved one that happens again opens again; a
dismissed one stays dismissed until its `facts` change. Bounded for every adapter and kind. Written by whoever finds a fault (roster,
report-back, reconciliation, catalogues), read and ended by the API. Nothing personal: texts are masked on the way in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from hub.bus.buckets import Bucket, revise
from hub.errors import HubError, InvalidInput, NotAllowed
from hub.spine.aside.repair_items import (
    MOST_WHY,
    THE_REST,
    Repair,
    RepairFilter,
    RepairItem,
    RepairKind,
    RepairPage,
    RepairState,
    again,
    fresh,
    only_counts,
    rest_of,
    shown,
)

log = structlog.get_logger("hub.repairs")

MOST_OF_A_KIND = 500
"""Most repairs of one adapter and kind. Further ones count in one repair whose subject is `*`."""
HOLD = 5.0
"""Seconds within which the same repair is only counted in memory, so that a flood of one thing is not a flood of writes."""
RECOUNT = 30.0
MOST_HELD = 10_000

_decode = msgspec.json.Decoder(RepairItem).decode


class Repairs:
    """The repairs of a hub."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        most: int = MOST_OF_A_KIND,
        hold: float = HOLD,
    ) -> None:
        self._bucket = bucket
        self._clock = clock
        self._most = most
        self._hold = hold
        self._written: dict[str, tuple[float, RepairItem]] = {}
        self._waiting: dict[str, tuple[Repair, int, datetime]] = {}
        self._flusher: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        self._counted: dict[str, tuple[float, int]] = {}

    async def note(self, repair: Repair) -> None:
        """Keep it, or count up the known one. Raises BusUnavailable."""
        known = self._written.get(repair.id)
        if known is not None and time.monotonic() - known[0] < self._hold and only_counts(known[1], repair):
            before = self._waiting.get(repair.id)
            self._waiting[repair.id] = (repair, 1 + (before[1] if before is not None else 0), self._clock())
            if self._flusher is None or self._flusher.done():
                self._flusher = asyncio.create_task(self._flush_later(), name="repairs")
            return
        async with self._one:
            waiting = self._waiting.pop(repair.id, None)
            await self._write(repair, 1 + (waiting[1] if waiting is not None else 0), self._clock())

    async def say(self, kind: str, adapter: str, subject: str, text: str, *, case: str | None = None) -> None:
        """`note` for those who have nobody to tell when it fails: then it is logged. `kind` is the word of a RepairKind."""
        try:
            await self.note(Repair(kind=RepairKind(kind), adapter=adapter, subject=subject, text=text, case=case))
        except HubError as problem:
            log.error("repair not noted", kind=kind, adapter=adapter, subject=subject, reason=problem.message)

    async def flush(self) -> None:
        """Write the counts that are only in memory. Raises BusUnavailable; unwritten ones stay counted."""
        while self._waiting:
            id, (repair, times, at) = next(iter(self._waiting.items()))
            del self._waiting[id]
            try:
                async with self._one:
                    await self._write(repair, times, at)
            except HubError:
                later = self._waiting.get(id)
                self._waiting[id] = (repair, times + (later[1] if later is not None else 0), later[2] if later else at)
                raise

    async def close(self) -> None:
        """At the end, write the counts."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        try:
            await self.flush()
        except HubError as problem:
            log.warning("counts of repairs not written", reason=problem.message, repairs=len(self._waiting))

    async def get(self, id: str) -> RepairItem:
        """One repair; raises NotAllowed."""
        await self.flush()
        return await self._find(id)

    async def list(self, filter: RepairFilter) -> RepairPage:
        """Repairs by filter, the latest first. Raises InvalidInput for a foreign cursor."""
        await self.flush()
        found = [item for item in await self._all() if filter.takes(item)]
        found.sort(key=lambda item: (item.last_at, item.id), reverse=True)
        if filter.cursor is not None:
            place = _read_cursor(filter.cursor)
            found = [item for item in found if (item.last_at, item.id) < place]
        piece = found[: max(1, filter.limit)]
        more = len(found) > len(piece)
        return RepairPage(tuple(piece), f"{piece[-1].last_at.isoformat()}_{piece[-1].id}" if more else None)

    async def count(self, state: RepairState = RepairState.OPEN) -> Mapping[str, int]:
        """How many repairs in that state each adapter has."""
        found: dict[str, int] = {}
        for item in await self._all():
            if item.state is state:
                found[item.adapter] = found.get(item.adapter, 0) + 1
        return found

    async def resolve(self, id: str, by: str, why: str = "") -> RepairItem:
        """It is put right; opens again when it happens again. Raises NotAllowed."""
        return await self._end(id, RepairState.RESOLVED, by, why)

    async def dismiss(self, id: str, by: str, why: str = "") -> RepairItem:
        """It may stay so; opens again when its facts change. Raises NotAllowed, InvalidInput (it is resolved already)."""
        return await self._end(id, RepairState.DISMISSED, by, why)

    async def settle(
        self,
        adapter: str,
        kind: RepairKind,
        why: str,
        *,
        before: datetime,
        keep: Collection[str] = (),
        only: Callable[[RepairItem], bool] = lambda item: True,
    ) -> int:
        """Resolve faults that no longer happen: repairs of that kind, last noted earlier than `before`, whose id is not in `keep`.

        Dismissed ones too: a fault that went and came back deserves a new look. Returns how many.
        """
        await self.flush()
        gone = [
            item
            for item in await self._all(f"{adapter}.{kind.value}.*")
            if item.state is not RepairState.RESOLVED and item.last_at < before and item.id not in keep and only(item)
        ]
        for item in gone:
            await self._end(item.id, RepairState.RESOLVED, "hub", why, key=_key(item))
        return len(gone)

    # --- writing ---

    async def _flush_later(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._hold)
            try:
                await self.flush()
            except HubError as problem:
                log.warning("counts of repairs wait", reason=problem.message, repairs=len(self._waiting))

    async def _write(self, repair: Repair, times: int, now: datetime) -> None:
        key = f"{repair.adapter}.{repair.kind.value}.{repair.id}"
        if repair.subject != THE_REST and not await self._bucket.get(key) and not await self._room(repair):
            await self._write(rest_of(repair, self._most), times, now)
            return

        def counted(stored: bytes | None) -> bytes:
            item = again(_decode(stored), repair, now, times) if stored else fresh(repair, now, times)
            return msgspec.json.encode(item)

        item = _decode(await revise(self._bucket, key, counted))
        if item.count == times:
            log.warning("needs repair", kind=item.kind.value, adapter=item.adapter, repair=item.id, case=item.case)
        self._remember(item)

    def _remember(self, item: RepairItem) -> None:
        if len(self._written) >= MOST_HELD:
            now = time.monotonic()
            self._written = {id: one for id, one in self._written.items() if now - one[0] < self._hold}
        self._written[item.id] = (time.monotonic(), item)

    async def _room(self, repair: Repair) -> bool:
        """Whether one more of its kind may be kept; ended ones make room, oldest first."""
        prefix = f"{repair.adapter}.{repair.kind.value}."
        at, number = self._counted.get(prefix, (-RECOUNT, 0))
        if time.monotonic() - at >= RECOUNT:
            number = len(await self._bucket.entries(f"{prefix}*"))
            if number >= self._most:
                number -= await self._clear(prefix)
            at = time.monotonic()
        if number >= self._most:
            self._counted[prefix] = (at, number)
            return False
        self._counted[prefix] = (at, number + 1)
        return True

    async def _clear(self, prefix: str) -> int:
        ended = [item for item in await self._all(f"{prefix}*") if item.state is not RepairState.OPEN]
        ended.sort(key=lambda item: item.last_at)
        for item in ended[: max(1, self._most // 10)]:
            await self._bucket.purge(_key(item))
        return len(ended[: max(1, self._most // 10)])

    async def _end(self, id: str, state: RepairState, by: str, why: str, *, key: str | None = None) -> RepairItem:
        def ended(stored: bytes | None) -> bytes:
            if stored is None:
                raise NotAllowed("no such repair", subject=id)
            item = _decode(stored)
            if item.state is state:
                return stored
            if item.state is RepairState.RESOLVED:
                raise InvalidInput("it is resolved already", subject="state")
            why_shown = shown(why, MOST_WHY) or None
            return msgspec.json.encode(
                msgspec.structs.replace(item, state=state, ended_at=self._clock(), ended_by=by, why=why_shown)
            )

        item = _decode(await revise(self._bucket, key or _key(await self._find(id)), ended))
        self._written.pop(id, None)
        log.info("repair ended", repair=id, state=state.value, by=by)
        return item

    # --- reading ---

    async def _find(self, id: str) -> RepairItem:
        found = await self._all(f"*.*.{id}")
        if not found:
            raise NotAllowed("no such repair", subject=id)
        return found[0]

    async def _all(self, pattern: str = ">") -> Sequence[RepairItem]:
        return [_decode(stored.value) for stored in (await self._bucket.entries(pattern)).values()]


def _key(item: RepairItem) -> str:
    return f"{item.adapter}.{item.kind.value}.{item.id}"


def _read_cursor(text: str) -> tuple[datetime, str]:
    at, _, id = text.rpartition("_")
    try:
        place = datetime.fromisoformat(at)
    except ValueError as problem:
        raise InvalidInput("not a cursor of this list", subject="cursor") from problem
    if place.tzinfo is None:
        raise InvalidInput("not a cursor of this list", subject="cursor")
    return place, id


__all__ = ["Repair", "RepairFilter", "RepairItem", "RepairKind", "RepairPage", "RepairState", "Repairs"]
