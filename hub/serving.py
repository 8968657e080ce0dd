"""Serving: a hub with its HTTP interface as a process, and the commands that mend a stopped one.

Owns signals, the listening socket, the administrator's token and the files by which other processes on this machine find the
hub. Says what went wrong in one line and ends with an exit code. Called by the CLI, the demo and the system tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn

from hub.app import Hub
from hub.bus.streams import LEDGER, worked
from hub.errors import ConfigError, HubError, LedgerDamaged
from hub.observing import logs
from hub.platform.adapters.mounts import configured
from hub.spine.effects.linkage import DURABLE
from hub.surfaces.api import create_app
from hub.surfaces.api.services import Instances, Services

if TYPE_CHECKING:
    from hub.contract import Adapter, AdapterInstance, CallbackRequest
    from hub.settings import Settings

log = structlog.get_logger("hub.serving")

DAMAGED = 3
"""Exit code for a damaged ledger: a service manager must not start the hub again by itself."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A serving hub, as the demo and the tests see it."""

    api_url: str
    admin_token: str
    data: Path
    hub: Hub


def services_of(hub: Hub) -> Services:
    """What the HTTP interface needs of a hub; raises ConfigError for settings of plugins' routes."""

    async def callback(adapter: str, request: CallbackRequest) -> int:
        """To the plugin wherever it runs: in this process, or in a worker of its own."""
        elsewhere = hub.workers.status(adapter) is not None
        return await (hub.workers if elsewhere else hub.reportback).callback(adapter, request)

    return Services(
        desk=hub.desk,
        desks=hub.desks,
        kinds=hub.kinds,
        intake=hub.intake,
        callback=callback,
        adapters=hub.adapters,
        statuses=hub.statuses,
        ledger=hub.ledger,
        views=hub.views,
        vault=hub.vault,
        objects=hub.objects,
        tokens=hub.tokens,
        spans=hub.spans,
        district=hub.rulebook.district,
        publish_policy=hub.policies.publish,
        settings=hub.settings.api,
        mounts=configured(hub.adapters.plugins.mounts, hub.settings.routes),
        instances=Instances(roster=hub.adapters, registration=hub.registration, trials=hub.trials),
        credentials=hub.credentials,
        upkeep=hub.upkeep,
        connected=lambda: hub.bus.connected and not hub.fatal.done(),
    )


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the hub stops its parts in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signals alone."""
        yield


async def serve(
    settings: Settings,
    *,
    adapters: Sequence[AdapterInstance] | None = None,
    plugins: Sequence[type[Adapter]] = (),
    any_port: bool = False,
    started: Callable[[Running], Awaitable[None]] | None = None,
    stop: asyncio.Event | None = None,
) -> str | None:
    """Run the hub until SIGINT/SIGTERM, `stop`, the end of `started`, or a fatal fault; returns the fault's reason.

    `any_port`: take a free port when the configured one is in use. `started` runs beside the hub; when it returns, the hub stops.
    Raises ConfigError when the port is in use, LedgerDamaged when the ledger is or becomes damaged.
    """
    end = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, end.set)
            handled.append(number)
    listener = _listen(settings.api.host, settings.api.port, any_port=any_port)
    port = listener.getsockname()[1]
    url = f"http://{settings.api.host}:{port}"
    try:
        async with (
            Hub.open(settings, instances=adapters, plugins=plugins, public_url=settings.api.public_url or url) as hub,
            hub.running(),
        ):
            token = await _admin_token(hub)
            server = _Server(
                uvicorn.Config(
                    create_app(services_of(hub)),
                    log_config=None,
                    access_log=False,
                    lifespan="off",
                    timeout_graceful_shutdown=3,
                    http="httptools" if find_spec("httptools") else "h11",
                    server_header=False,
                )
            )
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            _runtime_file(settings.data, url, hub)
            log.info("hub serves", url=url, data=str(settings.data))
            running = Running(api_url=url, admin_token=token, data=settings.data, hub=hub)
            waiting: set[asyncio.Future[Any]] = {asyncio.create_task(end.wait()), hub.fatal, serving}
            beside = asyncio.ensure_future(started(running)) if started is not None else None
            if beside is not None:
                waiting.add(beside)
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)
            if beside is not None:
                if beside.done():
                    beside.result()
                else:
                    beside.cancel()
                    await asyncio.gather(beside, return_exceptions=True)
            (settings.data / "runtime.json").unlink(missing_ok=True)
            if hub.damaged is not None:
                raise hub.damaged
            return hub.fatal.result() if hub.fatal.done() else None
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
        listener.close()


def up(settings: Settings) -> int:
    """`hub up`: serve until stopped; the process's exit code."""
    logs.setup(level=settings.log_level, json=settings.log_json)
    return _outcome(lambda: serve(settings))


