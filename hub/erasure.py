"""Erasure: destroys a reporter's contact, and the files that came with the report and belong to no other case.

A reaction to `case.contact_erased`: from that event on nobody gets the contact, and this goes on until key and files are gone, whatever
stops in between. Refuses nothing. Called by reactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub import telemetry
from hub.errors import BusUnavailable
from hub.model.actors import SYSTEM
from hub.model.aggregate import MatterId
from hub.model.case.commands import RecordDestroyed
from hub.model.case.events import CaseReported

if TYPE_CHECKING:
    from hub.bus.buckets import Objects
    from hub.desk import Desk
    from hub.ledger import Ledger
    from hub.model.case.state import Case
    from hub.privacy import Vault
    from hub.views import Views

CATCH_UP = 10.0
"""Seconds it waits for the read models, to know which other cases have a file; then it comes again."""


class Erasure:
    """Destroys what is to be forgotten."""

    def __init__(self, desk: Desk[Case, Any, Any], ledger: Ledger, vault: Vault, objects: Objects, views: Views) -> None:
        self._desk = desk
        self._ledger = ledger
        self._vault = vault
        self._objects = objects
        self._views = views

    async def __call__(self, id: MatterId, command_id: str) -> None:
        """Destroy and record it; may be done again. Raises BusUnavailable: then it comes again."""
        await self._vault.erase(id)
        destroyed = await self._files(id)
        await self._desk.execute(
            id,
            RecordDestroyed(files=destroyed),
            actor=SYSTEM,
            command_id=command_id,
            cause=telemetry.traceparent(),
            strict=False,  # done again, there may be fewer files left to name
        )

    async def _files(self, id: MatterId) -> tuple[str, ...]:
        """Destroy the report's own files that no other case has; their hashes."""
        commits = await self._ledger.commits(id)
        theirs = {
            file.sha256
            for _, commit in commits
            for event in commit.events
            if isinstance(event, CaseReported)
            for file in event.attachments
        }
        if not theirs:
            return ()
        if not await self._views.wait_for(await self._ledger.last_sequence(), CATCH_UP):
            raise BusUnavailable("the read models do not know yet which cases have the files", subject=id)
        destroyed = []
        for sha256 in sorted(theirs):
            if await self._views.cases_with_file(sha256) <= {id}:
                await self._objects.delete(sha256)
                destroyed.append(sha256)
        return tuple(destroyed)


__all__ = ["Erasure"]
