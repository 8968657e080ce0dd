"""What intake makes of a report: suspected duplicates, masked texts, a place, a category; and where the personal part goes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hub.bus.streams import FILES, stream_state
from hub.contract import Contact
from hub.errors import BusUnavailable, InvalidInput
from hub.model.actors import SYSTEM
from hub.model.case.commands import EraseContact, Report, Void
from hub.model.case.events import Commented
from hub.model.case.state import CaseId, Severity
from tests.system.intake_world import (
    DRY,
    GAS,
    NOW,
    OTHER_STREET,
    PHOTO,
    SOMEBODY,
    STREET,
    Clock,
    Counter,
    Guess,
    Open,
    outage,
)

# --- duplicates ---


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


async def test_files_are_stored_under_the_case_and_only_when_there_is_one(counter: Counter) -> None:
    with pytest.raises(InvalidInput):
        await counter.report(files=(PHOTO,), category="NONE")
    await counter.report(**outage())
    assert (await counter.report(files=(PHOTO,), **DRY)).attached
    assert (await stream_state(counter.bus, FILES)).messages == 0
    outcomes = await asyncio.gather(*(counter.report(key="k", files=(PHOTO,)) for _ in range(3)))
    case = outcomes[0].state
    assert case.attachments == (PHOTO.record,)
    assert await counter.objects.get(PHOTO.record.sha256, of=case.id) == PHOTO.content
    assert await counter.objects.get(PHOTO.record.sha256) is None
    assert (await stream_state(counter.bus, FILES)).messages == 1


@pytest.mark.parametrize("through", ["another hub", "the same hub"])
async def test_late_one_of_two_at_once_brings_nothing_back_that_was_erased_meanwhile(opened: Open, through: str) -> None:
    first, late = opened(), opened()
    store, at_it, erased = late.vault.store, asyncio.Event(), asyncio.Event()

    async def held_up(case: CaseId, contact: Contact) -> tuple[str, ...]:
        if not at_it.is_set():
            at_it.set()
            await erased.wait()
        return await store(case, contact)

    late.vault.store = held_up  # type: ignore[method-assign]
    first.killed_at(Report)
    with pytest.raises(BusUnavailable):
        await first.report(key="k", files=(PHOTO,), contact=SOMEBODY)
    again = asyncio.create_task(late.report(key="k", files=(PHOTO,), contact=SOMEBODY))
    await at_it.wait()
    opens = late if through == "the same hub" else opened()
    case = (await opens.report(key="k", files=(PHOTO,), contact=SOMEBODY)).state.id
    other = opened()
    await other.vault.erase(case)
    await other.desk.execute(case, EraseContact(reason="本人要求"), actor=SYSTEM)
    await other.objects.delete(PHOTO.record.sha256, of=case)
    erased.set()
    assert (await again).repeated
    assert await other.vault.open(case) is None
    assert await other.objects.get(PHOTO.record.sha256, of=case) is None


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
    counter = opened(Guess(Severity.URGENT))
    told = {"title": "说不清", "text": "说不清的事", "category": None}
    assert (await counter.report(**told)).state.severity is Severity.URGENT
    assert (await counter.report(**told, severity=Severity.MINOR)).state.severity is Severity.MINOR
