"""Callbacks that wait in the desk's store, and what became of them.

Used by the courier and by the command line. States: waiting, sent, given_up.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from hub_page.desk.store import DeskStore

_AWAY = (0, 502, 503, 504)
"""Last answers that say the hub was not there (0: no connection), not that it did not want the callback."""

_HEAD_START = 2.0
"""Seconds the courier has for a new report before a poll of the hub brings it."""


@dataclass(frozen=True, kw_only=True)
class Callback:
    """One callback. `attempts` were made; the next is due at `due_at` (Unix seconds)."""

    id: str
    ticket: str
    case: str
    body: bytes
    trace: str | None
    due_at: float
    attempts: int


class Outbox:
    """The queue of callbacks in the desk's store."""

    def __init__(self, store: DeskStore) -> None:
        self._store = store

    def chains(self, now: float, *, limit: int = 500) -> list[list[Callback]]:
        """Callbacks by order, in their order: of each what may go out now, up to the first that has to wait."""
        waiting: dict[str, list[Callback]] = {}
        for callback in self._waiting(limit):
            waiting.setdefault(callback.ticket, []).append(callback)
        due = []
        for chain in waiting.values():
            ready = next((place for place, item in enumerate(chain) if item.due_at > now), len(chain))
            if ready:
                due.append(chain[:ready])
        return due

    def missed(self, now: float, *, limit: int) -> list[bytes]:
        """Bodies of the oldest reports the courier has not brought to the hub: it failed, gave up, or has no address to go to."""
        rows = self._store.db.execute(
            "SELECT body FROM outbox WHERE state != 'sent' AND release_at <= ? AND (attempts > 0 OR release_at <= ?)"
            " ORDER BY seq LIMIT ?",
            (now, now - _HEAD_START, limit),
        )
        return [bytes(row["body"]) for row in rows]

    def taken(self, ids: Collection[str]) -> None:
        """The hub has fetched these: the courier needn't send them any more."""
        with self._store.change() as db:
            db.executemany("UPDATE outbox SET state = 'sent' WHERE id = ?", [(id,) for id in ids])

    def next_at(self) -> float | None:
        """When the next callback is due, None when none waits."""
        value: float | None = self._store.db.execute(
            "SELECT MIN(due_at) FROM outbox AS o WHERE state = 'waiting' AND NOT EXISTS"
            " (SELECT 1 FROM outbox AS e WHERE e.ticket = o.ticket AND e.state = 'waiting' AND e.seq < o.seq)"
        ).fetchone()[0]
        return value

    def sent(self, id: str) -> None:
        """The hub took it."""
        self._end(id, "sent")

    def give_up(self, id: str, status: int) -> None:
        """It is not tried again unless somebody asks for it."""
        self._end(id, "given_up", status)

    def put_off(self, id: str, due_at: float, status: int) -> None:
        """It was not taken (HTTP `status`, 0: no connection); the next attempt is at `due_at`."""
        with self._store.change() as db:
            db.execute("UPDATE outbox SET due_at = ?, status = ?, attempts = attempts + 1 WHERE id = ?", (due_at, status, id))

    def hub_is_back(self, now: float) -> int:
        """Make everything due that only waits because the hub was away; returns how many."""
        with self._store.change() as db:
            marks = ",".join("?" * len(_AWAY))
            return db.execute(
                f"UPDATE outbox SET due_at = ? WHERE state = 'waiting' AND due_at > ? AND status IN ({marks})",  # noqa: S608 - marks
                (now, now, *_AWAY),
            ).rowcount

    def resend(self, now: float) -> int:
        """Put everything given up back into the queue; returns how many."""
        with self._store.change() as db:
            return db.execute(
                "UPDATE outbox SET state = 'waiting', attempts = 0, status = NULL, due_at = ? WHERE state = 'given_up'", (now,)
            ).rowcount

    def count(self, state: str = "waiting") -> int:
        """How many callbacks are in that state."""
        return int(self._store.db.execute("SELECT COUNT(*) FROM outbox WHERE state = ?", (state,)).fetchone()[0])

    def _end(self, id: str, state: str, status: int | None = None) -> None:
        with self._store.change() as db:
            db.execute("UPDATE outbox SET state = ?, status = ?, attempts = attempts + 1 WHERE id = ?", (state, status, id))

    def _waiting(self, limit: int) -> list[Callback]:
        rows = self._store.db.execute("SELECT * FROM outbox WHERE state = 'waiting' ORDER BY seq LIMIT ?", (limit,))
        return [_callback(row) for row in rows]


def _callback(row: sqlite3.Row) -> Callback:
    return Callback(
        id=row["id"],
        ticket=row["ticket"],
        case=row["case_id"],
        body=bytes(row["body"]),
        trace=row["trace"],
        due_at=row["due_at"],
        attempts=row["attempts"],
    )
