"""Requests to replay: any CSV with the columns id, created_at, title, text, support, against.

`created_at` may be empty (then it is the time of the replay), `support` and `against` may be missing. Everything else that
does not fit is refused with file, line and column. Called by the replay and by `hub policy replay`'s tests.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hub.errors import ConfigError
from hub.model.case.state import Channel

REQUIRED = ("id", "title", "text")
OPTIONAL = ("created_at", "support", "against")

_CHANNELS = ((70, Channel.HOTLINE), (84, Channel.RESIDENT), (95, Channel.PATROL), (100, Channel.DEVICE))
"""Of a hundred requests so many come in by each channel (upper bounds): most by telephone, as in a real city."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One row of a requests file."""

    id: str
    title: str
    text: str
    created_at: datetime | None
    support: int
    against: int
    channel: Channel
    """Drawn from the id, so the same row always comes by the same channel."""


def read_requests(file: Path, *, limit: int | None = None) -> list[Request]:
    """All rows of a file, or the first `limit`. Raises ConfigError with line and column."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return list(_rows(stream, file, limit))
    except OSError as problem:
        raise ConfigError(f"the requests can't be read: {problem.strerror}", file=str(file)) from problem
    except UnicodeDecodeError as problem:
        raise ConfigError(f"the requests are not UTF-8 (byte {problem.start})", file=str(file)) from problem


def file_key(file: Path) -> str:
    """Eight hex digits that stand for the file's content; part of each request's idempotency key."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:8]


def channel_of(id: str) -> Channel:
    """The channel a request comes in by: a fixed draw from its id."""
    place = int.from_bytes(hashlib.sha256(id.encode()).digest()[:4]) % 100
    return next(channel for bound, channel in _CHANNELS if place < bound)


def _rows(stream: Iterator[str], file: Path, limit: int | None) -> Iterator[Request]:
    reader = csv.DictReader(stream)
    columns = reader.fieldnames or ()
    for column in REQUIRED:
        if column not in columns:
            raise ConfigError(
                f"the column is missing (there are: {', '.join(columns) or 'none'})", file=str(file), line=1, key=column
            )
    seen: dict[str, int] = {}
    count = 0
    try:
        for row in reader:
            if limit is not None and count >= limit:
                return
            request = _request(row, str(file), reader.line_num)
            if request.id in seen:
                raise ConfigError(
                    f"{request.id!r} is already in line {seen[request.id]}", file=str(file), line=reader.line_num, key="id"
                )
            seen[request.id] = reader.line_num
            count += 1
            yield request
    except csv.Error as problem:
        raise ConfigError(f"not CSV: {problem}", file=str(file), line=reader.line_num) from problem


def _request(row: dict[str, str | None], file: str, line: int) -> Request:
    values = {column: (row.get(column) or "").strip() for column in (*REQUIRED, *OPTIONAL)}
    for column in REQUIRED:
        if not values[column]:
            raise ConfigError("is empty", file=file, line=line, key=column)
    try:
        created_at = datetime.fromisoformat(values["created_at"]) if values["created_at"] else None
    except ValueError:
        raise ConfigError(f"not a time in ISO 8601: {values['created_at']!r}", file=file, line=line, key="created_at") from None
    if created_at is not None and created_at.tzinfo is None:
        created_at = created_at.replace(tzinfo=UTC)
    return Request(
        id=values["id"],
        title=values["title"],
        text=values["text"],
        created_at=created_at,
        support=_votes(values["support"], file, line, "support"),
        against=_votes(values["against"], file, line, "against"),
        channel=channel_of(values["id"]),
    )


def _votes(text: str, file: str, line: int, column: str) -> int:
    try:
        votes = int(text or "0")
    except ValueError:
        votes = -1
    if votes < 0:
        raise ConfigError(f"not a number of votes: {text!r}", file=file, line=line, key=column)
    return votes
