"""The delivery log: what was handed to which department's system, how often it was tried, and how each try ended.

Nothing but what the ledger has: the attempts are those of the folded case. Builds statements, runs none. Called by `Views`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Select, and_, or_, select

from hub.errors import InvalidInput
from hub.model.assignments.state import STOPPED, Assignment, AssignmentState, AttemptOutcome, delivery_key, parse_delivery_key
from hub.model.case.state import CaseId, Stage
from hub.views.queries import MOST_IN_PAGE, Scope, within_scope
from hub.views.rows import decode_case
from hub.views.schema import assignments, cases, micros, moment
from hub.views.search import Search

_MOST = 2**63


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryFilter:
    """Which deliveries; None or () means any. `since` and `until` are about the last attempt.

    `stopped`: waits for an operator, dead, refused or uncertain, while its case goes on. `q`: key, ticket, or words of the case.
    """

    adapter: str | None = None
    unit: str | None = None
    state: tuple[AssignmentState, ...] = ()
    stopped: bool | None = None
    outcome: tuple[AttemptOutcome, ...] = ()
    case: str | None = None
    key: str | None = None
    ticket: str | None = None
    q: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    cursor: str | None = None


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
    """A piece of the log, latest attempt first; `cursor` gives the next piece, None at the end."""

    items: tuple[SeenDelivery, ...]
    cursor: str | None


def listing(filter: DeliveryFilter, scope: Scope, search: Search) -> Select[Any]:
    """One row more than a page holds. Raises InvalidInput for a foreign cursor, ValueError for what is no delivery key."""
    mine = assignments.c
    statement = _visible(scope)
    if filter.adapter is not None:
        statement = statement.where(mine.adapter == filter.adapter)
    if filter.unit is not None:
        statement = statement.where(mine.unit == filter.unit)
    if filter.state:
        statement = statement.where(mine.state.in_([state.value for state in filter.state]))
    if filter.stopped is not None:
        ended = cases.c.stage.in_([stage.value for stage in Stage if stage.ended])
        waits = and_(mine.state.in_([state.value for state in STOPPED]), ~ended)
        statement = statement.where(waits if filter.stopped else ~waits)
    if filter.outcome:
        statement = statement.where(mine.outcome.in_([outcome.value for outcome in filter.outcome]))
    if filter.case is not None:
        statement = statement.where(mine.matter == filter.case)
    if filter.key is not None:
        case, assignment = parse_delivery_key(filter.key)
        statement = statement.where(mine.matter == case, mine.assignment == assignment)
    if filter.ticket is not None:
        statement = statement.where(mine.ticket == filter.ticket)
    if filter.q is not None:
        word = filter.q.strip()
        if not word:
            raise InvalidInput("holds no word to look for", subject="q")
        whose, _, part = word.partition(".")
        named = or_(mine.ticket == word, mine.matter == word, and_(mine.matter == whose, mine.assignment == part))
        hits = search.matches(word)
        statement = statement.where(named if hits is None else or_(named, hits))
    if filter.since is not None:
        statement = statement.where(mine.tried_at >= micros(filter.since))
    if filter.until is not None:
        statement = statement.where(mine.tried_at < micros(filter.until))
    if filter.cursor is not None:
        at, id, assignment_id = _read_cursor(filter.cursor)
        behind = and_(mine.matter == id, mine.assignment > assignment_id)
        statement = statement.where(or_(mine.tried_at < at, and_(mine.tried_at == at, or_(mine.matter > id, behind))))
    return statement.order_by(mine.tried_at.desc(), mine.matter, mine.assignment).limit(_size(filter) + 1)


def one(case: str, assignment: str, scope: Scope) -> Select[Any]:
    """The row of one delivery."""
    return _visible(scope).where(assignments.c.matter == case, assignments.c.assignment == assignment)


def page_of(filter: DeliveryFilter, rows: Sequence[Any]) -> DeliveryPage:
    """The page that the rows of `listing` make."""
    size = _size(filter)
    items = tuple(seen(*row) for row in rows[:size])
    cursor = None
    if len(rows) > size:
        last = rows[size - 1]
        raw = msgspec.json.encode([last.tried_at, items[-1].case, last.assignment])
        cursor = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return DeliveryPage(items, cursor)


def seen(doc: str, assignment: str, tried_at: int, delivered_at: int | None) -> SeenDelivery:
    """A row as what it says."""
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


def _size(filter: DeliveryFilter) -> int:
    return max(1, min(filter.limit, MOST_IN_PAGE))


def _read_cursor(text: str) -> tuple[int, str, str]:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        at, case, assignment = msgspec.json.decode(raw, type=tuple[int, str, str])
    except (binascii.Error, msgspec.DecodeError, ValueError) as problem:
        raise InvalidInput("not a cursor of this list", subject="cursor") from problem
    if abs(at) >= _MOST:
        raise InvalidInput("not a cursor of this list", subject="cursor")
    return at, case, assignment
