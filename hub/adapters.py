"""Adapters: discovers, validates and runs plugins; the one place that catches a plugin's arbitrary exceptions.

Owns the instances of config/adapters.yaml, their breakers and pauses. Refuses at start, naming plugin and rule: unknown plugins,
wrong settings, capabilities that are declared and not defined. Called by dispatch, report-back and the API.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pluggy
import structlog
from pydantic import ValidationError

from hub import hookspecs
from hub.breaker import Breaker, BreakerState
from hub.bus.buckets import AdapterBucketStore, Bucket
from hub.contract import (
    Adapter,
    AdapterInstance,
    Assignment,
    CallbackRejected,
    CallbackRequest,
    Capability,
    Context,
    Health,
    IncomingCase,
    Manifest,
    Notice,
    Poll,
    Receipt,
    Report,
)
from hub.errors import (
    AdapterFault,
    CredentialsRejected,
    HubError,
    NotAllowed,
    OutcomeUnknown,
    PluginError,
    Unavailable,
)
from hub.outbound import departmental_client

if TYPE_CHECKING:
    import httpx

log = structlog.get_logger("hub.adapters")

T = TypeVar("T")

_METHODS = {
    Capability.LOOKUP: "lookup",
    Capability.RECALL: "recall",
    Capability.URGE: "urge",
    Capability.INFORM: "inform",
    Capability.POLL: "poll",
    Capability.CALLBACK: "parse_callback",
}


class Pause(msgspec.Struct, frozen=True):
    """Why and since when an instance takes nothing; kept in the ADAPTERS bucket, so it outlives a restart."""

    reason: str
    at: datetime
    automatic: bool


@dataclass(frozen=True, kw_only=True)
class AdapterStatus:
    """How an instance stands. `state`: running, paused or disabled; `queued`/`in_flight` are filled in by dispatch's backlog."""

    name: str
    plugin: str
    department: str
    version: str
    state: str
    detail: str
    breaker: str
    queued: int
    in_flight: int
    capabilities: tuple[str, ...]


def discover(extra: Iterable[type[Adapter]] = ()) -> dict[str, type[Adapter]]:
    """All adapter classes of installed plugins by their manifest's name; raises PluginError."""
    plugins = pluggy.PluginManager(hookspecs.PROJECT)
    plugins.add_hookspecs(hookspecs)
    for entry in entry_points(group=hookspecs.PROJECT):
        try:
            plugins.register(entry.load(), name=entry.name)
        except Exception as problem:
            raise PluginError(f"plugin {entry.name} can't be loaded: {problem}", subject=entry.name) from problem
    try:
        plugins.check_pending()
    except pluggy.PluginValidationError as problem:
        raise PluginError(f"unknown hook: {problem}", subject="hooks") from problem
    found: dict[str, type[Adapter]] = {}
    for kind in [kind for kinds in plugins.hook.hub_adapters() for kind in kinds] + list(extra):
        check_class(kind)
        if kind.manifest.name in found:
            raise PluginError(f"two plugins are named {kind.manifest.name}", subject=kind.manifest.name)
        found[kind.manifest.name] = kind
    return found


def check_class(kind: type[Adapter]) -> None:
    """The contract's rules for a class; raises PluginError naming plugin and rule."""
    manifest = getattr(kind, "manifest", None)
    if not isinstance(manifest, Manifest):
        raise PluginError(f"{kind.__qualname__}: an adapter needs a manifest", subject=kind.__qualname__)
    if kind.deliver is Adapter.deliver:
        raise PluginError(f"{manifest.name}: deliver is not defined", subject=manifest.name)
    for capability, method in _METHODS.items():
        own = getattr(kind, method)
        if capability in manifest.capabilities and own is getattr(Adapter, method):
            raise PluginError(
                f"{manifest.name}: declares {capability.value} but does not define {method}", subject=manifest.name
            )
        if not inspect.iscoroutinefunction(own):
            raise PluginError(f"{manifest.name}: {method} must be async", subject=manifest.name)


