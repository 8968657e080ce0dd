"""Full-text search: the one place that knows how each database finds Chinese words.

SQLite: FTS5 over text cut into single characters, because Chinese has no spaces and FTS5's trigrams miss two-character words
such as 漏水. A search word becomes a phrase of its characters. Other databases: `LIKE` over the folded text, with a trigram index
where PostgreSQL has pg_trgm. Both find the same cases for the same words, except for the beginnings of Latin words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Protocol

from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, Select, Table, Text, column, select, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ColumnElement

from hub.views import bulk
from hub.views.schema import cases

MOST_WORDS = 8
"""Words of one search that are looked at."""

_WORD = re.compile(r"[a-z0-9]+|[^\W_a-z0-9]")
"""A run of Latin letters and digits, or one character of any other script."""


def fold(words: str) -> str:
    """One form for what looks alike: full-width as ASCII, letters small."""
    return unicodedata.normalize("NFKC", words).lower()


def segment(words: str) -> str:
    """Single characters and Latin words, separated by spaces: `3栋B座漏水` → `3 栋 b 座 漏 水`."""
    return " ".join(_WORD.findall(fold(words)))


def match_expression(query: str) -> str:
    """The FTS5 expression of a search: every word a phrase, all of them wanted; Latin words also as beginnings. Empty: no word."""
    phrases = []
    for word in fold(query).split():
        tokens = _WORD.findall(word)
        if tokens:
            star = "*" if tokens[-1].isascii() else ""
            phrases.append(f'"{" ".join(tokens)}"{star}')
    return " AND ".join(phrases[:MOST_WORDS])


class Search(Protocol):
    """An index over the texts of cases. Each is filed under the case's `opened` number."""

    def create(self, connection: Connection) -> None:
        """Make the index if it is missing."""
        ...

    def empty(self, connection: Connection) -> None:
        """Forget everything."""
        ...

    def add(self, connection: Connection, notes: Iterable[tuple[int, str]]) -> None:
        """Add (opened, text) pairs."""
        ...

    def matches(self, query: str) -> ColumnElement[bool] | None:
        """A condition on `cases`; None when the query holds no word."""
        ...


_fts = table("notes_words", column("opened"), column("words"))


class PhraseSearch:
    """SQLite's FTS5."""

    _table = Table("notes_words", MetaData(), Column("opened", BigInteger), Column("words", Text))
    _row = bulk.row_of(_table)

    def create(self, connection: Connection) -> None:
        """Make the index if it is missing."""
        connection.execute(
            text(
                "CREATE VIRTUAL TABLE IF NOT EXISTS notes_words USING fts5"
                "(opened UNINDEXED, words, tokenize = 'unicode61 remove_diacritics 0')"
            )
        )

    def empty(self, connection: Connection) -> None:
        """Forget everything."""
        connection.execute(text("DROP TABLE IF EXISTS notes_words"))
        self.create(connection)

    def add(self, connection: Connection, notes: Iterable[tuple[int, str]]) -> None:
        """Add (opened, text) pairs."""
        found = (self._row(opened=opened, words=words) for opened, note in notes if (words := segment(note)))
        bulk.insert(connection, self._table, found)

    def matches(self, query: str) -> ColumnElement[bool] | None:
        """A condition on `cases`: one note of the case holds all words."""
        expression = match_expression(query)
        if not expression:
            return None
        hits: Select[object] = select(_fts.c.opened).where(
            text("notes_words MATCH :expression").bindparams(expression=expression)
        )
        return cases.c.opened.in_(hits)


class PlainSearch:
    """`LIKE` over folded text, for every other database."""

    _table = Table(
        "notes", MetaData(), Column("opened", BigInteger, index=True, nullable=False), Column("words", Text, nullable=False)
    )
    _row = bulk.row_of(_table)

    def create(self, connection: Connection) -> None:
        """Make the table if it is missing; with a trigram index where PostgreSQL lets us."""
        self._table.create(connection, checkfirst=True)
        if connection.dialect.name == "postgresql":
            try:
                with connection.begin_nested():
                    connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
                    connection.execute(
                        text("CREATE INDEX IF NOT EXISTS notes_trigrams ON notes USING gin (words gin_trgm_ops)")
                    )
            except DBAPIError:
                return  # the extension is a convenience: without it the same cases are found, slower

    def empty(self, connection: Connection) -> None:
        """Forget everything."""
        connection.execute(self._table.delete())

    def add(self, connection: Connection, notes: Iterable[tuple[int, str]]) -> None:
        """Add (opened, text) pairs."""
        found = (self._row(opened=opened, words=words) for opened, note in notes if (words := fold(note)))
        bulk.insert(connection, self._table, found)

    def matches(self, query: str) -> ColumnElement[bool] | None:
        """A condition on `cases`: one note of the case holds all words."""
        words = [word for word in fold(query).split() if _WORD.search(word)][:MOST_WORDS]
        if not words:
            return None
        hits = select(self._table.c.opened)
        for word in words:
            hits = hits.where(self._table.c.words.contains(word, autoescape=True))
        return cases.c.opened.in_(hits)


def search_for(engine: Engine) -> Search:
    """The search of a database."""
    return PhraseSearch() if engine.dialect.name == "sqlite" else PlainSearch()
