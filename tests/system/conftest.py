"""A real nats-server on a free port for every test module that asks for a bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.bus import Bus, EmbeddedServer, ensure_streams


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A running embedded server."""
    server = EmbeddedServer(tmp_path / "nats", port=0, sync_always=False)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def bus(server: EmbeddedServer) -> AsyncIterator[Bus]:
    """A connection with the hub's streams."""
    bus = await Bus.connect(server.url, publish_timeout=3)
    await ensure_streams(bus)
    try:
        yield bus
    finally:
        await bus.close()
