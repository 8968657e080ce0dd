"""The messages between the hub and adapters that run elsewhere: the data of every order, report, beat and question. Pure.

docs/protocol/ is generated from these models; their docstrings are its descriptions. Within one version they only gain optional fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from hub import contract
from hub.model.assignments.state import Role
from hub.model.case.state import Channel, Severity
from hub.model.effects import Verb

VERSION = 1
"""Version of the protocol: last part of every event's type. Within one version messages only gain optional fields."""
Text = Annotated[str, Meta(max_length=200_000)]
Name = Annotated[str, Meta(min_length=1, max_length=500)]
Key = Annotated[str, Meta(min_length=3, max_length=100, description="Our idempotency key of the assignment.")]
Ticket = Annotated[str, Meta(min_length=1, max_length=200, description="The department's own number.")]
Moment = Annotated[datetime, Meta(tz=True)]
Seconds = Annotated[float, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1, le=1_000_000)]


class ReportName(StrEnum):
    """What is said to the hub."""

    STARTED = "started"
    RECEIPT = "receipt"
    REFUSED = "refused"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    DEAD = "dead"
    EFFECT = "effect"
    ACCEPTED = "accepted"
    PROGRESS = "progress"
    RESOLVED = "resolved"
    RETURNED = "returned"
    VISITED = "visited"
    CASE = "case"
    UNMAPPED = "unmapped"
    ASIDE = "aside"


