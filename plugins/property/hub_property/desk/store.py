"""State of the desk in one SQLite file: companies, orders, photos, and the outbox of callbacks.

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

from hub_property.desk.images import CheckedImage
from hub_property.desk.orders import LogLine, Order, OrderState, Photo, Step, after
from hub_property.messages import MOST_OF_PHOTOS, MOST_PHOTOS, Company, DeskEvent, NewOrder, PhotoNote

_RANK = {"urgent": 0, "major": 1, "ordinary": 2, "minor": 3}
_NUMBER = "WY{:08d}"


class KeyReused(Exception):
    """The idempotency key came before with other content."""


class CompanyClosed(Exception):
    """The company takes no orders any more."""


class StepRefused(Exception):
    """The step may not be done now: the order has moved on (or the page was an old one)."""


class TooManyPhotos(Exception):
    """The report has as many photos, or as many bytes of them, as one may have."""


class DeskStore:
    """The desk's state; `clock` gives Unix seconds."""

    def __init__(self, directory: Path, *, clock: Callable[[], float]) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.clock = clock
        self.posted: Callable[[], None] = lambda: None
        """Called when a callback was queued; the courier's `wake` where there is one."""
        self.db = sqlite3.connect(directory / "desk.db", isolation_level=None, timeout=5)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.executescript(files("hub_property.desk").joinpath("schema.sql").read_text("utf-8"))

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

    def secret_note(self, name: str) -> str:
        """A random secret of the desk, made when first asked for."""
        with self.change() as db:
            db.execute("INSERT OR IGNORE INTO notes VALUES (?, ?)", (name, secrets.token_hex(32)))
            return str(db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()["value"])

    # companies

    def put_company(self, company: Company) -> None:
        """Know a company, under its newest name."""
        row = self.db.execute("SELECT name FROM companies WHERE id = ?", (company.id,)).fetchone()
        if row is None or row["name"] != company.name:
            with self.change() as db:
                db.execute(
                    "INSERT INTO companies (id, name) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                    (company.id, company.name),
                )

    def company(self, id: str) -> tuple[Company, int] | None:
        """A company and the generation of its link; None when unknown or closed."""
        row = self.db.execute("SELECT * FROM companies WHERE id = ? AND closed = 0", (id,)).fetchone()
        return None if row is None else (Company(id=row["id"], name=row["name"]), int(row["generation"]))

    def companies(self) -> list[tuple[Company, int]]:
        """Every company that is not closed, by name, with the generation of its link."""
        rows = self.db.execute("SELECT * FROM companies WHERE closed = 0 ORDER BY name")
        return [(Company(id=row["id"], name=row["name"]), int(row["generation"])) for row in rows]

    def renew_link(self, id: str) -> bool:
        """Make the company's link worthless, so that a new one has to be handed out; False when it is unknown."""
        with self.change() as db:
            return db.execute("UPDATE companies SET generation = generation + 1 WHERE id = ?", (id,)).rowcount == 1

    def set_closed(self, id: str, closed: bool) -> bool:
        """Close a company (its link is dead, new orders are refused) or open it again; False when it is unknown."""
        with self.change() as db:
            return db.execute("UPDATE companies SET closed = ? WHERE id = ?", (int(closed), id)).rowcount == 1

    # the hub's side

    def file(self, key: str, order: NewOrder, *, trace: str | None) -> tuple[Order, bool]:
        """Store an order; (order, whether it is new). Raises KeyReused, CompanyClosed."""
        body = order.model_dump(mode="json")
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        row = self.db.execute("SELECT * FROM orders WHERE key = ?", (key,)).fetchone()
        if row is not None:
            if row["digest"] != digest:
                raise KeyReused(key)
            return _order(row), False
        self.put_company(order.company)
        if self.company(order.company.id) is None:
            raise CompanyClosed(order.company.id)
        due_at = order.accept_by or order.finish_by
        now = self.clock()
        with self.change() as db:
            number = db.execute("SELECT COALESCE(MAX(seq), 0) + 1 FROM orders").fetchone()[0]
            ticket = _NUMBER.format(number)
            db.execute(
                "INSERT INTO orders (ticket, key, digest, company, state, open, rank, due_at, created_at, changed_at, trace, body)"
                " VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)",
                (
                    *(ticket, key, digest, order.company.id, OrderState.RECEIVED.value, _RANK[order.severity]),
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

    # the manager's side

    def open_orders(self, company: str, *, offset: int, limit: int) -> list[Order]:
        """A company's open orders: urged ones first, then the more urgent, then the sooner due, then the older."""
        rows = self.db.execute(
            "SELECT * FROM orders WHERE company = ? AND open = 1"
            " ORDER BY urged = 0, rank, due_at IS NULL, due_at, seq LIMIT ? OFFSET ?",
            (company, limit, offset),
        )
        return [_order(row) for row in rows]

    def past_orders(self, company: str, *, offset: int, limit: int) -> list[Order]:
        """A company's orders that are over, the latest first."""
        rows = self.db.execute(
            "SELECT * FROM orders WHERE company = ? AND open = 0 ORDER BY changed_at DESC, seq DESC LIMIT ? OFFSET ?",
            (company, limit, offset),
        )
        return [_order(row) for row in rows]

    def count(self, company: str) -> tuple[int, int]:
        """How many orders of a company are open, and how many are over."""
        row = self.db.execute("SELECT SUM(open = 1), SUM(open = 0) FROM orders WHERE company = ?", (company,)).fetchone()
        return row[0] or 0, row[1] or 0

    def take_step(self, ticket: str, step: Step, *, version: int, note: str | None, by: str) -> str:
        """Do a manager's step with the photos not sent yet, and queue its callback; returns the event's id.

        Raises StepRefused when the order has moved on since `version`, or the step may not follow.
        """
        with self.change() as db:
            order = self._now(ticket)
            state = after(order.state, step)
            if state is None or order.version != version:
                raise StepRefused(ticket)
            now = self.clock()
            event = f"{ticket}-{version + 1}"
            photos = self.photos(ticket, event=None) if step in (Step.PROGRESS, Step.RESOLVE) else []
            db.executemany("UPDATE photos SET event = ? WHERE id = ?", [(event, photo.id) for photo in photos])
            self._set_state(order, state, now, version=version + 1)
            self._log(ticket, now, step.value, note, event)
            self._post(order, event, step, now, note, by, photos)
        self.posted()
        return event

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
        self, order: Order, event: str, step: Step, now: float, note: str | None, by: str, photos: Sequence[Photo]
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
            "INSERT INTO outbox (id, ticket, case_id, body, trace, due_at) VALUES (?, ?, ?, ?, ?, ?)",
            (event, order.ticket, order.body["case"], said.model_dump_json(exclude_none=True).encode(), order.trace, now),
        )


def _order(row: Mapping[str, Any] | sqlite3.Row) -> Order:
    return Order(
        ticket=row["ticket"],
        key=row["key"],
        company=row["company"],
        state=OrderState(row["state"]),
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        version=row["version"],
        urged=row["urged"],
        urged_note=row["urged_note"],
        trace=row["trace"],
        body=json.loads(row["body"]),
    )
