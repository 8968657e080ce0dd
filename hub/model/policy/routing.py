"""Routing rules: a rule's conditions, whether it fits, and whether any matter can reach it.

Owns the rules' meaning, not their file form (`hub.config.policy`) nor the plan made of them (`policy`). There is no expression language: a
condition is a conjunction of plain sets and words. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import msgspec

from hub.model.assignments.commands import Target
from hub.model.case.state import Channel, Severity
from hub.model.district.areas import Level


class When(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A condition; empty fields ask nothing. `category` and `area` are codes or beginnings of codes."""

    category: tuple[str, ...] = ()
    area: tuple[str, ...] = ()
    channel: tuple[Channel, ...] = ()
    severity: tuple[Severity, ...] = ()
    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it fits everything."""
        return not (self.category or self.area or self.channel or self.severity or self.any or self.all)

    def misses(self, facts: Facts) -> str | None:
        """Why it does not fit, in words; None when it fits."""
        if self.category and not facts.category.startswith(self.category):
            return f"category {facts.category} is not {_either(self.category)}"
        if self.channel and facts.channel not in self.channel:
            return f"channel {facts.channel.value} is not {_either(item.value for item in self.channel)}"
        if self.severity and facts.severity not in self.severity:
            return f"severity {facts.severity.value} is not {_either(item.value for item in self.severity)}"
        if self.area and not facts.area.startswith(self.area):
            return f"area {facts.area} is not in {_either(self.area)}"
        if self.any and not any(word in facts.words for word in self.any):
            return f"none of the words {_either(self.any)} occurs"
        if self.all and (missing := next((word for word in self.all if word not in facts.words), None)) is not None:
            return f"the word {missing} does not occur"
        return None

    def fits(self, facts: Facts) -> bool:
        """Whether it fits (the same as `misses(...) is None`, without the words)."""
        return (
            (not self.category or facts.category.startswith(self.category))
            and (not self.channel or facts.channel in self.channel)
            and (not self.severity or facts.severity in self.severity)
            and (not self.area or facts.area.startswith(self.area))
            and (not self.any or any(word in facts.words for word in self.any))
            and (not self.all or all(word in facts.words for word in self.all))
        )

    def words(self, facts: Facts) -> str:
        """What of it fitted, in words: `category E0504, channel hotline`."""
        parts = []
        if self.category:
            parts.append(f"category {facts.category}")
        if self.channel:
            parts.append(f"channel {facts.channel.value}")
        if self.severity:
            parts.append(f"severity {facts.severity.value}")
        if self.area:
            parts.append(f"area {facts.area}")
        found = [word for word in self.any + self.all if word in facts.words]
        if found:
            parts.append(f"words {'、'.join(found)}")
        return ", ".join(parts) or "everything"


class Facts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What rules look at. `words` is title and text; `area` a code of the tree (never zero-filled)."""

    category: str
    severity: Severity
    channel: Channel
    area: str
    words: str


class Entry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a channel's matters get where their rule does not say."""

    level: Level
    dispatch: bool
    line: int = 0


class Rule(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A routing rule. `level` and `dispatch` None: as the channel's entry says."""

    id: str
    when: When
    line: int
    level: Level | None = None
    dispatch: bool | None = None
    targets: tuple[Target, ...] = ()
    because: str | None = None

    @property
    def where(self) -> str:
        """Where it stands: `routing.yaml:42`."""
        return f"routing.yaml:{self.line}"

    @property
    def name(self) -> str:
        """How the rule is cited: `routing.yaml:42 noise-at-night`."""
        return f"{self.where} {self.id}"


class RoutingTable:
    """The rules in order, indexed by category so that a matter looks only at those that may fit."""

    def __init__(self, rules: Sequence[Rule], categories: Iterable[str]) -> None:
        self.rules = tuple(rules)
        self._by_category = {
            code: tuple(rule for rule in self.rules if not rule.when.category or code.startswith(rule.when.category))
            for code in categories
        }

    def first(self, facts: Facts) -> Rule:
        """The first rule that fits. The last rule fits everything, so there always is one."""
        for rule in self._by_category.get(facts.category, self.rules):
            if rule.when.fits(facts):
                return rule
        return self.rules[-1]


def _either(words: Iterable[str]) -> str:
    return "/".join(words)


def _covered(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    """Whether every code `inner` allows is allowed by `outer` (both codes or beginnings; empty allows everything)."""
    if not outer:
        return True
    return bool(inner) and all(code.startswith(outer) for code in inner)


def shadows(earlier: When, later: When) -> bool:
    """Whether everything `later` fits is already taken by `earlier`."""
    return (
        _covered(later.category, earlier.category)
        and _covered(later.area, earlier.area)
        and (not earlier.channel or (bool(later.channel) and set(later.channel) <= set(earlier.channel)))
        and (not earlier.severity or (bool(later.severity) and set(later.severity) <= set(earlier.severity)))
        and (
            not earlier.any
            or (bool(later.any) and set(later.any) <= set(earlier.any))
            or bool(set(later.all) & set(earlier.any))
        )
        and set(earlier.all) <= set(later.all)
    )


def unreachable(rules: Sequence[Rule], categories: Sequence[str]) -> list[tuple[Rule, str]]:
    """Rules that no matter can reach, each with the reason.

    A rule is unreachable when one earlier rule takes everything it fits. It is, too, when earlier rules without area and word conditions
    together take every category, channel and severity it fits.
    """
    found: list[tuple[Rule, str]] = []
    taken: set[tuple[str, Channel, Severity]] = set()
    for index, rule in enumerate(rules):
        when = rule.when
        fitting = [category for category in categories if not when.category or category.startswith(when.category)]
        cells = fitting, when.channel or tuple(Channel), when.severity or tuple(Severity)
        earlier = next((before for before in rules[:index] if shadows(before.when, rule.when)), None)
        if earlier is not None:
            found.append((rule, f"rule {earlier.id} on line {earlier.line} takes everything it fits"))
        elif fitting and all(cell in taken for cell in product(*cells)):
            found.append((rule, "earlier rules together take everything it fits"))
        if not (when.area or when.any or when.all):
            taken.update(product(*cells))
    return found
