"""From the policy's texts to a `Policy`, with every mistake named by file, line and key.

Owns the file form of categories.yaml, routing.yaml, limits.yaml, ladder.yaml and of district.yaml's zone. Reads no files: texts come
from `hub.config` or out of the ledger (a published version). Refuses unknown keys, units, categories and areas, rules nothing can
reach, duplicates and gaps (every severity, every channel). Called by `hub.config` and by whoever loads a published policy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hub.errors import ConfigError
from hub.model.areas import Level, UnitCode
from hub.model.areatree import AreaTree
from hub.model.calendar import WorkingHours
from hub.model.cases import Channel, DeadlineKind, Role, Severity
from hub.model.categories import Category, CategoryTree, Raise, Standing
from hub.model.commands import Target
from hub.model.marked import Mark, read_yaml
from hub.model.policy import Policy, VisitRule
from hub.model.routing import Entry, Rule, RuleBook, When, unreachable
from hub.model.rules import LadderAction, Limit, Step
from hub.model.spans import Span
from hub.model.units import Directory

DISTRICT = "district.yaml"
CATEGORIES = "policy/categories.yaml"
ROUTING = "policy/routing.yaml"
LIMITS = "policy/limits.yaml"
LADDER = "policy/ladder.yaml"
SOURCES = (DISTRICT, CATEGORIES, ROUTING, LIMITS, LADDER)
"""The files a policy is made of, relative to the configuration directory."""

_CODE = re.compile(r"^[A-Z]\d{4}$")
_MAJOR = re.compile(r"^[A-Z]\d{2}$")
_RULE_ID = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
_HOURS = re.compile(r"^(\d{2}):(\d{2})-(\d{2}):(\d{2})$")
_GRANTS = ("suspension", "extension", "void", "merge")


def raise_first(problems: list[ConfigError]) -> None:
    """Raise the first problem, with the number of the others in its text; nothing when there is none."""
    if not problems:
        return
    first = problems[0]
    more = f" (and {len(problems) - 1} more; `hub policy check` lists them)" if len(problems) > 1 else ""
    raise ConfigError(f"{first.reason}{more}", file=first.file, line=first.line, key=first.key)


def policy_from_sources(
    sources: Mapping[str, str], areas: AreaTree, directory: Directory, version: int = 0, *, zone: ZoneInfo | None = None
) -> Policy:
    """Build a policy from its texts (`Policy.sources`); `zone` is used instead of district.yaml's.

    Raises ConfigError for the first mistake, with the count of all.
    """
    problems: list[ConfigError] = []
    policy = read_policy(sources, areas, directory, problems, version=version, zone=zone)
    raise_first(problems)
    if policy is None:
        raise ConfigError("the policy can't be read")
    return policy


def read_policy(
    sources: Mapping[str, str],
    areas: AreaTree,
    directory: Directory,
    problems: list[ConfigError],
    *,
    version: int = 0,
    zone: ZoneInfo | None = None,
) -> Policy | None:
    """Build a policy, collecting all mistakes in `problems`; None when there are any."""
    before = len(problems)
    roots: dict[str, Mark] = {}
    for name in SOURCES:
        if name not in sources:
            problems.append(ConfigError("the file is missing", file=name))
        elif (root := read_yaml(sources[name], name, problems)) is not None:
            roots[name] = root
    if len(roots) < len(SOURCES):
        return None
    zone = zone or read_zone(roots[DISTRICT])
    categories = _Categories(roots[CATEGORIES]).read()
    if categories is None or zone is None:
        return None
    routing = _Routing(roots[ROUTING], categories, areas, directory)
    rules, entries = routing.read()
    limits = _Limits(roots[LIMITS], categories, areas, directory, zone)
    parsed = limits.read()
    steps, authorities = _ladder(roots[LADDER])
    if len(problems) > before or parsed is None:
        return None
    hours, table, overrides, visits = parsed
    return Policy(
        areas=areas,
        directory=directory,
        categories=categories,
        book=RuleBook(rules, [category.code for category in categories]),
        entries=entries,
        limits=table,
        category_limits=overrides,
        visits=visits,
        steps=steps,
        authorities=authorities,
        hours=hours,
        sources={name: sources[name] for name in SOURCES},
        version=version,
    )


def read_zone(root: Mark) -> ZoneInfo | None:
    """The district's zone out of district.yaml."""
    mark = root.entries().get("zone")
    if mark is None:
        root.complain("key 'zone' is missing")
        return None
    try:
        return ZoneInfo(mark.text())
    except (ZoneInfoNotFoundError, ValueError):
        mark.complain("not a time zone's name (such as Asia/Shanghai)")
        return None


