"""Whether what a plugin returned is what the contract says, so that rubbish stops here. Pure.

Each check raises ValueError with what is wrong; `running` makes it a fault of the plugin. Lists are exactly lists and values exactly
the contract's: a subclass could run the plugin's code, without end, in the hub's own steps, where nobody bounds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeVar

from hub.contract import Audit, Contact, IncomingCase, Poll, Receipt, Report, ReportedFile, ReportKind, Standing, StandingState
from hub.model.case.state import Channel, Severity

T = TypeVar("T", Report, IncomingCase, Standing)

MOST_ITEMS = 10_000
"""Items of one poll, callback or page."""
MOST_ID = 500
MOST_TICKET = 200
MOST_TEXT = 200_000
"""Characters of one text that are looked at; the hub keeps far fewer."""
OLDEST = timedelta(days=3650)
NEWEST = timedelta(days=1)
"""A department's times lie between these around now: a clock that is wrong by more is no clock."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL and halves of surrogate pairs: neither JSON in UTF-8 nor every database holds them."""


def receipt(found: object) -> Receipt:
    """A receipt with a printable ticket."""
    if type(found) is not Receipt:
        raise ValueError(f"a Receipt is expected, not {_kind(found)}")
    _text(found.ticket, "ticket", most=MOST_TICKET, empty=False)
    if _CONTROL.search(found.ticket):
        raise ValueError("ticket holds control characters")
    return Receipt(ticket=str.__str__(found.ticket))


def items(found: object) -> Sequence[object]:
    """A list of what a poll or callback brought, each still unchecked."""
    if not isinstance(found, list | tuple) or type(found) not in (list, tuple):
        raise ValueError(f"a list is expected, not {_kind(found)}")
    if len(found) > MOST_ITEMS:
        raise ValueError(f"{len(found)} items at once, at most {MOST_ITEMS} are taken")
    return found


def poll(found: object) -> Poll:
    """A poll whose items are still unchecked."""
    if type(found) is not Poll:
        raise ValueError(f"a Poll is expected, not {_kind(found)}")
    items(found.items)
    if found.cursor is not None:
        _text(found.cursor, "cursor", most=10_000)
    return found


def item(found: object, now: datetime) -> Report | IncomingCase:
    """A report or an incoming case all of whose fields are what they should be."""
    if type(found) is Report:
        return _plain(_report(found, now))
    if type(found) is IncomingCase:
        return _plain(_case(found, now))
    raise ValueError(f"a Report or IncomingCase is expected, not {_kind(found)}")


def audit(found: object, now: datetime) -> Audit:
    """A page of standings all of whose fields are what they should be."""
    if type(found) is not Audit:
        raise ValueError(f"an Audit is expected, not {_kind(found)}")
    for standing in items(found.items):
        if type(standing) is not Standing or not isinstance(standing.state, StandingState):
            raise ValueError(f"a Standing is expected, not {_kind(standing)}")
        _text(standing.ticket, "ticket", most=MOST_TICKET, empty=False)
        _text(standing.key, "key", most=MOST_ID, none=True)
        _time(standing.at, "at", now, none=True)
    if found.cursor is not None:
        _text(found.cursor, "cursor", most=10_000)
    return replace(found, items=[_plain(standing) for standing in found.items])


def catalogue(found: object) -> dict[str, str]:
    """Codes and names."""
    if not isinstance(found, dict | MappingProxyType) or len(found) > MOST_ITEMS:
        raise ValueError("a mapping of at most 10000 codes to names is expected")
    plain: dict[str, str] = {}
    for code, name in dict.items(found) if isinstance(found, dict) else found.items():
        _text(code, "code", most=200, empty=False)
        _text(name, "name", most=500)
        plain[str.__str__(code)] = str.__str__(name)
    return plain


