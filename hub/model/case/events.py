"""What happens to a case itself; `CaseEvent` adds what happens to the parts it holds.

An event's stored name is its tag (`case.reported`); its version `v` is stored when above 1. Old versions are upcast on read
(`hub.spine.ledger.codec`). Golden histories replay every version. Nothing personal is in an event. Times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime

from hub.model.aggregate import Event
from hub.model.answers import Closing, Ending, Reached, Satisfied, Solved
from hub.model.assignments.events import (
    AssignmentAccepted,
    AssignmentMade,
    AssignmentProgressed,
    AssignmentRecalled,
    AssignmentResolved,
    AssignmentReturned,
    Delivered,
    DeliveryDead,
    DeliveryDropped,
    DeliveryFailed,
    DeliveryRefused,
    DeliveryResent,
    DeliveryStarted,
    DeliveryUncertain,
    EffectDone,
    EffectFailed,
    FeedbackConflicted,
)
from hub.model.case.state import CaseId, Channel, Severity
from hub.model.district.areas import AreaCode, Level, UnitCode
from hub.model.limits.events import (
    DeadlineBreached,
    DeadlineMoved,
    DeadlineSet,
    PermissionAsked,
    PermissionDeclined,
    Resumed,
    Supervised,
    Suspended,
    Urged,
)
from hub.model.positions import Point, Position
from hub.model.records import Attachment, Source


class CaseReported(Event, frozen=True, tag="case.reported"):
    """A report was accepted; the case exists from here on."""

    channel: Channel
    title: str
    text: str
    area: AreaCode
    reported_at: datetime
    place: str | None = None
    position: Position | None = None
    wgs84: Point | None = None
    source: Source | None = None
    has_contact: bool = False
    covers: tuple[AreaCode, ...] = ()
    covers_until: datetime | None = None
    attachments: tuple[Attachment, ...] = ()


class CaseTriaged(Event, frozen=True, tag="case.triaged"):
    """Category, severity and current area were set, by a policy rule (`rule` = `file:line id`) or a person."""

    category: str
    severity: Severity
    area: AreaCode
    rule: str


class DuplicateSuspected(Event, frozen=True, tag="case.duplicate_suspected"):
    """Another open case has the same place and category within the window; an operator may merge."""

    of: CaseId


class CaseHeld(Event, frozen=True, tag="case.held"):
    """A level's unit has the case from now on. `cause`: triage, escalated, delegated, reopened, returned, claimed."""

    level: Level
    unit: UnitCode
    cause: str
    reason: str | None = None


class CaseResolved(Event, frozen=True, tag="case.resolved"):
    """The join holds (all leads and required support), or a level that may settle it did. Waits for the callback visit."""

    by: UnitCode | None = None
    note: str | None = None


class CaseChecked(Event, frozen=True, tag="case.checked"):
    """The checker said whether the result holds 核查."""

    by: str
    solved: Solved
    satisfied: Satisfied | None = None
    reached: Reached | None = None
    tries: int | None = None
    note: str | None = None


class CallbackVisited(Event, frozen=True, tag="case.callback_visited"):
    """The reporter was asked 回访, after so many tries. `solved`/`satisfied` None when not reached. `rating` 1–5 if given."""

    by: str
    reached: Reached
    tries: int = 1
    solved: Solved | None = None
    satisfied: Satisfied | None = None
    rating: int | None = None
    note: str | None = None


class CaseClosed(Event, frozen=True, tag="case.closed"):
    """End of the case 结案. `outcome`: what the reporter's word came to; `reason` of one that a person closed."""

    outcome: Ending
    kind: Closing = Closing.NORMAL
    reason: str | None = None


class CaseReopened(Event, frozen=True, tag="case.reopened"):
    """Not content: opened again, once."""

    reason: str


class FirstResponded(Event, frozen=True, tag="case.first_responded"):
    """Somebody took the matter up for the first time; stops the first-response clock."""


