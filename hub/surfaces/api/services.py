"""What the HTTP interface is given: the parts of the hub, as far as it uses them. The composition root fills it in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hub.model.aggregate import MatterId

if TYPE_CHECKING:
    from hub.contract import CallbackRequest, Contact
    from hub.model.actors import Actor
    from hub.model.aggregate import Commit
    from hub.model.case.state import Case, CaseId
    from hub.model.policy.district import District
    from hub.observing.store import SpanRecord
    from hub.platform.adapters import Adapters as Roster
    from hub.platform.adapters import AdapterStatus
    from hub.platform.adapters.mounts import Mounted
    from hub.platform.instances.registration import Registration
    from hub.platform.remote.credentials import Credentials
    from hub.platform.trial.trials import Trials
    from hub.platform.upkeep.catalogues import Catalogues
    from hub.platform.upkeep.crosswalk import Crosswalks
    from hub.platform.upkeep.reconciliation import Reconciliation
    from hub.platform.upkeep.repairs import Repairs
    from hub.settings import ApiSettings
    from hub.spine.ledger.desk import Desk, Desks, Outcome
    from hub.spine.ledger.store import PolicyRecord
    from hub.spine.ways_in.intake import Entry
    from hub.surfaces.api.matters.kinds import Kind
    from hub.surfaces.api.people.tokens import Tokens
    from hub.views import Views


class Intake(Protocol):
    """Takes reports in."""

    async def report(self, entry: Entry, *, actor: Actor, key: str | None = None, cause: str | None = None) -> Outcome[Case]:
        """Open a case, or join the report to one."""
        ...


class ReportBack(Protocol):
    """Takes what departments send."""

    async def callback(self, adapter: str, request: CallbackRequest) -> int:
        """Verify, read and take a callback; how many items it held."""
        ...


class Adapters(Protocol):
    """The adapter instances."""

    async def statuses(self) -> Sequence[AdapterStatus]:
        """How every instance stands."""
        ...

    async def status(self, name: str) -> AdapterStatus:
        """How one instance stands; raises NotAllowed."""
        ...

    async def pause(self, name: str, reason: str) -> None:
        """Take nothing from its queue until resumed."""
        ...

    async def resume(self, name: str) -> None:
        """Go on."""
        ...


class Ledger(Protocol):
    """Follows commits."""

    def follow(self, after: int, *, subject: str = ..., live: bool = True) -> AsyncIterator[tuple[int, Commit[Any], str]]:
        """Every commit behind a sequence under a subject (all matters)."""
        ...

    async def commits(self, id: MatterId) -> Sequence[tuple[int, Commit[Any]]]:
        """All commits of a matter with their sequences."""
        ...

    async def last_sequence(self) -> int:
        """The last sequence."""
        ...

    async def policies(self) -> Sequence[PolicyRecord]:
        """Every policy ever published, oldest first."""
        ...


class Vault(Protocol):
    """Contacts."""

    async def open(self, case: CaseId) -> Contact | None:
        """The contact; its access must have been committed before."""
        ...

    async def erase(self, case: CaseId) -> None:
        """Destroy the key."""
        ...


class Objects(Protocol):
    """Files by SHA-256; `of`: the case whose own they are."""

    async def put(self, content: bytes) -> str:
        """Store a shared one; the hash."""
        ...

    async def get(self, sha256: str, *, of: str = ...) -> bytes | None:
        """The content."""
        ...


class Spans(Protocol):
    """Stored spans."""

    def of_matter(self, matter: str) -> list[SpanRecord]:
        """All spans of a matter; blocks."""
        ...

    def ingest_otlp(
        self, body: bytes, content_type: str = ..., *, content_encoding: str | None = None, max_bytes: int = ...
    ) -> int:
        """Take an OTLP export; blocks."""
        ...


PublishPolicy = Callable[[dict[str, str], "Actor"], Awaitable[int]]
"""Check, publish and put in force; the number. Raises ConfigError, LedgerConflict."""


@dataclass(frozen=True, kw_only=True)
class Instances:
    """The instances themselves, for those who run them: what serves, and how it is changed."""

    roster: Roster
    registration: Registration
    trials: Trials | None = None


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """What keeps the two sides the same: repairs, reconciliation, catalogues, crosswalks."""

    repairs: Repairs
    reconciliation: Reconciliation
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
    reportback: ReportBack
    adapters: Adapters
    ledger: Ledger
    views: Views
    vault: Vault
    objects: Objects
    tokens: Tokens
    spans: Spans | None
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