def read_when(mark: Mark, categories: CategoryTree, areas: AreaTree) -> When:
    """A condition; complains about categories and areas that do not exist."""
    fields = mark.fields(("category", "area", "channel", "severity", "any", "all"))
    codes = fields["category"].words() if "category" in fields else ()
    for code in codes:
        if not categories.known(code):
            fields["category"].complain(f"no category starts with {code!r}")
    places = fields["area"].words() if "area" in fields else ()
    for code in places:
        if code not in areas:
            fields["area"].complain(f"no area has the code {code!r}")
    return When(
        category=codes,
        area=places,
        channel=fields["channel"].choices(Channel) if "channel" in fields else (),
        severity=fields["severity"].choices(Severity) if "severity" in fields else (),
        any=fields["any"].words() if "any" in fields else (),
        all=fields["all"].words() if "all" in fields else (),
    )


def _per_severity(mark: Mark) -> dict[Severity, Mark]:
    """A mapping with one entry for every severity; complains about gaps."""
    names = [severity.value for severity in Severity]
    return {Severity(name): child for name, child in mark.fields(names, required=names).items()}


class _Categories:
    """Reads categories.yaml."""

    def __init__(self, root: Mark) -> None:
        self._root = root
        self._lines: dict[str, int] = {}

    def read(self) -> CategoryTree | None:
        fields = self._root.fields(
            ("default", "duplicates", "levels", "raise", "classes"), required=("default", "levels", "classes")
        )
        if not {"default", "levels", "classes"} <= fields.keys():
            return None
        window = self._window(fields["duplicates"]) if "duplicates" in fields else None
        standing = self._standing(fields["levels"])
        categories = self._classes(fields["classes"], window)
        default = fields["default"].text()
        if default not in self._lines:
            fields["default"].complain(f"no category has the code {default!r}")
            return None
        if len(standing) < len(Severity):
            return None
        return CategoryTree(categories, default=default, standing=standing, raises=self._raises(fields.get("raise")))

    @staticmethod
    def _window(mark: Mark) -> timedelta | None:
        return None if mark.text() == "none" else mark.clock_span()

    @staticmethod
    def _standing(mark: Mark) -> dict[Severity, Standing]:
        found: dict[Severity, Standing] = {}
        for severity, child in _per_severity(mark).items():
            fields = child.fields(("settle", "top"), required=("settle", "top"))
            settle = fields["settle"].level() if "settle" in fields else None
            top = fields["top"].level() if "top" in fields else None
            if settle is None or top is None:
                continue
            if top < settle:
                child.complain("top is below settle: nobody could settle it")
            found[severity] = Standing(settle=settle, top=top)
        return found

    def _raises(self, mark: Mark | None) -> list[Raise]:
        found: list[Raise] = []
        for item in mark.items() if mark is not None else ():
            fields = item.fields(("to", "where", "categories", "words"), required=("to", "words"))
            to = fields["to"].choice(Severity) if "to" in fields else None
            where = fields["where"].text() if "where" in fields else "title"
            if where not in ("title", "anywhere"):
                fields["where"].complain("title or anywhere is expected here")
            codes = fields["categories"].words() if "categories" in fields else ()
            for code in codes:
                if not any(known.startswith(code) for known in self._lines):
                    fields["categories"].complain(f"no category starts with {code!r}")
            words = fields["words"].words() if "words" in fields else ()
            if to is not None and words:
                found.append(Raise(to=to, words=words, title_only=where == "title", categories=codes, line=item.line))
        return found

    def _classes(self, mark: Mark, window: timedelta | None) -> list[Category]:
        categories: list[Category] = []
        for major, child in mark.entries().items():
            if not _MAJOR.match(major):
                child.complain(f"{major!r} is not a major code (a letter and two digits)")
            fields = child.fields(("name", "minor"), required=("name", "minor"))
            if not {"name", "minor"} <= fields.keys():
                continue
            name = fields["name"].text()
            for code, minor in fields["minor"].entries().items():
                if not _CODE.match(code) or not code.startswith(major):
                    minor.complain(f"{code!r} is not a minor code of {major} ({major} and two digits)")
                if code in self._lines:
                    minor.complain(f"category {code} is given twice (first on line {self._lines[code]})")
                    continue
                self._lines[code] = minor.line
                if (category := self._category(code, minor, major, name, window)) is not None:
                    categories.append(category)
        self._check_keywords(mark, categories)
        return categories

    def _category(self, code: str, mark: Mark, major: str, major_name: str, window: timedelta | None) -> Category | None:
        fields = mark.fields(
            ("name", "severity", "keywords", "settle", "top", "duplicates", "covers"), required=("name", "severity", "keywords")
        )
        severity = fields["severity"].choice(Severity) if "severity" in fields else None
        if severity is None or "name" not in fields or "keywords" not in fields:
            return None
        settle = fields["settle"].level() if "settle" in fields else None
        top = fields["top"].level() if "top" in fields else None
        if settle is not None and top is not None and top < settle:
            mark.complain("top is below settle: nobody could settle it")
        return Category(
            code=code,
            name=fields["name"].text(),
            major=major,
            major_name=major_name,
            severity=severity,
            settle=settle,
            top=top,
            duplicates=self._window(fields["duplicates"]) if "duplicates" in fields else window,
            covers=fields["covers"].boolean() if "covers" in fields else False,
            keywords=tuple(item.words() if item.is_list else (item.text(),) for item in fields["keywords"].items()),
            line=mark.line,
        )

    @staticmethod
    def _check_keywords(mark: Mark, categories: list[Category]) -> None:
        """Complain about a keyword given twice in one category."""
        for category in categories:
            repeated = sorted({"+".join(words) for words in category.keywords if category.keywords.count(words) > 1})
            for words in repeated:
                mark.complain(f"category {category.code} (line {category.line}) lists the keyword {words} twice")


