"""Reads limits.yaml and ladder.yaml: office hours, limits, visits, the steps when a limit passes, and who may grant what.

Owns the file forms; the meaning is `policy`'s. Mistakes are collected in the nodes. Called by `hub.config.policy`.
"""

from __future__ import annotations

import re
from datetime import time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from hub.config.categories import per_severity
from hub.config.nodes import YamlNode
from hub.config.routing import read_when
from hub.model.case.state import Severity
from hub.model.district.areas import Level
from hub.model.district.areatree import AreaTree
from hub.model.limits.calendar import WorkingHours
from hub.model.limits.durations import Span
from hub.model.limits.state import DeadlineKind
from hub.model.policy.categories import CategoryTree
from hub.model.policy.policy import LimitTable, VisitRule
from hub.model.policy.rules import LadderAction, Limit, Step

_HOURS = re.compile(r"^(\d{2}):(\d{2})-(\d{2}):(\d{2})$")
_GRANTS = ("suspension", "extension", "void", "merge")


class Limits(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What limits.yaml says: office hours, limits by severity, those of single categories (by code or beginning), visits."""

    hours: WorkingHours
    table: LimitTable
    overrides: dict[str, LimitTable]
    visits: tuple[VisitRule, ...]


class LimitsReader:
    """Reads one limits.yaml, whose root is `root`; hours are in `zone`."""

    def __init__(self, root: YamlNode, categories: CategoryTree, areas: AreaTree, zone: ZoneInfo) -> None:
        self._root = root
        self._categories = categories
        self._areas = areas
        self._zone = zone
        self._day = timedelta(0)

    def read(self) -> Limits | None:
        """Hours, limits and visits; None when the hours can't be read."""
        fields = self._root.fields(("hours", "severity", "categories", "visits"), required=("hours", "severity"))
        hours = self._hours(fields["hours"]) if "hours" in fields else None
        if hours is None or "severity" not in fields:
            return None
        self._day = hours.day_length
        table: dict[Severity, dict[DeadlineKind, Limit]] = {}
        for severity, child in per_severity(fields["severity"]).items():
            table[severity] = self._table(child)
            for kind in DeadlineKind:
                if kind not in table[severity]:
                    child.complain(f"limit {kind.value} is missing for {severity.value}")
        overrides: dict[str, LimitTable] = {}
        for code, child in fields["categories"].entries().items() if "categories" in fields else ():
            if not self._categories.known(code):
                child.complain(f"no category starts with {code!r}")
            names = [severity.value for severity in Severity]
            overrides[code] = {Severity(name): self._table(item) for name, item in child.fields(names).items()}
        visits = (self._visit(item) for item in fields["visits"].items()) if "visits" in fields else ()
        return Limits(hours=hours, table=table, overrides=overrides, visits=tuple(rule for rule in visits if rule is not None))

    def _hours(self, node: YamlNode) -> WorkingHours | None:
        found: list[tuple[time, time]] = []
        for item in node.items():
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
            node.complain(str(error))
            return None

    def _limit(self, kind: DeadlineKind, span: Span) -> Limit:
        return Limit(kind=kind, duration=span.amount + span.days * self._day, working=span.working, words=span.words)

    def _table(self, node: YamlNode) -> dict[DeadlineKind, Limit]:
        found: dict[DeadlineKind, Limit] = {}
        for name, child in node.fields([kind.value for kind in DeadlineKind]).items():
            span = child.span()
            if span is None:
                continue
            kind = DeadlineKind(name)
            found[kind] = self._limit(kind, span)
            if not found[kind].duration:
                child.complain("a limit must be longer than zero")
        return found

    def _visit(self, node: YamlNode) -> VisitRule | None:
        fields = node.fields(("when", "visit"), required=("when", "visit"))
        if not {"when", "visit"} <= fields.keys():
            return None
        when = read_when(fields["when"], self._categories, self._areas)
        if when.area or when.any or when.all:
            fields["when"].complain("visits look at channel, category and severity only")
        return VisitRule(when=when, visit=fields["visit"].boolean(), line=node.line)


def read_ladder(root: YamlNode) -> tuple[dict[Severity, tuple[Step, ...]], dict[str, Level]]:
    """The steps per severity and who may grant what, out of ladder.yaml."""
    fields = root.fields(("severity", "authority"), required=("severity", "authority"))
    steps: dict[Severity, tuple[Step, ...]] = {}
    for severity, child in per_severity(fields["severity"]).items() if "severity" in fields else ():
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
