"""What stands in the fields of configuration files: texts, durations, levels, and codes that have to exist.

Owns the notation of single values. What exists is told by `Known`, which every form is read with. Called by the forms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StringConstraints, ValidationInfo

from hub.config.documents import MISSING, refuse
from hub.model.district.areas import AreaCode, Level, UnitCode
from hub.model.limits.durations import Span, parse_span

T = TypeVar("T")
UTC = ZoneInfo("UTC")


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a file may name: the codes and names that the other files give, and what comes from outside all files."""

    areas: Container[str] = ()
    units: Container[str] = ()
    categories: Collection[str] = ()
    adapters: Container[str] = ()
    zone: ZoneInfo = UTC
    environ: Mapping[str, str] = field(default_factory=dict)


def parsed(parse: Callable[[str], object]) -> PlainValidator:
    """A value that `parse` makes of the text; its ValueError is the mistake's text."""

    def read(value: object) -> object:
        if not isinstance(value, str) or not value.strip():
            raise ValueError("a text is expected here")
        return parse(value.strip())

    return PlainValidator(read)


def one_of(meanings: Mapping[str, object]) -> PlainValidator:
    """One of a few words, each with what it means."""

    def meant(word: str) -> object:
        if word not in meanings:
            raise ValueError(f"{' or '.join(meanings)} is expected here")
        return meanings[word]

    return parsed(meant)


def matching(pattern: str, what: str) -> AfterValidator:
    """A text of a certain make-up; `what` says which."""
    wanted = re.compile(pattern)

    def check(text: str) -> str:
        if not wanted.fullmatch(text):
            raise ValueError(f"{text!r} is not {what}")
        return text

    return AfterValidator(check)


def known(there: Callable[[Known, str], bool], words: str) -> AfterValidator:
    """A text that names something; `words` go before it when there is no such thing."""

    def check(text: str, info: ValidationInfo[Known]) -> str:
        if not there(info.context, text):
            raise ValueError(words.format(text))
        return text

    return AfterValidator(check)


def every(*names: str) -> BeforeValidator:
    """A mapping with an entry for each of `names`."""
    gaps = dict.fromkeys(names, MISSING)
    return BeforeValidator(lambda value: {**gaps, **value} if isinstance(value, dict) else value)


def clock_span(text: str) -> timedelta:
    """A duration around the clock; raises ValueError for working time and for what is none."""
    span = parse_span(text)
    if span.working:
        raise ValueError("working time can't be used here; write 30s, 5m, 2h or 7d")
    return span.amount


def _limit(text: str) -> Span:
    span = parse_span(text)
    if not (span.amount or span.days):
        raise ValueError("a limit must be longer than zero")
    return span


def _alone(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _distinct(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(items)) == len(items):
        return items
    shown = ["+".join(item) if isinstance(item, tuple) else str(item) for item in items]
    refuse(((index,), f"{item!r} is listed twice") for index, item in enumerate(shown) if item in shown[:index])
    return items


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Count = Annotated[int, Field(ge=1)]
LevelWord = Annotated[Level, parsed(Level.parse)]
ClockSpan = Annotated[timedelta, parsed(clock_span)]
"""A duration around the clock: `30s`, `5m`, `2h`, `7d`."""
LimitSpan = Annotated[Span, parsed(_limit)]
"""A duration that may be working time: `4 working hours`, `3 working days`."""
Several = Annotated[tuple[T, ...], BeforeValidator(_alone), AfterValidator(_distinct)]
"""A list without repetitions, or one item standing alone."""
AreaName = Annotated[AreaCode, known(lambda known, code: code in known.areas, "no area has the code {!r}")]
UnitName = Annotated[UnitCode, known(lambda known, code: code in known.units, "no unit has the code {!r} (units.yaml)")]
AdapterName = Annotated[
    str, known(lambda known, name: name in known.adapters, "no adapter instance has the name {!r} (adapters.yaml)")
]
CategoryCode = Annotated[str, known(lambda known, code: code in known.categories, "no category has the code {!r}")]
CategoryStart = Annotated[
    str,
    known(lambda known, start: any(code.startswith(start) for code in known.categories), "no category starts with {!r}"),
]
"""A category's code, or the beginning of some."""
