"""The adapter on a real folder: lists, what people do to them, what must not be touched."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from hub_table import TableAdapter, hub_adapters, sheets
from hub_table.cells import ticket_of
from hub_table.folder import Folder, _errors
from msgspec.structs import replace

from hub import (
    AdapterFault,
    Assignment,
    CredentialsRejected,
    Feedback,
    IncomingCase,
    OutcomeUnknown,
    Poll,
    Unavailable,
)
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


# lists


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
async def test_assignments_of_a_day_stand_in_one_list(kind: str, opened: Callable[..., Any], share: Path) -> None:
    first, second = sample_assignment(title="=HYPERLINK(1)"), sample_assignment()
    async with opened(format=kind, unit_names={"dept.sample": "环卫所"}) as adapter:
        await adapter.deliver(first)
        await adapter.deliver(second)
        await adapter.urge(second, "请尽快")
        await adapter.recall(second, "重复")
    (path,) = lists(share)
    rows = listed(path)
    assert [row["类型"] for row in rows] == ["派单", "派单", "催办", "撤回"]
    assert (rows[0]["事项"], rows[0]["承办单位"], rows[0]["系统编号"]) == ("'=HYPERLINK(1)", "环卫所", first.key)
    assert [row["说明"] for row in rows] == ["", "", "请尽快", "重复"]
    assert not list((share / "派单").glob(".*"))


async def test_what_comes_together_goes_into_one_batch(opened: Callable[..., Any], share: Path) -> None:
    async with opened(lists="batch", batch_seconds=0.05) as adapter:
        await asyncio.gather(*(adapter.deliver(sample_assignment()) for _ in range(5)))
        before = lists(share)[0].read_bytes()
        await adapter.deliver(sample_assignment())
        await adapter.poll(None)
    first, second = lists(share)
    assert (len(listed(first)), len(listed(second))) == (5, 1)
    assert first.read_bytes() == before


async def test_list_that_people_edited_keeps_what_they_wrote(opened: Callable[..., Any], share: Path) -> None:
    async with opened() as adapter:
        await adapter.deliver(sample_assignment())
        (path,) = lists(share)
        edited = path.read_text("utf-8-sig").replace("小区门口下水道堵塞", "小区门口下水道堵塞（已看）").encode("gb18030")
        path.write_bytes(edited)
        await adapter.deliver(sample_assignment())
    assert path.read_bytes().startswith(edited)
    assert [row["事项"] for row in listed(path)] == ["小区门口下水道堵塞（已看）", "小区门口下水道堵塞"]


async def test_row_pushed_out_by_a_saved_copy_is_put_back(opened: Callable[..., Any], share: Path) -> None:
    first, second, third = sample_assignment(), sample_assignment(), sample_assignment()
    async with opened() as adapter:
        await adapter.deliver(first)
        (path,) = lists(share)
        copy = path.read_bytes()
        await adapter.deliver(second)
        await adapter.deliver(third)
        await adapter.recall(third, "重复")
        path.write_bytes(copy)
        with structlog.testing.capture_logs() as logs:
            await adapter.poll(None)
            await adapter.poll(None)
        assert [row["系统编号"] for row in listed(path)] == [first.key, second.key]
        assert [entry["event"] for entry in logs] == ["table_rows_put_back"]
        path.write_bytes(path.read_bytes() + b"\r\n")
        await adapter.poll(None)
        path.unlink()
        await adapter.poll(None)
        assert lists(share) == []


async def test_list_that_was_damaged_is_not_added_to(opened: Callable[..., Any], share: Path) -> None:
    assignment = sample_assignment()
    async with opened(format="xlsx") as adapter:
        await adapter.deliver(sample_assignment())
        (path,) = lists(share)
        path.write_bytes(b"no workbook")
        with pytest.raises(Unavailable, match="damaged"):
            await adapter.deliver(assignment)
        assert await adapter.lookup(assignment) is None
        path.unlink()
        await adapter.deliver(assignment)
    assert [row["系统编号"] for row in listed(lists(share)[0])] == [assignment.key]


async def test_assignment_the_journal_forgot_is_found_in_the_lists(opened: Callable[..., Any]) -> None:
    assignment = sample_assignment()
    async with opened() as adapter:
        receipt = await adapter.deliver(assignment)
    async with opened(MemoryStore()) as adapter:
        assert await adapter.lookup(assignment) == receipt
        assert await adapter.deliver(assignment) == receipt
        await adapter.recall(assignment, "重复")


async def test_key_of_another_form_is_a_fault(opened: Callable[..., Any]) -> None:
    async with opened() as adapter:
        with pytest.raises(AdapterFault):
            await adapter.deliver(replace(sample_assignment(), key="=1"))


async def test_damaged_journal_is_a_fault(opened: Callable[..., Any]) -> None:
    store, assignment = MemoryStore(), sample_assignment()
    await store.put(f"row.{assignment.key}", b"{}")
    async with opened(store) as adapter:
        with pytest.raises(AdapterFault, match="damaged"):
            await adapter.deliver(assignment)
        await adapter.deliver(sample_assignment())
        name = next(key for key in store.values if key.startswith("list."))
        await store.put(name, b"{}")
        with pytest.raises(AdapterFault, match="damaged"):
            await adapter.deliver(sample_assignment())


async def test_list_that_is_open_in_excel_is_tried_again(
    opened: Callable[..., Any], share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assignment = sample_assignment()

    def locked(source: object, target: object) -> None:
        raise PermissionError(13, "sharing violation")

    async with opened() as adapter:
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", locked)
            with pytest.raises(Unavailable, match="sharing violation"):
                await adapter.deliver(assignment)
        assert list((share / "派单").iterdir()) == []
        assert await adapter.lookup(assignment) is None
        await adapter.deliver(assignment)


async def test_disk_that_is_full_leaves_nothing_behind(
    opened: Callable[..., Any], share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    async with opened() as adapter:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(Unavailable, match="No space"):
                await adapter.deliver(sample_assignment())
    assert list((share / "派单").iterdir()) == []


async def test_rename_that_may_not_last_is_unknown_and_settled(
    opened: Callable[..., Any], share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assignment, asked = sample_assignment(), os.fsync
    calls: list[int] = []

    def failing(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        asked(handle)

    async with opened() as adapter:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", failing)
            with pytest.raises(OutcomeUnknown):
                await adapter.deliver(assignment)
        receipt = await adapter.lookup(assignment)
        assert receipt is not None
        assert await adapter.deliver(assignment) == receipt
    assert len(listed(lists(share)[0])) == 1


async def test_cancelled_delivery_leaves_the_others_alone(opened: Callable[..., Any], share: Path) -> None:
    async with opened(lists="batch", batch_seconds=0.2) as adapter:
        given_up = asyncio.create_task(adapter.deliver(sample_assignment()))
        kept = asyncio.create_task(adapter.deliver(sample_assignment()))
        while len(adapter._lists._wishes) < 2:
            await asyncio.sleep(0)
        given_up.cancel()
        receipt = await kept
    (row,) = listed(lists(share)[0])
    assert row["派单编号"] == receipt.ticket
    assert given_up.cancelled()


async def test_share_that_hangs_holds_nobody_up_for_long(
    opened: Callable[..., Any], share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    assignment, really = sample_assignment(), os.replace

    def hanging(source: Any, target: Any) -> None:
        let_go.wait(10)
        really(source, target)

    async with opened(timeout=0.3) as adapter:
        monkeypatch.setattr(os, "replace", hanging)
        with pytest.raises(OutcomeUnknown, match="in time"):
            await adapter.deliver(assignment)
        with pytest.raises(Unavailable):
            await adapter.lookup(assignment)
        let_go.set()
        assert await adapter.lookup(assignment) is not None
        assert (await adapter.diagnostics())["down"] is False
    assert len(listed(lists(share)[0])) == 1


# what must not be touched


async def test_links_out_of_the_folder_are_not_followed(opened: Callable[..., Any], share: Path, tmp_path: Path) -> None:
    assignment = sample_assignment()
    outside = tmp_path / "outside.csv"
    outside.write_text(HEAD + f"{numbers(assignment)},办结,,")
    (share / "反馈" / "link.csv").symlink_to(outside)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (share / "反馈" / "photo.jpg").symlink_to(tmp_path / "secret.jpg")
    os.mkfifo(share / "反馈" / "pipe.jpg")
    names = "photo.jpg;../../secret.jpg;..;.hidden;pipe.jpg;gone.jpg"
    drop(share, "a.csv", f"{numbers(assignment)},办结,,{names}")
    async with opened() as adapter:
        (report,) = await taken(adapter)
    assert isinstance(report, Feedback)
    assert report.files == ()
    told = (share / "反馈" / "a.csv.错误.csv").read_text("utf-8-sig")
    assert told.count("不是普通文件") == 2
    assert told.count("文件名不能带路径") == 3
    assert told.count("附件不在反馈文件夹中") == 1
    assert outside.exists()
    assert (tmp_path / "secret.jpg").exists()


async def test_folder_that_is_a_link_is_refused(opened: Callable[..., Any], share: Path, tmp_path: Path) -> None:
    (share / "反馈").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (share / "反馈").symlink_to(tmp_path / "elsewhere")
    async with opened() as adapter:
        with pytest.raises(Unavailable):
            await adapter.health()
        with pytest.raises(Unavailable):
            await adapter.poll(None)


async def test_cursor_cannot_move_files_from_elsewhere(opened: Callable[..., Any], share: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a")
    async with opened() as adapter:
        await adapter.poll(json.dumps(["../../x.csv", "0", -1]))
    assert (tmp_path / "x.csv").exists()


async def test_share_that_is_not_mounted_is_unavailable_and_said_once(opened: Callable[..., Any], share: Path) -> None:
    (share / "派单").rename(share / "away")
    with structlog.testing.capture_logs() as logs:
        async with opened() as adapter:
            for _ in range(3):
                with pytest.raises(Unavailable, match="mounted"):
                    await adapter.deliver(sample_assignment())
            (share / "away").rename(share / "派单")
            assert (await adapter.health()).ok
    assert [entry["event"] for entry in logs] == ["table_folder_down", "table_folder_back"]


def test_folder_that_may_not_be_used_is_a_matter_of_credentials(share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(share, out="派单", inbox="反馈", archive="归档")
    folder.check()
    monkeypatch.setattr(os, "access", lambda *given: False)
    with pytest.raises(CredentialsRejected):
        folder.check()
    with pytest.raises(Unavailable, match="Stale"), _errors("x"):
        raise OSError(116, "Stale file handle")


def test_list_prepared_long_ago_is_swept_away(share: Path) -> None:
    folder = Folder(share, out="派单", inbox="反馈", archive="归档")
    old, new = folder.prepare(b"old"), folder.prepare(b"new")
    os.utime(share / "派单" / old, (1, 1))
    folder.sweep()
    assert not folder.is_prepared(old)
    assert folder.is_prepared(new)


def test_names_in_the_archive_are_never_taken_twice(share: Path) -> None:
    folder = Folder(share, out="派单", inbox="反馈", archive="归档")
    for _ in range(2):
        drop(share, "a.csv")
        folder.store_away(["a.csv", "gone.csv"], "20261123-143000")
    assert len(list((share / "归档").iterdir())) == 2


async def test_killed_before_the_rename_it_is_not_listed_and_nothing_stays_behind(
    opened: Callable[..., Any], share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Folder, temporary: str, name: str) -> None:
        raise OutcomeUnknown("killed here")

    store, assignment = MemoryStore(), sample_assignment()
    async with opened(store) as adapter:
        with monkeypatch.context() as patched:
            patched.setattr(Folder, "publish", killed)
            with pytest.raises(OutcomeUnknown):
                await adapter.deliver(assignment)
    assert len(list((share / "派单").iterdir())) == 1
    async with opened(store) as another:
        assert await another.lookup(assignment) is None
        assert list((share / "派单").iterdir()) == []
        await another.deliver(assignment)
    assert len(listed(lists(share)[0])) == 1


def test_hub_finds_the_plugin() -> None:
    assert list(hub_adapters()) == [TableAdapter]
