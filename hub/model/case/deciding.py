"""One decision about a case: its stages, the rights, and the facts its parts need of it. Called by the modules of this package."""

from __future__ import annotations

from datetime import datetime

from hub.errors import Undecided
from hub.model.actors import Actor, ActorKind
from hub.model.aggregate import Command, MatterId
from hub.model.assignments.deciding import WorkDeciding
from hub.model.assignments.state import Assignment, Role
from hub.model.case import events as e
from hub.model.case import join
from hub.model.case.evolve import evolve
from hub.model.case.state import Case, Severity, Stage
from hub.model.district.areas import Level, Unit
from hub.model.limits.state import DeadlineKind
from hub.model.policy.rules import Limit, Rules, Step


class CaseDeciding(WorkDeciding[Case]):
    """A decision about a case."""

    __slots__ = ()
    kind = "case"

    def __init__(self, case: Case | None, id: MatterId, command: Command, *, actor: Actor, rules: Rules, now: datetime) -> None:
        super().__init__(evolve, case, id, command, actor=actor, rules=rules, now=now)

    @property
    def stands(self) -> str:
        """The case's stage."""
        return "none" if self._state is None else self._state.stage.value

    @property
    def severity(self) -> Severity:
        """The case's severity; ordinary until triaged."""
        return self.state.severity or Severity.ORDINARY

    @property
    def level(self) -> Level:
        """The level that holds the case."""
        return self.state.level or Level.GRID

    # --- states ---

    def stages(self, *stages: Stage) -> Case:
        """The case, if it is in one of these stages."""
        case = self.state
        if case.stage not in stages:
            names = " or ".join(stage.value for stage in stages)
            self.refuse(f"the case has to be {names}")
        return case

    def at_work(self) -> Case:
        """The case, if somebody works on it."""
        return self.stages(*join.LIVE)

    def running(self, *stages: Stage) -> Case:
        """The case, if it is in one of these stages and its clock runs."""
        case = self.stages(*stages)
        self.must_run()
        return case

    def must_be_settled(self) -> None:
        """Raise Undecided while the case waits for the answer of the one it is being merged into."""
        waits = self.state.merging
        if waits is not None:
            raise Undecided(f"it is being merged into {waits.into}", subject=self.id)

    def may_deliver(self) -> None:
        """Refuse unless deliveries may be tried again; support may go on after the case is resolved."""
        self.stages(*join.LIVE, Stage.RESOLVED)

    @property
    def done(self) -> bool:
        """Whether the case is resolved."""
        return self.state.stage is Stage.RESOLVED

    def went_on_without(self, assignment: Assignment) -> bool:
        """Whether other leads have the case."""
        return assignment.role is Role.LEAD and self.state.stage is not Stage.HELD

    # --- who may ---

    @property
    def steers(self) -> bool:
        """Whether the actor acts for the case's holder, or for a unit above it in the same branch of the tree."""
        actor = self.actor
        if actor.kind is ActorKind.SYSTEM:
            return True
        if actor.kind is not ActorKind.PERSON or actor.level is None:
            return False
        if actor.unit is None:
            return actor.level is Level.DISTRICT
        held_by = self.state.holder or self.state.area
        return held_by.startswith(actor.unit)

    # --- what the parts ask ---

    def policy_limit(self, kind: DeadlineKind) -> Limit | None:
        """The policy's limit of a kind for the case's category and severity."""
        return self.rules.limits.limit(kind, self.state.category or "", self.severity)

    def ladder(self) -> tuple[Step, ...]:
        """The ladder of the case's severity."""
        return self.rules.limits.ladder(self.severity)

    def climb(self, reason: str) -> bool:
        """One level up, whatever the policy's top level for people is; false at the top."""
        level = self.state.level
        if level is None or level is Level.DISTRICT:
            return False
        above = self.rules.units.unit_at(Level(level + 1), self.state.area)
        if above is None:
            return False
        self.emit(e.CaseHeld(level=Level(level + 1), unit=above.code, cause="escalated", reason=reason))
        return True

    def adapter_for(self, unit: Unit) -> str | None:
        """The adapter instance that takes an assignment of a unit."""
        case = self.state
        return self.rules.routing.adapter_for(unit, matter=case.id, area=case.area, category=case.category or "")

    def taken_up(self) -> None:
        """Stop the first-response clock, if it still runs."""
        if self.state.first_response_at is None:
            self.emit(e.FirstResponded())

    def after_change(self) -> None:
        """Resolve the case when the join holds. Give it back to its holder when no lead is at work any more."""
        join.after_change(self)
