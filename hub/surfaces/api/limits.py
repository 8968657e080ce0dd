"""Limits of the HTTP interface as plain ASGI: body size (413), slow bodies (408) and requests per token (429 with Retry-After).

They stand before everything that reads or parses. A body is counted as it arrives, whatever its length header says.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.surfaces.api.problems import problem

_MOST_REMEMBERED = 10_000
CALLER_KEY = "hub.caller"
"""Where authentication leaves the id of a valid token in the ASGI scope."""
UNMETERED = ("/healthz", "/readyz", "/hooks/", "/v1/traces")
"""Paths without a rate: probes, the departments' signed callbacks, spans."""


BODY_WITHIN = 30.0
"""Seconds a body may take to arrive, and one more for every SLOWEST bytes of it."""
SLOWEST = 8 * 1024


class _TooLarge(Exception):
    """The body grew beyond the limit while it was read."""


class _TooSlow(Exception):
    """The body does not arrive."""


class Allowance:
    """A bucket of `per_minute` for each name, refilled steadily; all of it at once if need be. No I/O; the clock is passed in."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._most = float(per_minute)
        self._refill = per_minute / 60.0
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Take one; seconds until there is one again (0: taken)."""
        now = self._clock()
        left, since = self._left.get(name, (self._most, now))
        left = min(self._most, left + (now - since) * self._refill)
        allowed = left >= 1
        self._left[name] = (left - 1 if allowed else left, now)
        self._left.move_to_end(name)
        while len(self._left) > _MOST_REMEMBERED:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._refill

    def give_back(self, name: str) -> None:
        """Put one back: it was taken in this name for another's request."""
        left, since = self._left.get(name, (self._most, self._clock()))
        self._left[name] = (min(self._most, left + 1), since)


class BodyLimit:
    """Refuses bodies of more than `most` bytes. Refuses bodies that trickle in, too: each would hold a connection and memory."""

    def __init__(self, app: ASGIApp, most: int, within: float = BODY_WITHIN) -> None:
        self._app = app
        self._most = most
        self._within = within

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
        whole = False
        answered = False
        wrong: _TooLarge | _TooSlow | None = None
        began = asyncio.get_running_loop().time()

        async def counted() -> Message:
            nonlocal seen, whole, wrong
            if whole:  # what comes now is only that the client went away
                return await receive()
            try:
                async with asyncio.timeout_at(began + self._within + seen / SLOWEST):
                    message = await receive()
            except TimeoutError:
                wrong = _TooSlow()
                raise wrong from None
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if seen > self._most:
                wrong = _TooLarge()
                raise wrong
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            if wrong is None or answered:
                answered = True
                await send(message)  # else an application took it for a fault of its own: the refusal below is the answer

        try:
            await self._app(scope, counted, watched)
        except (_TooLarge, _TooSlow):
            if answered:
                raise
        if answered or wrong is None:
            return
        if isinstance(wrong, _TooLarge):
            await self._refuse(scope, receive, send)
        else:
            headers = {"Connection": "close"}
            await problem(scope, 408, "too_slow", "The body does not arrive.", headers=headers)(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"At most {self._most} bytes."
        await problem(scope, 413, "too_large", detail, headers={"Connection": "close"})(scope, receive, send)


class RateLimit:
    """A bucket of `per_minute` requests for each token, refilled steadily. Without a token, one for each address.

    Only a token found valid has its own bucket. Made-up ones all draw on the bucket of their address.
    """

    def __init__(self, app: ASGIApp, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._most = per_minute
        self._allowance = Allowance(per_minute, clock)
        self._valid: OrderedDict[str, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on while there is something left."""
        if scope["type"] != "http" or scope["path"].startswith(UNMETERED):
            await self._app(scope, receive, send)
            return
        token = _token(scope)
        address = address_of(scope)
        wait = self._allowance.take(token if token is not None and token in self._valid else address)
        if wait > 0:
            headers = {"Retry-After": str(math.ceil(wait))}
            detail = f"At most {self._most} requests a minute."
            await problem(scope, 429, "rate_limited", detail, headers=headers)(scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if token is not None and message["type"] == "http.response.start":
                self._remember(token, address, valid=CALLER_KEY in scope)
            await send(message)

        await self._app(scope, receive, watched)

    def _remember(self, token: str, address: str, *, valid: bool) -> None:
        if not valid:
            self._valid.pop(token, None)
            return
        if token not in self._valid:
            # Its first request was the address's until now.
            self._allowance.give_back(address)
            self._allowance.take(token)
        self._valid[token] = None
        self._valid.move_to_end(token)
        while len(self._valid) > _MOST_REMEMBERED:
            self._valid.popitem(last=False)


def _token(scope: Scope) -> str | None:
    token = Headers(scope=scope).get("authorization")
    return hashlib.sha256(token.encode("latin-1")).hexdigest() if token else None


def address_of(scope: Scope) -> str:
    """Who sends, as far as limits go: the address, of IPv6 the /64 that one customer has."""
    client = scope.get("client")
    host = client[0] if client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"address {host}"
    if address.version == 6 and address.ipv4_mapped is None:
        return f"address {ipaddress.ip_network((address, 64), strict=False)}"
    return f"address {host}"
