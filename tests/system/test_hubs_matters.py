"""Two hubs on one bus change the same matters: nothing is stale, lost or doubled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hub.bus.streams import TIMERS
from hub.contract import Feedback, FeedbackKind
from hub.model.actors import SYSTEM, Actor, ActorKind
from hub.model.answers import Reached, Satisfied
from hub.model.assignments.commands import Accept, Dispatch, Resolve, Target
from hub.model.assignments.state import AssignmentState
from hub.model.case.commands import Comment, Escalate, Reopen, Settle, Visit
from hub.model.case.state import Channel, Stage
from hub.model.district.areas import UnitCode
from hub.model.limits.commands import Extend, Suspend
from hub.model.limits.state import DeadlineKind
from hub.testing.kit import eventually
from tests.system.department import Department, report_gas, scripted
from tests.system.hubs import api_of, one_bus, two_hubs
from tests.system.matters import case_of


async def test_report_through_one_dispatch_through_the_other_accept_through_the_first_then_one_dies(tmp_path: Path) -> None:
    department = Department()
    async with one_bus(tmp_path, {"police": scripted("police", department)}) as bus, bus.hub("a") as a:
        async with bus.hub("b") as b:
            case = (await report_gas(a, category="P0102", severity=None, channel=Channel.HOTLINE)).state
            assert await b.desk.load(case.id) is not None
            given = await b.desk.execute(case.id, Dispatch(targets=(Target(unit=UnitCode("police")),)), actor=SYSTEM)
            part = given.state.assignments[-1]

            # B has it in hand; a department that accepts before that is not told what it knows.
            async def handed_over() -> bool:
                now = await b.desk.load(case.id)
                found = now.state.assignment(part.id) if now is not None else None
                return found is not None and bool(found.attempts)

            await eventually(handed_over)
            # A still holds the case as it was; the department is known there all the same.
            async with api_of(a) as client:
                secret, _ = await a.tokens.issue(name="police", role="department", unit="police", area="320113")
                client.headers["Authorization"] = f"Bearer {secret}"
                accepted = await client.post(f"/cases/{case.id}/accept", json={"assignment": part.id})
                assert accepted.status_code == 200, accepted.text
                shown = await client.get(f"/cases/{case.id}", params={"fresh": True})
                assert [item["id"] for item in shown.json()["assignments"]] == [part.id]
        # B is gone with whatever it had in hand.
        key = f"{case.id}.{part.id}"

        async def delivered() -> bool:
            now = await case_of(a, case.id)
            found = now.assignment(part.id) if now is not None else None
            return found is not None and found.ticket is not None

        await eventually(delivered)
        assert department.filed == [key]
        await a.reportback.take("police", Feedback(id="done", kind=FeedbackKind.RESOLVED, key=key, note="已处理"))
        after = await case_of(a, case.id)
        assert after is not None
        assert [item.state for item in after.assignments if item.id == part.id] == [AssignmentState.RESOLVED]
        assert len([c async for _, c, _ in a.ledger.follow(0, live=False) if c.command == "report"]) == 1


async def test_a_report_back_through_a_hub_that_knows_an_older_case_finds_its_assignment(tmp_path: Path) -> None:
    async with two_hubs(tmp_path, {"police": scripted("police", Department())}, stages=False) as (a, b):
        case = (await report_gas(a, category="P0102", severity=None)).state
        await b.desk.load(case.id)
        given = await a.desk.execute(case.id, Dispatch(targets=(Target(unit=UnitCode("police")),)), actor=SYSTEM)
        key = f"{case.id}.{given.state.assignments[-1].id}"
        outcome = await b.reportback.take("police", Feedback(id="r1", kind=FeedbackKind.ACCEPTED, key=key, ticket="T-1"))
        assert outcome is not None
        assert outcome.events


async def test_a_refusal_is_never_decided_on_an_old_state(tmp_path: Path) -> None:
    async with two_hubs(tmp_path, stages=False) as (a, b):
        case = (await report_gas(a, category="P0102", severity=None)).state
        await b.desk.load(case.id)
        given = await a.desk.execute(case.id, Dispatch(targets=(Target(unit=UnitCode("police")),)), actor=SYSTEM)
        police = Actor(kind=ActorKind.DEPARTMENT, name="police", unit=UnitCode("police"))
        taken = await b.desk.execute(case.id, Accept(assignment=given.state.assignments[-1].id), actor=police)
        assert taken.events


async def test_a_command_that_changed_nothing_keeps_its_key(tmp_path: Path) -> None:
    async with two_hubs(tmp_path, stages=False) as (a, b):
        case = (await report_gas(a)).state
        police = next(item for item in case.assignments if item.unit == "police")
        actor = Actor(kind=ActorKind.DEPARTMENT, name="police", unit=UnitCode("police"))
        await a.desk.execute(case.id, Accept(assignment=police.id), actor=actor)
        nothing = await a.desk.execute(case.id, Accept(assignment=police.id), actor=actor, command_id="k")
        assert nothing.events == ()
        again = await b.desk.execute(case.id, Accept(assignment=police.id), actor=actor, command_id="k")
        assert again.repeated
        assert again.folded.number == nothing.folded.number


async def test_a_timer_is_set_from_the_state_when_an_older_commit_comes_again(tmp_path: Path) -> None:
    async with two_hubs(tmp_path, stages=False) as (a, b):
        case = (await report_gas(a)).state
        (_, first), *_ = await a.ledger.commits(case.id)
        assert first.wake_at is not None
        await b.desk.load(case.id)  # knows the case as it was reported
        until = datetime.now(UTC) + timedelta(days=30)
        for item in case.deadlines:
            await a.desk.execute(
                case.id, Extend(kind=item.kind, until=until, reason="会商", assignment=item.assignment), actor=SYSTEM
            )
        soon = await a.desk.execute(case.id, Suspend(reason="等待", until=datetime.now(UTC) + timedelta(hours=1)), actor=SYSTEM)
        await b.linkage.carry_out(first)
        set_for = await a.bus.last(TIMERS, f"timer.set.{case.id}")
        assert set_for is not None
        assert soon.state.next_due is not None
        assert soon.state.next_due.strftime("%Y-%m-%dT%H:%M:%S") in set_for.headers["Nats-Schedule"]


async def test_a_timer_is_not_taken_for_done_on_an_old_ended_case(tmp_path: Path) -> None:
    async with one_bus(tmp_path) as bus, bus.hub("a", stages=False) as a, bus.hub("b") as b:
        case = (await report_gas(a, category="P0102", severity=None)).state
        for _ in range(2):
            await b.desk.execute(case.id, Escalate(reason="需街道协调"), actor=SYSTEM)
        await b.desk.execute(case.id, Settle(note="已修"), actor=SYSTEM)
        closed = await b.desk.execute(case.id, Visit(reached=Reached.YES, satisfied=Satisfied.YES), actor=SYSTEM)
        assert closed.state.stage is Stage.CLOSED
        await a.desk.execute(case.id, Reopen(reason="又坏了"), actor=SYSTEM)
        due = datetime.now(UTC) + timedelta(seconds=1)
        await a.desk.execute(case.id, Suspend(reason="等待", until=due), actor=SYSTEM)

        async def resumed() -> bool:
            now = await case_of(a, case.id)
            return now is not None and now.suspended_at is None

        await eventually(resumed)  # B took the timer, though it knew the case as closed


async def test_the_stream_of_one_hub_tells_what_the_other_did_to_a_case_it_remembers(tmp_path: Path) -> None:
    async with two_hubs(tmp_path, stages=False) as (a, b):
        case = (await report_gas(a)).state
        await b.desk.load(case.id)
        outcome = await a.desk.execute(case.id, Comment(text="居民补充"), actor=SYSTEM)
        known = await b.desk.known(case.id, number=outcome.folded.number)
        assert known is not None
        assert known.number == outcome.folded.number
        assert DeadlineKind.RESOLVE in {item.kind for item in known.state.deadlines}
        part = case.assignments[0]
        unit = Actor(kind=ActorKind.DEPARTMENT, name=part.unit, unit=part.unit)
        assert (await b.desk.execute(case.id, Resolve(assignment=part.id, note="已处理"), actor=unit)).events
