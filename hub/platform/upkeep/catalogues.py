"""Catalogues: the department's own categories as last accepted, and the differences to its present ones. Deletes nothing by itself.

Owns `catalogue.…` in the bucket RECONCILIATION: every accepted version with who and when, and the last one seen. The hub accepts the first
one seen as version 1. A difference is a repair that names added, removed and renamed categories, and crosswalk entries that point to
removed codes. Called by reconciliation and by the API.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
import structlog

from hub.bus.buckets import Bucket, KeyExists
from hub.contract import Crosswalk
from hub.errors import InvalidInput, LedgerConflict, NotAllowed
from hub.platform.upkeep.repairs import Repair, RepairKind, Repairs
from hub.spine.aside.repair_items import named
from hub.spine.ledger.desk import utc_now

log = structlog.get_logger("hub.catalogues")

MOST_BYTES = 900_000
"""A catalogue has to fit into one message of the bus (1 MiB)."""
HUB = "hub"


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """A catalogue, code → name. `version` 0: only seen."""

    codes: dict[str, str]
    at: datetime
    version: int = 0
    by: str = HUB

    @property
    def digest(self) -> str:
        """The same for the same codes and names."""
        return hashlib.sha256(msgspec.json.encode(self.codes, order="deterministic")).hexdigest()[:16]


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """How a catalogue differs from the accepted one. `renamed`: code → (before, now); `dangling`: our category → their lost code."""

    came: dict[str, str] = {}
    went: dict[str, str] = {}
    renamed: dict[str, tuple[str, str]] = {}
    dangling: dict[str, str] = {}

    @property
    def changed(self) -> bool:
        """Whether the catalogue itself is another."""
        return bool(self.came or self.went or self.renamed)

    def __bool__(self) -> bool:
        return self.changed or bool(self.dangling)


class CatalogueView(msgspec.Struct, frozen=True, kw_only=True):
    """The hub's knowledge of an adapter's catalogue: the accepted version, the last one seen, and the difference."""

    adapter: str
    accepted: Catalogue
    seen: Catalogue
    drift: Drift


def drift_of(accepted: Mapping[str, str], seen: Mapping[str, str], crosswalk: Crosswalk) -> Drift:
    """The difference, and the crosswalk's entries with a target missing from the seen catalogue. Pure."""
    return Drift(
        came={code: name for code, name in seen.items() if code not in accepted},
        went={code: name for code, name in accepted.items() if code not in seen},
        renamed={code: (accepted[code], name) for code, name in seen.items() if code in accepted and accepted[code] != name},
        dangling={ours: theirs for ours, theirs in crosswalk.categories.items() if theirs not in seen},
    )


