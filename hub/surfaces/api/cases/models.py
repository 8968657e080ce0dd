"""Answers about cases: one, a list, its assignments and limits. Codes come with their names where a reader needs them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from hub.model.answers import Closing, Verdict
from hub.model.assignments.state import AttemptOutcome
from hub.model.positions import Point, Position
from hub.model.records import Attachment, Source
from hub.surfaces.api.models import Answer


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
    """One case to one unit 派单. `note` is internal, `public_reply` may be read to the reporter; `said`: the unit's word on the result."""

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
    public_reply: str | None = None
    said: Verdict | None = None
    urged: int = 0
    supervised: int = 0
    attempts: list[AttemptAnswer] = msgspec.field(default_factory=list)


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
    """A case in a list. `late`: a limit that runs has passed; `attention`: why an operator has to look.

    `position` is what was given, `wgs84` the same on WGS-84; who does not handle the case gets the point rounded to about a kilometre
    in both, on WGS-84.
    """

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
    position: Position | None = None
    wgs84: Point | None = None
    category: str | None = None
    category_name: str | None = None
    severity: str | None = None
    level: str | None = None
    holder: str | None = None
    holder_name: str | None = None
    due_at: datetime | None = None
    updated_at: datetime | None = None
    assignments: list[AssignmentAnswer] = msgspec.field(default_factory=list)


class CaseAnswer(CaseItem, frozen=True, kw_only=True):
    """One case with everything open about it. `merging`: the case asked to take this one, until it answers.

    `visits`: tries to reach the reporter since it was resolved. `reporter_said`, `checker_said`: the last word of each on the result; a
    unit's stands with its assignment.
    """

    text: str
    has_contact: bool
    contact_erased: bool
    reopened: int
    visits: int
    supervised: int
    deadlines: list[DeadlineAnswer] = msgspec.field(default_factory=list)
    asked: list[AskedAnswer] = msgspec.field(default_factory=list)
    source: Source | None = None
    rule: str | None = None
    suspended_at: datetime | None = None
    suspended_until: datetime | None = None
    first_response_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    closing: Closing | None = None
    closing_reason: str | None = None
    reporter_said: Verdict | None = None
    checker_said: Verdict | None = None
    duplicate_of: str | None = None
    merging: str | None = None
    merged_into: str | None = None
    absorbed: list[str] = msgspec.field(default_factory=list)
    covers: list[str] = msgspec.field(default_factory=list)
    covers_until: datetime | None = None
    attached_reports: list[Source] = msgspec.field(default_factory=list)
    attachments: list[Attachment] = msgspec.field(default_factory=list)


class CaseList(Answer, frozen=True, kw_only=True):
    """A page of cases; `cursor` gives the next one, null at the end."""

    items: list[CaseItem]
    cursor: str | None
    total: int | None = None


class CommandAnswer(Answer, frozen=True, kw_only=True):
    """The result of a command: its events by name, and the case after it. `repeated`: it was done before under the same key.

    `attached`: the report belongs to an earlier notice; `case` is that one. After an erasure `files_destroyed` are the report's own files
    (SHA-256); `files_kept` are the rest, which others added later.
    """

    case: CaseAnswer
    sequence: int
    events: list[str]
    repeated: bool
    attached: bool = False
    files_destroyed: list[str] = msgspec.field(default_factory=list)
    files_kept: list[Attachment] = msgspec.field(default_factory=list)


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
