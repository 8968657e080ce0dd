"""Cassettes: what once went over the wire to a department's real system, replayed in a test without it.

`hub adapter try … --sample default --record FILE` makes one. A test builds a client that answers from it:

    cassette = Cassette.load(path)
    http = departmental_client("lamps", timeout=1, transport=replaying(cassette))

Strict: every request must be one of those recorded and not yet used (the same ones in the order they came): method, path, query, names
of the headers, and the body key by key. Only values that are new each time (`free`) and those that were blotted out may differ. The
first difference is named. Kept as JSON that a person can review: no secret, no time of the clock, keys in order.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import msgspec

from hub.contract import Assignment
from hub.errors import InvalidInput
from hub.platform.trial.sample import recorded_sample
from hub.platform.trial.values import Body, Exchange, Trial

VERSION = 1

FREE: Final[Mapping[str, re.Pattern[str]]] = {
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
"""What may be new each time: our delivery keys, times, and nonces and signatures (UUID, hex, base64). Applied in this order."""

_BLOT = re.compile(r"\*{3,}|\[redacted\]")
_UNTOLD = frozenset(
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


class CassetteMismatch(AssertionError):
    """A request is none of those recorded, or something recorded was never asked for; the text names the first difference."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded request. `query`: pairs in the order they were sent."""

    method: str
    path: str
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    body: Body = Body()


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded answer."""

    status: int
    headers: dict[str, str] = {}
    body: Body = Body()


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange. `call`: in which of the plugin's calls; without `answer` the connection ended as `problem` says."""

    call: str
    request: Asked
    answer: Answered | None = None
    problem: str = ""
    """`unreachable` or `lost`: before or after the request was sent."""


@dataclass(frozen=True, kw_only=True)
class Cassette:
    """Exchanges with a department's system, and the sample they were about."""

    plugin: str
    plugin_version: str
    exchanges: tuple[Played, ...]
    assignment: Assignment | None = None
    """The sample that was handed over."""
    ticket: str | None = None
    """What the department filed it under."""
    outcome: str = ""
    """What the trial came to, as `hub.platform.trial.values.Trial` has it."""
    free: tuple[str, ...] = field(default_factory=lambda: tuple(FREE))
    """Names of the values (see FREE) that may differ from what was recorded."""

    @classmethod
    def of(cls, trial: Trial) -> Cassette:
        """The exchanges of a trial. Raises InvalidInput when there are none, or one is too long to keep."""
        exchanges = tuple(_played(call.call, exchange) for call in trial.calls for exchange in call.exchanges)
        if not exchanges:
            raise InvalidInput("nothing went over HTTP, so there is nothing to record", subject="record")
        return cls(
            plugin=trial.plugin,
            plugin_version=trial.plugin_version,
            exchanges=exchanges,
            assignment=None if trial.assignment is None else recorded_sample(_without_contact(trial.assignment)),
            ticket=trial.ticket,
            outcome=trial.outcome,
        )

    @classmethod
    def load(cls, path: Path) -> Cassette:
        """Read a cassette. Raises InvalidInput naming the file and what is wrong."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise InvalidInput(f"{path}: can't be read: {problem}", subject="cassette") from problem
        return cls.of_text(text, str(path))

    @classmethod
    def of_text(cls, text: str, path: str = "cassette") -> Cassette:
        """Read the text of a cassette file. Raises InvalidInput."""
        try:
            raw = json.loads(text)
        except ValueError as problem:
            raise InvalidInput(f"{path}: can't be read: {problem}", subject="cassette") from problem
        if not isinstance(raw, dict) or raw.get("version") != VERSION:
            raise InvalidInput(f"{path}: not a cassette of version {VERSION}", subject="cassette")
        unknown = set(raw.get("free", ())) - FREE.keys()
        if unknown:
            raise InvalidInput(f"{path}: free: there is no {sorted(unknown)[0]}", subject="cassette")
        try:
            exchanges = msgspec.convert(raw.get("exchanges"), tuple[Played, ...])
            plugin, version = str(raw["plugin"]), str(raw["plugin_version"])
        except (msgspec.ValidationError, KeyError) as problem:
            raise InvalidInput(f"{path}: {problem}", subject="cassette") from problem
        return cls(
            plugin=plugin,
            plugin_version=version,
            exchanges=exchanges,
            assignment=recorded_sample(raw["assignment"]) if raw.get("assignment") else None,
            ticket=raw.get("ticket"),
            outcome=str(raw.get("outcome", "")),
            free=tuple(raw.get("free", FREE)),
        )

    def save(self, path: Path) -> None:
        """Write it; the same exchanges give the same bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The file's text."""
        values = {
            "version": VERSION,
            "plugin": self.plugin,
            "plugin_version": self.plugin_version,
            "free": list(self.free),
            "assignment": None if self.assignment is None else self.assignment.summary(),
            "ticket": self.ticket,
            "outcome": self.outcome,
            "exchanges": [_told(played) for played in self.exchanges],
        }
        return json.dumps(values, ensure_ascii=False, indent=2) + "\n"


