"""The read models: what the projector writes, that it resumes exactly, and that a rebuild gives the same."""

import asyncio
import sqlite3
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, select, update

from hub.errors import InvalidInput, LedgerDamaged
from hub.model.actors import SYSTEM, Actor
from hub.model.aggregate import Aggregates
from hub.model.assignments.state import DeadLetter
from hub.model.case import CASE
from hub.model.case import commands as c
from hub.model.case.state import NO_SOURCES, Case, CaseId, Channel, Severity, Stage
from hub.model.district.areas import AreaCode, UnitCode
from hub.model.policy.district import District
from hub.model.records import Source
from hub.spine.ledger.desk import Desk
from hub.views import bulk, queries
from hub.views.filters import CaseFilter, DeliveryFilter, Sort
from hub.views.projection import CASES
from hub.views.projector import Overtaken, Projector
from hub.views.queries import Scope
from hub.views.schema import positions
from hub.views.search import PhraseSearch, PlainSearch, Search
from hub.views.views import Views
from tests.unit.api_world import Clock, MemoryLedger, district, new_case_id, person
from tests.unit.history import play, play_now

GRID = "320113001001001"


@pytest.fixture(scope="module")
def place() -> District:
    return district()


@pytest.fixture(scope="module")
def history(place: District) -> MemoryLedger:
    ledger = MemoryLedger(Aggregates(CASE))
    play_now(ledger, place, seed=7, cases=60, steps=1500)
    return ledger


async def part_of(history: MemoryLedger, which: slice) -> MemoryLedger:
    """A ledger with some of the commits."""
    ledger = MemoryLedger(Aggregates(CASE))
    for subject, raw in history.stored[which]:
        await ledger.bus.publish(subject, raw)
    return ledger


