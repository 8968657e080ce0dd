"""One decision in the making: the command, who gives it, the rules, and the state as the events decided so far leave it.

Owns the checks that many commands share and how refusals are worded. Called by the other modules of this package.
"""

from __future__ import annotations

from datetime import datetime
from typing import NoReturn

from hub.errors import InvalidInput, TransitionRefused
from hub.model.areas import Level, UnitCode
from hub.model.cases import Actor, ActorKind, Assignment, Case, CaseId, Severity, Stage
from hub.model.commands import AnyCommand
from hub.model.events import AnyEvent
from hub.model.lifecycle.evolve import evolve
from hub.model.rules import Rules

LIVE = (Stage.HELD, Stage.DISPATCHED)
"""Stages in which somebody works on the case."""


class Deciding:
    """Collects events and plays them at once, so that later rules of the same command see their effect."""

    __slots__ = ("_state", "actor", "command", "events", "id", "now", "rules")

    def __init__(
        self, case: Case | None, id: CaseId, command: AnyCommand, *, actor: Actor, rules: Rules, now: datetime
    ) -> None:
        self._state = case
        self.id = id
        self.command = command
        self.actor = actor
        self.rules = rules
        self.now = now
        self.events: list[AnyEvent] = []

    @property
    def case(self) -> Case:
        """The state after the events so far; refuses when there is no case."""
        if self._state is None:
            self.refuse("there is no such case")
        return self._state

    @property
    def exists(self) -> bool:
        """Whether the case has been reported."""
        return self._state is not None

    @property
    def severity(self) -> Severity:
        """The case's severity; ordinary until triaged."""
        return self.case.severity or Severity.ORDINARY

    def emit(self, *events: AnyEvent) -> None:
        """Decide that these happen."""
        for event in events:
            self.events.append(event)
            self._state = evolve(self._state, event, at=self.now, id=self.id)

    # --- refusals ---

    def refuse(self, rule: str, *, assignment: Assignment | None = None) -> NoReturn:
        """Raise TransitionRefused that names the state of the case (or assignment), the command and the rule."""
        if assignment is not None:
            state, subject = assignment.state.value, assignment.id
        else:
            state, subject = ("none" if self._state is None else self._state.stage.value), self.id
        name = str(self.command.__struct_config__.tag)
        raise TransitionRefused(state=state, command=name, rule=rule, subject=subject)

    def text(self, field: str, value: str | None) -> str:
        """The value of a field that must say something; raises InvalidInput."""
        if value is None or not value.strip():
            raise InvalidInput("must not be empty", subject=field)
        return value

    def aware(self, field: str, value: datetime | None) -> None:
        """Raise InvalidInput for a time without offset."""
        if value is not None and value.utcoffset() is None:
            raise InvalidInput("a time needs an offset", subject=field)

    def ahead(self, field: str, value: datetime | None) -> None:
        """Raise InvalidInput for a time without offset or not in the future."""
        self.aware(field, value)
        if value is not None and value <= self.now:
            raise InvalidInput("must lie in the future", subject=field)

    # --- states ---

    def stages(self, *stages: Stage) -> Case:
        """The case, if it is in one of these stages."""
        case = self.case
        if case.stage not in stages:
            names = " or ".join(stage.value for stage in stages)
            self.refuse(f"the case has to be {names}")
        return case

    def live(self) -> Case:
        """The case, if it has not ended."""
        case = self.case
        if case.stage.ended:
            self.refuse("the case has ended")
        return case

    def running(self, *stages: Stage) -> Case:
        """The case, if it is in one of these stages and its clock runs."""
        case = self.stages(*stages)
        if case.suspended_at is not None:
            self.refuse("the case is suspended; resume it first")
        return case

    def assignment(self, id: str) -> Assignment:
        """The assignment with that id; raises InvalidInput when the case has none."""
        found = self.case.assignment(id)
        if found is None:
            raise InvalidInput(f"the case has no assignment {id}", subject="assignment")
        return found

    # --- who may ---

    @property
    def steers(self) -> bool:
        """Whether the actor acts for the unit that holds the case, or for one above it in the same branch of the tree."""
        actor = self.actor
        if actor.kind is ActorKind.SYSTEM:
            return True
        if actor.kind is not ActorKind.PERSON or actor.level is None:
            return False
        if actor.unit is None:
            return actor.level is Level.DISTRICT
        held_by = self.case.holder or self.case.area
        return held_by.startswith(actor.unit)

    def needs_holder(self) -> None:
        """Refuse unless the actor steers the case."""
        if not self.steers:
            self.refuse("only the unit that holds the case, or one above it in the same branch, may do this")

    def needs_hub(self) -> None:
        """Refuse unless the hub itself gives the command."""
        if self.actor.kind is not ActorKind.SYSTEM:
            self.refuse("only the hub itself may do this")

    def needs_worker(self, assignment: Assignment) -> None:
        """Refuse unless the actor acts for the assignment's unit, or steers the case."""
        if self.actor.unit != assignment.unit and not self.steers:
            self.refuse("only the assignment's unit, or those who hold the case, may do this", assignment=assignment)

    def needs_voice(self) -> None:
        """Refuse unless the actor steers the case or acts for a unit it was assigned to."""
        unit = self.actor.unit
        if not self.steers and not any(item.unit == unit for item in self.case.assignments):
            self.refuse("only those who hold the case or have an assignment of it may do this")

    def needs_authority(self, what: str) -> None:
        """Refuse unless the actor's level may grant `what` by itself (and it steers the case)."""
        self.needs_holder()
        lowest = self.rules.authority(what)
        if self.actor.kind is not ActorKind.SYSTEM and (self.actor.level is None or self.actor.level < lowest):
            self.refuse(f"{what} is granted from the {lowest.word} upwards; ask for it")

    def unit(self, code: UnitCode, field: str) -> UnitCode:
        """The code of a unit that exists and serves the case's area; raises InvalidInput."""
        found = self.rules.unit(code)
        if found is None:
            raise InvalidInput(f"no such unit: {code}", subject=field)
        if found.areas and not found.serves(self.case.area) and not any(a.startswith(self.located) for a in found.areas):
            raise InvalidInput(f"{code} does not serve {self.case.area}", subject=field)
        return found.code

    @property
    def located(self) -> str:
        """The case's area without the zeros of a code that is not located deeper (never shorter than the district's)."""
        area: str = self.case.area
        while len(area) > 6 and area.endswith("000"):
            area = area[:-3]
        return area


__all__ = ["LIVE", "Deciding"]
