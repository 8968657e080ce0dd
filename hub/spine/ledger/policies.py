"""Policies: published in the ledger, and the newest one kept in force in every process; what it lacks is said once a day."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from hub.errors import LedgerConflict
from hub.model.actors import SYSTEM, Actor
from hub.spine.ledger.store import POLICY, decode_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from hub.bus import Bus
    from hub.spine.ledger.rulebook import Rulebook
    from hub.spine.ledger.store import Ledger

log = structlog.get_logger("hub.policies")

REMIND_EVERY = 24 * 3600.0
"""Seconds between two reminders of a year whose days off nobody entered."""


class Policies:
    """Publishes policies, and puts in force what anybody published."""

    def __init__(self, bus: Bus, ledger: Ledger, rulebook: Rulebook, clock: Callable[[], datetime]) -> None:
        self._bus = bus
        self._ledger = ledger
        self._rulebook = rulebook
        self._clock = clock

    async def adopt(self) -> None:
        """Put the published policy in force; on the first start the configured one is published as version 1."""
        record = await self._ledger.policy()
        if record is None:
            with contextlib.suppress(LedgerConflict):  # another process was first
                await self._ledger.publish_policy(self._rulebook.rules().sources, SYSTEM)
            record = await self._ledger.policy()
            assert record is not None
        elif self._rulebook.differs_from(record):
            log.warning(
                "config/policy differs from the published policy; `hub policy publish` puts it in force", version=record.version
            )
        self._rulebook.put_in_force(record)

    async def publish(self, sources: Mapping[str, str], actor: Actor) -> int:
        """Check a policy against areas and units, publish it and put it in force; returns its number. Raises ConfigError."""
        self._rulebook.check(sources)
        version = await self._ledger.publish_policy(sources, actor)
        record = await self._ledger.policy()
        assert record is not None
        self._rulebook.put_in_force(record)
        return version

    async def follow(self) -> None:
        """Put in force what another process publishes, or has published since this one read the policy; for ever."""
        last = await self._bus.last("LEDGER", POLICY)
        async for messages in self._bus.follow("LEDGER", POLICY, last.sequence - 1 if last is not None else 0):
            record = decode_policy(messages[-1].data)
            if record.version > self._rulebook.rules().version:
                self._rulebook.put_in_force(record)

    async def remind(self) -> None:
        """Say in the log which year's days off should be known and are not, at once and then daily; for ever."""
        while True:
            for year in self._rulebook.district().missing_years(self._clock()):
                log.warning(
                    "the days off of a year are not known: Monday to Friday count as working days; "
                    "`hub policy days FILE --write` and `hub policy publish` enter them",
                    year=year,
                )
            await asyncio.sleep(REMIND_EVERY)
