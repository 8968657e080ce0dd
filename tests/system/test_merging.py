"""Merging: exactly one of contradicting merges is taken, a refusal changes nothing, and the last case down the chain gets everything."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from hub.app import Hub
from hub.contract import Capability
from hub.model.actors import SYSTEM
from hub.model.answers import Reached, Satisfied
from hub.model.case.commands import AttachReport, Merge, Resolve, Settle, Visit
from hub.model.case.state import Case, CaseId, Channel, Stage
from hub.model.records import Source
from hub.testing.kit import eventually
from tests.system.department import GRID, Department, report_gas, running_hub, scripted
from tests.system.hubs import api_of, two_hubs
from tests.system.matters import case_of


@asynccontextmanager
async def served(folder: Path, department: Department | None = None) -> AsyncIterator[tuple[Hub, httpx.AsyncClient]]:
    """A hub and an operator's client of it."""
    adapters = {} if department is None else {"hotline": scripted("hotline", department, (Capability.INFORM,))}
    async with running_hub(folder, adapters) as hub, api_of(hub) as client:
        await signed_in(hub, client)
        yield hub, client


async def signed_in(hub: Hub, client: httpx.AsyncClient) -> None:
    secret, _ = await hub.tokens.issue(name="centre", role="operator", unit=None, area=hub.rulebook.district().code)
    client.headers["Authorization"] = f"Bearer {secret}"
    client.timeout = httpx.Timeout(30)


async def opened(hub: Hub, number: int = 0, source: str | None = None) -> CaseId:
    """A case held by its grid."""
    outcome = await report_gas(
        hub,
        title=f"路灯不亮{number}",
        text=f"路灯不亮{number}",
        category="P0102",
        severity=None,
        channel=Channel.HOTLINE,
        source=None if source is None else Source(adapter="hotline", ref=source),
    )
    return outcome.state.id


async def merged(client: httpx.AsyncClient, one: CaseId, into: CaseId) -> httpx.Response:
    return await client.post(f"/cases/{one}/merge", json={"into": into, "reason": "同一事项"})


async def stands(hub: Hub, id: CaseId) -> Case:
    case = await case_of(hub, id)
    assert case is not None
    return case


async def test_of_opposite_merges_exactly_one_is_taken(tmp_path: Path) -> None:
    async with served(tmp_path) as (hub, client):
        for number in range(10):
            a, b = await opened(hub, number), await opened(hub, number)
            answers = await asyncio.gather(merged(client, a, b), merged(client, b, a))
            assert sorted(answer.status_code for answer in answers) == [200, 409], [answer.text for answer in answers]
            cases = [await stands(hub, a), await stands(hub, b)]
            assert sorted(case.stage.value for case in cases) in (["held", "merged"], ["dispatched", "merged"])
            (gone,) = [case for case in cases if case.stage is Stage.MERGED]
            (left,) = [case for case in cases if case.stage is not Stage.MERGED]
            assert (gone.merged_into, left.absorbed, gone.absorbed, left.merging) == (left.id, (gone.id,), (), None)


async def test_of_merges_into_two_cases_the_refused_one_changes_nothing_there(tmp_path: Path) -> None:
    async with served(tmp_path) as (hub, client):
        for number in range(10):
            a, b, c = await opened(hub, number), await opened(hub, number), await opened(hub, number)
            answers = await asyncio.gather(merged(client, a, b), merged(client, a, c))
            assert sorted(answer.status_code for answer in answers) == [200, 409], [answer.text for answer in answers]
            into = (await stands(hub, a)).merged_into
            assert {id for id in (b, c) if a in (await stands(hub, id)).absorbed} == {into}


