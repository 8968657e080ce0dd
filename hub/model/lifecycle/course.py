"""The course of a case from report to end: triage, claim, up and down the levels, settling, visit, close, reopen, void, merge. Pure.

"Small matters don't leave the grid, big ones not the community, emergencies not the street": a level settles, and a person
escalates, only as far as the policy lets them. Called by `decide`.
"""

from __future__ import annotations

from datetime import datetime

from hub.errors import InvalidInput
from hub.model import commands as c
from hub.model import events as e
from hub.model.areas import Level, UnitCode
from hub.model.cases import ActorKind, Case, DeadlineKind, Role, Source, Stage, parse_case_id
from hub.model.lifecycle.clock import set_limit
from hub.model.lifecycle.deciding import LIVE, Deciding
from hub.model.lifecycle.work import check_file, first_response, make, matter_of, recall_open, resolve_case
from hub.model.rules import Matter, Plan

MOST_VISITS = 3
"""A reporter who was not reached so often is not asked any more."""


def report(d: Deciding, command: c.Report) -> None:
    """Open the case, triage it by the policy, give it to a level, and dispatch it when the policy says at once."""
    if d.exists:
        d.refuse("the case was reported already")
    _check_report(d, command)
    plan = d.rules.plan(
        Matter(
            channel=command.channel,
            title=command.title,
            text=command.text,
            area=command.area,
            category=command.category,
            severity=command.severity,
            source_adapter=command.source.adapter if command.source else None,
        ),
        command.reported_at,
    )
    d.emit(
        e.CaseReported(
            channel=command.channel,
            title=command.title,
            text=command.text,
            area=command.area,
            reported_at=command.reported_at,
            place=command.place,
            source=command.source,
            has_contact=bool(command.contact_fields),
            covers=command.covers,
            covers_until=command.covers_until,
            attachments=command.attachments,
        )
    )
    if command.contact_fields:
        d.emit(e.ContactStored(fields=command.contact_fields))
    d.emit(e.CaseTriaged(category=plan.category, severity=plan.severity, area=command.area, rule=plan.rule))
    if command.duplicate_of is not None:
        d.emit(e.DuplicateSuspected(of=command.duplicate_of))
    d.emit(e.CaseHeld(level=plan.level, unit=plan.holder, cause="triage"))
    set_limit(d, DeadlineKind.FIRST_RESPONSE, plan.holder)
    set_limit(d, DeadlineKind.RESOLVE, plan.holder)
    _dispatch_planned(d, plan)


def _check_report(d: Deciding, command: c.Report) -> None:
    if not command.title.strip() and not command.text.strip():
        raise InvalidInput("a report needs a title or a text", subject="text")
    _check_place(d, command.area, command.reported_at)
    d.aware("covers_until", command.covers_until)
    for code in command.covers:
        if not d.rules.is_area(code):
            raise InvalidInput(f"no such area: {code}", subject="covers")
    if command.category is not None and not d.rules.is_category(command.category):
        raise InvalidInput(f"no such category: {command.category}", subject="category")
    if command.duplicate_of == d.id:
        raise InvalidInput("a case is not its own duplicate", subject="duplicate_of")
    for file in command.attachments:
        check_file(file, "attachments")


def _check_place(d: Deciding, area: str, reported_at: datetime) -> None:
    if not d.rules.is_area(area):
        raise InvalidInput(f"no such area: {area}", subject="area")
    d.aware("reported_at", reported_at)


def _dispatch_planned(d: Deciding, plan: Plan) -> None:
    """Dispatch at once if the plan says so and names somebody who can lead."""
    if not plan.dispatch:
        return
    targets = [target for target in plan.targets if d.rules.unit(target.unit) is not None]
    if any(target.role is Role.LEAD for target in targets):
        for target in targets:
            make(d, target)


