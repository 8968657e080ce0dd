"""Questions to the read models: what may be asked (`CaseFilter`, `Scope`) and the SQL of it. Builds statements, runs none.

Scopes are part of every statement: what lies outside is not found, not filtered afterwards. Called by `Views`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from hub.errors import InvalidInput
from hub.model.aggregate import Folded
from hub.model.case.state import Case, Channel, Severity, Stage
from hub.model.district.areas import Level
from hub.views.schema import assignments, cases, micros
from hub.views.search import Search

S = TypeVar("S")

MOST_IN_PAGE = 200
_FAR = 253_402_300_799_000_000
"""Stands for "no limit" when ordering by limits: the end of the year 9999."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What somebody may see: cases at or below `area`, and with `unit` only those that have an assignment of that unit."""

    area: str | None = None
    unit: str | None = None


EVERYTHING = Scope()


class Sort(StrEnum):
    """Orders of a list; `-` is descending."""

    NEWEST = "-reported_at"
    OLDEST = "reported_at"
    LATEST_CHANGE = "-updated_at"
    EARLIEST_CHANGE = "updated_at"
    DUE = "due_at"


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseFilter:
    """Which cases; None means any. `late`: a limit that runs has passed. `unit`: holds it or has an assignment."""

    stage: tuple[Stage, ...] = ()
    area: str | None = None
    unit: str | None = None
    category: str | None = None
    severity: Severity | None = None
    channel: Channel | None = None
    level: Level | None = None
    late: bool | None = None
    attention: bool | None = None
    dead: bool | None = None
    open: bool | None = None
    q: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    sort: Sort = Sort.NEWEST
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class SeenCase:
    """A case as the views know it; `folded.sequence` says as of when."""

    folded: Folded[Case]
    opened: int
    updated_at: datetime
    due_at: datetime | None

    @property
    def case(self) -> Case:
        """Its state."""
        return self.folded.state


