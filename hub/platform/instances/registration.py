"""Registration: adds, changes, tries and takes away instances while the hub runs. Every change is a version in the ledger.

Owns the order of steps: check, try, seal, store, then carry it out here (other processes follow the ledger). Refuses with InvalidInput
naming the field. A refusal stores nothing. Called by the API.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import msgspec
import structlog

from hub.contract import AdapterInstance, Health, Placement, Plugin
from hub.errors import InvalidInput, PluginError
from hub.platform.adapters.roster import NO_WORKERS, Adapters
from hub.platform.adapters.running import check_settings
from hub.platform.instances import book
from hub.platform.instances.book import Canary, Change, InstanceRecord, Spec
from hub.platform.instances.registry import Registry
from hub.platform.instances.sealing import is_reference, references, shown
from hub.platform.instances.status import PROGRAM_SETTINGS

if TYPE_CHECKING:
    from pydantic import BaseModel

    from hub.model.actors import Actor
    from hub.model.policy.district import District

log = structlog.get_logger("hub.adapters")

_LOGIN = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]*@")
"""An address with a user name or password in it."""


class Trial(Protocol):
    """Tries an instance before it takes traffic."""

    async def __call__(self, instance: AdapterInstance, *, sample: bool) -> Health:
        """Whether the department's system can be used with these settings; `sample` also hands one marked sample over."""
        ...


@dataclass(frozen=True, kw_only=True)
class By:
    """Who changes something, and why; `untried`: without asking the department's system first, `sample`: with a sample assignment."""

    actor: Actor
    note: str = ""
    untried: bool = False
    sample: bool = False


