"""An instance's state for people who watch: the answer of `GET /adapters`. Pure; the roster brings the facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hub.contract import Adapter, AdapterInstance, Capability, Classifier, Manifest, Notifier, Placement, Plugin
from hub.platform.adapters.breaker import BreakerState
from hub.platform.adapters.running import Gate, Instance, Running
from hub.platform.instances.book import Canary, InstanceRecord

NOWHERE = Manifest(name="-", department="", version="")
"""The manifest of a plugin that is not installed here."""
PROGRAM_SETTINGS = {"department": str, "needs_contact": bool}
"""What may be said of a department's own program (docs/protocol/), which has no plugin here: all it may be asked, but contacts."""


def manifest_of_program(instance: AdapterInstance) -> Manifest:
    """The manifest of a department's own program that speaks the protocol from outside."""
    capabilities = {Capability.RECALL, Capability.URGE, Capability.INFORM}
    if instance.settings.get("needs_contact") is True:
        capabilities.add(Capability.NEEDS_CONTACT)
    department = str(instance.settings.get("department", ""))
    return Manifest(name=instance.plugin, department=department, version="", capabilities=frozenset(capabilities))


@dataclass
class Slot:
    """One instance: its record, and the plugins built for it."""

    record: InstanceRecord
    gate: Gate
    stable: Instance | None = None
    candidate: Instance | None = None
    failed: str = ""

    @property
    def on(self) -> bool:
        """Whether it should run."""
        return self.record.enabled and not self.record.removed


@dataclass(frozen=True, kw_only=True)
class AdapterStatus:
    """An instance's state. `state`: running, draining, drained, paused, failed or disabled."""

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
    settings_version: int = 0
    origin: str = "file"
    placement: str = Placement.HUB.value
    units: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    percent: int = 100
    canary: Canary | None = None
    candidate_version: int | None = None
    strays: int = 0
    kind: str = "adapter"
    tier: str = ""
    """On the quality scale; empty: never graded, stale: graded before its files changed."""


def status_of(
    slot: Slot,
    *,
    plugin: str,
    kind: type[Plugin] | None,
    file: AdapterInstance | None,
    placement: Callable[[AdapterInstance], Placement],
    backlog: tuple[int, int],
    in_hand: int,
    tier: str = "",
) -> AdapterStatus:
    """The status of one slot; `file`: the instance as config/adapters.yaml has it, `in_hand`: tasks carried out here right now."""
    record, spec = slot.record, slot.record.stable
    manifest = slot.stable.manifest if slot.stable is not None else kind.manifest if kind is not None else NOWHERE
    instance = slot.stable.instance if slot.stable is not None else file if spec is None else None
    source = instance if instance is not None else spec
    if slot.failed:
        state, detail = "failed", slot.failed
    elif not slot.on:
        state, detail = "disabled", ""
    elif slot.gate.pause is not None:
        state, detail = "paused", slot.gate.pause.reason
    elif record.draining:
        state, detail = "draining" if in_hand else "drained", ""
    else:
        state, detail = "running", ""
    where = placement(instance) if instance is not None else (spec.placement if spec else None) or Placement.HUB
    return AdapterStatus(
        name=record.name,
        plugin=plugin,
        department=manifest.department,
        version=manifest.version,
        state=state,
        detail=detail,
        breaker=(slot.stable.breaker.state if slot.stable is not None else BreakerState.CLOSED).value,
        queued=backlog[0],
        in_flight=backlog[1],
        capabilities=tuple(sorted(capability.value for capability in manifest.capabilities)),
        settings_version=record.version,
        origin="file" if spec is None else "ledger",
        placement=where.value,
        units=source.units if source is not None else (),
        areas=source.areas if source is not None else (),
        percent=source.percent if source is not None else 100,
        canary=record.canary,
        candidate_version=record.version if record.candidate is not None else None,
        strays=sum(one.strays for one in (slot.stable, slot.candidate) if isinstance(one, Running)),
        kind=kind_of(kind),
        tier=tier,
    )


def kind_of(kind: type[Plugin] | None) -> str:
    """What a plugin is, in a word; unknown when it is not installed here."""
    if kind is None:
        return "unknown"
    if issubclass(kind, Classifier):
        return "classifier"
    if issubclass(kind, Notifier):
        return "notifier"
    return "adapter" if issubclass(kind, Adapter) else "channel"
