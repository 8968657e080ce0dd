"""The values that cross the border to a plugin: assignments out; receipts, feedback and new cases in. Immutable, nothing of the hub's.

Each type carries its bounds. The hub checks them before it looks at a plugin's values. It checks the messages of adapters elsewhere in the
same way, because those messages are these values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta, Struct

from hub.model.answers import Reached, Satisfied, Solved
from hub.model.assignments.state import Role
from hub.model.case.state import Channel, Severity
from hub.model.positions import Point, Position

Text = Annotated[str, Meta(max_length=200_000)]
"""The most that the hub looks at; it keeps far less."""
Name = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S")]
Line = Annotated[str, Meta(max_length=500)]
Key = Annotated[str, Meta(min_length=3, max_length=100, description="Our idempotency key of the assignment.")]
Ticket = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])[\s\S]*\S",
        description="The department's own number: no control characters.",
    ),
]
Cursor = Annotated[str, Meta(max_length=10_000)]
Moment = Annotated[datetime, Meta(tz=True)]


def shared(value: Struct, kind: type[Struct]) -> dict[str, Any]:
    """The fields of a value that `kind` has as well."""
    return {name: getattr(value, name) for name in kind.__struct_fields__ if hasattr(value, name)}


class Value(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Base of what crosses the border. `msgspec.structs.replace` gives a changed copy."""

    @classmethod
    def of(cls, other: Struct, **more: object) -> Self:
        """One with the fields that `other` has as well, and `more`."""
        return cls(**shared(other, cls) | more)


class Contact(Value, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A reporter's contact. Only adapters that declare `needs_contact` get it."""

    name: Line | None = None
    phone: Line | None = None
    address: Line | None = None


class PlainAssignment(Value, frozen=True, omit_defaults=True, kw_only=True):
    """One case for one unit, as the department's system should get it. Nothing personal."""

    key: Key
    """Idempotency key `<case id>.<assignment>`; the same over all retries. Give it to the department as our reference."""
    case: Name
    unit: Name
    """Code of the unit it is for; one adapter may serve several."""
    role: Role
    title: Text
    text: Text
    category: str
    category_name: str
    severity: Severity
    area: str
    """Area code, 6 to 15 digits."""
    area_path: tuple[str, ...]
    """Names from district down, e.g. ("栖霞区", "尧化街道", "尧化社区居委会", "第3网格")."""
    reported_at: Moment
    place: str | None = None
    position: Position | None = None
    """Exactly as it was given, in the system it was given in."""
    wgs84: Point | None = None
    """The same on WGS-84, as the hub converted it once. None for a local plane of which nobody said where it lies."""
    task: str | None = None
    """What exactly this unit has to do, when it is only a part."""
    accept_by: Moment | None = None
    finish_by: Moment | None = None
    ticket: str | None = None
    """The department's own number, once known."""


class Assignment(PlainAssignment, frozen=True, omit_defaults=True, kw_only=True):
    """One case for one unit, in the form for the department's system. Nothing personal unless `contact` is given."""

    contact: Contact | None = None

    def summary(self) -> dict[str, object]:
        """A JSON-ready dict of all fields that are set, times as ISO 8601 with offset, without the contact."""
        values: dict[str, object] = msgspec.json.decode(msgspec.json.encode(self))
        values.pop("contact", None)
        return values


class Receipt(Value, frozen=True, omit_defaults=True, kw_only=True):
    """The department's system has it 回执."""

    ticket: Ticket
    """The department's own number for it."""


class FeedbackKind(StrEnum):
    """The kinds of feedback 反馈 of a unit. VISITED: the unit that took the call made the callback visit; then `reached` is needed."""

    ACCEPTED = "accepted"
    PROGRESS = "progress"
    RESOLVED = "resolved"
    RETURNED = "returned"
    VISITED = "visited"


class ReportedFile(Value, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A file that came with feedback or a new case, e.g. a photo. A file above 10 MiB is left out."""

    name: Annotated[str, Meta(max_length=1000)]
    media_type: Annotated[str, Meta(max_length=200)]
    content: bytes


class Said(Value, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A statement of a department's system on an assignment, or on a case it brought in. `key`, or else `ticket`, names which."""

    key: Line | None = None
    ticket: Line | None = None
    at: Moment | None = None
    """When it happened at the department, aware."""
    by: Text | None = None
    """A role or team there; no personal names."""
    note: Text | None = None
    """Progress, result or reason of return."""
    public_reply: Text | None = None
    """RESOLVED: what may be read to the reporter 公开答复, apart from `note`. No names, no telephone or identity numbers."""
    files: Annotated[tuple[ReportedFile, ...], Meta(max_length=100)] = ()
    reached: Reached | None = None
    """Whether the reporter was reached. VISITED needs it; a reporter who was has said at least one of `solved` to `rating`."""
    tries: Annotated[int, Meta(ge=1, le=100)] | None = None
    """How often the reporter was tried; None: once."""
    solved: Solved | None = None
    """VISITED: what the reporter says. RESOLVED: what the unit says; it is kept beside the reporter's word and moves nothing."""
    satisfied: Satisfied | None = None
    rating: Annotated[int, Meta(ge=1, le=5)] | None = None
    """VISITED: 1 to 5. Without `satisfied` 4 and 5 are satisfied, 3 mostly."""


class Feedback(Said, frozen=True, omit_defaults=True, kw_only=True):
    """One statement of a department's system on an assignment (or, VISITED, on a case it brought in).

    Give `key` if the system echoes ours, else `ticket` (its own number). `id` must be the same when the same feedback comes again (the
    system's event number): the hub takes each id once.
    """

    id: Name
    kind: FeedbackKind


class IncomingCase(Value, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A matter a department's system brings in. The hub opens one case per `ref`, however often it comes."""

    ref: Name
    """The system's own number of the matter."""
    channel: Channel
    title: Text
    text: Text
    reported_at: Moment
    area: Text | None = None
    """Area code if the system knows one. Else the hub looks `place_name` up in config/places.csv."""
    place_name: Text | None = None
    """The system's own name of the area, e.g. A3区."""
    place: Text | None = None
    """Address to the building, without flat number."""
    position: Position | None = None
    """Where the matter is, in the system the department measures in; never the reporter's home."""
    category: Text | None = None
    severity: Severity | None = None
    contact: Contact | None = None
    covers: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=20)], ...], Meta(max_length=100)] = ()
    """Area codes that a notice covers (planned outage). Later reports of its category from there attach to it."""
    covers_until: Moment | None = None


