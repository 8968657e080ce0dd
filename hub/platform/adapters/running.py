"""A plugin at work for one instance: built with its settings. Every call is bounded, every answer checked, every exception a hub error.

`Running` has the code in this process; `Away` stands for one that runs elsewhere. Made by the roster, used by dispatch and report-back.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import httpx
import msgspec
import structlog
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from hub.contract import (
    Adapter,
    AdapterInstance,
    AdapterStore,
    Alert,
    Assignment,
    Audit,
    CallbackRejected,
    CallbackRequest,
    Capability,
    CaseText,
    Classifier,
    Context,
    Crosswalk,
    Feedback,
    Health,
    IncomingCase,
    Manifest,
    Notice,
    Notifier,
    Placement,
    Plugin,
    Receipt,
    Suggestion,
    WordTable,
)
from hub.contract.crosswalk import Heard, Unmapped
from hub.errors import AdapterFault, HubError, OutcomeUnknown, PluginError, Unavailable
from hub.model.effects import Verb
from hub.platform.adapters import soundness
from hub.platform.adapters.breaker import Breaker
from hub.platform.adapters.calls import Calls, TookTooLong, words
from hub.platform.adapters.outbound import departmental_client
from hub.platform.adapters.rates import Rate
from hub.privacy.marks import plain
from hub.spine.departments import Brought

log = structlog.get_logger("hub.adapters")

T = TypeVar("T")

START_WITHIN = 30.0
CALLBACK_WITHIN = 10.0
CLASSIFY_WITHIN = 1.0
STOP_WITHIN = 10.0
IDLE_WITHIN = 60.0
"""Seconds in which a replaced plugin may finish its work in hand."""
BURST_SECONDS = 5.0
"""A department may bring in so many seconds' worth of items at once."""


class Pause(msgspec.Struct, frozen=True):
    """Why and since when an instance takes nothing; kept in the ADAPTERS bucket, so it outlives a restart."""

    reason: str
    at: datetime
    automatic: bool


@dataclass
class Gate:
    """What all versions of one instance share: whether it is paused, and the bell that wakes its lane."""

    pause: Pause | None = None
    revision: int = 0
    """Of the stored pause, or of the stored end of one."""
    stirred: asyncio.Event = field(default_factory=asyncio.Event)


class Instance:
    """What dispatch needs of an instance wherever its code runs."""

    def __init__(self, instance: AdapterInstance, manifest: Manifest, gate: Gate) -> None:
        self.instance = instance
        self.manifest = manifest
        self.gate = gate
        self.breaker = Breaker(
            window=instance.breaker_window,
            minimum=instance.breaker_minimum,
            ratio=instance.breaker_ratio,
            open_for=instance.breaker_open_for.total_seconds(),
            clock=time.monotonic,
        )
        self.reports = Rate(instance.items_per_second, instance.items_per_second * BURST_SECONDS, time.monotonic)

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.instance.name

    @property
    def pause(self) -> Pause | None:
        """Why it takes nothing, if so."""
        return self.gate.pause

    @property
    def stirred(self) -> asyncio.Event:
        """Set when its lane should look again."""
        return self.gate.stirred

    @property
    def here(self) -> Running | None:
        """Itself, if its code runs in this process."""
        return None

    def can(self, capability: Capability) -> bool:
        """Whether the plugin declares it."""
        return capability in self.manifest.capabilities


class Away(Instance):
    """An instance whose code runs in a worker process or beside the department."""

    def __init__(self, instance: AdapterInstance, manifest: Manifest, gate: Gate, placement: Placement) -> None:
        super().__init__(instance, manifest, gate)
        self.placement = placement


