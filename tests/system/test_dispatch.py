"""Dispatch against a real server: retries, doubt, refusals, dead letters, recall, breaker, credentials."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.app import Hub
from hub.contract import Capability
from hub.errors import AdapterFault, CredentialsRejected, InvalidInput, OutcomeUnknown, Refused, Unavailable
from hub.model.actors import SYSTEM
from hub.model.assignments.commands import Drop, Recall, Resend
from hub.model.assignments.state import Assignment, AssignmentState, AttemptOutcome
from hub.model.case.state import Case
from hub.spine.ledger.desk import Outcome
from hub.testing.kit import PATIENCE, eventually
from tests.system.department import Department, report_gas, running_hub, scripted
from tests.system.matters import case_of, second_desk

LOOKUP = (Capability.LOOKUP,)


async def assignment_of(hub: Hub, outcome: Outcome, adapter: str) -> Assignment:
    case = await case_of(hub, outcome.state.id)
    assert case is not None
    return next(a for a in case.assignments if a.adapter == adapter)


async def until(hub: Hub, outcome: Outcome, adapter: str, state: AssignmentState, within: float = PATIENCE) -> Assignment:
    async def reached() -> bool:
        return (await assignment_of(hub, outcome, adapter)).state is state

    try:
        await eventually(reached, within=within)
    except AssertionError:
        raise AssertionError(f"still {await assignment_of(hub, outcome, adapter)}") from None
    return await assignment_of(hub, outcome, adapter)


async def test_every_department_gets_its_assignment_with_its_own_ticket(tmp_path: Path) -> None:
    departments = {name: Department() for name in ("police", "property", "utilities")}
    adapters = {name: scripted(name, department) for name, department in departments.items()}
    async with running_hub(tmp_path, adapters) as hub:
        outcome = await report_gas(hub)
        for name, department in departments.items():
            assignment = await until(hub, outcome, name, AssignmentState.DELIVERED)
            assert assignment.ticket == department.tickets[f"{outcome.state.id}.{assignment.id}"]
            assert len(department.filed) == 1


async def test_an_unavailable_department_is_tried_again_until_it_takes_it(tmp_path: Path) -> None:
    department = Department(script=deque([Unavailable("down", retry_after=timedelta(milliseconds=1))] * 3))
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert [a.outcome for a in assignment.attempts] == [AttemptOutcome.FAILED] * 3 + [AttemptOutcome.DELIVERED]
        assert assignment.attempts[0].error == "unavailable"
        assert len(department.filed) == 1


async def test_seconds_scale_retries_happen_inside_one_attempt(tmp_path: Path) -> None:
    department = Department(script=deque([Unavailable("blip")] * 2))
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert len(assignment.attempts) == 1
        assert len(department.calls) == 3


async def test_retry_after_is_honoured(tmp_path: Path) -> None:
    department = Department(script=deque([Unavailable("slow down", retry_after=timedelta(seconds=1))]))
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        first, second = assignment.attempts
        assert second.started_at - first.started_at >= timedelta(seconds=1)


async def test_a_refusal_goes_to_the_operator_and_is_not_retried(tmp_path: Path) -> None:
    department = Department(script=deque([Refused("不属于本单位职责")]))
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.REFUSED)
        assert assignment.attempts[-1].reason == "不属于本单位职责"
        case = await case_of(hub, outcome.state.id)
        assert case is not None
        assert f"refused:{assignment.id}" in case.attention
        assert len(department.calls) == 1


async def test_what_a_department_says_of_a_refusal_is_kept_without_phone_numbers_and_secrets(tmp_path: Path) -> None:
    department = Department(script=deque([Refused("联系电话13987654321有误, access_token=s3cr3t-s3cr3t")]))
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.REFUSED)
        assert assignment.attempts[-1].reason == "联系电话139****4321有误, access_token=[redacted]"


async def test_a_time_out_after_accepting_is_asked_about_and_files_no_second_ticket(tmp_path: Path) -> None:
    department = Department(script=deque(["accept, then no answer"]))
    async with running_hub(tmp_path, {"police": scripted("police", department, LOOKUP)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert len(department.filed) == 1
        assert assignment.ticket == "T-0"
        assert [call.split()[0] for call in department.calls] == ["deliver", "lookup"]


async def test_an_unknown_outcome_the_department_does_not_have_is_sent_again(tmp_path: Path) -> None:
    department = Department(script=deque([OutcomeUnknown("cut")]))
    async with running_hub(tmp_path, {"police": scripted("police", department, LOOKUP)}) as hub:
        outcome = await report_gas(hub)
        await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert [call.split()[0] for call in department.calls] == ["deliver", "lookup", "deliver"]
        assert len(department.filed) == 1


async def test_an_unknown_outcome_that_nobody_can_ask_about_is_never_sent_blindly(tmp_path: Path) -> None:
    department = Department(script=deque(["accept, then no answer"]))
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.UNCERTAIN)
        assert len(department.calls) == 1
        case = await case_of(hub, outcome.state.id)
        assert case is not None
        assert f"uncertain:{assignment.id}" in case.attention


async def test_an_idempotent_department_gets_the_same_key_again(tmp_path: Path) -> None:
    department = Department(script=deque([OutcomeUnknown("cut")]))
    async with running_hub(tmp_path, {"police": scripted("police", department, (Capability.IDEMPOTENT,))}) as hub:
        outcome = await report_gas(hub)
        await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert len(set(department.calls)) == 1


async def test_used_up_attempts_become_a_dead_letter_that_is_sent_again_under_the_same_key(tmp_path: Path) -> None:
    department = Department(script=deque([Unavailable("down", retry_after=timedelta(milliseconds=1))] * 3))
    async with running_hub(tmp_path, {"police": scripted("police", department)}, attempts=3) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DEAD)
        assert len(assignment.attempts) == 3
        await hub.views.wait_for(await hub.ledger.last_sequence(), 5)
        with pytest.raises(InvalidInput):
            await hub.desk.execute(outcome.state.id, Resend(assignment="a9", reason="x"), actor=SYSTEM)
        await hub.desk.execute(outcome.state.id, Resend(assignment=assignment.id, reason="系统已恢复"), actor=SYSTEM)
        again = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert len(again.attempts) == 4
        assert len(set(department.calls)) == 1
        case = await case_of(hub, outcome.state.id)
        assert case is not None
        assert not [a for a in case.attention if a.startswith("dead")]


async def test_a_plugins_fault_is_tried_a_few_times_and_harms_nobody_else(tmp_path: Path) -> None:
    broken, fine = Department(script=deque([ZeroDivisionError("bug")] * 9)), Department()
    adapters = {"police": scripted("police", broken, LOOKUP), "property": scripted("property", fine)}
    async with running_hub(tmp_path, adapters) as hub:
        outcome = await report_gas(hub)
        await until(hub, outcome, "property", AssignmentState.DELIVERED)
        dead = await until(hub, outcome, "police", AssignmentState.DEAD)
        assert len(dead.attempts) == 3
        assert dead.attempts[0].error == AdapterFault.code
        await hub.desk.execute(outcome.state.id, Drop(assignment=dead.id, reason="改由电话通知"), actor=SYSTEM)


async def test_rejected_credentials_pause_the_adapter_and_cost_no_attempt(tmp_path: Path) -> None:
    department = Department(script=deque([CredentialsRejected("expired")]), healthy=False)
    async with running_hub(tmp_path, {"police": scripted("police", department, LOOKUP)}, attempts=2) as hub:
        outcome = await report_gas(hub)

        async def paused() -> bool:
            return (await hub.statuses.all())[0].state == "paused"

        await eventually(paused)
        assert "expired" in (await hub.statuses.all())[0].detail
        department.healthy = True
        await hub.adapters.resume("police")
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert len(department.filed) == 1
        assert assignment.tries <= 2


async def test_a_recalled_assignment_is_dropped_between_attempts(tmp_path: Path) -> None:
    department = Department(script=deque([Unavailable("down", retry_after=timedelta(seconds=1))] * 5))
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)

        async def failed_once() -> bool:
            attempts = (await assignment_of(hub, outcome, "police")).attempts
            return bool(attempts) and attempts[0].outcome is AttemptOutcome.FAILED

        await eventually(failed_once)
        assignment = await assignment_of(hub, outcome, "police")
        await hub.desk.execute(outcome.state.id, Recall(assignment=assignment.id, reason="派错单位"), actor=SYSTEM)

        async def queue_empty() -> bool:
            return (await hub.statuses.all())[0].queued + (await hub.statuses.all())[0].in_flight == 0

        await eventually(queue_empty)
        assert not department.filed
        assert len(department.calls) == 1


async def test_a_delivered_assignment_that_is_recalled_is_taken_back_at_the_department(tmp_path: Path) -> None:
    department = Department()
    async with running_hub(tmp_path, {"police": scripted("police", department, (Capability.RECALL,))}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        await hub.desk.execute(outcome.state.id, Recall(assignment=assignment.id, reason="派错单位"), actor=SYSTEM)
        await eventually(lambda: department.recalled == [f"{outcome.state.id}.{assignment.id}"])


async def test_an_open_breaker_defers_without_spending_attempts_and_stops_nobody_else(tmp_path: Path) -> None:
    down = Department(script=deque([Unavailable("down", retry_after=timedelta(milliseconds=1))] * 8))
    fine = Department()
    adapters = {"police": scripted("police", down), "property": scripted("property", fine)}
    async with running_hub(tmp_path, adapters, breaker_minimum=4, breaker_window=10, attempts=8) as hub:
        outcomes = [await report_gas(hub) for _ in range(6)]
        for outcome in outcomes:
            await until(hub, outcome, "property", AssignmentState.DELIVERED)
        for outcome in outcomes:
            await until(hub, outcome, "police", AssignmentState.DELIVERED)
        cases: list[Case] = [case for o in outcomes if (case := await case_of(hub, o.state.id)) is not None]
        spent = sum(len(a.attempts) for case in cases for a in case.assignments if a.adapter == "police")
        assert spent <= len(outcomes) + 8
        assert len(down.filed) == len(outcomes)


async def test_a_replay_given_in_another_process_is_not_dropped_by_this_ones_older_picture(tmp_path: Path) -> None:
    department = Department(script=deque([Unavailable("down", retry_after=timedelta(milliseconds=1))] * 2))
    async with running_hub(tmp_path, {"police": scripted("police", department)}, attempts=2) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DEAD)
        other = second_desk(hub, tmp_path)
        await other.execute(outcome.state.id, Resend(assignment=assignment.id, reason="系统已恢复"), actor=SYSTEM)
        await until(hub, outcome, "police", AssignmentState.DELIVERED)


async def test_a_task_that_comes_again_while_it_is_worked_on_is_left_alone(tmp_path: Path) -> None:
    department = Department()
    kind = scripted("police", department, LOOKUP)
    first_deliver, begun, go_on = kind.deliver, asyncio.Event(), asyncio.Event()

    async def slow(self: Any, handed: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await first_deliver(self, handed)

    kind.deliver = slow  # type: ignore[method-assign]
    async with running_hub(tmp_path, {"police": kind}) as hub:
        outcome = await report_gas(hub)
        await asyncio.wait_for(begun.wait(), 10)
        task = await hub.bus.last("DISPATCH", "dispatch.police.>")
        assert task is not None
        await hub.bus.publish(task.subject, task.data)  # what a redelivery looks like to the lane

        async def both_taken() -> bool:
            status = (await hub.statuses.all())[0]
            return status.queued == 0 and status.in_flight == 2

        await eventually(both_taken)
        go_on.set()
        await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert len(department.filed) == 1
        assert not [call for call in department.calls if call.startswith("lookup")]
