"""Questions to the read models: whose cases (`Scope`), which of them (a filter), and the SQL of it. Builds statements, runs none.

Scopes are part of every statement: a case outside is never found, instead of being filtered afterwards. Called by `Views`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, or_, select, true

from hub.errors import InvalidInput
from hub.model.aggregate import Folded
from hub.model.case.state import Case, Stage
from hub.model.district.areas import Level
from hub.model.positions import METRES_PER_DEGREE, Window, read_point
from hub.views.filters import NEAR_BY, CaseFilter, Filter, Sort, Where
from hub.views.schema import assignments, cases, micros
from hub.views.search import Search

S = TypeVar("S")
T = TypeVar("T")

Number = Annotated[int, msgspec.Meta(ge=1 - 2**63, le=2**63 - 1)]
"""What a database takes as a number."""
_FAR = 253_402_300_799_000_000
"""Stands for "no limit" when ordering by limits: the end of the year 9999."""


@dataclass(frozen=True, slots=True)
class Hands:
    """Who handles cases: a unit, and its level where it is one of the tree's."""

    unit: str
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What somebody may see: cases at or below `area`, and with `unit` only those that have an assignment of that unit.

    `hands`: as whom they handle cases; None: they handle none, and find none by its exact position.
    """

    area: str | None = None
    unit: str | None = None
    hands: Hands | None = None


EVERYTHING = Scope()


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
    """A file of a case. `owner`: the case that owns it in the store of files; empty when it is shared."""

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


def handled(hands: Hands) -> ColumnElement[bool]:
    """Whether a unit works on the case; `Caller.handles` says the same of one case."""
    own = select(assignments.c.matter).where(assignments.c.unit == hands.unit, assignments.c.open == 1).correlate(None)
    ways: list[ColumnElement[bool]] = [cases.c.id.in_(own)]
    if hands.level is not None:
        level = func.coalesce(cases.c.level, int(Level.GRID))
        ways += [cases.c.holder == hands.unit, and_(in_area(cases.c.area, hands.unit), level <= hands.level)]
    return or_(*ways)


def lies_in(window: Window, scope: Scope) -> ColumnElement[bool]:
    """Whether the case lies so near. Who does not handle it finds it where it is from afar: else a few questions would show the spot."""
    from_afar = _around(window, cases.c.far_longitude, cases.c.far_latitude)
    if scope.hands is None:
        return from_afar
    mine = handled(scope.hands)
    return or_(and_(mine, _around(window, cases.c.longitude, cases.c.latitude)), and_(~mine, from_afar))


def _around(window: Window, longitude: ColumnElement[float], latitude: ColumnElement[float]) -> ColumnElement[bool]:
    """The rectangle, which an index knows, then the distance, in nothing but sums and products: every SQL has those."""
    west, east, south, north = window.rectangle
    x = (longitude - window.point.longitude) * window.east_scale
    y = (latitude - window.point.latitude) * METRES_PER_DEGREE
    return and_(latitude.between(south, north), longitude.between(west, east), x * x + y * y <= window.metres**2)


@dataclass(frozen=True, slots=True)
class Asked:
    """The means for a filter's conditions: the columns, the search, the time (in microseconds), the filter, and who asks."""

    search: Search
    now: int
    filter: Filter
    scope: Scope

    @property
    def cases(self) -> Any:
        """The columns of cases."""
        return cases.c

    @property
    def assignments(self) -> Any:
        """The columns of assignments."""
        return assignments.c

    @property
    def ended(self) -> ColumnElement[bool]:
        """Whether the case is closed, void or merged."""
        return cases.c.stage.in_([stage.value for stage in Stage if stage.ended])

    @property
    def late(self) -> ColumnElement[bool]:
        """Whether a limit that runs has passed."""
        return is_late(self.now)

    def in_area(self, area: str) -> ColumnElement[bool]:
        """Whether the case lies at or below an area."""
        return in_area(cases.c.area, area)

    def assigned_to(self, unit: str) -> ColumnElement[bool]:
        """Whether the case has or had an assignment of a unit."""
        return assigned_to(unit)

    def near(self, place: str) -> ColumnElement[bool]:
        """Whether the case lies within `within_m` of a point; raises InvalidInput for what is no point."""
        try:
            point = read_point(place)
        except ValueError as problem:
            raise InvalidInput(str(problem), subject="near") from problem
        assert isinstance(self.filter, CaseFilter)
        return lies_in(Window(point=point, metres=self.filter.within_m or NEAR_BY), self.scope)

    def within(self, metres: float) -> ColumnElement[bool]:
        """Nothing of its own: it says how near `near` is. Raises InvalidInput without that."""
        assert isinstance(self.filter, CaseFilter)
        if self.filter.near is None:
            raise InvalidInput("goes with near: of what point?", subject="within_m")
        return true()

    def found_by(self, words: str) -> ColumnElement[bool]:
        """Whether words find the case. Raises InvalidInput when there are none."""
        return found_by(words, self.search)


