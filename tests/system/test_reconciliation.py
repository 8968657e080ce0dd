"""Reconciliation on a real server: every case on which the two sides disagree is named, races are not, and a night happens once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.bus.streams import TIMERS
from hub.bus.timers import set_audit
from hub.contract import Capability, StandingState
from hub.errors import InvalidInput, Refused, Unavailable
from hub.model.actors import SYSTEM
from hub.model.assignments.state import AssignmentState
from hub.model.case.commands import Void
from hub.platform.upkeep.reconciliation import Due, next_night
from hub.platform.upkeep.run_log import RunState
from hub.testing.kit import eventually
from tests.system.audited import NAME, Bench, Office, bench
from tests.system.department import resolved


async def only(made: Bench) -> tuple[str, str | None, str]:
    """The kind, case and text of the only open repair."""
    (item,) = await made.open_repairs()
    return item.details["what"], item.case, item.text


async def test_two_sides_that_agree_need_no_repair(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        await made.delivered()
        await made.delivered()
        run = await made.reconciled()
        assert (run.state, run.theirs, run.ours, run.agreed, run.found) == (RunState.DONE, 2, 2, 2, {})
        assert run.by == "李工"
        assert not await made.open_repairs()
        assert office.audits == 1


async def test_a_ticket_they_do_not_have_is_named_and_resolved_once_they_have_it(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        case, key = await made.delivered()
        lost = office.standings.pop("T-1")
        run = await made.reconciled()
        assert run.found == {"missing_there": 1}
        what, named, text = await only(made)
        assert (what, named) == ("missing_there", case.id)
        assert key in text
        await made.reconciled()
        (item,) = await made.open_repairs()
        assert item.count == 2
        office.standings["T-1"] = lost
        assert (await made.reconciled()).resolved == 1
        ended = await made.repairs.get(item.id)
        assert (ended.state.value, ended.ended_by, ended.why) == ("resolved", "hub", "最近一次对账双方已一致")


async def test_a_ticket_that_is_none_of_ours_is_named_while_it_is_open_there(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        case, key = await made.delivered()
        office.stands("X-9", StandingState.ACCEPTED)
        office.stands("X-10", StandingState.RESOLVED)
        office.stands("T-77", StandingState.FILED, key=key)
        run = await made.reconciled()
        assert run.found == {"unknown_here": 2}
        cases = {item.details["ticket"]: item.case for item in await made.open_repairs()}
        assert cases == {"X-9": None, "T-77": case.id}


@pytest.mark.parametrize(
    ("state", "offers"),
    [(StandingState.RESOLVED, "resolved"), (StandingState.RETURNED, "returned"), (StandingState.RECALLED, None)],
)
async def test_what_ended_there_and_is_open_here_is_named_with_what_can_be_done(
    tmp_path: Path, state: StandingState, offers: str | None
) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        case, _ = await made.delivered()
        office.stands("T-1", state)
        await made.reconciled()
        (item,) = await made.open_repairs()
        assert (item.details["what"], item.case, item.details.get("apply")) == ("ended_there", case.id, offers)


async def test_taking_it_over_ends_the_assignment_once(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        case, key = await made.delivered()
        office.stands("T-1", StandingState.RESOLVED)
        await made.reconciled()
        (item,) = await made.open_repairs()
        await made.corrections.take_over(item, "李工")
        assert (await made.assignment(case.id))[1] is AssignmentState.RESOLVED
        commits = len(await made.hub.ledger.commits(case.id))
        await made.corrections.take_over(item, "李工")
        assert len(await made.hub.ledger.commits(case.id)) == commits
        assert (await made.reconciled()).resolved == 1
        after = await made.hub.ledger.load(case.id)
        assert after is not None
        note = next(part.note for part in after.state.assignments if part.adapter == NAME)
        assert note is not None
        assert "对账补记" in note
        assert "李工" in note
        assert key


async def test_only_what_ended_there_can_be_taken_over(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        await made.delivered()
        office.standings.clear()
        await made.reconciled()
        (item,) = await made.open_repairs()
        with pytest.raises(InvalidInput, match="can't be put right"):
            await made.corrections.take_over(item, "李工")


async def test_what_is_open_there_and_ended_here_is_named(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        case, key = await made.delivered()
        await made.hub.reportback.take(NAME, resolved(key))
        run = await made.reconciled()
        assert run.found == {"open_there": 1}
        assert (await only(made))[:2] == ("open_there", case.id)


async def test_what_was_voided_here_and_is_open_there_is_named(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        case, _ = await made.delivered()
        await made.hub.desk.execute(case.id, Void(reason="测试工单"), actor=SYSTEM)
        assert (await made.reconciled()).found == {"open_there": 1}


async def test_a_report_that_is_under_way_is_no_disagreement(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        _, key = await made.delivered()
        office.stands("T-1", StandingState.RESOLVED)

        def report_arrives_between_the_passes() -> None:
            if office.audits == 2:
                office.stands("T-1", StandingState.RESOLVED)

        office.asked = report_arrives_between_the_passes
        found = await made.comparison._pass(NAME, made.hub.adapters.versions_here(NAME))
        assert [point.what.value for point, _ in found.found.values()] == ["ended_there"]
        await made.hub.reportback.take(NAME, resolved(key))
        run = await made.reconciled()
        assert run.found == {}
        assert not await made.open_repairs()


async def test_what_they_mend_between_the_passes_is_no_disagreement(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        await made.delivered()
        lost = office.standings.pop("T-1")

        def arrives() -> None:
            if office.audits == 2:
                office.standings["T-1"] = lost

        office.asked = arrives
        run = await made.reconciled()
        assert office.audits == 2
        assert (run.found, run.agreed) == ({}, 1)


async def test_a_dismissed_disagreement_stays_until_the_states_change(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        await made.delivered()
        office.stands("T-1", StandingState.RECALLED)
        await made.reconciled()
        (item,) = await made.open_repairs()
        await made.repairs.dismiss(item.id, "李工", "对方已另案处理")
        await made.reconciled()
        assert not await made.open_repairs()
        office.stands("T-1", StandingState.RETURNED)
        await made.reconciled()
        (again,) = await made.open_repairs()
        assert again.id == item.id


async def test_an_audit_that_fails_accuses_nobody_and_says_why(tmp_path: Path) -> None:
    office = Office(trouble=[Refused("no such interface")])
    async with bench(tmp_path, office) as made:
        await made.delivered()
        run = await made.reconciled()
        assert (run.state, run.reason) == (RunState.FAILED, "no such interface")
        office.never_ends = True
        run = await made.reconciled()
        assert run.state is RunState.FAILED
        assert "does not come to an end" in (run.reason or "")
        assert not await made.open_repairs()


async def test_a_paused_adapter_is_left_alone(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office) as made:
        await made.hub.adapters.pause(NAME, "检修")
        run = await made.reconciled()
        assert (run.state, run.reason, office.audits) == (RunState.SKIPPED, "适配器已暂停", 0)


async def test_every_adapter_that_can_be_asked_has_its_night_set(tmp_path: Path) -> None:
    async with bench(tmp_path, Office()) as made:
        await eventually(lambda: made.hub.bus.last(TIMERS, f"timer.audit.set.{NAME}"))
        stored = await made.hub.bus.last(TIMERS, f"timer.audit.set.{NAME}")
        assert stored is not None
        at = made.reconciliation.next_at(NAME)
        assert at is not None
        assert stored.headers["Nats-Schedule"].startswith(f"@at {at:%Y-%m-%dT%H:%M:%S}")
        local = at.astimezone(made.hub.rulebook.district().zone)
        assert (local.hour, local.minute < 30) == (2, True)


async def test_a_night_is_done_once_tried_again_when_the_department_is_down_and_the_next_is_set(tmp_path: Path) -> None:
    office = Office(trouble=[Unavailable("down for the night")])
    async with bench(tmp_path, office, again_after=0.05) as made:
        await eventually(lambda: made.hub.bus.last(TIMERS, f"timer.audit.set.{NAME}"))
        due = Due(adapter=NAME, run="2026-11-22")

        async def set_and_done() -> None:
            import msgspec

            await set_audit(made.hub.bus, NAME, "2026-11-22", datetime.now(UTC), msgspec.json.encode(due))

        await set_and_done()

        async def done() -> bool:
            return any(run.state is RunState.DONE for run in await made.reconciliation.runs(NAME))

        await eventually(done)
        (run,) = await made.reconciliation.runs(NAME)
        assert (run.run, run.attempts, run.by) == ("2026-11-22", 2, "hub")
        audits = office.audits
        await eventually(lambda: made.hub.bus.last(TIMERS, f"timer.audit.set.{NAME}"))
        await set_and_done()  # as if it had been done and its end not acknowledged

        async def taken() -> bool:
            return await made.hub.bus.last(TIMERS, "timer.audit.due.>") is None and (
                await made.hub.bus.last(TIMERS, f"timer.audit.set.{NAME}") is not None
            )

        await eventually(taken)
        assert office.audits == audits


async def test_a_run_that_was_broken_off_comes_again(tmp_path: Path) -> None:
    office = Office()
    async with bench(tmp_path, office, grace=timedelta(hours=1)) as made:
        await made.delivered()
        lost = office.standings.pop("T-1")
        name = await made.reconciliation.ask(NAME, "李工")
        await eventually(lambda: office.audits == 1)
    office.standings["T-1"] = lost
    async with bench(tmp_path, office) as made:

        async def done() -> bool:
            return any(run.run == name and run.state is RunState.DONE for run in await made.reconciliation.runs(NAME))

        await eventually(done)
        (run,) = await made.reconciliation.runs(NAME)
        assert (run.attempts, run.by, run.agreed) == (2, "李工", 1)


async def test_one_night_with_two_hub_processes_is_one_run(tmp_path: Path) -> None:
    import asyncio

    office = Office()
    async with bench(tmp_path, office) as made:
        other = asyncio.create_task(made.reconciliation.run())
        try:
            for _ in range(3):
                await made.reconciled()
            assert office.audits == 3
        finally:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)


def test_nights_are_at_two_district_time_spread_over_half_an_hour_and_stable() -> None:
    from tests.unit.api_world import district

    zone = district().zone
    now = datetime(2026, 11, 23, 12, 0, tzinfo=zone)
    times = {name: next_night(name, now, district()).astimezone(zone) for name in (f"adapter-{n}" for n in range(40))}
    assert all(at.hour == 2 and at.minute < 30 and at.date() == now.date() + timedelta(days=1) for at in times.values())
    assert len(set(times.values())) > 30
    assert next_night("adapter-1", times["adapter-1"], district()) == times["adapter-1"] + timedelta(days=1)


async def test_an_adapter_that_lists_nothing_cannot_be_reconciled(tmp_path: Path) -> None:
    async with bench(tmp_path, Office(), Capability.LOOKUP) as made:
        with pytest.raises(InvalidInput, match="neither its tickets"):
            await made.reconciliation.ask(NAME, "李工")
