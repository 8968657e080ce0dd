"""The composition root: it alone constructs the hub's parts, starts them in order and stops them in the other.

`Hub` is everything between the bus and the HTTP interface; `serve` adds the interface and runs until told to stop. Refuses to
serve on a damaged ledger. Called by the CLI, the demo, the bench and the system tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn

from hub import logs, telemetry
from hub.adapters import Adapters, discover
from hub.api import Services, create_app
from hub.api.tokens import Tokens
from hub.bus import Bucket, Bus, EmbeddedServer, Objects, ensure_streams
from hub.bus.streams import DISPATCH, consumer_backlog
from hub.config import District, load_district, policy_from_sources
from hub.deadlines import Deadlines
from hub.desk import Desk, Outcome
from hub.dispatch import Dispatch, durable_of
from hub.errors import BusUnavailable, ConfigError, HubError, LedgerConflict, LedgerDamaged
from hub.intake import Entry, Intake
from hub.ledger import POLICY, CheckpointFile, Ledger, PolicyRecord, decode_policy
from hub.linkage import Linkage
from hub.model.cases import SYSTEM, Actor, Source
from hub.privacy import Vault
from hub.reportback import ReportBack
from hub.spans import SpanStore
from hub.views import Projector, Views

if TYPE_CHECKING:
    from hub.contract import Adapter, AdapterInstance, IncomingCase
    from hub.model.policy import Policy
    from hub.settings import Settings

log = structlog.get_logger("hub.app")

MARK_EVERY = 1.0
"""Seconds between checkpoints outside the store."""


class Rulebook:
    """The district with the policy in force; replaced as a whole when a new policy is published."""

    def __init__(self, configured: District) -> None:
        self._configured = configured
        self._current = configured

    def district(self) -> District:
        """Areas, units and the policy in force."""
        return self._current

    def rules(self) -> Policy:
        """The policy in force."""
        return self._current.policy

    def put_in_force(self, record: PolicyRecord) -> None:
        """Use a published policy from now on; raises ConfigError when it can't be read with the configured areas and units."""
        policy = policy_from_sources(
            record.sources,
            self._configured.areas,
            self._configured.directory,
            version=record.version,
            zone=self._configured.zone,
        )
        self._current = self._configured.with_policy(policy)
        log.info("policy in force", version=record.version)

    def differs_from(self, record: PolicyRecord) -> bool:
        """Whether the files in config/ are not the published ones."""
        return dict(self._configured.policy.sources) != record.sources


