"""Erasure: destroys a reporter's contact, and the files that came with the report.

A reaction to `case.contact_erased`. From that event on nobody gets the contact. The reaction repeats until key and files are gone, whatever
stops in between. Refuses nothing. Called by reactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.model.actors import SYSTEM
from hub.model.aggregate import MatterId
from hub.model.case.commands import RecordDestroyed
from hub.model.case.events import CaseReported
from hub.observing import telemetry

if TYPE_CHECKING:
    from hub.bus.buckets import Objects
    from hub.model.case.state import Case
    from hub.privacy.vault import Vault
    from hub.spine.ledger.desk import Desk
    from hub.spine.ledger.store import Ledger


class Erasure:
    """Destroys a reporter's contact and files."""

    def __init__(self, desk: Desk[Case, Any, Any], ledger: Ledger, vault: Vault, objects: Objects) -> None:
        self._desk = desk
        self._ledger = ledger
        self._vault = vault
        self._objects = objects

    async def __call__(self, id: MatterId, command_id: str) -> None:
        """Destroy and record it; safe to repeat. Raises BusUnavailable: then the reaction comes again."""
        await self._vault.erase(id)
        destroyed = await self._files(id)
        await self._desk.execute(
            id,
            RecordDestroyed(files=destroyed),
            actor=SYSTEM,
            command_id=command_id,
            cause=telemetry.traceparent(),
        )

    async def _files(self, id: MatterId) -> tuple[str, ...]:
        """Destroy the files that came with the report; their hashes. Each object belongs to this case alone, so no other loses it."""
        commits = await self._ledger.commits(id)
        events = [event for _, commit in commits for event in commit.events]
        theirs = [file.sha256 for event in events if isinstance(event, CaseReported) for file in event.attachments]
        for sha256 in theirs:
            await self._objects.delete(sha256, of=id)
        return tuple(theirs)


__all__ = ["Erasure"]
