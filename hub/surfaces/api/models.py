"""Answers of the HTTP interface. The same structs are encoded and described in the OpenAPI document.

Times are UTC, ISO 8601; levels are words; codes come with their names where a reader needs them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from hub.model.assignments.state import AttemptOutcome, DeadLetter
from hub.model.records import Attachment, Source


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers."""


class ActorAnswer(Answer, frozen=True, kw_only=True):
    """Who did it."""

    kind: str
    name: str
    unit: str | None = None
    level: str | None = None


class AttemptAnswer(Answer, frozen=True, kw_only=True):
    """One try to hand an assignment over 投递. `error`: its class; `status`: of the department's HTTP answer, where there was one."""

    number: int
    outcome: AttemptOutcome
    started_at: datetime
    ended_at: datetime | None = None
    duration_ms: float | None = None
    error: str | None = None
    reason: str | None = None
    status: int | None = None
    retry_at: datetime | None = None


class AssignmentAnswer(Answer, frozen=True, kw_only=True):
    """One case to one unit 派单."""

    id: str
    key: str
    unit: str
    unit_name: str
    role: str
    required: bool
    state: str
    open: bool
    made_at: datetime
    task: str | None = None
    adapter: str | None = None
    ticket: str | None = None
    accepted_at: datetime | None = None
    resolved_at: datetime | None = None
    note: str | None = None
    urged: int = 0
    supervised: int = 0
    attempts: list[AttemptAnswer] = []


class DeadlineAnswer(Answer, frozen=True, kw_only=True):
    """A limit that runs; `remaining_s` while the case is suspended."""

    kind: str
    owner: str
    due_at: datetime
    late: bool
    assignment: str | None = None
    step: int = 0
    next_at: datetime | None = None
    remaining_s: float | None = None


class AskedAnswer(Answer, frozen=True, kw_only=True):
    """A request that waits for a higher level's word."""

    id: str
    what: str
    reason: str
    by: str | None = None
    assignment: str | None = None
    kind: str | None = None
    until: datetime | None = None


class CaseItem(Answer, frozen=True, kw_only=True):
    """A case in a list. `late`: a limit that runs has passed; `attention`: why an operator has to look."""

    id: str
    stage: str
    channel: str
    title: str
    area: str
    area_path: list[str]
    reported_at: datetime
    late: bool
    suspended: bool
    attention: list[str]
    number: int
    sequence: int
    place: str | None = None
    category: str | None = None
    category_name: str | None = None
    severity: str | None = None
    level: str | None = None
    holder: str | None = None
    holder_name: str | None = None
    due_at: datetime | None = None
    updated_at: datetime | None = None
    assignments: list[AssignmentAnswer] = []


class CaseAnswer(CaseItem, frozen=True, kw_only=True):
    """One case with all that is open about it. `merging`: the case that was asked to take this one and has not answered yet."""

    text: str
    has_contact: bool
    contact_erased: bool
    reopened: int
    visits: int
    supervised: int
    deadlines: list[DeadlineAnswer] = []
    asked: list[AskedAnswer] = []
    source: Source | None = None
    rule: str | None = None
    suspended_at: datetime | None = None
    suspended_until: datetime | None = None
    first_response_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    satisfied: bool | None = None
    duplicate_of: str | None = None
    merging: str | None = None
    merged_into: str | None = None
    absorbed: list[str] = []
    covers: list[str] = []
    covers_until: datetime | None = None
    attached_reports: list[Source] = []
    attachments: list[Attachment] = []


class CaseList(Answer, frozen=True, kw_only=True):
    """A page of cases; `cursor` gives the next one, null at the end."""

    items: list[CaseItem]
    cursor: str | None
    total: int | None = None


class CommandAnswer(Answer, frozen=True, kw_only=True):
    """What a command came to: its events by name, and the case after it. `repeated`: it was done before under the same key.

    `attached`: the report belongs to a notice that was there already; `case` is that one. After an erasure `files_destroyed` are the
    report's own files (SHA-256), `files_kept` what is left: added later by others.
    """

    case: CaseAnswer
    sequence: int
    events: list[str]
    repeated: bool
    attached: bool = False
    files_destroyed: list[str] = []
    files_kept: list[Attachment] = []


class Result(Answer, frozen=True, kw_only=True):
    """What a command came to: its events by name, and the matter after it. `repeated`: it was done before under the same key."""

    matter: Any
    sequence: int
    events: list[str]
    repeated: bool


class MatterList(Answer, frozen=True, kw_only=True):
    """A page of matters, newest first; `cursor` gives the next one, null at the end."""

    items: list[Any]
    cursor: str | None


class TimelineItem(Answer, frozen=True, kw_only=True):
    """One event of the case's story; `body` has the event's own fields."""

    sequence: int
    number: int
    at: datetime
    event: str
    command: str
    policy: int
    actor: ActorAnswer
    body: dict[str, Any]
    traceparent: str | None = None


class Timeline(Answer, frozen=True, kw_only=True):
    """The story of a case, oldest first."""

    case: str
    items: list[TimelineItem]


class ContactAnswer(Answer, frozen=True, kw_only=True):
    """The reporter's contact; reading it is an event of the case."""

    name: str | None = None
    phone: str | None = None
    address: str | None = None


class AttachedAnswer(Answer, frozen=True, kw_only=True):
    """A stored file and the case after it."""

    attachment: Attachment
    case: CaseAnswer
    sequence: int
    repeated: bool