class Hub:
    """All parts of one hub process. Use `Hub.open`."""

    def __init__(self, settings: Settings, rulebook: Rulebook) -> None:
        self.settings = settings
        self.rulebook = rulebook
        self.fatal: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.bus: Bus
        self.ledger: Ledger
        self.desk: Desk
        self.vault: Vault
        self.objects: Objects
        self.tokens: Tokens
        self.adapters: Adapters
        self.intake: Intake
        self.linkage: Linkage
        self.dispatch: Dispatch
        self.reportback: ReportBack
        self.deadlines: Deadlines
        self.views: Views
        self.projector: Projector
        self.spans: SpanStore | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        instances: Sequence[AdapterInstance] | None = None,
        plugins: Sequence[type[Adapter]] = (),
        public_url: str | None = None,
    ) -> AsyncIterator[Hub]:
        """Build everything and check the ledger; nothing runs yet. `instances` replaces config/adapters.yaml.

        Raises ConfigError, PluginError, BusUnavailable, LedgerDamaged.
        """
        district = await asyncio.to_thread(load_district, settings.config)
        data = settings.data
        data.mkdir(parents=True, exist_ok=True)
        hub = cls(settings, Rulebook(district))
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(_only_one(data / "hub.lock"))
            hub.spans = SpanStore(data / "spans.db") if settings.tracing else None
            if hub.spans is not None:
                stack.callback(hub.spans.close)
            tracer = telemetry.setup(settings, service="hub", store=hub.spans)
            stack.callback(tracer.close)
            url = settings.nats.url
            if url is None:
                server = EmbeddedServer(
                    data / "nats",
                    port=settings.nats.port,
                    binary=settings.nats.binary,
                    sync_always=settings.nats.sync_always,
                    failed=hub.fail,
                )
                url = await server.start()
                stack.push_async_callback(server.stop)
            credentials = str(settings.nats.credentials) if settings.nats.credentials else None
            hub.bus = await Bus.connect(url, credentials=credentials, fatal=hub.fail)
            stack.push_async_callback(hub.bus.close)
            await hub._build(instances if instances is not None else district.adapters, plugins, public_url)
            stack.callback(hub.views.close)
            await hub.ledger.check(positions={"views": await asyncio.to_thread(hub.views.position)})
            await hub._adopt_policy()
            await hub.adapters.start()
            stack.push_async_callback(hub.adapters.stop)
            yield hub

    async def _build(
        self, instances: Sequence[AdapterInstance], plugins: Sequence[type[Adapter]], public_url: str | None
    ) -> None:
        settings, bus, replicas = self.settings, self.bus, self.settings.nats.replicas
        await ensure_streams(bus, replicas=replicas, ledger_bytes=settings.nats.max_bytes)
        buckets = {name: await Bucket.open(bus, name, replicas=replicas) for name in _BUCKETS}
        district = self.rulebook.district
        self.objects = await Objects.open(bus, replicas=replicas)
        self.ledger = Ledger(bus, CheckpointFile(settings.data / "checkpoint.json"), source=f"/district/{district().code}")
        self.desk = Desk(self.ledger, self.rulebook.rules, cache=settings.cache_cases)
        self.vault = Vault(buckets["PERSONAL"], buckets["VAULT_KEYS"])
        self.tokens = Tokens(buckets["TOKENS"])
        self.intake = Intake(self.desk, bus, district, self.vault)

        async def backlog(name: str) -> tuple[int, int]:
            return await consumer_backlog(bus, DISPATCH, durable_of(name))

        self.adapters = Adapters(
            discover(plugins),
            instances,
            buckets["ADAPTERS"],
            public_url=public_url or settings.api.public_url or f"http://{settings.api.host}:{settings.api.port}",
            backlog=backlog,
        )
        self.views = Views(settings.views.url or f"sqlite:///{settings.data / 'views.db'}")
        self.projector = Projector(self.views, self.ledger)
        self.linkage = Linkage(bus, self.desk)
        self.dispatch = Dispatch(bus, self.desk, self.adapters, district, self.vault)

        async def incoming(adapter: str, item: IncomingCase, actor: Actor, cause: str | None) -> Outcome:
            return await self.intake.report(entry_of(adapter, item), actor=actor, cause=cause)

        self.reportback = ReportBack(bus, self.desk, self.adapters, incoming, self.views, self.objects, buckets["CURSORS"])
        self.deadlines = Deadlines(bus, self.desk)

    async def _adopt_policy(self) -> None:
        """Put the published policy in force; on the first start the configured one is published as version 1."""
        record = await self.ledger.policy()
        if record is None:
            with contextlib.suppress(LedgerConflict):
                await self.ledger.publish_policy(self.rulebook.rules().sources, SYSTEM)
            record = await self.ledger.policy()
            assert record is not None
        elif self.rulebook.differs_from(record):
            log.warning(
                "config/policy differs from the published policy; `hub policy publish` puts it in force", version=record.version
            )
        self.rulebook.put_in_force(record)

    async def publish_policy(self, sources: dict[str, str], actor: Actor) -> int:
        """Check a policy against areas and units, publish it and put it in force; returns its number. Raises ConfigError."""
        district = self.rulebook.district()
        policy_from_sources(sources, district.areas, district.directory, version=0, zone=district.zone)
        version = await self.ledger.publish_policy(sources, actor)
        record = await self.ledger.policy()
        assert record is not None
        self.rulebook.put_in_force(record)
        return version

    def fail(self, reason: str) -> None:
        """Stop serving: something happened that the hub must not go on after."""
        if not self.fatal.done():
            log.critical("the hub stops", reason=reason)
            self.fatal.set_result(reason)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all stages while inside."""
        stages: dict[str, Callable[[], Awaitable[None]]] = {
            "views": self.projector.run,
            "linkage": self.linkage.run,
            "dispatch": self.dispatch.run,
            "report-back": self.reportback.run,
            "deadlines": self.deadlines.run,
            "policy": self._follow_policy,
            "checkpoint": lambda: self.ledger.keep_marking(MARK_EVERY, lambda problem: self.fail(problem.message)),
        }
        tasks = [asyncio.create_task(self._stage(name, run), name=name) for name, run in stages.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(BusUnavailable):
                await self.ledger.mark()

    async def _stage(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Keep a stage going: it is started again when the bus failed it; anything else stops the hub (crash, don't limp)."""
        while not self.fatal.done():
            try:
                await run()
                return
            except* (BusUnavailable, LedgerConflict) as group:
                log.warning("stage starts again", stage=name, reason=str(group.exceptions[0]))
            except* Exception as group:  # the process boundary: said, then the hub stops
                log.critical("stage failed", stage=name, exc_info=group)
                self.fail(f"{name}: {group.exceptions[0]!r}")
            await asyncio.sleep(1.0)

    async def _follow_policy(self) -> None:
        """Put in force what another process publishes."""
        start = await self.bus.last("LEDGER", POLICY)
        async for messages in self.bus.follow("LEDGER", POLICY, start.sequence if start is not None else 0):
            record = decode_policy(messages[-1].data)
            if record.version > self.rulebook.rules().version:
                self.rulebook.put_in_force(record)


