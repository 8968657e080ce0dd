"""Intake on a real server: once per key whatever happens, joined to what it belongs to, nothing personal in the open.

Two counters stand for two hubs on one bus: each with its own desk and cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from hub.api import create_app
from hub.bus import Bucket, Bus
from hub.classification import Classified
from hub.config import load_district
from hub.contract import CaseText, Contact, Suggestion
from hub.desk import Desk, Outcome
from hub.errors import BusUnavailable, InvalidInput
from hub.intake import Classify, Entry, Intake, Reservation
from hub.ledger import CheckpointFile, Ledger
from hub.model.actors import SYSTEM, Actor, ActorKind
from hub.model.aggregate import Aggregates
from hub.model.case import CASE
from hub.model.case.commands import AttachReport, CaseCommand, Report, Void
from hub.model.case.events import CaseEvent, CaseReported, Commented, ReportAttached
from hub.model.case.state import Case, CaseId, Channel, Severity
from hub.model.records import Source
from hub.privacy import Vault
from hub.serving import services_of
from tests.system.department import CONFIG, GRID, running_hub

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
STREET, OTHER_STREET = "320113001", "320113002"
SOMEBODY = Contact(name="欧阳建国", phone="13812341234", address="尧化街道尧佳路1号2幢301室")


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


class Guess:
    """A classifier whose every answer is another one."""

    def __init__(self) -> None:
        self.asked: list[CaseText] = []

    async def __call__(self, case: CaseText) -> Classified | None:
        self.asked.append(case)
        because = f"第 {len(self.asked)} 次"
        return Classified(by="guess", suggestion=Suggestion(category="P0102", confidence=0.9, because=because))


@dataclass
class Counter:
    """Where reports come in."""

    bus: Bus
    ledger: Ledger
    desk: Desk[Case, Any, Any]
    vault: Vault
    intake: Intake

    async def report(self, *, key: str | None = None, actor: Actor = SYSTEM, **changes: Any) -> Outcome[Case]:
        return await self.intake.report(entry(**changes), actor=actor, key=key)

    async def story(self, of: type[CaseEvent] | None = None) -> list[tuple[CaseId, CaseEvent]]:
        """Every event of the ledger, or every one of a kind."""
        found = [(c.id, event) async for _, c, _ in self.ledger.follow(0, live=False) for event in c.events]
        return [(case, event) for case, event in found if of is None or isinstance(event, of)]

    async def case(self, id: CaseId) -> Case:
        found = await self.ledger.load(id)
        assert found is not None
        state: Case = found.state
        return state

    def waits_before(self, command: type[CaseCommand], barrier: asyncio.Barrier) -> None:
        """Such a command is given only when all others at the barrier are about to."""
        execute = self.desk.execute

        async def waited(case: CaseId, given: CaseCommand, **options: Any) -> Outcome[Case]:
            if isinstance(given, command):
                await barrier.wait()
            return await execute(case, given, **options)

        self.desk.execute = waited  # type: ignore[method-assign]

    def killed_at(self, command: type[CaseCommand]) -> None:
        """The process is killed before it commits such a command."""
        execute = self.desk.execute

        async def stopped(case: CaseId, given: CaseCommand, **options: Any) -> Outcome[Case]:
            if isinstance(given, command):
                raise BusUnavailable("killed")
            return await execute(case, given, **options)

        self.desk.execute = stopped  # type: ignore[method-assign]


Open = Callable[..., Counter]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def opened(bus: Bus, tmp_path: Path, clock: Clock) -> Open:
    """Opens counters on one bus."""
    district = load_district(CONFIG, environ={})
    personal, keys = await Bucket.open(bus, "PERSONAL"), await Bucket.open(bus, "VAULT_KEYS")
    numbers = itertools.count()

    def one(classify: Classify | None = None) -> Counter:
        ledger = Ledger(bus, CheckpointFile(tmp_path / f"checkpoint{next(numbers)}.json"), Aggregates(CASE))
        vault = Vault(personal, keys)
        desk = Desk(CASE, ledger, lambda: district.policy.rules, clock=clock, hiding=vault.hiding)
        intake = Intake(desk, bus, lambda: district, vault, clock=clock, classify=classify)
        return Counter(bus, ledger, desk, vault, intake)

    return one


@pytest.fixture
def counter(opened: Open) -> Counter:
    return opened()


def entry(**changes: Any) -> Entry:
    values: dict[str, Any] = {
        "channel": Channel.RESIDENT,
        "title": "路灯不亮",
        "text": "北门的路灯不亮",
        "reported_at": NOW,
        "area": GRID,
        "category": "P0102",
    }
    return Entry(**values | changes)


def outage(**changes: Any) -> dict[str, Any]:
    """A notice of a planned outage in the street."""
    return {
        "channel": Channel.DEPARTMENT,
        "title": "计划停水通知",
        "text": "供水管道检修，计划停水",
        "category": "E0404",
        "covers": (STREET,),
        "covers_until": NOW + timedelta(hours=6),
    } | changes


DRY: dict[str, Any] = {"title": "家里停水了", "text": "早上开始停水，什么时候来水？", "category": None}


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
    async with asyncio.timeout(10):
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


# --- duplicates ---

GAS: dict[str, Any] = {"title": "燃气味", "text": "楼道里有燃气味", "category": "E0401", "severity": Severity.URGENT}


async def test_same_place_and_category_within_the_window_is_suspected(counter: Counter, clock: Clock) -> None:
    first = await counter.report(**GAS, place="尧佳路88号 3幢")
    second = await counter.report(**GAS, place="尧佳路88号，3幢")
    assert (first.state.duplicate_of, second.state.duplicate_of) == (None, first.state.id)
    clock.at += timedelta(hours=1, minutes=59)
    assert (await counter.report(**GAS, place="尧佳路88号3幢")).state.duplicate_of == first.state.id
    clock.at += timedelta(minutes=2)
    later = await counter.report(**GAS, place="尧佳路88号3幢")
    assert later.state.duplicate_of is None
    assert (await counter.report(**GAS, place="尧佳路88号3幢")).state.duplicate_of == later.state.id


@pytest.mark.parametrize(
    "changes",
    [{"place": "尧佳路89号"}, {"place": None}, {"category": "E0403"}, {"area": OTHER_STREET}],
    ids=["another place", "no place", "another category", "another street"],
)
async def test_another_matter_is_no_duplicate(counter: Counter, changes: dict[str, Any]) -> None:
    await counter.report(**GAS | {"place": "尧佳路88号"})
    assert (await counter.report(**GAS | {"place": "尧佳路88号"} | changes)).state.duplicate_of is None


async def test_what_ended_is_no_duplicates_original(counter: Counter) -> None:
    first = await counter.report(**GAS, place="尧佳路88号")
    await counter.desk.execute(first.state.id, Void(reason="误报"), actor=SYSTEM)
    assert (await counter.report(**GAS, place="尧佳路88号")).state.duplicate_of is None


async def test_repeated_report_is_no_duplicate_of_itself(opened: Open) -> None:
    killed, other = opened(), opened()
    killed.killed_at(Report)
    with pytest.raises(BusUnavailable):
        await killed.report(key="k", **GAS, place="尧佳路88号")
    assert (await other.report(key="k", **GAS, place="尧佳路88号")).state.duplicate_of is None


# --- what is kept ---


async def test_contact_goes_to_the_vault_and_nothing_of_it_to_any_stream(counter: Counter) -> None:
    said = "我叫欧阳建国，电话13812341234，住尧化街道尧佳路1号2幢301室。"
    notice = await counter.report(**outage())
    opened = await counter.report(
        key="k", title="欧阳建国家路灯不亮", text=f"路灯不亮。{said}", place="尧佳路1号2幢301室", contact=SOMEBODY
    )
    joined = await counter.report(key="j", **DRY | {"text": f"停水。{said}"}, contact=SOMEBODY)
    assert joined.state.id == notice.state.id
    assert await counter.vault.open(opened.state.id) == SOMEBODY
    assert (opened.state.has_contact, notice.state.has_contact) == (True, False)
    for stream in ("LEDGER", "KEYS", "PLACES", "KV_PERSONAL"):
        state = await counter.bus.api(f"STREAM.INFO.{stream}")
        for number in range(1, int(state["state"]["last_seq"]) + 1):
            message = await counter.bus.at(stream, number)
            data = b"" if message is None else message.data
            assert not any(word.encode() in data for word in ("建国", "13812341234", "301室")), stream


async def test_texts_are_masked_and_the_place_keeps_its_building(counter: Counter) -> None:
    case = (
        await counter.report(
            title="联系人：张建国 13812341234",
            text="身份证号320113199001011234，座机：025-85551234",
            place=" 尧佳路1号2幢301室 ",
        )
    ).state
    assert case.title == "联系人：张** 138****1234"
    assert "19900101" not in case.text
    assert "85551234" not in case.text
    assert case.place == "尧佳路1号2幢***室"


async def test_title_and_text_stand_in_for_one_another(counter: Counter) -> None:
    titled = (await counter.report(title="路灯不亮", text=" ")).state
    assert (titled.title, titled.text) == ("路灯不亮", "路灯不亮")
    told = (await counter.report(title="", text="北" * 80)).state
    assert (told.title, told.text) == ("北" * 60, "北" * 80)


@pytest.mark.parametrize(
    ("changes", "area"),
    [
        ({"area": OTHER_STREET, "place_name": "尧化门地铁站"}, OTHER_STREET),
        ({"place_name": "尧化门地铁站"}, STREET),
        ({"place_name": "无此地", "text": "尧化门地铁站路灯不亮"}, STREET),
        ({"place": "尧化门地铁站2号口"}, STREET),
        ({"text": "马群地铁站路灯不亮"}, OTHER_STREET),
        ({}, "320113"),
    ],
    ids=["code first", "place name", "unknown place name", "place", "text", "nothing named"],
)
async def test_report_is_located_by_the_best_that_is_said(counter: Counter, changes: dict[str, Any], area: str) -> None:
    case = (await counter.report(**{"area": None} | changes)).state
    assert case.area.rstrip("0").startswith(area) if area != "320113" else case.area == area


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("text", {"title": " ", "text": "\n"}),
        ("title", {"title": "长" * 201}),
        ("text", {"text": "长" * 20_001}),
        ("place", {"place": "长" * 201}),
        ("reported_at", {"reported_at": NOW.replace(tzinfo=None)}),
        ("reported_at", {"reported_at": NOW + timedelta(minutes=11)}),
        ("area", {"area": "999999"}),
        ("category", {"category": "NONE"}),
        ("covers", outage(covers=("999999",))),
        ("covers_until", outage(covers_until=None)),
        ("contact.name", {"contact": Contact(name="长" * 501)}),
    ],
)
async def test_what_can_not_be_right_is_refused_by_field_and_leaves_nothing(
    counter: Counter, field: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as problem:
        await counter.report(key="k", **changes)
    assert problem.value.subject == field
    assert await counter.story() == []
    assert (await counter.report(key="k2")).folded.number == 1


# --- a classifier's word ---


async def test_classifiers_word_is_taken_and_said_on_the_timeline(opened: Open) -> None:
    guess = Guess()
    counter = opened(guess)
    outcome = await counter.report(title="说不清", text="说不清的事，电话13812341234", category=None)
    assert outcome.state.category == "P0102"
    ((_, comment),) = await counter.story(Commented)
    assert isinstance(comment, Commented)
    assert "guess" in comment.text
    assert "第 1 次" in comment.text
    assert "13812341234" not in guess.asked[0].text


async def test_classifier_is_not_asked_where_the_category_is_said_or_the_case_is_there(opened: Open) -> None:
    guess = Guess()
    counter = opened(guess)
    await counter.report(key="said")
    assert guess.asked == []
    for _ in range(3):
        await counter.report(key="k", title="说不清", text="说不清的事", category=None)
    assert len(guess.asked) == 1


async def test_severity_of_the_reporter_goes_before_the_classifiers(opened: Open) -> None:
    async def grave(case: CaseText) -> Classified | None:
        return Classified(by="g", suggestion=Suggestion(category="P0102", confidence=1.0, severity=Severity.URGENT))

    counter = opened(grave)
    told = {"title": "说不清", "text": "说不清的事", "category": None}
    assert (await counter.report(**told)).state.severity is Severity.URGENT
    assert (await counter.report(**told, severity=Severity.MINOR)).state.severity is Severity.MINOR


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