class _Routing:
    """Reads routing.yaml."""

    def __init__(self, root: Mark, categories: CategoryTree, areas: AreaTree, directory: Directory) -> None:
        self._root = root
        self._categories = categories
        self._areas = areas
        self._directory = directory

    def read(self) -> tuple[list[Rule], dict[Channel, Entry]]:
        fields = self._root.fields(("entry", "rules"), required=("entry", "rules"))
        entries = self._entries(fields["entry"]) if "entry" in fields else {}
        rules: list[Rule] = []
        marks: dict[str, Mark] = {}
        for item in fields["rules"].items() if "rules" in fields else ():
            rule = self._rule(item)
            if rule is None:
                continue
            if rule.id in marks:
                item.complain(f"rule {rule.id} is given twice (first on line {marks[rule.id].line})")
                continue
            marks[rule.id] = item
            rules.append(rule)
        if not rules or not rules[-1].when.empty:
            self._root.complain("the last rule must fit everything (`when: {}`), so that every matter gets a plan")
        for rule, why in unreachable(rules, [category.code for category in self._categories]):
            marks[rule.id].complain(f"rule {rule.id} can't be reached: {why}")
        return rules, entries

    @staticmethod
    def _entries(mark: Mark) -> dict[Channel, Entry]:
        names = [channel.value for channel in Channel]
        entries: dict[Channel, Entry] = {}
        for name, child in mark.fields(names, required=names).items():
            fields = child.fields(("level", "dispatch"), required=("level", "dispatch"))
            level = fields["level"].level() if "level" in fields else None
            if level is not None and "dispatch" in fields:
                entries[Channel(name)] = Entry(level=level, dispatch=_now(fields["dispatch"]), line=child.line)
        return entries

    def _rule(self, mark: Mark) -> Rule | None:
        fields = mark.fields(
            ("id", "when", "level", "lead", "support", "optional", "dispatch", "because"), required=("id", "when")
        )
        if not {"id", "when"} <= fields.keys():
            return None
        id = fields["id"].text()
        if not _RULE_ID.match(id):
            fields["id"].complain(f"{id!r} is not a rule's id (lower-case words joined by hyphens)")
        targets: list[Target] = []
        for name, role, required in (
            ("lead", Role.LEAD, True),
            ("support", Role.SUPPORT, True),
            ("optional", Role.SUPPORT, False),
        ):
            for item in self._targets(fields.get(name)):
                target = self._target(item, role, required)
                if target is None:
                    continue
                if any(other.unit == target.unit for other in targets):
                    item.complain(f"unit {target.unit} is named twice in rule {id}")
                    continue
                targets.append(target)
        dispatch = _now(fields["dispatch"]) if "dispatch" in fields else None
        if dispatch and not any(target.role is Role.LEAD for target in targets):
            fields["dispatch"].complain("dispatch now needs a lead unit")
        return Rule(
            id=id,
            when=read_when(fields["when"], self._categories, self._areas),
            where=mark.where,
            line=mark.line,
            level=fields["level"].level() if "level" in fields else None,
            dispatch=dispatch,
            targets=tuple(targets),
            because=fields["because"].text() if "because" in fields else None,
        )

    @staticmethod
    def _targets(mark: Mark | None) -> list[Mark]:
        return list(mark.items()) if mark is not None else []

    def _target(self, mark: Mark, role: Role, required: bool) -> Target | None:
        task: str | None = None
        if mark.is_mapping:
            fields = mark.fields(("unit", "task"), required=("unit",))
            if "unit" not in fields:
                return None
            code = fields["unit"].text()
            task = fields["task"].text() if "task" in fields else None
        else:
            code = mark.text()
        if code not in self._directory:
            mark.complain(f"no unit has the code {code!r} (units.yaml)")
            return None
        return Target(unit=UnitCode(code), role=role, required=required, task=task)


