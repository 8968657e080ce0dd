"""Isolation: getting a plugin that holds the hub up out of the hub's process."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog

from hub.contract import Placement
from hub.errors import HubError
from hub.model.actors import SYSTEM
from hub.platform.instances.registration import By, Patch

if TYPE_CHECKING:
    from hub.platform.adapters import Adapters
    from hub.platform.adapters.roster import Note
    from hub.platform.instances.registration import Registration

log = structlog.get_logger("hub.isolation")


LONGEST_HELD_UP = 3.0
"""Seconds after which an instance that held the event loop up once is isolated."""
MOST_HELD_UP = 3
"""Times an instance may hold the event loop up for more than a second before it is isolated."""


class Isolation:
    """Moves an instance into a worker process where this hub can start one (`Adapters.workers`), else pauses it."""

    def __init__(self, adapters: Adapters, registration: Registration, note: Note) -> None:
        self._adapters = adapters
        self._registration = registration
        self._note = note
        self._times: Counter[str] = Counter()

    async def held_up(self, name: str, seconds: float) -> None:
        """A plugin's step held the event loop up: note it. After a long one, or the third, isolate the instance."""
        if name not in self._adapters.names():
            return
        self._times[name] += 1
        text = f"适配器占用事件循环 {seconds:.1f} 秒（第 {self._times[name]} 次），应改在独立进程运行（placement: process）"
        await self._note("blocked_loop", name, "loop", text)
        if (seconds >= LONGEST_HELD_UP or self._times[name] >= MOST_HELD_UP) and self._adapters.slot(name).on:
            await self._isolate(name, f"held the event loop up for {seconds:.1f} s")

    async def quarantine(self, name: str) -> None:
        """An instance that the process had to be ended for last time: it does not run in the hub again by itself."""
        await self._note("blocked_loop", name, "loop", "适配器曾使整个枢纽停止响应，已隔离")
        if name in self._adapters.names() and self._adapters.slot(name).on:
            await self._isolate(name, "held the whole hub up")

    async def _isolate(self, name: str, reason: str) -> None:
        """Never raises a hub error."""
        try:
            if self._adapters.workers:
                by = By(actor=SYSTEM, note=reason, untried=True)
                await self._registration.change(name, Patch(placement=Placement.PROCESS), by)
                log.warning("adapter moved to a process of its own", adapter=name, reason=reason)
                return
        except HubError as problem:
            log.warning("adapter can't be moved to a process of its own", adapter=name, reason=problem.message)
        try:
            await self._adapters.pause(name, reason)
        except HubError as problem:  # it was disabled meanwhile; or the bus is away: then it is paused here only
            log.warning("adapter not paused everywhere", adapter=name, reason=problem.message)
