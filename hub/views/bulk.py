"""Writing many rows in few statements. The one place with SQL text, the same for SQLite and PostgreSQL.

A multi-row INSERT instead of `executemany`: SQLite's driver releases the interpreter lock at every statement, and a writer thread beside a
busy event loop waits up to 5 ms each time to get it back. Both databases understand `ON CONFLICT … DO UPDATE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import Connection, Table

_SIZES = (256, 32, 4, 1)
"""Rows in a statement, so that few different statements have to be prepared."""

Row: TypeAlias = Any
"""A full row, made by what `row_of` gives."""


def row_of(table: Table) -> type[Any]:
    """The form of a table's rows: made with a value for each column by the column's name, and as fast as a tuple."""
    fields = [(str(column.name), object) for column in table.columns]
    return msgspec.defstruct(str(table.name), fields, kw_only=True, gc=False)


def upsert(connection: Connection, table: Table, rows: Iterable[Row], *, keep: frozenset[str] = frozenset()) -> None:
    """Insert full rows, or update those whose primary key is there.

    A row must not come twice in one call. A column in `keep` stays as it is once it has a value.
    """
    _write(connection, table, list(rows), keep, update=True)


def insert(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Insert full rows."""
    _write(connection, table, list(rows), frozenset(), update=False)


def _write(connection: Connection, table: Table, rows: Sequence[Row], keep: frozenset[str], *, update: bool) -> None:
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    start = 0
    for size in _SIZES:
        while len(rows) - start >= size:
            values = tuple(chain.from_iterable(map(msgspec.structs.astuple, rows[start : start + size])))
            connection.exec_driver_sql(statement(table, size, mark, keep, update=update), values)
            start += size


@cache
def statement(table: Table, rows: int, mark: str, keep: frozenset[str], *, update: bool) -> str:
    """The SQL of one INSERT of `rows` rows; `mark` is the driver's placeholder."""
    names = table.columns.keys()
    one = f"({', '.join([mark] * len(names))})"
    text = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {', '.join([one] * rows)}"  # noqa: S608 - names of our tables
    if not update:
        return text
    key = [column.name for column in table.primary_key.columns]
    sets = [
        f"{name} = COALESCE({table.name}.{name}, excluded.{name})" if name in keep else f"{name} = excluded.{name}"
        for name in names
        if name not in key
    ]
    return f"{text} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(sets)}"
