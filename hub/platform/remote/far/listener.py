"""The small HTTP listener for a department's callbacks: POST anywhere, 2xx only once everything in it is kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn

from hub.contract import CallbackRejected, CallbackRequest
from hub.errors import ConfigError

MOST_BODY = 12 * 1024 * 1024


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signals alone."""
        yield


@contextlib.asynccontextmanager
async def listening(take: Callable[[CallbackRequest], Awaitable[int]], host: str, port: int) -> AsyncIterator[int]:
    """Listen while inside; the port. Raises ConfigError when it is in use."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        status, body = await _answer(take, scope, receive)
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})

    server = _Server(
        uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, lifespan="off", server_header=False)
    )
    serving = asyncio.create_task(_serve(server), name="callbacks")
    try:
        while not server.started:
            if serving.done():
                raise ConfigError(f"{host}:{port} can't be listened on", key="callback-port")
            await asyncio.sleep(0.01)
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


async def _serve(server: uvicorn.Server) -> None:
    try:
        await server.serve()
    except SystemExit as problem:  # uvicorn's way of saying that the port is in use
        raise ConfigError("the callback port can't be used", key="callback-port") from problem


async def _answer(take: Callable[[CallbackRequest], Awaitable[int]], scope: dict[str, Any], receive: Any) -> tuple[int, str]:
    if scope["type"] != "http" or scope["method"] != "POST":
        return 405, "POST only\n"
    body = b""
    while True:
        part = await receive()
        if part["type"] == "http.disconnect":
            return 400, "incomplete\n"
        body += part.get("body", b"")
        if len(body) > MOST_BODY:
            return 413, "too large\n"
        if not part.get("more_body"):
            break
    pairs = (pair.partition("=") for pair in scope["query_string"].decode("latin-1").split("&") if pair)
    request = CallbackRequest(
        method="POST",
        path=scope["path"].lstrip("/"),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        query={name: value for name, _, value in pairs},
        body=body,
    )
    try:
        taken = await take(request)
    except CallbackRejected as problem:
        return problem.status, f"{problem.reason}\n"
    return 200, f"{taken}\n"
