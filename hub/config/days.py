"""policy/days.yaml: the days off and working weekends that a district enters itself, by year, with the announcement's number.

Owns the file's form, and how a year is written into one. Refuses a day of another year and a day that is both off and worked; what is only
odd (`AnnouncedYear.oddities`) stops nothing. The file may be missing: then the calendar is the package's. Called by `hub.config.policy`,
and by the command that reads announcements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from textwrap import indent
from typing import Annotated

import msgspec
import yaml
from pydantic import Field

from hub.config.documents import Document, Form
from hub.config.fields import Several, Text, parsed
from hub.errors import ConfigError
from hub.model.limits.calendar import AnnouncedYear, Calendar, DaysOff, WorkedDay

DAYS = "policy/days.yaml"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEAR = re.compile(r"20\d{2}")


class _Span(msgspec.Struct, frozen=True, gc=False):
    first: date
    last: date

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


def _year(text: str) -> int:
    if not _YEAR.fullmatch(text):
        raise ValueError(f"{text!r} is not a year (such as 2026)")
    return int(text)


def _day(text: str) -> date:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a day (such as 2026-01-01)") from None


def _span(text: str) -> _Span:
    first, to, last = text.partition(" to ")
    span = _Span(_day(first.strip()), _day((last if to else first).strip()))
    if span.last < span.first:
        raise ValueError(f"{span} ends before it begins")
    return span


class _Year(Form):
    announcement: Text
    days_off: Annotated[
        dict[Text, Annotated[Several[Annotated[_Span, parsed(_span)]], Field(min_length=1)]], Field(min_length=1)
    ]
    working_days: Several[Annotated[date, parsed(_day)]] = ()


class _Days(Form):
    years: dict[Annotated[int, parsed(_year)], _Year] = Field(default_factory=dict)


def read_days(document: Document) -> Calendar:
    """The calendar of the file's years; the package's alone when there is no file or it does not fit its form (then all is noted)."""
    form = document.form(_Days)
    if form is None:
        return Calendar()
    years = [
        AnnouncedYear(
            year=year,
            announcement=one.announcement,
            off=tuple(
                DaysOff(
                    name=name, first=span.first, last=span.last, line=document.line("years", str(year), "days_off", name, index)
                )
                for name, spans in one.days_off.items()
                for index, span in enumerate(spans)
            ),
            work=tuple(
                WorkedDay(day=day, line=document.line("years", str(year), "working_days", index))
                for index, day in enumerate(one.working_days)
            ),
            line=document.line("years", str(year)),
        )
        for year, one in form.years.items()
    ]
    off = {day: taken.line for one in years for taken in one.off for day in taken.days()}
    for one in years:
        place = ("years", str(one.year))
        for taken in one.off:
            if outside := [day for day in (taken.first, taken.last) if not one.holds(day)]:
                document.complain((*place, "days_off", taken.name), _outside(outside[0], one.year))
        for index, worked in enumerate(one.work):
            if not one.holds(worked.day):
                document.complain((*place, "working_days", index), _outside(worked.day, one.year))
            if worked.day in off:
                both = f"{worked.day} is given as a working day here and as a day off on line {off[worked.day]}"
                document.complain((*place, "working_days", index), both)
    return Calendar(years)


def _outside(day: date, year: int) -> str:
    return f"{day} lies outside {year} (and the December before it)"


def year_text(announced: AnnouncedYear) -> str:
    """A year as the text of a days.yaml."""
    return f"years:\n{indent(_block(announced), '  ')}"


def _block(announced: AnnouncedYear) -> str:
    off: dict[str, object] = {}
    for name in dict.fromkeys(taken.name for taken in announced.off):
        spans = [_Span(taken.first, taken.last) for taken in announced.off if taken.name == name]
        written = [span.first if span.first == span.last else str(span) for span in spans]
        off[name] = written[0] if len(written) == 1 else written
    year = {"announcement": announced.announcement, "days_off": off, "working_days": [worked.day for worked in announced.work]}
    return str(yaml.safe_dump({announced.year: year}, allow_unicode=True, sort_keys=False, width=200))


def with_year(text: str | None, announced: AnnouncedYear) -> str:
    """A days.yaml (None: there is none yet) with one more year, everything in it left as it is written, comments too.

    The same text when the year stands there with the same days and number. Raises ConfigError when it stands there otherwise, when the
    file has mistakes, and when the year contradicts another.
    """
    text = text or ""
    written = any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())
    before = _read(text) if written else Calendar()
    present = before.years.get(announced.year)
    if present is not None:
        if _block(present) == _block(announced):
            return text
        message = f"{announced.year} stands there already and says something else; take it out first"
        raise ConfigError(message, file=DAYS, line=present.line, key=f"years.{announced.year}")
    after = "\n".join(_inserted(text, announced)) + "\n"
    found = _read(after).years
    if [_block(found[year]) for year in found if year in before.years] != [_block(one) for one in before.years.values()]:
        raise ConfigError("the year can't be added to a file written so; add it by hand", file=DAYS)
    return after


def _read(text: str) -> Calendar:
    problems: list[ConfigError] = []
    calendar = read_days(Document(text, DAYS, problems))
    if problems:
        raise problems[0]
    return calendar


def _inserted(text: str, announced: AnnouncedYear) -> Iterator[str]:
    """The lines of a file without mistakes, with the year's behind those of the years before it."""
    lines = text.splitlines()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    top = root.value if isinstance(root, yaml.MappingNode) else []
    entry = next(((key, value) for key, value in top if key.value == "years"), None)
    if entry is None:
        yield from [*lines, *year_text(announced).splitlines()]
        return
    key, value = entry
    after, margin = key.start_mark.line + 1, "  "
    if isinstance(value, yaml.MappingNode):
        if value.flow_style:
            raise ConfigError("the years stand in braces; write each on lines of its own first", file=DAYS, line=after)
        margin = " " * value.value[0][0].start_mark.column
        earlier = [inner for year, inner in value.value if int(year.value) < announced.year]
        after = _last_line(earlier[-1]) + 1 if earlier else after
    yield from [*lines[:after], *indent(_block(announced), margin).splitlines(), *lines[after:]]


def _last_line(node: yaml.Node) -> int:
    """The line, from 0, on which a node's text ends: a block's own end lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line)
