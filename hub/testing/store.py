"""State of a simulator on disk: tickets, due steps of its people, a feed for polls, an outbox of callbacks.

SQLite in WAL mode with synchronous=FULL: an answer given after `await store.durable()` survives SIGKILL and power loss. Changes made in one
turn of the event loop are flushed together (group commit). Called by the simulators only.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tickets (
    ticket TEXT PRIMARY KEY, key TEXT UNIQUE, unit TEXT NOT NULL, state TEXT NOT NULL,
    created_at REAL NOT NULL, trace TEXT, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT, due_at REAL NOT NULL, kind TEXT NOT NULL, ticket TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS steps_due ON steps (due_at);
CREATE INDEX IF NOT EXISTS steps_ticket ON steps (ticket);
CREATE TABLE IF NOT EXISTS feed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL, ticket TEXT NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, due_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    path TEXT NOT NULL, media_type TEXT NOT NULL, body BLOB NOT NULL, trace TEXT, case_id TEXT, done INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS outbox_open ON outbox (done, seq);
CREATE TABLE IF NOT EXISTS files (
    id TEXT PRIMARY KEY, ticket TEXT NOT NULL, name TEXT NOT NULL, media_type TEXT NOT NULL, content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """One record of the department's system. `key` is the caller's reference, `body` whatever the simulator keeps."""

    ticket: str
    key: str | None
    unit: str
    state: str
    created_at: float
    trace: str | None
    body: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something a person of the department does at `due_at` (Unix seconds)."""

    id: int
    due_at: float
    kind: str
    ticket: str
    body: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FeedItem:
    """One entry of the change feed that polls read; `seq` grows and is never reused."""

    seq: int
    at: float
    kind: str
    ticket: str
    body: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A callback that waits to be sent. `id` stays the same over retries."""

    seq: int
    id: str
    due_at: float
    attempts: int
    path: str
    media_type: str
    body: bytes
    trace: str | None
    case: str | None
    held: bool
    """Put back on purpose: those after it may overtake."""


@dataclass(frozen=True, kw_only=True)
class KeptFile:
    """A file somebody attached to a ticket."""

    id: str
    ticket: str
    name: str
    media_type: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Its checksum, in hex."""
        return hashlib.sha256(self.content).hexdigest()


R = TypeVar("R", Ticket, Step, FeedItem)