def wanted(filter: Filter, scope: Scope, search: Search, now: datetime) -> list[ColumnElement[bool]]:
    """The conditions of a filter: those of the fields that were given."""
    here = Asked(search, micros(now), filter, scope)
    conditions: list[ColumnElement[bool]] = []
    for name, field in type(filter).model_fields.items():
        value = getattr(filter, name)
        if value is not None and value != ():
            conditions.extend(part.condition(here, _stored(value)) for part in field.metadata if isinstance(part, Where))
    return conditions


def _stored(value: object) -> object:
    """A filter's value as the tables have it."""
    match value:
        case datetime():
            return micros(value)
        case Enum():
            return value.value
        case tuple():
            return tuple(_stored(item) for item in value)
    return value


def found_by(query: str, search: Search) -> ColumnElement[bool]:
    """The condition of a search; raises InvalidInput for one without any word, which must not find everything."""
    hits = search.matches(query)
    if hits is None:
        raise InvalidInput("holds no word to look for", subject="q")
    return hits


def is_late(now: int) -> ColumnElement[bool]:
    """Whether a limit that runs has passed at `now` (microseconds)."""
    return and_(cases.c.due_at.is_not(None), cases.c.due_at < now)


def listing(filter: CaseFilter, scope: Scope, search: Search, now: datetime) -> Select[int, int, int | None, str, int]:
    """The rows of a page and one more: (opened, updated_at, due_at, doc, key). Raises InvalidInput for a foreign cursor."""
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
    statement = statement.where(*within_scope(scope), *wanted(filter, scope, search, now))
    if filter.cursor is not None:
        sort, after, opened = read_cursor(filter.cursor, tuple[Sort, Number, Number])
        if sort is not filter.sort:
            raise InvalidInput("not a cursor of this list", subject="cursor")
        if descending:
            statement = statement.where(or_(key < after, and_(key == after, columns.opened < opened)))
        else:
            statement = statement.where(or_(key > after, and_(key == after, columns.opened > opened)))
    order = (key.desc(), columns.opened.desc()) if descending else (key.asc(), columns.opened.asc())
    return statement.order_by(*order).limit(filter.limit + 1)


def counting(filter: CaseFilter, scope: Scope, search: Search, now: datetime) -> Select[int]:
    """How many cases a filter finds."""
    return select(func.count()).select_from(cases).where(*within_scope(scope), *wanted(filter, scope, search, now))


def write_cursor(*place: str | int) -> str:
    """The place behind a row, opaque to callers."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_cursor(text: str, form: type[T]) -> T:
    """The place that a cursor of that form names. Raises InvalidInput for any other text."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=form)
    except (binascii.Error, msgspec.DecodeError, ValueError) as problem:
        raise InvalidInput("not a cursor of this list", subject="cursor") from problem