class Replaying(httpx.AsyncBaseTransport):
    """Answers from a cassette; each exchange once."""

    def __init__(self, cassette: Cassette) -> None:
        self._free = tuple(cassette.free)
        self._left = list(enumerate(cassette.exchanges, 1))
        self.mismatch: str | None = None
        """The first difference there was."""

    @property
    def unused(self) -> list[str]:
        """What was recorded and not asked for yet, as `number METHOD path`."""
        return [f"{number} {one.request.method} {one.request.path}" for number, one in self._left]

    def check_all_played(self) -> None:
        """Raise CassetteMismatch unless everything that was recorded was asked for, and nothing else."""
        if self.mismatch is not None:
            raise CassetteMismatch(self.mismatch)
        if self._left:
            raise CassetteMismatch(f"recorded, but never asked for: {', '.join(self.unused)}")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The recorded answer; raises CassetteMismatch, or the transport's error that was recorded."""
        body = await request.aread()
        found = self._take(request, body)
        if found.answer is not None:
            headers = {name: value for name, value in found.answer.headers.items() if name.lower() not in _UNTOLD}
            return httpx.Response(found.answer.status, headers=headers, content=raw_of(found.answer.body), request=request)
        if found.problem == "unreachable":
            raise httpx.ConnectError("recorded: no connection", request=request)
        raise httpx.ReadTimeout("recorded: no answer", request=request)

    def _take(self, request: httpx.Request, body: bytes) -> Played:
        first: str | None = None
        for place, (number, played) in enumerate(self._left):
            said = difference(played.request, request, body, free=self._free)
            if said is None:
                del self._left[place]
                return played
            same = played.request.method == request.method and played.request.path == request.url.path
            if first is None or (same and not first.startswith("=")):
                first = f"{'=' if same else ''}exchange {number} ({played.request.method} {played.request.path}): {said}"
        asked = f"{request.method} {request.url.path}"
        text = (
            f"{asked}: nothing recorded is left" if first is None else f"{asked} was not recorded so; {first.removeprefix('=')}"
        )
        self.mismatch = self.mismatch or text
        raise CassetteMismatch(text)


def replaying(cassette: Cassette) -> Replaying:
    """A transport for `departmental_client` that answers from the cassette."""
    return Replaying(cassette)


def difference(recorded: Asked, request: httpx.Request, body: bytes, *, free: Sequence[str] = tuple(FREE)) -> str | None:
    """The first thing in which a request is not the recorded one; None when it is. Recorded values come first in the text."""
    if recorded.method != request.method:
        return f"method: {recorded.method} was recorded, {request.method} is asked"
    if not _same(recorded.path, request.url.path, free):
        return f"path: {recorded.path} was recorded, {request.url.path} is asked"
    pairs = parse_qsl(request.url.query.decode(), keep_blank_values=True)
    names = {name.lower() for name in recorded.headers}
    told = {name.lower() for name in request.headers} - _UNTOLD
    return (
        _compare("query", _leaves(_by_name(recorded.query)), _leaves(_by_name(pairs)), free)
        or _compare("header", dict.fromkeys((f"/{name}" for name in sorted(names - _UNTOLD)), ""), _names(told), free)
        or _body_difference(recorded.body, body, free)
    )


def raw_of(body: Body) -> bytes:
    """The bytes of a recorded body."""
    match body.kind:
        case "empty":
            return b""
        case "json":
            return json.dumps(body.content, ensure_ascii=False, separators=(",", ":")).encode()
        case "form":
            return urlencode(_pairs(body.content)).encode()
        case "binary":
            return base64.b64decode(body.content)
        case _:
            return str(body.content).encode(body.encoding or "utf-8")


def _body_difference(recorded: Body, raw: bytes, free: Sequence[str]) -> str | None:
    match recorded.kind:
        case "empty":
            return "body: none was recorded" if raw else None
        case "json":
            try:
                asked = json.loads(raw)
            except ValueError:
                return "body: JSON was recorded"
            return _compare("body", dict(_leaves(recorded.content)), dict(_leaves(asked)), free)
        case "form":
            pairs = parse_qsl(raw.decode(errors="replace"), keep_blank_values=True)
            return _compare("body", _leaves(_by_name(_pairs(recorded.content))), _leaves(_by_name(pairs)), free)
        case "xml":
            asked_xml = raw.decode(recorded.encoding or "utf-8", errors="replace")
            return _compare("body", _elements(str(recorded.content)), _elements(asked_xml), free)
        case "text":
            asked_text = raw.decode(recorded.encoding or "utf-8", errors="replace")
            return _compare("body", {"": str(recorded.content)}, {"": asked_text}, free)
        case _:
            return None if raw else f"body: {recorded.kind} was recorded, none is sent"


