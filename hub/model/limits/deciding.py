"""What the rules of limits ask of the aggregate that holds them. Called by `limits.clock`."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

from hub.errors import InvalidInput
from hub.model.actors import ActorKind
from hub.model.deciding import Deciding
from hub.model.district.areas import Level
from hub.model.limits.state import Deadline, DeadlineKind, Limited
from hub.model.policy.rules import Limit, Step

L = TypeVar("L", bound=Limited)


class LimitDeciding(Deciding[L]):
    """A decision about a matter that holds limits. The aggregate fills in the open parts."""

    __slots__ = ()

    def live(self) -> L:
        """The state, if the matter has not ended."""
        state = self.state
        if state.ended:
            self.refuse(f"the {self.kind} has ended")
        return state

    @abstractmethod
    def at_work(self) -> L:
        """The state, if somebody works on the matter; refuses otherwise."""

    @property
    @abstractmethod
    def steers(self) -> bool:
        """Whether the actor acts for the responsible unit, or for one above it in the same branch of the tree."""

    @property
    @abstractmethod
    def level(self) -> Level:
        """The level that is responsible at present."""

    @abstractmethod
    def policy_limit(self, kind: DeadlineKind) -> Limit | None:
        """The policy's limit of a kind for this matter."""

    @abstractmethod
    def ladder(self) -> tuple[Step, ...]:
        """The steps taken when a limit of this matter passes."""

    def climb(self, reason: str) -> bool:
        """Give the matter one level up because a limit passed; false when there is none above."""
        return False

    def may_ask_about(self, assignment: str | None) -> None:
        """Refuse unless the actor may ask about the matter's limits, or those of an assignment."""
        self.must_be_open(assignment)
        self.needs_holder()

    def must_know(self, assignment: str | None) -> None:
        """Raise InvalidInput when the matter has no such assignment."""
        if assignment is not None:
            raise InvalidInput(f"the {self.kind} has no assignment {assignment}", subject="assignment")

    def must_be_open(self, assignment: str | None) -> None:
        """Refuse when nothing is owed on the assignment any more."""
        self.must_know(assignment)

    def needs_holder(self) -> None:
        """Refuse unless the actor steers the matter."""
        if not self.steers:
            self.refuse(f"only the unit that holds the {self.kind}, or one above it in the same branch, may do this")

    def needs_authority(self, what: str) -> None:
        """Refuse unless the actor's level may grant `what` by itself (and it steers the matter)."""
        self.needs_holder()
        lowest = self.rules.powers.authority(what)
        if self.actor.kind is not ActorKind.SYSTEM and (self.actor.level is None or self.actor.level < lowest):
            self.refuse(f"{what} is granted from the {lowest.word} upwards; ask for it")

    def deadline(self, kind: DeadlineKind, assignment: str | None) -> Deadline | None:
        """The open limit of that kind and assignment."""
        return next((item for item in self.state.deadlines if item.kind is kind and item.assignment == assignment), None)