def triage(d: Deciding, command: c.Triage) -> None:
    """Correct what the policy made of it. While it is only held the policy routes it anew, with limits that start now."""
    case = d.running(*LIVE)
    d.needs_holder()
    if command.category is not None and not d.rules.is_category(command.category):
        raise InvalidInput(f"no such category: {command.category}", subject="category")
    if command.area is not None and not d.rules.is_area(command.area):
        raise InvalidInput(f"no such area: {command.area}", subject="area")
    category = command.category or case.category or ""
    severity = command.severity or d.severity
    area = command.area or case.area
    if (category, severity, area) == (case.category, case.severity, case.area):
        return
    rule = f"{d.actor.unit or d.actor.name}: {command.reason or 'corrected'}"
    d.emit(e.CaseTriaged(category=category, severity=severity, area=area, rule=rule))
    if case.stage is not Stage.HELD or any(item.state.open for item in case.assignments):
        return
    plan = d.rules.plan(matter_of(d.case), case.reported_at)
    if (plan.level, plan.holder) != (case.level, case.holder):
        d.emit(e.CaseHeld(level=plan.level, unit=plan.holder, cause="triage"))
    if case.first_response_at is None:
        set_limit(d, DeadlineKind.FIRST_RESPONSE, plan.holder)
    set_limit(d, DeadlineKind.RESOLVE, plan.holder)
    _dispatch_planned(d, plan)


def claim(d: Deciding, command: c.Claim) -> None:
    """Take the matter up. A unit above the holder takes the case over by it."""
    case = d.stages(*LIVE)
    d.needs_holder()
    actor = d.actor
    if actor.kind is ActorKind.PERSON and actor.unit is not None and actor.unit != case.holder:
        assert actor.level is not None
        top = d.rules.top_level(case.category or "", d.severity)
        if actor.level > top:
            d.refuse(f"such matters don't go above the {top.word}")
        d.emit(e.CaseHeld(level=actor.level, unit=actor.unit, cause="claimed", reason=command.note))
    first_response(d)
    if command.note:
        d.emit(e.Commented(text=command.note))


def escalate(d: Deciding, command: c.Escalate) -> None:
    """One level up, at most to where the policy lets such matters go."""
    case = d.running(*LIVE)
    d.needs_holder()
    d.text("reason", command.reason)
    level = case.level
    if level is None or level is Level.DISTRICT:
        d.refuse("there is no level above")
    above = Level(level + 1)
    top = d.rules.top_level(case.category or "", d.severity)
    if above > top:
        d.refuse(f"such matters don't go above the {top.word}")
    unit = d.rules.unit_at(above, case.area)
    if unit is None:
        d.refuse(f"no unit of the {above.word} is responsible for {case.area}")
    d.emit(e.CaseHeld(level=above, unit=unit.code, cause="escalated", reason=command.reason))


def delegate(d: Deciding, command: c.Delegate) -> None:
    """One level down, to the unit named or the one of the case's area."""
    case = d.running(*LIVE)
    d.needs_holder()
    d.text("reason", command.reason)
    level = case.level
    if level is None or level is Level.GRID:
        d.refuse("there is no level below")
    below = Level(level - 1)
    d.emit(e.CaseHeld(level=below, unit=_below(d, case, below, command.unit), cause="delegated", reason=command.reason))


def _below(d: Deciding, case: Case, below: Level, named: UnitCode | None) -> UnitCode:
    if named is None:
        unit = d.rules.unit_at(below, case.area)
        if unit is None:
            raise InvalidInput(f"the case is not located at the {below.word}; name the unit", subject="unit")
        return unit.code
    unit = d.rules.unit(named)
    if unit is None:
        raise InvalidInput(f"no such unit: {named}", subject="unit")
    if unit.level is not below or not unit.code.startswith(case.holder or ""):
        raise InvalidInput(f"{named} is not one level below the holder", subject="unit")
    return unit.code


def settle(d: Deciding, command: c.Settle) -> None:
    """The holder settles the case itself; what is still open in support is taken back."""
    case = d.running(Stage.HELD)
    d.needs_holder()
    d.text("note", command.note)
    lowest = d.rules.settle_level(case.category or "", d.severity)
    if case.level is None or case.level < lowest:
        d.refuse(f"such matters are settled from the {lowest.word} upwards")
    first_response(d)
    recall_open(d, command.note)
    resolve_case(d, case.holder, command.note)


# --- visit and end ---


