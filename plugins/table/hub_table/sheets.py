"""Tables as bytes: CSV in UTF-8, UTF-16 or GB18030, and XLSX; read with limits, written row by row. Pure: bytes in, bytes out."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, cast
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from openpyxl import Workbook, load_workbook
from openpyxl.cell.cell import Cell
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException

_UNPACKED_MOST = 64 * 2**20
"""An XLSX is a zip file; one that unpacks to more is a bomb: every megabyte of cells takes the hub about a second."""
_REWRITTEN_MOST = 16 * 2**20
"""Of one that is kept in memory as a whole, some fifty times its size."""
_COLUMNS_MOST = 200
_ENCODINGS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"", "utf-8"),
    (b"", "gb18030"),
)
_RUBBISH = (
    InvalidFileException,
    zipfile.BadZipFile,
    ParseError,
    DefusedXmlException,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    NotImplementedError,
    RecursionError,
)
"""What openpyxl raises on files that are none."""


class Unreadable(Exception):
    """The table can't be read; the message is Chinese, for the department."""


@dataclass(frozen=True)
class Row:
    """A row of a table: its number as the spreadsheet shows it, and its cells."""

    number: int
    cells: tuple[object, ...]


def read(name: str, content: bytes, *, rows_max: int) -> list[Row]:
    """All rows that aren't empty; raises Unreadable."""
    rows = list(_xlsx(content, rows_max) if name.lower().endswith((".xlsx", ".xlsm")) else _csv(content, rows_max))
    return [row for row in rows if any(cell not in (None, "") for cell in row.cells)]


def new_csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """A CSV file as Excel opens it: UTF-8 with byte order mark, CRLF."""
    return b"\xef\xbb\xbf" + _lines([header, *rows]).encode("utf-8", "replace")


def longer_csv(content: bytes, rows: Sequence[Sequence[str]]) -> bytes:
    """The file with more rows at its end, in the encoding and with the separator it has now; the rest stays byte for byte."""
    encoding, mark = _encoding(content)
    text = content[len(mark) :].decode(encoding)
    end = "" if not text or text.endswith("\n") else "\r\n"
    return content + (end + _lines(rows, _separator(text))).encode(encoding, "replace")


def new_xlsx(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """A workbook with one sheet; every cell is text."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "派单"
    for column, name in enumerate(header, 1):
        cell = cast(Cell, sheet.cell(1, column))
        _put(cell, name)
        cell.font = Font(bold=True)
        sheet.column_dimensions[get_column_letter(column)].width = 36 if name in ("内容", "办理情况", "办理要求") else 18
    sheet.freeze_panes = "A2"
    return _with(book, rows, 2)


def longer_xlsx(content: bytes, rows: Sequence[Sequence[str]]) -> bytes:
    """The workbook with more rows at the end of its first sheet; what people did to it stays. Raises Unreadable."""
    _check_size(content, _REWRITTEN_MOST)
    try:
        book = load_workbook(io.BytesIO(content))
        sheet = book.worksheets[0]
    except _RUBBISH as problem:
        raise Unreadable("工作表无法打开") from problem
    return _with(book, rows, sheet.max_row + 1)


def _with(book: Workbook, rows: Sequence[Sequence[str]], start: int) -> bytes:
    sheet = book.worksheets[0]
    for number, row in enumerate(rows, start):
        for column, text in enumerate(row, 1):
            cell = cast(Cell, sheet.cell(number, column))
            _put(cell, text)
            cell.alignment = Alignment(wrap_text=True, vertical="top")
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _put(cell: Cell, text: str) -> None:
    cell.value = text
    cell.data_type = "s"
    cell.number_format = "@"


def _lines(rows: Sequence[Sequence[str]], separator: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def _csv(content: bytes, rows_max: int) -> Iterator[Row]:
    encoding, mark = _encoding(content)
    text = content[len(mark) :].decode(encoding)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text))
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            raise Unreadable(f"第{start}行无法读取：{problem}") from problem
        if start > rows_max + 1:
            raise Unreadable(f"超过{rows_max}行，请分成几个文件")
        yield Row(start, tuple(cells[:_COLUMNS_MOST]))


def _encoding(content: bytes) -> tuple[str, bytes]:
    """Encoding and byte order mark; raises Unreadable. Excel in China writes GB18030, "Unicode text" is UTF-16."""
    for mark, encoding in _ENCODINGS:
        if content.startswith(mark):
            try:
                content[len(mark) :].decode(encoding)
            except UnicodeDecodeError:
                continue
            return encoding, mark
    raise Unreadable("文字编码无法识别，请另存为 UTF-8 的 CSV 或 XLSX")


def _separator(text: str) -> str:
    first = text.partition("\n")[0]
    return max((",", "\t", ";", "，"), key=first.count)


def _xlsx(content: bytes, rows_max: int) -> Iterator[Row]:
    _check_size(content, _UNPACKED_MOST)
    try:
        book = load_workbook(cast(IO[bytes], io.BytesIO(content)), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        for number, cells in enumerate(sheet.iter_rows(values_only=True, max_col=_COLUMNS_MOST), 1):
            if number > rows_max + 1:
                raise Unreadable(f"超过{rows_max}行，请分成几个文件")
            width = max((place for place, cell in enumerate(cells, 1) if cell is not None), default=0)
            yield Row(number, tuple(cells[:width]))
        book.close()
    except _RUBBISH as problem:
        raise Unreadable("不是可读取的 XLSX 文件") from problem


def _check_size(content: bytes, most: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(item.file_size for item in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as problem:
        raise Unreadable("不是可读取的 XLSX 文件") from problem
    if size > most:
        raise Unreadable("XLSX 文件展开后过大")
