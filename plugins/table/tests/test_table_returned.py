"""The adapter on a real folder: tables that people drop."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from hub_table import TableAdapter, sheets
from hub_table.cells import ticket_of
from openpyxl import load_workbook

from hub import (
    AdapterFault,
    Assignment,
    Crosswalk,
    Feedback,
    FeedbackKind,
    IncomingCase,
    Poll,
)
from hub.contract import Context, WordTable
from hub.platform.adapters.outbound import departmental_client
from hub.testing.kit import MemoryStore, running_adapter, sample_assignment

HEAD = "派单编号,系统编号,办理状态,办理情况,附件\r\n"


@pytest.fixture
def share(tmp_path: Path) -> Path:
    for name in ("派单", "反馈", "归档"):
        (tmp_path / "share" / name).mkdir(parents=True)
    return tmp_path / "share"


@pytest.fixture
def opened(share: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def opened(store: MemoryStore | None = None, **changes: Any) -> AsyncIterator[TableAdapter]:
        settings = {"folder": share, "stable_seconds": 0, **changes}
        async with running_adapter(TableAdapter, settings, store=store) as adapter:
            yield cast(TableAdapter, adapter)

    return opened


def lists(share: Path) -> list[Path]:
    return sorted(path for path in (share / "派单").iterdir() if not path.name.startswith("."))


def listed(path: Path) -> list[dict[str, str]]:
    header, *rows = sheets.read(path.name, path.read_bytes(), rows_max=1000)
    return [dict(zip(map(str, header.cells), (str(cell or "") for cell in row.cells), strict=False)) for row in rows]


def drop(share: Path, name: str, *rows: str) -> Path:
    path = share / "反馈" / name
    path.write_text(HEAD + "\r\n".join(rows))
    return path


async def taken(adapter: TableAdapter) -> list[Feedback | IncomingCase]:
    items: list[Feedback | IncomingCase] = []
    poll = Poll(items=[], cursor=None, more=True)
    while poll.more:
        poll = await adapter.poll(poll.cursor)
        items += poll.items
    return items


def numbers(assignment: Assignment) -> str:
    return f"{ticket_of(assignment.key)},{assignment.key}"


# what comes back


async def test_table_is_archived_only_after_its_rows_were_committed(opened: Callable[..., Any], share: Path) -> None:
    assignment = sample_assignment()
    path = drop(share, "周报.csv", f"{numbers(assignment)},办结,已清理,a.jpg")
    (share / "反馈" / "a.jpg").write_bytes(b"photo")
    async with opened() as adapter:
        first = await adapter.poll(None)
        again = await adapter.poll(None)
        assert first == again
        assert path.exists()
        (report,) = first.items
        assert isinstance(report, Feedback)
        assert (report.kind, report.key, report.files[0].content) == (FeedbackKind.RESOLVED, assignment.key, b"photo")
        after = await adapter.poll(first.cursor)
        assert (after.items, after.more) == ([], False)
    assert list((share / "反馈").iterdir()) == []
    assert sorted(path.name.split("-", 2)[2] for path in (share / "归档").iterdir()) == ["a.jpg", "周报.csv"]


async def test_long_table_comes_in_pages_and_each_row_once(opened: Callable[..., Any], share: Path) -> None:
    wanted = [sample_assignment() for _ in range(7)]
    drop(share, "a.csv", *(f"{numbers(assignment)},受理,," for assignment in wanted))
    async with opened(rows_per_poll=3) as adapter:
        first = await adapter.poll(None)
        second = await adapter.poll(first.cursor)
        assert (len(first.items), len(second.items), await adapter.poll(first.cursor)) == (3, 3, second)
        items = await taken(adapter)
    assert [item.key for item in items if isinstance(item, Feedback)] == [assignment.key for assignment in wanted]


async def test_table_that_was_changed_meanwhile_is_read_again(opened: Callable[..., Any], share: Path) -> None:
    first, second = sample_assignment(), sample_assignment()
    path = drop(share, "a.csv", f"{numbers(first)},受理,,")
    async with opened() as adapter:
        poll = await adapter.poll(None)
        drop(share, "a.csv", f"{numbers(first)},受理,,", f"{numbers(second)},受理,,")
        after = await adapter.poll(poll.cursor)
        assert len(after.items) == 2
        assert after.items[0].id == poll.items[0].id  # type: ignore[union-attr]
        assert path.exists()


async def test_errors_stand_beside_the_table_and_go_when_it_is_right(opened: Callable[..., Any], share: Path) -> None:
    assignment = sample_assignment()
    drop(share, "a.csv", "BG1,坏的,办结,,", f"{numbers(assignment)},办结,,")
    (share / "反馈" / "b.xlsx").write_bytes(b"rubbish")
    (share / "反馈" / "c.csv").write_bytes(b"x" * 3000)
    async with opened(file_max_bytes=2000) as adapter:
        items = await taken(adapter)
        assert [item.key for item in items if isinstance(item, Feedback)] == [assignment.key]
        beside = {path.name: path.read_text("utf-8-sig") for path in (share / "反馈").iterdir()}
        assert beside.keys() == {"a.csv.错误.csv", "b.xlsx.错误.csv", "c.csv.错误.csv"}
        assert beside["a.csv.错误.csv"].splitlines() == ["行号,列名,原因", "2,系统编号,系统编号不完整或被改动"]
        assert beside["b.xlsx.错误.csv"].splitlines()[1] == "整个文件,,不是可读取的 XLSX 文件"
        assert "文件超过" in beside["c.csv.错误.csv"]
        drop(share, "a.csv", f"{numbers(assignment)},办结,,")
        await taken(adapter)
    assert not (share / "反馈" / "a.csv.错误.csv").exists()


async def test_table_that_still_grows_is_not_read(opened: Callable[..., Any], share: Path) -> None:
    assignment = sample_assignment()
    async with opened(stable_seconds=0.2) as adapter:
        for name in ("~$a.xlsx", ".a.csv", "a.csv.part", "a.txt", "a.csv.crdownload"):
            (share / "反馈" / name).write_bytes(b"x")
        path = drop(share, "a.csv", f"{numbers(assignment)},受理,,")
        assert (await adapter.poll(None)).items == []
        with path.open("a") as file:
            file.write(f"\r\n{numbers(assignment)},办结,,")
        assert (await adapter.poll(None)).items == []
        give_up = time.monotonic() + 10
        while not (items := (await adapter.poll(None)).items) and time.monotonic() < give_up:
            await asyncio.sleep(0.05)
        assert len(items) == 2


async def test_table_with_a_marker_is_read_when_the_marker_is_there(opened: Callable[..., Any], share: Path) -> None:
    assignment = sample_assignment()
    drop(share, "a.csv", f"{numbers(assignment)},受理,,")
    async with opened(ready="marker") as adapter:
        assert await taken(adapter) == []
        (share / "反馈" / "a.csv.done").touch()
        assert len(await taken(adapter)) == 1
    assert list((share / "反馈").iterdir()) == []


async def test_filled_in_work_list_is_a_table_of_reports(opened: Callable[..., Any], share: Path) -> None:
    done, open_one = sample_assignment(), sample_assignment()
    async with opened(format="xlsx") as adapter:
        await adapter.deliver(done)
        await adapter.deliver(open_one)
        await adapter.urge(done, "请尽快")
        book = load_workbook(io.BytesIO(lists(share)[0].read_bytes()))
        sheet = book.worksheets[0]
        column = [cell.value for cell in sheet[1]].index("办理状态") + 1
        sheet.cell(2, column).value = "办结"
        sheet.cell(2, column + 2).value = datetime(2026, 11, 23, 14, 30)  # noqa: DTZ001 - as Excel stores it
        book.save(share / "反馈" / "填好.xlsx")
        (report,) = await taken(adapter)
    assert isinstance(report, Feedback)
    assert (report.kind, report.key) == (FeedbackKind.RESOLVED, done.key)
    assert report.at == datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


async def test_new_cases_come_by_rows_without_a_number(opened: Callable[..., Any], share: Path) -> None:
    (share / "反馈" / "来件.csv").write_text("来件编号,事项,所属区域\r\nL1,路灯不亮,尧化街道\r\n")
    async with opened(new_cases=True) as adapter:
        (case,) = await taken(adapter)
    assert isinstance(case, IncomingCase)
    assert (case.ref, case.place_name) == ("L1", "尧化街道")


async def test_word_in_no_table_is_told_to_the_hub_once(share: Path) -> None:
    told: list[tuple[str, str, str | None]] = []
    assignment = sample_assignment()
    words = WordTable(Crosswalk(statuses={"搞定": FeedbackKind.RESOLVED}), lambda *said: told.append(said))
    async with departmental_client("table", timeout=1) as http:
        log = structlog.get_logger()
        context = Context(instance="t", http=http, store=MemoryStore(), log=log, callback_url="http://x", words=words)
        adapter = TableAdapter(TableAdapter.Settings.model_validate({"folder": share, "stable_seconds": 0}), context)
        await adapter.start()
        try:
            drop(
                share,
                "a.csv",
                f"{numbers(assignment)},会办中,,",
                f"{numbers(assignment)},会办中,又,",
                f"{numbers(assignment)},搞定,,",
            )
            items = await taken(adapter)
        finally:
            await adapter.stop()
    assert [item.kind for item in items if isinstance(item, Feedback)] == [FeedbackKind.PROGRESS] * 2 + [FeedbackKind.RESOLVED]
    assert told == [("statuses", "会办中", assignment.key)]


@pytest.mark.parametrize("cursor", ["", "x", "[]", '["a", 1, 2]', '["a", "b", "c"]', "7"])
async def test_cursor_of_another_form_is_a_fault(cursor: str, opened: Callable[..., Any]) -> None:
    async with opened() as adapter:
        with pytest.raises(AdapterFault):
            await adapter.poll(cursor)