class Commented(Event, frozen=True, tag="case.commented"):
    """A remark on the timeline."""

    text: str


class Attached(Event, frozen=True, tag="case.attached"):
    """A file was added."""

    attachment: Attachment
    note: str | None = None


class ReportAttached(Event, frozen=True, tag="case.report_attached"):
    """A later report about the same matter was attached to this case instead of opening another."""

    channel: Channel
    text: str
    area: AreaCode
    reported_at: datetime
    place: str | None = None
    position: Position | None = None
    wgs84: Point | None = None
    source: Source | None = None


class CaseVoided(Event, frozen=True, tag="case.voided"):
    """Taken out with a reason (test report, not a matter for the city)."""

    reason: str


class MergeAsked(Event, frozen=True, tag="case.merge_asked"):
    """The case is to go on in another, which has not answered yet. `stamp` orders merges, so that no chain closes to a ring."""

    into: CaseId
    stamp: datetime
    reason: str | None = None


class MergeRefused(Event, frozen=True, tag="case.merge_refused"):
    """The other case could not take this one; nothing was changed there."""

    into: CaseId
    reason: str


class PassedOn(Event, frozen=True, tag="case.passed_on"):
    """Tells this commit's remarks on a merged case to the case that goes on."""

    to: CaseId


class CaseMerged(Event, frozen=True, tag="case.merged"):
    """This case goes on in another; ends here."""

    into: CaseId
    reason: str | None = None


class CaseAbsorbed(Event, frozen=True, tag="case.absorbed"):
    """Another case goes on in this one, with those it had absorbed itself (`others`)."""

    other: CaseId
    stamp: datetime
    others: tuple[CaseId, ...] = ()


class ContactStored(Event, frozen=True, tag="case.contact_stored"):
    """The reporter's contact lies encrypted in the vault; `fields` are names of fields, never values."""

    fields: tuple[str, ...]


class ContactAccessed(Event, frozen=True, tag="case.contact_accessed"):
    """Somebody (a person, an adapter) read the contact. Committed before it is handed out."""

    by: str
    purpose: str
    fields: tuple[str, ...]


class ContactErased(Event, frozen=True, tag="case.contact_erased"):
    """The contact is not given out any more; its key is destroyed next."""

    reason: str


class ContactDestroyed(Event, frozen=True, tag="case.contact_destroyed"):
    """The key was destroyed: the contact can't be read any more, in backups neither. `files`: SHA-256 of files destroyed with it."""

    files: tuple[str, ...] = ()


__all__ = [
    "AssignmentAccepted",
    "AssignmentMade",
    "AssignmentProgressed",
    "AssignmentRecalled",
    "AssignmentResolved",
    "AssignmentReturned",
    "Attached",
    "CallbackVisited",
    "CaseAbsorbed",
    "CaseChecked",
    "CaseClosed",
    "CaseHeld",
    "CaseMerged",
    "CaseReopened",
    "CaseReported",
    "CaseResolved",
    "CaseTriaged",
    "CaseVoided",
    "Commented",
    "ContactAccessed",
    "ContactDestroyed",
    "ContactErased",
    "ContactStored",
    "DeadlineBreached",
    "DeadlineMoved",
    "DeadlineSet",
    "Delivered",
    "DeliveryDead",
    "DeliveryDropped",
    "DeliveryFailed",
    "DeliveryRefused",
    "DeliveryResent",
    "DeliveryStarted",
    "DeliveryUncertain",
    "DuplicateSuspected",
    "EffectDone",
    "EffectFailed",
    "Event",
    "FeedbackConflicted",
    "FirstResponded",
    "MergeAsked",
    "MergeRefused",
    "PassedOn",
    "PermissionAsked",
    "PermissionDeclined",
    "ReportAttached",
    "Resumed",
    "Supervised",
    "Suspended",
    "Urged",
]
