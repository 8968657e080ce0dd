"""The book of an instance: its configuration in the ledger, and the changes to it. Pure.

One record is the whole state of one instance after one change. The last one on `ledger.adapter.<name>` is in force; all of them are its
history. Version 0, which is never stored, is the instance of config/adapters.yaml. Refusals are InvalidInput naming the field.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import msgspec

from hub.contract import AdapterInstance, Crosswalk, FeedbackKind, Manifest, Placement
from hub.contract.crosswalk import TABLES
from hub.contract.instances import NAME
from hub.errors import InvalidInput, NotAllowed
from hub.model.actors import Actor
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.district.areas import within
from hub.model.policy.bindings import share_of


class Spec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one version of an instance is. None: as the plugin's manifest says, else the hub's default. Durations ISO 8601."""

    plugin: str
    settings: dict[str, Any] = {}
    """Secrets stand as `{"$secret": id}`."""
    units: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    percent: int = 100
    placement: Placement | None = None
    concurrency: int | None = None
    attempts: int | None = None
    backoff_base: timedelta | None = None
    backoff_cap: timedelta | None = None
    schedule: tuple[timedelta, ...] | None = None
    rate_per_second: float | None = None
    items_per_second: float | None = None
    memory_mib: int | None = None
    statuses: dict[str, FeedbackKind] = {}
    categories: dict[str, str] = {}
    fields: dict[str, str] = {}
    reached: dict[str, Reached] = {}
    solved: dict[str, Solved] = {}
    satisfied: dict[str, Satisfied] = {}


_SHARED = frozenset(Spec.__struct_fields__) & {field.name for field in fields(AdapterInstance)} - {"settings"}
"""What a spec and an instance both have and mean alike."""


