"""Intake on a real server: once per key whatever happens, and joined to the notice it belongs to.

Two counters stand for two hubs on one bus: each with its own desk and cache.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from hub.errors import BusUnavailable, InvalidInput
from hub.model.actors import SYSTEM, Actor, ActorKind
from hub.model.case.commands import AttachReport, Report, Void
from hub.model.case.events import CaseReported, Commented, ReportAttached
from hub.model.case.state import CaseId, Channel
from hub.model.records import Source
from hub.serving import services_of
from hub.spine.ledger.desk import Outcome
from hub.spine.ways_in.intake import Entry, Reservation
from hub.surfaces.api import create_app
from hub.testing.kit import PATIENCE
from tests.system.department import running_hub
from tests.system.intake_world import (
    DRY,
    NOW,
    OTHER_STREET,
    SOMEBODY,
    Clock,
    Counter,
    Guess,
    Open,
    outage,
)

# --- once per key ---


async def test_same_key_with_the_same_content_gives_the_same_case(counter: Counter) -> None:
    first = await counter.report(key="k")
    again = await counter.report(key="k")
    assert (first.repeated, again.repeated) == (False, True)
    assert again.state.id == first.state.id
    assert len(await counter.story(CaseReported)) == 1


async def test_same_content_without_a_key_is_another_case(counter: Counter) -> None:
    assert (await counter.report()).state.id != (await counter.report()).state.id


async def test_same_key_with_another_content_is_refused_naming_the_header(counter: Counter) -> None:
    await counter.report(key="k")
    with pytest.raises(InvalidInput, match="another content") as problem:
        await counter.report(key="k", text="南门的路灯不亮")
    assert problem.value.subject == "Idempotency-Key"
    assert len(await counter.story(CaseReported)) == 1


async def test_what_the_caller_said_is_compared_not_what_was_filled_in(counter: Counter) -> None:
    first = await counter.report(key="k", said="abc")
    again = await counter.report(key="k", said="abc", reported_at=NOW - timedelta(seconds=5))
    assert again.state.id == first.state.id
    with pytest.raises(InvalidInput, match="another content"):
        await counter.report(key="k", said="abd")


async def test_key_is_its_callers_own(counter: Counter) -> None:
    other = Actor(kind=ActorKind.SYSTEM, name="other")
    assert (await counter.report(key="k")).state.id != (await counter.report(key="k", actor=other)).state.id


async def test_identical_reports_at_once_through_two_hubs_are_one_case_and_nobody_is_refused(opened: Open) -> None:
    counters = (opened(), opened())
    outcomes = await asyncio.gather(
        *(
            counters[number % 2].report(
                key="k", said="the same", reported_at=NOW - timedelta(seconds=number), place="尧佳路88号", contact=SOMEBODY
            )
            for number in range(40)
        )
    )
    assert len({outcome.state.id for outcome in outcomes}) == 1
    assert [outcome.repeated for outcome in outcomes].count(False) == 1
    assert len(await counters[0].story(CaseReported)) == 1


async def test_of_two_at_once_that_reach_the_ledger_together_neither_is_refused(opened: Open) -> None:
    counters = (opened(), opened())
    together = asyncio.Barrier(2)
    for counter in counters:
        counter.waits_before(Report, together)
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(
            *(one.report(key="k", said="same", reported_at=NOW - timedelta(n)) for n, one in enumerate(counters))
        )
    assert outcomes[0].state.id == outcomes[1].state.id
    assert sorted(outcome.repeated for outcome in outcomes) == [False, True]


async def test_identical_reports_at_once_are_one_case_whatever_a_classifier_says_of_each(opened: Open) -> None:
    guess = Guess()
    counters = (opened(guess), opened(guess))
    outcomes = await asyncio.gather(
        *(counters[n % 2].report(key="k", title="说不清", text="说不清的事", category=None) for n in range(12))
    )
    assert len({outcome.state.id for outcome in outcomes}) == 1
    assert len(guess.asked) > 1
    assert len(await counters[0].story(CaseReported)) == len(await counters[0].story(Commented)) == 1


async def test_different_contents_at_once_under_one_key_are_one_case_and_refusals(opened: Open) -> None:
    counters = (opened(), opened())
    results = await asyncio.gather(
        *(counters[n % 2].report(key="k", text=f"{n % 4}号门的路灯不亮") for n in range(16)), return_exceptions=True
    )
    taken = [result for result in results if isinstance(result, Outcome)]
    refused = [result for result in results if isinstance(result, InvalidInput)]
    assert (len(taken), len(refused)) == (4, 12)
    assert len({outcome.state.id for outcome in taken}) == 1
    assert len(await counters[0].story(CaseReported)) == 1


async def test_report_repeated_after_a_kill_before_its_commit_opens_the_case_it_had_reserved(opened: Open) -> None:
    killed, other = opened(), opened()
    killed.killed_at(Report)
    with pytest.raises(BusUnavailable):
        await killed.report(key="k", contact=SOMEBODY)
    assert await other.story() == []
    stored = await other.bus.last("KEYS", "key.>")
    assert stored is not None
    with pytest.raises(InvalidInput, match="another content"):
        await other.report(key="k", text="南门的路灯不亮")
    outcome = await other.report(key="k", contact=SOMEBODY)
    assert outcome.state.id == msgspec.json.decode(stored.data, type=Reservation).case
    assert await other.vault.open(outcome.state.id) == SOMEBODY
    assert (await other.report(key="k", contact=SOMEBODY)).repeated


async def test_report_repeated_after_a_kill_stays_a_case_though_a_notice_covers_it_by_now(opened: Open) -> None:
    killed, other = opened(), opened()
    killed.killed_at(Report)
    with pytest.raises(BusUnavailable):
        await killed.report(key="k", **DRY)
    await other.report(**outage())
    outcome = await other.report(key="k", **DRY)
    assert not outcome.attached
    assert await other.story(ReportAttached) == []


async def test_systems_repeated_number_gives_its_case_whatever_it_says_by_now(counter: Counter) -> None:
    source = Source(adapter="hotline", ref="W-1")
    first = await counter.report(source=source, channel=Channel.HOTLINE)
    again = await counter.report(source=source, channel=Channel.HOTLINE, text="北门的路灯还是不亮", contact=SOMEBODY)
    assert again.repeated
    assert again.state.id == first.state.id
    assert await counter.vault.open(first.state.id) is None
    elsewhere = await counter.report(source=Source(adapter="mailbox", ref="W-1"), channel=Channel.HOTLINE)
    assert elsewhere.state.id != first.state.id


async def test_systems_number_at_once_with_different_contents_is_one_case(opened: Open) -> None:
    counters = (opened(), opened())
    source = Source(adapter="hotline", ref="W-1")
    outcomes = await asyncio.gather(*(counters[n % 2].report(source=source, text=f"第 {n} 次来电") for n in range(12)))
    assert len({outcome.state.id for outcome in outcomes}) == 1
    assert len(await counters[0].story(CaseReported)) == 1


# --- joined to a notice ---


async def test_report_from_a_covered_area_joins_the_notice_once_per_key(counter: Counter) -> None:
    notice = await counter.report(**outage())
    joined = await counter.report(key="k", **DRY)
    again = await counter.report(key="k", **DRY)
    assert (joined.attached, joined.repeated) == (True, False)
    assert (again.attached, again.repeated) == (True, True)
    assert joined.state.id == again.state.id == notice.state.id
    assert [case for case, _ in await counter.story(ReportAttached)] == [notice.state.id]
    assert len(await counter.story(CaseReported)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"area": OTHER_STREET},
        {"category": "E0405"},
        {"category": "P0102"},
        {"covers": (OTHER_STREET,), "covers_until": NOW + timedelta(hours=1), "category": "E0404"},
    ],
    ids=["elsewhere", "electricity", "not of the kind that joins", "a notice itself"],
)
async def test_report_the_notice_does_not_cover_is_a_case_of_its_own(counter: Counter, changes: dict[str, Any]) -> None:
    notice = await counter.report(**outage())
    outcome = await counter.report(**DRY | changes)
    assert not outcome.attached
    assert outcome.state.id != notice.state.id


async def test_notice_covers_until_its_end_and_while_it_is_open(counter: Counter, clock: Clock) -> None:
    notice = await counter.report(**outage())
    clock.at += timedelta(hours=6)
    assert not (await counter.report(**DRY)).attached
    clock.at = NOW
    assert (await counter.report(**DRY)).attached
    await counter.desk.execute(notice.state.id, Void(reason="误发"), actor=SYSTEM)
    assert not (await counter.report(**DRY)).attached


async def test_notice_repeated_after_a_kill_covers_all_the_same(opened: Open) -> None:
    killed, other = opened(), opened()

    async def stopped(entry: Entry, case: CaseId) -> None:
        raise BusUnavailable("killed")

    killed.intake._mark_covers = stopped  # type: ignore[method-assign]
    with pytest.raises(BusUnavailable):
        await killed.report(key="n", **outage())
    assert not (await other.report(**DRY)).attached
    assert (await other.report(key="n", **outage())).repeated
    assert (await other.report(**DRY)).attached


async def test_identical_reports_at_once_join_the_notice_once(opened: Open) -> None:
    counters = (opened(), opened())
    await counters[0].report(**outage())
    outcomes = await asyncio.gather(
        *(counters[n % 2].report(key="k", said="same", **DRY | {"reported_at": NOW - timedelta(n)}) for n in range(20))
    )
    assert all(outcome.attached for outcome in outcomes)
    assert len(await counters[0].story(ReportAttached)) == 1


async def test_report_repeated_after_a_kill_before_it_joined_joins_once(opened: Open) -> None:
    killed, other = opened(), opened()
    await other.report(**outage())
    killed.killed_at(AttachReport)
    with pytest.raises(BusUnavailable):
        await killed.report(key="k", **DRY)
    assert await other.story(ReportAttached) == []
    for _ in range(2):
        assert (await other.report(key="k", **DRY)).attached
    assert len(await other.story(ReportAttached)) == 1


async def test_report_whose_notice_ended_before_it_joined_gets_a_case_of_its_own(opened: Open) -> None:
    killed, other = opened(), opened()
    notice = await other.report(**outage())
    killed.killed_at(AttachReport)
    with pytest.raises(BusUnavailable):
        await killed.report(key="k", **DRY)
    await other.desk.execute(notice.state.id, Void(reason="误发"), actor=SYSTEM)
    first = await other.report(key="k", **DRY)
    assert (first.attached, first.repeated) == (False, False)
    assert first.state.id != notice.state.id
    again = await other.report(key="k", **DRY)
    assert (again.state.id, again.repeated, again.attached) == (first.state.id, True, False)


# --- by HTTP ---


@contextlib.asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with running_hub(tmp_path, {}, stages=False) as hub:
        token, _ = await hub.tokens.issue(name="admin", role="admin", unit=None, area="320113")
        transport = httpx.ASGITransport(create_app(services_of(hub)))
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://hub/api/v1", headers=headers) as client:
            yield client


async def test_identical_posts_at_once_all_get_the_same_case(tmp_path: Path) -> None:
    body = {"text": "北门的路灯不亮", "place": "尧佳路88号", "contact": {"name": "欧阳建国", "phone": "13812341234"}}
    async with served(tmp_path) as client:
        posts = [client.post("/cases", json=body, headers={"Idempotency-Key": "k"}) for _ in range(30)]
        answers = await asyncio.gather(*posts)
        assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
        assert len({answer.json()["case"]["id"] for answer in answers}) == 1
        assert [answer.json()["repeated"] for answer in answers].count(False) == 1
        other = await client.post("/cases", json={"text": "南门的路灯不亮"}, headers={"Idempotency-Key": "k"})
        assert other.status_code == 422
        assert other.json()["errors"][0]["field"] == "Idempotency-Key"