@pytest.mark.parametrize("size", [3, 5])
async def test_rings_leave_one_case_open_that_carries_all_others(tmp_path: Path, size: int) -> None:
    async with served(tmp_path) as (hub, client):
        for number in range(6):
            ids = [await opened(hub, number) for _ in range(size)]
            ring = [*ids[1:], ids[0]]
            answers = await asyncio.gather(*(merged(client, one, into) for one, into in zip(ids, ring, strict=True)))
            taken = [answer.status_code for answer in answers].count(200)
            assert taken < size
            cases = [await stands(hub, id) for id in ids]
            assert sum(not case.ended for case in cases) == size - taken
            for case in cases:  # every merged case leads to an open one
                seen = {case.id}
                while case.merged_into is not None:
                    assert case.merged_into not in seen
                    seen.add(case.merged_into)
                    case = await stands(hub, case.merged_into)
                assert not case.ended


async def test_a_target_that_is_voided_meanwhile_takes_nobody_along(tmp_path: Path) -> None:
    async with served(tmp_path) as (hub, client):
        for number in range(10):
            a, b = await opened(hub, number), await opened(hub, number)
            void = client.post(f"/cases/{b}/void", json={"reason": "测试工单"})
            answers = await asyncio.gather(merged(client, a, b), void)
            assert sorted(answer.status_code for answer in answers) == [200, 409], [answer.text for answer in answers]
            assert not ((await stands(hub, a)).ended and (await stands(hub, b)).ended)


async def test_every_record_down_the_chain_hears_of_the_case_that_goes_on(tmp_path: Path) -> None:
    department = Department()
    async with served(tmp_path, department) as (hub, client):
        ids = [await opened(hub, number, f"W-{number}") for number in range(3)]
        for one, into in itertools.pairwise(ids):
            assert (await merged(client, one, into)).status_code == 200
        late = AttachReport(
            channel=Channel.HOTLINE,
            text="又来电",
            area=GRID,  # type: ignore[arg-type]
            reported_at=hub.desk._clock(),
            source=Source(adapter="hotline", ref="W-late"),
        )
        await hub.desk.execute(ids[0], late, actor=SYSTEM)

        async def passed_on() -> bool:
            return Source(adapter="hotline", ref="W-late") in (await stands(hub, ids[2])).attached_reports

        await eventually(passed_on)
        for item in (await stands(hub, ids[2])).assignments:
            if item.state.open:
                await client.post(f"/cases/{ids[2]}/recall", json={"assignment": item.id, "reason": "自办"})
        await hub.desk.execute(ids[2], Settle(note="已修"), actor=SYSTEM)
        await hub.desk.execute(ids[2], Visit(reached=Reached.YES, satisfied=Satisfied.YES), actor=SYSTEM)
        wanted = {("closed", ref) for ref in ("W-0", "W-1", "W-2", "W-late")}

        def told() -> bool:
            return wanted <= {(notice.stage, notice.ref) for notice in department.notices}

        await eventually(told)
        assert len([n for n in department.notices if n.stage == "closed"]) == 4, "each once"


async def test_what_is_said_on_a_merged_case_reaches_the_one_that_goes_on(tmp_path: Path) -> None:
    async with served(tmp_path) as (hub, client):
        a, b, c = await opened(hub), await opened(hub), await opened(hub)
        await merged(client, a, b)
        await merged(client, b, c)
        await client.post(f"/cases/{a}/comment", json={"text": "灯杆漏电危险"})

        async def said() -> list[str]:
            state = await client.get(f"/cases/{c}/timeline", params={"fresh": True})
            return re.findall(r"（[^（]*留言）*灯杆漏电危险", state.text)

        (text,) = await eventually(said)
        assert re.fullmatch(rf"（.+ 在已并入的 {a} 上留言）灯杆漏电危险", text), "said once whose it is, however long the chain"


async def test_who_says_something_on_a_merged_case_finds_it_where_it_went(tmp_path: Path) -> None:
    async with served(tmp_path) as (hub, client):
        a, b = await opened(hub), await opened(hub)
        await merged(client, a, b)
        for turn in range(5):
            await client.post(f"/cases/{a}/comment", json={"text": f"第{turn}次说"})
            assert f"第{turn}次说" in (await client.get(f"/cases/{b}/timeline")).text


