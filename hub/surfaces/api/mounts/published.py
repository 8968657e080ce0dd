"""Finds what may be given out at a mount: which cases a visitor may read, and their public events. SQL on the read models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import ColumnElement, and_, or_, select, true

from hub.contract import Publishing
from hub.model.case.state import Case, Stage
from hub.model.words import NEWS
from hub.views.queries import Scope, within_scope
from hub.views.rows import decode_case
from hub.views.schema import cases, micros, moment, sources, timeline
from hub.views.views import Views

RESULT = "assignment.resolved"
"""No news by itself: the case's own end tells what the unit wrote."""


@dataclass(frozen=True)
class Known:
    """A case as the read models have it."""

    case: Case
    updated_at: datetime


@dataclass(frozen=True)
class Happened:
    """One event of a case's story."""

    case: Case
    number: int
    ordinal: int
    at: datetime
    event: str
    body: dict[str, object]


@dataclass(frozen=True)
class Published:
    """The cases that one visitor may read. `source`: that of the mount's cases. `own`: the beginning of this visitor's refs there.

    `scope`: what its key lets it see beyond everybody's; None: nothing.
    """

    views: Views
    publishing: Publishing
    source: str
    own: str
    scope: Scope | None

    def sensitive(self, case: Case) -> bool:
        """Whether text and place of the case are not for everybody."""
        return bool(self.publishing.sensitive) and (case.category or "").startswith(self.publishing.sensitive)

    async def several(self, ids: Sequence[str]) -> list[Known]:
        """Cases by id, in the order asked."""
        rows = await self._select([cases.c.id.in_(ids), self._readable()], len(ids), 0)
        order = {id: place for place, id in enumerate(ids)}
        return sorted(rows, key=lambda known: order[known.case.id])

    async def search(
        self,
        since: datetime,
        until: datetime,
        stages: Sequence[Stage],
        categories: Sequence[str],
        size: int,
        offset: int,
    ) -> list[Known]:
        """Cases reported in a range, newest first."""
        conditions = [self._listed(), cases.c.reported_at.between(micros(since), micros(until))]
        if stages:
            conditions.append(cases.c.stage.in_([stage.value for stage in stages]))
        if categories:
            conditions.append(cases.c.category.in_(categories))
        return await self._select(conditions, size, offset)

    async def happened(self, since: datetime, until: datetime, size: int, offset: int) -> list[Happened]:
        """Public events in a range, oldest first."""
        columns = timeline.c
        kinds = or_(*(columns.body.startswith(f'{{"type":"{kind}"', autoescape=True) for kind in (*NEWS, RESULT)))
        statement = (
            select(columns.number, columns.ordinal, columns.at, columns.body, cases.c.doc)
            .select_from(timeline.join(cases, cases.c.id == columns.matter))
            .where(cases.c.updated_at >= micros(since), columns.at.between(micros(since), micros(until)))
            .where(self._readable(), kinds)
            .order_by(columns.at, columns.sequence, columns.ordinal)
            .limit(size)
            .offset(offset)
        )
        rows = await self.views.read(lambda connection: connection.execute(statement).all())
        found = []
        for number, ordinal, at, body, doc in rows:
            fields: dict[str, object] = msgspec.json.decode(body)
            event = str(fields.pop("type"))
            found.append(Happened(decode_case(doc).state, number, ordinal, moment(at), event, fields))
        return found

    def _readable(self) -> ColumnElement[bool]:
        """What may be asked for by id, by anybody: how it stands is no secret."""
        came: ColumnElement[bool] = cases.c.id.in_(select(sources.c.matter).where(sources.c.adapter == self.source))
        return or_(came, self._harmless()) if self.publishing.everything else came

    def _listed(self) -> ColumnElement[bool]:
        """Cases for lists: those that are not sensitive, and those that the visitor may read anyway."""
        own = and_(sources.c.adapter == self.source, sources.c.ref.startswith(self.own, autoescape=True))
        listed = or_(self._harmless(), cases.c.id.in_(select(sources.c.matter).where(own)))
        if self.scope is not None:
            listed = or_(listed, and_(true(), *within_scope(self.scope)))
        return and_(self._readable(), listed)

    def _harmless(self) -> ColumnElement[bool]:
        sensitive = [cases.c.category.startswith(code, autoescape=True) for code in self.publishing.sensitive]
        return ~or_(*sensitive) if sensitive else true()

    async def _select(self, conditions: list[ColumnElement[bool]], size: int, offset: int) -> list[Known]:
        statement = (
            select(cases.c.doc, cases.c.updated_at)
            .where(*conditions)
            .order_by(cases.c.reported_at.desc(), cases.c.opened.desc())
            .limit(size)
            .offset(offset)
        )
        rows = await self.views.read(lambda connection: connection.execute(statement).all())
        return [Known(decode_case(doc).state, moment(updated_at)) for doc, updated_at in rows]
