"""State of the desk in one SQLite file: teams, orders, photos, and the outbox of reports.

Every method is one transaction, on disk when it returns (WAL, synchronous=FULL), so nothing answered is lost to a crash.
Used from one event loop; a second process (the command line) may write beside it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from hub_page.desk.images import CheckedImage
from hub_page.desk.orders import LogLine, Order, OrderState, Photo, Step, after
from hub_page.messages import MOST_OF_PHOTOS, MOST_PHOTOS, DeskEvent, NewOrder, PhotoNote, Team, TeamStanding

_RANK = {"urgent": 0, "major": 1, "ordinary": 2, "minor": 3}


class KeyReused(Exception):
    """The idempotency key came before with other content."""


class TeamClosed(Exception):
    """The team takes no orders any more."""


class StepRefused(Exception):
    """The step may not be done now: the order has moved on (or the page was an old one)."""


class TooManyPhotos(Exception):
    """The report has as many photos, or as many bytes of them, as one may have."""


class DeskStore:
    """The desk's state.

    `clock` gives Unix seconds, `prefix` is what order numbers start with, `undo_for` how many seconds 办结 can be undone.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float], prefix: str = "GD", undo_for: float = 0.0) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.clock = clock
        self.undo_for = undo_for
        self._prefix = prefix
        self.posted: Callable[[], None] = lambda: None
        """Called when a callback was queued; the courier's `wake` where there is one."""
        self.db = sqlite3.connect(directory / "desk.db", isolation_level=None, timeout=5)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self._take_over_former_tables()
        self.db.executescript(files("hub_page.desk").joinpath("schema.sql").read_text("utf-8"))

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction; must not await inside."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def _take_over_former_tables(self) -> None:
        """A directory of the property desk before version 0.2 had other names and no undo."""
        with self.change() as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'companies'").fetchone() is None:
                return
            db.execute("ALTER TABLE companies RENAME TO teams")
            db.execute("ALTER TABLE orders RENAME COLUMN company TO team")
            db.execute("DROP INDEX IF EXISTS orders_of_company")
            db.execute("ALTER TABLE outbox ADD COLUMN release_at REAL NOT NULL DEFAULT 0")

    def secret_note(self, name: str) -> str:
        """A random secret of the desk, made when first asked for."""
        with self.change() as db:
            db.execute("INSERT OR IGNORE INTO notes VALUES (?, ?)", (name, secrets.token_hex(32)))
            return str(db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()["value"])

    # teams

    def put_team(self, team: Team) -> None:
        """Know a team, under its newest name."""
        row = self.db.execute("SELECT name FROM teams WHERE id = ?", (team.id,)).fetchone()
        if row is None or row["name"] != team.name:
            with self.change() as db:
                db.execute(
                    "INSERT INTO teams (id, name) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                    (team.id, team.name),
                )

    def team(self, id: str) -> tuple[Team, int] | None:
        """A team and the generation of its link; None when unknown or closed."""
        row = self.db.execute("SELECT * FROM teams WHERE id = ? AND closed = 0", (id,)).fetchone()
        return None if row is None else (Team(id=row["id"], name=row["name"]), int(row["generation"]))

    def teams(self) -> list[tuple[Team, int]]:
        """Every team that is not closed, by name, with the generation of its link."""
        rows = self.db.execute("SELECT * FROM teams WHERE closed = 0 ORDER BY name")
        return [(Team(id=row["id"], name=row["name"]), int(row["generation"])) for row in rows]

    def all_teams(self) -> list[TeamStanding]:
        """Every team, closed ones too, by code."""
        rows = self.db.execute("SELECT id, name, closed FROM teams ORDER BY id")
        return [TeamStanding(id=row["id"], name=row["name"], closed=bool(row["closed"])) for row in rows]

    def renew_link(self, id: str) -> bool:
        """Make the team's link worthless, so that a new one has to be handed out; False when it is unknown."""
        with self.change() as db:
            return db.execute("UPDATE teams SET generation = generation + 1 WHERE id = ?", (id,)).rowcount == 1

    def set_closed(self, id: str, closed: bool) -> bool:
        """Close a team (its link is dead, new orders are refused) or open it again; False when it is unknown."""
        with self.change() as db:
            return db.execute("UPDATE teams SET closed = ? WHERE id = ?", (int(closed), id)).rowcount == 1

    # the hub's side

    def file(self, key: str, order: NewOrder, *, trace: str | None) -> tuple[Order, bool]:
        """Store an order; (order, whether it is new). Raises KeyReused, TeamClosed."""
        body = order.model_dump(mode="json")
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        row = self.db.execute("SELECT * FROM orders WHERE key = ?", (key,)).fetchone()
        if row is not None:
            if row["digest"] != digest:
                raise KeyReused(key)
            return _order(row), False
        self.put_team(order.team)
        if self.team(order.team.id) is None:
            raise TeamClosed(order.team.id)
        due_at = order.accept_by or order.finish_by
        now = self.clock()
        with self.change() as db:
            number = db.execute("SELECT COALESCE(MAX(seq), 0) + 1 FROM orders").fetchone()[0]
            ticket = f"{self._prefix}{number:08d}"
            db.execute(
                "INSERT INTO orders (ticket, key, digest, team, state, open, rank, due_at, created_at, changed_at, trace, body)"
                " VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)",
                (
                    *(ticket, key, digest, order.team.id, OrderState.RECEIVED.value, _RANK[order.severity]),
                    *(due_at.timestamp() if due_at else None, now, now, trace, json.dumps(body, ensure_ascii=False)),
                ),
            )
            self._log(ticket, now, "received", None)
        filed = self.order(ticket)
        assert filed is not None, "just stored"
        return filed, True

    def order(self, ticket: str) -> Order | None:
        """The order with this number, or None."""
        row = self.db.execute("SELECT * FROM orders WHERE ticket = ?", (ticket,)).fetchone()
        return None if row is None else _order(row)

    def order_of_key(self, key: str) -> Order | None:
        """The order filed under the hub's reference, or None."""
        row = self.db.execute("SELECT * FROM orders WHERE key = ?", (key,)).fetchone()
        return None if row is None else _order(row)

    def orders_after(self, place: int, *, limit: int) -> list[tuple[int, Order]]:
        """(place, order) of all orders behind a place, in the order they came."""
        rows = self.db.execute("SELECT * FROM orders WHERE seq > ? ORDER BY seq LIMIT ?", (place, limit))
        return [(int(row["seq"]), _order(row)) for row in rows]

    def recall(self, ticket: str, reason: str) -> None:
        """Take an open order back; raises StepRefused when it is resolved. What was returned stays returned."""
        with self.change():
            order = self._now(ticket)
            if order.state is OrderState.RESOLVED:
                raise StepRefused(ticket)
            if order.state.open:
                now = self.clock()
                self._set_state(order, OrderState.RECALLED, now, version=order.version + 1)
                self._log(ticket, now, "recalled", reason)

    def urge(self, ticket: str, message: str) -> None:
        """Mark an open order as urged; raises StepRefused when it is over."""
        with self.change() as db:
            if not self._now(ticket).state.open:
                raise StepRefused(ticket)
            db.execute("UPDATE orders SET urged = urged + 1, urged_note = ? WHERE ticket = ?", (message, ticket))
            self._log(ticket, self.clock(), "urged", message)

    # the person's side

    def open_orders(self, team: str, *, offset: int, limit: int) -> list[Order]:
        """A team's open orders: urged ones first, then the more urgent, then the sooner due, then the older."""
        rows = self.db.execute(
            "SELECT * FROM orders WHERE team = ? AND open = 1"
            " ORDER BY urged = 0, rank, due_at IS NULL, due_at, seq LIMIT ? OFFSET ?",
            (team, limit, offset),
        )
        return [_order(row) for row in rows]

    def past_orders(self, team: str, *, offset: int, limit: int) -> list[Order]:
        """A team's orders that are over, the latest first."""
        rows = self.db.execute(
            "SELECT * FROM orders WHERE team = ? AND open = 0 ORDER BY changed_at DESC, seq DESC LIMIT ? OFFSET ?",
            (team, limit, offset),
        )
        return [_order(row) for row in rows]

    def count(self, team: str) -> tuple[int, int]:
        """How many orders of a team are open, and how many are over."""
        row = self.db.execute("SELECT SUM(open = 1), SUM(open = 0) FROM orders WHERE team = ?", (team,)).fetchone()
        return row[0] or 0, row[1] or 0

    def take_step(self, ticket: str, step: Step, *, version: int, note: str | None, by: str) -> str:
        """Do a person's step with the photos not sent yet, and queue its callback; returns the event's id.

        Raises StepRefused when the order has moved on since `version`, or the step may not follow.
        """
        with self.change() as db:
            order = self._now(ticket)
            state = after(order.state, step)
            if state is None or order.version != version:
                raise StepRefused(ticket)
            now = self.clock()
            event = _event(ticket, version + 1)
            photos = self.photos(ticket, event=None) if step in (Step.PROGRESS, Step.RESOLVE) else []
            db.executemany("UPDATE photos SET event = ? WHERE id = ?", [(event, photo.id) for photo in photos])
            self._set_state(order, state, now, version=version + 1)
            self._log(ticket, now, step.value, note, event)
            self._post(order, event, step, now, note, by, photos, hold=self.undo_for if step is Step.RESOLVE else 0.0)
        self.posted()
        return event

    def undo_until(self, order: Order) -> float | None:
        """Until when 办结 of an order can be undone; None when it can't (any more)."""
        if order.state is not OrderState.RESOLVED:
            return None
        row = self.db.execute(
            "SELECT release_at FROM outbox WHERE id = ? AND state = 'waiting' AND attempts = 0",
            (_event(order.ticket, order.version),),
        ).fetchone()
        return float(row["release_at"]) if row is not None and row["release_at"] > self.clock() else None

    def undo(self, ticket: str, *, version: int) -> None:
        """Take 办结 back before anybody was told: the order is open again, its photos wait again, no report goes out.

        Raises StepRefused when it is too late, or the order has moved on since `version`.
        """
        with self.change() as db:
            order = self._now(ticket)
            if order.version != version or self.undo_until(order) is None:
                raise StepRefused(ticket)
            event = _event(ticket, version)
            db.execute("DELETE FROM outbox WHERE id = ?", (event,))
            db.execute("UPDATE photos SET event = NULL WHERE event = ?", (event,))
            worked = db.execute("SELECT 1 FROM log WHERE ticket = ? AND kind = ?", (ticket, Step.PROGRESS.value)).fetchone()
            now = self.clock()
            self._set_state(order, OrderState.IN_PROGRESS if worked else OrderState.ACCEPTED, now, version=version + 1)
            self._log(ticket, now, "undone", None)

    def add_photo(self, ticket: str, image: CheckedImage) -> str:
        """Keep a photo for the next report; returns its id. Raises StepRefused, TooManyPhotos."""
        with self.change() as db:
            if self._now(ticket).state not in (OrderState.ACCEPTED, OrderState.IN_PROGRESS):
                raise StepRefused(ticket)
            waiting = self.photos(ticket, event=None)
            if len(waiting) >= MOST_PHOTOS or sum(photo.size for photo in waiting) + len(image.content) > MOST_OF_PHOTOS:
                raise TooManyPhotos(ticket)
            id = secrets.token_hex(16)
            digest = hashlib.sha256(image.content).hexdigest()
            db.execute(
                "INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, NULL, ?)",
                (id, ticket, self.clock(), image.media_type, len(image.content), digest, image.content),
            )
        return id

    def remove_photo(self, ticket: str, id: str) -> bool:
        """Forget a photo that has not been sent; False when there is none."""
        with self.change() as db:
            done = db.execute("DELETE FROM photos WHERE id = ? AND ticket = ? AND event IS NULL", (id, ticket))
            return done.rowcount == 1

    def photos(self, ticket: str, *, event: str | None) -> list[Photo]:
        """Photos of a report, oldest first; `event` None: those not sent yet."""
        rows = self.db.execute(
            "SELECT id, ticket, media_type, size, sha256, event FROM photos WHERE ticket = ? AND event IS ? ORDER BY at, id",
            (ticket, event),
        )
        return [Photo(**dict(row)) for row in rows]

    def photo_content(self, id: str, *, ticket: str | None = None) -> tuple[str, bytes] | None:
        """(media type, content) of a photo (of that order, if given), or None."""
        row = self.db.execute("SELECT ticket, media_type, content FROM photos WHERE id = ?", (id,)).fetchone()
        if row is None or ticket not in (None, row["ticket"]):
            return None
        return str(row["media_type"]), bytes(row["content"])

    def ticket_of_photo(self, id: str) -> str | None:
        """The order a photo belongs to, or None."""
        row = self.db.execute("SELECT ticket FROM photos WHERE id = ?", (id,)).fetchone()
        return None if row is None else str(row["ticket"])

    def history(self, ticket: str) -> list[LogLine]:
        """What happened to an order, oldest first."""
        rows = self.db.execute("SELECT * FROM log WHERE ticket = ? ORDER BY id", (ticket,)).fetchall()
        return [
            LogLine(
                at=row["at"],
                kind=row["kind"],
                note=row["note"],
                photos=tuple(photo.id for photo in self.photos(ticket, event=row["event"])) if row["event"] else (),
            )
            for row in rows
        ]

    # inside a transaction

    def _now(self, ticket: str) -> Order:
        order = self.order(ticket)
        if order is None:
            raise StepRefused(ticket)
        return order

    def _set_state(self, order: Order, state: OrderState, now: float, *, version: int) -> None:
        finish_by = order.body.get("finish_by")
        due_at = datetime.fromisoformat(finish_by).timestamp() if finish_by and state.open else None
        self.db.execute(
            "UPDATE orders SET state = ?, open = ?, changed_at = ?, version = ?, due_at = ? WHERE ticket = ?",
            (state.value, int(state.open), now, version, due_at, order.ticket),
        )

    def _log(self, ticket: str, at: float, kind: str, note: str | None, event: str | None = None) -> None:
        self.db.execute(
            "INSERT INTO log (ticket, at, kind, note, event) VALUES (?, ?, ?, ?, ?)", (ticket, at, kind, note, event)
        )

    def _post(
        self,
        order: Order,
        event: str,
        step: Step,
        now: float,
        note: str | None,
        by: str,
        photos: Sequence[Photo],
        *,
        hold: float,
    ) -> None:
        said = DeskEvent(
            id=event,
            kind=step.value,
            ticket=order.ticket,
            key=order.key,
            at=datetime.fromtimestamp(now, UTC),
            by=by,
            note=note,
            photos=[PhotoNote.model_validate(photo, from_attributes=True) for photo in photos],
        )
        self.db.execute(
            "INSERT INTO outbox (id, ticket, case_id, body, trace, due_at, release_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(event, order.ticket, order.body["case"], said.model_dump_json(exclude_none=True).encode(), order.trace),
                *(now + hold, now + hold),
            ),
        )


def _event(ticket: str, version: int) -> str:
    return f"{ticket}-{version}"


def _order(row: Mapping[str, Any] | sqlite3.Row) -> Order:
    return Order(
        ticket=row["ticket"],
        key=row["key"],
        team=row["team"],
        state=OrderState(row["state"]),
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        version=row["version"],
        urged=row["urged"],
        urged_note=row["urged_note"],
        trace=row["trace"],
        body=json.loads(row["body"]),
    )
