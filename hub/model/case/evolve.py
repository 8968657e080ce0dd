"""What a case is after an event: one small function per event type, no rule and no refusal.

Whatever was committed happened; an event that can't be applied means that the ledger is damaged. What the parts change is theirs
(`limits.evolve`, `assignments.evolve`); here stands what an event means for the case itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from hub.errors import LedgerDamaged
from hub.model.aggregate import Event, MatterId, tag_of
from hub.model.answers import Reached, Verdict
from hub.model.assignments import events as parts
from hub.model.assignments import evolve as on_assignments
from hub.model.assignments.state import Role
from hub.model.attention import calm
from hub.model.bykind import ByKind
from hub.model.case import events as e
from hub.model.case.state import Case, CaseId, Merging, Stage
from hub.model.limits.evolve import owned_by, told
from hub.model.limits.state import DeadlineKind

EVOLVES: Final[ByKind[Event]] = ByKind(
    on_assignments.EVOLVES | dict.fromkeys((e.Commented, e.PassedOn, e.ContactAccessed, e.ContactDestroyed), told)
)
"""How each event changes a case; these are the events a case can have."""


def evolve(case: Case | None, event: Event, *, at: datetime, id: MatterId) -> Case:
    """The case after one event that was committed at `at`. Raises LedgerDamaged when it does not fit the state at all."""
    if case is None:
        if not isinstance(event, e.CaseReported):
            raise LedgerDamaged(f"case {id} begins with {tag_of(event)}", subject=id)
        return opened(event, CaseId(id))
    changed: Case = EVOLVES[type(event)](case, event, at)
    return changed


def opened(event: e.CaseReported, id: CaseId) -> Case:
    """The case that a report opens."""
    return Case(
        id=id,
        stage=Stage.REPORTED,
        channel=event.channel,
        title=event.title,
        text=event.text,
        area=event.area,
        reported_at=event.reported_at,
        place=event.place,
        position=event.position,
        wgs84=event.wgs84,
        source=event.source,
        has_contact=event.has_contact,
        covers=event.covers,
        covers_until=event.covers_until,
        attachments=event.attachments,
    )


@EVOLVES.on(e.CaseReported)
def reported(case: Case, event: e.CaseReported, at: datetime) -> Case:
    """After `CaseReported`."""
    raise LedgerDamaged(f"case {case.id} was opened twice", subject=case.id)


@EVOLVES.on(e.CaseTriaged)
def triaged(case: Case, event: e.CaseTriaged, at: datetime) -> Case:
    """After `CaseTriaged`."""
    return replace(case, category=event.category, severity=event.severity, area=event.area, rule=event.rule)


@EVOLVES.on(e.DuplicateSuspected)
def duplicate_suspected(case: Case, event: e.DuplicateSuspected, at: datetime) -> Case:
    """After `DuplicateSuspected`."""
    return replace(case, duplicate_of=event.of)


@EVOLVES.on(e.CaseHeld)
def held(case: Case, event: e.CaseHeld, at: datetime) -> Case:
    """A new holder owes the case's own limits. Assignments go on, unless the case came back to its holder for want of a lead."""
    stays = case.stage is Stage.DISPATCHED and event.cause not in ("returned", "reopened")
    levels = case.visited_levels
    return replace(
        case,
        stage=Stage.DISPATCHED if stays else Stage.HELD,
        level=event.level,
        holder=event.unit,
        visited_levels=levels if event.level in levels else (*levels, event.level),
        deadlines=owned_by(case.deadlines, event.unit),
    )


@EVOLVES.on(e.CaseResolved)
def resolved(case: Case, event: e.CaseResolved, at: datetime) -> Case:
    """The case's own limits end; support that was not required may go on under its own."""
    open_ids = {item.id for item in case.assignments if item.state.open}
    late = any(d.kind is DeadlineKind.RESOLVE and d.assignment is None and d.due_at < at for d in case.deadlines)
    return replace(
        case,
        stage=Stage.RESOLVED,
        resolved_at=at,
        resolved_late=late,
        deadlines=tuple(d for d in case.deadlines if d.assignment in open_ids),
        asked=(),
        attention=tuple(entry for entry in case.attention if entry.partition(":")[2] in open_ids),
        suspended_at=None,
        suspended_until=None,
    )


@EVOLVES.on(e.CallbackVisited)
def visited(case: Case, event: e.CallbackVisited, at: datetime) -> Case:
    """A try that reached nobody leaves what the reporter said before."""
    visits = case.visits + event.tries
    before = case.reporter_said
    if event.reached is Reached.NO and before is not None and before.reached is Reached.YES:
        return replace(case, visits=visits)
    said = Verdict(
        at=at,
        by=event.by,
        reached=event.reached,
        tries=visits,
        solved=event.solved,
        satisfied=event.satisfied,
        rating=event.rating,
    )
    return replace(case, visits=visits, reporter_said=said)


