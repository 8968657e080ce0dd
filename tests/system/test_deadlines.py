"""Deadlines on a real server: timers fire, survive a restart, stand still while suspended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hub.app import Hub
from hub.model.actors import SYSTEM
from hub.model.case.state import Case, CaseId
from hub.model.limits.commands import Resume, Suspend
from hub.model.limits.events import DeadlineBreached, Supervised, Urged
from hub.model.limits.state import DeadlineKind
from hub.testing.kit import eventually
from tests.system.department import report_gas, running_hub
from tests.system.matters import case_of


class Clock:
    """Real time, moved by `shift`."""

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.shift


async def events_of(hub: Hub, case: CaseId, kind: type) -> list[object]:
    return [e for _, c in await hub.ledger.commits(case) for e in c.events if isinstance(e, kind)]


async def stands(hub: Hub, id: CaseId) -> Case:
    case = await case_of(hub, id)
    assert case is not None
    return case


def first_due(case: Case, kind: DeadlineKind) -> datetime:
    return min(d.due_at for d in case.deadlines if d.kind is kind)


async def report_with_a_limit_about_to_pass(hub: Hub, clock: Clock, seconds: float) -> CaseId:
    """Report as if it were long ago, so that the first limit passes in `seconds` of real time."""
    probe = await report_gas(hub)
    due = min(d.due_at for d in probe.state.deadlines)
    clock.shift = -(due - datetime.now(UTC)) + timedelta(seconds=seconds)
    outcome = await report_gas(hub, reported_at=clock())
    clock.shift = timedelta(0)
    return outcome.state.id


async def test_a_limit_that_passes_is_urged_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    async with running_hub(tmp_path, {}, clock=clock) as hub:
        case = await report_with_a_limit_about_to_pass(hub, clock, 1.0)
        await eventually(lambda: events_of(hub, case, DeadlineBreached))
        assert await events_of(hub, case, Urged)
        breached = await stands(hub, case)
        assert any(d.step == 1 for d in breached.deadlines)


async def test_a_timer_that_was_due_while_the_hub_was_down_fires_after_the_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with running_hub(tmp_path, {}, clock=clock) as hub:
        case = await report_with_a_limit_about_to_pass(hub, clock, 2.0)

        async def linked() -> bool:
            folded = await hub.desk.load(case)
            return folded is not None and hub.linkage.sequence >= folded.sequence

        await eventually(linked)
        assert not await events_of(hub, case, DeadlineBreached)
    async with running_hub(tmp_path, {}, clock=clock) as hub:
        await eventually(lambda: events_of(hub, case, DeadlineBreached))


async def test_a_suspended_cases_clock_stands_still(tmp_path: Path) -> None:
    clock = Clock()
    async with running_hub(tmp_path, {}, clock=clock) as hub:
        case = await report_with_a_limit_about_to_pass(hub, clock, 1.5)
        suspended = await hub.desk.execute(case, Suspend(reason="等待配件"), actor=SYSTEM)
        due = first_due(suspended.state, DeadlineKind.RESOLVE)
        clock.shift = timedelta(hours=1)
        resumed = await hub.desk.execute(case, Resume(), actor=SYSTEM)
        moved = first_due(resumed.state, DeadlineKind.RESOLVE)
        assert timedelta(minutes=59) < moved - due < timedelta(minutes=61)
        assert not await events_of(hub, case, DeadlineBreached)
        clock.shift = timedelta(0)


async def test_the_ladder_goes_from_urging_to_supervision(tmp_path: Path) -> None:
    clock = Clock()
    async with running_hub(tmp_path, {}, clock=clock) as hub:
        case = await report_with_a_limit_about_to_pass(hub, clock, 0.5)
        await eventually(lambda: events_of(hub, case, DeadlineBreached))
        ladder = hub.rulebook.rules().ladder((await stands(hub, case)).severity)  # type: ignore[arg-type]
        for step in ladder[1:]:
            # what the timer does when the next step's time has come
            clock.shift = step.after + timedelta(minutes=1)
            from hub.model.limits.commands import CheckDeadlines

            await hub.desk.execute(case, CheckDeadlines(), actor=SYSTEM)
        actions = [e.action for e in await events_of(hub, case, DeadlineBreached)]  # type: ignore[attr-defined]
        assert [step.action.value for step in ladder] == list(dict.fromkeys(actions))
        assert await events_of(hub, case, Supervised)
        clock.shift = timedelta(0)
