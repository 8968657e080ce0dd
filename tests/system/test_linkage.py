"""What follows from a commit, as it is stored in the queues of a real server: each is stored once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from hub.bus import Bus
from hub.bus.streams import DISPATCH, stream_state
from hub.model.actors import SYSTEM
from hub.model.aggregate import Aggregates
from hub.model.case import CASE
from hub.model.case import commands as c
from hub.model.case.state import Channel, case_id
from hub.model.effects import Task, decode_task
from hub.model.records import Source
from hub.spine.effects.linkage import Linkage
from hub.spine.ledger.desk import Desk, Desks
from hub.spine.ledger.store import CheckpointFile, Ledger
from hub.testing.kit import eventually
from tests.unit.fake_rules import COMMUNITY, GRID, SEWER, FakeRules, person

ID = case_id(GRID, "0123456789abcdef")


class Matter:
    """One case, a clock moved by hand, and the linkage that follows it."""

    def __init__(self, bus: Bus, folder: Path) -> None:
        self.bus = bus
        self.now = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
        ledger = Ledger(bus, CheckpointFile(folder / "checkpoint.json"), Aggregates(CASE))
        self.desk = Desk(CASE, ledger, lambda: FakeRules().rules, clock=lambda: self.now)
        self.linkage = Linkage(bus, ledger, Desks(self.desk))

    async def report(self, category: str, source: Source | None = None) -> None:
        report = c.Report(
            channel=Channel.HOTLINE,
            title="路灯不亮",
            text="三号楼前的路灯不亮了",
            area=GRID,
            reported_at=self.now,
            category=category,
            source=source,
        )
        await self.desk.execute(ID, report, actor=SYSTEM)

    async def tasks(self, commits: int) -> list[Task]:
        """What is stored for departments and sources once `commits` have been carried out, and then once more."""
        runs = [asyncio.create_task(self.linkage.run())]
        try:

            async def done() -> bool:
                return self.linkage.sequence >= commits and (await self._left()) == 0

            await eventually(done)
            await self.bus.api("CONSUMER.DELETE.LEDGER.linkage")
            self.linkage.sequence = 0
            runs[0].cancel()
            runs.append(asyncio.create_task(self.linkage.run()))
            await eventually(done)
        finally:
            for run in runs:
                run.cancel()
            await asyncio.gather(*runs, return_exceptions=True)
        return [decode_task(message.data) for message in await self.bus.all_of(DISPATCH, "dispatch.>")]

    async def _left(self) -> int:
        state = await self.bus.api("CONSUMER.INFO.LEDGER.linkage")
        return int(state["num_ack_pending"]) + int(state["num_pending"])


async def test_commits_that_come_again_store_nothing_twice(bus: Bus, tmp_path: Path) -> None:
    matter = Matter(bus, tmp_path)
    await matter.report(SEWER, Source(adapter="hotline", ref="GD-1"))
    await matter.desk.execute(ID, c.Dispatch(), actor=person(COMMUNITY))
    tasks = await matter.tasks(2)
    assert sorted(task.effect for task in tasks) == sorted({task.effect for task in tasks})
    assert (await stream_state(bus, DISPATCH)).messages == len(tasks)