class Running:
    """One adapter instance at work: every call is bounded in time, and what it throws is turned into a delivery error."""

    def __init__(self, instance: AdapterInstance, adapter: Adapter, client: httpx.AsyncClient) -> None:
        self.instance = instance
        self.manifest = adapter.manifest
        self.pause: Pause | None = None
        self.stirred = asyncio.Event()
        self.breaker = Breaker(
            window=instance.breaker_window,
            minimum=instance.breaker_minimum,
            ratio=instance.breaker_ratio,
            open_for=instance.breaker_open_for.total_seconds(),
            clock=time.monotonic,
        )
        self._adapter = adapter
        self._client = client

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.instance.name

    def can(self, capability: Capability) -> bool:
        """Whether the plugin declares it."""
        return capability in self.manifest.capabilities

    async def start(self) -> None:
        """Start the plugin; raises PluginError."""
        try:
            async with asyncio.timeout(30):
                await self._adapter.start()
        except Exception as problem:
            raise PluginError(f"{self.name}: start failed: {_words(problem)}", subject=self.name) from problem

    async def stop(self) -> None:
        """Stop the plugin; what it throws is logged."""
        try:
            async with asyncio.timeout(10):
                await self._adapter.stop()
        except Exception as problem:
            log.warning("adapter did not stop cleanly", adapter=self.name, error=_words(problem))
        await self._client.aclose()

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Hand over; raises delivery errors only. A time-out is an unknown outcome."""
        receipt = await self._call("deliver", self._adapter.deliver(assignment), unknown_on_timeout=True)
        if not isinstance(receipt, Receipt) or not receipt.ticket or len(receipt.ticket) > 200:
            raise AdapterFault(f"{self.name}: deliver gave no receipt with a ticket")
        return receipt

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Ask by key."""
        receipt = await self._call("lookup", self._adapter.lookup(assignment))
        if receipt is not None and (not isinstance(receipt, Receipt) or not receipt.ticket):
            raise AdapterFault(f"{self.name}: lookup gave neither a receipt nor None")
        return receipt

    async def recall(self, assignment: Assignment, reason: str) -> None:
        """Take back."""
        await self._call("recall", self._adapter.recall(assignment, reason))

    async def urge(self, assignment: Assignment, message: str) -> None:
        """Remind."""
        await self._call("urge", self._adapter.urge(assignment, message))

    async def inform(self, notice: Notice) -> None:
        """Tell the source."""
        await self._call("inform", self._adapter.inform(notice))

    async def poll(self, cursor: str | None) -> Poll:
        """Fetch what is new."""
        found = await self._call("poll", self._adapter.poll(cursor))
        if not isinstance(found, Poll):
            raise AdapterFault(f"{self.name}: poll gave no Poll")
        return found

    async def health(self) -> Health:
        """Ask the departmental system; never raises."""
        try:
            return await self._call("health", self._adapter.health())
        except HubError as problem:
            return Health(ok=False, detail=problem.message)

    async def parse_callback(self, request: CallbackRequest) -> Sequence[Report | IncomingCase]:
        """Verify and read; raises CallbackRejected."""
        try:
            async with asyncio.timeout(10):
                return await self._adapter.parse_callback(request)
        except CallbackRejected:
            raise
        except HubError as problem:
            raise CallbackRejected(problem.message, status=400) from problem
        except Exception as problem:
            log.error("callback not read", adapter=self.name, error=_words(problem))
            raise CallbackRejected("the body can't be read", status=400) from problem

    async def _call(self, what: str, call: Awaitable[T], *, unknown_on_timeout: bool = False) -> T:
        limit = self.manifest.attempt_timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                return await call
        except HubError:
            raise
        except TimeoutError as problem:
            if unknown_on_timeout:
                raise OutcomeUnknown(f"{self.name}: no answer to {what} within {limit:.0f} s") from problem
            raise Unavailable(f"{self.name}: no answer to {what} within {limit:.0f} s") from problem
        except Exception as problem:
            log.error("adapter fault", adapter=self.name, call=what, error=_words(problem), exc_info=problem)
            raise AdapterFault(f"{self.name}: {what} failed: {_words(problem)}") from problem