def dump(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, the search index included."""
    with sqlite3.connect(path) as database:
        names = [
            "cases",
            "assignments",
            "attempts",
            "timeline",
            "sources",
            "files",
            "positions",
            "notes_words",
        ]
        found = {name: sorted(database.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}
    database.close()
    return found


def open_views(folder: Path, clock: Clock | None = None, name: str = "views.db") -> Views:
    return Views(f"sqlite:///{folder / name}", clock=clock or Clock())


async def fold_all(ledger: MemoryLedger) -> dict[CaseId, Case]:
    return {id: folded.state for id in {commit.id for commit in ledger.all()} if (folded := await ledger.load(id)) is not None}


async def test_views_hold_every_case_as_folded_from_the_ledger(history: MemoryLedger, tmp_path: Path) -> None:
    views = open_views(tmp_path)
    assert await Projector(views, history).catch_up() == len(history.stored)
    for id, case in (await fold_all(history)).items():
        seen = await views.case(id)
        assert seen is not None
        assert not seen.folded.commands
        assert seen.case == msgspec.structs.replace(case, attached_reports=NO_SOURCES)
        story = await views.timeline(id)
        assert [entry.event for entry in story] == [
            event.__struct_config__.tag for commit in history.all() if commit.id == id for event in commit.events
        ]
    views.close()


@pytest.mark.parametrize("most", [1, 7, 1000])
async def test_rebuild_gives_identical_rows_whatever_the_size_of_transactions(
    history: MemoryLedger, tmp_path: Path, most: int
) -> None:
    views = open_views(tmp_path)
    await Projector(views, history).catch_up()
    before = dump(tmp_path / "views.db")
    count = await Projector(views, history, most=most, cache=3).rebuild()
    assert count == len(history.stored)
    assert dump(tmp_path / "views.db") == before
    assert before["files"]
    views.close()


def test_a_row_is_written_by_the_names_of_its_columns_whatever_their_order() -> None:
    engine = create_engine("sqlite://")
    for number, order in enumerate(permutations(("id", "first", "second"))):
        columns = (Column(name, Text if name != "id" else Integer, primary_key=name == "id") for name in order)
        table = Table(f"moved{number}", MetaData(), *columns)
        row = bulk.row_of(table)
        with engine.begin() as connection:
            table.create(connection)
            bulk.upsert(connection, table, [row(id=1, first="a", second="b")])
            bulk.upsert(connection, table, [row(second="c", first="d", id=1)], keep=frozenset({"first"}))
            assert connection.execute(select(table.c.id, table.c.first, table.c.second)).all() == [(1, "a", "c")]
        with pytest.raises(TypeError, match="second"):
            row(id=1, first="a")
    engine.dispose()


async def test_views_whose_table_has_another_column_are_emptied(history: MemoryLedger, tmp_path: Path) -> None:
    views = open_views(tmp_path)
    assert await Projector(views, history).catch_up() == len(history.stored)
    views.close()
    columns = (Column(column.name, column.type, primary_key=column.primary_key) for column in CASES.table.columns)
    wider = Table("cases", MetaData(), *columns, Column("round", Integer))
    views = Views(f"sqlite:///{tmp_path / 'views.db'}", projections=(replace(CASES, table=wider),), clock=Clock())
    assert views.position() == 0
    views.close()


async def test_projector_resumes_exactly_where_it_was(history: MemoryLedger, tmp_path: Path) -> None:
    whole = open_views(tmp_path, name="whole.db")
    await Projector(whole, history).catch_up()
    for at, stop in enumerate((1, 300, 301, 500, len(history.stored))):
        part = await part_of(history, slice(stop))
        views = open_views(tmp_path, name="parts.db")
        await Projector(views, part, most=50 + at).catch_up()
        assert views.position() == stop
        views.close()
    assert dump(tmp_path / "parts.db") == dump(tmp_path / "whole.db")
    whole.close()


async def test_transaction_that_finds_another_position_changes_nothing(history: MemoryLedger, tmp_path: Path) -> None:
    views = open_views(tmp_path)
    projector = Projector(views, history, most=100)
    batches = history.follow_batches(0, live=False)
    items = await anext(batches)
    await batches.aclose()
    await views.write(lambda connection: connection.execute(update(positions).values(sequence=5)))
    before = dump(tmp_path / "views.db")
    with pytest.raises(Overtaken):
        await projector._write(items, 0)
    assert dump(tmp_path / "views.db") == before
    views.close()


async def test_two_projectors_on_one_database_give_each_row_once(place: District, tmp_path: Path) -> None:
    ledger = MemoryLedger(Aggregates(CASE))
    await play(ledger, place, seed=3, cases=20, steps=200)
    views = open_views(tmp_path)
    other = open_views(tmp_path)
    running = [asyncio.create_task(Projector(v, ledger, most=20).run()) for v in (views, other)]
    assert await views.wait_for(len(ledger.stored), 20)
    assert await other.wait_for(len(ledger.stored), 20)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    both = dump(tmp_path / "views.db")
    views.close()
    other.close()
    alone = open_views(tmp_path, name="alone.db")
    await Projector(alone, ledger).catch_up()
    assert dump(tmp_path / "alone.db") == both
    alone.close()


async def test_commit_out_of_order_is_refused_and_nothing_is_written(history: MemoryLedger, tmp_path: Path) -> None:
    views = open_views(tmp_path)
    holed = await part_of(history, slice(1, None))
    with pytest.raises(LedgerDamaged):
        await Projector(views, holed, most=10_000).catch_up()
    assert views.position() == 0
    assert not dump(tmp_path / "views.db")["timeline"]
    views.close()


async def test_views_of_another_version_are_emptied(history: MemoryLedger, tmp_path: Path) -> None:
    views = open_views(tmp_path)
    await Projector(views, history).catch_up()
    await views.write(lambda connection: connection.execute(update(positions).values(version="0")))
    views.close()
    again = open_views(tmp_path)
    assert again.position() == 0
    await Projector(again, history).catch_up()
    assert again.position() == len(history.stored)
    again.close()


async def test_summary_adds_up_and_agrees_with_the_cases(history: MemoryLedger, tmp_path: Path) -> None:
    views = open_views(tmp_path)
    await Projector(views, history).catch_up()
    folded = list((await fold_all(history)).values())
    found = await views.summary()
    assert found.cases == len(folded) == found.open + found.dead + found.closed + found.void + found.merged
    assert found.stages == {stage.value: Counter(case.stage for case in folded)[stage] for stage in Stage}
    tries = [attempt for case in folded for item in case.assignments for attempt in item.attempts]
    assert found.retries == sum(attempt.number > 1 for attempt in tries) > 0
    assert found.attention == sum(bool(case.attention) and not case.stage.ended for case in folded)
    assert sum(unit.assignments for unit in found.units) == sum(len(case.assignments) for case in folded)
    assert found.latency.p50 is not None
    assert found.latency.p99 is not None
    assert 0 < found.latency.p50 <= found.latency.p99
    views.close()


class Town:
    """A few cases by hand."""

    def __init__(self, folder: Path, place: District) -> None:
        self.place = place
        self.clock = Clock()
        self.ledger = MemoryLedger(Aggregates(CASE))
        self.desk = Desk(CASE, self.ledger, lambda: place.policy.rules, clock=self.clock)
        self.views = open_views(folder, self.clock)
        self._made = 0

    async def report(self, title: str, text: str = "", *, area: str = GRID, **fields: object) -> CaseId:
        self._made += 1
        self.clock.at += timedelta(seconds=1)
        id = new_case_id(area, self._made)
        given: dict[str, object] = {"channel": Channel.RESIDENT, "severity": Severity.ORDINARY} | fields
        await self.desk.execute(
            id,
            c.Report(title=title, text=text or title, area=AreaCode(area), reported_at=self.clock.at, **given),  # type: ignore[arg-type]
            actor=SYSTEM,
        )
        return id

    async def give(self, id: CaseId, command: c.Command, actor: Actor | None = None) -> None:
        await self.desk.execute(id, command, actor=actor or SYSTEM)

    async def found(self, scope: Scope | None = None, **wanted: object) -> list[CaseId]:
        await Projector(self.views, self.ledger).catch_up()
        page = await self.views.list(CaseFilter(sort=Sort.OLDEST, **wanted), scope or Scope())  # type: ignore[arg-type]
        return [seen.case.id for seen in page.items]


@pytest.fixture
def town(tmp_path: Path, place: District) -> Town:
    return Town(tmp_path, place)


async def test_two_character_chinese_words_are_found(town: Town) -> None:
    leak = await town.report("楼道漏水", "三楼水管破裂，渗到二楼")
    lamp = await town.report("路灯不亮", "文苑路B3号灯杆，Lamp-2026-17")
    assert await town.found(q="漏水") == [leak]
    assert await town.found(q="水") == [leak]
    assert await town.found(q="水漏") == []
    assert await town.found(q="二楼 漏水") == [leak]
    assert await town.found(q="灯杆") == [lamp]
    assert await town.found(q="b3") == [lamp]
    assert await town.found(q="ＬＡＭＰ") == [lamp]
    assert await town.found(q="lamp-2026") == [lamp]
    assert await town.found(q='漏水" OR "路') == []
    assert await town.found(q=leak) == [leak]
    town.views.close()


@pytest.mark.parametrize("words", ["", " ", '"', "***", "％_", "—— 。"])
@pytest.mark.parametrize("search", [PhraseSearch(), PlainSearch()])
def test_search_without_a_word_is_refused_instead_of_finding_everything(words: str, search: Search) -> None:
    with pytest.raises(InvalidInput, match="no word") as refused:
        queries.found_by(words, search)
    assert refused.value.subject == "q"


async def test_comments_and_tickets_are_found_too(town: Town) -> None:
    id = await town.report("路灯不亮")
    await town.give(id, c.Comment(text="居民补充：配电箱打火"), person(town.place.code, town.place))
    await town.give(id, c.Dispatch(targets=(c.Target(unit=UnitCode("police")),)), person(town.place.code, town.place))
    await town.give(id, c.StartDelivery(assignment="a1"))
    await town.give(id, c.RecordDelivered(assignment="a1", ticket="JQ20260302-7", attempt=1))
    assert await town.found(q="打火") == [id]
    assert await town.found(q="JQ20260302") == [id]
    assert await town.views.case_of_ticket("police", "JQ20260302-7") == (id, "a1")
    assert await town.views.case_of_ticket("water", "JQ20260302-7") is None
    town.views.close()


async def test_source_is_found_also_when_its_report_was_attached(town: Town) -> None:
    id = await town.report("计划停水", source=Source(adapter="utilities", ref="N-1"))
    later = c.AttachReport(
        channel=Channel.HOTLINE,
        text="没水了",
        area=AreaCode(GRID),
        reported_at=town.clock.at,
        source=Source(adapter="hotline", ref="H-9"),
    )
    await town.give(id, later)
    await Projector(town.views, town.ledger).catch_up()
    assert await town.views.case_of_source("utilities", "N-1") == id
    assert await town.views.case_of_source("hotline", "H-9") == id
    assert await town.views.case_of_source("hotline", "N-1") is None
    town.views.close()


async def test_late_means_a_running_limit_has_passed(town: Town) -> None:
    id = await town.report("路灯不亮")
    centre = person(town.place.code, town.place)
    assert await town.found(late=True) == []
    town.clock.at += timedelta(days=60)
    assert await town.found(late=True) == [id]
    assert (await town.views.summary()).late == 1
    await town.give(id, c.Suspend(reason="等待许可"), centre)
    assert await town.found(late=True) == []
    assert await town.found(late=False) == [id]
    town.views.close()


async def test_scope_of_a_street_and_of_a_department(town: Town) -> None:
    near = await town.report("路灯不亮", area=GRID)
    far = await town.report("路灯不亮", area="320113002001001")
    assert await town.found(Scope(area="320113001")) == [near]
    assert await town.found(area="320113002") == [far]
    before = await town.found(Scope(unit="police"))
    await town.give(far, c.Dispatch(targets=(c.Target(unit=UnitCode("police")),)), person(town.place.code, town.place))
    assert set(await town.found(Scope(unit="police"))) - set(before) == {far}
    assert await town.views.case(near, Scope(unit="police")) is None
    assert (await town.views.summary(Scope(unit="police"))).cases == len(before) + 1
    town.views.close()


async def test_pages_give_every_case_once_in_every_order(town: Town) -> None:
    made = {await town.report(f"路灯不亮{n}") for n in range(23)}
    await Projector(town.views, town.ledger).catch_up()
    for sort in Sort:
        cursor, seen = None, []
        while True:
            page = await town.views.list(CaseFilter(sort=sort, limit=5, cursor=cursor))
            seen += [item.case.id for item in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        assert len(seen) == 23
        assert set(seen) == made
    with pytest.raises(InvalidInput):
        await town.views.list(CaseFilter(cursor="nonsense"))
    assert await town.views.count(CaseFilter(stage=(Stage.HELD, Stage.DISPATCHED))) == 23
    town.views.close()


async def test_dispatch_latency_is_that_from_made_to_delivered(town: Town) -> None:
    centre = person(town.place.code, town.place)
    for wait in (10, 20, 3000):
        id = await town.report("井盖缺失")
        await town.give(id, c.Dispatch(targets=(c.Target(unit=UnitCode("police")),)), centre)
        made = (await town.desk.load(id)).state.assignments[-1].id  # type: ignore[union-attr]
        await town.give(id, c.StartDelivery(assignment=made))
        town.clock.at += timedelta(milliseconds=wait)
        await town.give(id, c.RecordDelivered(assignment=made, ticket=f"t{wait}", attempt=1))
    await Projector(town.views, town.ledger).catch_up()
    police = next(unit for unit in (await town.views.summary()).units if unit.unit == "police")
    assert police.delivered == 3
    assert (police.latency.p50, police.latency.p99) == (20.0, 3000.0)
    town.views.close()


async def test_dead_delivery_shows_its_letter_until_it_is_sent_again(town: Town) -> None:
    centre = person(town.place.code, town.place)
    id = await town.report("井盖缺失")
    await town.give(id, c.Dispatch(targets=(c.Target(unit=UnitCode("police")),)), centre)
    made = (await town.desk.load(id)).state.assignments[-1].id  # type: ignore[union-attr]
    await town.give(id, c.StartDelivery(assignment=made))
    at = town.clock.at
    letter = DeadLetter(
        event_id="e", subject="s", attempts=8, first_at=at, last_at=at, error="unavailable", reason="503",
        adapter_version="1", payload_hash="0",
    )  # fmt: skip
    await town.give(id, c.RecordDead(assignment=made, letter=letter))
    assert await town.found(dead=True) == [id]
    stopped = DeliveryFilter(stopped=True)
    (dead,) = (await town.views.deliveries(stopped)).items
    assert (dead.key, dead.assignment.state, dead.assignment.letter) == (f"{id}.{made}", "dead", letter)
    assert (await town.views.deliveries(stopped, Scope(area="320113002"))).items == ()
    assert (await town.views.deliveries(stopped, Scope(unit="police"))).items == (dead,)
    assert (await town.views.deliveries(stopped, Scope(unit="water"))).items == ()
    assert dead not in (await town.views.deliveries(DeliveryFilter(stopped=False))).items
    assert (await town.views.summary()).dead == 1
    await town.give(id, c.Resend(assignment=made, reason="已恢复"), centre)
    assert await town.found(dead=True) == []
    assert (await town.views.deliveries(stopped)).items == ()
    again = await town.views.delivery(id, made)
    assert again is not None
    assert again.assignment.letter is None
    await town.give(id, c.RecordDead(assignment=made, letter=letter))
    await town.give(id, c.Void(reason="误报"), centre)
    assert (await town.views.deliveries(stopped)).items == (), "nobody waits for it once the case has ended"
    town.views.close()


async def test_wait_for_wakes_when_the_commit_is_in(town: Town) -> None:
    running = asyncio.create_task(Projector(town.views, town.ledger).run())
    await town.report("路灯不亮")
    assert await town.views.wait_for(len(town.ledger.stored), 5)
    assert not await town.views.wait_for(10**9, 0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    town.views.close()