class Poll(Value, frozen=True, omit_defaults=True, kw_only=True):
    """What one poll brought. The hub stores `cursor` once every item is committed, and hands it to the next poll."""

    items: Sequence[Feedback | IncomingCase]
    cursor: Cursor | None
    more: bool = False
    """True: poll again at once."""


class Notice(Value, frozen=True, omit_defaults=True, kw_only=True):
    """What the hub tells the system a case came from: how its matter stands."""

    case: Name
    ref: str
    """The system's own number, as given in `IncomingCase.ref`."""
    stage: str
    """taken, resolved, closed, void or reopened."""
    text: Text
    """Chinese sentence for the reporter; nothing personal, no departmental internals."""
    at: Moment
    """When it happened, aware. Notices may overtake one another: the newest `at` is how the matter stands."""
    reply: Text | None = None
    """With resolved and closed: what the units let be read to the reporter 公开答复, one a line; None: nothing."""


class CallbackRequest(Value, frozen=True, omit_defaults=True, kw_only=True):
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


class Health(Value, frozen=True, omit_defaults=True, kw_only=True):
    """Whether the departmental system can be used right now, and why not."""

    ok: bool
    detail: str = ""


class StandingState(StrEnum):
    """How a ticket stands at the department, in the words of reconciliation 对账."""

    FILED = "filed"
    ACCEPTED = "accepted"
    RESOLVED = "resolved"
    RETURNED = "returned"
    RECALLED = "recalled"


class Standing(Value, frozen=True, omit_defaults=True, kw_only=True):
    """How one ticket stands at the department right now; `key` where the system knows ours."""

    ticket: Ticket
    state: StandingState
    key: Line | None = None
    at: Moment | None = None
    """When it came to stand so, aware."""


class Audit(Value, frozen=True, omit_defaults=True, kw_only=True):
    """One page of our assignments at the department. `cursor` None: this was the last page."""

    items: Sequence[Standing]
    cursor: Cursor | None = None


class CaseText(Value, frozen=True, omit_defaults=True, kw_only=True):
    """What a classifier gets to read of a report: masked, nothing personal."""

    title: str
    text: str
    channel: Channel
    area: str
    """Area code, 6 to 15 digits."""


class Suggestion(Value, frozen=True, omit_defaults=True, kw_only=True):
    """What a classifier thinks a matter is; the hub's policy decides whether it is used."""

    category: str
    """Code of a category of config/policy/categories.yaml."""
    confidence: float
    """0 to 1."""
    severity: Severity | None = None
    because: str = ""
    """One line for the operator, e.g. 命中词：燃气味."""


class AlertKind(StrEnum):
    """The subject of an alert."""

    DEAD_LETTER = "dead_letter"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"
    SUPERVISED = "supervised"
    OVERDUE = "overdue"
    ADAPTER_PAUSED = "adapter_paused"
    ADAPTER_FAILED = "adapter_failed"
    REPAIR = "repair"


class Alert(Value, frozen=True, omit_defaults=True, kw_only=True):
    """Something that waits for a person. `id` stays the same however often the alert is sent."""

    id: str
    kind: AlertKind
    text: str
    """Chinese sentence; nothing personal."""
    at: datetime
    case: str | None = None
    unit: str | None = None
    adapter: str | None = None
