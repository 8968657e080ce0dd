"""Checks a plugin's return values against the contract, so that rubbish stops here. Pure.

Each check raises ValueError naming the fault; `running` makes it a fault of the plugin. A value is copied field by field into plain types
and read as the contract's struct, which carries the bounds. Values must have exactly the contract's types, and lists must be plain lists. A
subclass could run the plugin's code, without end, in the hub's own steps, where nobody bounds it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType, NoneType
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from hub.contract import (
    Audit,
    Contact,
    Feedback,
    FeedbackKind,
    Health,
    IncomingCase,
    Point,
    Poll,
    Position,
    Receipt,
    ReportedFile,
    Standing,
    Suggestion,
)
from hub.contract.values import Cursor, Value
from hub.model.answers import Reached
from hub.model.texts import one_of

V = TypeVar("V", bound=Value)
T = TypeVar("T")

MOST_ITEMS = 10_000
"""Items of one poll, callback or page."""
OLDEST = timedelta(days=3650)
NEWEST = timedelta(days=1)
"""A department's times lie between these around now: a clock that is wrong by more is no clock."""
LONGEST = timedelta(days=365)
"""How far ahead a notice may cover an area."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL and halves of surrogate pairs: neither JSON in UTF-8 nor every database holds them."""
_AS_THEY_ARE = frozenset({NoneType, bool, int, float, bytes})
_VALUES = frozenset(
    {Audit, Contact, Feedback, Health, IncomingCase, Point, Position, Receipt, ReportedFile, Standing, Suggestion}
)
_Catalogue = dict[Annotated[str, Meta(min_length=1, max_length=200)], Annotated[str, Meta(max_length=500)]]


def receipt(found: object) -> Receipt:
    """A receipt with a printable ticket."""
    return _sound(found, Receipt)


def suggestion(found: object) -> Suggestion:
    """A classifier's suggestion, every field checked."""
    return _sound(found, Suggestion)


def health(found: object) -> Health:
    """What a plugin says of its department's health, every field checked."""
    return _sound(found, Health)


def items(found: object) -> Sequence[object]:
    """The list of a poll's or callback's items, each still unchecked."""
    if not isinstance(found, list | tuple) or type(found) not in (list, tuple):
        raise ValueError(f"a list is expected, not {_kind(found)}")
    if len(found) > MOST_ITEMS:
        raise ValueError(f"{len(found)} items at once, at most {MOST_ITEMS} are taken")
    return found


def poll(found: object) -> Poll:
    """A poll whose items are still unchecked."""
    if type(found) is not Poll:
        raise ValueError(f"a Poll is expected, not {_kind(found)}")
    cursor = _read({"cursor": _plain(found.cursor, "cursor")}, dict[str, Cursor | None])["cursor"]
    return Poll(items=items(found.items), cursor=cursor, more=found.more is True)  # type: ignore[arg-type]


def item(found: object, now: datetime) -> Feedback | IncomingCase:
    """A feedback or an incoming case, every field checked."""
    if type(found) is Feedback:
        report = _sound(found, Feedback)
        _near(report.at, "at", now)
        if report.kind is FeedbackKind.VISITED:
            _visit(report)
        return report
    if type(found) is IncomingCase:
        case = _sound(found, IncomingCase)
        _near(case.reported_at, "reported_at", now)
        _near(case.covers_until, "covers_until", now, newest=LONGEST)
        return case
    raise ValueError(f"a Feedback or an IncomingCase is expected, not {_kind(found)}")


def _visit(report: Feedback) -> None:
    if report.reached is None:
        raise ValueError("reached: a visit says whether the reporter was reached")
    if report.reached is Reached.YES and (report.solved, report.satisfied, report.rating) == (None,) * 3:
        raise ValueError("a reporter who was reached said something: solved, satisfied or rating is needed")


def audit(found: object, now: datetime) -> Audit:
    """A page of standings, every field checked."""
    page = _sound(found, Audit)
    for standing in page.items:
        _near(standing.at, "at", now)
    return page


def catalogue(found: object) -> dict[str, str]:
    """Codes and names."""
    if not isinstance(found, dict | MappingProxyType) or len(found) > MOST_ITEMS:
        raise ValueError("a mapping of at most 10000 codes to names is expected")
    given = dict.items(found) if isinstance(found, dict) else found.items()
    return _read({_plain(code, "code"): _plain(name, "name") for code, name in given}, _Catalogue)


def _sound(found: object, kind: type[V]) -> V:
    if type(found) is not kind:
        raise ValueError(f"a {kind.__name__} is expected, not {_kind(found)}")
    return _read(_plain(found, ""), kind)


def _read(plain: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(plain, kind, builtin_types=(bytes, datetime))
    except msgspec.ValidationError as problem:
        text, _, path = str(problem).partition(" - at `$")
        text += one_of(kind, path.strip(".`"))
        raise ValueError(f"{path.strip('.`')}: {text}" if path else text) from problem


def _plain(value: object, name: str) -> Any:
    """The same in plain types, without running any of the plugin's code. XML libraries, too, give subclasses of str."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if issubclass(kind, str):
        text = str.__str__(value)
        if _UNSTORABLE.search(text):
            raise ValueError(f"{name} holds characters that are no text")
        return text
    if issubclass(kind, datetime):
        return datetime.combine(datetime.date(value), datetime.timetz(value))  # type: ignore[arg-type]
    if kind is list or kind is tuple:
        return [_plain(one, f"{name}[{place}]") for place, one in enumerate(items(value))]
    if kind in _VALUES:
        prefix = f"{name}." if name else ""
        return {field: _plain(getattr(value, field), f"{prefix}{field}") for field in kind.__struct_fields__}  # type: ignore[attr-defined]
    raise ValueError(f"{name} is {_kind(value)}")


def _near(value: datetime | None, name: str, now: datetime, *, newest: timedelta = NEWEST) -> None:
    if value is not None and not now - OLDEST <= value <= now + newest:
        raise ValueError(f"{name} lies too far from now: {value.isoformat()}")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
