"""Requests to replay: any CSV with the columns id, created_at, title, text, support, against.

`created_at` may be empty (then it is the time of the replay), `support` and `against` may be missing. Everything else that
does not fit is refused with file, line and column. Called by the replay and by `hub policy replay`'s tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hub.config.documents import Row, read_rows
from hub.config.fields import parsed
from hub.errors import ConfigError
from hub.model.case.state import Channel

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


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"not a time in ISO 8601: {text!r}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class _RequestRow(Row):
    columns = ("id", "title", "text")

    id: str
    title: str
    text: str
    created_at: Annotated[datetime, parsed(_moment)] | None = None
    support: Annotated[int, Field(ge=0)] = 0
    against: Annotated[int, Field(ge=0)] = 0


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
    problems: list[ConfigError] = []
    seen: dict[str, int] = {}
    for line, row in islice(read_rows(stream, str(file), _RequestRow, problems), limit):
        if row.id in seen:
            problems.append(ConfigError(f"{row.id!r} is already in line {seen[row.id]}", file=str(file), line=line, key="id"))
        if problems:
            break
        seen[row.id] = line
        yield Request(**dict(row), channel=channel_of(row.id))
    if problems:
        raise problems[0]