class Running(Instance):
    """One plugin at work in this process."""

    def __init__(self, instance: AdapterInstance, plugin: Plugin, client: httpx.AsyncClient, gate: Gate | None = None) -> None:
        super().__init__(instance, plugin.manifest, gate or Gate())
        self._plugin = plugin
        self._client = client
        self._calls = Calls(instance.name)

    @property
    def here(self) -> Running:
        """Itself."""
        return self

    @property
    def active(self) -> int:
        """Calls under way."""
        return self._calls.active

    @property
    def strays(self) -> int:
        """Abandoned calls that did not end."""
        return self._calls.strays

    @property
    def cursor_name(self) -> str:
        """Name of its poll's cursor. Other settings (secrets aside) may mean another system, so they get a cursor that starts anew."""
        public = self._plugin.settings.model_dump_json()
        return f"cursor-{hashlib.sha256(public.encode()).hexdigest()[:12]}"

    @property
    def kind(self) -> type[Plugin]:
        """The plugin's class."""
        return type(self._plugin)

    async def start(self) -> None:
        """Start the plugin; raises PluginError."""
        try:
            await self._calls.call("start", self._plugin.start(), within=START_WITHIN)
        except TookTooLong as problem:
            raise PluginError(f"{self.name}: start took more than {START_WITHIN:.0f} s", subject=self.name) from problem
        except (HubError, CallbackRejected) as problem:
            raise PluginError(f"{self.name}: start failed: {problem}", subject=self.name) from problem

    async def stop(self) -> None:
        """Stop the plugin. Its exceptions are logged."""
        try:
            await self._calls.call("stop", self._plugin.stop(), within=STOP_WITHIN)
        except (TookTooLong, HubError, CallbackRejected) as problem:
            log.warning("adapter did not stop cleanly", adapter=self.name, error=words(problem))
        await self._client.aclose()

    async def retire(self) -> None:
        """Stop it once nothing is under way, at the latest after IDLE_WITHIN seconds."""
        give_up = time.monotonic() + IDLE_WITHIN
        while self.active and time.monotonic() < give_up:
            await asyncio.sleep(0.05)
        await self.stop()

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Hand over; raises delivery errors only. A time-out is an unknown outcome."""
        if not isinstance(self._plugin, Adapter):
            raise AdapterFault(f"{self.name}: a {type(self._plugin).__name__} takes no assignments", subject=self.name)
        found = await self._call("deliver", self._adapter.deliver(assignment), unknown_on_timeout=True)
        return self._sound("deliver", soundness.receipt, found)

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Ask by key."""
        found = await self._call("lookup", self._adapter.lookup(assignment))
        return None if found is None else self._sound("lookup", soundness.receipt, found)

    async def tell(self, verb: Verb, about: Assignment | Notice, message: str = "") -> None:
        """Call the plugin's method by the verb's name. `message` goes along with an assignment."""
        method = getattr(self._plugin, verb.value)
        await self._call(verb.value, method(about) if isinstance(about, Notice) else method(about, message))

    async def poll(self, cursor: str | None) -> Brought:
        """Fetch everything new."""
        found = self._sound("poll", soundness.poll, await self._call("poll", self._adapter.poll(cursor)))
        return self._sorted(found.items, cursor=found.cursor, more=found.more)

    async def audit(self, cursor: str | None) -> Audit:
        """One page of how tickets stand."""
        found = await self._call("audit", self._adapter.audit(cursor))
        return self._sound("audit", lambda page: soundness.audit(page, datetime.now(UTC)), found)

    async def catalogue(self) -> Mapping[str, str]:
        """The department's categories."""
        return self._sound("catalogue", soundness.catalogue, await self._call("catalogue", self._adapter.catalogue()))

    async def classify(self, case: CaseText) -> Suggestion | None:
        """A suggestion for a report; None for no idea."""
        found = await self._call("classify", cast(Classifier, self._plugin).classify(case), within=CLASSIFY_WITHIN)
        return None if found is None else self._sound("classify", soundness.suggestion, found)

    async def notify(self, alert: Alert) -> None:
        """Tell people."""
        await self._call("notify", cast(Notifier, self._plugin).notify(alert))

    async def health(self) -> Health:
        """Ask the departmental system; never raises."""
        try:
            return await self.ask_health()
        except HubError as problem:
            return Health(ok=False, detail=problem.message)

    async def ask_health(self) -> Health:
        """Ask the departmental system; raises the hub's errors, for a trial to show."""
        found = await self._call("health", self._plugin.health())
        return self._sound("health", soundness.health, found)

    async def diagnostics(self) -> Mapping[str, object]:
        """The plugin's own facts, secrets blotted out; never raises."""
        try:
            found = await self._call("diagnostics", self._plugin.diagnostics())
        except HubError as problem:
            return {"error": problem.message}
        if not isinstance(found, Mapping):
            return {"error": f"diagnostics gave a {type(found).__name__}"}
        hidden = secrets_of(self._plugin.settings)
        try:
            blotted: Mapping[str, object] = self._sound("diagnostics", lambda facts: _blot(facts, hidden), found)
        except AdapterFault as problem:
            return {"error": problem.message}
        return blotted

    async def parse_callback(self, request: CallbackRequest) -> Brought:
        """Verify and read; raises CallbackRejected."""
        try:
            found = await self._calls.call("parse_callback", self._adapter.parse_callback(request), within=CALLBACK_WITHIN)
            return self._sorted(self._sound("parse_callback", soundness.items, found))
        except TookTooLong as problem:
            raise CallbackRejected("the body could not be read in time", status=503) from problem
        except HubError as problem:
            log.error("callback not read", adapter=self.name, error=problem.message)
            reason = "the body can't be read" if isinstance(problem, AdapterFault) else problem.message
            raise CallbackRejected(reason, status=400) from problem

    @property
    def _adapter(self) -> Adapter:
        return cast(Adapter, self._plugin)

    def _sorted(self, found: Sequence[object], *, cursor: str | None = None, more: bool = False) -> Brought:
        """Apart what can be taken and what can't."""
        now = datetime.now(UTC)
        items, rejected = [], []
        for number, one in enumerate(found):
            try:
                items.append(soundness.item(one, now))
            except Exception as problem:  # reading a field may run the plugin's code
                reason = str(problem) if type(problem) is ValueError else words(problem)
                rejected.append((_name_of(one) or f"#{number}", reason))
        return Brought(items=items, rejected=rejected, cursor=cursor, more=more)

    def _sound(self, what: str, check: Callable[[object], T], found: object) -> T:
        try:
            return check(found)
        except Exception as problem:  # reading a field may run the plugin's code
            reason = str(problem) if type(problem) is ValueError else words(problem)
            raise AdapterFault(f"{self.name}: {what}: {reason}", subject=self.name) from problem

    async def _call(
        self, what: str, work: Coroutine[Any, Any, T], *, unknown_on_timeout: bool = False, within: float | None = None
    ) -> T:
        limit = within if within is not None else self.manifest.attempt_timeout.total_seconds()
        try:
            return await self._calls.call(what, work, within=limit)
        except TookTooLong as problem:
            text = f"{self.name}: no answer to {what} within {limit:.0f} s"
            if unknown_on_timeout:
                raise OutcomeUnknown(text, subject=self.name) from problem
            raise Unavailable(text, subject=self.name) from problem
        except CallbackRejected as problem:
            raise AdapterFault(f"{self.name}: {what} threw CallbackRejected", subject=self.name) from problem