class Patch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that a change gives; all others stay. `settings` are merged by key; None takes a key out."""

    settings: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    units: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    areas: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    percent: int | msgspec.UnsetType = msgspec.UNSET
    placement: Placement | msgspec.UnsetType | None = msgspec.UNSET
    concurrency: int | msgspec.UnsetType | None = msgspec.UNSET
    attempts: int | msgspec.UnsetType | None = msgspec.UNSET
    backoff_base: float | msgspec.UnsetType | None = msgspec.UNSET
    """Seconds, as all durations of a patch."""
    backoff_cap: float | msgspec.UnsetType | None = msgspec.UNSET
    schedule: tuple[float, ...] | msgspec.UnsetType | None = msgspec.UNSET
    rate_per_second: float | msgspec.UnsetType | None = msgspec.UNSET
    items_per_second: float | msgspec.UnsetType | None = msgspec.UNSET
    memory_mib: int | msgspec.UnsetType | None = msgspec.UNSET
    statuses: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    categories: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    fields: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    reached: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    solved: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    satisfied: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Registration:
    """Changes of instances."""

    def __init__(
        self,
        adapters: Adapters,
        registry: Registry,
        district: Callable[[], District],
        trial: Trial,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._adapters = adapters
        self._registry = registry
        self._district = district
        self._trial = trial
        self._clock = clock

    async def add(self, name: str, plugin: str, patch: Patch, by: By, *, enabled: bool = True) -> InstanceRecord:
        """A new instance. Raises InvalidInput, LedgerConflict."""
        last = self._adapters.last_record(name)
        spec = _patched(Spec(plugin=plugin), patch)
        record = book.add(name, spec, self._change(by), enabled=enabled, last=last)
        return await self._tried_and_stored(record, spec, by, candidate=False)

    async def change(self, name: str, patch: Patch, by: By, *, canary: Canary | None = None) -> InstanceRecord:
        """Other settings, for all cases or for the canary's part. Raises InvalidInput, NotAllowed, LedgerConflict."""
        record = self._adapters.record(name)
        base = record.candidate if record.candidate is not None and canary is not None else record.stable
        if base is None:
            instance = self._adapters.in_file(name)
            assert instance is not None
            base = book.spec_of(instance)
        spec = _patched(base, patch)
        if spec == base and canary is None:
            raise InvalidInput("nothing is different", subject="settings")
        _check_kept_secrets(base, spec, self._adapters.plugins.kinds.get(spec.plugin))
        if canary is not None:
            self._check_areas(canary.areas, "canary.areas")
        changed = book.change_to(record, spec, self._change(by), canary=canary)
        return await self._tried_and_stored(changed, spec, by, candidate=canary is not None)

    async def enable(self, name: str, by: By) -> InstanceRecord:
        """Try it first, then let it run (again). Raises InvalidInput, NotAllowed, LedgerConflict."""
        record = self._adapters.record(name)
        changed = book.switch(record, self._change(by), enabled=True)
        if not record.enabled and not by.untried:
            for instance in await self._versions(changed):
                await self._try(instance, by)
        return await self._stored(changed)

    async def disable(self, name: str, by: By) -> InstanceRecord:
        """Let it finish its work in hand and stop. Its queue waits."""
        return await self._stored(book.switch(self._adapters.record(name), self._change(by), enabled=False))

    async def drain(self, name: str, by: By) -> InstanceRecord:
        """Finish the work in hand, take nothing new. Polls and callbacks go on."""
        return await self._stored(book.drain(self._adapters.record(name), self._change(by)))

    async def widen(self, name: str, canary: Canary, by: By) -> InstanceRecord:
        """Another part of the cases for the candidate."""
        self._check_areas(canary.areas, "areas")
        return await self._stored(book.widen(self._adapters.record(name), canary, self._change(by)))

    async def promote(self, name: str, by: By) -> InstanceRecord:
        """The candidate for everything."""
        return await self._stored(book.promote(self._adapters.record(name), self._change(by)))

    async def roll_back(self, name: str, by: By) -> InstanceRecord:
        """Drop the candidate, or go back to the settings before the present ones. Not tried: going back must always work."""
        history = await self._registry.history(name)
        return await self._stored(book.roll_back(self._adapters.record(name), self._change(by), history))

    async def remove(self, name: str, by: By) -> InstanceRecord:
        """Take a disabled instance away and destroy its secrets; the history stays."""
        in_file = self._adapters.in_file(name) is not None
        record = await self._stored(book.remove(self._adapters.record(name), self._change(by), in_file=in_file))
        for earlier in await self._registry.history(name):
            for spec in (earlier.stable, earlier.candidate):
                if spec is not None:
                    await self._registry.forget(spec.settings)
        return record

    async def history(self, name: str) -> list[InstanceRecord]:
        """Every change of an instance, oldest first; raises NotAllowed."""
        self._adapters.record(name)
        return await self._registry.history(name)

    def shown_settings(self, spec: Spec) -> dict[str, Any]:
        """A spec's settings as they may be shown."""
        return _hidden(spec.settings)

    def shown_file_settings(self, instance: AdapterInstance) -> dict[str, Any]:
        """A file instance's settings as they may be shown."""
        kind = self._adapters.plugins.kinds.get(instance.plugin)
        try:
            model = check_settings(kind, instance) if kind is not None else None
        except PluginError:
            model = None
        if model is None:
            return dict.fromkeys(instance.settings, "***")
        hidden: dict[str, Any] = shown(dict(instance.settings), model)
        return hidden

    async def look_for_plugins(self) -> list[str]:
        """Find plugins installed since the hub started; returns their names. Raises PluginError."""
        return await asyncio.to_thread(self._adapters.plugins.look)

    async def _tried_and_stored(self, record: InstanceRecord, spec: Spec, by: By, *, candidate: bool) -> InstanceRecord:
        self._check_units(spec.units)
        self._check_areas(spec.areas, "areas")
        if spec.plugin not in self._adapters.plugins.kinds:
            try:
                await self.look_for_plugins()
            except PluginError as problem:
                raise InvalidInput(problem.message, subject="plugin") from problem
        opened = await self._registry.open(record.name, spec.settings)
        manifest_of = self._adapters.plugins.kinds.get(spec.plugin)
        instance = book.instance_of(record, spec, record.version, opened, manifest_of.manifest if manifest_of else None)
        model = self._settings_model(instance)
        if model is not None:
            _check_no_login(shown(dict(opened), model), "settings")
        if record.enabled and not by.untried:
            await self._try(instance, by)
        sealed = await self._registry.seal(record.name, spec.settings, model)
        kept = msgspec.structs.replace(spec, settings=sealed)
        if candidate:
            return await self._stored(msgspec.structs.replace(record, candidate=kept))
        return await self._stored(msgspec.structs.replace(record, stable=kept))

    def _settings_model(self, instance: AdapterInstance) -> BaseModel | None:
        """The settings as the plugin reads them; raises InvalidInput naming the field."""
        if instance.placement is Placement.PROCESS and not self._adapters.workers:
            raise InvalidInput(NO_WORKERS, subject="placement")
        away = self._adapters.placement(instance) is Placement.REMOTE
        if instance.plugin not in self._adapters.plugins.kinds:
            if not away:
                known = ", ".join(sorted(self._adapters.plugins.kinds)) or "none"
                raise InvalidInput(f"no plugin named {instance.plugin} is installed (installed: {known})", subject="plugin")
            for key, value in instance.settings.items():
                if key not in PROGRAM_SETTINGS or not isinstance(value, PROGRAM_SETTINGS[key]):
                    known = ", ".join(f"{name} ({kind.__name__})" for name, kind in PROGRAM_SETTINGS.items())
                    raise InvalidInput(f"of a department's own program only {known} can be set here", subject=f"settings.{key}")
            return None
        if away and not instance.settings:
            return None
        try:
            model: BaseModel = check_settings(self._adapters.plugins.get(instance.plugin), instance)
        except PluginError as problem:
            raise InvalidInput(problem.message, subject=problem.subject) from problem
        return model

    async def _try(self, instance: AdapterInstance, by: By) -> None:
        if self._adapters.placement(instance) is not Placement.HUB:
            return  # its own process asks for itself, and says so in its beat
        try:
            health = await self._trial(replace(instance, enabled=True), sample=by.sample)
        except PluginError as problem:
            raise InvalidInput(problem.message, subject="settings") from problem
        if not health.ok:
            detail = health.detail or "its health is not ok"
            raise InvalidInput(f"tried and refused: {detail} (`untried` takes it all the same)", subject="settings")

    async def _versions(self, record: InstanceRecord) -> list[AdapterInstance]:
        try:
            return await self._adapters.versions(record)
        except PluginError as problem:
            raise InvalidInput(problem.message, subject="settings") from problem

    async def _stored(self, record: InstanceRecord) -> InstanceRecord:
        stored = await self._registry.append(record)
        await self._adapters.apply(stored)
        return stored

    def _change(self, by: By) -> Change:
        return Change(at=self._clock(), actor=by.actor, note=by.note)

    def _check_units(self, units: tuple[str, ...]) -> None:
        directory = self._district().directory
        for unit in units:
            if directory.get(unit) is None:
                raise InvalidInput(f"no such unit: {unit}", subject="units")

    def _check_areas(self, areas: tuple[str, ...], subject: str) -> None:
        policy = self._district().policy
        for area in areas:
            if not policy.is_area(area):
                raise InvalidInput(f"no such area: {area}", subject=subject)


