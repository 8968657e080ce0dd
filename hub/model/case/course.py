"""The course of a case from report to end: triage, claim, dispatch, up and down the levels, settling, visit, close, reopen, void. Pure.

"Small matters don't leave the grid, big ones not the community, emergencies not the street". So a level settles only as far as the policy
lets it, and so does a person escalate. Called by `decide`.
"""

from __future__ import annotations

from typing import Final

from hub.errors import InvalidInput
from hub.model.actors import ActorKind
from hub.model.aggregate import Command
from hub.model.answers import Closing, Ending, Reached, Satisfied, Solved, satisfied_by
from hub.model.assignments.commands import Dispatch
from hub.model.assignments.state import Role
from hub.model.assignments.work import busy, check_file, make, recall_open
from hub.model.bykind import ByKind
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case import join, merging
from hub.model.case.deciding import CaseDeciding
from hub.model.case.state import Case, Stage
from hub.model.district.areas import Level, UnitCode
from hub.model.limits.clock import set_limit
from hub.model.limits.state import DeadlineKind
from hub.model.policy.rules import Matter, Plan
from hub.model.positions import check as check_position
from hub.model.words import SATISFIED, SOLVED

DECIDES: Final[ByKind[Command]] = ByKind()
"""Which rule decides each command here."""

MOST_VISITS = 3
"""A reporter who was tried so often and not reached is not asked any more."""


def matter_of(case: Case) -> Matter:
    """What routing looks at, from the case as it is."""
    return Matter(
        channel=case.channel,
        title=case.title,
        text=case.text,
        area=case.area,
        category=case.category,
        severity=case.severity,
        source_adapter=case.source.adapter if case.source else None,
    )