@dataclass(frozen=True, slots=True)
class SeenMatter(Generic[S]):
    """A matter of any kind as the views know it. `opened`: the ledger sequence of its first commit, in lists."""

    folded: Folded[S]
    updated_at: datetime
    opened: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a list; `cursor` gives the next piece, None at the end."""

    items: tuple[SeenCase, ...]
    cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineEntry:
    """One event of a case's story. `event` is its registered name, `body` its fields."""

    number: int
    ordinal: int
    sequence: int
    at: datetime
    event: str
    actor: dict[str, object]
    command: str
    policy: int
    traceparent: str | None
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file of a case. `owner`: the case whose own it is in the store of files; empty when it is shared."""

    owner: str
    name: str
    media_type: str


def in_area(column: ColumnElement[str], area: str) -> ColumnElement[bool]:
    """Whether a code is `area` or below it. Digits only, so that the order is the same in any collation."""
    return column.between(area, area.ljust(15, "9"))


def within_scope(scope: Scope) -> list[ColumnElement[bool]]:
    """The conditions on `cases` of a scope."""
    conditions: list[ColumnElement[bool]] = []
    if scope.area is not None:
        conditions.append(in_area(cases.c.area, scope.area))
    if scope.unit is not None:
        conditions.append(assigned_to(scope.unit))
    return conditions


def assigned_to(unit: str) -> ColumnElement[bool]:
    """Whether the case has or had an assignment of the unit."""
    return cases.c.id.in_(select(assignments.c.matter).where(assignments.c.unit == unit).correlate(None))


def wanted(filter: CaseFilter, search: Search, now: datetime) -> list[ColumnElement[bool]]:
    """The conditions on `cases` of a filter."""
    columns = cases.c
    conditions: list[ColumnElement[bool]] = []
    if filter.stage:
        conditions.append(columns.stage.in_([stage.value for stage in filter.stage]))
    if filter.area is not None:
        conditions.append(in_area(columns.area, filter.area))
    if filter.unit is not None:
        conditions.append(or_(columns.holder == filter.unit, assigned_to(filter.unit)))
    if filter.category is not None:
        conditions.append(columns.category == filter.category)
    if filter.severity is not None:
        conditions.append(columns.severity == filter.severity.value)
    if filter.channel is not None:
        conditions.append(columns.channel == filter.channel.value)
    if filter.level is not None:
        conditions.append(columns.level == int(filter.level))
    if filter.late is not None:
        conditions.append(is_late(now) if filter.late else or_(columns.due_at.is_(None), columns.due_at >= micros(now)))
    if filter.attention is not None:
        conditions.append(columns.attention > 0 if filter.attention else columns.attention == 0)
    if filter.dead is not None:
        conditions.append(columns.dead == int(filter.dead))
    if filter.open is not None:
        ended = columns.stage.in_([stage.value for stage in Stage if stage.ended])
        conditions.append(~ended if filter.open else ended)
    if filter.since is not None:
        conditions.append(columns.reported_at >= micros(filter.since))
    if filter.until is not None:
        conditions.append(columns.reported_at < micros(filter.until))
    if filter.q is not None:
        conditions.append(found_by(filter.q, search))
    return conditions


def found_by(query: str, search: Search) -> ColumnElement[bool]:
    """The condition of a search; raises InvalidInput for one without any word, which must not find everything."""
    hits = search.matches(query)
    if hits is None:
        raise InvalidInput("holds no word to look for", subject="q")
    return hits


def is_late(now: datetime) -> ColumnElement[bool]:
    """Whether a limit that runs has passed."""
    return and_(cases.c.due_at.is_not(None), cases.c.due_at < micros(now))


def listing(filter: CaseFilter, scope: Scope, search: Search, now: datetime) -> Select[int, int, int | None, str, int]:
    """One row more than a page holds: (opened, updated_at, due_at, doc, key). Raises InvalidInput for a foreign cursor."""
    columns = cases.c
    key: ColumnElement[int]
    match filter.sort:
        case Sort.NEWEST | Sort.OLDEST:
            key = columns.reported_at
        case Sort.LATEST_CHANGE | Sort.EARLIEST_CHANGE:
            key = columns.updated_at
        case Sort.DUE:
            key = func.coalesce(columns.due_at, _FAR)
    descending = filter.sort.value.startswith("-")
    statement = select(columns.opened, columns.updated_at, columns.due_at, columns.doc, key.label("key"))
    statement = statement.where(*within_scope(scope), *wanted(filter, search, now))
    if filter.cursor is not None:
        after, opened = _read_cursor(filter.cursor, filter.sort)
        if descending:
            statement = statement.where(or_(key < after, and_(key == after, columns.opened < opened)))
        else:
            statement = statement.where(or_(key > after, and_(key == after, columns.opened > opened)))
    order = (key.desc(), columns.opened.desc()) if descending else (key.asc(), columns.opened.asc())
    return statement.order_by(*order).limit(page_size(filter) + 1)


def counting(filter: CaseFilter, scope: Scope, search: Search, now: datetime) -> Select[int]:
    """How many cases a filter finds."""
    return select(func.count()).select_from(cases).where(*within_scope(scope), *wanted(filter, search, now))


def page_size(filter: CaseFilter) -> int:
    """The number of cases in a page."""
    return max(1, min(filter.limit, MOST_IN_PAGE))


def write_cursor(sort: Sort, key: int, opened: int) -> str:
    """The place behind a row, opaque to callers."""
    return base64.urlsafe_b64encode(msgspec.json.encode([sort.value, key, opened])).decode().rstrip("=")


def _read_cursor(text: str, sort: Sort) -> tuple[int, int]:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        order, key, opened = msgspec.json.decode(raw, type=tuple[str, int, int])
    except (binascii.Error, msgspec.DecodeError, ValueError) as problem:
        raise InvalidInput("not a cursor of this list", subject="cursor") from problem
    if order != sort.value or not all(abs(value) < 2**63 for value in (key, opened)):
        raise InvalidInput("not a cursor of this list", subject="cursor")
    return key, opened
