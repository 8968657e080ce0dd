"""YAML text read with its line numbers kept, so that every complaint names file, line and key.

Owns the walk from YAML nodes to Python values. Refuses duplicate and unknown keys, wrong types and YAML's own surprises: values are
taken from the text as written (`09:00` stays text, `no` is only a boolean where one is expected). Problems are collected, not
raised, so that one check shows all of them. Called by the other readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import Enum
from typing import TypeVar

import yaml

from hub.errors import ConfigError
from hub.model.district.areas import Level
from hub.model.limits.durations import Span, parse_span

_LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})

Choice = TypeVar("Choice", bound=Enum)


class YamlNode:
    """A YAML value with where it stands: `file`, 1-based `line`, dotted `key`."""

    __slots__ = ("_problems", "file", "key", "line", "node")

    def __init__(self, node: yaml.Node, file: str, key: str, problems: list[ConfigError], line: int | None = None) -> None:
        self.node = node
        self.file = file
        self.key = key
        self.line = line or node.start_mark.line + 1
        self._problems = problems

    def complain(self, message: str) -> None:
        """Note a problem at this place."""
        self._problems.append(ConfigError(message, file=self.file, line=self.line, key=self.key or None))

    @property
    def where(self) -> str:
        """`routing.yaml:42`: file without directories, and line."""
        return f"{self.file.rpartition('/')[2]}:{self.line}"

    @property
    def is_mapping(self) -> bool:
        """Whether the value is a YAML mapping."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        """Whether the value is a YAML list."""
        return isinstance(self.node, yaml.SequenceNode)

    @property
    def is_null(self) -> bool:
        """Whether nothing is written there."""
        return isinstance(self.node, yaml.ScalarNode) and self.node.tag == "tag:yaml.org,2002:null"

    def _child(self, node: yaml.Node, key: str, line: int | None = None) -> YamlNode:
        return YamlNode(node, self.file, f"{self.key}.{key}" if self.key else key, self._problems, line)

    def entries(self) -> dict[str, YamlNode]:
        """The entries of a mapping with free keys, in file order; complains about anything else and about duplicates."""
        if not isinstance(self.node, yaml.MappingNode):
            if not self.is_null:
                self.complain("a mapping is expected here")
            return {}
        found: dict[str, YamlNode] = {}
        for key_node, value_node in self.node.value:
            name = str(key_node.value)
            child = self._child(value_node, name, key_node.start_mark.line + 1)
            if name in found:
                child.complain(f"key given twice (first on line {found[name].line})")
                continue
            found[name] = child
        return found

    def fields(self, known: Iterable[str], required: Iterable[str] = ()) -> dict[str, YamlNode]:
        """The entries of a mapping whose keys are fixed; complains about unknown and missing ones and leaves the unknown out."""
        allowed = tuple(known)
        found = self.entries()
        for name in [name for name in found if name not in allowed]:
            found.pop(name).complain(f"unknown key; known here: {', '.join(allowed)}")
        if self.is_mapping:
            for name in required:
                if name not in found:
                    self.complain(f"key {name!r} is missing")
        return found

    def items(self) -> Iterator[YamlNode]:
        """The items of a list; complains when it is none."""
        if not isinstance(self.node, yaml.SequenceNode):
            if not self.is_null:
                self.complain("a list is expected here")
            return
        for index, node in enumerate(self.node.value):
            yield self._child(node, str(index))

    def text(self) -> str:
        """A scalar as written; complains and gives `""` when it is empty or none."""
        if not isinstance(self.node, yaml.ScalarNode) or self.is_null or not self.node.value.strip():
            self.complain("a text is expected here")
            return ""
        return str(self.node.value).strip()

    def words(self) -> tuple[str, ...]:
        """A list of texts, or one text standing alone; complains about duplicates."""
        if isinstance(self.node, yaml.ScalarNode) and not self.is_null:
            return (self.text(),)
        found: list[str] = []
        for item in self.items():
            word = item.text()
            if word in found:
                item.complain(f"{word!r} is listed twice")
            elif word:
                found.append(word)
        return tuple(found)

    def boolean(self) -> bool:
        """`true`/`false` (also yes/no, on/off)."""
        word = self.text().lower()
        if word not in _TRUE | _FALSE:
            self.complain("true or false is expected here")
        return word in _TRUE

    def integer(self, *, least: int = 0) -> int:
        """A whole number of at least `least`."""
        word = self.text()
        try:
            number = int(word)
        except ValueError:
            self.complain("a whole number is expected here")
            return least
        if number < least:
            self.complain(f"must be at least {least}")
            return least
        return number

    def number(self) -> float:
        """A number."""
        word = self.text()
        try:
            return float(word)
        except ValueError:
            self.complain("a number is expected here")
            return 0.0

    def choice(self, kind: type[Choice]) -> Choice | None:
        """One of an enum's values; complains and gives None otherwise."""
        word = self.text()
        if not word:
            return None
        try:
            return kind(word)
        except ValueError:
            self.complain(f"{word!r} is not one of {', '.join(str(item.value) for item in kind)}")
            return None

    def choices(self, kind: type[Choice]) -> tuple[Choice, ...]:
        """Several of an enum's values (a list, or one alone)."""
        nodes = [self] if isinstance(self.node, yaml.ScalarNode) else list(self.items())
        return tuple(found for node in nodes if (found := node.choice(kind)) is not None)

    def level(self) -> Level | None:
        """A level's word: grid, community, street or district."""
        word = self.text()
        if not word:
            return None
        try:
            return Level.parse(word)
        except ValueError as error:
            self.complain(str(error))
            return None

    def span(self) -> Span | None:
        """A duration such as `30s`, `5m`, `2h`, `7d`, `4 working hours`, `3 working days`."""
        word = self.text()
        if not word:
            return None
        try:
            return parse_span(word)
        except ValueError as error:
            self.complain(str(error))
            return None

    def clock_span(self) -> timedelta | None:
        """A duration around the clock; complains about working time."""
        span = self.span()
        if span is None:
            return None
        if span.working:
            self.complain("working time can't be used here; write 30s, 5m, 2h or 7d")
            return None
        return span.amount

    def plain(self) -> object:
        """The value as plain Python (for an adapter's settings, which its own plugin validates)."""
        if isinstance(self.node, yaml.MappingNode):
            return {name: node.plain() for name, node in self.entries().items()}
        if isinstance(self.node, yaml.SequenceNode):
            return [node.plain() for node in self.items()]
        tag = self.node.tag.rpartition(":")[2]
        word = str(self.node.value)
        if tag == "null":
            return None
        if tag == "bool":
            return word.lower() in _TRUE
        if tag == "int" and word.lstrip("+-").isdigit():
            return int(word)
        if tag == "float":
            return self.number()
        return word


def read_yaml(text: str, file: str, problems: list[ConfigError]) -> YamlNode | None:
    """Parse one YAML document; None (and a problem) when it can't be read or is empty."""
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        node = getattr(error, "problem_mark", None)
        line = node.line + 1 if node is not None else None
        problems.append(ConfigError(f"not readable as YAML: {getattr(error, 'problem', error)}", file=file, line=line))
        return None
    if node is None:
        problems.append(ConfigError("the file is empty", file=file, line=1))
        return None
    return YamlNode(node, file, "", problems)