def _compare(
    what: str,
    recorded: Mapping[str, object] | Iterable[tuple[str, object]],
    asked: Mapping[str, object] | Iterable[tuple[str, object]],
    free: Sequence[str],
) -> str | None:
    """The first difference of two flat tables, by the recorded one's order."""
    ours, theirs = dict(recorded), dict(asked)
    for where, value in ours.items():
        if where not in theirs:
            return f"{what} {where}: was recorded, is missing"
        other = theirs[where]
        if isinstance(value, str) != isinstance(other, str) and not _blotted(value):
            return f"{what} {where}: {_short(value)} was recorded, {_short(other)} is sent"
        if not _same(_word(value), _word(other), free):
            return f"{what} {where}: {_short(value)} was recorded, {_short(other)} is sent"
    new = next((where for where in theirs if where not in ours), None)
    return None if new is None else f"{what} {new}: was not recorded"


def _same(recorded: str, asked: str, free: Sequence[str]) -> bool:
    """Whether a value is the recorded one; what is free may differ, and what was blotted out matches anything."""
    if recorded == asked:
        return True
    ours, theirs = _settled(recorded, free), _settled(asked, free)
    if ours == theirs:
        return True
    parts = _BLOT.split(ours)
    return len(parts) > 1 and re.fullmatch(".*".join(map(re.escape, parts)), theirs, re.DOTALL) is not None


def _settled(text: str, free: Sequence[str]) -> str:
    for name, pattern in FREE.items():
        if name in free:
            text = pattern.sub(f"<{name}>", text)
    return text


def _blotted(value: object) -> bool:
    return isinstance(value, str) and _BLOT.search(value) is not None


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _leaves(value: object, where: str = "") -> Iterator[tuple[str, object]]:
    """Every value of a JSON document by its pointer (RFC 6901); empty lists and objects count as values."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{where}/{str(name).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list | tuple) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{where}/{number}")
    else:
        yield where, value


_MARKUP = re.compile(r"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[(?P<raw>.*?)\]\]>|<(?P<tag>[^>]*)>|(?P<text>[^<]+)", re.DOTALL)


def _elements(text: str) -> dict[str, object]:
    """Elements with their attributes, and texts, of an XML document in order, by their path. For comparing only: resolves nothing."""
    found: dict[str, object] = {}
    path: list[str] = []
    for piece in _MARKUP.finditer(text):
        tag, words = piece["tag"], piece["raw"] or piece["text"]
        if tag is None:
            if words and words.strip():
                found[_fresh(found, f"{'/'.join(path)}/text()")] = words.strip()
        elif tag.startswith("/"):
            del path[-1:]
        else:
            name, _, attributes = tag.rstrip("/").strip().partition(" ")
            path.append(name)
            found[_fresh(found, "/".join(path))] = " ".join(sorted(attributes.split()))
            if tag.endswith("/"):
                path.pop()
    return found


def _fresh(found: Mapping[str, object], where: str) -> str:
    number, name = 1, where
    while name in found:
        number += 1
        name = f"{where}[{number}]"
    return name


def _names(names: Iterable[str]) -> dict[str, object]:
    return dict.fromkeys((f"/{name}" for name in sorted(names)), "")


def _pairs(content: Any) -> list[tuple[str, str]]:
    """A form as pairs, whether it was kept as pairs or by name."""
    if isinstance(content, Mapping):
        return [
            (str(name), str(one)) for name, value in content.items() for one in (value if isinstance(value, list) else [value])
        ]
    return [(str(name), str(value)) for name, value in content]


def _by_name(pairs: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


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
    return Body(kind=body.kind, content=body.content, encoding=body.encoding)


def _replayable(body: Body) -> bool:
    return body.kind != "multipart" and (body.kind == "empty" or body.content is not None or body.kind == "json")


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in sorted(headers.items()) if name.lower() not in _UNTOLD}


def _told(played: Played) -> dict[str, Any]:
    """An exchange as it is written: nothing that is empty, no sizes."""
    asked = {
        "method": played.request.method,
        "path": played.request.path,
        "query": [list(pair) for pair in played.request.query],
        "headers": played.request.headers,
        "body": _told_body(played.request.body),
    }
    values: dict[str, Any] = {"call": played.call, "request": {name: value for name, value in asked.items() if value}}
    if played.answer is None:
        return {**values, "answer": None, "problem": played.problem}
    answer = {
        "status": played.answer.status,
        "headers": played.answer.headers,
        "body": _told_body(played.answer.body),
    }
    return {**values, "answer": {name: value for name, value in answer.items() if value}}


def _told_body(body: Body) -> dict[str, Any] | None:
    if body.kind == "empty":
        return None
    told = {"kind": body.kind, "content": body.content}
    return told | {"encoding": body.encoding} if body.encoding else told


def _without_contact(assignment: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in assignment.items() if name != "contact"}
