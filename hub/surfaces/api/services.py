"""The hub's parts that the HTTP interface uses. The composition root fills it in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.bus.buckets import Objects
    from hub.contract import CallbackRequest
    from hub.model.actors import Actor
    from hub.model.case.state import Case
    from hub.model.policy.district import District
    from hub.observing.store import SpanStore
    from hub.platform.adapters import Adapters
    from hub.platform.adapters.mounts import Mounted
    from hub.platform.instances.registration import Registration
    from hub.platform.instances.statuses import Statuses
    from hub.platform.remote.credentials import Credentials
    from hub.platform.trial.trials import Trials
    from hub.platform.upkeep.auditing import Corrections
    from hub.platform.upkeep.catalogues import Catalogues
    from hub.platform.upkeep.crosswalk import Crosswalks
    from hub.platform.upkeep.reconciliation import Reconciliation
    from hub.platform.upkeep.repairs import Repairs
    from hub.privacy.vault import Vault
    from hub.settings import ApiSettings
    from hub.spine.ledger.desk import Desk, Desks
    from hub.spine.ledger.store import Ledger
    from hub.spine.ways_in.intake import Intake
    from hub.surfaces.api.matters.kinds import Kind
    from hub.surfaces.api.people.tokens import Tokens
    from hub.views.views import Views


PublishPolicy = Callable[[dict[str, str], "Actor"], Awaitable[int]]
"""Check, publish and put in force; the number. Raises ConfigError, LedgerConflict."""


@dataclass(frozen=True, kw_only=True)
class Instances:
    """The instances themselves, for those who run them: what serves, and how it is changed."""

    roster: Adapters
    registration: Registration
    trials: Trials | None = None


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """The means to keep both sides the same: repairs, reconciliation, catalogues, crosswalks."""

    repairs: Repairs
    reconciliation: Reconciliation
    corrections: Corrections
    catalogues: Catalogues
    crosswalks: Crosswalks


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything the HTTP interface uses. `connected`: whether the bus answers and nothing fatal happened."""

    desk: Desk[Case, Any, Any]
    desks: Desks
    kinds: tuple[Kind[Any], ...]
    """The kinds of matters the interface has routes for, the case among them."""
    intake: Intake
    callback: Callable[[str, CallbackRequest], Awaitable[int]]
    """Verifies, reads and takes a department's callback to an adapter instance. Returns the number of its items."""
    adapters: Adapters
    statuses: Statuses
    ledger: Ledger
    views: Views
    vault: Vault
    objects: Objects
    tokens: Tokens
    spans: SpanStore | None
    district: Callable[[], District]
    publish_policy: PublishPolicy
    settings: ApiSettings
    connected: Callable[[], bool]
    mounts: tuple[Mounted, ...] = ()
    """What plugins answer beside the interface."""
    instances: Instances | None = None
    """None: this interface changes no instances."""
    credentials: Credentials | None = None
    """None: no adapters run elsewhere."""
    upkeep: Upkeep | None = None
    """None: nothing is repaired or reconciled here."""