class Canary(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The part of the cases a candidate serves: those of some areas, and a share of the others."""

    percent: int = 0
    areas: tuple[str, ...] = ()

    def serves(self, case: str, area: str) -> bool:
        """Whether a case is the candidate's."""
        return any(within(area, own) for own in self.areas) or share_of(case) < self.percent


class InstanceRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An instance after one change."""

    name: str
    version: int
    at: datetime
    actor: Actor
    action: str
    note: str = ""
    enabled: bool = True
    draining: bool = False
    removed: bool = False
    stable: Spec | None = None
    """None: as config/adapters.yaml has it."""
    stable_version: int = 0
    """The version that brought the stable settings."""
    candidate: Spec | None = None
    canary: Canary | None = None
    before: tuple[int, ...] = ()
    """Earlier versions with stable settings, oldest first. A rollback goes back through them."""
    previous: str = ""
    """Hash of the record before."""


decode_record = msgspec.json.Decoder(InstanceRecord).decode


def encode_record(record: InstanceRecord) -> bytes:
    """The record as the ledger holds it."""
    return msgspec.json.encode(record)


def digest_of(raw: bytes) -> str:
    """The hash by which a record names the one before it."""
    return hashlib.sha256(raw).hexdigest()


def follows_file(name: str, *, at: datetime, actor: Actor, enabled: bool) -> InstanceRecord:
    """Version 0: the instance as the configuration files have it."""
    return InstanceRecord(name=name, version=0, at=at, actor=actor, action="file", enabled=enabled)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes when and why."""

    at: datetime
    actor: Actor
    note: str = ""


def add(name: str, spec: Spec, change: Change, *, enabled: bool, last: InstanceRecord | None) -> InstanceRecord:
    """A new instance (or one under the name of a removed one)."""
    if not NAME.fullmatch(name):
        raise InvalidInput("an instance's name is made of letters, digits, - and _, at most 64", subject="name")
    if last is not None and not last.removed:
        raise InvalidInput(f"an instance named {name} exists; change it instead", subject="name")
    return InstanceRecord(
        name=name,
        version=1 if last is None else last.version + 1,
        at=change.at,
        actor=change.actor,
        note=change.note,
        action="add",
        enabled=enabled,
        stable=_sound(spec),
        stable_version=1 if last is None else last.version + 1,
    )


def change_to(record: InstanceRecord, spec: Spec, change: Change, *, canary: Canary | None = None) -> InstanceRecord:
    """Other settings: at once for all, or as a candidate for the canary's part only."""
    version = _next(record)
    if canary is not None:
        _sound_canary(canary)
        return _after(record, change, "canary", candidate=_sound(spec), canary=canary)
    return _after(
        record,
        change,
        "set",
        stable=_sound(spec),
        stable_version=version,
        before=_before(record),
        candidate=None,
        canary=None,
    )


def switch(record: InstanceRecord, change: Change, *, enabled: bool) -> InstanceRecord:
    """Enable (also what drains) or disable."""
    _next(record)
    if record.enabled == enabled and not record.draining:
        raise InvalidInput(f"{record.name} is {'enabled' if enabled else 'disabled'} already", subject="name")
    return _after(record, change, "enable" if enabled else "disable", enabled=enabled, draining=False)


def drain(record: InstanceRecord, change: Change) -> InstanceRecord:
    """Finish what is in hand, take nothing new."""
    _next(record)
    if not record.enabled:
        raise InvalidInput(f"{record.name} is disabled: it has nothing in hand", subject="name")
    if record.draining:
        raise InvalidInput(f"{record.name} drains already", subject="name")
    return _after(record, change, "drain", draining=True)


def widen(record: InstanceRecord, canary: Canary, change: Change) -> InstanceRecord:
    """Another part of the cases for the candidate."""
    _candidate(record)
    _sound_canary(canary)
    return _after(record, change, "widen", canary=canary)


def promote(record: InstanceRecord, change: Change) -> InstanceRecord:
    """The candidate serves everything from now on."""
    candidate = _candidate(record)
    return _after(
        record,
        change,
        "promote",
        stable=candidate,
        stable_version=_next(record),
        before=_before(record),
        candidate=None,
        canary=None,
    )


def roll_back(record: InstanceRecord, change: Change, history: Sequence[InstanceRecord]) -> InstanceRecord:
    """Drop the candidate; without one, go back to the settings before the present ones."""
    _next(record)
    if record.candidate is not None:
        return _after(record, change, "rollback", candidate=None, canary=None)
    if not record.before:
        raise InvalidInput(f"{record.name} has no earlier settings to go back to", subject="name")
    target = record.before[-1]
    earlier = next((one for one in history if one.stable_version == target), None)
    return _after(
        record,
        change,
        "rollback",
        stable=None if target == 0 else (earlier.stable if earlier is not None else None),
        stable_version=target,
        before=record.before[:-1],
    )


def remove(record: InstanceRecord, change: Change, *, in_file: bool) -> InstanceRecord:
    """Take the instance away; its history stays."""
    _next(record)
    if in_file:
        raise InvalidInput(f"{record.name} is in config/adapters.yaml: disable it, or take it out there", subject="name")
    if record.enabled:
        raise InvalidInput(f"{record.name} is enabled: disable it first", subject="name")
    return _after(record, change, "remove", removed=True, candidate=None, canary=None)


def instance_of(
    record: InstanceRecord, spec: Spec, version: int, settings: Mapping[str, object], manifest: Manifest | None
) -> AdapterInstance:
    """The instance a spec stands for; `settings` with the secrets in place."""
    crosswalk: Crosswalk | None = Crosswalk(version=version, **{table: getattr(spec, table) for table in TABLES})
    if crosswalk == Crosswalk(version=version):
        crosswalk = None
    given: dict[str, Any] = {name: value for name in _SHARED if (value := getattr(spec, name)) is not None}
    if manifest is not None:
        said = {
            "schedule": manifest.retry_schedule,
            "rate_per_second": manifest.rate_per_second,
            "concurrency": manifest.concurrency,
        }
        given = said | given
    if given.get("schedule"):
        given.setdefault("attempts", len(given["schedule"]) + 1)
    return AdapterInstance(
        name=record.name,
        enabled=record.enabled,
        settings=settings,
        version=version,
        crosswalk=crosswalk,
        **given,
    )


def spec_of(instance: AdapterInstance) -> Spec:
    """The spec of an instance of the configuration files, so that a change can start from it. Settings are as they are."""
    own = instance.crosswalk or Crosswalk()
    given: dict[str, Any] = {name: getattr(instance, name) for name in _SHARED}
    given |= {"settings": dict(instance.settings), "schedule": instance.schedule or None}
    given |= {table: dict(getattr(own, table)) for table in TABLES}
    return Spec(**given)


def _next(record: InstanceRecord) -> int:
    if record.removed:
        raise NotAllowed("no such adapter", subject=record.name)
    return record.version + 1


def _before(record: InstanceRecord) -> tuple[int, ...]:
    return (*record.before, record.stable_version)[-20:]


def _candidate(record: InstanceRecord) -> Spec:
    _next(record)
    if record.candidate is None:
        raise InvalidInput(f"{record.name} has no candidate: set something with a canary first", subject="name")
    return record.candidate


def _after(record: InstanceRecord, change: Change, action: str, **fields: Any) -> InstanceRecord:
    return msgspec.structs.replace(
        record, version=_next(record), at=change.at, actor=change.actor, note=change.note, action=action, **fields
    )


def _sound(spec: Spec) -> Spec:
    """The limits within bounds; raises InvalidInput naming the field."""
    bounds: tuple[tuple[str, float | None, float, float], ...] = (
        ("percent", spec.percent, 0, 100),
        ("concurrency", spec.concurrency, 1, 1000),
        ("attempts", spec.attempts, 1, 100),
        ("rate_per_second", spec.rate_per_second, 0.01, 100_000),
        ("items_per_second", spec.items_per_second, 0.01, 100_000),
        ("memory_mib", spec.memory_mib, 64, 1_000_000),
        ("backoff_base", spec.backoff_base.total_seconds() if spec.backoff_base else None, 0.001, 86_400),
        ("backoff_cap", spec.backoff_cap.total_seconds() if spec.backoff_cap else None, 0.001, 7 * 86_400),
    )
    for name, value, least, most in bounds:
        if value is not None and not least <= value <= most:
            raise InvalidInput(f"lies between {least:g} and {most:g}", subject=name)
    if spec.schedule is not None and (len(spec.schedule) > 50 or any(step < timedelta(0) for step in spec.schedule)):
        raise InvalidInput("at most 50 delays, none negative", subject="schedule")
    return spec


def _sound_canary(canary: Canary) -> None:
    if not 0 <= canary.percent <= 100:
        raise InvalidInput("lies between 0 and 100", subject="percent")
    if canary.percent == 0 and not canary.areas:
        raise InvalidInput("a canary needs a share or areas", subject="percent")
