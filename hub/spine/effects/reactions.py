"""Reactions 联动: a commit of one matter sets off a command to another matter, or a procedure of the hub's own.

Each waits in a durable queue and is done once: the command's id is derived from the commit. When the other matter refuses, the asking
matter is told, if it wants to hear of it. Called by nobody; started by the composition root.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import REACTIONS, ensure_consumer
from hub.errors import HubError, InvalidInput, LedgerDamaged, NotAllowed
from hub.model.actors import SYSTEM
from hub.model.aggregate import Command, MatterId, tag_of
from hub.model.effects import Reaction, decode_reaction
from hub.observing import telemetry
from hub.spine.aside.put_aside import NO_ADAPTER, Note, read_or_put_aside, unreadable
from hub.spine.ledger.codec import Codecs
from hub.spine.ledger.desk import Desks

log = structlog.get_logger("hub.reactions")

DURABLE = "reactions"

Procedure = Callable[[MatterId, str], Awaitable[None]]
"""Does something about a matter: (its id, the id of the command it may give). Done at least once, so it has to bear a repeat."""


class Reactions:
    """Works the queue of reactions."""

    def __init__(self, bus: Bus, desks: Desks, codecs: Codecs, procedures: Mapping[str, Procedure], note: Note) -> None:
        self._bus = bus
        self._desks = desks
        self._codecs = codecs
        self._procedures = procedures
        self._note = note

    async def run(self) -> None:
        """Work reactions for ever."""
        await ensure_consumer(self._bus, REACTIONS, DURABLE, subject="react.>", most_pending=10_000)
        async with PullConsumer(self._bus, REACTIONS, DURABLE, capacity=32) as consumer, asyncio.TaskGroup() as group:
            while True:
                raise_if_cancelled()
                group.create_task(self._one(await consumer.next()))

    async def _one(self, delivery: Delivery) -> None:
        """Do one and end its delivery in every case."""
        reaction = await read_or_put_aside(delivery, decode_reaction, self._note)
        if reaction is None:
            return
        async with delivery.handling():
            kind = reaction.procedure or "command"
            try:
                with telemetry.span(
                    f"process react.{kind}",
                    kind="consumer",
                    parent=reaction.traceparent,
                    links=(reaction.traceparent,) if reaction.traceparent else (),
                    matter=reaction.to or reaction.origin,
                ):
                    await self.do(reaction)
            except (msgspec.MsgspecError, InvalidInput, NotAllowed, LedgerDamaged, ValueError) as problem:
                # Another try would come to the same: a person has to see it, and the queue goes on.
                reason = problem.message if isinstance(problem, HubError) else str(problem)
                log.error("reaction put aside", subject=delivery.subject, reason=reason)
                await self._note(unreadable(delivery, reason, adapter=NO_ADAPTER))
                await delivery.stop()
            else:
                await delivery.ack(confirmed=True)

    async def do(self, reaction: Reaction) -> None:
        """Do one. Repeating changes nothing. Raises BusUnavailable, LedgerConflict; InvalidInput and NotAllowed when it can't be done."""
        origin = MatterId(reaction.origin)
        if reaction.procedure is not None:
            procedure = self._procedures.get(reaction.procedure)
            if procedure is None:
                raise InvalidInput(f"no such procedure: {reaction.procedure}", subject="procedure")
            await procedure(origin, reaction.id)
            return
        target = self._desks.of(reaction.to or "")
        to = MatterId(reaction.to or "")
        command = self._codecs.of(target.aggregate.name).decode_command(bytes(reaction.command))
        source = self._desks.of(origin)
        asked = await source.load(origin)
        if asked is not None and not source.aggregate.awaits(asked.state, command):
            return  # it was answered already, and this came once more
        try:
            # Not strict: made anew from a later state it may say more, and it is the same command all the same.
            await target.execute(to, command, actor=SYSTEM, command_id=reaction.id, cause=telemetry.traceparent(), strict=False)
        except (InvalidInput, NotAllowed) as problem:
            if bytes(reaction.refused) == b"null":
                log.info("reaction refused", to=to, command=tag_of(command), reason=problem.message)
                return
            answer = self._codecs.of(source.aggregate.name).decode_command(bytes(reaction.refused))
            await source.execute(
                origin,
                _with_reason(answer, getattr(problem, "rule", problem.message)),
                actor=SYSTEM,
                command_id=f"{reaction.id}:refused",
                cause=telemetry.traceparent(),
                strict=False,
            )


def _with_reason(command: Any, reason: str) -> Command:
    """The answer with the other matter's reason in it."""
    filled: Command = msgspec.structs.replace(command, reason=reason[:500])
    return filled


__all__ = ["DURABLE", "Procedure", "Reactions"]
