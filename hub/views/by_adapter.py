"""What went through one adapter instance, for reconciliation and for the dry run of a crosswalk. Builds statements, runs none."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from hub.views.schema import assignments, cases

MOST_AT_ONCE = 2000
"""Rows of one piece, and names of one question (SQLite takes 32,766 parameters)."""


def held(adapter: str, *, since: int, after: tuple[str, str] | None = None) -> Select[Any]:
    """A page of its assignments that are open, or whose case changed at or after `since` (microseconds), in order of their keys.

    Rows: case, assignment, unit, state, ticket, open, the time of the case's last change, adapter.
    """
    mine = assignments.c
    statement = _rows().where(mine.adapter == adapter, or_(mine.open == 1, cases.c.updated_at >= since))
    if after is not None:
        statement = statement.where(or_(mine.matter > after[0], and_(mine.matter == after[0], mine.assignment > after[1])))
    return statement.order_by(mine.matter, mine.assignment).limit(MOST_AT_ONCE)


def of_tickets(adapters: Collection[str], tickets: Collection[str]) -> Select[Any]:
    """The assignments of any of the adapters that have one of the tickets; rows as of `held`."""
    mine = assignments.c
    return _rows().where(mine.adapter.in_(adapters), mine.ticket.in_(tickets))


def of_cases(ids: Collection[str]) -> Select[Any]:
    """All assignments of the cases; rows as of `held`."""
    return _rows().where(assignments.c.matter.in_(ids))


def categories(adapter: str) -> Select[Any]:
    """Categories of all cases that ever went through it: (category, assignments, open ones), most frequent first."""
    number = func.count()
    statement = select(cases.c.category, number, func.sum(assignments.c.open))
    statement = statement.select_from(assignments.join(cases, cases.c.id == assignments.c.matter))
    return (
        statement.where(assignments.c.adapter == adapter, cases.c.category.is_not(None))
        .group_by(cases.c.category)
        .order_by(number.desc(), cases.c.category)
    )


def _rows() -> Select[Any]:
    mine = assignments.c
    columns = (mine.matter, mine.assignment, mine.unit, mine.state, mine.ticket, mine.open, cases.c.updated_at, mine.adapter)
    return select(*columns).select_from(assignments.join(cases, cases.c.id == mine.matter))
