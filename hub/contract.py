"""What a plugin author writes against: `Adapter` and the values it gives and takes.

Owns the boundary to the plugins, nothing of the hub's insides. The hub owns retry, idempotency, tracing, rate, secrets and
acknowledgement; an adapter only speaks its department's protocol. Import these names from `hub`, not from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from hub.model.cases import Channel, Role, Severity

if TYPE_CHECKING:
    import httpx
    import structlog


PASS_STATUSES = "hub.pass_statuses"  # noqa: S105 - a name
"""Extension of a request through `Context.http`: statuses that are answers in this protocol and come back as responses
instead of being raised, e.g. `extensions={PASS_STATUSES: {500}}` for SOAP faults."""


class AdapterSettings(BaseModel):
    """Base of an adapter's settings; secrets are `pydantic.SecretStr`, so they never show."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Capability(StrEnum):
    """What an adapter can do beside `deliver`; the hub never calls what is not declared."""

    LOOKUP = "lookup"
    RECALL = "recall"
    URGE = "urge"
    INFORM = "inform"
    POLL = "poll"
    CALLBACK = "callback"
    NEEDS_CONTACT = "needs_contact"
    IDEMPOTENT = "idempotent"
    """The department's system files nothing new when the same key comes again."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Who the adapter is and what it can."""

    name: str
    """The plugin's name, e.g. `police`; instances in config/adapters.yaml refer to it."""
    department: str
    """Chinese name of the kind of department, e.g. 公安."""
    version: str
    capabilities: frozenset[Capability] = frozenset()
    poll_every: timedelta = timedelta(seconds=5)
    """How often `poll` is called while it brings nothing; it is called again at once when it says there is more."""
    attempt_timeout: timedelta = timedelta(seconds=20)
    """The most one attempt may take, retries inside it included; below the queue's acknowledgement wait."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """A reporter's contact; only given to adapters that declare `needs_contact`."""

    name: str | None = None
    phone: str | None = None
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One case for one unit, as the department's system should get it. Nothing personal unless `contact` is given."""

    key: str
    """Idempotency key `<case id>.<assignment>`; the same over all retries. Give it to the department as our reference."""
    case: str
    unit: str
    """Code of the unit it is for; one adapter may serve several."""
    role: Role
    title: str
    text: str
    category: str
    category_name: str
    severity: Severity
    area: str
    """Area code, 6 to 15 digits."""
    area_path: tuple[str, ...]
    """Names from district down, e.g. ("栖霞区", "尧化街道", "尧化社区居委会", "第3网格")."""
    reported_at: datetime
    place: str | None = None
    task: str | None = None
    """What exactly this unit has to do, when it is only a part."""
    accept_by: datetime | None = None
    finish_by: datetime | None = None
    ticket: str | None = None
    """The department's own number, once known (for recall and urge)."""
    contact: Contact | None = None

    def summary(self) -> dict[str, object]:
        """A JSON-ready dict of all fields that are set, times as ISO 8601 with offset, without the contact."""
        values: dict[str, object] = {
            "key": self.key,
            "case": self.case,
            "unit": self.unit,
            "role": self.role.value,
            "title": self.title,
            "text": self.text,
            "category": self.category,
            "category_name": self.category_name,
            "severity": self.severity.value,
            "area": self.area,
            "area_path": list(self.area_path),
            "reported_at": self.reported_at.isoformat(),
            "place": self.place,
            "task": self.task,
            "accept_by": self.accept_by.isoformat() if self.accept_by else None,
            "finish_by": self.finish_by.isoformat() if self.finish_by else None,
            "ticket": self.ticket,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The department's system has it 回执."""

    ticket: str
    """The department's own number for it."""


class ReportKind(StrEnum):
    """What a unit says later 反馈. VISITED: the hotline made the callback visit (then the rating fields count)."""

    ACCEPTED = "accepted"
    PROGRESS = "progress"
    RESOLVED = "resolved"
    RETURNED = "returned"
    VISITED = "visited"


@dataclass(frozen=True, kw_only=True)
class ReportedFile:
    """A file that came with a report, e.g. a photo. At most 10 MiB."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Report:
    """One thing a department's system says about an assignment (or, VISITED, about a case it brought in).

    Give `key` if the system echoes ours, else `ticket` (its own number). `id` must be the same when the same report
    comes again (the system's event number): the hub takes each id once.
    """

    id: str
    kind: ReportKind
    key: str | None = None
    ticket: str | None = None
    at: datetime | None = None
    """When it happened at the department, aware."""
    by: str | None = None
    """A role or team there; no personal names."""
    note: str | None = None
    """Progress, result or reason of return."""
    files: tuple[ReportedFile, ...] = ()
    reached: bool | None = None
    solved: bool | None = None
    satisfied: bool | None = None
    rating: int | None = None


@dataclass(frozen=True, kw_only=True)
class IncomingCase:
    """A matter a department's system brings in. The hub opens one case per `ref`, however often it comes."""

    ref: str
    """The system's own number of the matter."""
    channel: Channel
    title: str
    text: str
    reported_at: datetime
    area: str | None = None
    """Area code if the system knows one; else `place_name` is looked up in config/places.csv."""
    place_name: str | None = None
    """The system's own name of the area, e.g. A3区."""
    place: str | None = None
    """Address to the building, without flat number."""
    category: str | None = None
    severity: Severity | None = None
    contact: Contact | None = None
    covers: tuple[str, ...] = ()
    """Area codes a notice stands for (planned outage); later reports of its category from there attach to it."""
    covers_until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Poll:
    """What one poll brought. The hub stores `cursor` once every item is committed, and hands it to the next poll."""

    items: Sequence[Report | IncomingCase]
    cursor: str | None
    more: bool = False
    """True: poll again at once."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What the hub tells the system a case came from: how its matter stands."""

    case: str
    ref: str
    """The system's own number, as given in `IncomingCase.ref`."""
    stage: str
    """taken, resolved, closed, void or reopened."""
    text: str
    """Chinese sentence for the reporter; nothing personal, no departmental internals."""
    at: datetime
    """When it happened, aware. Notices may overtake one another: the newest `at` is how the matter stands."""


@dataclass(frozen=True, kw_only=True)
class CallbackRequest:
    """An HTTP request a department's system sent to `/hooks/<adapter>`; `headers` have lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


class CallbackRejected(Exception):
    """Raised by `parse_callback` when a signature is missing or wrong, or the body can't be read.

    `status` 401 for signatures, 400 for bodies; `reason` goes to the log and the answer: no secrets in it.
    """

    def __init__(self, reason: str, *, status: int = 401) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Health:
    """Whether the departmental system can be used right now, and why not."""

    ok: bool
    detail: str = ""


class AdapterStore(Protocol):
    """A small durable key-value store of one adapter instance (tokens, cursors, maps). Keys: [A-Za-z0-9_.-]{1,200}."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""

    async def put(self, key: str, value: bytes) -> None:
        """Store; durable when it returns."""

    async def delete(self, key: str) -> None:
        """Forget; no error when absent."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the hub gives an adapter instance."""

    instance: str
    """Name of the instance in config/adapters.yaml."""
    http: httpx.AsyncClient
    """Traced, timed; raises the hub's delivery errors instead of httpx's own for what the transport says."""
    store: AdapterStore
    log: structlog.stdlib.BoundLogger
    callback_url: str
    """Where the department's system can call back: `<public url>/hooks/<instance>`."""


class Adapter:
    """Speaks one department's protocol. Subclass, declare `manifest` (and `Settings`), write `deliver`.

    All methods may raise the delivery errors of `hub` (Unavailable, Refused, CredentialsRejected, OutcomeUnknown).
    One instance is used concurrently. Only what `manifest.capabilities` declares is ever called.
    """

    manifest: ClassVar[Manifest]
    Settings: ClassVar[type[AdapterSettings]] = AdapterSettings

    def __init__(self, settings: AdapterSettings, context: Context) -> None:
        self.settings = settings
        self.context = context
        self.http = context.http
        self.store = context.store
        self.log = context.log

    async def start(self) -> None:
        """Called once before anything else; open what is needed. Must not require the department to be up."""

    async def stop(self) -> None:
        """Called once at the end; close what `start` opened."""

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Hand one assignment over; the same key files nothing new."""
        raise AdapterContractError(f"{type(self).__name__} does not define deliver")

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Ask whether the department has `assignment.key`; None when it certainly has not."""
        raise AdapterContractError(f"{type(self).__name__} declares lookup but does not define it")

    async def recall(self, assignment: Assignment, reason: str) -> None:
        """Take it back; no error when the department does not have it any more."""
        raise AdapterContractError(f"{type(self).__name__} declares recall but does not define it")

    async def urge(self, assignment: Assignment, message: str) -> None:
        """Remind the department."""
        raise AdapterContractError(f"{type(self).__name__} declares urge but does not define it")

    async def inform(self, notice: Notice) -> None:
        """Tell the system that brought a case in how it stands."""
        raise AdapterContractError(f"{type(self).__name__} declares inform but does not define it")

    async def poll(self, cursor: str | None) -> Poll:
        """Fetch what is new since `cursor` (None: from the beginning)."""
        raise AdapterContractError(f"{type(self).__name__} declares poll but does not define it")

    async def parse_callback(self, request: CallbackRequest) -> Sequence[Report | IncomingCase]:
        """Verify and read a callback; raises CallbackRejected."""
        raise AdapterContractError(f"{type(self).__name__} declares callback but does not define it")

    async def health(self) -> Health:
        """A cheap question to the departmental system; also used to find out whether new credentials work."""
        return Health(ok=True)


class AdapterContractError(Exception):
    """A method was called that the adapter should have defined (found at load by the capability check)."""


@dataclass(frozen=True, kw_only=True)
class AdapterInstance:
    """One line of config/adapters.yaml: a plugin with settings, limits and the callback secret's place."""

    name: str
    plugin: str
    enabled: bool = True
    settings: Mapping[str, object] = field(default_factory=dict)
    concurrency: int = 8
    """How many assignments are in the department's hands at once."""
    attempts: int = 8
    """Attempts per assignment before it becomes a dead letter."""
    backoff_base: timedelta = timedelta(seconds=5)
    backoff_cap: timedelta = timedelta(minutes=30)
    """Delay before attempt n+1: U(0, min(cap, base·2^n)), never before Retry-After."""
    breaker_window: int = 20
    breaker_minimum: int = 5
    breaker_ratio: float = 0.5
    breaker_open_for: timedelta = timedelta(seconds=30)
    """The breaker opens when of the last `window` calls (at least `minimum`) this share failed; then three probes."""
