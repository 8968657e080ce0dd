"""Plays commands on one case as the desk does: decide, commit, fold, with a clock that is moved by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hub.ledger_codec import command_digest, decode, digest, encode
from hub.model.cases import SYSTEM, Actor, Assignment, AssignmentState, Case, Channel, Deadline, DeadlineKind, case_id
from hub.model.commands import AnyCommand, RecordDelivered, Report, StartDelivery
from hub.model.events import AnyEvent, Commit, Event
from hub.model.lifecycle import decide, fold, wake_at
from hub.model.rules import Rules
from tests.unit.fake_rules import GRID, LAMP, FakeRules

START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


class Play:
    """One case and all its commits."""

    def __init__(self, rules: Rules | None = None, *, suffix: str = "0123456789abcdef", now: datetime = START) -> None:
        self.rules: Rules = rules or FakeRules()
        self.id = case_id(GRID, suffix)
        self.now = now
        self.state: Case | None = None
        self.commits: list[bytes] = []

    @property
    def case(self) -> Case:
        assert self.state is not None
        return self.state

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)

    def do(self, command: AnyCommand, actor: Actor = SYSTEM) -> tuple[AnyEvent, ...]:
        """Decide and commit; returns the events."""
        events = decide(self.state, command, actor=actor, rules=self.rules, now=self.now, new_id=self.id)
        if events:
            number = len(self.commits) + 1
            before = self.state
            commit = Commit(
                case=self.id,
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
            wake = wake_at(before, fold(before, commit, digest="", sequence=0), self.now)
            raw = encode(Commit(**{**{name: getattr(commit, name) for name in commit.__struct_fields__}, "wake_at": wake}))
            self.commits.append(raw)
            self.state = fold(before, decode(raw), digest=digest(raw), sequence=number * 10)
        return events

    def report(self, category: str = LAMP, actor: Actor = SYSTEM, **given: Any) -> tuple[AnyEvent, ...]:
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

    def folded(self) -> Case | None:
        """The case, from its stored commits alone."""
        state: Case | None = None
        for index, raw in enumerate(self.commits):
            state = fold(state, decode(raw), digest=digest(raw), sequence=(index + 1) * 10)
        return state


def names(events: tuple[AnyEvent, ...]) -> list[str]:
    """The events' stored names."""
    return [str(event.__struct_config__.tag) for event in events]


def only(events: tuple[AnyEvent, ...], kind: type[Event]) -> Any:
    """The one event of a type."""
    found = [event for event in events if isinstance(event, kind)]
    assert len(found) == 1, names(events)
    return found[0]
