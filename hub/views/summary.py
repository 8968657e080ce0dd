"""The figures of a scope: cases by stage, late cases, cases that need attention, and each unit's deliveries. Reads only.

Latency is hub-added: from the commit that made an assignment to the commit of the department's receipt, in milliseconds. Percentiles are
exact (nearest rank). Called by `Views`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Column, ColumnElement, Connection, and_, case, func, select

from hub.model.answers import QUESTIONS, Closing
from hub.model.assignments.state import AssignmentState
from hub.model.case.state import Stage
from hub.views.queries import Scope, is_late, within_scope
from hub.views.schema import assignments, attempts, cases, micros


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from made to delivered; None without any delivery."""

    p50: float | None
    p99: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitFigures:
    """How one unit's assignments stand. `retries`: attempts after the first; `late`: owed and past a limit."""

    unit: str
    adapter: str | None
    assignments: int
    open: int
    delivered: int
    resolved: int
    returned: int
    refused: int
    dead: int
    late: int
    retries: int
    latency: Latency


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """`cases` = `open` + `dead` + `closed` + `void` + `merged`. `dead`: live cases with a delivery whose attempts are used up."""

    cases: int
    open: int
    dead: int
    closed: int
    void: int
    merged: int
    stages: dict[str, int]
    late: int
    attention: int
    answers: dict[str, dict[str, int]]
    """What reporters said, by question: how many of each answer."""
    closings: dict[str, int]
    assignments: int
    retries: int
    latency: Latency
    units: tuple[UnitFigures, ...]
    sequence: int


def summarise(connection: Connection, scope: Scope, now: datetime, sequence: int) -> Summary:
    """Count a scope as of `now`."""
    here = within_scope(scope)
    stages = {stage.value: 0 for stage in Stage}
    total = dead = late = attention = 0
    rows = connection.execute(
        select(
            cases.c.stage,
            func.count(),
            func.sum(cases.c.dead),
            func.sum(case((is_late(micros(now)), 1), else_=0)),
            func.sum(case((cases.c.attention > 0, 1), else_=0)),
        )
        .where(*here)
        .group_by(cases.c.stage)
    )
    for stage, count, dead_here, late_here, attention_here in rows:
        stages[stage] = int(count)
        total += int(count)
        dead += int(dead_here)
        late += int(late_here)
        attention += int(attention_here)
    closed, void, merged = (stages[stage.value] for stage in (Stage.CLOSED, Stage.VOID, Stage.MERGED))
    units = _units(connection, scope, now)
    return Summary(
        cases=total,
        open=total - closed - void - merged - dead,
        dead=dead,
        closed=closed,
        void=void,
        merged=merged,
        stages=stages,
        late=late,
        attention=attention,
        answers={name: _each(connection, cases.c[name], answers, scope) for name, answers in QUESTIONS.items()},
        closings=_each(connection, cases.c.closing, Closing, scope),
        assignments=sum(unit.assignments for unit in units),
        retries=sum(unit.retries for unit in units),
        latency=_latency(connection, _own(scope)),
        units=units,
        sequence=sequence,
    )


def _each(connection: Connection, column: Column[str], values: type[StrEnum], scope: Scope) -> dict[str, int]:
    """How many cases of a scope have each value."""
    found = {value.value: 0 for value in values}
    rows = connection.execute(select(column, func.count()).where(column.is_not(None), *within_scope(scope)).group_by(column))
    return found | {value: int(count) for value, count in rows}


def _own(scope: Scope) -> list[ColumnElement[bool]]:
    """The conditions on `assignments` of a scope: in the area, and of the unit when it is a department's."""
    conditions: list[ColumnElement[bool]] = []
    if scope.area is not None:
        inside = select(cases.c.id).where(*within_scope(Scope(area=scope.area)))
        conditions.append(assignments.c.matter.in_(inside))
    if scope.unit is not None:
        conditions.append(assignments.c.unit == scope.unit)
    return conditions


def _units(connection: Connection, scope: Scope, now: datetime) -> tuple[UnitFigures, ...]:
    columns = assignments.c

    def many(*states: AssignmentState) -> ColumnElement[int]:
        return func.sum(case((columns.state.in_([state.value for state in states]), 1), else_=0))

    rows = connection.execute(
        select(
            columns.unit,
            func.max(columns.adapter),
            func.count(),
            func.sum(columns.open),
            func.sum(case((columns.delivered_at.is_not(None), 1), else_=0)),
            many(AssignmentState.RESOLVED),
            many(AssignmentState.RETURNED),
            many(AssignmentState.REFUSED),
            func.sum(case((and_(columns.state == AssignmentState.DEAD.value, columns.open == 1), 1), else_=0)),
            func.sum(case((and_(columns.due_at.is_not(None), columns.due_at < micros(now)), 1), else_=0)),
        )
        .where(*_own(scope))
        .group_by(columns.unit)
        .order_by(func.count().desc(), columns.unit)
    ).all()
    retried = _retries(connection, scope)
    return tuple(
        UnitFigures(
            unit=unit,
            adapter=adapter,
            assignments=int(count),
            open=int(open_),
            delivered=int(delivered),
            resolved=int(resolved),
            returned=int(returned),
            refused=int(refused),
            dead=int(dead),
            late=int(late),
            retries=retried.get(unit, 0),
            latency=_latency(connection, [*_own(scope), columns.unit == unit]) if delivered else Latency(None, None),
        )
        for unit, adapter, count, open_, delivered, resolved, returned, refused, dead, late in rows
    )


def _retries(connection: Connection, scope: Scope) -> dict[str, int]:
    rows = connection.execute(
        select(assignments.c.unit, func.count())
        .join(
            attempts,
            and_(attempts.c.matter == assignments.c.matter, attempts.c.assignment == assignments.c.assignment),
        )
        .where(attempts.c.number > 1, *_own(scope))
        .group_by(assignments.c.unit)
    )
    return {unit: int(count) for unit, count in rows}


def _latency(connection: Connection, conditions: list[ColumnElement[bool]]) -> Latency:
    columns = assignments.c
    waits = columns.delivered_at - columns.made_at
    found = (columns.delivered_at.is_not(None), columns.adapter.is_not(None), *conditions)
    count = connection.execute(select(func.count()).select_from(assignments).where(*found)).scalar_one()
    if not count:
        return Latency(None, None)
    ranks = (max(0, math.ceil(count * share) - 1) for share in (0.5, 0.99))
    p50, p99 = (
        connection.execute(select(waits).where(*found).order_by(waits).offset(rank).limit(1)).scalar_one() / 1000
        for rank in ranks
    )
    return Latency(p50, p99)
