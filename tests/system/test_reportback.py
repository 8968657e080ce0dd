"""Feedback-back against a real server: any order, repeated, late, unknown tickets, visits, incoming cases."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.app import Hub
from hub.contract import CallbackRequest, Capability, Contact, Feedback, FeedbackKind, IncomingCase, Notice, ReportedFile
from hub.errors import Unavailable
from hub.model.actors import SYSTEM, Actor, ActorKind
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.assignments.commands import Recall, Resolve
from hub.model.assignments.events import FeedbackConflicted
from hub.model.assignments.state import AssignmentState
from hub.model.case.commands import Settle, Void
from hub.model.case.state import Case, Channel, Stage
from hub.model.district.areas import UnitCode
from hub.model.records import Source
from hub.platform.upkeep.repairs import RepairFilter, RepairKind
from hub.spine.ledger.desk import Outcome
from hub.testing.kit import eventually
from tests.system.department import GRID, Department, accepted, report_gas, resolved, running_hub, scripted
from tests.system.matters import case_of
from tests.system.test_dispatch import assignment_of, until

ALL = ("police", "property", "utilities")
REQUEST = CallbackRequest(method="POST", path="", headers={}, query={}, body=b"")


async def stands(hub: Hub, outcome: Outcome[Case]) -> Case:
    case = await case_of(hub, outcome.state.id)
    assert case is not None
    return case


async def test_three_departments_resolve_and_the_case_is_resolved_in_the_last_ones_commit(tmp_path: Path) -> None:
    departments = {name: Department() for name in ALL}
    async with running_hub(tmp_path, {name: scripted(name, d) for name, d in departments.items()}) as hub:
        outcome = await report_gas(hub)
        for name in ALL:
            await until(hub, outcome, name, AssignmentState.DELIVERED)
        for name in ALL:
            assert (await stands(hub, outcome)).stage is Stage.DISPATCHED
            for key in departments[name].tickets:
                await hub.reportback.take(name, resolved(key))
        assert (await stands(hub, outcome)).stage is Stage.RESOLVED


async def test_repeated_late_and_contradicting_reports_never_move_a_state_back_and_are_recorded(tmp_path: Path) -> None:
    department = Department()
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        key = f"{outcome.state.id}.{assignment.id}"
        await hub.reportback.take("police", resolved(key))
        folded = await hub.desk.load(outcome.state.id)
        assert folded is not None
        repeated = await hub.reportback.take("police", resolved(key))
        assert repeated is not None
        assert repeated.repeated
        again = await hub.desk.load(outcome.state.id)
        assert again is not None
        assert again.number == folded.number
        late = await hub.reportback.take("police", accepted(key))
        assert late is not None
        assert isinstance(late.events[0], FeedbackConflicted)
        assert (await assignment_of(hub, outcome, "police")).state is AssignmentState.RESOLVED


async def test_a_report_on_a_recalled_assignment_is_recorded(tmp_path: Path) -> None:
    department = Department()
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        await hub.desk.execute(outcome.state.id, Recall(assignment=assignment.id, reason="派错"), actor=SYSTEM)
        key = f"{outcome.state.id}.{assignment.id}"
        late = await hub.reportback.take("police", resolved(key))
        assert late is not None
        assert isinstance(late.events[0], FeedbackConflicted)


async def test_who_reports_and_the_names_of_files_are_kept_without_phone_numbers(tmp_path: Path) -> None:
    department = Department()
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        photo = ReportedFile(name="../13987654321_现场.jpg", media_type="image/jpeg", content=b"\xff\xd8\xff")
        key = f"{outcome.state.id}.{assignment.id}"
        report = Feedback(id="1", kind=FeedbackKind.RESOLVED, key=key, by="刘警官13987654321", note="好了", files=(photo,))
        await hub.reportback.take("police", report)
        (kept,) = (await stands(hub, outcome)).attachments
        assert kept.name == "139****4321_现场.jpg"
        stored = [commit async for _, commit, _ in hub.ledger.follow(0, live=False)]
        assert "13987654321" not in repr(stored)
        assert "刘警官139****4321" in repr(stored)


async def test_a_report_that_overtakes_the_receipt_proves_the_delivery(tmp_path: Path) -> None:
    department = Department(script=deque(["accept, then no answer"]))
    async with running_hub(tmp_path, {"police": scripted("police", department)}, stages=False) as hub:
        outcome = await report_gas(hub)
        assignment = await assignment_of(hub, outcome, "police")
        key = f"{outcome.state.id}.{assignment.id}"
        report = Feedback(id="1", kind=FeedbackKind.ACCEPTED, key=key, ticket="T-77")
        await hub.reportback.take("police", report)
        found = await assignment_of(hub, outcome, "police")
        assert (found.state, found.ticket) == (AssignmentState.ACCEPTED, "T-77")


async def test_a_report_by_ticket_waits_until_the_ticket_is_known(tmp_path: Path) -> None:
    department = Department()
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        assert (
            await hub.reportback.take("police", Feedback(id="e1", kind=FeedbackKind.RESOLVED, ticket="T-0", note="好了"))
            is None
        )
        outcome = await report_gas(hub)
        await until(hub, outcome, "police", AssignmentState.RESOLVED)


async def test_polled_items_are_taken_once_and_the_cursor_survives_a_restart(tmp_path: Path) -> None:
    department = Department()
    kind = scripted("police", department, (Capability.POLL, Capability.INFORM))
    item = IncomingCase(
        ref="W-1", channel=Channel.DEPARTMENT, title="停水通知", text="管道检修停水", reported_at=datetime.now(UTC), area=GRID
    )
    department.items.append(item)
    async with running_hub(tmp_path, {"police": kind}) as hub:

        async def taken() -> bool:
            return await hub.views.case_of_source("police", "W-1") is not None

        await eventually(taken)
        department.items.append(item)

        async def read() -> bool:
            entry = await hub.reportback._cursors.get(f"police.{hub.adapters.running()[0].cursor_name}")
            return entry is not None and entry.value == b"2"

        await eventually(read)
        assert len({commit.id async for _, commit, _ in hub.ledger.follow(0, live=False)}) == 1
        await eventually(lambda: [n.stage for n in department.notices][:1] == ["taken"])
    async with running_hub(tmp_path, {"police": kind}) as hub:
        await eventually(read)
        assert len({commit.id async for _, commit, _ in hub.ledger.follow(0, live=False)}) == 1


async def test_the_reporters_contact_is_encrypted_and_its_reading_is_an_event(tmp_path: Path) -> None:
    plain, asking = Department(), Department()
    adapters = {
        "police": scripted("police", asking, (Capability.NEEDS_CONTACT,)),
        "property": scripted("property", plain),
    }
    async with running_hub(tmp_path, adapters) as hub:
        contact = Contact(name="张三丰", phone="13812341234", address="尧佳路1号2幢301室")
        outcome = await report_gas(
            hub,
            contact=contact,
            title="张三丰家楼道有燃气味",
            text="我是张三丰，电话13812341234，住尧佳路1号2幢301室，楼道有燃气味",
        )
        await until(hub, outcome, "police", AssignmentState.DELIVERED)
        await until(hub, outcome, "property", AssignmentState.DELIVERED)
        assert asking.contacts == [contact]
        assert plain.contacts == [None]
        events = [type(e).__name__ for _, c in await hub.ledger.commits(outcome.state.id) for e in c.events]
        assert events.count("ContactAccessed") == 1
        for stream in ("LEDGER", "DISPATCH", "KV_PERSONAL"):
            for number in range(1, 60):
                message = await hub.bus.at(stream, number)
                assert message is None or b"13812341234" not in message.data
                assert message is None or not any(word.encode() in message.data for word in ("张三丰", "2幢301室"))
        await hub.vault.erase(outcome.state.id)
        assert await hub.vault.open(outcome.state.id) is None


async def test_a_notice_that_was_held_up_says_when_it_happened(tmp_path: Path) -> None:
    hotline = Department(script=deque())
    kind = scripted("hotline", hotline, (Capability.INFORM, Capability.POLL))
    slow = deque([Unavailable("down", retry_after=timedelta(milliseconds=400))])
    first_inform = kind.inform

    async def inform(self: object, notice: Notice) -> None:
        if slow:
            raise slow.popleft()
        await first_inform(self, notice)  # type: ignore[arg-type]

    kind.inform = inform  # type: ignore[method-assign]
    async with running_hub(tmp_path, {"hotline": kind}) as hub:
        hotline.items.append(
            IncomingCase(
                ref="W-9",
                channel=Channel.HOTLINE,
                title="噪声",
                text="夜间施工噪声扰民",
                reported_at=datetime.now(UTC),
                area=GRID,
            )
        )

        async def case() -> Case | None:
            found = await hub.views.case_of_source("hotline", "W-9")
            return None if found is None else await case_of(hub, found)

        opened = await eventually(case)
        voided = await hub.desk.execute(opened.id, Void(reason="重复工单"), actor=SYSTEM)
        await eventually(lambda: len(hotline.notices) == 2)
        newest = max(hotline.notices, key=lambda notice: notice.at)
        assert newest.stage == "void"
        assert voided.state.stage is Stage.VOID


async def test_partly_solved_at_the_hotline_reopens_its_case_and_mostly_satisfied_closes_it(tmp_path: Path) -> None:
    department = Department()
    async with running_hub(tmp_path, {"hotline": scripted("hotline", department, (Capability.POLL, Capability.INFORM))}) as hub:

        async def bring(number: int, **said: Any) -> None:
            visit = Feedback(id=f"V-{number}", kind=FeedbackKind.VISITED, ticket="H-1", reached=Reached.YES, **said)
            await hub.reportback.take("hotline", visit)

        outcome = await report_gas(hub, source=Source(adapter="hotline", ref="H-1"))
        await eventually(lambda: hub.views.case_of_source("hotline", "H-1"))
        for one in outcome.state.assignments:
            done = Actor(kind=ActorKind.DEPARTMENT, name=one.unit, unit=UnitCode(one.unit))
            told = Resolve(assignment=one.id, note="内部：阀门老化", public_reply=f"{one.unit}已处理")
            await hub.desk.execute(outcome.state.id, told, actor=done)
        await eventually(lambda: any(notice.stage == "resolved" for notice in department.notices))
        heard = next(notice for notice in department.notices if notice.stage == "resolved")
        assert heard.reply == "\n".join(f"{one.unit}已处理" for one in outcome.state.assignments)
        assert all("内部" not in (notice.reply or "") + notice.text for notice in department.notices)
        await bring(1, solved=Solved.PARTLY, satisfied=Satisfied.MOSTLY, tries=2)
        again = await stands(hub, outcome)
        assert (again.stage, again.reopened) == (Stage.HELD, 1)
        await hub.desk.execute(outcome.state.id, Settle(note="返工"), actor=SYSTEM)
        await bring(2, solved=Solved.YES, satisfied=Satisfied.MOSTLY)
        closed = await stands(hub, outcome)
        assert closed.stage is Stage.CLOSED
        assert closed.reporter_said is not None
        assert (closed.reporter_said.satisfied, closed.reporter_said.by) == (Satisfied.MOSTLY, "hotline")
        await bring(3, satisfied=Satisfied.NO)
        assert (await stands(hub, outcome)).stage is Stage.CLOSED, "a visit that comes too late stays on the timeline"


@pytest.mark.parametrize("way", ["poll", "callback"])
@pytest.mark.parametrize("odd", [{"rating": 0}, {"rating": 8}, {}], ids=["rating 0", "rating 8", "reached, nothing said"])
async def test_a_visit_nobody_can_use_is_put_aside_and_the_source_goes_on(
    tmp_path: Path, way: str, odd: dict[str, Any]
) -> None:
    department = Department()

    class Hotline(scripted("hotline", department, (Capability.POLL, Capability.CALLBACK))):  # type: ignore[misc]
        async def parse_callback(self, request: CallbackRequest) -> list[Feedback | IncomingCase]:
            return department.items

    now = datetime.now(UTC)
    brought = [
        Feedback(id="V-1", kind=FeedbackKind.VISITED, ticket="H-0", reached=Reached.YES, **odd),
        IncomingCase(ref="H-1", channel=Channel.HOTLINE, title="路灯不亮", text="北门路灯不亮", reported_at=now, area=GRID),
    ]
    async with running_hub(tmp_path, {"hotline": Hotline}) as hub:
        department.items.extend(brought)
        if way == "callback":
            assert await hub.reportback.callback("hotline", REQUEST) == 1

        async def taken() -> bool:
            return await hub.views.case_of_source("hotline", "H-1") is not None

        await eventually(taken)
        (item,) = (await hub.repairs.list(RepairFilter(kind=RepairKind.PUT_ASIDE))).items
        assert (item.adapter, item.subject) == ("hotline", "V-1")


@pytest.mark.parametrize("kind", FeedbackKind)
async def test_report_the_lifecycle_refuses_is_put_aside_whatever_it_says(tmp_path: Path, kind: FeedbackKind) -> None:
    department = Department()
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub, source=Source(adapter="police", ref="W-1"))
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        key = f"{outcome.state.id}.{assignment.id}"
        if kind is FeedbackKind.VISITED:
            await eventually(lambda: hub.views.case_of_source("police", "W-1"))
            for one in (await stands(hub, outcome)).assignments:
                done = Actor(kind=ActorKind.DEPARTMENT, name=one.unit, unit=UnitCode(one.unit))
                await hub.desk.execute(outcome.state.id, Resolve(assignment=one.id, note="办结"), actor=done)
        # A time without offset and such a rating do not come from a plugin; a later hub may be stricter than its soundness check.
        odd = Feedback(id="R-1", kind=kind, key=key, ticket="W-1", at=datetime(2026, 1, 1), reached=Reached.YES, rating=9)  # noqa: DTZ001
        before = await stands(hub, outcome)
        for _ in range(2):
            await hub.reportback.take("police", odd)
        after = await stands(hub, outcome)
        assert (after.stage, after.assignments, after.visits) == (before.stage, before.assignments, before.visits)
        (item,) = (await hub.repairs.list(RepairFilter(kind=RepairKind.PUT_ASIDE))).items
        assert (item.subject, item.case, item.count) == ("R-1", outcome.state.id, 2)


async def test_report_that_waited_and_is_refused_then_is_put_aside(tmp_path: Path) -> None:
    department = Department()
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        early = Feedback(id="R-1", kind=FeedbackKind.ACCEPTED, ticket="T-0", at=datetime(2026, 1, 1))  # noqa: DTZ001
        assert await hub.reportback.take("police", early) is None
        await report_gas(hub)

        async def aside() -> list[str]:
            return [item.subject for item in (await hub.repairs.list(RepairFilter())).items]

        assert await eventually(aside) == ["R-1"]


async def test_a_return_that_says_nothing_but_spaces_is_taken(tmp_path: Path) -> None:
    department = Department()
    async with running_hub(tmp_path, {"police": scripted("police", department)}) as hub:
        outcome = await report_gas(hub)
        assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        blank = Feedback(id="R-1", kind=FeedbackKind.RETURNED, key=f"{outcome.state.id}.{assignment.id}", by=" ", note=" \n ")
        await hub.reportback.take("police", blank)
        assert (await assignment_of(hub, outcome, "police")).state is AssignmentState.RETURNED
