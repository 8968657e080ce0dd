"""Reads routing.yaml: the rules, and what channels get where a rule does not say.

Owns the file's form; the meaning is `hub.model.policy.routing`'s. Refuses rules nothing can reach. Called by `hub.config.policy`.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, model_validator

from hub.config.documents import Document, Form, Place, refuse
from hub.config.fields import AreaName, CategoryStart, Known, LevelWord, Several, Text, UnitName, every, matching, one_of
from hub.model.assignments.commands import Target
from hub.model.assignments.state import Role
from hub.model.case.state import Channel, Severity
from hub.model.policy.categories import CategoryTree
from hub.model.policy.routing import Entry, Rule, When, unreachable

Dispatch = Annotated[bool, one_of({"now": True, "hold": False})]
RuleId = Annotated[Text, matching(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", "a rule's id (lower-case words joined by hyphens)")]


class WhenForm(Form):
    """What decides beside place and words: all that limits and visits look at."""

    category: Several[CategoryStart] = ()
    channel: Several[Channel] = ()
    severity: Several[Severity] = ()

    def when(self) -> When:
        """The condition it describes."""
        return When(**dict(self))


class _When(WhenForm):
    area: Several[AreaName] = ()
    any: Several[Text] = ()
    all: Several[Text] = ()


class _Target(Form):
    unit: UnitName
    task: Text | None = None


_Targets = tuple[Annotated[_Target, BeforeValidator(lambda value: {"unit": value} if isinstance(value, str) else value)], ...]


class _Rule(Form):
    id: RuleId
    when: _When
    level: LevelWord | None = None
    lead: _Targets = ()
    support: _Targets = ()
    optional: _Targets = ()
    dispatch: Dispatch | None = None
    because: Text | None = None

    @model_validator(mode="after")
    def _names_each_unit_once_and_a_lead(self) -> Self:
        places = [(part, index) for part in ("lead", "support", "optional") for index in range(len(getattr(self, part)))]
        units = [target.unit for target in self.targets()]
        wrong: list[tuple[Place, str]] = [
            (place, f"unit {unit} is named twice in rule {self.id}")
            for number, (place, unit) in enumerate(zip(places, units, strict=True))
            if unit in units[:number]
        ]
        if self.dispatch and not self.lead:
            wrong.append((("dispatch",), "dispatch now needs a lead unit"))
        refuse(wrong)
        return self

    def targets(self) -> list[Target]:
        """Who gets an assignment, lead units first."""
        parts = ((self.lead, Role.LEAD, True), (self.support, Role.SUPPORT, True), (self.optional, Role.SUPPORT, False))
        return [Target(**dict(one), role=role, required=required) for part, role, required in parts for one in part]


class _Entry(Form):
    level: LevelWord
    dispatch: Dispatch


class _Routing(Form):
    entry: Annotated[dict[Channel, _Entry], every(*Channel)]
    rules: tuple[_Rule, ...]


def read_routing(
    document: Document, known: Known, categories: CategoryTree | None
) -> tuple[list[Rule], dict[Channel, Entry]] | None:
    """The rules in order, and what each channel gets where a rule does not say; None when the file does not fit its form.

    Which rules can be reached is known with `categories` only.
    """
    form = document.form(_Routing, known)
    if form is None:
        return None
    rules = [
        Rule(
            id=one.id,
            when=one.when.when(),
            line=document.line("rules", index),
            level=one.level,
            dispatch=one.dispatch,
            targets=tuple(one.targets()),
            because=one.because,
        )
        for index, one in enumerate(form.rules)
    ]
    first: dict[str, Rule] = {}
    for index, rule in enumerate(rules):
        if first.setdefault(rule.id, rule) is not rule:
            document.complain(("rules", index), f"rule {rule.id} is given twice (first on line {first[rule.id].line})")
    if not rules or not rules[-1].when.empty:
        document.complain((), "the last rule must fit everything (`when: {}`), so that every matter gets a plan")
    for rule, why in unreachable(rules, [category.code for category in categories or ()]):
        document.complain(("rules", rules.index(rule)), f"rule {rule.id} can't be reached: {why}")
    entries = {channel: Entry(**dict(one), line=document.line("entry", channel)) for channel, one in form.entry.items()}
    return rules, entries
