"""`Views`: the read models of cases, answered from SQL. Only the projector writes; here nothing changes but the position.

Works on SQLite (embedded) and PostgreSQL alike. Blocking calls run in threads of its own, so that a slow question holds up neither the
event loop nor others' use of the default threads. Called by the API, report-back (tickets) and the projector.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Table, create_engine, delete, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection

from hub.model.aggregate import Aggregates
from hub.model.case.state import CaseId
from hub.model.records import Source
from hub.views import deliveries, queries
from hub.views.deliveries import DeliveryPage, SeenDelivery
from hub.views.filters import CaseFilter, DeliveryFilter
from hub.views.projection import CASES, Projection
from hub.views.queries import EVERYTHING, Page, Scope, SeenCase, SeenFile, SeenMatter, TimelineEntry
from hub.views.rows import decode_case
from hub.views.schema import (
    SHARED,
    VERSION,
    assignments,
    cases,
    files,
    metadata,
    moment,
    positions,
    shape,
    sources,
    timeline,
)
from hub.views.search import search_for
from hub.views.summary import Summary, summarise

T = TypeVar("T")
S = TypeVar("S")

READERS = 4
"""Questions answered at the same time."""
PROJECTION = "matters"
"""Name of the projector's position."""
MOST_SAME = 100
"""Cases with the same file among which one is looked for that still has it."""
_LOOK_EVERY = 0.05
"""Seconds between looks at the position when another process projects."""


def utc_now() -> datetime:
    """The clock against which limits are late."""
    return datetime.now(UTC)


