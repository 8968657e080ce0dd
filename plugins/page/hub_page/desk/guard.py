"""What every request to the desk passes: a limit on its size, and the headers that keep a browser from doing what the page never asks.

An ASGI wrapper round the desk's application.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub_page.messages import MOST_OF_PHOTOS

MOST_BODY = MOST_OF_PHOTOS + 256 * 1024
"""Most bytes of a form with photos."""
_MOST_JSON = 256 * 1024
_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
     b"base-uri 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"x-robots-tag", b"noindex, nofollow"),
)  # fmt: skip


class TooLarge(Exception):
    """The body has more bytes than it may have."""


class Guard:
    """Wraps the application. Reading a body past its limit raises TooLarge in the application; unanswered it becomes 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = _MOST_JSON if scope["path"].startswith("/api/") else MOST_BODY
        read = 0
        answering = False

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            within = read <= most
            read += len(message.get("body", b""))
            if within and read > most:  # once: what follows may be read to its end and thrown away
                raise TooLarge
            return message

        async def guarded(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(header for header in _HEADERS if header[0] not in present)]
                if b"cache-control" not in present:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        try:
            await self._app(scope, limited, guarded)
        except TooLarge:
            if answering:
                raise
            await guarded({"type": "http.response.start", "status": 413, "headers": [(b"connection", b"close")]})
            await guarded({"type": "http.response.body", "body": b""})
