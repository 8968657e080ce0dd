"""Linkage: follows the ledger and turns commits into effects: dispatch tasks, notices to sources, reactions, timers.

The aggregate says which effects follow from a commit. Linkage stores each in its queue. Effects are at-least-once, with ids derived from
the commit; whoever carries one out looks at the ledger first. A task for an adapter that is not enabled waits in its queue. The place in
the stream is the only durable thing here. Started by the composition root.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec
import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.pull import PullConsumer
from hub.bus.streams import LEDGER, ensure_consumer
from hub.errors import BusUnavailable
from hub.model.aggregate import MATTERS, Commit, Folded, command_id_of
from hub.model.effects import (
    Call,
    Effect,
    Inform,
    React,
    Reaction,
    Task,
    Tell,
    Verb,
    encode_reaction,
    encode_task,
)
from hub.model.records import Source
from hub.observing import telemetry
from hub.spine.effects.waking import wake_when_due
from hub.spine.ledger.desk import Desks

log = structlog.get_logger("hub.linkage")

DURABLE = "linkage"


class Reader(Protocol):
    """What linkage needs of the ledger."""

    def read(self, subject: str, raw: bytes) -> Commit[Any]:
        """A ledger message as a commit."""
        ...


class Linkage:
    """Runs the ledger's effects."""

    def __init__(self, bus: Bus, ledger: Reader, desks: Desks) -> None:
        self._bus = bus
        self._ledger = ledger
        self._desks = desks
        self.sequence = 0

    async def run(self) -> None:
        """Follow the ledger for ever; a batch is acknowledged when all its effects are stored."""
        await ensure_consumer(self._bus, LEDGER, DURABLE, subject=MATTERS, most_pending=20_000)
        async with PullConsumer(self._bus, LEDGER, DURABLE, capacity=2048) as consumer:
            while True:
                raise_if_cancelled()
                batch = await consumer.batch(512)
                commits = []
                for delivery in batch:
                    commits.append(self._ledger.read(delivery.subject, delivery.data))
                    self.sequence = max(self.sequence, delivery.sequence)
                while True:
                    try:
                        await asyncio.gather(*(self.carry_out(commit) for commit in commits if self._interesting(commit)))
                        break
                    except BusUnavailable as problem:
                        log.warning("effects not stored, trying again", reason=problem.message)
                        await asyncio.sleep(0.5)
                # Each by itself: an acknowledgement of "all up to here" would take along older ones that a killed or
                # disconnected process had in hand and that have not come again yet.
                await consumer.ack(batch)

    def _interesting(self, commit: Commit[Any]) -> bool:
        """Whether a commit can have effects at all (most do not)."""
        if commit.wake_at is not None:
            return True
        effectful = self._desks.of(commit.id).aggregate.effectful
        return any(type(event) in effectful for event in commit.events)

    async def carry_out(self, commit: Commit[Any]) -> None:
        """Store what follows from a commit; done again, its ids are the same. Raises BusUnavailable."""
        desk = self._desks.of(commit.id)
        folded = await desk.known(commit.id, number=commit.number)
        if folded is None:
            raise BusUnavailable(f"{commit.id} can't be read", subject=commit.id)
        messages = [
            message
            for effect in desk.aggregate.effects(commit, folded.state)
            for message in await self._messages(commit, folded, effect)
        ]
        if messages:
            with telemetry.span(
                f"process ledger.{commit.aggregate}",
                kind="consumer",
                parent=commit.traceparent,
                links=(commit.traceparent,) if commit.traceparent else (),
                matter=commit.id,
            ):
                await asyncio.gather(
                    *(self._dispatch(message) if isinstance(message, Task) else self._react(message) for message in messages)
                )
        if commit.wake_at is not None:
            # By the state, for an older commit may come again after a newer one, here or elsewhere.
            await wake_when_due(self._bus, desk, await desk.known(commit.id) or folded)

    async def _messages(self, commit: Commit[Any], folded: Folded[Any], effect: Effect) -> list[Task | Reaction]:
        """An effect as it waits in the queues; a notice is one for each source that listens."""
        own = f"{commit.id}:{commit.number}:{effect.event}"
        match effect:
            case Tell():
                what = f"{effect.verb.value}:{effect.assignment}"
                return [
                    Task(
                        id=f"{own}:{what}",
                        verb=effect.verb,
                        matter=commit.id,
                        number=commit.number,
                        at=commit.at,
                        adapter=effect.adapter,
                        effect=what,
                        assignment=effect.assignment,
                        text=effect.text,
                        while_open=effect.while_open,
                        cause=commit.traceparent,
                    )
                ]
            case Inform():
                only = effect.only
                sources = [Source(adapter=only[0], ref=only[1])] if only else await self._desks.listeners(folded)
                return [_notice(commit, own, source, effect) for source in sources]
            case React() | Call():
                return [reaction_of(commit, effect)]

    async def _dispatch(self, task: Task) -> None:
        with telemetry.span(
            f"create dispatch.{task.adapter}",
            kind="producer",
            matter=task.matter,
            attributes={telemetry.EFFECT: task.effect, telemetry.DESTINATION_TEMPLATE: "dispatch.{adapter}"},
        ) as span:
            ready = msgspec.structs.replace(task, traceparent=span.traceparent)
            await self._bus.publish(f"dispatch.{task.adapter}.{task.matter}", encode_task(ready), message_id=task.id)

    async def _react(self, reaction: Reaction) -> None:
        target = reaction.to or reaction.origin
        kind = reaction.procedure or "command"
        with telemetry.span(f"create react.{kind}", kind="producer", matter=target) as span:
            ready = msgspec.structs.replace(reaction, traceparent=span.traceparent or reaction.traceparent)
            await self._bus.publish(f"react.{kind}.{target}", encode_reaction(ready), message_id=reaction.id)


def reaction_of(commit: Commit[Any], effect: React | Call) -> Reaction:
    """An effect inside the hub as it waits in its queue."""
    match effect:
        case React():
            return Reaction(
                id=command_id_of(commit, effect),
                origin=commit.id,
                number=commit.number,
                to=effect.to,
                command=msgspec.Raw(msgspec.json.encode(effect.command)),
                refused=msgspec.Raw(msgspec.json.encode(effect.refused)),
                traceparent=commit.traceparent,
            )
        case Call():
            return Reaction(
                id=f"{commit.id}:{commit.number}:{effect.event}:{effect.procedure}",
                origin=commit.id,
                number=commit.number,
                procedure=effect.procedure,
                traceparent=commit.traceparent,
            )


def _notice(commit: Commit[Any], own: str, source: Source, effect: Inform) -> Task:
    return Task(
        id=f"{own}:inform:{effect.stage}:{source.adapter}:{source.ref}",
        verb=Verb.INFORM,
        matter=commit.id,
        number=commit.number,
        at=commit.at,
        adapter=source.adapter,
        effect=f"inform:{effect.stage}",
        ref=source.ref,
        stage=effect.stage,
        text=effect.text,
        cause=commit.traceparent,
    )


__all__ = ["DURABLE", "Linkage", "reaction_of"]
