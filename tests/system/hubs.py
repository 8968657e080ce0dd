"""Several hubs on one bus: a nats-server beside them, a data directory each, and the same configuration and key for all."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from hub.app import Hub
from hub.bus import EmbeddedServer
from hub.contract import Adapter, AdapterInstance, Plugin
from hub.serving import services_of
from hub.settings import Settings
from hub.spine.ledger.desk import utc_now
from hub.surfaces.api import create_app
from hub.testing.kit import QuietServer, eventually
from tests.system.department import CONFIG, instance

KEY = base64.b64encode(b"one key for all hubs of a bus...").decode()


@dataclass(kw_only=True)
class OneBus:
    """A running server and what every hub on it is given."""

    server: EmbeddedServer
    directory: Path
    instances: Sequence[AdapterInstance] = ()
    plugins: Sequence[type[Plugin]] = ()
    clock: Callable[[], datetime] = utc_now
    config: Path = CONFIG

    def settings(self, name: str, **changes: Any) -> Settings:
        """The settings of the hub of that name: its own data directory, the server's URL, the common key."""
        given = {"nats": {"url": self.server.url}, "secrets_key": KEY, **changes}
        return Settings(data=self.directory / name, config=self.config, **given)

    @asynccontextmanager
    async def hub(self, name: str, *, stages: bool = True, **changes: Any) -> AsyncIterator[Hub]:
        """A hub, running unless without `stages`; `changes` are of its settings. It must not stop by itself."""
        settings = self.settings(name, **changes)
        async with Hub.open(settings, instances=self.instances, plugins=self.plugins, clock=self.clock) as hub:
            if not stages:
                yield hub
                return
            async with hub.running():
                yield hub
                if hub.fatal.done():
                    raise AssertionError(f"{name}: {hub.fatal.result()}")


@asynccontextmanager
async def one_bus(
    directory: Path, adapters: Mapping[str, type[Adapter]] | None = None, *, extra: Sequence[type[Plugin]] = (), **limits: Any
) -> AsyncIterator[OneBus]:
    """A bus without hubs yet. Adapters by instance name, `extra` plugins without an instance; `limits` are of the instances."""
    server = EmbeddedServer(directory / "nats", port=0, sync_always=False)
    await server.start()
    try:
        kinds = adapters or {}
        instances = [instance(name, **limits) for name in kinds]
        yield OneBus(server=server, directory=directory, instances=instances, plugins=[*kinds.values(), *extra])
    finally:
        await server.stop()


@asynccontextmanager
async def two_hubs(
    directory: Path, adapters: Mapping[str, type[Adapter]] | None = None, *, stages: bool = True, **options: Any
) -> AsyncIterator[tuple[Hub, Hub]]:
    """Hubs A and B on one bus, both running; `options` are those of `one_bus`."""
    async with (
        one_bus(directory, adapters, **options) as bus,
        bus.hub("a", stages=stages) as a,
        bus.hub("b", stages=stages) as b,
    ):
        yield a, b


@asynccontextmanager
async def api_of(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the hub's HTTP interface, served on a port of its own; without a token."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(services_of(hub))
    config = uvicorn.Config(app, lifespan="off", log_level="critical", access_log=False, timeout_graceful_shutdown=1)
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await eventually(lambda: server.started)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        await serving
        listener.close()
