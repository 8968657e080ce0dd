"""The values that cross the border to a plugin: assignments out; receipts, reports and new cases in. Immutable, nothing of the hub's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hub.model.assignments.state import Role
from hub.model.case.state import Channel, Severity


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
    """What a unit says later 反馈. VISITED: whoever took the call made the callback visit (then the rating fields count)."""

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
    """VISITED: whether the reporter was reached; one who was has said at least one of the next three."""
    solved: bool | None = None
    satisfied: bool | None = None
    rating: int | None = None
    """1 to 5; from 3 upwards is satisfied."""


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


class StandingState(StrEnum):
    """How a ticket stands at the department, in the words of reconciliation 对账."""

    FILED = "filed"
    ACCEPTED = "accepted"
    RESOLVED = "resolved"
    RETURNED = "returned"
    RECALLED = "recalled"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one ticket stands at the department right now; `key` where the system knows ours."""

    ticket: str
    state: StandingState
    key: str | None = None
    at: datetime | None = None
    """When it came to stand so, aware."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One page of what the department has of ours. `cursor` None: this was the last page."""

    items: Sequence[Standing]
    cursor: str | None = None


@dataclass(frozen=True, kw_only=True)
class CaseText:
    """What a classifier gets to read of a report: masked, nothing personal."""

    title: str
    text: str
    channel: Channel
    area: str
    """Area code, 6 to 15 digits."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What a classifier thinks a matter is; the hub's policy decides whether it is used."""

    category: str
    """Code of a category of config/policy/categories.yaml."""
    confidence: float
    """0 to 1."""
    severity: Severity | None = None
    because: str = ""
    """One line for the operator, e.g. 命中词：燃气味."""


class AlertKind(StrEnum):
    """What somebody has to be told of."""

    DEAD_LETTER = "dead_letter"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"
    SUPERVISED = "supervised"
    OVERDUE = "overdue"
    ADAPTER_PAUSED = "adapter_paused"
    ADAPTER_FAILED = "adapter_failed"
    REPAIR = "repair"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that waits for a person. `id` is the same however often it is told."""

    id: str
    kind: AlertKind
    text: str
    """Chinese sentence; nothing personal."""
    at: datetime
    case: str | None = None
    unit: str | None = None
    adapter: str | None = None