_BUCKETS = ("ADAPTERS", "PERSONAL", "VAULT_KEYS", "TOKENS", "CURSORS")


def entry_of(adapter: str, item: IncomingCase) -> Entry:
    """A department's matter as an intake entry."""
    return Entry(
        channel=item.channel,
        title=item.title,
        text=item.text,
        reported_at=item.reported_at,
        area=item.area,
        place_name=item.place_name,
        place=item.place,
        category=item.category,
        severity=item.severity,
        contact=item.contact,
        source=Source(adapter=adapter, ref=item.ref),
        covers=item.covers,
        covers_until=item.covers_until,
    )


@dataclass(frozen=True, kw_only=True)
class Running:
    """A serving hub, as the demo and the tests see it."""

    api_url: str
    admin_token: str
    data: Path
    hub: Hub


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
    Raises ConfigError when the port is in use.
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
                    http="httptools" if _has("httptools") else "h11",
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
            return hub.fatal.result() if hub.fatal.done() else None
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
        listener.close()


def services_of(hub: Hub) -> Services:
    """What the HTTP interface needs of a hub."""
    return Services(
        desk=hub.desk,
        intake=hub.intake,
        reportback=hub.reportback,
        adapters=hub.adapters,
        ledger=hub.ledger,
        views=hub.views,
        vault=hub.vault,
        objects=hub.objects,
        tokens=hub.tokens,
        spans=hub.spans,
        district=hub.rulebook.district,
        publish_policy=hub.publish_policy,
        settings=hub.settings.api,
        connected=lambda: hub.bus.connected and not hub.fatal.done(),
    )


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
        server = EmbeddedServer(settings.data / "nats", port=settings.nats.port, sync_always=settings.nats.sync_always)
        url = settings.nats.url or await server.start()
        try:
            bus = await Bus.connect(url)
            try:
                mark = await Ledger(bus, CheckpointFile(settings.data / "checkpoint.json")).accept_loss()
                log.warning("loss accepted", sequence=mark.sequence)
            finally:
                await bus.close()
        finally:
            await server.stop()
        for name in ("views.db", "views.db-wal", "views.db-shm"):
            (settings.data / name).unlink(missing_ok=True)
        return None

    return _outcome(accept)


def _outcome(run: Callable[[], Awaitable[str | None]]) -> int:
    """Run to the end on uvloop; errors the hub raises on purpose are said in one line."""
    try:
        reason = run_loop(run)
    except (ConfigError, LedgerDamaged, HubError) as problem:
        log.critical("the hub does not start", code=problem.code, reason=problem.message)
        return 1
    if reason is not None:
        log.critical("the hub stopped", reason=reason)
        return 1
    return 0


def run_loop(run: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine function on uvloop (asyncio's own loop where uvloop is not available)."""

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


@contextlib.contextmanager
def _only_one(path: Path) -> Any:
    """One hub per data directory."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise ConfigError(f"another hub runs on {path.parent}", key="data") from problem
        yield


def _has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None