class SimulatorStore:
    """SQLite state of one simulator; used from one event loop only.

    Statements run at once in an open transaction; `durable` waits until they are on disk.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(directory / "simulator.db", isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.executescript(_SCHEMA)
        self._flush: asyncio.Future[None] | None = None

    def close(self) -> None:
        """Flush what is open and close the file."""
        if self.db.in_transaction:
            self.db.execute("COMMIT")
        self.db.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Several statements that happen wholly or not at all; must not await inside."""
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("SAVEPOINT change")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK TO change")
            self.db.execute("RELEASE change")
            raise
        self.db.execute("RELEASE change")

    async def durable(self) -> None:
        """Return when everything changed so far is on disk; callers of the same loop turn share one flush."""
        if not self.db.in_transaction:
            return
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.create_future()
            loop.call_soon(self._commit)
        await asyncio.shield(self._flush)

    def _commit(self) -> None:
        flush, self._flush = self._flush, None
        error: sqlite3.Error | None = None
        try:
            if self.db.in_transaction:
                self.db.execute("COMMIT")
        except sqlite3.Error as problem:
            error = problem
        if flush is not None and not flush.done():
            if error is not None:
                flush.set_exception(error)
            else:
                flush.set_result(None)

    # tickets

    def add_ticket(
        self, ticket: str, *, key: str | None, unit: str, state: str, body: Mapping[str, Any], trace: str | None = None
    ) -> Ticket:
        """Store a new ticket; raises sqlite3.IntegrityError when number or key exist."""
        created_at = time.time()
        with self.change() as db:
            db.execute(
                "INSERT INTO tickets VALUES (?, ?, ?, ?, ?, ?, ?)",
                (ticket, key, unit, state, created_at, trace, json.dumps(body, ensure_ascii=False)),
            )
        return Ticket(ticket=ticket, key=key, unit=unit, state=state, created_at=created_at, trace=trace, body=dict(body))

    def ticket(self, ticket: str) -> Ticket | None:
        """The ticket with this number, or None."""
        return self._one_ticket("ticket", ticket)

    def ticket_of_key(self, key: str) -> Ticket | None:
        """The ticket filed under the caller's reference, or None."""
        return self._one_ticket("key", key)

    def tickets(self) -> list[Ticket]:
        """All tickets, oldest first."""
        return [_read(Ticket, row) for row in self.db.execute("SELECT * FROM tickets ORDER BY created_at, ticket")]

    def set_ticket(self, ticket: str, *, state: str | None = None, body: Mapping[str, Any] | None = None) -> None:
        """Change state and/or body of a ticket."""
        with self.change() as db:
            if state is not None:
                db.execute("UPDATE tickets SET state = ? WHERE ticket = ?", (state, ticket))
            if body is not None:
                db.execute("UPDATE tickets SET body = ? WHERE ticket = ?", (json.dumps(body, ensure_ascii=False), ticket))

    def _one_ticket(self, column: str, value: str) -> Ticket | None:
        row = self.db.execute(f"SELECT * FROM tickets WHERE {column} = ?", (value,)).fetchone()  # noqa: S608 - own column names
        return None if row is None else _read(Ticket, row)

    # steps of people

    def add_step(self, due_at: float, kind: str, ticket: str, body: Mapping[str, Any] | None = None) -> None:
        """Plan a step at `due_at` (Unix seconds)."""
        with self.change() as db:
            db.execute(
                "INSERT INTO steps (due_at, kind, ticket, body) VALUES (?, ?, ?, ?)",
                (due_at, kind, ticket, json.dumps(body or {}, ensure_ascii=False)),
            )

    def due_steps(self, now: float, limit: int = 200) -> list[Step]:
        """Steps due by `now`, earliest first."""
        rows = self.db.execute("SELECT * FROM steps WHERE due_at <= ? ORDER BY due_at, id LIMIT ?", (now, limit))
        return [_read(Step, row) for row in rows]

    def next_step_at(self) -> float | None:
        """When the next step is due, or None."""
        value: float | None = self.db.execute("SELECT MIN(due_at) FROM steps").fetchone()[0]
        return value

    def take_step(self, step: int) -> bool:
        """Remove a step about to be done; False when it was cancelled meanwhile."""
        with self.change() as db:
            return db.execute("DELETE FROM steps WHERE id = ?", (step,)).rowcount == 1

    def cancel_steps(self, ticket: str) -> None:
        """Forget every step still planned for a ticket."""
        with self.change() as db:
            db.execute("DELETE FROM steps WHERE ticket = ?", (ticket,))

    # feed for polls

    def feed(self, kind: str, ticket: str, body: Mapping[str, Any]) -> int:
        """Append to the change feed; returns its sequence number."""
        with self.change() as db:
            cursor = db.execute(
                "INSERT INTO feed (at, kind, ticket, body) VALUES (?, ?, ?, ?)",
                (time.time(), kind, ticket, json.dumps(body, ensure_ascii=False)),
            )
            if cursor.lastrowid is None:
                raise sqlite3.DatabaseError("the feed gave no sequence number")
            return cursor.lastrowid

    def feed_since(self, seq: int, limit: int = 100) -> list[FeedItem]:
        """Entries after `seq`, oldest first, at most `limit`."""
        rows = self.db.execute("SELECT * FROM feed WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
        return [_read(FeedItem, row) for row in rows]

    # files

    def add_file(self, ticket: str, *, name: str, media_type: str, content: bytes) -> KeptFile:
        """Keep a file of a ticket; its id is drawn from ticket, name and content."""
        id = hashlib.sha256(b"\0".join((ticket.encode(), name.encode(), content))).hexdigest()[:24]
        with self.change() as db:
            db.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, ?)", (id, ticket, name, media_type, content))
        return KeptFile(id=id, ticket=ticket, name=name, media_type=media_type, content=content)

    def file(self, id: str) -> KeptFile | None:
        """The file with this id, or None."""
        row = self.db.execute("SELECT * FROM files WHERE id = ?", (id,)).fetchone()
        return None if row is None else KeptFile(**dict(row))

    def files(self) -> list[KeptFile]:
        """All files."""
        return [KeptFile(**dict(row)) for row in self.db.execute("SELECT * FROM files ORDER BY rowid")]

    # outbox of callbacks

    def post(
        self, id: str, *, path: str, body: bytes, media_type: str, trace: str | None = None, case: str | None = None
    ) -> None:
        """Queue a callback; the same id is queued once."""
        with self.change() as db:
            db.execute(
                "INSERT OR IGNORE INTO outbox (id, due_at, path, media_type, body, trace, case_id) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (id, time.time(), path, media_type, body, trace, case),
            )

    def outgoing(self, limit: int = 500) -> list[Outgoing]:
        """Callbacks not yet taken by the receiver, in the order they were queued."""
        columns = 'seq, id, due_at, attempts, path, media_type, body, trace, case_id AS "case", held'
        rows = self.db.execute(f"SELECT {columns} FROM outbox WHERE done = 0 ORDER BY seq LIMIT ?", (limit,))  # noqa: S608 - constants
        return [Outgoing(**dict(row)) for row in rows]

    def sent(self, id: str) -> None:
        """The receiver confirmed this callback."""
        with self.change() as db:
            db.execute("UPDATE outbox SET done = 1, attempts = attempts + 1 WHERE id = ?", (id,))

    def resend(self, id: str, due_at: float) -> None:
        """The receiver did not confirm; try again at `due_at`."""
        with self.change() as db:
            db.execute("UPDATE outbox SET due_at = ?, attempts = attempts + 1 WHERE id = ?", (due_at, id))

    def hold(self, id: str, due_at: float) -> None:
        """Let later callbacks overtake this one; it goes out at `due_at`."""
        with self.change() as db:
            db.execute("UPDATE outbox SET due_at = ?, held = 1 WHERE id = ?", (due_at, id))

    def unsent(self) -> int:
        """How many callbacks wait."""
        return int(self.db.execute("SELECT COUNT(*) FROM outbox WHERE done = 0").fetchone()[0])

    # small values

    def note(self, name: str) -> str | None:
        """A small named value, or None."""
        row = self.db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row["value"])

    def set_note(self, name: str, value: str) -> None:
        """Keep a small named value."""
        with self.change() as db:
            db.execute("INSERT INTO notes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value))

    def count(self, name: str) -> int:
        """The next number of a named counter, from 1."""
        number = int(self.note(f"count.{name}") or "0") + 1
        self.set_note(f"count.{name}", str(number))
        return number


def iso(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _read(kind: type[R], row: sqlite3.Row) -> R:
    """What a row holds; its column `body` is JSON."""
    return kind(**{**dict(row), "body": json.loads(row["body"])})
