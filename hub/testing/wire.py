"""Answers no sane system gives: garbage, far too much, far too late, drop by drop, or a connection that breaks.

The request itself is carried out first, because a caller can't know whether it was. Played by the gate.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.testing.faults import FaultKind
from hub.testing.scripts import Trouble

HUGE = 50 * 1024 * 1024
"""Bytes of a huge answer unless said otherwise."""
HANG = 30.0
"""Seconds of a hang or of a drip unless said otherwise."""
GIVE_UP = 120.0
"""Seconds after which a request left unanswered is dropped even if the caller still waits."""

_GARBAGE = b'\x00\xff{"ticket": <html>\xc3\x28 502 \xe5\x86</html>' * 3
_CHUNK = b"0" * 65536


@dataclass
class Kept:
    """An answer that was given and not sent."""

    start: Message = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)

    async def send(self, message: Message) -> None:
        """Keep it."""
        if message["type"] == "http.response.start":
            self.start = message
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")


async def play(trouble: Trouble, app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, connection: Send) -> None:
    """Carry the request out, then answer as `trouble` says. `connection` is the server's own send: it knows the socket."""
    kept = Kept()
    await app(scope, receive, kept.send)
    match trouble.kind:
        case FaultKind.TIMEOUT_AFTER_ACCEPT:
            await _gone(receive, GIVE_UP)
        case FaultKind.GARBAGE:
            await _start(send, 200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_GARBAGE))])
            await send({"type": "http.response.body", "body": _GARBAGE})
        case FaultKind.HUGE:
            await _huge(receive, send, trouble.size or HUGE)
        case FaultKind.HANG:
            if not await _gone(receive, trouble.seconds or HANG):
                await send(kept.start)
                await send({"type": "http.response.body", "body": bytes(kept.body)})
        case FaultKind.DRIP:
            await _drip(kept, receive, send, trouble.seconds or HANG)
        case FaultKind.CLOSE:
            _reset(connection)
            await _gone(receive, GIVE_UP)
        case _:
            raise ValueError(f"not played here: {trouble}")


async def _start(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _huge(receive: Receive, send: Send, size: int) -> None:
    """A JSON string without end, in pieces, until it is sent or nobody takes it any more."""
    await _start(send, 200, [(b"content-type", b"application/json")])
    await send({"type": "http.response.body", "body": b'{"ticket": "', "more_body": True})
    left = asyncio.ensure_future(_gone(receive, GIVE_UP))
    try:
        for _ in range(max(1, size // len(_CHUNK))):
            if left.done():
                return
            await send({"type": "http.response.body", "body": _CHUNK, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b'"}'})
    finally:
        left.cancel()


async def _drip(kept: Kept, receive: Receive, send: Send, seconds: float) -> None:
    """The true answer, a byte each tenth of a second: every wait is short, the whole is endless."""
    await _start(send, kept.start["status"], [(b"content-type", b"application/json")])
    slow = bytes(kept.body) + b" " * max(0, int(seconds * 10) - len(kept.body))
    for place in range(len(slow)):
        if await _gone(receive, 0.1):
            return
        await send({"type": "http.response.body", "body": slow[place : place + 1], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive, within: float) -> bool:
    """Wait until the caller has hung up; False when it has not `within` seconds."""
    try:
        async with asyncio.timeout(within):
            while (await receive())["type"] != "http.disconnect":
                continue
    except TimeoutError:
        return False
    return True


def _reset(connection: Send) -> None:
    """Break the connection with RST; ASGI has no word for it, uvicorn's cycle (the owner of `send`) has the transport."""
    transport = getattr(getattr(connection, "__self__", None), "transport", None)
    if not isinstance(transport, asyncio.BaseTransport):
        raise RuntimeError("this server shows no transport: the connection can't be reset")
    wire = transport.get_extra_info("socket")
    if wire is not None:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
