"""The book of reconciliations: what each run found and how long it took, the last ones of every adapter.

Owns `runs.<adapter>` in the bucket RECONCILIATION; one value holds an adapter's runs. Called by reconciliation.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from hub.bus.buckets import Bucket, revise

MOST_RUNS = 30


class RunState(StrEnum):
    """Where a run stands."""

    ASKED = "asked"
    RUNNING = "running"
    WAITING = "waiting"
    """The department could not be asked; it is tried again."""
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self in (RunState.DONE, RunState.FAILED, RunState.SKIPPED)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One reconciliation of one adapter. `run`: the night's date, or a name that was drawn when somebody asked for it."""

    run: str
    adapter: str
    by: str
    state: RunState
    asked_at: datetime
    began_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    pages: int = 0
    theirs: int = 0
    """Tickets the department listed."""
    ours: int = 0
    """Assignments of ours that were compared."""
    agreed: int = 0
    elsewhere: int = 0
    """Tickets that belong to assignments of other adapters."""
    found: dict[str, int] = {}
    """Disagreements by kind."""
    resolved: int = 0
    """Repairs of earlier runs that no longer disagree."""
    catalogue: str | None = None
    """same, changed, or `failed: …`; None: the department lists no catalogue."""
    reason: str | None = None


_decode = msgspec.json.Decoder(list[Run]).decode


class RunLog:
    """The runs of all adapters."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def of(self, adapter: str) -> list[Run]:
        """An adapter's runs, latest first."""
        stored = await self._bucket.get(f"runs.{adapter}")
        return _decode(stored.value) if stored is not None and stored.value else []

    async def get(self, adapter: str, run: str) -> Run | None:
        """One run, None when it is not (or no longer) in the book."""
        return next((one for one in await self.of(adapter) if one.run == run), None)

    async def put(self, run: Run) -> None:
        """Write a run in, over what stood there of it. Raises BusUnavailable."""

        def written(stored: bytes | None) -> bytes:
            kept = [run, *(one for one in (_decode(stored) if stored else []) if one.run != run.run)]
            kept.sort(key=lambda one: one.began_at or one.asked_at, reverse=True)
            return msgspec.json.encode(kept[:MOST_RUNS])

        await revise(self._bucket, f"runs.{run.adapter}", written)
