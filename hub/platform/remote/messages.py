"""The messages between the hub and adapters that run elsewhere: the data of every order, answer, beat and question. Pure.

Data that crosses the border to a plugin has the same form here (`hub.contract.values`). docs/protocol/ is generated from these models;
their docstrings are its descriptions. Within one version they only gain optional fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from hub import contract
from hub.contract.values import Key, Moment, Name, PlainAssignment, Said, Text, Ticket
from hub.model.effects import Verb

VERSION = 1
"""Version of the protocol: last part of every event's type. Within one version messages only gain optional fields."""
Seconds = Annotated[float, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1, le=1_000_000)]


class AnswerName(StrEnum):
    """The messages to the hub."""

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
    """Base of the data of messages to the hub. Unknown fields are refused."""


class Backoff(Struct, frozen=True, kw_only=True):
    """Wait before the next attempt: U(0, min(cap, base·2^n)) seconds, or the schedule's delays, each ±10 %."""

    base: Seconds
    cap: Seconds
    schedule: tuple[Seconds, ...] = ()


class Deliver(PlainAssignment, frozen=True, omit_defaults=True, kw_only=True):
    """Hand this over to the department's system."""

    attempt: Number
    """Number of the attempt that begins with this order; the hub has noted its beginning."""
    attempts: Number
    """Most attempts; then it is `dead`."""
    backoff: Backoff
    contact_available: bool = False
    """Whether `contact.<adapter>` has the reporter's contact."""


class Tell(PlainAssignment, frozen=True, omit_defaults=True, kw_only=True):
    """Tell the department something about an assignment."""

    effect: Name
    message: str = ""
    """The text that goes with it, e.g. the reason for taking it back."""


class Inform(contract.Notice, frozen=True, omit_defaults=True, kw_only=True):
    """Tell the system that brought a case in how it stands."""

    effect: Name


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
    """Whether the adapter gave up on it."""


class Unmapped(Message, frozen=True, omit_defaults=True, kw_only=True):
    """A word of the department that the crosswalk does not have."""

    table: Annotated[str, Meta(pattern="^(statuses|categories|reached|solved|satisfied)$")]
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
    """Answers that wait to be stored."""


class Terms(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How the hub wants an instance to work."""

    concurrency: int = 8
    items_per_second: float = 100.0
    paused: bool = False
    crosswalk: contract.Crosswalk | None = None
    """The instance's entries of the crosswalk."""
    protocol: int = VERSION


class Question(Message, frozen=True, kw_only=True):
    """Asks `contact.<adapter>` for the contact of an open assignment; the hub notes who read it."""

    key: Key


class Answer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The contact, or why not."""

    contact: contract.Contact | None = None
    error: str | None = None


ORDERS: Mapping[Verb, type[Struct]] = {**dict.fromkeys(Verb, Tell), Verb.DELIVER: Deliver, Verb.INFORM: Inform}
"""The message for each order. Each order means what the contract's method by that name does."""
ANSWERS: Mapping[AnswerName, type[Struct]] = {
    AnswerName.STARTED: Started,
    AnswerName.RECEIPT: Filed,
    AnswerName.REFUSED: Refusal,
    AnswerName.FAILED: Failure,
    AnswerName.UNCERTAIN: Doubt,
    AnswerName.DEAD: Buried,
    AnswerName.EFFECT: Effect,
    AnswerName.ACCEPTED: Said,
    AnswerName.PROGRESS: Said,
    AnswerName.RESOLVED: Said,
    AnswerName.RETURNED: Said,
    AnswerName.VISITED: Said,
    AnswerName.CASE: contract.IncomingCase,
    AnswerName.UNMAPPED: Unmapped,
    AnswerName.ASIDE: Aside,
}
