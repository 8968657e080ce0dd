"""Reads routing.yaml: the rules, and what channels get where a rule does not say.

Owns the file form; the meaning is `routing`'s. Refuses unknown units, categories and areas, and rules nothing can reach. Mistakes
are collected in the nodes. Called by `hub.config.policy`.
"""

from __future__ import annotations

import re

from hub.config.nodes import YamlNode
from hub.model.assignments.commands import Target
from hub.model.assignments.state import Role
from hub.model.case.state import Channel, Severity
from hub.model.district.areas import UnitCode
from hub.model.district.areatree import AreaTree
from hub.model.district.units import Directory
from hub.model.policy.categories import CategoryTree
from hub.model.policy.routing import Entry, Rule, When, unreachable

_RULE_ID = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")


def read_when(node: YamlNode, categories: CategoryTree, areas: AreaTree) -> When:
    """A condition; complains about categories and areas that do not exist."""
    fields = node.fields(("category", "area", "channel", "severity", "any", "all"))
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


class RoutingReader:
    """Reads one routing.yaml, whose root is `root`."""

    def __init__(self, root: YamlNode, categories: CategoryTree, areas: AreaTree, directory: Directory) -> None:
        self._root = root
        self._categories = categories
        self._areas = areas
        self._directory = directory

    def read(self) -> tuple[list[Rule], dict[Channel, Entry]]:
        """The rules in order and what each channel gets where a rule does not say."""
        fields = self._root.fields(("entry", "rules"), required=("entry", "rules"))
        entries = self._entries(fields["entry"]) if "entry" in fields else {}
        rules: list[Rule] = []
        nodes: dict[str, YamlNode] = {}
        for item in fields["rules"].items() if "rules" in fields else ():
            rule = self._rule(item)
            if rule is None:
                continue
            if rule.id in nodes:
                item.complain(f"rule {rule.id} is given twice (first on line {nodes[rule.id].line})")
                continue
            nodes[rule.id] = item
            rules.append(rule)
        if not rules or not rules[-1].when.empty:
            self._root.complain("the last rule must fit everything (`when: {}`), so that every matter gets a plan")
        for rule, why in unreachable(rules, [category.code for category in self._categories]):
            nodes[rule.id].complain(f"rule {rule.id} can't be reached: {why}")
        return rules, entries

    @staticmethod
    def _entries(node: YamlNode) -> dict[Channel, Entry]:
        names = [channel.value for channel in Channel]
        entries: dict[Channel, Entry] = {}
        for name, child in node.fields(names, required=names).items():
            fields = child.fields(("level", "dispatch"), required=("level", "dispatch"))
            level = fields["level"].level() if "level" in fields else None
            if level is not None and "dispatch" in fields:
                entries[Channel(name)] = Entry(level=level, dispatch=_now(fields["dispatch"]), line=child.line)
        return entries

    def _rule(self, node: YamlNode) -> Rule | None:
        fields = node.fields(
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
            where=node.where,
            line=node.line,
            level=fields["level"].level() if "level" in fields else None,
            dispatch=dispatch,
            targets=tuple(targets),
            because=fields["because"].text() if "because" in fields else None,
        )

    @staticmethod
    def _targets(node: YamlNode | None) -> list[YamlNode]:
        return list(node.items()) if node is not None else []

    def _target(self, node: YamlNode, role: Role, required: bool) -> Target | None:
        task: str | None = None
        if node.is_mapping:
            fields = node.fields(("unit", "task"), required=("unit",))
            if "unit" not in fields:
                return None
            code = fields["unit"].text()
            task = fields["task"].text() if "task" in fields else None
        else:
            code = node.text()
        if code not in self._directory:
            node.complain(f"no unit has the code {code!r} (units.yaml)")
            return None
        return Target(unit=UnitCode(code), role=role, required=required, task=task)


def _now(node: YamlNode) -> bool:
    word = node.text()
    if word not in ("now", "hold"):
        node.complain("now or hold is expected here")
    return word == "now"
