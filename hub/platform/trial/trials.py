"""Trials of the hub's own instances: an operator asks for one, and so does a change before it takes traffic.

Chooses the instance's version (stable or candidate) and the sample. Runs one asked-for trial of an instance at a time. Refuses
instances whose code runs elsewhere. Called by the API and by registration; made by the composition root.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hub.contract import Adapter, Health, Placement
from hub.errors import InvalidInput, PluginError, TransitionRefused
from hub.platform.trial.sample import given_sample, sample_in
from hub.platform.trial.trying import try_plugin

if TYPE_CHECKING:
    from hub.contract import AdapterInstance, Assignment, Plugin
    from hub.model.policy.district import District
    from hub.platform.adapters import Adapters
    from hub.platform.trial.values import Trial

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def new_suffix() -> str:
    """The unique part of a sample's case id."""
    return "".join(secrets.choice(_CROCKFORD) for _ in range(16))


class Trials:
    """Tries instances."""

    def __init__(
        self, adapters: Adapters, district: Callable[[], District], *, public_url: str, clock: Callable[[], datetime]
    ) -> None:
        self._adapters = adapters
        self._district = district
        self._public_url = public_url
        self._clock = clock
        self._under_way: set[str] = set()

    async def of(
        self,
        name: str,
        *,
        sample: bool | Mapping[str, Any] = False,
        recall: bool = True,
        candidate: bool = False,
    ) -> Trial:
        """Try an instance with the settings in force (or its candidate's): its health, and with `sample` a marked assignment.

        A mapping gives fields of the assignment. Raises NotAllowed, InvalidInput naming the field, TransitionRefused while it is
        being tried already.
        """
        instance = await self._instance(name, candidate=candidate)
        if name in self._under_way:
            raise TransitionRefused(state="trying", command="try", rule="it is being tried already", subject=name)
        self._under_way.add(name)
        try:
            return await self._one(instance, sample=sample, recall=recall)
        finally:
            self._under_way.discard(name)

    async def before_traffic(self, instance: AdapterInstance, *, sample: bool) -> Health:
        """Whether the department's system works with an instance's settings. With `sample` one is handed over and taken back.

        Raises PluginError when the settings can't be used.
        """
        found = await self._one(instance, sample=sample and issubclass(self._kind(instance), Adapter), recall=True)
        return Health(ok=found.ok, detail=found.text)

    async def _instance(self, name: str, *, candidate: bool) -> AdapterInstance:
        try:
            found = await self._adapters.versions(self._adapters.record(name))
            kind = self._adapters.plugins.get(found[0].plugin)
        except PluginError as problem:
            raise InvalidInput(problem.message, subject="name") from problem
        if candidate and len(found) == 1:
            raise InvalidInput(f"{name} has no candidate", subject="candidate")
        instance = found[-1] if candidate else found[0]
        if self._adapters.placement(instance) is not Placement.HUB:
            raise InvalidInput(
                f"{name} runs elsewhere ({self._adapters.placement(instance).value}): try it there with"
                f" `hub adapter try --plugin {kind.manifest.name}`",
                subject="name",
            )
        return replace(instance, enabled=True)

    async def _one(self, instance: AdapterInstance, *, sample: bool | Mapping[str, Any], recall: bool) -> Trial:
        kind = self._kind(instance)
        assignment = self._sample(kind, instance, sample)
        url = f"{self._public_url}/hooks/{instance.name}"
        return await try_plugin(kind, instance, assignment=assignment, recall=recall, callback_url=url)

    def _kind(self, instance: AdapterInstance) -> type[Plugin]:
        return self._adapters.plugins.get(instance.plugin)

    def _sample(self, kind: type[Plugin], instance: AdapterInstance, given: bool | Mapping[str, Any]) -> Assignment | None:
        if given is False:
            return None
        if not issubclass(kind, Adapter):
            raise InvalidInput(f"{kind.manifest.name} takes no assignments", subject="sample")
        base = sample_in(self._district(), instance, kind.manifest, suffix=new_suffix(), now=self._clock())
        return base if given is True else given_sample(given, base, subject="sample")
