"""Bodies and answers of registration: plugins and instances, never their secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

import msgspec

from hub.model.texts import Word
from hub.platform.instances.book import Canary
from hub.platform.instances.registration import Patch
from hub.surfaces.api.bodies import Body, Example
from hub.surfaces.api.models import Answer


class AdapterAnswer(Answer, frozen=True, kw_only=True):
    """An adapter instance's state. `state`: running, paused, draining, drained, failed, disabled; `breaker`: closed, open, half_open.

    `settings_version` 0: as in config/adapters.yaml. `candidate_version`: settings on trial for a part of the cases. `tier`: the place on
    the quality scale.
    """

    name: str
    plugin: str
    department: str
    version: str
    state: str
    detail: str
    breaker: str
    queued: int
    in_flight: int
    capabilities: list[str]
    kind: str
    settings_version: int
    candidate_version: int | None
    origin: str
    placement: str
    units: list[str]
    areas: list[str]
    tier: str


class AdapterList(Answer, frozen=True, kw_only=True):
    """Adapter instances."""

    items: list[AdapterAnswer]


class PluginAnswer(Answer, frozen=True, kw_only=True):
    """An installed plugin. `settings`: JSON Schema of its settings; `kind`: adapter, channel, classifier or notifier."""

    name: str
    kind: str
    department: str
    version: str
    owner: str
    placement: str
    capabilities: list[str]
    settings: dict[str, Any]
    instances: list[str]


class PluginList(Answer, frozen=True, kw_only=True):
    """Installed plugins; `fresh`: those found just now."""

    items: list[PluginAnswer]
    fresh: list[str]


class CanaryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The part of the cases a candidate serves: a share in percent, areas, or both."""

    percent: int = 0
    areas: tuple[str, ...] = ()

    def canary(self) -> Canary:
        """As the book has it."""
        return Canary(percent=self.percent, areas=self.areas)


class WhyBody(Body, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why; kept with the change. `untried`: do not ask the department's system first. `sample`: try with a sample assignment."""

    example: ClassVar[Example] = {"note": "对方系统升级"}

    note: Annotated[str, msgspec.Meta(max_length=500)] = ""
    untried: bool = False
    sample: bool = False


class AddBody(WhyBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A new instance. `set` as in a change."""

    example: ClassVar[Example] = {
        "name": "landscaping",
        "plugin": "webhook",
        "set": {"settings": {"url": "https://yl.example.cn/hook", "secret": "whsec_…"}, "units": ["landscaping"]},
        "note": "园林绿化接入",
    }

    name: Word
    plugin: Word
    set: Patch = Patch()
    enabled: bool = True


class ChangeBody(WhyBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A change; what `set` does not name stays. With `canary` only that part of the cases gets it, until it is promoted."""

    example: ClassVar[Example] = {"set": {"settings": {"secret": "…"}}, "canary": {"percent": 10}, "note": "换密钥"}

    set: Patch
    canary: CanaryBody | None = None


class WidenBody(WhyBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Another part of the cases for the candidate."""

    example: ClassVar[Example] = {"percent": 50}

    percent: int = 0
    areas: tuple[str, ...] = ()

    def canary(self) -> Canary:
        """As the book has it."""
        return Canary(percent=self.percent, areas=self.areas)


class VersionAnswer(Answer, frozen=True, kw_only=True):
    """One change of an instance: its action, who, when and why, and the settings after it. Secrets are `***`."""

    version: int
    at: datetime
    by: str
    action: str
    note: str
    enabled: bool
    draining: bool
    removed: bool
    settings_version: int
    stable: dict[str, Any] | None
    candidate: dict[str, Any] | None
    canary: Canary | None


class VersionList(Answer, frozen=True, kw_only=True):
    """The history of an instance, oldest first; version 0 is that of config/adapters.yaml."""

    items: list[VersionAnswer]


class InstanceAnswer(AdapterAnswer, frozen=True, kw_only=True):
    """One instance: its state, its settings in force, and the plugin's description of itself."""

    percent: int
    canary: Canary | None
    strays: int
    stable: dict[str, Any]
    candidate: dict[str, Any] | None
    diagnostics: dict[str, Any]