def _patched(spec: Spec, patch: Patch) -> Spec:
    """The spec with the patch applied. Raises InvalidInput when the result is impossible."""
    given = {name: getattr(patch, name) for name in patch.__struct_fields__ if getattr(patch, name) is not msgspec.UNSET}
    settings = dict(spec.settings)
    for key, value in (given.pop("settings", None) or {}).items():
        if value is None:
            settings.pop(key, None)
        elif is_reference(value) or references(value):
            raise InvalidInput("a reference to a secret can't be given", subject=f"settings.{key}")
        else:
            settings[key] = value
    raw = msgspec.to_builtins(msgspec.structs.replace(spec, settings={})) | {"plugin": spec.plugin}
    for name in ("backoff_base", "backoff_cap"):
        if given.get(name) is not None:
            given[name] = f"PT{given[name]:f}S"
    if given.get("schedule") is not None:
        given["schedule"] = [f"PT{step:f}S" for step in given["schedule"]]
    try:
        return msgspec.convert({**raw, **given, "settings": settings}, Spec)
    except msgspec.ValidationError as problem:
        field = str(problem).rpartition("`$.")[2].rstrip("`") or "body"
        raise InvalidInput(str(problem).partition(" - at")[0], subject=field) from problem


def _check_no_login(value: object, path: str) -> None:
    """Raises InvalidInput for an address with a user name or password in it: outside the secrets it could be read by many."""
    match value:
        case str():
            if _LOGIN.match(value):
                raise InvalidInput("user names and passwords don't belong into an address", subject=path)
        case Mapping():
            for key, inner in value.items():
                _check_no_login(inner, f"{path}.{key}")
        case list() | tuple():
            for number, inner in enumerate(value):
                _check_no_login(inner, f"{path}[{number}]")
        case _:
            return


def _check_kept_secrets(before: Spec, after: Spec, kind: type[Plugin] | None) -> None:
    """Keep a stored secret from going to a new host: whoever changes the address must give the secret anew."""
    if hosts_in(after.settings) <= hosts_in(before.settings):
        return
    fields = kind.Settings.model_fields if kind is not None else {}
    secret = {
        name for name, field in fields.items() if "Secret" in str(field.annotation)
    }  # of a file they are in the clear here
    kept = [
        key
        for key, value in after.settings.items()
        if (references(value) or key in secret) and before.settings.get(key) == value
    ]
    if kept:
        raise InvalidInput("the address is another host's: give the secret again", subject=f"settings.{kept[0]}")


def hosts_in(value: Any) -> frozenset[str]:
    """Every host that some settings name in a URL."""
    if isinstance(value, str):
        try:
            parts = urlsplit(value)
        except ValueError:
            return frozenset()
        return frozenset({f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"} if parts.netloc else ())
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return frozenset(host for one in inner for host in hosts_in(one))


def _hidden(settings: Mapping[str, Any]) -> dict[str, Any]:
    hidden: dict[str, Any] = shown(dict(settings))
    return hidden
