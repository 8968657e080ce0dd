"""The nightly reconciliation by what lies in the folder, and the department's categories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from hub_table import TableAdapter
from hub_table.cells import ticket_of

from hub import AdapterFault, Poll, Refused, Standing, StandingState
from hub.testing.kit import running_adapter, sample_assignment

HEAD = "派单编号,系统编号,办理状态,办理情况\r\n"


@pytest.fixture
def share(tmp_path: Path) -> Path:
    for name in ("派单", "反馈", "归档"):
        (tmp_path / "share" / name).mkdir(parents=True)
    return tmp_path / "share"


@pytest.fixture
async def adapter(share: Path) -> AsyncIterator[TableAdapter]:
    async with running_adapter(TableAdapter, {"folder": share, "stable_seconds": 0}) as adapter:
        yield cast(TableAdapter, adapter)


async def audited(adapter: TableAdapter) -> dict[str, Standing]:
    found: dict[str, Standing] = {}
    cursor: str | None = None
    while True:
        page = await adapter.audit(cursor)
        found |= {standing.ticket: standing for standing in page.items}
        cursor = page.cursor
        if cursor is None:
            return found


async def test_standings_are_those_of_lists_and_returned_tables(adapter: TableAdapter, share: Path) -> None:
    filed, accepted, resolved, returned, recalled = (sample_assignment() for _ in range(5))
    for assignment in (filed, accepted, resolved, returned, recalled):
        await adapter.deliver(assignment)
    rows = {accepted: "受理", resolved: "办结", returned: "退回", recalled: "受理"}
    lines = [f"{ticket_of(assignment.key)},{assignment.key},{word}," for assignment, word in rows.items()]
    (share / "反馈" / "a.csv").write_text(HEAD + "\r\n".join([*lines, ",坏的,办结,", ",,办结,"]))
    poll = Poll(items=[], cursor=None, more=True)
    while poll.more:
        poll = await adapter.poll(poll.cursor)
    late = (f"{ticket_of(accepted.key)},,会办中,", f"{ticket_of(resolved.key)},,处理中,晚到的进展")
    (share / "反馈" / "b.csv").write_text(HEAD + "\r\n".join(late))
    (share / "反馈" / "c.xlsx").write_bytes(b"rubbish")
    await adapter.recall(recalled, "重复")
    found = await audited(adapter)
    states = {
        assignment: found[ticket_of(assignment.key)].state for assignment in (filed, accepted, resolved, returned, recalled)
    }
    assert list(states.values()) == [
        StandingState.FILED,
        StandingState.ACCEPTED,
        StandingState.RESOLVED,
        StandingState.RETURNED,
        StandingState.RECALLED,
    ]
    assert found[ticket_of(filed.key)].key == filed.key
    assert len(found) == 5


async def test_empty_folder_has_no_standings(adapter: TableAdapter) -> None:
    assert await audited(adapter) == {}


@pytest.mark.parametrize("cursor", ["x", "[1]", '["a","b","c","d"]', "7"])
async def test_cursor_of_another_form_is_a_fault(cursor: str, adapter: TableAdapter) -> None:
    with pytest.raises(AdapterFault):
        await adapter.audit(cursor)


async def test_categories_are_those_of_the_departments_own_table(adapter: TableAdapter, share: Path) -> None:
    assert await adapter.catalogue() == {}
    table = share / "事项分类.csv"
    table.write_text("分类代码,分类名称\r\nHW01,道路保洁\r\nHW02,\r\n,无代码\r\n")
    assert await adapter.catalogue() == {"HW01": "道路保洁", "HW02": "HW02"}
    table.write_bytes(b"\xff\xff\xff\x80\xff")
    with pytest.raises(Refused, match="事项分类"):
        await adapter.catalogue()
    table.unlink()
    table.symlink_to(share / "elsewhere.csv")
    with pytest.raises(Refused, match=r"不是普通文件|无法读取"):
        await adapter.catalogue()