class Message(Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the data of what is sent to the hub: unknown fields are refused."""


class Backoff(Struct, frozen=True, kw_only=True):
    """How long to wait before the next attempt: U(0, min(cap, base·2^n)) seconds, or the schedule's delays, each ±10 %."""

    base: Seconds
    cap: Seconds
    schedule: tuple[Seconds, ...] = ()


class Assigned(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An assignment as the department should get it. Nothing personal."""

    key: Key
    case: Name
    unit: Name
    """Code of the unit it is for."""
    role: Role
    title: Text
    text: Text
    category: str
    category_name: str
    severity: Severity
    area: str
    """Area code, 6 to 15 digits."""
    area_path: tuple[str, ...]
    """Names from district down."""
    reported_at: Moment
    place: str | None = None
    task: str | None = None
    """What exactly this unit has to do, when it is only a part."""
    accept_by: Moment | None = None
    finish_by: Moment | None = None
    ticket: str | None = None
    """The department's own number, once known."""

    def assignment(self, person: contract.Contact | None = None, **changes: object) -> contract.Assignment:
        """As a plugin gets it."""
        values = {name: getattr(self, name) for name in Assigned.__struct_fields__}
        return contract.Assignment(**values | changes, contact=person)


class Deliver(Assigned, frozen=True, omit_defaults=True, kw_only=True):
    """Hand this over to the department's system."""

    attempt: Number
    """Number of the attempt that begins with this order; the hub has noted its beginning."""
    attempts: Number
    """Most attempts; then it is `dead`."""
    backoff: Backoff
    contact_available: bool = False
    """Whether `contact.<adapter>` has the reporter's contact."""


class Tell(Assigned, frozen=True, omit_defaults=True, kw_only=True):
    """Tell the department something about an assignment."""

    effect: Name
    message: str = ""
    """What is said with it, e.g. why it is taken back."""


class Inform(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Tell the system that brought a case in how it stands."""

    case: Name
    ref: str
    """The system's own number of the matter."""
    stage: str
    text: Text
    at: Moment
    effect: Name

    def notice(self) -> contract.Notice:
        """As a plugin gets it."""
        return contract.Notice(**{name: getattr(self, name) for name in Inform.__struct_fields__ if name != "effect"})


class Started(Message, frozen=True, omit_defaults=True, kw_only=True):
    """An attempt after the first begins."""

    key: Key
    attempt: Number


class Filed(Message, frozen=True, omit_defaults=True, kw_only=True):
    """The department's system has it."""

    key: Key
    ticket: Ticket
    attempt: Number | None = None
    via: Annotated[str, Meta(pattern="^(deliver|lookup)$")] = "deliver"


class Refusal(Message, frozen=True, omit_defaults=True, kw_only=True):
    """The department says no."""

    key: Key
    attempt: Number
    reason: Text
    status: int | None = None
    """HTTP status of its answer, where there was one."""


class Failure(Message, frozen=True, omit_defaults=True, kw_only=True):
    """An attempt failed; another follows at `retry_at`."""

    key: Key
    attempt: Number
    error: Name
    """unavailable, outcome_unknown, credentials_rejected, withdrawn, adapter_fault or interrupted."""
    reason: Text
    unknown: bool = False
    """Whether the department may have it all the same."""
    retry_at: Moment | None = None
    status: int | None = None


class Doubt(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Nobody can find out whether the department has it."""

    key: Key
    attempt: Number
    reason: Text


class Buried(Message, frozen=True, omit_defaults=True, kw_only=True):
    """The attempts are used up."""

    key: Key
    order: Name
    """Id of the order."""
    attempts: Number
    first_at: Moment
    last_at: Moment
    error: Name
    reason: Text
    version: str = ""
    """Version of the program that tried."""


class Effect(Message, frozen=True, omit_defaults=True, kw_only=True):
    """What an order other than `deliver` asked for was done (no `error`), or failed."""

    case: Name
    effect: Name
    """As the order names it."""
    error: str | None = None
    reason: Text | None = None
    final: bool = False
    """Whether it is given up."""


class File(Message, frozen=True, omit_defaults=True, kw_only=True):
    """A file of a report, at most 10 MiB."""

    name: Name
    media_type: Name
    content: Annotated[str, Meta(max_length=14 * 1024 * 1024, description="Base64.")]


class Said(Message, frozen=True, omit_defaults=True, kw_only=True):
    """What the department says about an assignment; `key` or else `ticket` says which."""

    key: str | None = None
    ticket: str | None = None
    at: Moment | None = None
    """When it happened at the department."""
    by: Text | None = None
    """A role or team there; no personal names."""
    note: Text | None = None
    files: tuple[File, ...] = ()


class Visited(Message, frozen=True, omit_defaults=True, kw_only=True):
    """The reporter was asked 回访; `ticket` is the number of the case this system brought in."""

    ticket: Ticket
    at: Moment | None = None
    by: Text | None = None
    note: Text | None = None
    reached: bool | None = None
    solved: bool | None = None
    satisfied: bool | None = None
    rating: Annotated[int, Meta(ge=1, le=5)] | None = None


class Person(Message, frozen=True, omit_defaults=True, kw_only=True):
    """A reporter's contact."""

    name: str | None = None
    phone: str | None = None
    address: str | None = None


class Matter(Message, frozen=True, omit_defaults=True, kw_only=True):
    """A matter the department's system brings in; the hub opens one case per `ref`."""

    ref: Name
    channel: Channel
    title: Text
    text: Text
    reported_at: Moment
    area: str | None = None
    place_name: str | None = None
    place: str | None = None
    category: str | None = None
    severity: Severity | None = None
    contact: Person | None = None
    covers: tuple[str, ...] = ()
    covers_until: Moment | None = None


class Unmapped(Message, frozen=True, omit_defaults=True, kw_only=True):
    """A word of the department that the crosswalk does not have."""

    table: Annotated[str, Meta(pattern="^(statuses|categories)$")]
    word: Name
    about: str | None = None


class Aside(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Something the department said that can't be used."""

    item: Name
    reason: Text


class Beat(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A sign of life, every ten seconds on `beat.<adapter>`; asked as a question it is answered with `Terms`."""

    plugin: Name
    version: str
    protocol: int = VERSION
    department: str = ""
    capabilities: tuple[contract.Capability, ...] = ()
    ok: bool = True
    """Whether the department's system can be used."""
    detail: str = ""
    paused: str | None = None
    """Why it takes nothing, if so."""
    automatic: bool = True
    """Whether it goes on by itself once the department lets it in again."""
    in_hand: int = 0
    unsent: int = 0
    """Reports that wait to be stored."""


class Crosswalk(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The instance's entries of the crosswalk."""

    version: int = 0
    statuses: dict[str, contract.ReportKind] = {}
    categories: dict[str, str] = {}
    fields: dict[str, str] = {}


class Terms(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How the hub wants an instance to work."""

    concurrency: int = 8
    reports_per_second: float = 100.0
    paused: bool = False
    crosswalk: Crosswalk | None = None
    protocol: int = VERSION


class Question(Message, frozen=True, kw_only=True):
    """Asks `contact.<adapter>` for the contact of an open assignment; the hub notes who read it."""

    key: Key


class Answer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The contact, or why not."""

    contact: Person | None = None
    error: str | None = None


ORDERS: Mapping[Verb, type[Struct]] = {**dict.fromkeys(Verb, Tell), Verb.DELIVER: Deliver, Verb.INFORM: Inform}
"""What is ordered by which message; the order says what the contract's method by that name does."""
REPORTS: Mapping[ReportName, type[Struct]] = {
    ReportName.STARTED: Started,
    ReportName.RECEIPT: Filed,
    ReportName.REFUSED: Refusal,
    ReportName.FAILED: Failure,
    ReportName.UNCERTAIN: Doubt,
    ReportName.DEAD: Buried,
    ReportName.EFFECT: Effect,
    ReportName.ACCEPTED: Said,
    ReportName.PROGRESS: Said,
    ReportName.RESOLVED: Said,
    ReportName.RETURNED: Said,
    ReportName.VISITED: Visited,
    ReportName.CASE: Matter,
    ReportName.UNMAPPED: Unmapped,
    ReportName.ASIDE: Aside,
}
