"""The roster: every adapter instance of this process, built, running, paused, on trial or failed.

Owns the choice of an instance's version for each case. It keeps up with the ledger's records while the hub runs: a new version is built and
started before it takes over; the old one finishes its work in hand. An instance of config/adapters.yaml that can't be built stops the
start, with plugin and rule named. One of the ledger is shown as failed, and the hub serves without it.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from hub.bus.buckets import AdapterBucketStore, Bucket
from hub.contract import AdapterInstance, Capability, Classifier, FeedbackKind, Manifest, Notifier, Placement, Plugin
from hub.errors import (
    BusUnavailable,
    CredentialsRejected,
    HubError,
    NotAllowed,
    PluginError,
    Withdrawn,
)
from hub.model.actors import SYSTEM
from hub.model.policy.bindings import Binding
from hub.platform.adapters.plugins import Plugins
from hub.platform.adapters.running import Away, Gate, Instance, Running, build
from hub.platform.instances.book import InstanceRecord, follows_file, instance_of
from hub.platform.instances.pauses import Pauses
from hub.platform.instances.registry import Registry
from hub.platform.instances.status import NOWHERE, Slot, kind_of, manifest_of_program
from hub.spine.aside.repair_items import unmapped

log = structlog.get_logger("hub.adapters")

Note = Callable[[str, str, str, str], Coroutine[Any, Any, None]]
"""Notes a fault for repair: (kind, instance, subject, text for operators)."""

NO_WORKERS = "worker processes need the embedded server; with nats.url run the adapter as remote"


async def _nobody(kind: str, adapter: str, subject: str, text: str) -> None:
    """Nothing is noted."""


class Adapters:
    """All instances."""

    def __init__(
        self,
        plugins: Plugins,
        instances: Sequence[AdapterInstance],
        registry: Registry,
        bucket: Bucket,
        *,
        public_url: str,
        bound: Callable[[tuple[Binding, ...]], None] = lambda bindings: None,
        note: Note = _nobody,
        heard: Callable[[str, str, FeedbackKind | None, str | None], None] = lambda instance, word, result, about: None,
        workers: bool = True,
    ) -> None:
        self.plugins = plugins
        self._files = {instance.name: instance for instance in instances}
        self._registry = registry
        self._bucket = bucket
        self._pauses = Pauses(bucket)
        self._public_url = public_url.rstrip("/")
        self._bound = bound
        self._note = note
        self._heard = heard
        self.workers = workers
        """Whether there can be worker processes here."""
        self._slots: dict[str, Slot] = {}
        self._lock = asyncio.Lock()
        self._watchers: weakref.WeakSet[asyncio.Event] = weakref.WeakSet()
        self._background: set[asyncio.Task[None]] = set()

    # --- start and end ---

    async def start(self) -> None:
        """Build and start every enabled instance; raises PluginError naming instance and rule for those of the files."""
        now = datetime.now(UTC)
        records = await self._registry.load()
        for name, instance in self._files.items():
            records.setdefault(name, follows_file(name, at=now, actor=SYSTEM, enabled=instance.enabled))
        await self._pauses.load()
        for name, record in records.items():
            self._slots[name] = Slot(record, self._pauses.gate(name))
            if record.version and name in self._files:
                log.info("the ledger's settings go before config/adapters.yaml", adapter=name, version=record.version)
        await asyncio.gather(*(self._first(slot) for slot in self._slots.values()))
        self._tell()

    async def _first(self, slot: Slot) -> None:
        if not slot.on:
            return
        try:
            await self._raise_up(slot, slot.record)
        except PluginError as problem:
            if slot.record.version == 0:
                raise
            await self._failed(slot, problem)

    async def stop(self) -> None:
        """Stop them all."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.gather(*(running.stop() for running in self.running()))

    # --- changes ---

    async def follow(self) -> None:
        """Keep up with what other processes change, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pauses.follow(), name="pauses")
            # In the group's body: Python 3.11 leaves its task marked as cancelled when a child fails while it is only waited for.
            async for record in self._registry.follow():
                await self.apply(record)

    async def apply(self, record: InstanceRecord) -> None:
        """Carry out a stored record here: build the new version, swap it in, let the old one end. BusUnavailable changes nothing."""
        async with self._lock:
            slot = self._slots.setdefault(record.name, Slot(record, self._pauses.gate(record.name)))
            if record.version < slot.record.version or (record.version == slot.record.version and slot.stable is not None):
                return
            old_stable, old_candidate, before = slot.stable, slot.candidate, slot.record
            slot.record = record
            if not slot.on:
                slot.stable = slot.candidate = None
                slot.failed = ""
                self._retire(old_stable, old_candidate)
            elif old_stable is None or slot.failed or _rebuilt(before, record):
                try:
                    await self._raise_up(slot, record)
                    slot.failed = ""
                except PluginError as problem:
                    slot.stable = slot.candidate = None
                    await self._failed(slot, problem)
                except BusUnavailable:
                    slot.record = before  # it comes again; until then everything stays as it was
                    raise
                self._retire(old_stable, old_candidate)
            log.info("adapter changed", adapter=record.name, version=record.version, action=record.action)
            self._tell()

    async def _raise_up(self, slot: Slot, record: InstanceRecord) -> None:
        """Build and start the stable version, and the candidate if there is one; both or none."""
        fresh: list[Instance] = []
        try:
            for spec in (record.stable, record.candidate):
                if spec is not None and spec.placement is not Placement.REMOTE:
                    await asyncio.to_thread(self.plugins.ensure, spec.plugin)
            for instance in await self.versions(record):
                one = self._build(instance, slot.gate)
                fresh.append(one)
                if isinstance(one, Running):
                    await one.start()
        except PluginError:
            self._retire(*fresh)
            raise
        slot.stable = fresh[0]
        slot.candidate = fresh[1] if len(fresh) > 1 else None

    async def versions(self, record: InstanceRecord) -> list[AdapterInstance]:
        """The instances a record stands for, secrets in place: the stable one and, if any, the candidate. Raises PluginError."""
        found: list[AdapterInstance] = []
        if record.stable is None:
            if record.name not in self._files:
                raise PluginError(f"{record.name}: is no longer in config/adapters.yaml", subject=record.name)
            found.append(self._files[record.name])
        else:
            settings = await self._registry.open(record.name, record.stable.settings)
            manifest = self._manifest(record.stable.plugin)
            found.append(instance_of(record, record.stable, record.stable_version, settings, manifest))
        if record.candidate is not None:
            settings = await self._registry.open(record.name, record.candidate.settings)
            manifest = self._manifest(record.candidate.plugin)
            found.append(instance_of(record, record.candidate, record.version, settings, manifest))
        return found

    def slot(self, name: str) -> Slot:
        """This process's knowledge of an instance. Raises NotAllowed."""
        if name not in self._slots:
            raise NotAllowed("no such adapter", subject=name)
        return self._slots[name]

    def in_file(self, name: str) -> AdapterInstance | None:
        """The instance as config/adapters.yaml has it."""
        return self._files.get(name)

    def record(self, name: str) -> InstanceRecord:
        """The record in force; raises NotAllowed."""
        slot = self._slots.get(name)
        if slot is None or slot.record.removed:
            raise NotAllowed("no such adapter", subject=name)
        return slot.record

    def last_record(self, name: str) -> InstanceRecord | None:
        """The record in force, of a removed instance too."""
        slot = self._slots.get(name)
        return None if slot is None else slot.record

    def _manifest(self, plugin: str) -> Manifest | None:
        kind = self.plugins.kinds.get(plugin)
        return None if kind is None else kind.manifest

    def placement(self, instance: AdapterInstance) -> Placement:
        """Where an instance's code runs. A plugin that asks for its own process runs in the hub when there are no workers."""
        if instance.placement is not None:
            return instance.placement
        manifest = self._manifest(instance.plugin)
        asked = manifest.placement if manifest is not None else Placement.HUB
        return Placement.HUB if asked is Placement.PROCESS and not self.workers else asked

    def build(self, instance: AdapterInstance, gate: Gate | None = None) -> Running:
        """A plugin of this process for an instance, not started, with its real store; raises PluginError."""
        kind = self.plugins.get(instance.plugin)
        return build(
            kind,
            instance,
            gate=gate,
            store=AdapterBucketStore(self._bucket, instance.name),
            callback_url=f"{self._public_url}/hooks/{instance.name}",
            unmapped=lambda table, word, about: self._unmapped(instance.name, table, word, about),
            heard=partial(self._heard, instance.name),
        )

    def _build(self, instance: AdapterInstance, gate: Gate) -> Instance:
        placement = self.placement(instance)
        if placement is Placement.HUB:
            return self.build(instance, gate)
        if placement is Placement.PROCESS and not self.workers:
            raise PluginError(f"{instance.name}: placement: {NO_WORKERS}", subject="placement")
        return Away(instance, self._manifest(instance.plugin) or manifest_of_program(instance), gate, placement)

    def _retire(self, *instances: Instance | None) -> None:
        for one in instances:
            if isinstance(one, Running):
                task = asyncio.create_task(one.retire(), name=f"retire {one.name}")
                self._background.add(task)
                task.add_done_callback(self._background.discard)

    async def _failed(self, slot: Slot, problem: PluginError) -> None:
        slot.failed = problem.message
        log.error("adapter failed", adapter=slot.record.name, reason=problem.message)
        await self._note("failed_instance", slot.record.name, str(slot.record.version), f"适配器无法启动：{problem.message}")

    def _unmapped(self, name: str, table: str, word: str, about: str | None) -> None:
        found = unmapped(name, table, word, about)
        task = asyncio.create_task(self._note(found.kind, name, found.subject, found.text))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _tell(self) -> None:
        """Wake whoever keeps something going per instance."""
        self._bound(tuple(self._bindings()))
        for event in list(self._watchers):
            event.set()

    def _bindings(self) -> Iterable[Binding]:
        for slot in self._slots.values():
            if not slot.on:
                continue
            one = slot.stable
            instance = one.instance if one is not None else self._files.get(slot.record.name)
            if instance is None:
                continue
            manifest = self._manifest(instance.plugin) or NOWHERE
            yield Binding(
                adapter=slot.record.name,
                units=instance.units,
                areas=instance.areas or manifest.areas,
                categories=manifest.categories,
                percent=instance.percent,
            )

    def stirring(self) -> asyncio.Event:
        """An event that every change of the roster sets from now on. It lives as long as somebody holds it."""
        event = asyncio.Event()
        self._watchers.add(event)
        return event

    async def changes(self) -> AsyncIterator[None]:
        """Yields at once, and again after every change of the roster."""
        event = self.stirring()
        while True:
            yield
            await event.wait()
            event.clear()

    # --- who serves ---

    def serves(self, name: str) -> bool:
        """Whether an enabled instance has that name."""
        slot = self._slots.get(name)
        return slot is not None and slot.stable is not None

    def lanes(self) -> list[Instance]:
        """The stable version of every instance with a queue to work; draining ones are left out."""
        return [
            slot.stable
            for slot in self._slots.values()
            if slot.stable is not None and slot.on and not slot.record.draining and not _without_queue(slot.stable)
        ]

    def running(self, base: type[Plugin] = Plugin) -> list[Running]:
        """Every plugin of this process, candidates included, whose class is `base` or below."""
        return [
            one
            for slot in self._slots.values()
            for one in (slot.stable, slot.candidate)
            if isinstance(one, Running) and issubclass(one.kind, base)
        ]

    def polled(self) -> list[Running]:
        """Every plugin of this process that the hub polls."""
        return [one for one in self.running() if one.can(Capability.POLL)]

    def notifiers(self) -> list[Running]:
        """Every notifier of this process."""
        return self.running(Notifier)

    def classifiers(self) -> list[Running]:
        """Every classifier of this process."""
        return self.running(Classifier)

    def get(self, name: str) -> Instance:
        """The stable version of an enabled instance, wherever it runs; raises NotAllowed."""
        slot = self._slots.get(name)
        if slot is None or slot.stable is None:
            raise NotAllowed("no such adapter", subject=name)
        return slot.stable

    def pick(self, name: str, case: str, area: str) -> Instance:
        """The version that serves a case: the candidate in its part, else the stable one; raises NotAllowed."""
        slot = self._slots.get(name)
        if slot is None or slot.stable is None:
            raise NotAllowed("no such adapter", subject=name)
        canary = slot.record.canary
        if slot.candidate is not None and canary is not None and canary.serves(case, area):
            return slot.candidate
        return slot.stable

    def versions_here(self, name: str) -> list[Running]:
        """The versions of an instance that run in this process, stable first; raises NotAllowed when there is none."""
        slot = self._slots.get(name)
        found = [one for one in (slot.stable, slot.candidate) if isinstance(one, Running)] if slot is not None else []
        if not found:
            raise NotAllowed("no such adapter", subject=name)
        return found

    # --- how they stand ---

    def names(self) -> list[str]:
        """Every instance that is not removed."""
        return sorted(name for name, slot in self._slots.items() if not slot.record.removed)

    def plugin_of(self, name: str) -> str:
        """The plugin of an instance; raises NotAllowed."""
        spec, in_file = self.record(name).stable, self._files.get(name)
        return spec.plugin if spec is not None else (in_file.plugin if in_file is not None else "")

    def kind_of(self, plugin: str) -> str:
        """The kind of a plugin: adapter, channel, classifier, notifier; unknown when it is not installed here."""
        return kind_of(self.plugins.kinds.get(plugin))

    # --- pauses ---

    async def pause(self, name: str, reason: str) -> None:
        """Take nothing from its queue until resumed, in any hub of the bus; survives a restart. Raises NotAllowed, BusUnavailable."""
        self._check_on(name)
        await self._pauses.pause(name, reason)

    async def resume(self, name: str) -> None:
        """Go on. Raises NotAllowed, BusUnavailable."""
        self._check_on(name)
        await self._pauses.resume(name)

    async def shut_out(self, name: str, problem: HubError) -> None:
        """Pause an instance that the department does not let in: until its health says otherwise, or for good (Withdrawn)."""
        if name not in self._slots or not self._slots[name].on:
            return  # disabled meanwhile
        automatic = isinstance(problem, CredentialsRejected)
        what = "credentials rejected" if automatic else "withdrawn" if isinstance(problem, Withdrawn) else problem.code
        await self._pauses.pause_open(name, f"{what}: {problem.message}", automatic=automatic)

    async def let_in(self, name: str) -> None:
        """The department lets the instance in again: end its pause, if the pause is automatic."""
        await self._pauses.resume_automatic(name)

    async def try_resume(self, name: str) -> bool:
        """Whether an automatically paused instance works again (its health says so); resumes it then. Raises NotAllowed."""
        running = self.get(name)
        if running.pause is None or not running.pause.automatic:
            return running.pause is None
        if not isinstance(running, Running):
            return False
        health = await running.health()
        if health.ok:
            await self.let_in(running.name)
        return health.ok

    def _check_on(self, name: str) -> None:
        slot = self._slots.get(name)
        if slot is None or not slot.on:
            raise NotAllowed("no such adapter", subject=name)


def _rebuilt(before: InstanceRecord, after: InstanceRecord) -> bool:
    """Whether a change needs other plugins built, not only another switch."""
    return (before.stable, before.stable_version, before.candidate) != (after.stable, after.stable_version, after.candidate)


def _without_queue(one: Instance) -> bool:
    """Whether a plugin has nothing to be handed: classifiers and notifiers."""
    return isinstance(one, Running) and issubclass(one.kind, Classifier | Notifier)
