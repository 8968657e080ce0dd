"""A hand-made policy for a small district: what `decide` asks, answered from a few tables."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hub.model.actors import Actor, ActorKind
from hub.model.answers import AnswerRules, Satisfied, Solved
from hub.model.assignments.commands import Target
from hub.model.assignments.state import Role
from hub.model.case.state import Channel, Severity
from hub.model.district.areas import AreaCode, Level, Unit, UnitCode, UnitKind
from hub.model.limits.state import DeadlineKind
from hub.model.policy.rules import LadderAction, Limit, Matter, Plan, Rules, Step

DISTRICT = AreaCode("320113")
STREET = AreaCode("320113001")
COMMUNITY = AreaCode("320113001001")
GRID = AreaCode("320113001001001")
OTHER_GRID = AreaCode("320113001001002")
OTHER_STREET = AreaCode("320113002")
OTHER_COMMUNITY = AreaCode("320113002001")

LAMP, NOISE, SEWER, GAS = "P01", "E05", "E01", "E04"
"""A small matter of the grid; one for the police at once; one the community dispatches; one for three departments at once."""

DEPARTMENTS = {"police": "police", "property": "property", "gas": "utilities", "water": None, "landscaping": None}
"""Departments and their adapters."""

_LEVELS = {level.code_length: level for level in Level}
_KINDS = {Level.DISTRICT: UnitKind.CENTRE, Level.STREET: UnitKind.STREET, Level.COMMUNITY: UnitKind.COMMUNITY}


def person(unit: str) -> Actor:
    """Somebody who works for a unit: a level's own, or a department's clerk."""
    if unit in DEPARTMENTS:
        return Actor(kind=ActorKind.PERSON, name="clerk", unit=UnitCode(unit))
    return Actor(kind=ActorKind.PERSON, name="worker", unit=UnitCode(unit), level=_LEVELS[len(unit)])


def department(unit: str) -> Actor:
    """A department's system."""
    return Actor(kind=ActorKind.DEPARTMENT, name=unit, unit=UnitCode(unit))


def _units() -> dict[str, Unit]:
    units = {
        code: Unit(
            code=UnitCode(code),
            name=code,
            kind=_KINDS.get(_LEVELS[len(code)], UnitKind.GRID),
            level=_LEVELS[len(code)],
            areas=(code,),
        )
        for code in (DISTRICT, STREET, COMMUNITY, GRID, OTHER_GRID, OTHER_STREET, OTHER_COMMUNITY)
    }
    for name, adapter in DEPARTMENTS.items():
        units[AreaCode(name)] = Unit(
            code=UnitCode(name), name=name, kind=UnitKind.DEPARTMENT, areas=(DISTRICT,), adapter=adapter
        )
    return dict(units)


@dataclass(frozen=True)
class FakeRules:
    """Rules around the clock; every field can be given otherwise."""

    version: int = 3
    units: dict[str, Unit] = field(default_factory=_units)
    limits: dict[DeadlineKind, timedelta] = field(
        default_factory=lambda: {
            DeadlineKind.FIRST_RESPONSE: timedelta(hours=2),
            DeadlineKind.ACCEPT: timedelta(hours=4),
            DeadlineKind.FINISH: timedelta(days=2),
            DeadlineKind.RESOLVE: timedelta(days=3),
        }
    )
    steps: tuple[Step, ...] = (
        Step(action=LadderAction.URGE, after=timedelta(0)),
        Step(action=LadderAction.ESCALATE, after=timedelta(hours=1)),
        Step(action=LadderAction.SUPERVISE, after=timedelta(hours=3)),
    )
    visits: bool = True
    answers: AnswerRules = field(default_factory=AnswerRules)

    @property
    def rules(self) -> Rules:
        return Rules(version=self.version, units=self, routing=self, limits=self, powers=self, visits=self)

    def plan(self, matter: Matter, at: datetime) -> Plan:
        category = matter.category or LAMP
        severity = matter.severity or {GAS: Severity.URGENT, LAMP: Severity.MINOR}.get(category, Severity.ORDINARY)
        level = {LAMP: Level.GRID, SEWER: Level.COMMUNITY, NOISE: Level.STREET, GAS: Level.DISTRICT}[category]
        while (holder := self.unit_at(level, matter.area)) is None:
            level = Level(level + 1)
        return Plan(
            category=category,
            severity=severity,
            level=level,
            holder=holder.code,
            targets=tuple(
                Target(unit=UnitCode(unit), role=role, required=required) for unit, role, required in _TARGETS[category]
            ),
            dispatch=category in (NOISE, GAS),
            rule=f"routing.yaml:1 {category}",
        )

    def adapter_for(self, unit: Unit, *, matter: str, area: str, category: str) -> str | None:
        return unit.adapter

    def unit(self, code: str) -> Unit | None:
        return self.units.get(code)

    def unit_at(self, level: Level, area: str) -> Unit | None:
        found = self.units.get(area[: level.code_length])
        return found if found is not None and found.level is level else None

    def is_area(self, code: str) -> bool:
        located = code
        while len(located) > 6 and located.endswith("000"):
            located = located[:-3]
        return located.isdigit() and located in self.units

    def is_category(self, code: str) -> bool:
        return code in _TARGETS

    def settle_level(self, category: str, severity: Severity) -> Level:
        return Level.COMMUNITY if severity is Severity.MAJOR else Level.GRID

    def top_level(self, category: str, severity: Severity) -> Level:
        return Level.COMMUNITY if severity is Severity.MINOR else Level.DISTRICT

    def limit(self, kind: DeadlineKind, category: str, severity: Severity) -> Limit | None:
        duration = self.limits.get(kind)
        return None if duration is None else Limit(kind=kind, duration=duration, working=False, words=str(duration))

    def due(self, start: datetime, limit: Limit) -> datetime:
        return start + limit.duration

    def left(self, now: datetime, due: datetime, limit: Limit) -> timedelta:
        return due - now

    def ladder(self, severity: Severity) -> tuple[Step, ...]:
        return self.steps

    def visit_required(self, channel: Channel, category: str, severity: Severity) -> bool:
        return self.visits

    def reopens(self, solved: Solved | None, satisfied: Satisfied | None) -> bool:
        return self.answers.reopens(solved, satisfied)

    def authority(self, what: str) -> Level:
        return {"void": Level.COMMUNITY, "merge": Level.COMMUNITY}.get(what, Level.STREET)


_TARGETS: dict[str, tuple[tuple[str, Role, bool], ...]] = {
    LAMP: (("landscaping", Role.LEAD, True),),
    NOISE: (("police", Role.LEAD, True),),
    SEWER: (("property", Role.LEAD, True), ("water", Role.SUPPORT, True)),
    GAS: (("gas", Role.LEAD, True), ("police", Role.SUPPORT, True), ("property", Role.SUPPORT, False)),
}
