"""Plays commands on one case as the desk does: decide, commit, fold, with a clock that is moved by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from hub.model.actors import SYSTEM, Actor
from hub.model.aggregate import Command, Commit, Event, Folded
from hub.model.assignments.commands import RecordDelivered, StartDelivery
from hub.model.assignments.state import Assignment, AssignmentState
from hub.model.case import CASE
from hub.model.case.commands import Report
from hub.model.case.state import Case, Channel, case_id
from hub.model.limits.state import Deadline, DeadlineKind
from hub.model.policy.policy import Policy
from hub.model.policy.rules import Rules
from hub.spine.ledger.codec import Codec, command_digest, digest
from tests.unit.fake_rules import GRID, LAMP, FakeRules

CODEC = Codec(CASE)
START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


class Play:
    """One case and all its commits."""

    def __init__(
        self, rules: FakeRules | Policy | None = None, *, suffix: str = "0123456789abcdef", now: datetime = START
    ) -> None:
        self.rules: Rules = (rules or FakeRules()).rules
        self.id = case_id(GRID, suffix)
        self.now = now
        self.folded_now: Folded[Case] | None = None
        self.commits: list[bytes] = []
        self.wakes: list[datetime | None] = []
        """What each commit says of the timer."""

    @property
    def case(self) -> Case:
        assert self.folded_now is not None
        return self.folded_now.state

    @property
    def envelope(self) -> Folded[Case]:
        assert self.folded_now is not None
        return self.folded_now

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)

    def do(self, command: Command, actor: Actor = SYSTEM) -> tuple[Event, ...]:
        """Decide and commit; returns the events."""
        before = self.folded_now
        events = CASE.decide(
            None if before is None else before.state, command, actor=actor, rules=self.rules, now=self.now, id=self.id
        )
        if events:
            number = len(self.commits) + 1
            draft = Commit(
                aggregate="case",
                id=self.id,
                number=number,
                at=self.now,
                command=str(command.__struct_config__.tag),
                command_id=f"command-{number}",
                command_digest=command_digest(command),
                actor=actor,
                policy=self.rules.version,
                events=events,
                previous=before.digest if before is not None else "",
            )
            after = CASE.fold(before, draft, digest="", sequence=0)
            wake = CASE.wake_at(before, after.state, self.now)
            raw = CODEC.encode(msgspec.structs.replace(draft, wake_at=wake))
            self.commits.append(raw)
            self.wakes.append(wake)
            # Folded anew from the bytes: what was stored is what counts.
            self.folded_now = CASE.fold(before, CODEC.decode(raw), digest=digest(raw), sequence=number * 10)
        return events

    def report(self, category: str = LAMP, actor: Actor = SYSTEM, **given: Any) -> tuple[Event, ...]:
        values: dict[str, Any] = {
            "channel": Channel.RESIDENT,
            "title": "路灯不亮",
            "text": "三号楼前的路灯不亮了",
            "area": GRID,
            "reported_at": self.now - timedelta(minutes=1),
            "category": category,
            **given,
        }
        return self.do(Report(**values), actor)

    def deliver(self, id: str, ticket: str = "T-1") -> None:
        """An attempt that succeeds."""
        self.do(StartDelivery(assignment=id))
        self.do(RecordDelivered(assignment=id, ticket=ticket, attempt=self.part(id).attempts[-1].number))

    def part(self, id: str) -> Assignment:
        found = self.case.assignment(id)
        assert found is not None
        return found

    def states(self) -> dict[str, AssignmentState]:
        return {item.id: item.state for item in self.case.assignments}

    def limit(self, kind: DeadlineKind, assignment: str | None = None) -> Deadline | None:
        return next((d for d in self.case.deadlines if d.kind is kind and d.assignment == assignment), None)

    def folded(self) -> Folded[Case] | None:
        """The case, from its stored commits alone."""
        folded: Folded[Case] | None = None
        for index, raw in enumerate(self.commits):
            folded = CASE.fold(folded, CODEC.decode(raw), digest=digest(raw), sequence=(index + 1) * 10)
        return folded


def names(events: tuple[Event, ...]) -> list[str]:
    """The events' stored names."""
    return [str(event.__struct_config__.tag) for event in events]


def only(events: tuple[Event, ...], kind: type[Event]) -> Any:
    """The one event of a type."""
    found = [event for event in events if isinstance(event, kind)]
    assert len(found) == 1, names(events)
    return found[0]
