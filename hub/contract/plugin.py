"""Classes for plugin authors to subclass: `Adapter` above all, and the smaller `IntakeChannel`, `Classifier`, `Notifier`, `ConsolePage`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from hub.contract.crosswalk import Words, WordTable
from hub.contract.manifest import AdapterSettings, Manifest
from hub.contract.values import (
    Alert,
    Assignment,
    Audit,
    CallbackRequest,
    CaseText,
    Feedback,
    Health,
    IncomingCase,
    Notice,
    Poll,
    Receipt,
    Suggestion,
)

if TYPE_CHECKING:
    import httpx
    import structlog


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
    """Name of the instance."""
    http: httpx.AsyncClient
    """Traced, timed, rate-limited. Where the transport fails, it raises the hub's delivery errors instead of httpx's own."""
    store: AdapterStore
    log: structlog.stdlib.BoundLogger
    callback_url: str
    """Where the department's system can call back: `<public url>/hooks/<instance>`."""
    words: Words | None = None
    """The crosswalk in force; None in tests: the manifest's own."""


class Plugin:
    """The common part of all kinds: a manifest, settings, a context, a start and an end. Subclass one of the kinds instead."""

    manifest: ClassVar[Manifest]
    Settings: ClassVar[type[AdapterSettings]] = AdapterSettings

    def __init__(self, settings: AdapterSettings, context: Context) -> None:
        self.settings = settings
        self.context = context
        self.http = context.http
        self.store = context.store
        self.log = context.log
        self.words: Words = context.words if context.words is not None else WordTable(self.manifest.crosswalk)

    async def start(self) -> None:
        """The first call, made once. Open your resources here; do not require the department to be up."""

    async def stop(self) -> None:
        """Called once at the end; close what `start` opened."""

    async def health(self) -> Health:
        """A cheap question to the departmental system; also used to find out whether new credentials work."""
        return Health(ok=True)

    async def diagnostics(self) -> Mapping[str, object]:
        """JSON-ready facts for finding a fault (queue lengths, session age). The hub blots out secrets."""
        return {}


class Bringing(Plugin):
    """What can bring cases and feedback in: an `Adapter` besides taking assignments, an `IntakeChannel` without."""

    async def inform(self, notice: Notice) -> None:
        """Tell the system that brought a case in how it stands."""
        raise AdapterContractError(f"{type(self).__name__} declares inform but does not define it")

    async def poll(self, cursor: str | None) -> Poll:
        """Fetch everything new since `cursor` (None: from the beginning)."""
        raise AdapterContractError(f"{type(self).__name__} declares poll but does not define it")

    async def parse_callback(self, request: CallbackRequest) -> Sequence[Feedback | IncomingCase]:
        """Verify and read a callback; raises CallbackRejected."""
        raise AdapterContractError(f"{type(self).__name__} declares callback but does not define it")


class Adapter(Bringing):
    """Speaks one department's protocol. Subclass, declare `manifest` (and `Settings`), write `deliver`.

    All methods may raise the delivery errors of `hub` (Unavailable, Refused, CredentialsRejected, OutcomeUnknown, Withdrawn). The hub uses
    one instance concurrently. It calls only methods that `manifest.capabilities` declares.
    """

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

    async def audit(self, cursor: str | None) -> Audit:
        """One page of how our tickets stand at the department (None: from the beginning); for the nightly reconciliation."""
        raise AdapterContractError(f"{type(self).__name__} declares audit but does not define it")

    async def catalogue(self) -> Mapping[str, str]:
        """The department's own categories, code → name."""
        raise AdapterContractError(f"{type(self).__name__} declares catalogue but does not define it")


class IntakeChannel(Bringing):
    """A way in 渠道: brings cases and feedback on them. Its source takes no assignments (an app, a mailbox, sensors).

    Declare POLL, CALLBACK or both. Declare INFORM to hear how a matter stands.
    """


class Classifier(Plugin):
    """Suggests a category for a report that names none. Asked in the order of the instances' names, a second each at most."""

    async def classify(self, case: CaseText) -> Suggestion | None:
        """What it is, or None for no idea."""
        raise AdapterContractError(f"{type(self).__name__} does not define classify")


class Notifier(Plugin):
    """Tells people what waits for them (a chat group, text messages). Told at least once; `alert.id` is the same when told again."""

    async def notify(self, alert: Alert) -> None:
        """Deliver the alert. After a delivery error the hub calls again later."""
        raise AdapterContractError(f"{type(self).__name__} does not define notify")


@dataclass(frozen=True, kw_only=True)
class ConsolePage:
    """A page a plugin adds to the command centre's console: read-only HTML, shown in a frame without scripts."""

    path: str
    """Lower-case letters, digits and `-`; unique over all plugins."""
    title: str
    """Chinese, for the menu."""
    roles: frozenset[str]
    """Roles of tokens that may open it."""
    render: Callable[[], Awaitable[str]]
    """The body of the page as HTML."""


class AdapterContractError(Exception):
    """A method was called that the adapter should have defined (found at load by the capability check)."""
