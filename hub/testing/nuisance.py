"""A department's system at its worst, as a process of its own: `python -m hub.testing.nuisance --port 0`.

Every request gets the next of a round of troubles: no answer, 500, rubbish, 50 MB, a broken connection, one byte a second. For benches and
tests of isolation; says its address in one JSON line as simulators do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
from collections.abc import Awaitable, Callable

HANG = 30.0
"""Seconds without an answer."""
HUGE = 50 * 1024 * 1024
_PIECE = b"x" * (256 * 1024)

Trouble = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def _hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(HANG)


async def _error(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops")


async def _rubbish(writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ticket": \xff')


async def _huge(writer: asyncio.StreamWriter) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n".encode())
    for _ in range(HUGE // len(_PIECE)):
        writer.write(_PIECE)
        await writer.drain()


async def _broken(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(int(HANG)):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(1.0)


TROUBLES: tuple[Trouble, ...] = (_hang, _error, _rubbish, _huge, _broken, _drip)


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 for ever."""
    troubles = itertools.cycle(TROUBLES)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            await next(troubles)(writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, limit=1024 * 1024)
    host, bound = server.sockets[0].getsockname()
    print(json.dumps({"ready": True, "url": f"http://{host}:{bound}"}), flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="nuisance", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0: a free one")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().port))
