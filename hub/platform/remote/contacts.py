"""Gives a reporter's contact to an adapter elsewhere that asks for it: only for an open assignment of its own, only if its plugin declares
the need, and only after the access is committed. Called by `answers`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from hub.contract import Capability, Contact
from hub.errors import InvalidInput, NotAllowed
from hub.model.actors import SYSTEM
from hub.model.aggregate import Command, MatterId
from hub.model.assignments.state import Assignment, AssignmentState, parse_delivery_key
from hub.platform.adapters import Adapters
from hub.platform.remote.messages import Answer, Question
from hub.platform.remote.protocol import read
from hub.spine.ledger.desk import Desks

log = structlog.get_logger("hub.remote")


class Contacts:
    """Gives contacts out."""

    def __init__(self, desks: Desks, adapters: Adapters, open_contact: Callable[[MatterId], Awaitable[Contact | None]]) -> None:
        self._desks = desks
        self._adapters = adapters
        self._open = open_contact

    async def answer(self, adapter: str, raw: bytes) -> Answer:
        """The contact, or the reason against it. A missing case and another adapter's case get the same words.

        Raises BusUnavailable, LedgerConflict.
        """
        try:
            id, attempt, access = await self._entitled(adapter, read(raw, Question).key)
            await self._desks.execute(
                id,
                access,
                actor=SYSTEM,
                command_id=f"contact:{adapter}:{attempt}",
            )
        except InvalidInput as problem:
            return Answer(error=problem.message)
        except NotAllowed:
            log.warning("a contact was asked for and not given", adapter=adapter)
            return Answer(error="no such contact")
        found = await self._open(id)
        if found is None:
            return Answer(error="no such contact")
        return Answer(contact=found)

    async def _entitled(self, adapter: str, key: str) -> tuple[MatterId, str, Command]:
        """(matter, the asking attempt, the command to commit first). Raises InvalidInput, NotAllowed."""
        try:
            id, assignment_id = parse_delivery_key(key)
            desk = self._desks.of(id)
        except (ValueError, InvalidInput) as problem:
            raise InvalidInput("key: not a key", subject="key") from problem
        folded = await desk.load(id)
        assignment: Assignment | None = folded.state.assignment(assignment_id) if folded is not None else None
        access = desk.aggregate.contact_access(folded.state, adapter, "dispatch") if folded is not None else None
        if (
            assignment is None
            or access is None
            or assignment.adapter != adapter
            or not (assignment.state.open or assignment.state in (AssignmentState.MADE, AssignmentState.SENDING))
            or not self._adapters.get(adapter).can(Capability.NEEDS_CONTACT)
        ):
            raise NotAllowed("no such contact", subject=key)
        return id, f"{assignment_id}.{len(assignment.attempts)}", access
