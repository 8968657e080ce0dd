"""Cassettes: a recorded exchange with a department's real system, replayed in a test without it.

`hub adapter try … --sample default --record FILE` makes one. A test builds a client that answers from it:

    cassette = Cassette.load(path)
    http = departmental_client("lamps", timeout=1, transport=replaying(cassette))

Strict: every request must be a recorded one that is still unused (equal ones in the order they came). Compared are method, path, query,
names of the headers, and the body key by key. Only values that are new each time (`free`) and blotted-out ones may differ. The first
difference is named.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx

from hub.platform.trial.cassette import FREE, UNTOLD, Asked, Cassette, Free, Played
from hub.platform.trial.values import Body

__all__ = ["Asked", "Cassette", "CassetteMismatch", "Replaying", "difference", "raw_of", "replaying"]

_BLOT = re.compile(r"\*{3,}|\[redacted\]")


class CassetteMismatch(AssertionError):
    """A request is none of those recorded, or something recorded was never asked for; the text names the first difference."""


class Replaying(httpx.AsyncBaseTransport):
    """Answers from a cassette; each exchange once."""

    def __init__(self, cassette: Cassette) -> None:
        self._free = cassette.free
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
            headers = {name: value for name, value in found.answer.headers.items() if name.lower() not in UNTOLD}
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


def difference(recorded: Asked, request: httpx.Request, body: bytes, *, free: Sequence[Free] = tuple(FREE)) -> str | None:
    """The first thing in which a request is not the recorded one; None when it is. Recorded values come first in the text."""
    if recorded.method != request.method:
        return f"method: {recorded.method} was recorded, {request.method} is asked"
    if not _same(recorded.path, request.url.path, free):
        return f"path: {recorded.path} was recorded, {request.url.path} is asked"
    pairs = parse_qsl(request.url.query.decode(), keep_blank_values=True)
    return (
        _compare("query", _leaves(_by_name(recorded.query)), _leaves(_by_name(pairs)), free)
        or _compare("header", _names(recorded.headers), _names(request.headers), free)
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


def _body_difference(recorded: Body, raw: bytes, free: Sequence[Free]) -> str | None:
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
    free: Sequence[Free],
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


def _same(recorded: str, asked: str, free: Sequence[Free]) -> bool:
    """Whether a value is the recorded one. Free values may differ; a blotted-out one matches anything."""
    if recorded == asked:
        return True
    ours, theirs = _settled(recorded, free), _settled(asked, free)
    if ours == theirs:
        return True
    parts = _BLOT.split(ours)
    return len(parts) > 1 and re.fullmatch(".*".join(map(re.escape, parts)), theirs, re.DOTALL) is not None


def _settled(text: str, free: Sequence[Free]) -> str:
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
    """Headers by name only: what they say is rarely the same twice."""
    return dict.fromkeys((f"/{name}" for name in sorted({name.lower() for name in names} - UNTOLD)), "")


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
