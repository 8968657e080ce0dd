"""How a case looks to a caller: names beside codes, places to street level for who does not handle it. Pure.

A department sees the case and its own assignments, not those of others. Called by the routes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from hub.model.aggregate import Folded
from hub.model.assignments.state import Assignment, Attempt, delivery_key
from hub.model.case.state import Case
from hub.model.district.areas import Level
from hub.model.positions import Point, from_afar
from hub.privacy.masks import mask_address, mask_text
from hub.surfaces.api.answers import alike
from hub.surfaces.api.cases.models import AskedAnswer, AssignmentAnswer, AttemptAnswer, CaseAnswer, CaseItem, DeadlineAnswer
from hub.surfaces.api.matters.models import TimelineItem
from hub.surfaces.api.models import ActorAnswer
from hub.surfaces.api.people.auth import Caller
from hub.views.queries import TimelineEntry

if TYPE_CHECKING:
    from hub.model.policy.district import District


def attempt_answer(attempt: Attempt) -> AttemptAnswer:
    """One try, with its duration. Departments write the reason, so phone numbers in it are masked."""
    took = None if attempt.ended_at is None else (attempt.ended_at - attempt.started_at).total_seconds() * 1000
    reason = None if attempt.reason is None else mask_text(attempt.reason)
    return alike(AttemptAnswer, attempt, duration_ms=None if took is None else round(took, 1), reason=reason)


class Presenter:
    """Shows cases of one district to one caller as of `now`."""

    def __init__(self, district: District, caller: Caller, now: datetime) -> None:
        self._district = district
        self._caller = caller
        self._now = now

    def item(self, folded: Folded[Case], updated_at: datetime | None = None) -> CaseItem:
        """A case for a list."""
        return alike(CaseItem, folded.state, **self._fields(folded, updated_at, attempts=False))

    def case(self, folded: Folded[Case], updated_at: datetime | None = None) -> CaseAnswer:
        """A case with all that is open about it."""
        case = folded.state
        own = self._own(case)
        mine = None if own is None else {item.id for item in own}
        return alike(
            CaseAnswer,
            case,
            **self._fields(folded, updated_at, attempts=True),
            deadlines=[
                alike(
                    DeadlineAnswer,
                    deadline,
                    late=case.suspended_at is None and not case.stage.ended and deadline.due_at < self._now,
                    remaining_s=None if deadline.remaining is None else deadline.remaining.total_seconds(),
                )
                for deadline in case.deadlines
                if mine is None or deadline.assignment in mine
            ],
            asked=[alike(AskedAnswer, asked) for asked in case.asked if mine is None or asked.assignment in mine],
            attached_reports=list(case.attached_reports),
            merging=None if case.merging is None else case.merging.into,
        )

    def number(self, folded: Folded[Case]) -> CaseAnswer:
        """A case that the caller may not see: its number and stage, none of its texts and none of its units."""
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
            if not handles:
                _seen_from_afar(body)
            level = body.get("level")
            if isinstance(level, int):
                body["level"] = Level(level).word
            items.append(alike(TimelineItem, entry, actor=actor_answer(entry.actor), body=body))
        return items

    def unit_name(self, code: str | None) -> str | None:
        """A unit's name. The code itself when the unit is no longer configured."""
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
        place, position, wgs84 = case.place, case.position, case.wgs84
        if not self._caller.handles(case):
            place = None if place is None else mask_address(place)
            position, wgs84 = from_afar(wgs84)
        own = self._own(case)
        return {
            "area_path": list(self._district.areas.path(case.area)),
            "place": place,
            "position": position,
            "wgs84": wgs84,
            "late": due is not None and due < self._now,
            "due_at": due,
            "suspended": case.suspended_at is not None,
            "attention": attention_for(case, None if own is None else {item.id for item in own}),
            "number": folded.number,
            "sequence": folded.sequence,
            "category_name": None if category is None else category.name,
            "level": None if case.level is None else case.level.word,
            "holder_name": self.unit_name(case.holder),
            "updated_at": updated_at,
            "assignments": [
                self._assignment(case, item, attempts=attempts) for item in (case.assignments if own is None else own)
            ],
        }

    def _assignment(self, case: Case, item: Assignment, *, attempts: bool) -> AssignmentAnswer:
        return alike(
            AssignmentAnswer,
            item,
            key=delivery_key(case.id, item.id),
            unit_name=self.unit_name(item.unit) or item.unit,
            open=item.state.open,
            attempts=[attempt_answer(attempt) for attempt in item.attempts] if attempts else [],
        )


def _seen_from_afar(body: dict[str, object]) -> None:
    """An event's place to the street, its position to the kilometre."""
    if isinstance(place := body.get("place"), str):
        body["place"] = mask_address(place)
    given = body.pop("wgs84", None)
    if body.pop("position", None) is not None and given is not None:
        position, wgs84 = from_afar(msgspec.convert(given, Point))
        body |= {"position": msgspec.to_builtins(position), "wgs84": msgspec.to_builtins(wgs84)}


def own_assignments(case: Case, caller: Caller) -> tuple[Assignment, ...] | None:
    """The assignments a department may see; None: all."""
    unit = caller.scope.unit
    return None if unit is None else tuple(item for item in case.assignments if item.unit == unit)


def concerns(event: Mapping[str, object], mine: Collection[str] | None) -> bool:
    """Whether a caller with these assignments may see an event's fields (None: a caller who sees the whole case).

    The results of other assignments, the answers of their systems and the messages to sources are between them and the hub.
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