class Views:
    """The read models behind one SQLAlchemy URL (`sqlite:////data/views.db`, `postgresql+psycopg://…`).

    Makes its tables; those written by another version of the hub are emptied, to be built again from the ledger.
    """

    def __init__(
        self, url: str, *, projections: Sequence[Projection[Any]] = (CASES,), clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.projections = tuple(projections)
        self._aggregates = Aggregates(*(one.aggregate for one in projections))
        kinds = (f"{one.aggregate.name}:{one.version}.{shape(one.table)}" for one in projections)
        self._version = " ".join((f"{VERSION}.{shape(*SHARED)}", *kinds))
        embedded = make_url(url).get_backend_name() == "sqlite"
        options: dict[str, Any] = {"connect_args": {"timeout": 30}} if embedded else {"pool_pre_ping": True}
        self.engine = create_engine(url, pool_size=READERS + 1, max_overflow=1, **options)
        if embedded:
            event.listen(self.engine, "connect", _set_up_sqlite)
        self.search = search_for(self.engine)
        self._clock = clock
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="views-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="views-write")
        self._known = 0
        self._moved = asyncio.Event()

        with self._transaction() as connection:
            self._create(connection)

    def kind_of(self, id: str) -> str:
        """The kind of a matter by its id; raises ValueError."""
        return self._aggregates.of(id).name

    def close(self) -> None:
        """Close connections and threads."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._writer.shutdown(wait=True, cancel_futures=True)
        self.engine.dispose()

    async def case(self, id: str, scope: Scope = EVERYTHING) -> SeenCase | None:
        """One case; None when there is none in the scope."""
        columns = cases.c
        statement = select(columns.doc, columns.opened, columns.updated_at, columns.due_at)
        statement = statement.where(columns.id == id, *queries.within_scope(scope))
        row = await self.read(lambda connection: connection.execute(statement).one_or_none())
        return None if row is None else _seen(*row)

    async def list(self, filter: CaseFilter, scope: Scope = EVERYTHING) -> Page:
        """Cases by filter, a page at a time. Raises InvalidInput for a cursor of another list."""
        statement = queries.listing(filter, scope, self.search, self._clock())
        rows = await self.read(lambda connection: connection.execute(statement).all())
        size = filter.limit
        items = tuple(_seen(doc, opened, updated, due) for opened, updated, due, doc, _ in rows[:size])
        cursor = queries.write_cursor(filter.sort, rows[size - 1].key, rows[size - 1].opened) if len(rows) > size else None
        return Page(items, cursor)

    async def count(self, filter: CaseFilter, scope: Scope = EVERYTHING) -> int:
        """How many cases a filter finds."""
        statement = queries.counting(filter, scope, self.search, self._clock())
        return int(await self.read(lambda connection: connection.execute(statement).scalar_one()))

    async def timeline(self, id: str) -> tuple[TimelineEntry, ...]:
        """The story of a case, oldest first; empty when there is none."""
        columns = timeline.c
        statement = select(
            columns.number,
            columns.ordinal,
            columns.sequence,
            columns.at,
            columns.actor,
            columns.command,
            columns.policy,
            columns.traceparent,
            columns.body,
        )
        statement = statement.where(columns.matter == id).order_by(columns.number, columns.ordinal)
        return tuple(_entry(*row) for row in await self.read(lambda connection: connection.execute(statement).all()))

    async def summary(self, scope: Scope = EVERYTHING) -> Summary:
        """The figures of a scope."""
        now = self._clock()
        return await self.read(lambda connection: summarise(connection, scope, now, _position(connection)))

    async def deliveries(self, filter: DeliveryFilter, scope: Scope = EVERYTHING) -> DeliveryPage:
        """The delivery log by filter, a page at a time. Raises InvalidInput for a cursor of another list."""
        statement = deliveries.listing(filter, scope, self.search, self._clock())
        return deliveries.page_of(filter, await self.read(lambda connection: connection.execute(statement).all()))

    async def delivery(self, case: str, assignment: str, scope: Scope = EVERYTHING) -> SeenDelivery | None:
        """One delivery with all its attempts; None when there is none in the scope."""
        statement = deliveries.one(case, assignment, scope)
        row = await self.read(lambda connection: connection.execute(statement).one_or_none())
        return None if row is None else deliveries.seen(*row)

    async def file(self, sha256: str, scope: Scope = EVERYTHING) -> tuple[SeenFile, ...]:
        """The attachments of cases in the scope that have this content: shared ones first, then the cases' own, oldest first."""
        statement = select(files.c.owner, files.c.name, files.c.media_type).join(cases, cases.c.id == files.c.matter)
        statement = statement.where(files.c.sha256 == sha256, *queries.within_scope(scope))
        statement = statement.order_by(files.c.owner != "", cases.c.opened).limit(MOST_SAME)
        rows = await self.read(lambda connection: connection.execute(statement).all())
        return tuple(SeenFile(*row) for row in rows)

    async def sources_of(self, id: str) -> tuple[Source, ...]:
        """The outside records that became or joined a matter."""
        statement = (
            select(sources.c.adapter, sources.c.ref).where(sources.c.matter == id).order_by(sources.c.adapter, sources.c.ref)
        )
        found = await self.read(lambda connection: connection.execute(statement).all())
        return tuple(Source(adapter=adapter, ref=ref) for adapter, ref in found)

    async def matter(self, projection: Projection[S], id: str, area: str | None = None) -> SeenMatter[S] | None:
        """One matter of any kind, at or below `area`; None when there is none."""
        columns = projection.table.c
        statement = select(columns.doc, columns.updated_at).where(columns.id == id)
        if area is not None:
            statement = statement.where(queries.in_area(columns.area, area))
        row = await self.read(lambda connection: connection.execute(statement).one_or_none())
        return None if row is None else SeenMatter(projection.decode(row[0]), moment(row[1]))

    async def matters(
        self, projection: Projection[S], area: str | None, *, limit: int, before: int | None
    ) -> tuple[SeenMatter[S], ...]:
        """Matters of any kind, newest first, at or below `area`; `before`: opened before that ledger sequence."""
        columns = projection.table.c
        statement = select(columns.doc, columns.updated_at, columns.opened).order_by(columns.opened.desc()).limit(limit)
        if area is not None:
            statement = statement.where(queries.in_area(columns.area, area))
        if before is not None:
            statement = statement.where(columns.opened < before)
        rows = await self.read(lambda connection: connection.execute(statement).all())
        return tuple(SeenMatter(projection.decode(doc), moment(updated), opened) for doc, updated, opened in rows)

    async def case_of_ticket(self, adapter: str, ticket: str) -> tuple[CaseId, str] | None:
        """(case, assignment) of a department's own number; the youngest when a department gave it twice."""
        columns = assignments.c
        statement = select(columns.matter, columns.assignment)
        statement = statement.where(columns.adapter == adapter, columns.ticket == ticket).order_by(columns.made_at.desc())
        row = await self.read(lambda connection: connection.execute(statement.limit(1)).one_or_none())
        return None if row is None else (CaseId(row[0]), row[1])

    async def case_of_source(self, adapter: str, ref: str) -> CaseId | None:
        """The case a system's own matter became or joined."""
        statement = select(sources.c.matter).where(sources.c.adapter == adapter, sources.c.ref == ref)
        found = await self.read(lambda connection: connection.execute(statement).scalar_one_or_none())
        return None if found is None else CaseId(found)

    def position(self) -> int:
        """The ledger sequence up to which the views are built. Blocks: call it from a thread, not from the loop."""
        with self.engine.connect() as connection:
            return _position(connection)

    async def wait_for(self, sequence: int, within: float) -> bool:
        """Wait until the views hold that commit; False when they don't after `within` seconds."""
        clock = asyncio.get_running_loop().time
        end = clock() + within
        while self._known < sequence:
            left = end - clock()
            if left <= 0:
                return False
            moved = self._moved
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK_EVERY)):
                    await moved.wait()
            if self._known < sequence and not moved.is_set():
                self._known = max(self._known, await self.read(_position))
        return True

    def moved_to(self, sequence: int) -> None:
        """The projector tells that a commit is in; wakes those who wait. Called in the event loop."""
        self._known = sequence
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def read(self, question: Callable[[Connection], T]) -> T:
        """Run a question in a reader's thread."""

        def ask() -> T:
            with self.engine.connect() as connection:
                return question(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, ask)

    async def write(self, change: Callable[[Connection], T]) -> T:
        """Run a change in the writer's thread, in one transaction. For the projector only."""

        def make() -> T:
            with self._transaction() as connection:
                return change(connection)

        return await asyncio.get_running_loop().run_in_executor(self._writer, make)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.begin():
            yield connection

    async def reset(self) -> None:
        """Empty everything and go back to the ledger's beginning."""
        await self.write(self._empty)
        self._known = 0

    def _tables(self) -> tuple[Table, ...]:
        """The projections' own tables."""
        return tuple(one.table for one in self.projections)

    def _create(self, connection: Connection) -> None:
        stored = None
        if inspect(connection).has_table(positions.name):
            stored = connection.execute(select(positions.c.version).where(positions.c.name == PROJECTION)).scalar_one_or_none()
        if stored is not None and stored != self._version:
            for table in self._tables():
                table.drop(connection, checkfirst=True)
            metadata.drop_all(connection)
        metadata.create_all(connection)
        for table in self._tables():
            table.create(connection, checkfirst=True)
        self.search.create(connection)
        if stored != self._version:
            self._empty(connection)

    def _empty(self, connection: Connection) -> None:
        for table in (*SHARED, *self._tables()):
            connection.execute(delete(table))
        self.search.empty(connection)
        connection.execute(delete(positions).where(positions.c.name == PROJECTION))
        connection.execute(positions.insert().values(name=PROJECTION, sequence=0, version=self._version))


def _set_up_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """WAL so that readers and the writer don't wait for each other. NORMAL because everything can be built again."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-32000", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _position(connection: Connection) -> int:
    found = connection.execute(select(positions.c.sequence).where(positions.c.name == PROJECTION)).scalar_one_or_none()
    return int(found or 0)


def _seen(doc: str, opened: int, updated_at: int, due_at: int | None) -> SeenCase:
    return SeenCase(decode_case(doc), opened, moment(updated_at), None if due_at is None else moment(due_at))


def _entry(
    number: int,
    ordinal: int,
    sequence: int,
    at: int,
    actor: str,
    command: str,
    policy: int,
    traceparent: str | None,
    body: str,
) -> TimelineEntry:
    fields: dict[str, object] = msgspec.json.decode(body)
    return TimelineEntry(
        number=number,
        ordinal=ordinal,
        sequence=sequence,
        at=moment(at),
        event=str(fields.pop("type")),
        actor=msgspec.json.decode(actor),
        command=command,
        policy=policy,
        traceparent=traceparent,
        body=fields,
    )