def _now(mark: Mark) -> bool:
    word = mark.text()
    if word not in ("now", "hold"):
        mark.complain("now or hold is expected here")
    return word == "now"


class _Limits:
    """Reads limits.yaml."""

    def __init__(self, root: Mark, categories: CategoryTree, areas: AreaTree, directory: Directory, zone: ZoneInfo) -> None:
        self._root = root
        self._categories = categories
        self._areas = areas
        self._directory = directory
        self._zone = zone
        self._day = timedelta(0)

    def read(
        self,
    ) -> (
        tuple[
            WorkingHours,
            dict[Severity, dict[DeadlineKind, Limit]],
            dict[str, dict[Severity, dict[DeadlineKind, Limit]]],
            tuple[VisitRule, ...],
        ]
        | None
    ):
        fields = self._root.fields(("hours", "severity", "categories", "visits"), required=("hours", "severity"))
        hours = self._hours(fields["hours"]) if "hours" in fields else None
        if hours is None or "severity" not in fields:
            return None
        self._day = hours.day_length
        table: dict[Severity, dict[DeadlineKind, Limit]] = {}
        for severity, child in _per_severity(fields["severity"]).items():
            table[severity] = self._table(child)
            for kind in DeadlineKind:
                if kind not in table[severity]:
                    child.complain(f"limit {kind.value} is missing for {severity.value}")
        overrides: dict[str, dict[Severity, dict[DeadlineKind, Limit]]] = {}
        for code, child in fields["categories"].entries().items() if "categories" in fields else ():
            if not self._categories.known(code):
                child.complain(f"no category starts with {code!r}")
            names = [severity.value for severity in Severity]
            overrides[code] = {Severity(name): self._table(item) for name, item in child.fields(names).items()}
        visits = (self._visit(item) for item in fields["visits"].items()) if "visits" in fields else ()
        return hours, table, overrides, tuple(rule for rule in visits if rule is not None)

    def _hours(self, mark: Mark) -> WorkingHours | None:
        found: list[tuple[time, time]] = []
        for item in mark.items():
            match = _HOURS.match(item.text())
            try:
                if match is None:
                    raise ValueError
                numbers = [int(part) for part in match.groups()]
                found.append((time(numbers[0], numbers[1]), time(numbers[2], numbers[3])))
            except ValueError:
                item.complain("working hours are written 09:00-12:00")
        try:
            return WorkingHours(found, self._zone)
        except ValueError as error:
            mark.complain(str(error))
            return None

    def _limit(self, kind: DeadlineKind, span: Span) -> Limit:
        return Limit(kind=kind, duration=span.amount + span.days * self._day, working=span.working, words=span.words)

    def _table(self, mark: Mark) -> dict[DeadlineKind, Limit]:
        found: dict[DeadlineKind, Limit] = {}
        for name, child in mark.fields([kind.value for kind in DeadlineKind]).items():
            span = child.span()
            if span is None:
                continue
            kind = DeadlineKind(name)
            found[kind] = self._limit(kind, span)
            if not found[kind].duration:
                child.complain("a limit must be longer than zero")
        return found

    def _visit(self, mark: Mark) -> VisitRule | None:
        fields = mark.fields(("when", "visit"), required=("when", "visit"))
        if not {"when", "visit"} <= fields.keys():
            return None
        when = read_when(fields["when"], self._categories, self._areas)
        if when.area or when.any or when.all:
            fields["when"].complain("visits look at channel, category and severity only")
        return VisitRule(when=when, visit=fields["visit"].boolean(), line=mark.line)


def _ladder(root: Mark) -> tuple[dict[Severity, tuple[Step, ...]], dict[str, Level]]:
    """Reads ladder.yaml."""
    fields = root.fields(("severity", "authority"), required=("severity", "authority"))
    steps: dict[Severity, tuple[Step, ...]] = {}
    for severity, child in _per_severity(fields["severity"]).items() if "severity" in fields else ():
        found: list[Step] = []
        for item in child.items():
            parts = item.fields(("after", "action"), required=("after", "action"))
            after = parts["after"].clock_span() if "after" in parts else None
            action = parts["action"].choice(LadderAction) if "action" in parts else None
            if after is None or action is None:
                continue
            if found and after <= found[-1].after:
                item.complain("steps must ascend")
            found.append(Step(action=action, after=after))
        if not found:
            child.complain("a ladder needs at least one step")
        steps[severity] = tuple(found)
    authorities: dict[str, Level] = {}
    for name, child in fields["authority"].fields(_GRANTS, required=_GRANTS).items() if "authority" in fields else ():
        if (level := child.level()) is not None:
            authorities[name] = level
    return steps, authorities