@DECIDES.on(c.Report)
def report(d: CaseDeciding, command: c.Report) -> None:
    """Open the case, triage it by the policy, give it to a level, and dispatch it when the policy says at once."""
    if d.exists:
        d.refuse("the case was reported already")
    _check_report(d, command)
    plan = d.rules.routing.plan(
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
            position=command.position,
            wgs84=command.wgs84,
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


def _check_report(d: CaseDeciding, command: c.Report) -> None:
    if not command.title.strip() and not command.text.strip():
        raise InvalidInput("a report needs a title or a text", subject="text")
    _check_place(d, command)
    d.aware("covers_until", command.covers_until)
    for code in command.covers:
        if not d.rules.units.is_area(code):
            raise InvalidInput(f"no such area: {code}", subject="covers")
    if command.category is not None and not d.rules.routing.is_category(command.category):
        raise InvalidInput(f"no such category: {command.category}", subject="category")
    if command.duplicate_of == d.id:
        raise InvalidInput("a case is not its own duplicate", subject="duplicate_of")
    for file in command.attachments:
        check_file(file, "attachments")


def _check_place(d: CaseDeciding, command: c.Report | c.AttachReport) -> None:
    if not d.rules.units.is_area(command.area):
        raise InvalidInput(f"no such area: {command.area}", subject="area")
    if command.position is not None:
        check_position(command.position)
    d.aware("reported_at", command.reported_at)


def _dispatch_planned(d: CaseDeciding, plan: Plan) -> None:
    """Dispatch at once if the plan says so and names somebody who can lead."""
    if not plan.dispatch:
        return
    targets = [target for target in plan.targets if d.rules.units.unit(target.unit) is not None]
    if any(target.role is Role.LEAD for target in targets):
        for target in targets:
            make(d, target)


@DECIDES.on(c.Triage)
def triage(d: CaseDeciding, command: c.Triage) -> None:
    """Correct the policy's triage. A case that is only held is routed anew, with limits that start now."""
    case = d.running(*join.LIVE)
    d.needs_holder()
    if command.category is not None and not d.rules.routing.is_category(command.category):
        raise InvalidInput(f"no such category: {command.category}", subject="category")
    if command.area is not None and not d.rules.units.is_area(command.area):
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
    plan = d.rules.routing.plan(matter_of(d.state), case.reported_at)
    if (plan.level, plan.holder) != (case.level, case.holder):
        d.emit(e.CaseHeld(level=plan.level, unit=plan.holder, cause="triage"))
    if case.first_response_at is None:
        set_limit(d, DeadlineKind.FIRST_RESPONSE, plan.holder)
    set_limit(d, DeadlineKind.RESOLVE, plan.holder)
    _dispatch_planned(d, plan)


@DECIDES.on(c.Claim)
def claim(d: CaseDeciding, command: c.Claim) -> None:
    """Take the matter up. A unit above the holder takes the case over by it."""
    case = d.stages(*join.LIVE)
    d.needs_holder()
    actor = d.actor
    if actor.kind is ActorKind.PERSON and actor.unit is not None and actor.unit != case.holder:
        assert actor.level is not None
        top = d.rules.routing.top_level(case.category or "", d.severity)
        if actor.level > top:
            d.refuse(f"such matters don't go above the {top.word}")
        d.emit(e.CaseHeld(level=actor.level, unit=actor.unit, cause="claimed", reason=command.note))
    d.taken_up()
    if command.note:
        d.emit(e.Commented(text=command.note))


@DECIDES.on(c.Escalate)
def escalate(d: CaseDeciding, command: c.Escalate) -> None:
    """One level up, at most to where the policy lets such matters go."""
    case = d.running(*join.LIVE)
    d.needs_holder()
    d.text("reason", command.reason)
    level = case.level
    if level is None or level is Level.DISTRICT:
        d.refuse("there is no level above")
    above = Level(level + 1)
    top = d.rules.routing.top_level(case.category or "", d.severity)
    if above > top:
        d.refuse(f"such matters don't go above the {top.word}")
    unit = d.rules.units.unit_at(above, case.area)
    if unit is None:
        d.refuse(f"no unit of the {above.word} is responsible for {case.area}")
    d.emit(e.CaseHeld(level=above, unit=unit.code, cause="escalated", reason=command.reason))


@DECIDES.on(c.Delegate)
def delegate(d: CaseDeciding, command: c.Delegate) -> None:
    """One level down, to the unit named or the one of the case's area."""
    case = d.running(*join.LIVE)
    d.needs_holder()
    d.text("reason", command.reason)
    level = case.level
    if level is None or level is Level.GRID:
        d.refuse("there is no level below")
    below = Level(level - 1)
    d.emit(e.CaseHeld(level=below, unit=_below(d, case, below, command.unit), cause="delegated", reason=command.reason))


def _below(d: CaseDeciding, case: Case, below: Level, named: UnitCode | None) -> UnitCode:
    if named is None:
        unit = d.rules.units.unit_at(below, case.area)
        if unit is None:
            raise InvalidInput(f"the case is not located at the {below.word}; name the unit", subject="unit")
        return unit.code
    unit = d.rules.units.unit(named)
    if unit is None:
        raise InvalidInput(f"no such unit: {named}", subject="unit")
    if unit.level is not below or not unit.code.startswith(case.holder or ""):
        raise InvalidInput(f"{named} is not one level below the holder", subject="unit")
    return unit.code


@DECIDES.on(c.Settle)
def settle(d: CaseDeciding, command: c.Settle) -> None:
    """The holder settles the case itself. Support still open is taken back."""
    case = d.running(Stage.HELD)
    d.needs_holder()
    d.text("note", command.note)
    lowest = d.rules.routing.settle_level(case.category or "", d.severity)
    if case.level is None or case.level < lowest:
        d.refuse(f"such matters are settled from the {lowest.word} upwards")
    d.taken_up()
    recall_open(d, command.note)
    join.resolve_case(d, case.holder, command.note)


@DECIDES.on(Dispatch)
def dispatch(d: CaseDeciding, command: Dispatch) -> None:
    """Assign to the named units, or to those of the policy."""
    case = d.running(*join.LIVE)
    d.needs_holder()
    if command.targets:
        chosen = list(command.targets)
        for target in chosen:
            d.unit(target.unit, "targets")
        if len({target.unit for target in chosen}) != len(chosen):
            raise InvalidInput("a unit is named twice", subject="targets")
        for target in chosen:
            if busy(d, target.unit):
                d.refuse(f"{target.unit} has an open assignment of this case")
    else:
        planned = d.rules.routing.plan(matter_of(case), case.reported_at).targets
        chosen = [target for target in planned if d.rules.units.unit(target.unit) is not None and not busy(d, target.unit)]
        if not chosen:
            d.refuse("the policy names no further unit for this case; name the units")
    if case.stage is Stage.HELD and not any(target.role is Role.LEAD for target in chosen):
        d.refuse("somebody has to lead")
    for target in chosen:
        make(d, target)
    if d.actor.kind is ActorKind.PERSON:
        d.taken_up()
    if command.note:
        d.emit(e.Commented(text=command.note))


# --- visit and end ---


@DECIDES.on(c.Check)
def check(d: CaseDeciding, command: c.Check) -> None:
    """The checker's word on the result, for whoever decides."""
    d.live()
    d.needs_holder()
    d.emit(
        e.CaseChecked(
            by=_speaker(d),
            solved=command.solved,
            satisfied=command.satisfied,
            reached=command.reached,
            tries=command.tries,
            note=command.note,
        )
    )


def _speaker(d: CaseDeciding) -> str:
    return d.actor.unit or d.actor.name


@DECIDES.on(c.Visit)
def visit(d: CaseDeciding, command: c.Visit) -> None:
    """The reporter was asked. Close, or reopen once when the policy says that such answers reopen."""
    case = d.stages(Stage.RESOLVED)
    d.needs_holder()
    if command.rating is not None and not 1 <= command.rating <= 5:
        raise InvalidInput("a rating is between 1 and 5", subject="rating")
    if command.tries < 1:
        raise InvalidInput("a visit is at least one try", subject="tries")
    if command.reached is not Reached.YES:
        d.emit(e.CallbackVisited(by=_speaker(d), reached=command.reached, tries=command.tries, note=command.note))
        if command.reached is Reached.REFUSED:
            join.close_case(d, Ending.REFUSED)
        elif d.state.visits >= MOST_VISITS:
            join.close_case(d, Ending.NOT_REACHED)
        return
    if (command.solved, command.satisfied, command.rating) == (None, None, None):
        raise InvalidInput("what did the reporter say?", subject="satisfied")
    solved = command.solved or Solved.NOT_ASKED
    satisfied = command.satisfied or satisfied_by(command.rating)
    d.emit(
        e.CallbackVisited(
            by=_speaker(d),
            reached=command.reached,
            tries=command.tries,
            solved=solved,
            satisfied=satisfied,
            rating=command.rating,
            note=command.note,
        )
    )
    reopens = d.rules.visits.reopens(solved, satisfied)
    if reopens and not case.reopened:
        _open_again(d, command.note or f"回访：{SOLVED[solved]}，{SATISFIED[satisfied]}")
    elif reopens or satisfied is Satisfied.NO:
        join.close_case(d, Ending.UNSATISFIED)
    else:
        join.close_case(d, Ending.NOT_RATED if satisfied is Satisfied.NOT_RATED else Ending.SATISFIED)


def _open_again(d: CaseDeciding, reason: str) -> None:
    """Back to its holder with a fresh limit. The first response stays the first: it happened."""
    case = d.state
    assert case.level is not None
    assert case.holder is not None
    d.emit(e.CaseReopened(reason=reason), e.CaseHeld(level=case.level, unit=case.holder, cause="reopened", reason=reason))
    set_limit(d, DeadlineKind.RESOLVE, case.holder)


@DECIDES.on(c.Close)
def close(d: CaseDeciding, command: c.Close) -> None:
    """Close without the reporter's word: the policy asks for none, they could not be reached, or the closing is special."""
    case = d.stages(Stage.RESOLVED)
    d.needs_holder()
    d.text("reason", command.reason)
    if command.kind in (Closing.NORMAL, Closing.LATE):
        raise InvalidInput("normal and late follow from the limit; say faulty, special or nothing", subject="kind")
    if command.kind is Closing.SPECIAL:
        d.needs_authority("void")
    if case.visits:
        outcome = Ending.NOT_REACHED
    elif command.kind is not Closing.SPECIAL and d.rules.visits.visit_required(case.channel, case.category or "", d.severity):
        d.refuse("the reporter has to be visited first")
    else:
        outcome = Ending.NO_VISIT
    join.close_case(d, outcome, command.kind, command.reason)


@DECIDES.on(c.Reopen)
def reopen(d: CaseDeciding, command: c.Reopen) -> None:
    """Open a closed case again, once."""
    case = d.stages(Stage.CLOSED)
    d.needs_holder()
    d.text("reason", command.reason)
    if case.reopened:
        d.refuse("a case is reopened once")
    _open_again(d, command.reason)


@DECIDES.on(c.Void)
def void(d: CaseDeciding, command: c.Void) -> None:
    """Take the case out. Open assignments are recalled."""
    d.live()
    d.needs_authority("void")
    d.text("reason", command.reason)
    d.must_be_settled()
    merging.must_have_seen(d)
    recall_open(d, command.reason)
    d.emit(e.CaseVoided(reason=command.reason))


@DECIDES.on(c.AttachReport)
def attach_report(d: CaseDeciding, command: c.AttachReport) -> None:
    """A later report about the same matter; the same one from the same system counts once. A merged case passes it on."""
    case = d.state if d.state.stage is Stage.MERGED else d.live()
    _check_place(d, command)
    d.text("text", command.text)
    if command.source is not None and (command.source == case.source or command.source in case.attached_reports):
        return
    d.emit(
        e.ReportAttached(
            channel=command.channel,
            text=command.text,
            area=command.area,
            reported_at=command.reported_at,
            place=command.place,
            position=command.position,
            wgs84=command.wgs84,
            source=command.source,
        )
    )
    merging.pass_on(d)