def _report(found: Report, now: datetime) -> Report:
    _text(found.id, "id", most=MOST_ID, empty=False)
    if not isinstance(found.kind, ReportKind):
        raise ValueError(f"kind is {_kind(found.kind)}")
    for name in ("key", "ticket", "by", "note"):
        _text(getattr(found, name), name, most=MOST_TEXT, none=True)
    _time(found.at, "at", now, none=True)
    for file in _listed(found.files, "files"):
        _file(file)
    for name in ("reached", "solved", "satisfied"):
        if not isinstance(getattr(found, name), bool | None):
            raise ValueError(f"{name} is {_kind(getattr(found, name))}")
    if found.rating is not None and type(found.rating) is not int:
        raise ValueError(f"rating is {_kind(found.rating)}")
    if found.kind is ReportKind.VISITED:
        _visit(found)
    return found


def _visit(found: Report) -> None:
    """What the lifecycle refuses of a visit, whatever state the case is in."""
    if found.rating is not None and not 1 <= found.rating <= 5:
        raise ValueError("rating is a number from 1 to 5")
    if found.reached and found.solved is None and found.satisfied is None and found.rating is None:
        raise ValueError("a reporter who was reached said something: solved, satisfied or rating is needed")


def _case(found: IncomingCase, now: datetime) -> IncomingCase:
    _text(found.ref, "ref", most=MOST_ID, empty=False)
    if not isinstance(found.channel, Channel):
        raise ValueError(f"channel is {_kind(found.channel)}")
    if found.severity is not None and not isinstance(found.severity, Severity):
        raise ValueError(f"severity is {_kind(found.severity)}")
    if found.contact is not None:
        if type(found.contact) is not Contact:
            raise ValueError(f"contact is {_kind(found.contact)}")
        for name in ("name", "phone", "address"):
            _text(getattr(found.contact, name), f"contact.{name}", most=MOST_ID, none=True)
    for name in ("title", "text"):
        _text(getattr(found, name), name, most=MOST_TEXT)
    for name in ("area", "place_name", "place", "category"):
        _text(getattr(found, name), name, most=MOST_TEXT, none=True)
    _time(found.reported_at, "reported_at", now)
    _time(found.covers_until, "covers_until", now, none=True, newest=timedelta(days=365))
    for code in _listed(found.covers, "covers"):
        _text(code, "covers", most=20, empty=False)
    return found


def _file(found: object) -> None:
    if not isinstance(found, ReportedFile) or not isinstance(found.content, bytes):
        raise ValueError(f"a ReportedFile is expected, not {_kind(found)}")
    _text(found.name, "name", most=1000)
    _text(found.media_type, "media_type", most=200)


def _listed(found: object, name: str) -> Iterable[object]:
    if not isinstance(found, list | tuple) or type(found) not in (list, tuple):
        raise ValueError(f"{name} is {_kind(found)}")
    if len(found) > 100:
        raise ValueError(f"{name} has {len(found)} entries, at most 100 are taken")
    return found


def _text(value: object, name: str, *, most: int, none: bool = False, empty: bool = True) -> None:
    if value is None and none:
        return
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_kind(value)}")
    if str.__len__(value) > most:
        raise ValueError(f"{name} has {str.__len__(value)} characters, at most {most} are taken")
    if _UNSTORABLE.search(value):
        raise ValueError(f"{name} holds characters that are no text")
    if not empty and not str.strip(value):
        raise ValueError(f"{name} is empty")


def _time(
    value: object, name: str, now: datetime, *, none: bool = False, oldest: timedelta = OLDEST, newest: timedelta = NEWEST
) -> None:
    if value is None and none:
        return
    if not isinstance(value, datetime):
        raise ValueError(f"{name} is {_kind(value)}")
    if value.tzinfo is None:
        raise ValueError(f"{name} has no offset")
    if not now - oldest <= value <= now + newest:
        raise ValueError(f"{name} lies too far from now: {value.isoformat()}")


def _plain(found: T) -> T:
    """The same with plain text for subclasses of str (XML libraries give such)."""
    odd: dict[str, Any] = {
        name: str.__str__(value)
        for name, value in vars(found).items()
        if isinstance(value, str) and type(value) is not str and not isinstance(value, Enum)
    }
    return replace(found, **odd) if odd else found


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
