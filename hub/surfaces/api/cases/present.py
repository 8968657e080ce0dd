"""How a case looks to a caller: names beside codes, places to street level for who does not handle it. Pure.

A department sees the case and its own assignments, not those of others. Called by the routes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hub.model.aggregate import Folded
from hub.model.assignments.state import Assignment, Attempt, delivery_key
from hub.model.case.state import Case
from hub.model.district.areas import Level
from hub.privacy.masks import mask_address, mask_text
from hub.surfaces.api.models import (
    ActorAnswer,
    AskedAnswer,
    AssignmentAnswer,
    AttemptAnswer,
    CaseAnswer,
    CaseItem,
    DeadlineAnswer,
    TimelineItem,
)
from hub.surfaces.api.people.auth import Caller
from hub.views.queries import TimelineEntry

if TYPE_CHECKING:
    from hub.model.policy.district import District


def attempt_answer(attempt: Attempt) -> AttemptAnswer:
    """One try, with how long it took; its reason without phone numbers, whatever a department put into it."""
    took = None if attempt.ended_at is None else (attempt.ended_at - attempt.started_at).total_seconds() * 1000
    return AttemptAnswer(
        number=attempt.number,
        outcome=attempt.outcome,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        duration_ms=None if took is None else round(took, 1),
        error=attempt.error,
        reason=None if attempt.reason is None else mask_text(attempt.reason),
        status=attempt.status,
        retry_at=attempt.retry_at,
    )


class Presenter:
    """Shows cases of one district to one caller as of `now`."""

    def __init__(self, district: District, caller: Caller, now: datetime) -> None:
        self._district = district
        self._caller = caller
        self._now = now

    def item(self, folded: Folded[Case], updated_at: datetime | None = None) -> CaseItem:
        """A case for a list."""
        return CaseItem(**self._fields(folded, updated_at, attempts=False))

    def case(self, folded: Folded[Case], updated_at: datetime | None = None) -> CaseAnswer:
        """A case with all that is open about it."""
        case = folded.state
        own = self._own(case)
        mine = None if own is None else {item.id for item in own}
        return CaseAnswer(
            **self._fields(folded, updated_at, attempts=True),
            text=case.text,
            has_contact=case.has_contact,
            contact_erased=case.contact_erased,
            reopened=case.reopened,
            visits=case.visits,
            supervised=case.supervised,
            deadlines=[
                DeadlineAnswer(
                    kind=deadline.kind.value,
                    owner=deadline.owner,
                    due_at=deadline.due_at,
                    late=case.suspended_at is None and not case.stage.ended and deadline.due_at < self._now,
                    assignment=deadline.assignment,
                    step=deadline.step,
                    next_at=deadline.next_at,
                    remaining_s=None if deadline.remaining is None else deadline.remaining.total_seconds(),
                )
                for deadline in case.deadlines
                if mine is None or deadline.assignment in mine
            ],
            asked=[
                AskedAnswer(
                    id=asked.id,
                    what=asked.what,
                    reason=asked.reason,
                    by=asked.by,
                    assignment=asked.assignment,
                    kind=None if asked.kind is None else asked.kind.value,
                    until=asked.until,
                )
                for asked in case.asked
                if mine is None or asked.assignment in mine
            ],
            source=case.source,
            rule=case.rule,
            suspended_at=case.suspended_at,
            suspended_until=case.suspended_until,
            first_response_at=case.first_response_at,
            resolved_at=case.resolved_at,
            closed_at=case.closed_at,
            satisfied=case.satisfied,
            duplicate_of=case.duplicate_of,
            merging=None if case.merging is None else case.merging.into,
            merged_into=case.merged_into,
            absorbed=list(case.absorbed),
            covers=list(case.covers),
            covers_until=case.covers_until,
            attached_reports=list(case.attached_reports),
            attachments=list(case.attachments),
        )

    def number(self, folded: Folded[Case]) -> CaseAnswer:
        """A case the caller may not see: which it is and how it stands, nothing of what was said or who works on it."""
        case = folded.state
        return CaseAnswer(
            id=case.id,
            stage=case.stage.value,
            channel=case.channel.value,
            title="",
            area=case.area,
            area_path=[],
            reported_at=case.reported_at,
            late=False,
            suspended=False,
            attention=[],
            number=folded.number,
            sequence=folded.sequence,
            text="",
            has_contact=False,
            contact_erased=False,
            reopened=0,
            visits=0,
            supervised=0,
        )

    def timeline(self, case: Case, entries: Sequence[TimelineEntry]) -> list[TimelineItem]:
        """The story as far as the caller may know it."""
        own = self._own(case)
        mine = None if own is None else {item.id for item in own}
        handles = self._caller.handles(case)
        items = []
        for entry in entries:
            body = dict(entry.body)
            if not concerns(body, mine):
                continue
            if not handles and isinstance(place := body.get("place"), str):
                body["place"] = mask_address(place)
            level = body.get("level")
            if isinstance(level, int):
                body["level"] = Level(level).word
            items.append(
                TimelineItem(
                    sequence=entry.sequence,
                    number=entry.number,
                    at=entry.at,
                    event=entry.event,
                    command=entry.command,
                    policy=entry.policy,
                    actor=actor_answer(entry.actor),
                    body=body,
                    traceparent=entry.traceparent,
                )
            )
        return items

    def unit_name(self, code: str | None) -> str | None:
        """A unit's name; the code itself for one that is configured no more."""
        if code is None:
            return None
        unit = self._district.directory.get(code)
        return code if unit is None else unit.name

    def _own(self, case: Case) -> tuple[Assignment, ...] | None:
        return own_assignments(case, self._caller)

    def _fields(self, folded: Folded[Case], updated_at: datetime | None, *, attempts: bool) -> dict[str, Any]:
        case = folded.state
        live = not case.stage.ended
        running = live and case.suspended_at is None
        due = min((deadline.due_at for deadline in case.deadlines), default=None) if running else None
        category = self._district.policy.category(case.category) if case.category else None
        place = case.place
        if place is not None and not self._caller.handles(case):
            place = mask_address(place)
        own = self._own(case)
        return {
            "id": case.id,
            "stage": case.stage.value,
            "channel": case.channel.value,
            "title": case.title,
            "area": case.area,
            "area_path": list(self._district.areas.path(case.area)),
            "place": place,
            "reported_at": case.reported_at,
            "late": due is not None and due < self._now,
            "due_at": due,
            "suspended": case.suspended_at is not None,
            "attention": attention_for(case, None if own is None else {item.id for item in own}),
            "number": folded.number,
            "sequence": folded.sequence,
            "category": case.category,
            "category_name": None if category is None else category.name,
            "severity": None if case.severity is None else case.severity.value,
            "level": None if case.level is None else case.level.word,
            "holder": case.holder,
            "holder_name": self.unit_name(case.holder),
            "updated_at": updated_at,
            "assignments": [
                self._assignment(case, item, attempts=attempts) for item in (case.assignments if own is None else own)
            ],
        }

    def _assignment(self, case: Case, item: Assignment, *, attempts: bool) -> AssignmentAnswer:
        return AssignmentAnswer(
            id=item.id,
            key=delivery_key(case.id, item.id),
            unit=item.unit,
            unit_name=self.unit_name(item.unit) or item.unit,
            role=item.role.value,
            required=item.required,
            state=item.state.value,
            open=item.state.open,
            made_at=item.made_at,
            task=item.task,
            adapter=item.adapter,
            ticket=item.ticket,
            accepted_at=item.accepted_at,
            resolved_at=item.resolved_at,
            note=item.note,
            urged=item.urged,
            supervised=item.supervised,
            attempts=[attempt_answer(attempt) for attempt in item.attempts] if attempts else [],
        )


