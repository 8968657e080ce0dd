"""How rows and words look on the terminal: Chinese headings and words, times in the district's zone."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, tzinfo
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from hub.model.district.areas import Level
from hub.model.words import ANSWERS, ASSIGNMENTS, CHANNELS, CLOSINGS, GRIDS, LEVELS, LIMITS, ROLES, SEVERITIES, STAGES, UNITS

Row = Mapping[str, Any]
Column = tuple[str, str | Callable[[Row], object]]
"""A heading and where the value comes from: a key, or a function of the row."""

WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "stage": STAGES,
    "severity": SEVERITIES,
    "channel": CHANNELS,
    "role": ROLES,
    "state": ASSIGNMENTS,
    "kind": {**UNITS, **GRIDS, **LIMITS},
    "level": LEVELS,
    "closing": CLOSINGS,
    **ANSWERS,
}
"""By the name a value has in the interface."""
_ALARMING: Final = frozenset({"dead", "uncertain", "refused", "urgent", "void"})


def word(kind: str, value: object) -> str:
    """The Chinese word for a stored one. Levels may be numbers. An unknown word stays as it is."""
    if value is None:
        return ""
    if kind == "level" and isinstance(value, int) and value in Level.__members__.values():
        value = Level(value).word
    return WORDS.get(kind, {}).get(str(value), str(value))


def worded(kind: str, key: str | None = None) -> Callable[[Row], Text]:
    """A column's value as the Chinese word, what alarms in red."""
    name = key or kind

    def value(row: Row) -> Text:
        found = row.get(name)
        return Text(word(kind, found), style="red" if str(found) in _ALARMING else "")

    return value


def when(key: str, zone: tzinfo) -> Callable[[Row], str]:
    """A column's value as a time of the district, to the second."""
    return lambda row: clock(row.get(key), zone)


def clock(value: object, zone: tzinfo) -> str:
    """`2026-03-02 23:40:00` in `zone` from ISO text; other text stays as it is."""
    if value in (None, ""):
        return ""
    try:
        return f"{datetime.fromisoformat(str(value)).astimezone(zone):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return str(value)


def plain(text: str) -> str:
    """Text without a terminal's control characters. Anybody can report a matter, and a title must not move the cursor."""
    return "".join(
        letter if letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs") else "�" for letter in text
    )


def table(rows: Iterable[Row], columns: Iterable[Column], *, title: str | None = None) -> Table:
    """A table of rows."""
    chosen = list(columns)
    drawn = Table(title=title, title_justify="left", header_style="bold", show_edge=False, pad_edge=False)
    for heading, _ in chosen:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(_value(row, source)) for _, source in chosen))
    if not drawn.row_count:
        drawn.caption, drawn.caption_justify = "没有 (nothing)", "left"
    return drawn


def facts(row: Row, columns: Iterable[Column], *, title: str | None = None) -> Table:
    """One thing, a line for each fact that is there."""
    drawn = Table(title=title, title_justify="left", show_header=False, show_edge=False, pad_edge=False, box=None)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for heading, source in columns:
        cell = _cell(_value(row, source))
        if cell.plain:
            drawn.add_row(heading, cell)
    return drawn


def _value(row: Row, source: str | Callable[[Row], object]) -> object:
    return row.get(source) if isinstance(source, str) else source(row)


def _cell(value: object) -> Text:
    match value:
        case Text():
            return value if value.style else Text(plain(value.plain))
        case None:
            return Text()
        case bool():
            return Text("是" if value else "否")
        case list() | tuple():
            return Text(plain("、".join(map(str, value))))
        case _:
            return Text(plain(str(value)))