async def test_what_is_said_while_the_next_case_is_being_merged_goes_all_the_way(tmp_path: Path) -> None:
    async with served(tmp_path) as (hub, client):
        for turn in range(5):
            a, b, c = await opened(hub), await opened(hub), await opened(hub)
            await merged(client, a, b)
            text = f"第{turn}次说"
            await asyncio.gather(merged(client, b, c), client.post(f"/cases/{a}/comment", json={"text": text}))

            async def known(case: str = c, text: str = text) -> bool:
                return text in (await client.get(f"/cases/{case}/timeline", params={"fresh": True})).text

            await eventually(known)


async def test_a_case_is_closed_or_merged_but_never_both(tmp_path: Path) -> None:
    async with served(tmp_path) as (hub, client):
        for _ in range(5):
            a, b = await opened(hub), await opened(hub)
            for item in (await stands(hub, a)).assignments:
                await hub.desk.execute(a, Resolve(assignment=item.id, note="已修复"), actor=SYSTEM)
            assert (await stands(hub, a)).stage is Stage.RESOLVED
            await asyncio.gather(
                client.post(f"/cases/{a}/merge", json={"into": b}),
                client.post(f"/cases/{a}/visit", json={"reached": "yes", "satisfied": "yes"}),
            )
            ours, theirs = await stands(hub, a), await stands(hub, b)
            assert (ours.stage, ours.merged_into, a in theirs.absorbed) in (
                (Stage.MERGED, b, True),
                (Stage.CLOSED, None, False),
            )


async def test_a_refused_merge_stays_refused_when_it_comes_again_with_its_key(tmp_path: Path) -> None:
    async with served(tmp_path) as (hub, client):
        a, b, c = await opened(hub), await opened(hub), await opened(hub)
        await client.post(f"/cases/{b}/void", json={"reason": "误报"})
        first = {"headers": {"Idempotency-Key": "k1"}, "json": {"into": b}}
        assert (await client.post(f"/cases/{a}/merge", **first)).status_code == 409
        await merged(client, a, c)
        assert (await client.post(f"/cases/{a}/merge", **first)).status_code == 409


async def test_a_merge_into_an_ended_case_is_refused_and_leaves_both_as_they_were(tmp_path: Path) -> None:
    async with served(tmp_path) as (hub, client):
        a, b = await opened(hub), await opened(hub)
        await client.post(f"/cases/{b}/void", json={"reason": "测试工单"})
        answer = await client.post(
            f"/cases/{a}/merge", json={"into": b, "reason": "同一事项"}, headers={"Idempotency-Key": "m1"}
        )
        assert answer.status_code == 409
        assert answer.json()["rule"].endswith("the case has ended")
        again = await client.post(
            f"/cases/{a}/merge", json={"into": b, "reason": "同一事项"}, headers={"Idempotency-Key": "m1"}
        )
        assert (again.status_code, again.json()["rule"]) == (409, answer.json()["rule"])
        assert not (await stands(hub, a)).ended
        assert (await stands(hub, b)).absorbed == ()


async def test_a_merge_asked_for_before_a_kill_is_finished_after_it(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {}, stages=False) as hub:
        a, b = await opened(hub), await opened(hub)
        await hub.desk.execute(a, Merge(into=b, reason="同一事项"), actor=SYSTEM)
        assert (await stands(hub, a)).merging is not None
    async with running_hub(tmp_path, {}) as hub:

        async def finished() -> bool:
            return (await stands(hub, a)).stage is Stage.MERGED and (await stands(hub, b)).absorbed == (a,)

        await eventually(finished)


async def test_opposite_merges_through_two_hubs_leave_one_case_open(tmp_path: Path) -> None:
    async with two_hubs(tmp_path) as (one, other), api_of(one) as first, api_of(other) as second:
        await signed_in(one, first)
        await signed_in(other, second)
        for number in range(5):
            a, b = await opened(one, number), await opened(other, number)
            answers = await asyncio.gather(merged(first, a, b), merged(second, b, a))
            assert sorted(answer.status_code for answer in answers) == [200, 409], [answer.text for answer in answers]
            assert [(await stands(one, id)).ended for id in (a, b)].count(True) == 1
