"""A bus of each kind to try stores on: in memory, and on a real nats-server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hub.bus import Bus, EmbeddedServer, ensure_streams
from hub.bus.streams import DISPATCH, FILES, KEYS, LEDGER
from hub.testing.memory import MemoryBus

fixture = pytest_asyncio.fixture


@fixture(scope="module", loop_scope="module")
async def real(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bus]:
    """A connection to a server of its own."""
    server = EmbeddedServer(tmp_path_factory.mktemp("nats"), port=0, sync_always=False)
    await server.start()
    connection = await Bus.connect(server.url, publish_timeout=3)
    await ensure_streams(connection)
    try:
        yield connection
    finally:
        await connection.close()
        await server.stop()


@fixture(loop_scope="module", params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, real: Bus) -> Bus | MemoryBus:
    """A bus whose streams are empty."""
    if request.param == "memory":
        return MemoryBus()
    for name in (DISPATCH, FILES, KEYS, LEDGER):
        await real.api(f"STREAM.DELETE.{name}")
    await ensure_streams(real)
    return real
