"""Runs one case from report to close in a hub of its own, and kills itself (SIGKILL) at the n-th step it is told.

`python -m tests.fault.one_case DATA OFFICE_URL STEP`: a step is the moment before or after anything durable or outside is
touched: a publish, an acknowledgement, a call to the department. Started again and again by test_crash until it gets through;
prints the number of steps it took and the case's end as JSON. STEP 0: never.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from hub.app import Hub
from hub.bus.connection import Bus
from hub.bus.pull import Delivery
from hub.contract import Adapter, AdapterInstance, Assignment, Capability, Feedback, FeedbackKind, Manifest, Receipt
from hub.errors import OutcomeUnknown
from hub.model.actors import SYSTEM
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.assignments.state import AssignmentState
from hub.model.case.commands import Visit
from hub.model.case.state import Channel, Severity, Stage
from hub.observing import logs
from hub.serving import run_loop
from hub.settings import Settings
from hub.spine.ways_in.intake import Entry

DATA, OFFICE, STEP = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
CONFIG = Path(__file__).parents[2] / "config"
steps = 0


def step() -> None:
    """One more moment at which the process may die."""
    global steps
    steps += 1
    if steps == STEP:
        os.kill(os.getpid(), signal.SIGKILL)


def mined(owner: Any, name: str) -> None:
    """Put a step before and after an async method."""
    inner = getattr(owner, name)

    async def outer(*args: Any, **kwargs: Any) -> Any:
        step()
        result = await inner(*args, **kwargs)
        step()
        return result

    setattr(owner, name, outer)


class Office(Adapter):
    """The ticket office's adapter."""

    manifest = Manifest(
        name="office",
        department="窗口",
        version="1",
        capabilities=frozenset({Capability.LOOKUP}),
        attempt_timeout=timedelta(seconds=5),
    )

    async def start(self) -> None:
        self.client = httpx.AsyncClient(base_url=OFFICE)

    async def stop(self) -> None:
        await self.client.aclose()

    async def deliver(self, assignment: Assignment) -> Receipt:
        step()
        try:
            answer = await self.client.post("/orders", json={"key": assignment.key})
        except httpx.HTTPError as problem:
            raise OutcomeUnknown(str(problem)) from problem
        step()
        return Receipt(ticket=answer.json()["ticket"])

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        answer = await self.client.get(f"/orders/{assignment.key}")
        return Receipt(ticket=answer.json()["ticket"]) if answer.status_code == 200 else None


async def main() -> None:
    logs.setup("warning", stream=sys.stderr)
    mined(Bus, "publish")
    for name in ("ack", "retry", "stop"):
        mined(Delivery, name)
    settings = Settings(data=DATA, config=CONFIG, tracing=False)
    settings = settings.model_copy(update={"nats": settings.nats.model_copy(update={"port": 0})})
    instances = [
        AdapterInstance(name=name, plugin="office", backoff_base=timedelta(milliseconds=50))
        for name in ("police", "property", "utilities")
    ]
    async with Hub.open(settings, instances=instances, plugins=[Office]) as hub, hub.running():
        entry = Entry(
            channel=Channel.RESIDENT,
            title="楼道里有燃气味",
            text="三单元楼道有很浓的燃气味，担心泄漏。",
            reported_at=datetime(2026, 11, 20, 8, 0, tzinfo=UTC),
            area="320113001001001",
            category="E0401",
            severity=Severity.URGENT,
        )
        # The reporter repeats the same request with the same key until it is answered, as a client does.
        outcome = await hub.intake.report(entry, actor=SYSTEM, key="the one report")
        case = outcome.state
        while case.stage is not Stage.CLOSED:
            if hub.fatal.done():
                raise SystemExit(hub.fatal.result())
            for assignment in case.assignments:
                if assignment.state is AssignmentState.DELIVERED:
                    key = f"{case.id}.{assignment.id}"
                    await hub.reportback.take(
                        assignment.adapter or "", Feedback(id=f"{key}/done", kind=FeedbackKind.RESOLVED, key=key, note="已处理")
                    )
            if case.stage is Stage.RESOLVED:
                await hub.desk.execute(
                    case.id,
                    Visit(reached=Reached.YES, solved=Solved.YES, satisfied=Satisfied.YES),
                    actor=SYSTEM,
                    command_id="the visit",
                )
            await asyncio.sleep(0.01)
            folded = await hub.desk.load(case.id)
            case = case if folded is None else folded.state
        count, _ = await hub.ledger.verify()
        cases = {commit.id async for _, commit, _ in hub.ledger.follow(0, live=False)}
        print(
            json.dumps(
                {
                    "steps": steps,
                    "commits": count,
                    "cases": sorted(cases),
                    "tickets": {a.id: a.ticket for a in case.assignments},
                    "states": [a.state.value for a in case.assignments],
                }
            )
        )


if __name__ == "__main__":
    run_loop(main)