class Catalogues:
    """The catalogues of all adapters. `crosswalk` gives the one in force of an instance; raises NotAllowed."""

    def __init__(
        self,
        bucket: Bucket,
        repairs: Repairs,
        crosswalk: Callable[[str], Crosswalk],
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._bucket = bucket
        self._repairs = repairs
        self._crosswalk = crosswalk
        self._clock = clock

    async def look(self, adapter: str, codes: Mapping[str, str]) -> Drift:
        """Compare the department's present catalogue with the accepted one. A difference becomes a repair; its end resolves the repair.

        Raises InvalidInput when the catalogue is too large.
        """
        began = self._clock()
        seen = Catalogue(codes=dict(codes), at=began)
        raw = msgspec.json.encode(seen)
        if len(raw) > MOST_BYTES:
            raise InvalidInput(f"a catalogue of {len(raw)} bytes is too large", subject="catalogue")
        accepted = await self._accepted(adapter)
        if accepted is None:
            accepted = await self._append(adapter, msgspec.structs.replace(seen, version=1))
        await self._bucket.put(_seen_key(adapter), raw)
        drift = drift_of(accepted.codes, seen.codes, self._crosswalk(adapter))
        if not drift:
            await self._repairs.settle(
                adapter,
                RepairKind.CATALOGUE_CHANGED,
                "部门分类目录与已采纳版本一致",
                before=began,
            )
            return drift
        log.info("catalogue differs", adapter=adapter, came=len(drift.came), went=len(drift.went), renamed=len(drift.renamed))
        await self._repairs.note(_repair(adapter, accepted, seen, drift))
        return drift

    async def show(self, adapter: str) -> CatalogueView:
        """The hub's knowledge of its catalogue. Raises NotAllowed when it was never seen."""
        accepted = await self._accepted(adapter)
        stored = await self._bucket.get(_seen_key(adapter))
        if accepted is None:
            raise NotAllowed("its catalogue was never read", subject=adapter)
        seen = msgspec.json.decode(stored.value, type=Catalogue) if stored is not None and stored.value else accepted
        return CatalogueView(
            adapter=adapter,
            accepted=accepted,
            seen=seen,
            drift=drift_of(accepted.codes, seen.codes, self._crosswalk(adapter)),
        )

    async def versions(self, adapter: str) -> list[Catalogue]:
        """Every accepted version, oldest first."""
        stored = await self._bucket.entries(f"catalogue.{adapter}.accepted.*")
        versions = [msgspec.json.decode(entry.value, type=Catalogue) for entry in stored.values()]
        return sorted(versions, key=lambda one: one.version)

    async def accept(self, adapter: str, by: str, *, digest: str | None = None) -> Catalogue:
        """Accept the last seen catalogue as the next version.

        `digest` names the one that the operator looked at. Raises LedgerConflict when another was seen since or somebody else accepts one
        at this moment, NotAllowed when none was ever seen, InvalidInput when nothing differs.
        """
        view = await self.show(adapter)
        if digest is not None and view.seen.digest != digest:
            raise LedgerConflict("the department's catalogue has changed since: look again", subject=adapter)
        if not view.drift.changed:
            raise InvalidInput("the catalogue is the accepted one", subject="catalogue")
        taken = await self._append(
            adapter,
            msgspec.structs.replace(view.seen, version=view.accepted.version + 1, at=self._clock(), by=by),
            strict=True,
        )
        await self.look(adapter, view.seen.codes)
        log.info("catalogue accepted", adapter=adapter, version=taken.version, by=by)
        return taken

    async def _accepted(self, adapter: str) -> Catalogue | None:
        found = await self.versions(adapter)
        return found[-1] if found else None

    async def _append(self, adapter: str, catalogue: Catalogue, *, strict: bool = False) -> Catalogue:
        try:
            await self._bucket.create(f"catalogue.{adapter}.accepted.{catalogue.version}", msgspec.json.encode(catalogue))
        except KeyExists as problem:
            earlier = await self._accepted(adapter)
            if strict or earlier is None:
                raise LedgerConflict("somebody else accepted a catalogue just now", subject=adapter) from problem
            return earlier
        return catalogue


def _seen_key(adapter: str) -> str:
    return f"catalogue.{adapter}.seen"


def _repair(adapter: str, accepted: Catalogue, seen: Catalogue, drift: Drift) -> Repair:
    parts = []
    if drift.came:
        parts.append(f"新增 {len(drift.came)} 项（{named(f'{code} {name}' for code, name in drift.came.items())}）")
    if drift.went:
        parts.append(f"取消 {len(drift.went)} 项（{named(f'{code} {name}' for code, name in drift.went.items())}）")
    if drift.renamed:
        renamed = (f"{code} {before}→{now}" for code, (before, now) in drift.renamed.items())
        parts.append(f"改名 {len(drift.renamed)} 项（{named(renamed)}）")
    if drift.dangling:
        entries = (f"{ours}→{theirs}" for ours, theirs in drift.dangling.items())
        parts.append(f"对照表中 {len(drift.dangling)} 条指向已不存在的编码（{named(entries)}）")
    return Repair(
        kind=RepairKind.CATALOGUE_CHANGED,
        adapter=adapter,
        subject="catalogue",
        text=f"部门分类目录与已采纳的第 {accepted.version} 版不一致：" + "；".join(parts)
        if drift.changed
        else "；".join(parts),
        facts=f"{accepted.version}/{seen.digest}/{','.join(sorted(drift.dangling.values()))}",
        details={
            "accepted": str(accepted.version),
            "seen": seen.digest,
            "came": str(len(drift.came)),
            "went": str(len(drift.went)),
            "renamed": str(len(drift.renamed)),
            "dangling": str(len(drift.dangling)),
        },
    )