def _name_of(one: object) -> str | None:
    """The id of a feedback or the number of a matter, if it is a plain one."""
    if type(one) not in (Feedback, IncomingCase):
        return None
    name = getattr(one, "id" if type(one) is Feedback else "ref")
    return plain(name[:200]) if type(name) is str else None


def check_settings(kind: type[Plugin], instance: AdapterInstance) -> Any:
    """The settings as the plugin's model; raises PluginError naming instance and key."""
    try:
        return kind.Settings.model_validate(dict(instance.settings))
    except ValidationError as problem:
        first = problem.errors(include_input=False, include_url=False)[0]
        key = ".".join(("settings", *(str(part) for part in first["loc"])))
        raise PluginError(f"{instance.name}: {key}: {first['msg']}", subject=key) from problem


def crosswalk_of(kind: type[Plugin], instance: AdapterInstance) -> Crosswalk:
    """The instance's entries before those of the plugin."""
    own = kind.manifest.crosswalk
    return own if instance.crosswalk is None else instance.crosswalk.over(own)


def rate_of(kind: type[Plugin], instance: AdapterInstance) -> float | None:
    """Most requests a second to the department's system: the instance's, else what its plugin says; None: no limit."""
    rate = instance.rate_per_second if instance.rate_per_second is not None else kind.manifest.rate_per_second
    if rate is not None and rate <= 0:
        raise PluginError(f"{instance.name}: rate_per_second must be above 0", subject="rate_per_second")
    return rate