class AreaAnswer(Answer, frozen=True, kw_only=True):
    """An area 区划."""

    code: str
    name: str
    level: str
    path: list[str]
    parent: str | None = None
    grid_kind: str | None = None
    households: int | None = None


class AreaList(Answer, frozen=True, kw_only=True):
    """Areas, by code."""

    items: list[AreaAnswer]


class UnitAnswer(Answer, frozen=True, kw_only=True):
    """Who acts 单位."""

    code: str
    name: str
    kind: str
    areas: list[str]
    level: str | None = None
    adapter: str | None = None


class UnitList(Answer, frozen=True, kw_only=True):
    """Units."""

    items: list[UnitAnswer]


class AdapterAnswer(Answer, frozen=True, kw_only=True):
    """How an adapter instance stands. `state`: running, paused, draining, drained, failed, disabled; `breaker`: closed, open, half_open.

    `settings_version` 0: as in config/adapters.yaml; `candidate_version`: settings on trial for a part of the cases; `tier`: on the
    quality scale.
    """

    name: str
    plugin: str
    department: str
    version: str
    state: str
    detail: str
    breaker: str
    queued: int
    in_flight: int
    capabilities: list[str]
    kind: str
    settings_version: int
    candidate_version: int | None
    origin: str
    placement: str
    units: list[str]
    areas: list[str]
    tier: str


class PageAnswer(Answer, frozen=True, kw_only=True):
    """A page a plugin adds to the console."""

    path: str
    title: str


class PageList(Answer, frozen=True, kw_only=True):
    """The pages of plugins."""

    items: list[PageAnswer]


class AdapterList(Answer, frozen=True, kw_only=True):
    """Adapter instances."""

    items: list[AdapterAnswer]


class LatencyAnswer(Answer, frozen=True, kw_only=True):
    """Milliseconds from made to delivered."""

    p50: float | None
    p99: float | None


class UnitSummary(Answer, frozen=True, kw_only=True):
    """One unit's assignments."""

    unit: str
    unit_name: str
    adapter: str | None
    assignments: int
    open: int
    delivered: int
    resolved: int
    returned: int
    refused: int
    dead: int
    late: int
    retries: int
    dispatch_ms: LatencyAnswer


class SummaryAnswer(Answer, frozen=True, kw_only=True):
    """The figures of a scope; `cases` = `open` + `dead` + `closed` + `void` + `merged`."""

    at: datetime
    sequence: int
    cases: int
    open: int
    dead: int
    closed: int
    void: int
    merged: int
    stages: dict[str, int]
    late: int
    attention: int
    assignments: int
    retries: int
    dispatch_ms: LatencyAnswer
    units: list[UnitSummary]


class PolicyVersion(Answer, frozen=True, kw_only=True):
    """One published policy."""

    version: int
    at: datetime
    by: str


class PolicyAnswer(Answer, frozen=True, kw_only=True):
    """The policy in force and its files; every version published."""

    version: int
    sources: dict[str, str]
    published: list[PolicyVersion]


class Published(Answer, frozen=True, kw_only=True):
    """The number of a policy now in force."""

    version: int


class TokenAnswer(Answer, frozen=True, kw_only=True):
    """A token without its secret. `scopes`: null for all its role may; `last_used_at`: to the hour; `issued_by`: another token's id."""

    id: str
    name: str
    role: str
    area: str
    issued_at: datetime
    unit: str | None = None
    scopes: list[str] | None = None
    expires_at: datetime | None = None
    issued_by: str | None = None
    last_used_at: datetime | None = None


class IssuedToken(TokenAnswer, frozen=True, kw_only=True):
    """A new token; `token` is shown this once."""

    token: str


class TokenList(Answer, frozen=True, kw_only=True):
    """Tokens, oldest first."""

    items: list[TokenAnswer]


class DeliveryAnswer(Answer, frozen=True, kw_only=True):
    """What was handed to a department's system, and every try. `tried_at`: when the last one began, else when it was made.

    `resend`: whether `POST …/resend` is open to it: yes, again (only with `again: true`), or no. `letter`: how the attempts of a
    dead one were used up 死信.
    """

    key: str
    case: str
    assignment: str
    title: str
    area: str
    unit: str
    unit_name: str
    adapter: str
    role: str
    state: str
    resend: str
    made_at: datetime
    tried_at: datetime
    outcome: AttemptOutcome | None = None
    ticket: str | None = None
    delivered_at: datetime | None = None
    attempts: list[AttemptAnswer] = []
    letter: DeadLetter | None = None


class DeliveryList(Answer, frozen=True, kw_only=True):
    """A piece of the delivery log, latest attempt first; `cursor` gives the next one."""

    items: list[DeliveryAnswer]
    cursor: str | None = None


class Myself(Answer, frozen=True, kw_only=True):
    """Who the token is, what it sees and may do, and the zone times are shown in."""

    name: str
    role: str
    area: str
    unit: str | None
    unit_name: str | None
    level: str | None
    commands: list[str]
    scopes: list[str]
    district: str
    zone: str


class Ready(Answer, frozen=True, kw_only=True):
    """Whether the hub serves. `lag`: commits the read models are behind."""

    ready: bool
    bus: bool
    lag: int | None


class Alive(Answer, frozen=True, kw_only=True):
    """The process lives."""

    status: str = "ok"


class Taken(Answer, frozen=True, kw_only=True):
    """How many items a callback held, all of them stored."""

    taken: int
