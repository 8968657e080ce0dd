"""What follows from a commit, as it is stored in the queues of a real server: each effect is a task of its own, and stored once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hub.bus import Bus
from hub.bus.streams import DISPATCH, stream_state
from hub.desk import Desk, Desks
from hub.ledger import CheckpointFile, Ledger
from hub.linkage import Linkage
from hub.model.actors import SYSTEM
from hub.model.aggregate import Aggregates
from hub.model.case import CASE
from hub.model.case import commands as c
from hub.model.case.state import Channel, case_id
from hub.model.effects import Task, TaskKind, decode_task
from hub.model.limits.events import Supervised, Urged
from hub.model.records import Source
from hub.model.rules import LadderAction, Step
from tests.eventually import eventually
from tests.unit.fake_rules import COMMUNITY, GRID, LAMP, SEWER, FakeRules, person

ID = case_id(GRID, "0123456789abcdef")
STEPS = (LadderAction.URGE, LadderAction.URGE, LadderAction.SUPERVISE, LadderAction.SUPERVISE)


class Matter:
    """One case, a clock moved by hand, and the linkage that follows it."""

    def __init__(self, bus: Bus, folder: Path, rules: FakeRules | None = None) -> None:
        self.bus = bus
        self.now = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
        ledger = Ledger(bus, CheckpointFile(folder / "checkpoint.json"), Aggregates(CASE))
        self.desk = Desk(CASE, ledger, lambda: (rules or FakeRules()).rules, clock=lambda: self.now)
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

    async def tasks(self, commits: int, *, again: bool = False) -> list[Task]:
        """What is stored for departments and sources once `commits` have been carried out; `again`: by a second linkage too."""
        runs = [asyncio.create_task(self.linkage.run())]
        try:

            async def done() -> bool:
                return self.linkage.sequence >= commits and (await self._left()) == 0

            await eventually(done, within=10)
            if again:
                await self.bus.api("CONSUMER.DELETE.LEDGER.linkage")
                self.linkage.sequence = 0
                runs[0].cancel()
                runs.append(asyncio.create_task(self.linkage.run()))
                await eventually(done, within=10)
        finally:
            for run in runs:
                run.cancel()
            await asyncio.gather(*runs, return_exceptions=True)
        return [decode_task(message.data) for message in await self.bus.all_of(DISPATCH, "dispatch.>")]

    async def _left(self) -> int:
        state = await self.bus.api("CONSUMER.INFO.LEDGER.linkage")
        return int(state["num_ack_pending"]) + int(state["num_pending"])


async def test_two_sources_with_one_number_are_both_told(bus: Bus, tmp_path: Path) -> None:
    matter = Matter(bus, tmp_path)
    await matter.report(LAMP, Source(adapter="hotline", ref="GD-1"))
    attach = c.AttachReport(
        channel=Channel.HOTLINE, text="还是不亮", area=GRID, reported_at=matter.now, source=Source(adapter="page", ref="GD-1")
    )
    await matter.desk.execute(ID, attach, actor=SYSTEM)
    await matter.desk.execute(ID, c.Void(reason="误报"), actor=SYSTEM)
    told = [task for task in await matter.tasks(3) if task.stage == "void"]
    assert sorted((task.adapter, task.ref) for task in told) == [("hotline", "GD-1"), ("page", "GD-1")]
    assert len({task.id for task in told}) == 2


async def test_every_step_of_one_commit_reaches_the_department_with_its_own_text(bus: Bus, tmp_path: Path) -> None:
    rules = FakeRules(steps=tuple(Step(action=what, after=timedelta(hours=n)) for n, what in enumerate(STEPS)))
    matter = Matter(bus, tmp_path, rules)
    await matter.report(SEWER)
    given = await matter.desk.execute(ID, c.Dispatch(), actor=person(COMMUNITY))
    theirs = next(item.id for item in given.state.assignments if item.adapter == "property")
    matter.now += timedelta(hours=9)
    late = await matter.desk.execute(ID, c.CheckDeadlines(), actor=SYSTEM)
    said = [event.message for event in late.events if isinstance(event, Urged | Supervised) and event.assignment == theirs]
    assert len(said) == 4, "the hub was away for nine hours: all steps are in one commit"
    urges = [task for task in await matter.tasks(3) if task.kind is TaskKind.URGE]
    assert [task.text for task in urges] == said
    assert len({task.id for task in urges}) == 4


async def test_commits_that_come_again_store_nothing_twice(bus: Bus, tmp_path: Path) -> None:
    matter = Matter(bus, tmp_path)
    await matter.report(SEWER, Source(adapter="hotline", ref="GD-1"))
    await matter.desk.execute(ID, c.Dispatch(), actor=person(COMMUNITY))
    tasks = await matter.tasks(2, again=True)
    assert sorted(task.effect for task in tasks) == sorted({task.effect for task in tasks})
    assert (await stream_state(bus, DISPATCH)).messages == len(tasks)
