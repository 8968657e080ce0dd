"""Every request a simulator got and the answer it gave, for assertions (`GET /_sim/requests`) and for cassettes.

In memory: the last `MOST`, gone when the simulator ends. Credentials are struck out. Written by the gate.
"""

from __future__ import annotations

import base64
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message, Receive, Scope, Send

MOST = 1000
"""Exchanges that are kept."""
MOST_BODY = 256 * 1024
"""Bytes of a body that are kept; the size is that of the whole."""

_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"})


@dataclass
class Body:
    """A body as far as it is kept."""

    kept: bytearray = field(default_factory=bytearray)
    size: int = 0

    def add(self, piece: bytes) -> None:
        """The next piece."""
        self.kept += piece[: max(0, MOST_BODY - len(self.kept))]
        self.size += len(piece)


@dataclass
class Exchange:
    """One request and its answer. `status` None: no answer came."""

    number: int
    at: float
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Body = field(default_factory=Body)
    status: int | None = None
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    answer: Body = field(default_factory=Body)
    fault: str | None = None
    seconds: float = 0.0


class Recorder:
    """Keeps exchanges. `secrets` never show."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)
        self._kept: deque[Exchange] = deque(maxlen=MOST)
        self._count = 0

    def begin(self, scope: Scope) -> Exchange:
        """A request comes in; it is listed from now on."""
        self._count += 1
        exchange = Exchange(
            number=self._count,
            at=time.time(),
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers=_headers(scope["headers"]),
        )
        self._kept.append(exchange)
        return exchange

    def forget(self) -> None:
        """Forget the kept exchanges. Numbers go on."""
        self._kept.clear()

    def since(self, number: int = 0) -> dict[str, Any]:
        """The exchanges after `number`, oldest first, as JSON, and the number of the last."""
        return {"requests": [self._shown(one) for one in self._kept if one.number > number], "last": self._count}

    def _shown(self, one: Exchange) -> dict[str, Any]:
        return {
            "number": one.number,
            "at": one.at,
            "method": one.method,
            "path": one.path,
            "query": self._struck(one.query),
            "headers": {name: self._header(name, value) for name, value in one.headers.items()},
            **self._body(one.body),
            "answer": None
            if one.status is None
            else {
                "status": one.status,
                "headers": {name: self._header(name, value) for name, value in one.answer_headers.items()},
                **self._body(one.answer),
            },
            "fault": one.fault,
            "seconds": round(one.seconds, 6),
        }

    def _header(self, name: str, value: str) -> str:
        return "***" if name in _SECRET_HEADERS else self._struck(value)

    def _body(self, body: Body) -> dict[str, Any]:
        """`text`, or `base64` where it is none; `size` is that of the whole body."""
        raw = bytes(body.kept)
        try:
            return {"text": self._struck(raw.decode()), "size": body.size}
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(raw).decode(), "size": body.size}

    def _struck(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def listening(exchange: Exchange, receive: Receive) -> Receive:
    """`receive` that notes the request's body."""

    async def heard() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            exchange.body.add(message.get("body", b""))
        return message

    return heard


def speaking(exchange: Exchange, send: Send) -> Send:
    """`send` that notes the answer."""
    began = time.monotonic()

    async def said(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            exchange.answer_headers = _headers(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            exchange.answer.add(message.get("body", b""))
        exchange.seconds = time.monotonic() - began
        await send(message)

    return said


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