@EVOLVES.on(e.CaseChecked)
def checked(case: Case, event: e.CaseChecked, at: datetime) -> Case:
    """After `CaseChecked`."""
    said = Verdict(at=at, by=event.by, reached=event.reached, tries=event.tries, solved=event.solved, satisfied=event.satisfied)
    return replace(case, checker_said=said)


def _ended(case: Case, stage: Stage, **changes: Any) -> Case:
    return replace(case, stage=stage, deadlines=(), asked=(), attention=(), suspended_at=None, suspended_until=None, **changes)


@EVOLVES.on(e.CaseClosed)
def closed(case: Case, event: e.CaseClosed, at: datetime) -> Case:
    """After `CaseClosed`."""
    return _ended(case, Stage.CLOSED, closed_at=at, closing=event.kind, closing_reason=event.reason)


@EVOLVES.on(e.CaseVoided)
def voided(case: Case, event: e.CaseVoided, at: datetime) -> Case:
    """After `CaseVoided`."""
    return _ended(case, Stage.VOID)


@EVOLVES.on(e.CaseReopened)
def reopened(case: Case, event: e.CaseReopened, at: datetime) -> Case:
    """After `CaseReopened`."""
    return replace(
        case,
        stage=Stage.HELD,
        reopened=case.reopened + 1,
        visits=0,
        resolved_at=None,
        resolved_late=False,
        closed_at=None,
        closing=None,
        closing_reason=None,
    )


@EVOLVES.on(e.FirstResponded)
def first_responded(case: Case, event: e.FirstResponded, at: datetime) -> Case:
    """After `FirstResponded`."""
    return replace(
        case,
        first_response_at=case.first_response_at or at,
        deadlines=tuple(d for d in case.deadlines if d.kind is not DeadlineKind.FIRST_RESPONSE),
        attention=calm(case.attention, DeadlineKind.FIRST_RESPONSE.value),
    )


@EVOLVES.on(e.Attached)
def attached(case: Case, event: e.Attached, at: datetime) -> Case:
    """After `Attached`."""
    return replace(case, attachments=(*case.attachments, event.attachment))


@EVOLVES.on(e.ReportAttached)
def report_attached(case: Case, event: e.ReportAttached, at: datetime) -> Case:
    """After `ReportAttached`."""
    if event.source is None:
        return case
    return replace(case, attached_reports=case.attached_reports.with_(event.source, None))


@EVOLVES.on(e.ContactStored)
def contact_stored(case: Case, event: e.ContactStored, at: datetime) -> Case:
    """After `ContactStored`."""
    return replace(case, has_contact=True)


@EVOLVES.on(e.ContactErased)
def contact_erased(case: Case, event: e.ContactErased, at: datetime) -> Case:
    """After `ContactErased`."""
    return replace(case, contact_erased=True)


@EVOLVES.on(e.MergeAsked)
def merge_asked(case: Case, event: e.MergeAsked, at: datetime) -> Case:
    """After `MergeAsked`."""
    return replace(case, merging=Merging(into=event.into, stamp=event.stamp, reason=event.reason))


@EVOLVES.on(e.MergeRefused)
def merge_refused(case: Case, event: e.MergeRefused, at: datetime) -> Case:
    """After `MergeRefused`."""
    return replace(case, merging=None)


@EVOLVES.on(e.CaseMerged)
def merged(case: Case, event: e.CaseMerged, at: datetime) -> Case:
    """After `CaseMerged`."""
    return _ended(case, Stage.MERGED, merged_into=event.into, merging=None)


@EVOLVES.on(e.CaseAbsorbed)
def absorbed(case: Case, event: e.CaseAbsorbed, at: datetime) -> Case:
    """After `CaseAbsorbed`."""
    fresh = tuple(id for id in (event.other, *event.others) if id not in case.absorbed and id != case.id)
    stamp = event.stamp if case.latest_stamp is None else max(event.stamp, case.latest_stamp)
    return replace(case, absorbed=(*case.absorbed, *fresh), absorbed_at=at, latest_stamp=stamp)


@EVOLVES.on(parts.AssignmentMade, over=True)
def made(case: Case, event: parts.AssignmentMade, at: datetime) -> Case:
    """With an assignment the case is dispatched."""
    after = on_assignments.made(case, event, at)
    return replace(after, stage=Stage.DISPATCHED) if case.stage in (Stage.HELD, Stage.REPORTED) else after


@EVOLVES.on(parts.DeliveryResent, over=True)
def delivery_resent(case: Case, event: parts.DeliveryResent, at: datetime) -> Case:
    """A lead that is tried again has the case again."""
    after = on_assignments.delivery_resent(case, event, at)
    found = case.assignment(event.assignment)
    back = case.stage is Stage.HELD and found is not None and found.role is Role.LEAD
    return replace(after, stage=Stage.DISPATCHED) if back else after
