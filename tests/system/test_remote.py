"""An adapter beside its department: orders reach it, its reports reach the case, and nothing is lost or doubled when either side is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.contract import Contact
from hub.model.cases import SYSTEM, AssignmentState, AttemptOutcome
from hub.model.commands import Recall, Urge
from tests.eventually import eventually
from tests.system.department import report_gas
from tests.system.remote_world import Office, assignment_of, away, credentials_for, hub_with, process, until


async def test_an_assignment_goes_out_and_what_the_department_says_comes_back(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        async with process("police", creds, office, tmp_path / "remote"):
            outcome = await report_gas(hub, contact=Contact(name="李雷", phone="13900001111"))
            assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
            assert assignment.ticket == "T-1"
            assert office.contacts() == ["13900001111"]
            key = f"{outcome.case.id}.{assignment.id}"
            assert office.filed() == [key]
            office.says(key, "accepted")
            await until(hub, outcome, "police", AssignmentState.ACCEPTED)
            await hub.desk.execute(outcome.case.id, Urge(assignment=assignment.id, message="请尽快"), actor=SYSTEM)
            await eventually(lambda: office.heard() == [f"urge {key} 请尽快"])
            office.says(key, "resolved")
            await until(hub, outcome, "police", AssignmentState.RESOLVED)
            await eventually(lambda: hub.answers.seen("police"))
            seen = hub.answers.seen("police")
            assert seen is not None
            assert (seen.beat.plugin, seen.beat.version, seen.beat.ok) == ("office", "3", True)


async def test_a_recalled_order_that_was_not_fetched_never_reaches_the_department(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        recalled, kept = await report_gas(hub), await report_gas(hub, text="另一处楼道也有很浓的燃气味")
        for outcome in (recalled, kept):
            await until(hub, outcome, "police", AssignmentState.SENDING)
        assignment = await assignment_of(hub, recalled, "police")
        await hub.desk.execute(recalled.case.id, Recall(assignment=assignment.id, reason="误报"), actor=SYSTEM)
        await eventually(lambda: _waiting(hub, 2))  # the other's delivery, and the recall
        async with process("police", creds, office, tmp_path / "remote"):
            delivered = await until(hub, kept, "police", AssignmentState.DELIVERED)
            await eventually(lambda: _waiting(hub, 0))
            assert office.filed() == [f"{kept.case.id}.{delivered.id}"]
            assert office.heard() == []


async def _waiting(hub: object, number: int) -> bool:
    return sum(await hub.orders.backlog("police")) == number  # type: ignore[attr-defined]


async def test_what_waited_while_the_adapter_was_away_arrives_once_each(tmp_path: Path) -> None:
    """An hour away is many orders in the queue, reports still unsent in the journal, and every duplicate window long past."""
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        async with process("police", creds, office, tmp_path / "remote", die_at="stored") as child:
            first = await report_gas(hub)
            assert await child.wait() == -9  # its receipt is stored, and it does not know
        await until(hub, first, "police", AssignmentState.DELIVERED)
        outcomes = [await report_gas(hub, text=f"{number}号楼楼道有燃气味，请尽快派人处理") for number in range(40)]
        for outcome in outcomes:
            await until(hub, outcome, "police", AssignmentState.SENDING)
        async with process("police", creds, office, tmp_path / "remote"):
            for outcome in outcomes:
                await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert len(office.filed()) == len(set(office.filed())) == 41


@pytest.mark.parametrize(
    "step", ["fetched", "begun", "filed there", "handed over", "filed", "acknowledged", "stored", "sent"]
)
async def test_a_kill_at_any_step_files_one_ticket(tmp_path: Path, step: str) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        async with process("police", creds, office, tmp_path / "remote", die_at=step) as child:
            outcome = await report_gas(hub)
            assert await child.wait() == -9
        # What a killed process held comes again after the acknowledgement wait; the test does not wait a minute for it.
        await hub.bus.api("CONSUMER.DELETE.ORDERS.remote-police")
        hub.orders._ensured.clear()
        await hub.orders.ensure("police")
        async with process("police", creds, office, tmp_path / "remote"):
            assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
            office.says(f"{outcome.case.id}.{assignment.id}", "accepted")
            await until(hub, outcome, "police", AssignmentState.ACCEPTED)
        assert office.filed() == [f"{outcome.case.id}.{assignment.id}"]
        ended = [attempt.outcome for attempt in (await assignment_of(hub, outcome, "police")).attempts]
        assert ended[-1] is AttemptOutcome.DELIVERED
        assert AttemptOutcome.STARTED not in ended


async def test_reports_made_while_the_hub_was_away_arrive_when_it_is_back(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        port = int(hub.bus.nc.connected_url.port)
        async with process("police", creds, office, tmp_path / "remote") as child:
            outcome = await report_gas(hub)
            assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
            await _stopped(hub)
            office.says(f"{outcome.case.id}.{assignment.id}", "accepted")
            assert child.returncode is None
            async with hub_with(tmp_path / "hub2", away("police"), port=port):
                pass  # another server on its address knows nothing of it: it stays away from there
            office.says(f"{outcome.case.id}.{assignment.id}", "resolved")
            assert child.returncode is None


async def _stopped(hub: object) -> None:
    return None
