"""What a plugin says of itself: capabilities and the manifest, and the base of its settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from hub.contract.crosswalk import Crosswalk
from hub.contract.instances import Placement

PASS_STATUSES = "hub.pass_statuses"  # noqa: S105 - a name
"""Extension of a request through `Context.http`: statuses that are answers in this protocol and come back as responses
instead of being raised, e.g. `extensions={PASS_STATUSES: {500}}` for SOAP faults."""

_PLAIN = Crosswalk()


class AdapterSettings(BaseModel):
    """Base of an adapter's settings; secrets are `pydantic.SecretStr`, so they never show."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Capability(StrEnum):
    """Abilities of an adapter beside `deliver`. The hub never calls an undeclared one."""

    LOOKUP = "lookup"
    RECALL = "recall"
    URGE = "urge"
    INFORM = "inform"
    POLL = "poll"
    CALLBACK = "callback"
    NEEDS_CONTACT = "needs_contact"
    IDEMPOTENT = "idempotent"
    """The department's system files nothing new when the same key comes again."""
    AUDIT = "audit"
    """It can list how all our tickets stand: the nightly reconciliation compares."""
    CATALOGUE = "catalogue"
    """It can list the department's own categories: the hub says when they change."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Who the adapter is and its abilities."""

    name: str
    """The plugin's name; instances refer to it."""
    department: str
    """Chinese name of the kind of department, e.g. 公安."""
    version: str
    capabilities: frozenset[Capability] = frozenset()
    poll_every: timedelta = timedelta(seconds=5)
    """Time between calls of `poll` that bring nothing. When a poll says there is more, the next call follows at once."""
    attempt_timeout: timedelta = timedelta(seconds=20)
    """The most one attempt may take, retries inside it included; below the queue's acknowledgement wait."""
    owner: str = ""
    """Who answers for the plugin: a team and how to reach it."""
    api: int = 1
    """The `API_VERSION` it was written for. The hub refuses one newer than its own."""
    categories: tuple[str, ...] = ()
    """Category codes (with all below) it is for; empty: any."""
    areas: tuple[str, ...] = ()
    """Area codes (with all below) it is for; empty: any."""
    placement: Placement = Placement.HUB
    """Where it asks to run; the operator may set another place for an instance."""
    concurrency: int = 8
    """How many assignments the department's system can have in hand at once; default of its instances."""
    rate_per_second: float | None = None
    """Requests a second the department's system takes; default of its instances. None: no limit."""
    retry_schedule: tuple[timedelta, ...] = ()
    """A published schedule of delays before the second, third … attempt; default of its instances. Empty: exponential."""
    crosswalk: Crosswalk = field(default=_PLAIN)
    """The department's statuses, categories and field names against ours."""
