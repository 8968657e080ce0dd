"""The rulebook: the district with the policy in force, and what each adapter instance serves at present.

It is replaced as a whole when a new policy is published or the instances change. So whoever decides asks for it anew each time. Held by the
composition root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from hub.model.district.areatree import AreaTree
    from hub.model.district.units import Directory
    from hub.model.policy.bindings import Binding
    from hub.model.policy.district import District
    from hub.model.policy.policy import Policy
    from hub.spine.ledger.store import PolicyRecord

log = structlog.get_logger("hub.app")


class ReadPolicy(Protocol):
    """Builds a policy from its texts (`Policy.sources`); `zone` is used instead of the text's. Raises ConfigError."""

    def __call__(
        self,
        sources: Mapping[str, str],
        areas: AreaTree,
        directory: Directory,
        version: int = 0,
        *,
        zone: ZoneInfo | None = None,
    ) -> Policy:
        """The policy."""
        ...


class Rulebook:
    """The district with the policy in force; replaced as a whole when a new policy is published."""

    def __init__(self, configured: District, read: ReadPolicy) -> None:
        self._configured = configured
        self._read = read
        self._current = configured
        self._bindings: tuple[Binding, ...] = ()

    def district(self) -> District:
        """Areas, units and the policy in force."""
        return self._current

    def rules(self) -> Policy:
        """The policy in force."""
        return self._current.policy

    def bind(self, bindings: tuple[Binding, ...]) -> None:
        """Use these adapter instances from now on."""
        self._bindings = bindings
        self._current = self._current.with_policy(self._current.policy.with_bindings(bindings))

    def check(self, sources: Mapping[str, str]) -> None:
        """Whether a policy can be read with the areas and units there are; raises ConfigError."""
        self._read(sources, self._configured.areas, self._configured.directory, zone=self._configured.zone)

    def put_in_force(self, record: PolicyRecord) -> None:
        """Use a published policy from now on; raises ConfigError when it can't be read with the configured areas and units."""
        if self.differs_from(record):
            policy = self._read(
                record.sources,
                self._configured.areas,
                self._configured.directory,
                version=record.version,
                zone=self._configured.zone,
            )
        else:
            policy = self._configured.policy.with_version(record.version)
        self._current = self._configured.with_policy(policy.with_bindings(self._bindings))
        log.info("policy in force", version=record.version)

    def differs_from(self, record: PolicyRecord) -> bool:
        """Whether the files in config/ are not the published ones."""
        return dict(self._configured.policy.sources) != record.sources
