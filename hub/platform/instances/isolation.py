"""Isolation: getting a plugin that holds the hub up out of the hub's process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from hub.contract import Placement
from hub.errors import HubError
from hub.model.actors import SYSTEM
from hub.platform.instances.registration import By, Patch

if TYPE_CHECKING:
    from hub.platform.adapters import Adapters
    from hub.platform.instances.registration import Registration

log = structlog.get_logger("hub.isolation")


class Isolation:
    """Moves an instance into a worker process where this hub can start one (`Adapters.workers`), else pauses it."""

    def __init__(self, adapters: Adapters, registration: Registration) -> None:
        self._adapters = adapters
        self._registration = registration

    async def __call__(self, name: str, reason: str) -> None:
        """Isolate an instance. Never raises a hub error."""
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
