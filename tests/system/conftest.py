"""A real nats-server on a free port for every test module that asks for a bus, and counters on it where reports come in."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hub import app
from hub.bus import Bus, EmbeddedServer, ensure_streams
from hub.config.district import Configured, load
from tests.system.department import CONFIG
from tests.system.intake_world import Clock, Counter, Open, opener


@pytest.fixture(scope="session", autouse=True)
def shipped_district_is_read_once() -> Iterator[None]:
    """Reading config/ takes longer than starting a hub, and nobody changes it while the tests run."""
    shipped = functools.cache(lambda: load(CONFIG))

    def read(directory: Path) -> Configured:
        return shipped() if directory == CONFIG else load(directory)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "load", read)
        yield


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


@pytest.fixture
def clock() -> Clock:
    """What the counters go by."""
    return Clock()


@pytest.fixture
async def opened(bus: Bus, tmp_path: Path, clock: Clock) -> Open:
    """Opens counters."""
    return await opener(bus, tmp_path, clock)


@pytest.fixture
def counter(opened: Open) -> Counter:
    """One counter."""
    return opened()
