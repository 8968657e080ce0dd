"""The policy 规则: answers everything `decide` asks (`hub.model.policy.rules`) from one published, numbered set of rules.

Owns the answers; the file form is `hub.config.policy`'s. Total: every matter gets a plan, at worst the centre's backstop 兜底. Pure and
deterministic for one version; no clock. Called by the lifecycle, intake, linkage and the CLI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import msgspec

from hub.model.answers import AnswerRules, Satisfied, Solved
from hub.model.assignments.commands import Target
from hub.model.case.state import Channel, Severity
from hub.model.district.areas import Level, Unit
from hub.model.district.areatree import AreaTree
from hub.model.district.units import Directory
from hub.model.limits.calendar import Calendar, WorkingHours
from hub.model.limits.state import DeadlineKind
from hub.model.policy.bindings import Binding, adapter_for
from hub.model.policy.categories import Category, CategoryTree
from hub.model.policy.routing import Entry, Facts, RoutingTable, When
from hub.model.policy.rules import Limit, Matter, Plan, Rules, Step

LimitTable = Mapping[Severity, Mapping[DeadlineKind, Limit]]


class VisitRule(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Whether reporters of such matters are visited before closing."""

    when: When
    visit: bool
    line: int = 0


class Looked(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An examined rule: its place, its id, whether it fits and why (not)."""

    where: str
    rule: str
    fits: bool
    why: str


class Explanation(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Why a matter goes where it goes: the plan, every rule up to the one that decided, and the limits that start at `at`."""

    plan: Plan
    category_path: tuple[str, ...]
    area_path: tuple[str, ...]
    looked: tuple[Looked, ...]
    limits: tuple[tuple[Limit, datetime], ...]

    def summary(self) -> dict[str, object]:
        """A JSON-ready dict: the plan's fields in words, `looked` (where, rule, fits, why) and `limits` (kind, words, due_at)."""
        return {
            "category": self.plan.category,
            "category_path": list(self.category_path),
            "severity": self.plan.severity.value,
            "area_path": list(self.area_path),
            "level": self.plan.level.word,
            "holder": self.plan.holder,
            "targets": [
                {"unit": target.unit, "role": target.role.value, "required": target.required, "task": target.task}
                for target in self.plan.targets
            ],
            "dispatch": self.plan.dispatch,
            "rule": self.plan.rule,
            "because": list(self.plan.because),
            "looked": [
                {"where": looked.where, "rule": looked.rule, "fits": looked.fits, "why": looked.why} for looked in self.looked
            ],
            "limits": [
                {"kind": limit.kind.value, "words": limit.words, "due_at": due.isoformat()} for limit, due in self.limits
            ],
        }


class _Triage(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    category: Category
    facts: Facts
    because: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Policy:
    """One version of the rules of one district. Build it with `hub.config.policy.policy_from_sources`."""

    areas: AreaTree
    directory: Directory
    categories: CategoryTree
    book: RoutingTable
    entries: Mapping[Channel, Entry]
    limits: LimitTable
    category_limits: Mapping[str, LimitTable]
    visits: tuple[VisitRule, ...]
    steps: Mapping[Severity, tuple[Step, ...]]
    authorities: Mapping[str, Level]
    hours: WorkingHours
    calendar: Calendar
    """The days that `hours` are laid over."""
    sources: Mapping[str, str]
    """File name → text of every file the policy was read from. Publishing stores these texts."""
    version: int = 0
    answers: AnswerRules = field(default_factory=AnswerRules)
    """Which of the reporters' answers reopen a case, and which count in rates."""
    bindings: tuple[Binding, ...] = ()
    """What each adapter instance serves at present. It is not published with the policy."""

    @cached_property
    def rules(self) -> Rules:
        """These rules as `decide` sees them."""
        return Rules(version=self.version, units=self, routing=self, limits=self, powers=self, visits=self)

    def with_bindings(self, bindings: tuple[Binding, ...]) -> Policy:
        """The same rules with the instances as they are now."""
        return replace(self, bindings=bindings)

    def adapter_for(self, unit: Unit, *, matter: str, area: str, category: str) -> str | None:
        """The adapter instance that takes an assignment of a unit; None: the unit works in the hub."""
        return adapter_for(unit, self.bindings, matter=matter, area=area, category=category)

    def with_version(self, version: int) -> Policy:
        """The same rules under a published number."""
        return replace(self, version=version)

    def unit(self, code: str) -> Unit | None:
        """The unit with that code, or None."""
        return self.directory.get(code)

    def unit_at(self, level: Level, area: str) -> Unit | None:
        """The level's own unit responsible for `area`; None when the area is not located that deep."""
        return self.directory.at(level, area)

    def is_area(self, code: str) -> bool:
        """Whether such an area exists (or it is a zero-filled code of one that does)."""
        return self.areas.resolve(code) is not None

    def recognises(self, title: str, text: str) -> bool:
        """Whether a word in them names a category; else a report without one gets the default."""
        return bool(self.categories.classify(title, text).words)

    def is_category(self, code: str) -> bool:
        """Whether such a category exists."""
        return self.categories.find(code) is not None

    def category(self, code: str) -> Category | None:
        """The category with that code (name, path, keywords …), or None."""
        return self.categories.find(code)

    def plan(self, matter: Matter, at: datetime) -> Plan:
        """Route a matter. Total: unknown areas count as the district, unknown categories as not given.

        `at` is the time of the report. No rule looks at it today; the signature leaves room for rules by time.
        """
        return self._plan(self._triage(matter))

    def _triage(self, matter: Matter) -> _Triage:
        because: list[str] = []
        category = self.categories.find(matter.category) if matter.category else None
        if category is not None:
            because.append(f"category {category.code} {category.name}: given with the report")
        else:
            guess = self.categories.classify(matter.title, matter.text)
            category = guess.category
            ground = f"words {'、'.join(guess.words)} (score {guess.score})" if guess.words else "no keyword found, the default"
            because.append(f"category {category.code} {category.name}: categories.yaml:{category.line}, {ground}")
        if matter.severity is not None:
            severity = matter.severity
            because.append(f"severity {severity.value}: given with the report")
        else:
            severity, word, line = self.categories.severity(category, matter.title, matter.text)
            ground = f"raised by the word {word}" if word else "the category's own"
            because.append(f"severity {severity.value}: categories.yaml:{line}, {ground}")
        area = self.areas.resolve(matter.area) or self.areas.district
        facts = Facts(
            category=category.code,
            severity=severity,
            channel=matter.channel,
            area=area.code,
            words=f"{matter.title}\n{matter.text}",
        )
        return _Triage(category=category, facts=facts, because=tuple(because))

    def _plan(self, triage: _Triage) -> Plan:
        facts = triage.facts
        because = list(triage.because)
        rule = self.book.first(facts)
        because.append(f"rule {rule.name}: {rule.when.words(facts)}" + (f"; {rule.because}" if rule.because else ""))
        entry = self.entries[facts.channel]
        wanted = rule.level if rule.level is not None else entry.level
        if rule.level is None:
            because.append(f"level {wanted.word}: routing.yaml:{entry.line}, channel {facts.channel.value}")
        holder = self.directory.nearest(wanted, facts.area)
        level = holder.level if holder.level is not None else Level.DISTRICT
        if level is not wanted:
            because.append(f"held by {holder.name}: {facts.area} is not located at {wanted.word} level")
        targets: list[Target] = []
        for target in rule.targets:
            unit = self.directory.get(target.unit)
            if unit is not None and unit.serves(facts.area):
                targets.append(target)
            else:
                because.append(f"{target.unit} left out: it does not serve {facts.area}")
        led = any(target.role == "lead" for target in targets)
        dispatch = (rule.dispatch if rule.dispatch is not None else entry.dispatch) and led
        return Plan(
            category=facts.category,
            severity=facts.severity,
            level=level,
            holder=holder.code,
            targets=tuple(targets),
            dispatch=dispatch,
            rule=rule.name,
            because=tuple(because),
        )

    def explain(self, matter: Matter, at: datetime) -> Explanation:
        """The plan with every examined rule, file and line, and the limits of a matter reported at `at`."""
        triage = self._triage(matter)
        plan = self._plan(triage)
        looked: list[Looked] = []
        for rule in self.book.rules:
            miss = rule.when.misses(triage.facts)
            looked.append(Looked(where=rule.where, rule=rule.id, fits=miss is None, why=miss or rule.when.words(triage.facts)))
            if miss is None:
                break
        limits = []
        for kind in DeadlineKind:
            limit = self.limit(kind, plan.category, plan.severity)
            if limit is not None:
                limits.append((limit, self.due(at, limit)))
        return Explanation(
            plan=plan,
            category_path=triage.category.path,
            area_path=self.areas.path(triage.facts.area),
            looked=tuple(looked),
            limits=tuple(limits),
        )

    def settle_level(self, category: str, severity: Severity) -> Level:
        """The lowest level that may settle such a matter itself."""
        return self.categories.settle(category, severity)

    def top_level(self, category: str, severity: Severity) -> Level:
        """The highest level such a matter may be escalated to by a person; the ladder may go beyond."""
        return self.categories.top(category, severity)

    def limit(self, kind: DeadlineKind, category: str, severity: Severity) -> Limit | None:
        """The limit of a kind: the longest category code that names one for the severity, else the severity's; None when none."""
        for length in range(len(category), 0, -1):
            table = self.category_limits.get(category[:length])
            if table is not None:
                found = table.get(severity, {}).get(kind)
                if found is not None:
                    return found
        return self.limits[severity].get(kind)

    def due(self, start: datetime, limit: Limit) -> datetime:
        """When a limit that starts at `start` ends (UTC)."""
        if limit.working:
            return self.hours.add_working(start, limit.duration)
        return start.astimezone(UTC) + limit.duration

    def left(self, now: datetime, due: datetime, limit: Limit) -> timedelta:
        """Time left of a limit on its own calendar, negative when passed.

        A limit of that duration, started at `now`, ends at `due` again. If `due` lies outside working time, it ends at the close before.
        """
        return self.hours.working_between(now, due) if limit.working else due - now

    def ladder(self, severity: Severity) -> tuple[Step, ...]:
        """The steps taken when a limit passes."""
        return self.steps[severity]

    def visit_required(self, channel: Channel, category: str, severity: Severity) -> bool:
        """Whether the reporter must be visited before closing; yes unless a rule says no."""
        facts = Facts(category=category, severity=severity, channel=channel, area="", words="")
        return next((rule.visit for rule in self.visits if rule.when.fits(facts)), True)

    def reopens(self, solved: Solved | None, satisfied: Satisfied | None) -> bool:
        """Whether such answers open a case again."""
        return self.answers.reopens(solved, satisfied)

    def authority(self, what: str) -> Level:
        """The lowest level that may grant `suspension`, `extension`, `void`, `merge`. Unknown words: the district."""
        return self.authorities.get(what, Level.DISTRICT)

    def duplicate_window(self, category: str) -> timedelta | None:
        """Within what time the same place and category is suspected to be the same matter; None: never."""
        found = self.categories.find(category)
        return found.duplicates if found is not None else None

    def covers_attach(self, category: str) -> bool:
        """Whether reports from an area that a notice of this category covers attach to the notice."""
        found = self.categories.find(category)
        return found is not None and found.covers