def own_assignments(case: Case, caller: Caller) -> tuple[Assignment, ...] | None:
    """The assignments a department may see; None: all."""
    unit = caller.scope.unit
    return None if unit is None else tuple(item for item in case.assignments if item.unit == unit)


def concerns(event: Mapping[str, object], mine: Collection[str] | None) -> bool:
    """Whether an event's fields may be seen by whoever has these assignments (None: by all who see the case).

    What others' assignments come to, what their systems answered and what sources were told is between them and the hub.
    """
    if mine is None:
        return True
    if "effect" in event:
        return str(event["effect"]).partition(":")[2] in mine
    return "assignment" not in event or event["assignment"] in mine


def attention_for(case: Case, mine: Collection[str] | None) -> list[str]:
    """What waits for an operator (`<why>:<what>`); a department sees what concerns its own assignments (`mine`, None: all)."""
    if mine is None:
        return list(case.attention)
    return [entry for entry in case.attention if entry.partition(":")[2] in mine]


def actor_answer(actor: dict[str, object]) -> ActorAnswer:
    """Who did it, from the stored form."""
    level = actor.get("level")
    unit = actor.get("unit")
    return ActorAnswer(
        kind=str(actor.get("kind", "")),
        name=str(actor.get("name", "")),
        unit=None if unit is None else str(unit),
        level=Level(level).word if isinstance(level, int) else None,
    )
