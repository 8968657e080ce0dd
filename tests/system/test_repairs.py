"""Repairs on a real server: the same thing counts up, what is ended opens again when it should, and a flood stays bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from hub.bus import Bucket, Bus
from hub.errors import InvalidInput, NotAllowed
from hub.platform.upkeep.heard_words import HeardWords
from hub.platform.upkeep.repairs import Repair, RepairFilter, RepairKind, Repairs, RepairState

KEY = "320113001001001-0f3k9m2p7q.a1"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def repairs(bus: Bus, clock: Clock) -> AsyncIterator[Repairs]:
    kept = Repairs(await Bucket.open(bus, "REPAIRS"), clock=clock, most=10, hold=0.05)
    yield kept
    await kept.close()


def word(subject: str = "已转派", *, facts: str = "", adapter: str = "lamps") -> Repair:
    return Repair(
        kind=RepairKind.UNMAPPED_STATUS, adapter=adapter, subject=subject, text=f"对照表中没有状态“{subject}”", facts=facts
    )


def missing(key: str = KEY, unit: str = "lighting") -> Repair:
    return Repair(
        kind=RepairKind.DISAGREEMENT,
        adapter="lamps",
        subject=f"missing:{key}",
        text="部门系统中没有该工单，联系电话13800001234",
        case=key.partition(".")[0],
        unit=unit,
        facts="accepted",
    )


async def test_the_same_thing_counts_up_instead_of_piling(repairs: Repairs, clock: Clock) -> None:
    await repairs.note(word())
    first = clock.at
    clock.at += timedelta(hours=1)
    for _ in range(20):
        await repairs.note(word())
    await repairs.flush()
    (item,) = (await repairs.list(RepairFilter())).items
    assert (item.count, item.first_at, item.last_at) == (21, first, clock.at)
    assert item.state is RepairState.OPEN


async def test_word_that_is_no_text_is_noted_all_the_same(repairs: Repairs, bus: Bus) -> None:
    await repairs.note(word("已转\ud83d"))
    (item,) = (await repairs.list(RepairFilter())).items
    assert item.subject == "已转?"
    words = HeardWords(await Bucket.open(bus, "RECONCILIATION"), hold=0)
    words.heard("lamps", "已转\ud83d", None, "T\ud83d")
    await words.close()
    (heard,) = await words.of("lamps")
    assert (heard.word, heard.about) == ("已转?", ("T?",))


async def test_two_processes_lose_no_count(bus: Bus, clock: Clock) -> None:
    bucket = await Bucket.open(bus, "REPAIRS")
    both = [Repairs(bucket, clock=clock, hold=0.0) for _ in range(2)]
    await asyncio.gather(*(one.note(word()) for one in both for _ in range(10)))
    await asyncio.gather(*(one.close() for one in both))
    (item,) = (await both[0].list(RepairFilter())).items
    assert item.count == 20


async def test_a_resolved_one_that_happens_again_opens_again(repairs: Repairs, clock: Clock) -> None:
    await repairs.note(word())
    ended = await repairs.resolve(word().id, "李工", "已补入对照表")
    assert (ended.state, ended.ended_by, ended.why, ended.ended_at) == (
        RepairState.RESOLVED,
        "李工",
        "已补入对照表",
        clock.at,
    )
    await repairs.note(word())
    item = await repairs.get(word().id)
    assert (item.state, item.reopened, item.count, item.ended_by, item.why) == (RepairState.OPEN, 1, 2, None, None)


async def test_a_dismissed_one_stays_until_its_facts_change(repairs: Repairs) -> None:
    await repairs.note(word(facts="A"))
    await repairs.dismiss(word().id, "李工", "对方测试数据")
    await repairs.note(word(facts="A"))
    await repairs.flush()
    stays = await repairs.get(word().id)
    assert (stays.state, stays.count, stays.why) == (RepairState.DISMISSED, 2, "对方测试数据")
    await repairs.note(word(facts="B"))
    assert (await repairs.get(word().id)).state is RepairState.OPEN


async def test_what_is_resolved_cannot_be_dismissed_and_what_is_not_there_is_not_found(repairs: Repairs) -> None:
    await repairs.note(word())
    await repairs.resolve(word().id, "李工")
    assert (await repairs.resolve(word().id, "王工")).ended_by == "李工"
    with pytest.raises(InvalidInput, match="resolved already"):
        await repairs.dismiss(word().id, "李工")
    with pytest.raises(NotAllowed):
        await repairs.get("0" * 16)


async def test_a_flood_is_bounded_and_what_is_left_out_is_counted(repairs: Repairs) -> None:
    for number in range(25):
        await repairs.note(word(f"状态{number}"))
    await repairs.note(word("别的", adapter="sewers"))
    await repairs.flush()
    kept = (await repairs.list(RepairFilter(adapters=frozenset({"lamps"})))).items
    assert len(kept) == 11
    (rest,) = [item for item in kept if item.subject == "*"]
    assert rest.count == 15
    assert "超过 10 项" in rest.text
    assert len((await repairs.list(RepairFilter(adapters=frozenset({"sewers"})))).items) == 1


async def test_ended_ones_make_room_for_new_ones(bus: Bus, clock: Clock) -> None:
    bucket = await Bucket.open(bus, "REPAIRS")
    before = Repairs(bucket, clock=clock, most=10)
    for number in range(10):
        await before.note(word(f"状态{number}"))
        clock.at += timedelta(seconds=1)
    for number in (3, 1):
        await before.resolve(word(f"状态{number}").id, "李工")
    after = Repairs(bucket, clock=clock, most=10)
    await after.note(word("新状态"))
    subjects = {item.subject for item in (await after.list(RepairFilter())).items}
    assert "新状态" in subjects
    assert "状态1" not in subjects
    assert {"状态3", "*"} & subjects == {"状态3"}


async def test_nothing_personal_is_kept(repairs: Repairs) -> None:
    await repairs.note(missing())
    item = await repairs.get(missing().id)
    assert "13800001234" not in item.text
    assert item.subject == f"missing:{KEY}"
    ended = await repairs.resolve(item.id, "李工", "已电话13800001234核实")
    assert ended.why == "已电话138****1234核实"


async def test_the_list_is_latest_first_by_filter_and_in_pages(repairs: Repairs, clock: Clock) -> None:
    for number in range(5):
        clock.at += timedelta(minutes=1)
        await repairs.note(word(f"状态{number}"))
    clock.at += timedelta(minutes=1)
    await repairs.note(missing())
    first = await repairs.list(RepairFilter(limit=4))
    assert [item.subject for item in first.items] == [f"missing:{KEY}", "状态4", "状态3", "状态2"]
    second = await repairs.list(RepairFilter(limit=4, cursor=first.cursor))
    assert [item.subject for item in second.items] == ["状态1", "状态0"]
    assert second.cursor is None
    assert len((await repairs.list(RepairFilter(kind=RepairKind.DISAGREEMENT))).items) == 1
    assert not (await repairs.list(RepairFilter(kind=RepairKind.DISAGREEMENT, unit="sewers"))).items
    assert len((await repairs.list(RepairFilter(unit="sewers"))).items) == 5
    assert len((await repairs.list(RepairFilter(case=KEY.partition(".")[0]))).items) == 1
    with pytest.raises(InvalidInput, match="cursor"):
        await repairs.list(RepairFilter(cursor="abc"))


async def test_what_no_longer_happens_is_resolved_by_itself_a_dismissed_one_too(repairs: Repairs, clock: Clock) -> None:
    for subject in ("甲", "乙", "丙"):
        await repairs.note(word(subject))
    await repairs.dismiss(word("乙").id, "李工")
    clock.at += timedelta(hours=1)
    await repairs.note(word("丁"))
    gone = await repairs.settle("lamps", RepairKind.UNMAPPED_STATUS, "已列入对照表", before=clock.at, keep={word("丙").id})
    assert gone == 2
    states = {item.subject: item.state.value for item in (await repairs.list(RepairFilter())).items}
    assert states == {"甲": "resolved", "乙": "resolved", "丙": "open", "丁": "open"}
    assert (await repairs.get(word("甲").id)).why == "已列入对照表"


async def test_saying_it_never_raises(repairs: Repairs) -> None:
    await repairs.say("failed_instance", "lamps", "3", "适配器无法启动")
    assert (await repairs.list(RepairFilter())).items[0].kind is RepairKind.FAILED_INSTANCE
