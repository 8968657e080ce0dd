"""Answers of adapters elsewhere on attempts and effects, as the lifecycle's commands. Idempotent: each message has its own command id.

An answer may name an attempt that nobody announced (its `started` was lost, or comes later). Then it begins it first. Called by `answers`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import structlog
from msgspec import Struct

from hub.contract.values import shared
from hub.errors import InvalidInput, NotAllowed, TransitionRefused
from hub.model.actors import SYSTEM
from hub.model.aggregate import Command, Folded, MatterId
from hub.model.assignments.commands import (
    RecordDead,
    RecordDelivered,
    RecordEffect,
    RecordFailed,
    RecordRefused,
    RecordUncertain,
    StartDelivery,
)
from hub.model.assignments.state import Assigned, Assignment, AttemptOutcome, DeadLetter, parse_delivery_key
from hub.observing import telemetry
from hub.observing.logs import redact_text
from hub.platform.adapters import Away
from hub.platform.remote import messages
from hub.platform.remote.protocol import Event
from hub.spine.dispatch.carrying_out import MOST_REASON
from hub.spine.handover import awaits_delivery
from hub.spine.ledger.desk import Desks

log = structlog.get_logger("hub.remote")

MOST_AHEAD = 100
"""How many unannounced attempts are begun at most."""


class Outcomes:
    """Records outcomes."""

    def __init__(self, desks: Desks) -> None:
        self._desks = desks

    async def record(self, away: Away, event: Event) -> None:
        """Commit one message. Raises InvalidInput or NotAllowed when it can never be used, BusUnavailable and LedgerConflict."""
        data = event.data
        if isinstance(data, messages.Effect):
            await self._effect(away, event, data)
            return
        try:
            id, assignment_id = parse_delivery_key(data.key)
            folded = await self._desks.load(id)
        except ValueError as problem:
            raise InvalidInput("data.key: not a key", subject="data.key") from problem
        matter: Assigned | None = None if folded is None else folded.state
        found = matter.assignment(assignment_id) if matter is not None else None
        if matter is None or found is None or found.adapter != away.name:
            raise NotAllowed("the assignment is not this adapter's", subject=data.key)
        attempt = getattr(data, "attempt", None)
        if attempt is not None:
            matter = await self._reach(matter, found, attempt, f"{_command_id(away.name, event)}:start")
        command = self._command(away, event, matter, assignment_id)
        if command is not None:
            await self._execute(id, command, _command_id(away.name, event))

    async def _reach(self, matter: Assigned, found: Assignment, attempt: int, command_id: str) -> Assigned:
        """Begin attempts until `attempt` is there, as far as the assignment still waits for one."""
        if attempt > len(found.attempts) + MOST_AHEAD:
            raise InvalidInput(f"data.attempt: {attempt} is far beyond what was begun", subject="data.attempt")
        while awaits_delivery(found) and (not found.attempts or found.attempts[-1].number < attempt):
            last = found.attempts[-1] if found.attempts else None
            if last is not None and last.outcome is AttemptOutcome.STARTED:
                ended = RecordFailed(
                    assignment=found.id, attempt=last.number, error="interrupted", reason="another attempt began", unknown=True
                )
                await self._execute(matter.id, ended, f"{command_id}:{last.number}:end")
            number = 1 if last is None else last.number + 1
            if not await self._execute(matter.id, StartDelivery(assignment=found.id), f"{command_id}:{number}"):
                break
            again = await self._desks.known(matter.id)
            assert again is not None
            matter = again.state
            found = matter.assignment(found.id) or found
            if not found.attempts or found.attempts[-1].number < number:
                break
        return matter

    def _command(self, away: Away, event: Event, matter: Assigned, assignment: str) -> Command | None:
        data = event.data
        found = matter.assignment(assignment)
        assert found is not None
        match data:
            case messages.Started():
                return None  # `_reach` did it
            case messages.Filed():
                known = any(one.number == data.attempt for one in found.attempts)
                given = shared(data, RecordDelivered) | {"attempt": data.attempt if known else None}
                return RecordDelivered(assignment=assignment, **given)
            case messages.Refusal():
                return RecordRefused(assignment=assignment, **_told(data, RecordRefused))
            case messages.Failure():
                return RecordFailed(assignment=assignment, **_told(data, RecordFailed))
            case messages.Doubt():
                return RecordUncertain(assignment=assignment, **_told(data, RecordUncertain))
            case messages.Buried():
                letter = DeadLetter(
                    event_id=data.order,
                    subject=f"order.{away.name}.{matter.id}",
                    adapter_version=data.version[:100],
                    payload_hash=hashlib.sha256(data.order.encode()).hexdigest(),
                    traceparent=event.traceparent,
                    **_told(data, DeadLetter),
                )
                return RecordDead(assignment=assignment, letter=letter)
            case _:
                raise InvalidInput(f"type: {event.kind} is not about an attempt", subject="type")

    async def _effect(self, away: Away, event: Event, data: messages.Effect) -> None:
        try:
            folded = await self._desks.load(data.case)
        except ValueError as problem:
            raise InvalidInput("data.case: not a case", subject="data.case") from problem
        if folded is None or not await self._concerns(folded, away.name, data.effect):
            raise NotAllowed("the effect is not this adapter's", subject=data.case)
        command = RecordEffect(adapter=away.name, **_told(data, RecordEffect) | {"effect": data.effect[:100]})
        await self._execute(folded.id, command, _command_id(away.name, event))

    async def _concerns(self, folded: Folded[Any], adapter: str, effect: str) -> bool:
        """Whether an effect was one of this adapter's: on an assignment it has, or told to the source it is."""
        kind, _, what = effect.partition(":")
        if kind != "inform":
            assignment = folded.state.assignment(what)
            return assignment is not None and assignment.adapter == adapter
        return any(source.adapter == adapter for source in await self._desks.listeners(folded))

    async def _execute(self, id: MatterId, command: Command, command_id: str) -> bool:
        """Do it; false when the lifecycle does not want it any more (recalled meanwhile, ended): nothing is owed then."""
        try:
            await self._desks.execute(
                id, command, actor=SYSTEM, command_id=command_id, cause=telemetry.traceparent(), strict=False
            )
        except TransitionRefused as problem:
            log.info("an outcome comes too late", matter=id, reason=problem.message)
            return False
        return True


def _command_id(adapter: str, event: Event) -> str:
    return f"remote:{adapter}:{hashlib.sha256(event.id.encode()).hexdigest()[:24]}:{event.kind}"


def _told(data: messages.Message, kind: type[Struct]) -> dict[str, Any]:
    """What a message shares with `kind`. A department may repeat what it was sent, so personal data is masked in its reason."""
    found = shared(data, kind)
    if found.get("reason"):
        found["reason"] = redact_text(found["reason"])[:MOST_REASON]
    if found.get("error"):
        found["error"] = found["error"][:100]
    return found
