"""The memory of an adapter elsewhere: its work and the outcomes, answers not stored yet, cursors, the plugin's own store.

SQLite, synced at every commit. An outcome and its answer are one transaction, so that a kill at any point leaves both or neither. Owned by
the runner. Calls block, so they are made in a thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from hub.errors import ConfigError

T = TypeVar("T")

KEPT_SECONDS = 90 * 86_400
"""How long ended deliveries and effects are remembered."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    key TEXT PRIMARY KEY, order_id TEXT NOT NULL, attempt INTEGER NOT NULL, tries INTEGER NOT NULL, state TEXT NOT NULL,
    ticket TEXT, first_at REAL NOT NULL, changed_at REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS effects (order_id TEXT PRIMARY KEY, at REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (kind, id)
) STRICT;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS store (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""


class State(StrEnum):
    """How a delivery stands here."""

    BEGUN = "begun"
    """Sent, and nothing known: the department may have it."""
    UNKNOWN = "unknown"
    """The attempt ended without an answer: the department may have it."""
    FAILED = "failed"
    """The department does not have it."""
    FILED = "filed"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"
    DEAD = "dead"
    RECALLED = "recalled"


ENDED = (State.FILED, State.REFUSED, State.UNCERTAIN, State.DEAD, State.RECALLED)
IN_DOUBT = (State.BEGUN, State.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One delivery."""

    key: str
    order: str
    attempt: int
    tries: int
    """Attempts spent under this order."""
    state: State
    first_at: datetime
    ticket: str | None = None


@dataclass(frozen=True, kw_only=True)
class Out:
    """An answer that the server has not stored yet."""

    kind: str
    id: str
    body: bytes
    number: int = 0


class Journal:
    """The journal of one adapter instance. Refuses a second process on the same file."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=2.0)
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            self._db.execute("DELETE FROM effects WHERE at < ?", (_now() - KEPT_SECONDS,))
            self._db.execute(
                f"DELETE FROM deliveries WHERE changed_at < ? AND state IN ({', '.join('?' * len(ENDED))})",  # noqa: S608 - marks
                (_now() - KEPT_SECONDS, *ENDED),
            )
        except sqlite3.Error as problem:
            raise ConfigError(
                f"the journal can't be used ({problem}); does another process run on it?", file=str(file)
            ) from problem

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    async def row(self, key: str) -> Row | None:
        """The journal's record of a delivery."""

        def read(db: sqlite3.Connection) -> Row | None:
            found = db.execute(
                "SELECT key, order_id, attempt, tries, state, first_at, ticket FROM deliveries WHERE key = ?", (key,)
            ).fetchone()
            if found is None:
                return None
            return Row(
                key=found[0],
                order=found[1],
                attempt=found[2],
                tries=found[3],
                state=State(found[4]),
                first_at=datetime.fromtimestamp(found[5], UTC),
                ticket=found[6],
            )

        return await self._do(read)

    async def keep(self, row: Row, reports: Sequence[Out] = ()) -> None:
        """Store the state of a delivery, together with the answers about it."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (row.key, row.order, row.attempt, row.tries, row.state, row.ticket, row.first_at.timestamp(), _now()),
            )
            _post(db, reports)

        await self._do(write)

    async def effect_done(self, order: str) -> bool:
        """Whether an effect was carried out already."""
        found = await self._do(lambda db: db.execute("SELECT 1 FROM effects WHERE order_id = ?", (order,)).fetchone())
        return found is not None

    async def end_effect(self, order: str, reports: Sequence[Out]) -> None:
        """An effect is done or given up."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO effects VALUES (?, ?)", (order, _now()))
            _post(db, reports)

        await self._do(write)

    async def post(self, reports: Sequence[Out], *, cursor: tuple[str, str] | None = None) -> None:
        """Keep answers until the server has stored them; with the cursor (name, value) of the poll that brought them."""

        def write(db: sqlite3.Connection) -> None:
            _post(db, reports)
            if cursor is not None:
                db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (cursor[0], cursor[1].encode()))

        await self._do(write)

    async def unsent(self, most: int) -> list[Out]:
        """The oldest waiting answers."""
        rows = await self._do(
            lambda db: db.execute("SELECT kind, id, body, number FROM outbox ORDER BY number LIMIT ?", (most,)).fetchall()
        )
        return [Out(kind=kind, id=id, body=body, number=number) for kind, id, body, number in rows]

    async def waiting(self) -> int:
        """The number of waiting answers."""
        found = await self._do(lambda db: db.execute("SELECT count(*) FROM outbox").fetchone())
        return int(found[0])

    async def sent(self, report: Out) -> None:
        """The server has it."""
        await self._do(lambda db: db.execute("DELETE FROM outbox WHERE number = ?", (report.number,)))

    async def fact(self, name: str) -> bytes | None:
        """A remembered value."""
        found = await self._do(lambda db: db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone())
        return None if found is None else bytes(found[0])

    async def remember(self, name: str, value: bytes) -> None:
        """Remember a value."""
        await self._do(lambda db: db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value)))

    # --- the plugin's store (hub.contract.AdapterStore) ---

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        found = await self._do(lambda db: db.execute("SELECT value FROM store WHERE key = ?", (key,)).fetchone())
        return None if found is None else bytes(found[0])

    async def put(self, key: str, value: bytes) -> None:
        """Store; durable when it returns."""
        await self._do(lambda db: db.execute("INSERT OR REPLACE INTO store VALUES (?, ?)", (key, value)))

    async def delete(self, key: str) -> None:
        """Forget; no error when absent."""
        await self._do(lambda db: db.execute("DELETE FROM store WHERE key = ?", (key,)))

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._within, work)

    def _within(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                found = work(self._db)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            return found


def _post(db: sqlite3.Connection, reports: Sequence[Out]) -> None:
    with closing(db.cursor()) as cursor:
        cursor.executemany(
            "INSERT OR IGNORE INTO outbox (kind, id, body) VALUES (?, ?, ?)", [(out.kind, out.id, out.body) for out in reports]
        )


def _now() -> float:
    return datetime.now(UTC).timestamp()
