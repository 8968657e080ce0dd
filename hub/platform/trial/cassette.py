"""Cassettes: a recorded exchange with a department's real system, as a file that a person can review.

`hub adapter try … --sample default --record FILE` makes one; `hub.testing.cassette` replays it. Kept as JSON: no secret, no time of the
clock, keys in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import parse_qsl, urlsplit

import msgspec

from hub.contract import Assignment
from hub.errors import InvalidInput
from hub.platform.trial.values import Body, Exchange, Trial

Free = Literal["keys", "times", "nonces"]

FREE: Final[Mapping[Free, re.Pattern[str]]] = {
    "keys": re.compile(r"(?<!\d)\d{15}-[0-9a-hjkmnp-tv-z]{10,26}(?:\.a\d{1,4})?"),
    "times": re.compile(
        r"(?<![\d-])\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\d)"
        r"|(?<![\d.])1\d{9}(?:\d{3}|\.\d+)?(?!\d)"
        r"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    ),
    "nonces": re.compile(
        r"(?<![0-9A-Za-z])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9A-Za-z])"
        r"|(?<![0-9A-Za-z])[0-9a-fA-F]{16,}(?![0-9A-Za-z])"
        r"|(?<![0-9A-Za-z+/])[0-9A-Za-z+/_-]{14,}={1,2}(?![=0-9A-Za-z])"
    ),
}
"""Parts that may be new each time: our delivery keys, times, and nonces and signatures (UUID, hex, base64). Applied in this order."""

UNTOLD = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "host",
        "keep-alive",
        "server",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "user-agent",
    }
)
"""Headers that say nothing of the protocol."""


EMPTY = Body()


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recorded request. `query`: pairs in the order they were sent."""

    method: str
    path: str
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    body: Body = EMPTY


class Answered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recorded answer."""

    status: int
    headers: dict[str, str] = {}
    body: Body = EMPTY


class Played(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One exchange. `call`: the plugin's call it belongs to. Without `answer` the connection ended as `problem` says."""

    call: str
    request: Asked
    answer: Answered | None = None
    problem: str = ""
    """`unreachable` or `lost`: before or after the request was sent."""


class Cassette(msgspec.Struct, frozen=True, kw_only=True, tag_field="version", tag=1):
    """Exchanges with a department's system, and the sample they were about."""

    plugin: str
    plugin_version: str
    free: tuple[Free, ...] = tuple(FREE)
    """The values (see FREE) that may differ from the recorded ones."""
    assignment: Assignment | None = None
    """The sample that was handed over."""
    ticket: str | None = None
    """What the department filed it under."""
    outcome: str = ""
    """What the trial came to, as `hub.platform.trial.values.Trial` has it."""
    exchanges: tuple[Played, ...]

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """The exchanges of a trial. Raises InvalidInput when there are none, or one is too long to keep."""
        exchanges = tuple(_played(call.call, exchange) for call in trial.calls for exchange in call.exchanges)
        if not exchanges:
            raise InvalidInput("nothing went over HTTP, so there is nothing to record", subject="record")
        sample = trial.assignment
        return cls(
            plugin=trial.plugin,
            plugin_version=trial.plugin_version,
            exchanges=exchanges,
            assignment=None if sample is None else msgspec.convert({**sample, "contact": None}, Assignment),
            ticket=trial.ticket,
            outcome=trial.outcome,
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a cassette. Raises InvalidInput naming the file and what is wrong."""
        try:
            return cls.of_text(path.read_bytes(), str(path))
        except OSError as problem:
            raise InvalidInput(f"{path}: can't be read: {problem}", subject="cassette") from problem

    @classmethod
    def of_text(cls, text: str | bytes, path: str = "cassette") -> Self:
        """Read the text of a cassette file. Raises InvalidInput."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as problem:
            raise InvalidInput(f"{path}: not a cassette of version 1: {problem}", subject="cassette") from problem

    def save(self, path: Path) -> None:
        """Write it; the same exchanges give the same bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The file's text."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"


def _played(call: str, exchange: Exchange) -> Played:
    answer = exchange.answer
    for body in (exchange.request.body, answer.body if answer is not None else None):
        if body is not None and body.kind == "left_out":
            raise InvalidInput(f"a body of {body.size} bytes is too long for a cassette", subject="record")
    if answer is not None and answer.body is not None and not _replayable(answer.body):
        raise InvalidInput(f"an answer of kind {answer.body.kind} with secrets or parts can't be replayed", subject="record")
    parts = urlsplit(exchange.request.url)
    answered = None
    if answer is not None and answer.body is not None:
        answered = Answered(status=answer.status, headers=_headers(answer.headers), body=_unsized(answer.body))
    return Played(
        call=call,
        request=Asked(
            method=exchange.request.method,
            path=parts.path or "/",
            query=parse_qsl(parts.query, keep_blank_values=True),
            headers=_headers(exchange.request.headers),
            body=_unsized(exchange.request.body),
        ),
        answer=answered,
        problem="" if answered is not None else "unreachable" if exchange.error == "unavailable" else "lost",
    )


def _unsized(body: Body) -> Body:
    return EMPTY if body.kind == "empty" else Body(kind=body.kind, content=body.content, encoding=body.encoding)


def _replayable(body: Body) -> bool:
    return body.kind != "multipart" and (body.kind == "empty" or body.content is not None or body.kind == "json")


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in sorted(headers.items()) if name.lower() not in UNTOLD}
