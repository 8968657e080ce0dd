"""Finds what may be given out: which cases a client may read, and their public events. SQL on the read models; changes nothing.

Cases that came by Open311, or by the settings all that are not sensitive; sensitive ones are listed only for who may read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import ColumnElement, and_, or_, select, true

from hub.model.case.state import Case, Stage
from hub.model.records import ASKS_ITSELF
from hub.settings import Open311Settings
from hub.views import Scope, Views
from hub.views.queries import within_scope
from hub.views.rows import decode_case
from hub.views.schema import cases, micros, moment, sources, timeline

SOURCE = f"{ASKS_ITSELF}open311"
"""The source of cases that came this way."""

OPEN = (Stage.REPORTED, Stage.HELD, Stage.DISPATCHED)
CLOSED = (Stage.RESOLVED, Stage.CLOSED, Stage.VOID, Stage.MERGED)
"""`closed: it has been resolved` (status of the specification); the callback visit comes after."""

PUBLIC_EVENTS = (
    "case.held",
    "assignment.made",
    "assignment.accepted",
    "assignment.progressed",
    "assignment.resolved",
    "clock.suspended",
    "clock.resumed",
    "case.resolved",
    "case.closed",
    "case.reopened",
    "case.voided",
    "case.merged",
)


@dataclass(frozen=True)
class Known:
    """A case as the read models have it. `joined`: it was another's, a report by Open311 was attached to it."""

    case: Case
    updated_at: datetime

    @property
    def ours(self) -> bool:
        """Whether it was reported by Open311 itself."""
        return self.case.source is not None and self.case.source.adapter == SOURCE


@dataclass(frozen=True)
class Happened:
    """One event of a case's story."""

    case: Case
    number: int
    ordinal: int
    at: datetime
    event: str
    body: dict[str, object]
    updated_at: datetime


@dataclass(frozen=True)
class Reader:
    """Who reads: a client by its name in the sources, and what its key may see beyond what everybody may (None: nothing)."""

    client: str
    scope: Scope | None = None


class Published:
    """The cases that may be read."""

    def __init__(self, views: Views, settings: Open311Settings) -> None:
        self._views = views
        self._settings = settings

    def sensitive(self, case: Case) -> bool:
        """Whether text and place of the case are not for everybody."""
        return bool(self._settings.sensitive) and (case.category or "").startswith(self._settings.sensitive)

    async def one(self, id: str) -> Known | None:
        """A case by its id; None when it is none of these."""
        found = await self.several((id,))
        return found[0] if found else None

    async def several(self, ids: tuple[str, ...]) -> list[Known]:
        """Cases by id, in the order asked."""
        conditions = [cases.c.id.in_(ids), self._readable()]
        rows = await self._select(conditions, len(ids), 0)
        order = {id: place for place, id in enumerate(ids)}
        return sorted(rows, key=lambda known: order[known.case.id])

    async def search(
        self,
        reader: Reader,
        *,
        since: datetime,
        until: datetime,
        stages: tuple[Stage, ...],
        services: tuple[str, ...],
        size: int,
        offset: int,
    ) -> list[Known]:
        """Cases reported in a range, newest first."""
        conditions = [self._listed(reader), cases.c.reported_at.between(micros(since), micros(until))]
        if stages:
            conditions.append(cases.c.stage.in_([stage.value for stage in stages]))
        if services:
            conditions.append(cases.c.category.in_(services))
        return await self._select(conditions, size, offset)

    async def happened(self, *, since: datetime, until: datetime, size: int, offset: int) -> list[Happened]:
        """Public events in a range, oldest first."""
        columns = timeline.c
        kinds = or_(*(columns.body.startswith(f'{{"type":"{kind}"', autoescape=True) for kind in PUBLIC_EVENTS))
        statement = (
            select(columns.number, columns.ordinal, columns.at, columns.body, cases.c.doc, cases.c.updated_at)
            .select_from(timeline.join(cases, cases.c.id == columns.matter))
            .where(cases.c.updated_at >= micros(since), columns.at.between(micros(since), micros(until)))
            .where(self._readable(), kinds)
            .order_by(columns.at, columns.sequence, columns.ordinal)
            .limit(size)
            .offset(offset)
        )
        rows = await self._views.read(lambda connection: connection.execute(statement).all())
        found = []
        for number, ordinal, at, body, doc, updated_at in rows:
            fields: dict[str, object] = msgspec.json.decode(body)
            kind = str(fields.pop("type"))
            found.append(Happened(decode_case(doc).state, number, ordinal, moment(at), kind, fields, moment(updated_at)))
        return found

    async def of_reference(self, ref: str) -> str | None:
        """The case a client's own reference became or joined."""
        return await self._views.case_of_source(SOURCE, ref)

    def _readable(self) -> ColumnElement[bool]:
        """What may be asked for by id, by anybody: how it stands is no secret."""
        came: ColumnElement[bool] = cases.c.id.in_(select(sources.c.matter).where(sources.c.adapter == SOURCE))
        return or_(came, self._harmless()) if self._settings.publish == "all" else came

    def _listed(self, reader: Reader) -> ColumnElement[bool]:
        """What is in lists: what is not sensitive, and what the client may read all the same."""
        own = and_(sources.c.adapter == SOURCE, sources.c.ref.startswith(f"{reader.client}/", autoescape=True))
        listed = or_(self._harmless(), cases.c.id.in_(select(sources.c.matter).where(own)))
        if reader.scope is not None:
            listed = or_(listed, and_(true(), *within_scope(reader.scope)))
        return and_(self._readable(), listed)

    def _harmless(self) -> ColumnElement[bool]:
        sensitive = [cases.c.category.startswith(code, autoescape=True) for code in self._settings.sensitive]
        return ~or_(*sensitive) if sensitive else true()

    async def _select(self, conditions: list[ColumnElement[bool]], size: int, offset: int) -> list[Known]:
        statement = (
            select(cases.c.doc, cases.c.updated_at)
            .where(*conditions)
            .order_by(cases.c.reported_at.desc(), cases.c.opened.desc())
            .limit(size)
            .offset(offset)
        )
        rows = await self._views.read(lambda connection: connection.execute(statement).all())
        return [Known(decode_case(doc).state, moment(updated_at)) for doc, updated_at in rows]