def rebuild_views(settings: Settings) -> int:
    """`hub views rebuild`: throw the read models away and project the whole ledger again (the hub must not be running)."""
    logs.setup(level=settings.log_level, json=settings.log_json)

    async def rebuild() -> str | None:
        async with Hub.open(settings, instances=()) as hub:
            count = await hub.projector.rebuild()
            log.info("views rebuilt", commits=count)
        return None

    return _outcome(rebuild)


def verify_ledger(settings: Settings) -> int:
    """`hub ledger verify`: walk the whole ledger and check every chain (the hub must not be running)."""
    logs.setup(level=settings.log_level, json=settings.log_json)

    async def verify() -> str | None:
        async with Hub.open(settings, instances=()) as hub:
            count, digest = await hub.ledger.verify()
            log.info("ledger is whole", commits=count, digest=digest)
        return None

    return _outcome(verify)


def accept_loss(settings: Settings) -> int:
    """`hub ledger accept-loss`: mark what is left of a damaged ledger as the truth, and forget the views."""
    logs.setup(level=settings.log_level, json=settings.log_json)

    async def accept() -> str | None:
        async with Hub.open(settings, instances=(), check=False) as hub:
            await _no_other_serves(hub)
            mark = await hub.ledger.accept_loss()
            log.warning("loss accepted", sequence=mark.sequence)
        for name in ("views.db", "views.db-wal", "views.db-shm"):
            (settings.data / name).unlink(missing_ok=True)
        return None

    return _outcome(accept)


def forget_secrets(settings: Settings) -> int:
    """`hub secrets forget`: remove the secrets whose key is lost, so that hubs with another key may start."""
    logs.setup(level=settings.log_level, json=settings.log_json)

    async def forget() -> str | None:
        async with Hub.open(settings, instances=(), check=False) as hub:
            await _no_other_serves(hub)
            log.warning("secrets forgotten", count=await hub.sealing.forget_all())
        return None

    return _outcome(forget)


async def _no_other_serves(hub: Hub) -> None:
    """Raise ConfigError while another hub serves on the same bus: it would go on with what is taken away here."""
    if await worked(hub.bus, LEDGER, DURABLE):
        raise ConfigError("another hub serves on this bus: stop every hub first", key="bus")


def _outcome(run: Callable[[], Awaitable[str | None]]) -> int:
    """Run to the end on uvloop; errors the hub raises on purpose are said in one line."""
    try:
        reason = run_loop(run)
    except LedgerDamaged as problem:
        log.critical("the hub refuses to serve", code=problem.code, reason=problem.message)
        return DAMAGED
    except HubError as problem:
        log.critical("the hub does not start", code=problem.code, reason=problem.message)
        return 1
    if reason is not None:
        log.critical("the hub stopped", reason=reason)
        return 1
    return 0


def run_loop(run: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine function on uvloop (asyncio's own loop where uvloop is not available)."""

    # What start-up made lives for ever, and a case's state holds no cycles: look for garbage rarely.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

    async def main() -> Any:
        return await run()

    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def _admin_token(hub: Hub) -> str:
    """The administrator's token of this data directory, issued at the first start."""
    file = hub.settings.data / "admin.token"
    if file.exists():
        token = file.read_text().strip()
        if await hub.tokens.find(token) is not None:
            return token
    token, _ = await hub.tokens.issue(name="admin", role="admin", unit=None, area=hub.rulebook.district().code)
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(token + "\n")
    return token


def _runtime_file(data: Path, url: str, hub: Hub) -> None:
    nats = hub.bus.nc.connected_url
    address = f"{nats.hostname}:{nats.port}" if nats is not None else ""
    (data / "runtime.json").write_text(json.dumps({"api": url, "nats": address, "pid": os.getpid()}))


def _listen(host: str, port: int, *, any_port: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as problem:
        if not any_port:
            listener.close()
            raise ConfigError(f"{host}:{port} can't be listened on: {problem.strerror}", key="api.port") from problem
        listener.bind((host, 0))
    listener.listen(1024)
    return listener