def by_published_schedule(manifest: Manifest, instance: AdapterInstance) -> AdapterInstance:
    """The instance with its plugin's published schedule, unless its own settings give a schedule, attempts or a backoff."""
    plain = AdapterInstance(name=instance.name, plugin=instance.plugin)
    own = (instance.schedule, instance.attempts, instance.backoff_base, instance.backoff_cap)
    if not manifest.retry_schedule or own != (plain.schedule, plain.attempts, plain.backoff_base, plain.backoff_cap):
        return instance
    return replace(instance, schedule=manifest.retry_schedule, attempts=len(manifest.retry_schedule) + 1)


def build(
    kind: type[Plugin],
    instance: AdapterInstance,
    *,
    store: AdapterStore,
    callback_url: str,
    gate: Gate | None = None,
    unmapped: Unmapped | None = None,
    heard: Heard | None = None,
    client: httpx.AsyncClient | None = None,
    log: Any = None,
) -> Running:
    """Build a plugin for an instance, not started yet; raises PluginError.

    `client` replaces the one to the department's system, `log` the logger the plugin gets.
    """
    settings = check_settings(kind, instance)
    instance = by_published_schedule(kind.manifest, instance)
    limit = kind.manifest.attempt_timeout.total_seconds()
    rate = instance.rate_per_second or kind.manifest.rate_per_second
    http = client or departmental_client(instance.name, timeout=limit, rate=rate)
    crosswalk = crosswalk_of(kind, instance)
    context = Context(
        instance=instance.name,
        http=http,
        store=store,
        log=log or structlog.get_logger("hub.adapter").bind(adapter=instance.name),
        callback_url=callback_url,
        words=WordTable(crosswalk, unmapped, heard),
    )
    try:
        plugin = kind(settings, context)
    except Exception as problem:
        raise PluginError(f"{instance.name}: can't be built: {words(problem)}", subject=instance.name) from problem
    return Running(instance, plugin, http, gate)


def secrets_of(settings: object) -> frozenset[str]:
    """Every secret value in a settings model."""
    found: set[str] = set()
    _gather(settings, found)
    return frozenset(value for value in found if len(value) >= 4)


def _gather(value: object, found: set[str]) -> None:
    match value:
        case SecretStr():
            found.add(value.get_secret_value())
        case SecretBytes():
            found.add(value.get_secret_value().decode(errors="replace"))
        case BaseModel():
            for name in type(value).model_fields:
                _gather(getattr(value, name), found)
        case Mapping():
            for inner in value.values():
                _gather(inner, found)
        case list() | tuple() | set() | frozenset():
            for inner in value:
                _gather(inner, found)


def _blot(value: object, hidden: frozenset[str]) -> Any:
    match value:
        case str():
            for secret in hidden:
                value = value.replace(secret, "***")
            return value
        case Mapping():
            return {str(key): _blot(inner, hidden) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_blot(inner, hidden) for inner in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return _blot(str(value), hidden)
