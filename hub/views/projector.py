"""The projector: folds commits into the read models, a thousand in a transaction together with its position.

Resumes exactly where it was: rows and position are written together, and a transaction that does not find the position it
started from changes nothing (another process was there first; this one goes on from there). States it no longer holds in memory
come from the views themselves, as of the position. A rebuild gives the identical rows. Started by the composition root.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError

from hub.cancellation import raise_if_cancelled
from hub.errors import HubError, LedgerDamaged
from hub.model.cases import Case, CaseId
from hub.model.events import AnyEvent, Commit
from hub.model.lifecycle import fold
from hub.views import bulk, rows
from hub.views.bulk import Row
from hub.views.schema import assignments, attempts, cases, dead_letters, files, micros, positions, sources, timeline
from hub.views.views import PROJECTION, Views

log = structlog.get_logger("hub.views")

MOST = 1_000
"""Commits in one transaction."""
_AHEAD = 4
"""Lists of commits read ahead while a transaction runs."""
_MOST_PAUSE = 10.0
_MOST_IN_QUESTION = 500
"""Cases asked for in one statement."""

Item = tuple[int, Commit, str]
"""A commit as the ledger gives it: stream sequence, commit, hash."""


class Commits(Protocol):
    """What the projector needs of the ledger."""

    def follow_batches(self, after: int, *, live: bool = True) -> AsyncIterator[list[Item]]:
        """Every case commit behind a sequence, in lists; for ever, or to the present end."""
        ...


class Overtaken(HubError):
    """Another process wrote the views in the meantime; nothing was changed here."""

    code = "overtaken"


@dataclass(slots=True)
class _Known:
    """A folded case and the sequence of its first commit."""

    case: Case
    opened: int


@dataclass(slots=True)
class _Changes:
    """What a list of commits makes of the views."""

    cases: dict[CaseId, _Known] = field(default_factory=dict)
    updated: dict[CaseId, int] = field(default_factory=dict)
    delivered: dict[tuple[CaseId, str], int] = field(default_factory=dict)
    timeline: list[Row] = field(default_factory=list)
    sources: dict[tuple[object, object], Row] = field(default_factory=dict)
    files: dict[tuple[object, object], Row] = field(default_factory=dict)
    letters: dict[tuple[object, object], Row] = field(default_factory=dict)
    notes: list[tuple[int, str]] = field(default_factory=list)


class Projector:
    """Keeps the views up to the ledger. `cache` is how many folded cases stay in memory."""

    def __init__(self, views: Views, ledger: Commits, *, cache: int = 20_000, most: int = MOST) -> None:
        self._views = views
        self._ledger = ledger
        self._cache = cache
        self._most = most
        self._held: OrderedDict[CaseId, _Known] = OrderedDict()

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
        """Empty the views and fold the whole ledger again; gives what was there before. Not while `run` runs."""
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
            for case, known in changed.items():
                self._held[case] = known
                self._held.move_to_end(case)
            while len(self._held) > self._cache:
                self._held.popitem(last=False)
            self._views.moved_to(position)
        return position

    def _apply(self, connection: Connection, items: Sequence[Item], before: int) -> dict[CaseId, _Known]:
        """In the writer's thread: fold, write, move the position. Touches nothing of this object."""
        moved = connection.execute(
            update(positions)
            .where(positions.c.name == PROJECTION, positions.c.sequence == before)
            .values(sequence=items[-1][0])
        )
        if moved.rowcount != 1:
            raise Overtaken(f"the views are not at {before} any more")
        earlier = self._earlier(connection, {commit.case for _, commit, _ in items})
        changes = _fold(items, earlier)
        _store(connection, changes, earlier)
        self._views.search.add(connection, changes.notes)
        return changes.cases

    def _earlier(self, connection: Connection, wanted: set[CaseId]) -> dict[CaseId, _Known]:
        """The states of cases before this transaction: from memory, else from the views."""
        found = {case: known for case in wanted if (known := self._held.get(case)) is not None}
        missing = sorted(wanted - found.keys())
        for start in range(0, len(missing), _MOST_IN_QUESTION):
            chosen = cases.c.id.in_(missing[start : start + _MOST_IN_QUESTION])
            for doc, opened in connection.execute(select(cases.c.doc, cases.c.opened).where(chosen)):
                case = rows.decode_case(doc)
                found[case.id] = _Known(case, opened)
        return found


def _fold(items: Sequence[Item], earlier: dict[CaseId, _Known]) -> _Changes:
    """Fold commits over earlier states. Raises LedgerDamaged when a commit does not follow its case's last one."""
    changes = _Changes()
    for sequence, commit, digest in items:
        known = changes.cases.get(commit.case) or earlier.get(commit.case)
        before = None if known is None else known.case
        if commit.number != (1 if before is None else before.number + 1):
            raise LedgerDamaged(
                f"commit {commit.number} of case {commit.case} (sequence {sequence}) does not follow "
                f"commit {0 if before is None else before.number}; if the ledger verifies, rebuild the views",
                subject=commit.case,
            )
        opened = sequence if known is None else known.opened
        changes.cases[commit.case] = _Known(fold(before, commit, digest=digest, sequence=sequence), opened)
        at = micros(commit.at)
        changes.updated[commit.case] = at
        changes.timeline.extend(rows.timeline_rows(commit, sequence, at))
        for event in commit.events:
            _note(changes, commit, event, opened, at)
    return changes


def _note(changes: _Changes, commit: Commit, event: AnyEvent, opened: int, at: int) -> None:
    """What a single event says beyond the state."""
    if (words := rows.searchable(commit, event)) is not None:
        changes.notes.append((opened, words))
    if (assignment := rows.delivered_assignment(event)) is not None:
        changes.delivered.setdefault((commit.case, assignment), at)
    if (source := rows.source_row(commit, event)) is not None:
        changes.sources[source[0], source[1]] = source
    for file in rows.file_rows(commit, event):
        changes.files[file[0], file[1]] = file
    if (letter := rows.letter_row(commit, event, at)) is not None:
        changes.letters[letter[0], letter[1]] = letter


def _store(connection: Connection, changes: _Changes, earlier: dict[CaseId, _Known]) -> None:
    assignment_rows: list[Row] = []
    attempt_rows: list[Row] = []
    case_rows: list[Row] = []
    for id, known in changes.cases.items():
        case = known.case
        before = earlier.get(id)
        case_rows.append(rows.case_row(case, known.opened, changes.updated[id]))
        for item in case.assignments:
            old = None if before is None else before.case.assignment(item.id)
            assignment_rows.append(rows.assignment_row(case, item, changes.delivered.get((id, item.id))))
            attempt_rows.extend(rows.attempt_rows(case, item, old))
    bulk.upsert(connection, cases, case_rows)
    bulk.upsert(connection, assignments, assignment_rows, keep=frozenset({"delivered_at"}))
    bulk.upsert(connection, attempts, attempt_rows)
    bulk.insert(connection, timeline, changes.timeline)
    bulk.upsert(connection, sources, changes.sources.values())
    bulk.upsert(connection, files, changes.files.values())
    bulk.upsert(connection, dead_letters, changes.letters.values())
