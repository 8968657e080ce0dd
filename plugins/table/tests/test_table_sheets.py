"""Pure: cells, CSV and XLSX, rows that come back, settings."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hub_table import sheets
from hub_table.cells import is_key, moment_of, position_of, positioned, safe, shown, text_of, ticket_of
from hub_table.returns import Form, Returned, RowError, read_back
from hub_table.settings import CASE_COLUMNS, COLUMNS, STATUSES, TableSettings
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook
from pydantic import ValidationError

from hub import Channel, Feedback, FeedbackKind, IncomingCase, Position, ReportedFile

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEY = "320113001001001-0123456789abcdef.a1"
TEXTS = st.lists(st.text(st.characters(codec="gb18030", exclude_categories=["Cs", "Cc"]), max_size=20), min_size=3, max_size=3)


def cells(rows: list[sheets.Row]) -> list[list[str]]:
    return [[text_of(cell, ZONE) for cell in row.cells] for row in rows]


def csv_of(*rows: str, encoding: str = "utf-8") -> list[sheets.Row]:
    return sheets.read("a.csv", "\r\n".join(rows).encode(encoding), rows_max=100)


def attachment(name: str) -> ReportedFile:
    if name == "没有.jpg":
        raise ValueError("附件不在反馈文件夹中：没有.jpg")
    return ReportedFile(name=name, media_type="image/jpeg", content=b"x")


def back(*rows: str, **changes: Any) -> Returned:
    return read_back(csv_of(*rows), Form(**{**_form(), "new_cases": False, **changes}), attachment, NOW)


# cells


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "  =", "＝", "|", "%", "\n+", "\u3000@"])
def test_cell_that_could_be_a_formula_is_made_text(start: str) -> None:
    assert safe(f"{start}cmd|' /C calc'!A0").startswith("'")
    assert safe("积水 = 20 厘米") == "积水 = 20 厘米"


@given(st.text(max_size=60))
def test_no_text_becomes_a_formula(text: str) -> None:
    assert not safe(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (3.0, "3"),
        (3.5, "3.5"),
        (1e300, "1e+300"),
        (True, "是"),
        (False, "否"),
        (datetime(2026, 11, 23, 14, 30), "2026-11-23 14:30:00"),  # noqa: DTZ001 - as Excel gives it
        (date(2026, 11, 23), "2026-11-23"),
        (time(14, 30), "14:30:00"),
        (" 办结\u3000\ufeff", "办结"),
    ],
)
def test_cell_is_read_as_people_see_it(value: object, text: str) -> None:
    assert text_of(value, ZONE) == text


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23 14:30",
        "2026/11/23 14:30:00",
        "2026年11月23日14时30分",
        "2026年11月23日 14:30",
        "2026.11.23 14：30",
        "2026-11-23T14:30:00.000",
        "2026-11-23 06:30Z",
        "2026-11-23T14:30:00+08:00",
    ],
)
def test_time_is_read_as_people_write_it(text: str) -> None:
    assert moment_of(text, ZONE) == datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["昨天", "2026-13-01", "23.11.2026", "2026-11-23 25:00"])
def test_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        moment_of(text, ZONE)


def test_ticket_is_made_from_the_key() -> None:
    assert ticket_of(KEY) == ticket_of(KEY) != ticket_of(KEY[:-1] + "2")
    assert is_key(KEY)
    assert shown(None, ZONE) == ""
    assert moment_of(shown(NOW, ZONE), ZONE) == NOW


# sheets


@given(
    st.lists(TEXTS, max_size=5),
    st.lists(TEXTS, min_size=1, max_size=5),
    st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]),
)
def test_csv_grows_in_the_encoding_people_gave_it(first: list[list[str]], more: list[list[str]], encoding: str) -> None:
    kept = sheets.new_csv(["列一", "列二", "列三"], first)[3:].decode()
    grown = sheets.longer_csv(kept.encode(encoding), more)
    if encoding != "utf-8":
        assert grown.startswith(kept.encode(encoding)[:2])
    rows = [[text_of(cell, ZONE) for cell in row] for row in [["列一", "列二", "列三"], *first, *more]]
    assert cells(sheets.read("a.csv", grown, rows_max=100)) == [
        row for row, raw in zip(rows, [["x"], *first, *more], strict=True) if any(raw)
    ]


def test_new_csv_opens_in_excel_and_growing_leaves_the_rest_alone() -> None:
    content = sheets.new_csv(["a"], [["1"]])
    assert content == b"\xef\xbb\xbfa\r\n1\r\n"
    assert sheets.longer_csv(b"a;b\n1;2", [["3", "4"]]) == b"a;b\n1;2\r\n3;4\r\n"


def test_xlsx_grows_and_holds_no_formula() -> None:
    content = sheets.longer_xlsx(sheets.new_xlsx(["内容", "编号"], [["=1+1", "007"]]), [["第二行", "008"]])
    assert cells(sheets.read("a.xlsx", content, rows_max=10)) == [["内容", "编号"], ["=1+1", "007"], ["第二行", "008"]]
    sheet = load_workbook(io.BytesIO(content)).worksheets[0]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} == {"s"}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xlsx", b"no zip", "XLSX"),
        ("a.csv", b"\xff\xff\xff\x80\xff", "编码"),
        ("a.csv", b"a\r\n" * 20, "超过10行"),
        ("a.csv", b'a\r\n"' + b"x" * 200_000, "第2行"),
    ],
)
def test_table_that_is_none_says_why(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(sheets.Unreadable, match=reason):
        sheets.read(name, content, rows_max=10)


def _zip(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_zip_that_is_no_workbook_or_a_bomb_is_refused() -> None:
    with pytest.raises(sheets.Unreadable):
        sheets.read("a.xlsx", _zip(x=b"y"), rows_max=10)
    with pytest.raises(sheets.Unreadable):
        sheets.longer_xlsx(_zip(x=b"y"), [])
    with pytest.raises(sheets.Unreadable, match="过大"):
        sheets.read("a.xlsx", _zip(x=b"\0" * (201 * 2**20)), rows_max=10)


def test_workbook_with_entities_is_refused() -> None:
    good = sheets.new_xlsx(["a"], [["b"]])
    evil = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e "eeee">]><workbook>&e;</workbook>'
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as source, zipfile.ZipFile(out, "w") as target:
        for item in source.namelist():
            target.writestr(item, evil if item == "xl/workbook.xml" else source.read(item))
    with pytest.raises(sheets.Unreadable):
        sheets.read("a.xlsx", out.getvalue(), rows_max=10)


def test_workbook_that_is_too_long_is_refused() -> None:
    content = sheets.new_xlsx(["a"], [["b"]] * 20)
    with pytest.raises(sheets.Unreadable, match="超过10行"):
        sheets.read("a.xlsx", content, rows_max=10)


@pytest.mark.parametrize(("megabytes", "grows"), [(17, True), (65, False)])
def test_workbook_that_unpacks_to_too_much_is_refused_before_it_is_opened(megabytes: int, grows: bool) -> None:
    out = io.BytesIO(sheets.new_xlsx(["a"], [["b"]]))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as target:
        target.writestr("xl/sharedStrings2.xml", b"<" * (megabytes * 2**20))
    assert len(out.getvalue()) < 200_000
    take = partial(sheets.longer_xlsx, rows=[["c"]]) if grows else partial(sheets.read, "a.xlsx", rows_max=10)
    with pytest.raises(sheets.Unreadable, match="展开后过大"):
        take(content=out.getvalue())


# rows that come back

HEAD = "派单编号,系统编号,办理状态,办理情况,办理时间,附件"


def test_row_is_a_report_by_key_or_ticket() -> None:
    returned = back(HEAD, f"BG1,{KEY},办结,已清理,2026-11-23 14:30,a.jpg；b.jpg", "BG2,,受理,,,", f"BG3,{KEY},,,,", ",,,,,")
    first, second = returned.items
    assert isinstance(first, Feedback)
    assert isinstance(second, Feedback)
    assert (first.kind, first.key, first.ticket, first.note) == (FeedbackKind.RESOLVED, KEY, None, "已清理")
    assert first.at == datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
    assert [file.name for file in first.files] == ["a.jpg", "b.jpg"]
    assert (second.kind, second.key, second.ticket, second.note) == (FeedbackKind.ACCEPTED, None, "BG2", "受理")
    assert returned.attached == {"a.jpg", "b.jpg"}
    assert returned.errors == ()


def test_same_row_is_one_report_wherever_it_stands() -> None:
    row = f"BG1,{KEY},办结,已清理,,"
    (one,) = back(HEAD, row, row).items
    (again,) = back("办理状态,办理情况,系统编号", f"办结,已清理,{KEY}").items
    (other,) = back(HEAD, f"BG1,{KEY},办结,另,,").items
    assert isinstance(one, Feedback)
    assert isinstance(again, Feedback)
    assert isinstance(other, Feedback)
    assert one.id == again.id != other.id


def test_row_that_cannot_be_read_is_named_and_the_rest_is_taken() -> None:
    returned = back(
        HEAD, "BG1,坏的,办结,,,", ",,办结,没有编号,,", f",{KEY},办结,,昨天,", f",{KEY},办结,,2036-01-01,", f",{KEY},,写了情况,,",
        f",{KEY},退回,不归我们,,没有.jpg",
    )  # fmt: skip
    assert [(error.row, error.column) for error in returned.errors] == [
        (2, "系统编号"),
        (3, "系统编号"),
        (4, "办理时间"),
        (5, "办理时间"),
        (6, "办理状态"),
        (7, "附件"),
    ]
    assert [item.kind for item in returned.items if isinstance(item, Feedback)] == [FeedbackKind.RETURNED]


def test_status_that_is_not_mapped_is_progress_and_told() -> None:
    returned = back(HEAD, f",{KEY},会办中,,,")
    assert [item.kind for item in returned.items if isinstance(item, Feedback)] == [FeedbackKind.PROGRESS]
    assert returned.unmapped == {"会办中": KEY}


def test_too_many_attachments_are_cut_off_and_told() -> None:
    returned = back(HEAD, f",{KEY},办结,,,{';'.join(f'{n}.jpg' for n in range(12))}")
    (report,) = returned.items
    assert isinstance(report, Feedback)
    assert len(report.files) == 10
    assert [error.column for error in returned.errors] == ["附件"]


def test_table_without_the_columns_says_which_are_needed() -> None:
    assert back("甲,乙", "1,2").errors == (RowError(1, "", "第一行应为列名，其中须有“系统编号、派单编号”之一"),)
    assert read_back([], Form(**_form()), attachment, NOW).errors == (RowError(0, "", "表中没有内容"),)


def _form() -> Any:
    return {
        "columns": COLUMNS,
        "case_columns": CASE_COLUMNS,
        "statuses": STATUSES,
        "new_cases": True,
        "channel": Channel.DEPARTMENT,
        "zone": ZONE,
    }


def test_a_new_case_has_the_position_of_its_three_cells() -> None:
    returned = back(
        "来件编号,事项,地点,经度,纬度,坐标系",
        "L1,路灯不亮,尧佳路,118.9175123,32.1009,GCJ-02",
        "L2,路灯不亮,尧佳路,,,",
        "L3,路灯不亮,,118.9,32.1,",
        "L4,路灯不亮,,东,北,WGS-84",
        "L5,路灯不亮,,32.1,118.9,wgs84",
        "L6,路灯不亮,,128000.5,145000.25,nanjing",
        new_cases=True,
    )
    first, second, local = (item for item in returned.items if isinstance(item, IncomingCase))
    assert first.position == Position(longitude=118.9175123, latitude=32.1009, system="gcj02")
    assert second.position is None
    assert local.position == Position(longitude=128000.5, latitude=145000.25, system="nanjing")
    assert [(error.row, error.column) for error in returned.errors] == [(4, "经度"), (5, "经度"), (6, "经度")]


@pytest.mark.parametrize("system", ["wgs84", "cgcs2000", "gcj02", "bd09", "nanjing"])
def test_cells_of_a_position_give_the_same_position(system: str) -> None:
    given = Position(longitude=118.91234567891, latitude=32.1, system=system)
    assert position_of(*positioned(given).values()) == given
    assert position_of(*positioned(None).values()) is None


def test_row_without_a_number_of_ours_is_a_new_case() -> None:
    returned = back(
        "来件编号,事项,内容,区划代码,所属区域,联系人,联系电话,上报时间",
        "L1,路灯不亮,整条路,320113001,,张三,'+8613800000000,2026/11/23 9:00",
        "L2,井盖缺失,,,尧化街道,,,",
        ",无编号,,,,,,",
        "L3,,,,,,,",
        "L4,x,,3.20113E+14,,,,",
        new_cases=True,
    )
    first, second = returned.items
    assert isinstance(first, IncomingCase)
    assert isinstance(second, IncomingCase)
    assert (first.ref, first.area, first.text, first.channel) == ("L1", "320113001", "整条路", Channel.DEPARTMENT)
    assert first.reported_at == datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
    assert first.contact is not None
    assert (first.contact.name, first.contact.phone) == ("张三", "+8613800000000")
    assert (second.place_name, second.contact, second.text, second.reported_at) == ("尧化街道", None, "井盖缺失", NOW)
    assert [(error.row, error.column) for error in returned.errors] == [(4, "来件编号"), (5, "事项"), (6, "区划代码")]


@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.text(max_size=12), st.floats(), st.booleans(), st.datetimes()), max_size=6), max_size=6
    )
)
def test_any_rows_are_taken_or_named(rows: list[list[object]]) -> None:
    table = [sheets.Row(1, tuple(HEAD.split(","))), *(sheets.Row(n, tuple(row)) for n, row in enumerate(rows, 2))]
    read_back(table, Form(**_form()), attachment, NOW)


def test_filled_in_workbook_is_read() -> None:
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.append(HEAD.split(","))
    sheet.append(["BG1", KEY, "办结", "已清理", datetime(2026, 11, 23, 14, 30), None])  # noqa: DTZ001 - as Excel stores it
    out = io.BytesIO()
    book.save(out)
    returned = read_back(sheets.read("a.XLSX", out.getvalue(), rows_max=10), Form(**_form()), attachment, NOW)
    (report,) = returned.items
    assert isinstance(report, Feedback)
    assert report.at == datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


# settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folder": "share"}, "absolute"),
        ({"out": "../x"}, "name of a folder"),
        ({"inbox": ".hidden"}, "name of a folder"),
        ({"categories_file": "../x.csv"}, "name of a table"),
        ({"out": "反馈"}, "three folders"),
        ({"columns": {"title": "事项"}}, "column for key"),
        ({"columns": {"key": "编号", "title": "编号"}}, "different"),
        ({"columns": {"key": "编号", "x": "y"}}, "unknown field x"),
        ({"case_columns": {"ref": "编号"}}, "ref and title"),
        ({"zone": "Mars"}, "time zone"),
    ],
)
def test_settings_that_can_do_harm_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TableSettings.model_validate({"folder": Path("/srv/share"), **changes})
