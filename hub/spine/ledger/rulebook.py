"""The rulebook: the district with the policy in force and what the adapter instances serve at present.

Replaced as a whole when a new policy is published or the instances change; whoever decides asks for it anew each time.
Held by the composition root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from hub.config.district import District, policy_from_sources

if TYPE_CHECKING:
    from hub.model.policy.bindings import Binding
    from hub.model.policy.policy import Policy
    from hub.spine.ledger.store import PolicyRecord

log = structlog.get_logger("hub.app")


class Rulebook:
    """The district with the policy in force; replaced as a whole when a new policy is published."""

    def __init__(self, configured: District) -> None:
        self._configured = configured
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

    def put_in_force(self, record: PolicyRecord) -> None:
        """Use a published policy from now on; raises ConfigError when it can't be read with the configured areas and units."""
        if self.differs_from(record):
            policy = policy_from_sources(
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
