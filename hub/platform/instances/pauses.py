"""Pauses: which instances take nothing, and why. The same in every hub of the bus, and after a restart.

Owns `<instance>.pause` in the bucket ADAPTERS, and the gates of all instances. A change by another hub opens or closes them here. The hub's
own automatic change never undoes an operator's. Held by the roster.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import structlog

from hub.bus.buckets import Bucket, KeyExists
from hub.errors import LedgerConflict
from hub.platform.adapters.running import Gate, Pause

log = structlog.get_logger("hub.adapters")

_KEYS = "*.pause"


class Pauses:
    """The pauses of all instances."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._gates: dict[str, Gate] = {}
        self._seen = 0

    def gate(self, name: str) -> Gate:
        """The gate of an instance, known or not."""
        return self._gates.setdefault(name, Gate())

    async def load(self) -> None:
        """Read how they stand. Raises BusUnavailable."""
        await self._hear(live=False)

    async def follow(self) -> None:
        """Keep up with what every hub changes, for ever."""
        await self._hear(live=True)

    async def pause(self, name: str, reason: str) -> None:
        """Close the gate, whatever its state; here even when the bus does not take it. Raises BusUnavailable."""
        pause = Pause(reason, datetime.now(UTC), automatic=False)
        self._turn(name, pause)
        self._set(name, pause, await self._bucket.put(_key(name), msgspec.json.encode(pause)))

    async def resume(self, name: str) -> None:
        """Open it, whatever it was. Raises BusUnavailable."""
        self._set(name, None, await self._bucket.put(_key(name), b""))

    async def pause_open(self, name: str, reason: str, *, automatic: bool) -> None:
        """Close an open gate; a closed one stays as it is. `automatic`: its health may open it again."""
        if self.gate(name).pause is None:
            await self._replace(name, Pause(reason, datetime.now(UTC), automatic))

    async def resume_automatic(self, name: str) -> None:
        """Open an automatically closed gate. One that somebody closed meanwhile stays closed."""
        pause = self.gate(name).pause
        if pause is not None and pause.automatic:
            await self._replace(name, None)

    async def _replace(self, name: str, pause: Pause | None) -> None:
        """Store over the revision known here. Changes nothing when another hub was first; its change arrives here soon."""
        raw = b"" if pause is None else msgspec.json.encode(pause)
        revision = self.gate(name).revision
        try:
            if revision == 0:
                stored = await self._bucket.create(_key(name), raw)
            else:
                stored = await self._bucket.update(_key(name), raw, revision)
        except (KeyExists, LedgerConflict):
            return
        self._set(name, pause, stored)

    async def _hear(self, *, live: bool) -> None:
        async for change in self._bucket.changes(_KEYS, after=self._seen, live=live):
            self._seen = change.revision
            name = change.key.removesuffix(".pause")
            try:
                pause = msgspec.json.decode(change.value, type=Pause) if change.value else None
            except msgspec.DecodeError:
                log.error("not a pause", adapter=name)
                continue
            self._set(name, pause, change.revision)

    def _set(self, name: str, pause: Pause | None, revision: int) -> None:
        """Carry out the stored state here, unless a later one is known."""
        gate = self.gate(name)
        if revision > gate.revision:
            gate.revision = revision
            self._turn(name, pause)

    def _turn(self, name: str, pause: Pause | None) -> None:
        gate = self.gate(name)
        if gate.pause == pause:
            return
        gate.pause = pause
        gate.stirred.set()
        if pause is None:
            log.info("adapter resumed", adapter=name)
        else:
            log.warning("adapter paused", adapter=name, reason=pause.reason)


def _key(name: str) -> str:
    return f"{name}.pause"
