"""What linkage stores for a commit on a bus in memory: who is told once, and the same ids when the commit comes again late."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from hub.bus.streams import DISPATCH, REACTIONS, TIMERS
from hub.model.actors import SYSTEM
from hub.model.aggregate import Aggregates, Event
from hub.model.assignments.events import AssignmentMade
from hub.model.case import CASE
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case.effects import NOTICES
from hub.model.case.state import Case, Channel, case_id
from hub.model.district.areas import AreaCode
from hub.model.effects import Reaction, Task, Verb, decode_reaction, decode_task
from hub.model.limits.events import Supervised, Urged
from hub.model.policy.rules import LadderAction, Step
from hub.model.records import Source
from hub.spine.effects.linkage import Linkage
from hub.spine.ledger.desk import Desk, Desks
from hub.testing.memory import MemoryLedger
from tests.unit.api_world import Clock
from tests.unit.case_play import CODEC
from tests.unit.fake_rules import COMMUNITY, GRID, LAMP, NOISE, SEWER, FakeRules

ID, OTHER = case_id(GRID, "0123456789abcdef"), case_id(GRID, "fedcba9876543210")
HOTLINE = Source(adapter="hotline", ref="1001")
MAILBOX = Source(adapter="mailbox", ref="1001")
STEPS = (LadderAction.URGE, LadderAction.URGE, LadderAction.SUPERVISE, LadderAction.SUPERVISE)


class Town:
    """A desk whose commits linkage carries out on a bus in memory."""

    def __init__(self, rules: FakeRules | None = None) -> None:
        self.clock = Clock()
        self.ledger = MemoryLedger(Aggregates(CASE))
        self.bus = self.ledger.bus
        self.desk: Desk[Case, Any, Any] = Desk(CASE, self.ledger, lambda: (rules or FakeRules()).rules, clock=self.clock)
        self.linkage = Linkage(self.bus, self.ledger, Desks(self.desk))  # type: ignore[arg-type]

    async def do(self, command: c.Command, id: Any = ID) -> tuple[Event, ...]:
        """Commit it and carry it out; what happened."""
        outcome = await self.desk.execute(id, command, actor=SYSTEM)
        assert outcome.commit is not None
        await self.linkage.carry_out(outcome.commit)
        return outcome.events

    async def report(self, category: str = LAMP, id: Any = ID, **given: Any) -> None:
        values = {"channel": Channel.HOTLINE, "title": "路灯不亮", "text": "路灯不亮", "area": GRID, "category": category}
        await self.do(c.Report(**{**values, "reported_at": self.clock.at, **given}), id)

    async def attach(self, source: Source, id: Any = ID) -> None:
        """A later report of the same matter."""
        await self.do(
            c.AttachReport(
                channel=Channel.RESIDENT, text="又来信", area=AreaCode(GRID), reported_at=self.clock.at, source=source
            ),
            id,
        )

    async def tasks(self, verb: Verb) -> list[Task]:
        """What the adapters have to do."""
        stored = [decode_task(message.data) for message in await self.bus.all_of(DISPATCH, "dispatch.>")]
        return [task for task in stored if task.verb is verb]

    async def reactions(self) -> list[Reaction]:
        """What the hub has to do itself."""
        return [decode_reaction(message.data) for message in await self.bus.all_of(REACTIONS, "react.>")]


@pytest.fixture
def town() -> Town:
    return Town()


def told(tasks: Sequence[Task], stage: str) -> list[tuple[str, str | None]]:
    return [(task.adapter, task.ref) for task in tasks if task.stage == stage]


async def test_a_case_that_triage_gives_to_another_holder_is_not_taken_up_once_more_for_its_source(town: Town) -> None:
    await town.report(source=HOTLINE)
    events = await town.do(c.Triage(category=SEWER, reason="是下水道"))
    assert [event.unit for event in events if isinstance(event, e.CaseHeld)] == [COMMUNITY]
    assert [(task.adapter, task.ref, task.text) for task in await town.tasks(Verb.INFORM)] == [
        ("hotline", "1001", NOTICES["taken"])
    ]


async def test_a_source_that_joined_before_linkage_came_to_the_report_is_told_once_that_it_is_taken(town: Town) -> None:
    await town.report(source=HOTLINE)
    await town.attach(MAILBOX)
    for commit in town.ledger.all():  # a second time, as after a kill: the case has both sources by now
        await town.linkage.carry_out(commit)
    assert sorted(told(await town.tasks(Verb.INFORM), "taken")) == [("hotline", "1001"), ("mailbox", "1001")]


async def test_a_report_on_a_merged_case_is_taken_by_the_one_that_goes_on(town: Town) -> None:
    await town.report()
    await town.report(id=OTHER)
    await town.do(c.Merge(into=OTHER, reason="同一事项"))
    await town.do(c.Absorb(other=ID, stamp=town.clock.at), OTHER)
    await town.do(c.FinishMerge(into=OTHER))
    await town.attach(MAILBOX)
    assert await town.tasks(Verb.INFORM) == []
    passed_on = (await town.reactions())[-1]
    await town.do(CODEC.decode_command(bytes(passed_on.command)), OTHER)
    (task,) = await town.tasks(Verb.INFORM)
    assert (passed_on.to, task.matter, task.adapter, task.ref) == (OTHER, OTHER, "mailbox", "1001")


async def test_what_follows_from_a_commit_keeps_its_ids_when_it_is_carried_out_again_later(town: Town) -> None:
    await town.report(NOISE, source=HOTLINE, contact_fields=("phone",))
    await town.report(LAMP, OTHER)
    await town.attach(MAILBOX)
    await town.do(c.StartDelivery(assignment="a1"))
    await town.do(c.RecordDelivered(assignment="a1", ticket="T-1", attempt=1))
    await town.do(c.Urge(message="请尽快", assignment="a1"))
    await town.do(c.Recall(assignment="a1", reason="另派"))
    assert any(isinstance(event, AssignmentMade) for event in await town.do(c.Dispatch()))
    await town.do(c.EraseContact(reason="本人要求"))
    await town.do(c.Merge(into=OTHER, reason="同一事项"))
    (asked,) = [reaction for reaction in await town.reactions() if reaction.to == OTHER]
    await town.do(c.Absorb(other=ID, stamp=town.clock.at), OTHER)
    await town.do(c.FinishMerge(into=OTHER))
    tasks = [task for verb in Verb for task in await town.tasks(verb)]
    reactions = await town.reactions()
    assert {task.verb for task in tasks} == set(Verb)
    assert asked in reactions
    assert {reaction.procedure for reaction in reactions} == {None, "erasure"}
    assert len({one.id for one in (*tasks, *reactions)}) == len(tasks) + len(reactions)
    timers = await town.bus.all_of(TIMERS, "timer.>")

    for commit in town.ledger.all():
        await town.linkage.carry_out(commit)
    assert [task for verb in Verb for task in await town.tasks(verb)] == tasks
    assert await town.reactions() == reactions
    assert [(m.subject, m.headers) for m in await town.bus.all_of(TIMERS, "timer.>")] == [
        (m.subject, m.headers) for m in timers
    ]


async def test_two_sources_with_one_number_are_both_told_how_it_ended(town: Town) -> None:
    await town.report(source=HOTLINE)
    await town.attach(MAILBOX)
    await town.do(c.Void(reason="误报"))
    ended = [task for task in await town.tasks(Verb.INFORM) if task.stage == "void"]
    assert sorted((task.adapter, task.ref) for task in ended) == [("hotline", "1001"), ("mailbox", "1001")]
    assert len({task.id for task in ended}) == 2


async def test_every_step_of_one_commit_reaches_the_department_with_its_own_text() -> None:
    town = Town(FakeRules(steps=tuple(Step(action=what, after=timedelta(hours=n)) for n, what in enumerate(STEPS))))
    await town.report(SEWER)
    made = [event for event in await town.do(c.Dispatch()) if isinstance(event, AssignmentMade)]
    theirs = next(event.assignment for event in made if event.adapter == "property")
    town.clock.at += timedelta(hours=9)
    late = await town.do(c.CheckDeadlines())
    said = [event.message for event in late if isinstance(event, Urged | Supervised) and event.assignment == theirs]
    assert len(said) == 4, "the hub was away for nine hours: all steps are in one commit"
    urges = await town.tasks(Verb.URGE)
    assert [task.text for task in urges] == said
    assert len({task.id for task in urges}) == 4