class Adapters:
    """All instances."""

    def __init__(
        self,
        plugins: Mapping[str, type[Adapter]],
        instances: Sequence[AdapterInstance],
        bucket: Bucket,
        *,
        public_url: str,
        backlog: Callable[[str], Awaitable[tuple[int, int]]],
    ) -> None:
        self._plugins = plugins
        self._instances = {instance.name: instance for instance in instances}
        self._bucket = bucket
        self._public_url = public_url.rstrip("/")
        self._backlog = backlog
        self._running: dict[str, Running] = {}

    async def start(self) -> None:
        """Build and start every enabled instance; raises PluginError naming instance and rule."""
        for instance in self._instances.values():
            if instance.enabled:
                self._running[instance.name] = running = self._build(instance)
                stored = await self._bucket.get(f"{instance.name}.pause")
                if stored is not None and stored.value:
                    running.pause = msgspec.json.decode(stored.value, type=Pause)
        await asyncio.gather(*(running.start() for running in self._running.values()))

    async def stop(self) -> None:
        """Stop them all."""
        await asyncio.gather(*(running.stop() for running in self._running.values()))

    def _build(self, instance: AdapterInstance) -> Running:
        kind = self._plugins.get(instance.plugin)
        if kind is None:
            known = ", ".join(sorted(self._plugins)) or "none"
            raise PluginError(
                f"{instance.name}: no plugin named {instance.plugin} is installed (installed: {known})", subject=instance.name
            )
        try:
            settings = kind.Settings.model_validate(dict(instance.settings))
        except ValidationError as problem:
            first = problem.errors(include_input=False, include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            raise PluginError(f"{instance.name}: settings.{key}: {first['msg']}", subject=instance.name) from problem
        limit = kind.manifest.attempt_timeout.total_seconds()
        client = departmental_client(instance.name, timeout=limit)
        context = Context(
            instance=instance.name,
            http=client,
            store=AdapterBucketStore(self._bucket, instance.name),
            log=structlog.get_logger("hub.adapter").bind(adapter=instance.name),
            callback_url=f"{self._public_url}/hooks/{instance.name}",
        )
        try:
            adapter = kind(settings, context)
        except Exception as problem:
            raise PluginError(f"{instance.name}: can't be built: {_words(problem)}", subject=instance.name) from problem
        return Running(instance, adapter, client)

    def serves(self, name: str) -> bool:
        """Whether an enabled instance has that name."""
        return name in self._running

    def get(self, name: str) -> Running:
        """The running instance; raises NotAllowed."""
        found = self._running.get(name)
        if found is None:
            raise NotAllowed("no such adapter", subject=name)
        return found

    def running(self) -> list[Running]:
        """Every enabled instance."""
        return list(self._running.values())

    async def statuses(self) -> list[AdapterStatus]:
        """How every instance stands, disabled ones too."""
        return [await self._status(instance) for instance in self._instances.values()]

    async def _status(self, instance: AdapterInstance) -> AdapterStatus:
        running = self._running.get(instance.name)
        kind = self._plugins.get(instance.plugin)
        manifest = kind.manifest if kind is not None else None
        queued, in_flight = await self._backlog(instance.name)
        if running is None:
            state, detail, breaker = "disabled", "", BreakerState.CLOSED
        elif running.pause is not None:
            state, detail, breaker = "paused", running.pause.reason, running.breaker.state
        else:
            state, detail, breaker = "running", "", running.breaker.state
        return AdapterStatus(
            name=instance.name,
            plugin=instance.plugin,
            department=manifest.department if manifest else "",
            version=manifest.version if manifest else "",
            state=state,
            detail=detail,
            breaker=breaker.value,
            queued=queued,
            in_flight=in_flight,
            capabilities=tuple(sorted(c.value for c in manifest.capabilities)) if manifest else (),
        )

    async def pause(self, name: str, reason: str, *, automatic: bool = False) -> None:
        """Take nothing from its queue until resumed; survives a restart."""
        running = self.get(name)
        running.pause = Pause(reason, datetime.now(UTC), automatic)
        await self._bucket.put(f"{name}.pause", msgspec.json.encode(running.pause))
        log.warning("adapter paused", adapter=name, reason=reason)

    async def resume(self, name: str) -> None:
        """Go on."""
        running = self.get(name)
        if running.pause is not None:
            running.pause = None
            await self._bucket.delete(f"{name}.pause")
            log.info("adapter resumed", adapter=name)
        running.stirred.set()

    async def credentials_rejected(self, name: str, problem: CredentialsRejected) -> None:
        """Pause an instance whose credentials the department does not take."""
        if self.get(name).pause is None:
            await self.pause(name, f"credentials rejected: {problem.message}", automatic=True)

    async def try_resume(self, running: Running) -> bool:
        """Whether an automatically paused instance works again (its health says so); resumes it then."""
        if running.pause is None or not running.pause.automatic:
            return running.pause is None
        health = await running.health()
        if health.ok:
            await self.resume(running.name)
        return health.ok


def _words(problem: BaseException) -> str:
    """The class and a short text of an exception; for logs and operators, never for residents."""
    return f"{type(problem).__name__}: {str(problem)[:200]}"
