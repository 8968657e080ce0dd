"""Linkage: follows the ledger and turns commits into effects: dispatch tasks, notices to the source, timers.

Effects are at-least-once with ids derived from the commit; whoever carries one out looks at the ledger first. A task for an
adapter that is not enabled waits in its queue. Owns nothing durable but its place in the stream. Started by the composition root.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import structlog

from hub import telemetry
from hub.bus.connection import Bus
from hub.bus.pull import PullConsumer
from hub.bus.streams import LEDGER, ensure_consumer
from hub.bus.timers import set_timer
from hub.cancellation import raise_if_cancelled
from hub.desk import Desk
from hub.errors import BusUnavailable
from hub.ledger_codec import decode
from hub.model.cases import ASKS_ITSELF, Source
from hub.model.events import (
    AssignmentMade,
    AssignmentRecalled,
    CaseClosed,
    CaseHeld,
    CaseReopened,
    CaseResolved,
    CaseVoided,
    Commit,
    DeliveryReplayed,
    ReportAttached,
    Supervised,
    Urged,
)
from hub.model.tasks import Task, TaskKind, encode_task

if TYPE_CHECKING:
    from hub.model.cases import Case

log = structlog.get_logger("hub.linkage")

DURABLE = "linkage"

NOTICES = {
    "taken": "您反映的事项已受理，正在办理。",
    "resolved": "您反映的事项已办理完毕，我们将进行回访。",
    "closed": "您反映的事项已结案，感谢您的反映。",
    "void": "您反映的事项经核实不予办理或无需办理，已作结束处理。",
    "reopened": "您反映的事项已重新办理。",
}
"""What the reporter is told at each stage; nothing personal, no departmental internals."""


def assignment_tasks(commit: Commit, case: Case | None) -> Iterator[Task]:
    """The tasks towards assigned departments that a commit asks for; `case` is its state now (for urges and recalls)."""
    for event in commit.events:
        match event:
            case AssignmentMade(assignment=id, adapter=str() as adapter):
                yield _task(commit, TaskKind.DELIVER, adapter, id)
            case DeliveryReplayed(assignment=id) | AssignmentRecalled(assignment=id, tell=True):
                kind = TaskKind.DELIVER if isinstance(event, DeliveryReplayed) else TaskKind.RECALL
                found = case.assignment(id) if case is not None else None
                if found is not None and found.adapter is not None:
                    yield _task(commit, kind, found.adapter, id, text=event.reason)
            case Urged(assignment=str() as id, message=message) | Supervised(assignment=str() as id, message=message):
                found = case.assignment(id) if case is not None else None
                if found is not None and found.adapter is not None:
                    yield _task(commit, TaskKind.URGE, found.adapter, id, text=message)


def _task(commit: Commit, kind: TaskKind, adapter: str, id: str, *, text: str | None = None) -> Task:
    effect = f"{kind.value}:{id}"
    return Task(
        id=f"{commit.case}:{commit.number}:{effect}",
        kind=kind,
        case=commit.case,
        number=commit.number,
        at=commit.at,
        adapter=adapter,
        effect=effect,
        assignment=id,
        text=text,
        cause=commit.traceparent,
    )


def told_stages(commit: Commit) -> list[str]:
    """The stages the source has to hear about after this commit."""
    stages = []
    for event in commit.events:
        match event:
            case CaseHeld(cause="triage") | ReportAttached():
                stages.append("taken")
            case CaseResolved():
                stages.append("resolved")
            case CaseClosed():
                stages.append("closed")
            case CaseVoided():
                stages.append("void")
            case CaseReopened():
                stages.append("reopened")
    return stages


def _interesting(commit: Commit) -> bool:
    """Whether a commit can have effects at all (most do not)."""
    return commit.wake_at is not None or any(isinstance(event, _EFFECTFUL) for event in commit.events)


_EFFECTFUL = (
    AssignmentMade,
    AssignmentRecalled,
    CaseClosed,
    CaseHeld,
    CaseReopened,
    CaseResolved,
    CaseVoided,
    DeliveryReplayed,
    ReportAttached,
    Supervised,
    Urged,
)


class Linkage:
    """Runs the ledger's effects."""

    def __init__(self, bus: Bus, desk: Desk) -> None:
        self._bus = bus
        self._desk = desk
        self.sequence = 0

    async def run(self) -> None:
        """Follow the ledger for ever; a batch is acknowledged when all its effects are stored."""
        await ensure_consumer(self._bus, LEDGER, DURABLE, subject="ledger.case.>", most_pending=20_000)
        async with PullConsumer(self._bus, LEDGER, DURABLE, capacity=2048) as consumer:
            while True:
                raise_if_cancelled()
                batch = await consumer.batch(512)
                effects = []
                for delivery in batch:
                    commit = decode(delivery.data)
                    self.sequence = max(self.sequence, delivery.sequence)
                    if _interesting(commit):
                        effects.append(self._carry_out(commit))
                while True:
                    try:
                        await asyncio.gather(*effects)
                        break
                    except BusUnavailable as problem:
                        log.warning("effects not stored, trying again", reason=problem.message)
                        await asyncio.sleep(0.5)
                        effects = [self._carry_out(c) for d in batch if _interesting(c := decode(d.data))]
                # Each by itself: an acknowledgement of "all up to here" would take along older ones that a killed or
                # disconnected process had in hand and that have not come again yet.
                await consumer.ack(batch)

    async def _carry_out(self, commit: Commit) -> None:
        if commit.wake_at is not None:
            await set_timer(self._bus, commit.case, commit.wake_at)
        tasks = await self._tasks(commit)
        if not tasks:
            return
        with telemetry.span(
            "process ledger.case", kind="consumer", parent=commit.traceparent, links=_links(commit), case=commit.case
        ):
            await asyncio.gather(*(self._store(task) for task in tasks))

    async def _store(self, task: Task) -> None:
        with telemetry.span(
            f"create dispatch.{task.adapter}",
            kind="producer",
            case=task.case,
            attributes={"hub.effect": task.effect, "messaging.destination.template": "dispatch.{adapter}"},
        ) as span:
            ready = msgspec.structs.replace(task, traceparent=span.traceparent)
            await self._bus.publish(f"dispatch.{task.adapter}.{task.case}", encode_task(ready), message_id=task.id)

    async def _tasks(self, commit: Commit) -> list[Task]:
        stages = told_stages(commit)
        needs_state = stages or any(
            isinstance(event, DeliveryReplayed | AssignmentRecalled | Urged | Supervised) for event in commit.events
        )
        case = await self._desk.load(commit.case, number=commit.number) if needs_state else None
        tasks = list(assignment_tasks(commit, case))
        if stages and case is not None:
            for source in await self._sources(case, commit):
                tasks.extend(_notice(commit, source, stage) for stage in stages)
        return tasks

    async def _sources(self, case: Case, commit: Commit) -> list[Source]:
        """Every outside record that waits for word on this case: its own, those attached, those of absorbed cases."""
        if any(isinstance(event, ReportAttached) for event in commit.events):
            joined = [e.source for e in commit.events if isinstance(e, ReportAttached) and e.source is not None]
            return [source for source in joined if not source.adapter.startswith(ASKS_ITSELF)]
        sources = [case.source] if case.source is not None else []
        sources.extend(case.attached_reports)
        for other in case.absorbed:
            absorbed = await self._desk.load(other)
            if absorbed is not None and absorbed.source is not None:
                sources.append(absorbed.source)
        return [source for source in dict.fromkeys(sources) if not source.adapter.startswith(ASKS_ITSELF)]


def _notice(commit: Commit, source: Source, stage: str) -> Task:
    effect = f"inform:{stage}"
    return Task(
        id=f"{commit.case}:{commit.number}:{effect}:{source.ref}",
        kind=TaskKind.INFORM,
        case=commit.case,
        number=commit.number,
        at=commit.at,
        adapter=source.adapter,
        effect=effect,
        ref=source.ref,
        stage=stage,
        text=NOTICES[stage],
        cause=commit.traceparent,
    )


def _links(commit: Commit) -> tuple[str, ...]:
    return (commit.traceparent,) if commit.traceparent else ()


__all__ = ["DURABLE", "NOTICES", "Linkage", "assignment_tasks", "told_stages"]
