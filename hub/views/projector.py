"""The projector: folds commits into the read models, a thousand in a transaction together with its position.

It resumes exactly where it was, because rows and position are written together. A transaction that does not find its starting position
changes nothing: another process was there first, and this one goes on from there. States no longer in memory are read from the views
themselves, as of the position. A rebuild gives the identical rows. Started by the composition root.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError

from hub.bus.cancellation import raise_if_cancelled
from hub.errors import HubError, LedgerDamaged
from hub.model.aggregate import Commit, Event, Folded, MatterId
from hub.model.assignments.state import Assigned
from hub.views import bulk, rows
from hub.views.bulk import Row
from hub.views.projection import Projection
from hub.views.schema import assignments, attempts, files, micros, positions, sources, timeline
from hub.views.views import PROJECTION, Views

log = structlog.get_logger("hub.views")

MOST = 1_000
"""Commits in one transaction."""
_AHEAD = 4
"""Lists of commits read ahead while a transaction runs."""
_MOST_PAUSE = 10.0
_SOURCE, _FILE = attrgetter("adapter", "ref"), attrgetter("sha256", "matter", "owner")
"""What must not come twice in one statement."""
_MOST_IN_QUESTION = 500
"""Matters asked for in one statement."""

Item = tuple[int, Commit[Any], str]
"""A commit as the ledger gives it: stream sequence, commit, hash."""


class Commits(Protocol):
    """What the projector needs of the ledger."""

    def follow_batches(self, after: int, *, live: bool = True) -> AsyncIterator[list[Item]]:
        """Every commit behind a sequence, in lists; for ever, or to the present end."""
        ...


class Overtaken(HubError):
    """Another process wrote the views in the meantime; nothing was changed here."""

    code = "overtaken"


@dataclass(slots=True)
class _Known:
    """A folded matter and the sequence of its first commit."""

    folded: Folded[Any]
    opened: int


@dataclass(slots=True)
class _Changes:
    """What a list of commits makes of the views."""

    matters: dict[MatterId, _Known] = field(default_factory=dict)
    updated: dict[MatterId, int] = field(default_factory=dict)
    delivered: dict[tuple[MatterId, str], int] = field(default_factory=dict)
    timeline: list[Row] = field(default_factory=list)
    sources: dict[tuple[object, object], Row] = field(default_factory=dict)
    files: dict[tuple[object, ...], Row] = field(default_factory=dict)
    notes: list[tuple[int, str]] = field(default_factory=list)


class Projector:
    """Keeps the views up to the ledger. `cache` is how many folded matters stay in memory."""

    def __init__(self, views: Views, ledger: Commits, *, cache: int = 20_000, most: int = MOST) -> None:
        self._views = views
        self._ledger = ledger
        self._cache = cache
        self._most = most
        self._projections = {one.aggregate.name: one for one in views.projections}
        self._held: OrderedDict[MatterId, _Known] = OrderedDict()

    async def run(self) -> None:
        """Follow the ledger for ever. A database that does not answer is waited for; LedgerDamaged ends it."""
        pause = 0.1
        while True:
            raise_if_cancelled()
            try:
                await self._follow(live=True, progress=None)
                return
            except Overtaken as moved:
                log.info("views go on from another's position", reason=moved.message)
            except DBAPIError as problem:
                log.warning("views not written, trying again", error=str(problem.orig), seconds=pause)
                await asyncio.sleep(pause)
                pause = min(_MOST_PAUSE, pause * 2)
            self._held.clear()

    async def catch_up(self, progress: Callable[[int], None] | None = None) -> int:
        """Fold up to the ledger's present end; returns how many commits that were. `progress` gets the position."""
        return await self._follow(live=False, progress=progress)

    async def rebuild(self, progress: Callable[[int], None] | None = None) -> int:
        """Empty the views and fold the whole ledger again. The result is the same as before. Not while `run` runs."""
        await self._views.reset()
        self._held.clear()
        return await self.catch_up(progress)

    async def _follow(self, *, live: bool, progress: Callable[[int], None] | None) -> int:
        position = await asyncio.to_thread(self._views.position)
        count = 0
        self._views.moved_to(position)
        queue: asyncio.Queue[list[Item] | None] = asyncio.Queue(_AHEAD)
        reader = asyncio.create_task(self._read(position, queue, live=live), name="views reader")
        try:
            while (items := await self._next(queue)) is not None:
                position = await self._write(items, position)
                count += len(items)
                if progress is not None:
                    progress(position)
            await reader
            return count
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    async def _read(self, after: int, queue: asyncio.Queue[list[Item] | None], *, live: bool) -> None:
        """Read ahead; an empty place says that it ended (or failed: the reader's task knows)."""
        try:
            async for batch in self._ledger.follow_batches(after, live=live):
                await queue.put(batch)
        finally:
            task = asyncio.current_task()
            if task is None or not task.cancelling():  # nobody takes from the queue any more after a cancellation
                await queue.put(None)

    async def _next(self, queue: asyncio.Queue[list[Item] | None]) -> list[Item] | None:
        """What waits, at most about `most` commits; None at the end."""
        items = await queue.get()
        if items is None:
            return None
        items = list(items)
        while len(items) < self._most and not queue.empty():
            more = queue.get_nowait()
            if more is None:
                queue.put_nowait(None)
                break
            items.extend(more)
        return items

    async def _write(self, items: Sequence[Item], position: int) -> int:
        """One or more transactions of at most `most` commits; returns the new position. Raises Overtaken, LedgerDamaged."""
        for start in range(0, len(items), self._most):
            piece = items[start : start + self._most]
            before, position = position, piece[-1][0]
            changed = await self._views.write(partial(self._apply, items=piece, before=before))
            for id, known in changed.items():
                self._held[id] = known
                self._held.move_to_end(id)
            while len(self._held) > self._cache:
                self._held.popitem(last=False)
            self._views.moved_to(position)
        return position

    def _apply(self, connection: Connection, items: Sequence[Item], before: int) -> dict[MatterId, _Known]:
        """In the writer's thread: fold, write, move the position. Touches nothing of this object."""
        moved = connection.execute(
            update(positions)
            .where(positions.c.name == PROJECTION, positions.c.sequence == before)
            .values(sequence=items[-1][0])
        )
        if moved.rowcount != 1:
            raise Overtaken(f"the views are not at {before} any more")
        earlier = self._earlier(connection, {(commit.aggregate, commit.id) for _, commit, _ in items})
        changes = self._fold(items, earlier)
        self._store(connection, changes, earlier)
        self._views.search.add(connection, changes.notes)
        return changes.matters

    def _projection(self, kind: str) -> Projection[Any]:
        found = self._projections.get(kind)
        if found is None:
            raise LedgerDamaged(f"the ledger holds a kind of matter these views do not know: {kind!r}; a newer hub wrote it")
        return found

    def _earlier(self, connection: Connection, wanted: set[tuple[str, MatterId]]) -> dict[MatterId, _Known]:
        """The states of matters before this transaction: from memory, else from the views."""
        found: dict[MatterId, _Known] = {}
        missing: dict[str, list[MatterId]] = {}
        for kind, id in wanted:
            known = self._held.get(id)
            if known is not None:
                found[id] = known
            else:
                missing.setdefault(kind, []).append(id)
        for kind, ids in missing.items():
            projection = self._projection(kind)
            columns = projection.table.c
            for start in range(0, len(ids), _MOST_IN_QUESTION):
                chosen = columns.id.in_(ids[start : start + _MOST_IN_QUESTION])
                for doc, opened in connection.execute(select(columns.doc, columns.opened).where(chosen)):
                    folded = projection.decode(doc)
                    found[folded.id] = _Known(folded, opened)
        return found

    def _fold(self, items: Sequence[Item], earlier: dict[MatterId, _Known]) -> _Changes:
        """Fold commits over earlier states. Raises LedgerDamaged when a commit does not follow its matter's last one."""
        changes = _Changes()
        for sequence, commit, digest in items:
            projection = self._projection(commit.aggregate)
            known = changes.matters.get(commit.id) or earlier.get(commit.id)
            before = None if known is None else known.folded
            if commit.number != (1 if before is None else before.number + 1):
                raise LedgerDamaged(
                    f"commit {commit.number} of {commit.aggregate} {commit.id} (sequence {sequence}) does not follow "
                    f"commit {0 if before is None else before.number}; if the ledger verifies, rebuild the views",
                    subject=commit.id,
                )
            opened = sequence if known is None else known.opened
            folded = projection.aggregate.fold(before, commit, digest=digest, sequence=sequence)
            changes.matters[commit.id] = _Known(folded, opened)
            at = micros(commit.at)
            changes.updated[commit.id] = at
            changes.timeline.extend(rows.timeline_rows(commit, sequence, at))
            for event in commit.events:
                _note(changes, projection, commit, event, opened, at)
        return changes

    def _store(self, connection: Connection, changes: _Changes, earlier: dict[MatterId, _Known]) -> None:
        assignment_rows: list[Row] = []
        attempt_rows: list[Row] = []
        own_rows: dict[str, list[Row]] = {}
        for id, known in changes.matters.items():
            kind = self._views.kind_of(id)
            projection = self._projection(kind)
            own_rows.setdefault(kind, []).append(projection.row(known.folded, known.opened, changes.updated[id]))
            if projection.holds_assignments:
                before = earlier.get(id)
                matter: Assigned = known.folded.state
                for item in matter.assignments:
                    old = None if before is None else before.folded.state.assignment(item.id)
                    assignment_rows.append(rows.assignment_row(matter, item, changes.delivered.get((id, item.id))))
                    attempt_rows.extend(rows.attempt_rows(matter, item, old))
        for kind, found in own_rows.items():
            bulk.upsert(connection, self._projection(kind).table, found)
        bulk.upsert(connection, assignments, assignment_rows, keep=frozenset({"delivered_at"}))
        bulk.upsert(connection, attempts, attempt_rows)
        bulk.insert(connection, timeline, changes.timeline)
        bulk.upsert(connection, sources, changes.sources.values())
        bulk.upsert(connection, files, changes.files.values())


def _note(changes: _Changes, projection: Projection[Any], commit: Commit[Any], event: Event, opened: int, at: int) -> None:
    """What a single event says beyond the state."""
    if (words := projection.words(commit, event)) is not None:
        changes.notes.append((opened, words))
    if (assignment := rows.delivered_assignment(event)) is not None:
        changes.delivered.setdefault((commit.id, assignment), at)
    if (source := projection.sources(commit, event)) is not None:
        changes.sources[_SOURCE(source)] = source
    for file in projection.files(commit, event):
        changes.files[_FILE(file)] = file
