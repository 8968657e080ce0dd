"""An adapter beside its department: orders reach it, its reports reach the case, nothing is lost or doubled when a side is away."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.contract import Contact
from hub.model.actors import SYSTEM
from hub.model.assignments.commands import Recall, Resend
from hub.model.assignments.state import AssignmentState, AttemptOutcome
from hub.model.limits.commands import Urge
from hub.testing.kit import eventually
from tests.system.department import report_gas
from tests.system.remote_world import Office, assignment_of, away, credentials_for, free_port, hub_with, process, until


async def test_an_assignment_goes_out_and_what_the_department_says_comes_back(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        async with process("police", creds, office, tmp_path / "remote"):
            outcome = await report_gas(hub, contact=Contact(name="李雷", phone="13900001111"))
            assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
            assert assignment.ticket == "T-1"
            assert office.contacts() == ["13900001111"]
            key = f"{outcome.state.id}.{assignment.id}"
            assert office.filed() == [key]
            office.says(key, "accepted")
            await until(hub, outcome, "police", AssignmentState.ACCEPTED)
            await hub.desk.execute(outcome.state.id, Urge(assignment=assignment.id, message="请尽快"), actor=SYSTEM)
            await eventually(lambda: office.heard()[-1:] == [f"urge {key} 请尽快"])
            office.says(key, "resolved")
            await until(hub, outcome, "police", AssignmentState.RESOLVED)
            await eventually(lambda: hub.answers.seen("police"))
            seen = hub.answers.seen("police")
            assert seen is not None
            assert (seen.beat.plugin, seen.beat.version, seen.beat.ok) == ("office", "3", True)


@pytest.mark.parametrize("late", [False, True], ids=["stored long ago", "stored after its recall"])
async def test_a_recalled_order_that_was_not_fetched_never_reaches_the_department(
    tmp_path: Path, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        store, withdraw, recalling, stored = hub.orders.deliver, hub.orders.withdraw, asyncio.Event(), 0

        async def deliver(*given: Any) -> None:
            nonlocal stored
            stored += 1
            if late and stored == 1:
                await recalling.wait()
            await store(*given)

        async def withdrawn(*given: Any) -> None:
            await withdraw(*given)
            recalling.set()

        monkeypatch.setattr(hub.orders, "deliver", deliver)
        monkeypatch.setattr(hub.orders, "withdraw", withdrawn)
        creds = await credentials_for(hub, "police", tmp_path)
        recalled, kept = await report_gas(hub), await report_gas(hub, text="另一处楼道也有很浓的燃气味")
        for outcome in (recalled, kept):
            await until(hub, outcome, "police", AssignmentState.SENDING)
        assignment = await assignment_of(hub, recalled, "police")
        await hub.desk.execute(recalled.state.id, Recall(assignment=assignment.id, reason="误报"), actor=SYSTEM)
        await eventually(lambda: _waiting(hub, 2))  # the other's delivery, and the recall
        async with process("police", creds, office, tmp_path / "remote"):
            delivered = await until(hub, kept, "police", AssignmentState.DELIVERED)
            await eventually(lambda: _waiting(hub, 0))
            assert office.filed() == [f"{kept.state.id}.{delivered.id}"]
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
            assert await asyncio.to_thread(child.wait) == -9  # its receipt is stored, and it does not know
        await until(hub, first, "police", AssignmentState.DELIVERED)
        outcomes = [await report_gas(hub, text=f"{number}号楼楼道有燃气味，请尽快派人处理") for number in range(40)]
        for outcome in outcomes:
            await until(hub, outcome, "police", AssignmentState.SENDING)
        async with process("police", creds, office, tmp_path / "remote"):
            for outcome in outcomes:
                await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert len(office.filed()) == len(set(office.filed())) == 41


@pytest.mark.parametrize("step", ["fetched", "begun", "filed there", "handed over", "filed", "acknowledged", "stored", "sent"])
async def test_a_kill_at_any_step_files_one_ticket(tmp_path: Path, step: str) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        async with process("police", creds, office, tmp_path / "remote", die_at=step) as child:
            outcome = await report_gas(hub)
            assert await asyncio.to_thread(child.wait) == -9
        # What a killed process held comes again after the acknowledgement wait; the test does not wait a minute for it.
        await hub.bus.api("CONSUMER.DELETE.ORDERS.remote-police")
        hub.orders._ensured.clear()
        await hub.orders.ensure("police")
        async with process("police", creds, office, tmp_path / "remote"):
            assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
            office.says(f"{outcome.state.id}.{assignment.id}", "accepted")
            await until(hub, outcome, "police", AssignmentState.ACCEPTED)
        assert office.filed() == [f"{outcome.state.id}.{assignment.id}"]
        ended = [attempt.outcome for attempt in (await assignment_of(hub, outcome, "police")).attempts]
        assert ended[-1] is AttemptOutcome.DELIVERED
        assert AttemptOutcome.STARTED not in ended


async def test_reports_made_while_the_hub_was_away_arrive_once_when_it_is_back(tmp_path: Path) -> None:
    office, port = Office(tmp_path / "office.db"), free_port()
    async with contextlib.AsyncExitStack() as stack:
        async with hub_with(tmp_path / "hub", away("police"), port=port) as hub:
            creds = await credentials_for(hub, "police", tmp_path)
            child = await stack.enter_async_context(process("police", creds, office, tmp_path / "remote"))
            outcome = await report_gas(hub)
            assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
            key = f"{outcome.state.id}.{assignment.id}"
        for kind in ("accepted", "progress", "resolved"):
            office.says(key, kind)
        await eventually(lambda: "polled 3" in office.heard())
        async with hub_with(tmp_path / "hub", away("police"), port=port) as hub:
            await until(hub, outcome, "police", AssignmentState.RESOLVED)
            assert child.poll() is None
            child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(child.wait) == 0
        assert office.filed() == [key]


async def test_a_department_that_refuses_or_fails_is_recorded_as_if_the_adapter_ran_in_the_hub(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police", attempts=3)) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        async with process("police", creds, office, tmp_path / "remote"):
            office.next("unavailable", "unavailable")
            tried = await report_gas(hub)
            assignment = await until(hub, tried, "police", AssignmentState.DELIVERED)
            assert [a.outcome for a in assignment.attempts] == [AttemptOutcome.FAILED] * 2 + [AttemptOutcome.DELIVERED]
            office.next("no answer")
            doubted = await report_gas(hub, text="地下车库有燃气味，请派人检查")
            assignment = await until(hub, doubted, "police", AssignmentState.DELIVERED)
            assert office.filed().count(f"{doubted.state.id}.{assignment.id}") == 1
            office.next("refused")
            refused = await report_gas(hub, text="锅炉房有燃气味，请派人检查")
            assignment = await until(hub, refused, "police", AssignmentState.REFUSED)
            assert assignment.attempts[-1].reason == "不属于本单位职责"
            office.next(*["unavailable"] * 3)
            dead = await report_gas(hub, text="学校食堂有燃气味，请派人检查")
            await until(hub, dead, "police", AssignmentState.DEAD)
            await hub.desk.execute(
                dead.state.id, Resend(assignment=(await assignment_of(hub, dead, "police")).id, reason="已修复"), actor=SYSTEM
            )
            assignment = await until(hub, dead, "police", AssignmentState.DELIVERED)
            assert len(assignment.attempts) == 4


async def test_callbacks_are_taken_beside_the_department(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        port = free_port()
        async with process("police", creds, office, tmp_path / "remote", more=("--callback-port", str(port))):
            outcome = await report_gas(hub)
            assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
            body = f"{outcome.state.id}.{assignment.id} accepted"
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
                assert (await http.post("/done", content=body, headers={"x-secret": "shut"})).status_code == 401
                assert (await http.get("/done")).status_code == 405
                answer = await http.post("/done", content=body, headers={"x-secret": "open"})
                assert (answer.status_code, answer.text) == (200, "1\n")
            await until(hub, outcome, "police", AssignmentState.ACCEPTED)
