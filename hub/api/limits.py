"""Limits of the HTTP interface as plain ASGI: body size (413) and requests per token (429 with Retry-After).

They stand before everything that reads or parses; a body is counted as it arrives, whatever its length header says.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api.problems import problem

_MOST_REMEMBERED = 10_000
UNMETERED = ("/healthz", "/readyz", "/hooks/", "/v1/traces")
"""Paths without a rate: probes, the departments' signed callbacks, spans."""


class _TooLarge(Exception):
    """The body grew beyond the limit while it was read."""


class BodyLimit:
    """Refuses bodies of more than `most` bytes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._most:
            await self._refuse(scope, receive, send)
            return
        seen = 0
        answered = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise _TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except _TooLarge:
            if answered:
                raise
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"At most {self._most} bytes."
        await problem(scope, 413, "too_large", detail, headers={"Connection": "close"})(scope, receive, send)


class RateLimit:
    """A bucket of `per_minute` requests for each token (each address without one), refilled steadily."""

    def __init__(self, app: ASGIApp, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._most = float(per_minute)
        self._refill = per_minute / 60.0
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on while there is something left."""
        if scope["type"] != "http" or scope["path"].startswith(UNMETERED):
            await self._app(scope, receive, send)
            return
        wait = self._take(_who(scope))
        if wait > 0:
            headers = {"Retry-After": str(math.ceil(wait))}
            detail = f"At most {self._most:.0f} requests a minute."
            await problem(scope, 429, "rate_limited", detail, headers=headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _take(self, who: str) -> float:
        """Take one; seconds until there is one again (0: taken)."""
        now = self._clock()
        left, since = self._buckets.get(who, (self._most, now))
        left = min(self._most, left + (now - since) * self._refill)
        allowed = left >= 1
        self._buckets[who] = (left - 1 if allowed else left, now)
        self._buckets.move_to_end(who)
        while len(self._buckets) > _MOST_REMEMBERED:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._refill


def _who(scope: Scope) -> str:
    token = Headers(scope=scope).get("authorization")
    if token:
        return hashlib.sha256(token.encode("latin-1")).hexdigest()
    client = scope.get("client")
    return f"address {client[0] if client else ''}"
