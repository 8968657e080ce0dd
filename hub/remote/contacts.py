"""Answers adapters elsewhere that ask for a reporter's contact: only for an open assignment of their own, only if their plugin asks for
contacts, and only after the access is committed. Called by `answers`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from hub.adapters import Adapters
from hub.contract import Capability, Contact
from hub.desk import Desk
from hub.errors import InvalidInput, NotAllowed
from hub.model.cases import SYSTEM, AssignmentState, CaseId, parse_delivery_key
from hub.model.commands import AccessContact
from hub.remote.messages import Answer, Person, Question
from hub.remote.protocol import read

log = structlog.get_logger("hub.remote")


class Contacts:
    """Gives contacts out."""

    def __init__(self, desk: Desk, adapters: Adapters, open_contact: Callable[[CaseId], Awaitable[Contact | None]]) -> None:
        self._desk = desk
        self._adapters = adapters
        self._open = open_contact

    async def answer(self, adapter: str, raw: bytes) -> Answer:
        """The contact, or why not; the same words whether there is no such case or it is somebody else's.

        Raises BusUnavailable, LedgerConflict.
        """
        try:
            case, attempt = await self._entitled(adapter, read(raw, Question).key)
            await self._desk.execute(
                case,
                AccessContact(by=adapter, purpose="dispatch", fields=("name", "phone", "address")),
                actor=SYSTEM,
                command_id=f"contact:{adapter}:{attempt}",
            )
        except InvalidInput as problem:
            return Answer(error=problem.message)
        except NotAllowed:
            log.warning("a contact was asked for and not given", adapter=adapter)
            return Answer(error="no such contact")
        found = await self._open(case)
        if found is None:
            return Answer(error="no such contact")
        return Answer(contact=Person(name=found.name, phone=found.phone, address=found.address))

    async def _entitled(self, adapter: str, key: str) -> tuple[CaseId, str]:
        try:
            case_id, assignment_id = parse_delivery_key(key)
        except (ValueError, InvalidInput) as problem:
            raise InvalidInput("key: not a key", subject="key") from problem
        case = await self._desk.load(case_id)
        assignment = case.assignment(assignment_id) if case is not None else None
        if (
            case is None
            or assignment is None
            or assignment.adapter != adapter
            or not (assignment.state.open or assignment.state in (AssignmentState.MADE, AssignmentState.SENDING))
            or not case.has_contact
            or case.contact_erased
            or not self._adapters.get(adapter).can(Capability.NEEDS_CONTACT)
        ):
            raise NotAllowed("no such contact", subject=key)
        return case_id, f"{assignment_id}.{len(assignment.attempts)}"
