"""What the rules of assignments ask of the aggregate that holds them. Called by `assignments.work` and `assignments.delivery`."""

from __future__ import annotations

from abc import abstractmethod
from typing import NoReturn, TypeVar

from hub.errors import InvalidInput, TransitionRefused
from hub.model.aggregate import tag_of
from hub.model.assignments.state import Assigned, Assignment
from hub.model.district.areas import Unit, UnitCode
from hub.model.limits.deciding import LimitDeciding

A = TypeVar("A", bound=Assigned)


class WorkDeciding(LimitDeciding[A]):
    """A decision about a matter that holds assignments. The aggregate fills in the open parts."""

    __slots__ = ()

    @abstractmethod
    def after_change(self) -> None:
        """What the matter becomes after an assignment was done, given back or taken away."""

    def taken_up(self) -> None:
        """Somebody took the matter up; an aggregate may count the first time."""

    @abstractmethod
    def adapter_for(self, unit: Unit) -> str | None:
        """The adapter instance that takes an assignment of a unit; None: the unit works in the hub."""

    def may_deliver(self) -> None:
        """Refuse unless deliveries may still be tried again: somebody works on the matter, or only support goes on."""
        self.at_work()

    @property
    def done(self) -> bool:
        """Whether the matter itself is done and only support goes on."""
        return False

    @abstractmethod
    def went_on_without(self, assignment: Assignment) -> bool:
        """Whether the matter went on without an assignment that was refused."""

    def must_run(self) -> None:
        """Refuse while the clock stands still."""
        if self.state.suspended_at is not None:
            self.refuse(f"the {self.kind} is suspended; resume it first")

    def refuse_for(self, assignment: Assignment, rule: str) -> NoReturn:
        """Raise TransitionRefused that names the assignment's state, the command and the rule."""
        raise TransitionRefused(state=assignment.state.value, command=tag_of(self.command), rule=rule, subject=assignment.id)

    def assignment(self, id: str) -> Assignment:
        """The assignment with that id; raises InvalidInput when there is none."""
        found = self.state.assignment(id)
        if found is None:
            raise InvalidInput(f"the {self.kind} has no assignment {id}", subject="assignment")
        return found

    def needs_worker(self, assignment: Assignment) -> None:
        """Refuse unless the actor acts for the assignment's unit, or steers the matter."""
        if self.actor.unit != assignment.unit and not self.steers:
            self.refuse_for(assignment, f"only the assignment's unit, or those who hold the {self.kind}, may do this")

    def needs_voice(self) -> None:
        """Refuse unless the actor steers the matter or acts for a unit it was assigned to."""
        unit = self.actor.unit
        if not self.steers and not any(item.unit == unit for item in self.state.assignments):
            self.refuse(f"only those who hold the {self.kind} or have an assignment of it may do this")

    def may_ask_about(self, assignment: str | None) -> None:
        """A unit may ask about its own assignment."""
        if assignment is None:
            self.needs_holder()
        else:
            self.needs_worker(self.assignment(assignment))
            self.must_be_open(assignment)

    def must_know(self, assignment: str | None) -> None:
        """Raise InvalidInput when the matter has no such assignment."""
        if assignment is not None:
            self.assignment(assignment)

    def must_be_open(self, assignment: str | None) -> None:
        """Refuse when nothing is owed on the assignment any more."""
        if assignment is not None and not (found := self.assignment(assignment)).state.open:
            self.refuse_for(found, "nothing is owed on this assignment any more")

    def unit(self, code: UnitCode, field: str) -> UnitCode:
        """The code of a unit that exists and serves the matter's area; raises InvalidInput."""
        found = self.rules.units.unit(code)
        if found is None:
            raise InvalidInput(f"no such unit: {code}", subject=field)
        area = self.state.area
        if found.areas and not found.serves(area) and not any(a.startswith(self.located) for a in found.areas):
            raise InvalidInput(f"{code} does not serve {area}", subject=field)
        return found.code

    @property
    def located(self) -> str:
        """The matter's area without the zeros of a code that is not located deeper (never shorter than the district's)."""
        area: str = self.state.area
        while len(area) > 6 and area.endswith("000"):
            area = area[:-3]
        return area