def visit(d: Deciding, command: c.Visit) -> None:
    """The reporter was asked: close, or reopen once when they are not content."""
    case = d.stages(Stage.RESOLVED)
    d.needs_holder()
    if command.rating is not None and not 1 <= command.rating <= 5:
        raise InvalidInput("a rating is between 1 and 5", subject="rating")
    if not command.reached:
        d.emit(e.CallbackVisited(reached=False, note=command.note))
        if case.visits + 1 >= MOST_VISITS:
            _end(d, "not_reached")
        return
    satisfied = command.satisfied
    if satisfied is None:
        satisfied = command.solved if command.rating is None else command.rating >= 3
    if satisfied is None:
        raise InvalidInput("what did the reporter say?", subject="satisfied")
    content = satisfied and command.solved is not False
    d.emit(e.CallbackVisited(reached=True, solved=command.solved, satisfied=content, rating=command.rating, note=command.note))
    if content:
        _end(d, "satisfied")
    elif case.reopened:
        _end(d, "unsatisfied")
    else:
        _open_again(d, command.note or "反映人不满意")


def _end(d: Deciding, outcome: str) -> None:
    recall_open(d, "the case is closed")
    d.emit(e.CaseClosed(outcome=outcome))


def _open_again(d: Deciding, reason: str) -> None:
    """Back to its holder with a fresh limit. The first response stays the first: it happened."""
    case = d.case
    assert case.level is not None
    assert case.holder is not None
    d.emit(e.CaseReopened(reason=reason), e.CaseHeld(level=case.level, unit=case.holder, cause="reopened", reason=reason))
    set_limit(d, DeadlineKind.RESOLVE, case.holder)


def close(d: Deciding, command: c.Close) -> None:
    """Close without the reporter's word: none is asked for, or they could not be reached."""
    case = d.stages(Stage.RESOLVED)
    d.needs_holder()
    d.text("reason", command.reason)
    if case.visits:
        _end(d, "not_reached")
    elif d.rules.visit_required(case.channel, case.category or "", d.severity):
        d.refuse("the reporter has to be visited first")
    else:
        _end(d, "no_visit")


def reopen(d: Deciding, command: c.Reopen) -> None:
    """Open a closed case again, once."""
    case = d.stages(Stage.CLOSED)
    d.needs_holder()
    d.text("reason", command.reason)
    if case.reopened:
        d.refuse("a case is reopened once")
    _open_again(d, command.reason)


def void(d: Deciding, command: c.Void) -> None:
    """Take the case out; what is open is recalled."""
    d.live()
    d.needs_authority("void")
    d.text("reason", command.reason)
    recall_open(d, command.reason)
    d.emit(e.CaseVoided(reason=command.reason))


def merge(d: Deciding, command: c.Merge) -> None:
    """Go on in another case; what is open is recalled."""
    if d.case.merged_into == command.into:
        return
    d.live()
    d.needs_authority("merge")
    _check_other(d, command.into, "into")
    recall_open(d, command.reason or f"merged into {command.into}")
    d.emit(e.CaseMerged(into=command.into, reason=command.reason))


def absorb(d: Deciding, command: c.Absorb) -> None:
    """The other side of a merge."""
    case = d.live()
    d.needs_holder()
    _check_other(d, command.other, "other")
    if command.other not in case.absorbed:
        d.emit(e.CaseAbsorbed(other=command.other))


def _check_other(d: Deciding, other: str, field: str) -> None:
    try:
        parse_case_id(other)
    except ValueError as problem:
        raise InvalidInput(str(problem), subject=field) from problem
    if other == d.id:
        raise InvalidInput("a case can't be merged into itself", subject=field)


def attach_report(d: Deciding, command: c.AttachReport) -> None:
    """A later report about the same matter; the same one from the same system counts once."""
    case = d.live()
    _check_place(d, command.area, command.reported_at)
    d.text("text", command.text)
    known: tuple[Source | None, ...] = (case.source, *case.attached_reports)
    if command.source is not None and command.source in known:
        return
    d.emit(
        e.ReportAttached(
            channel=command.channel,
            text=command.text,
            area=command.area,
            reported_at=command.reported_at,
            place=command.place,
            source=command.source,
        )
    )
