"""One decision in the making: the command, its giver, the rules, and the state after the events decided so far. Pure.

Owns the checks that all kinds of matters share, and the wording of refusals. Each aggregate has its own subclass.
"""

from __future__ import annotations

from abc import ABC
from datetime import datetime
from typing import Generic, NoReturn, TypeVar

from hub.errors import InvalidInput, TransitionRefused
from hub.model.actors import Actor, ActorKind
from hub.model.aggregate import Command, Event, Evolve, MatterId, tag_of
from hub.model.policy.rules import Rules

S = TypeVar("S")


class Deciding(ABC, Generic[S]):
    """Collects events and plays them at once, so that later rules of the same command see their effect."""

    __slots__ = ("_evolve", "_state", "actor", "command", "events", "id", "now", "rules")

    kind = "matter"
    """What people call such a matter in refusals."""

    def __init__(
        self,
        evolve: Evolve[S, Event],
        state: S | None,
        id: MatterId,
        command: Command,
        *,
        actor: Actor,
        rules: Rules,
        now: datetime,
    ) -> None:
        """`now` must be aware; raises InvalidInput."""
        if now.utcoffset() is None:
            raise InvalidInput("a time needs an offset", subject="now")
        self._evolve = evolve
        self._state = state
        self.id = id
        self.command = command
        self.actor = actor
        self.rules = rules
        self.now = now
        self.events: list[Event] = []

    @property
    def state(self) -> S:
        """The state after the events so far; refuses when there is none."""
        if self._state is None:
            self.refuse(f"there is no such {self.kind}")
        return self._state

    @property
    def exists(self) -> bool:
        """Whether the matter has been opened."""
        return self._state is not None

    def emit(self, *events: Event) -> None:
        """Decide that these happen."""
        for event in events:
            self.events.append(event)
            self._state = self._evolve(self._state, event, at=self.now, id=self.id)

    @property
    def stands(self) -> str:
        """How the matter stands, in a word for refusals."""
        return "none" if self._state is None else "open"

    def refuse(self, rule: str) -> NoReturn:
        """Raise TransitionRefused that names how the matter stands, the command and the rule."""
        raise TransitionRefused(state=self.stands, command=tag_of(self.command), rule=rule, subject=self.id)

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

    def needs_hub(self) -> None:
        """Refuse unless the hub itself gives the command."""
        if self.actor.kind is not ActorKind.SYSTEM:
            self.refuse("only the hub itself may do this")
