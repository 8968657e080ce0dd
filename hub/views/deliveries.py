"""The delivery log: each hand-over to a department's system, the number of its attempts, and how each one ended.

It holds only the ledger's facts: the attempts are those of the folded case. Builds statements, runs none. Called by `Views`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, or_, select

from hub.model.assignments.state import Assignment, delivery_key
from hub.model.case.state import CaseId
from hub.views.filters import DeliveryFilter
from hub.views.queries import Number, Scope, read_cursor, wanted, within_scope, write_cursor
from hub.views.rows import decode_case
from hub.views.schema import assignments, cases, moment
from hub.views.search import Search


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenDelivery:
    """One assignment that goes through an adapter, with its attempts. `tried_at`: when the last one began, or it was made."""

    key: str
    case: CaseId
    title: str
    area: str
    assignment: Assignment
    tried_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A page of the log, latest attempt first. `cursor` gives the next page, None at the end."""

    items: tuple[SeenDelivery, ...]
    cursor: str | None


def listing(filter: DeliveryFilter, scope: Scope, search: Search, now: datetime) -> Select[Any]:
    """One row more than a page holds. Raises InvalidInput for a foreign cursor."""
    mine = assignments.c
    statement = _visible(scope).where(*wanted(filter, scope, search, now))
    if filter.cursor is not None:
        at, id, assignment = read_cursor(filter.cursor, tuple[Number, str, str])
        behind = and_(mine.matter == id, mine.assignment > assignment)
        statement = statement.where(or_(mine.tried_at < at, and_(mine.tried_at == at, or_(mine.matter > id, behind))))
    return statement.order_by(mine.tried_at.desc(), mine.matter, mine.assignment).limit(filter.limit + 1)


def one(case: str, assignment: str, scope: Scope) -> Select[Any]:
    """The row of one delivery."""
    return _visible(scope).where(assignments.c.matter == case, assignments.c.assignment == assignment)


def page_of(filter: DeliveryFilter, rows: Sequence[Any]) -> DeliveryPage:
    """The page that the rows of `listing` make."""
    items = tuple(seen(*row) for row in rows[: filter.limit])
    if len(rows) <= filter.limit:
        return DeliveryPage(items, None)
    last = rows[filter.limit - 1]
    return DeliveryPage(items, write_cursor(last.tried_at, items[-1].case, last.assignment))


def seen(doc: str, assignment: str, tried_at: int, delivered_at: int | None) -> SeenDelivery:
    """A row in its form for readers."""
    case = decode_case(doc).state
    found = case.assignment(assignment)
    if found is None:
        raise LookupError(f"{case.id} has no assignment {assignment}: the views are inconsistent, rebuild them")
    return SeenDelivery(
        key=delivery_key(case.id, assignment),
        case=case.id,
        title=case.title,
        area=case.area,
        assignment=found,
        tried_at=moment(tried_at),
        delivered_at=None if delivered_at is None else moment(delivered_at),
    )


def _visible(scope: Scope) -> Select[Any]:
    """Every delivery of a scope; with a unit only that unit's own."""
    mine = assignments.c
    statement = (
        select(cases.c.doc, mine.assignment, mine.tried_at, mine.delivered_at)
        .select_from(assignments.join(cases, cases.c.id == mine.matter))
        .where(mine.adapter.is_not(None), *within_scope(Scope(area=scope.area)))
    )
    return statement if scope.unit is None else statement.where(mine.unit == scope.unit)
