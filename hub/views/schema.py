"""The tables of the read models: those shared by all kinds of matters, and that of cases.

Everything in them can be rebuilt from the ledger; nothing else owns them.

Portable between SQLite and PostgreSQL. Times are microseconds since 1970 (UTC), so that they compare and subtract in any SQL.
Called by `Views` (reads) and the projector (writes).
"""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, SmallInteger, String, Table, Text

VERSION = 5
"""Raise it when the content of the shared tables changes; new columns are noticed without it. Each projection has its own version."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)

metadata = MetaData()

cases = Table(
    "cases",
    metadata,
    Column("opened", BigInteger, primary_key=True, autoincrement=False, comment="ledger sequence of the first commit"),
    Column("id", String(48), nullable=False, unique=True),
    Column("area", String(15), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("category", String(64)),
    Column("severity", String(16)),
    Column("level", SmallInteger),
    Column("holder", String(64)),
    Column("reported_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False, comment="time of the last commit"),
    Column("closed_at", BigInteger),
    Column("reached", String(16), comment="whether the reporter was reached"),
    Column("solved", String(16), comment="what the reporter says"),
    Column("satisfied", String(16), comment="what the reporter says"),
    Column("closing", String(16), comment="how it was closed"),
    Column("due_at", BigInteger, comment="earliest limit that runs; empty while suspended and after the end"),
    Column("attention", Integer, nullable=False, comment="how many things an operator has to look at"),
    Column("dead", SmallInteger, nullable=False, comment="1: live, and a delivery's attempts are used up"),
    Column("longitude", Double, comment="on WGS-84, as are the next three"),
    Column("latitude", Double),
    Column("far_longitude", Double, comment="rounded: where it is for those who do not handle the case"),
    Column("far_latitude", Double),
    Column("doc", Text, nullable=False, comment="the folded case as JSON: see `projection.snapshot`"),
    Index("cases_reported", "reported_at", "opened"),
    Index("cases_updated", "updated_at", "opened"),
    Index("cases_due", "due_at"),
    Index("cases_area", "area", "stage"),
    Index("cases_stage", "stage", "opened"),
    Index("cases_far", "far_latitude", "far_longitude"),
    Index("cases_near", "latitude", "longitude"),
)

assignments = Table(
    "assignments",
    metadata,
    Column("matter", String(48), primary_key=True),
    Column("assignment", String(8), primary_key=True),
    Column("unit", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("open", SmallInteger, nullable=False),
    Column("adapter", String(64)),
    Column("ticket", String(200)),
    Column("attempts", Integer, nullable=False),
    Column("outcome", String(16), comment="of the last attempt"),
    Column("tried_at", BigInteger, nullable=False, comment="when the last attempt began; when it was made before the first"),
    Column("made_at", BigInteger, nullable=False),
    Column("delivered_at", BigInteger, comment="when the department's system was known to have it, the first time"),
    Column("due_at", BigInteger, comment="earliest limit that runs for it"),
    Index("assignments_unit", "unit", "state"),
    Index("assignments_ticket", "adapter", "ticket"),
    Index("assignments_state", "state"),
    Index("assignments_tried", "tried_at", "matter", "assignment"),
    Index("assignments_unit_tried", "unit", "tried_at"),
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    Column("matter", String(48), primary_key=True),
    Column("assignment", String(8), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("outcome", String(16), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("error", String(64)),
    sqlite_with_rowid=False,
)

timeline = Table(
    "timeline",
    metadata,
    Column("matter", String(48), primary_key=True),
    Column("number", Integer, primary_key=True, comment="number of the matter's commit"),
    Column("ordinal", Integer, primary_key=True, comment="place within the commit"),
    Column("sequence", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False, comment="JSON"),
    Column("command", String(40), nullable=False),
    Column("policy", Integer, nullable=False),
    Column("traceparent", String(55)),
    Column("body", Text, nullable=False, comment="the event as JSON, `type` its registered name"),
    sqlite_with_rowid=False,
)

sources = Table(
    "sources",
    metadata,
    Column("adapter", String(64), primary_key=True),
    Column("ref", String(200), primary_key=True),
    Column("matter", String(48), nullable=False),
    sqlite_with_rowid=False,
)

files = Table(
    "files",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("matter", String(48), primary_key=True),
    Column("owner", String(48), primary_key=True, comment="the matter whose own it is in the store, or empty"),
    Column("name", String(200), nullable=False),
    Column("media_type", String(100), nullable=False),
    sqlite_with_rowid=False,
)

positions = Table(
    "positions",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("version", String(200), nullable=False),
)

SHARED = (assignments, attempts, timeline, sources, files)
"""The tables the projector fills for every kind of matter (beside the search index, and the projections' own)."""


def shape(*tables: Table) -> str:
    """A short name for the tables' columns. Tables of another shape are recognised by it and built anew."""
    columns = [f"{column.table.name}.{column.name} {column.type!r}" for table in tables for column in table.columns]
    return format(zlib.crc32("\n".join(columns).encode()), "x")


def micros(at: datetime) -> int:
    """Microseconds since 1970 of an aware time."""
    return (at - _EPOCH) // _TICK


def micros_or_none(at: datetime | None) -> int | None:
    """The same, None for None."""
    return None if at is None else (at - _EPOCH) // _TICK


def moment(at: int) -> datetime:
    """The aware UTC time of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=at)
