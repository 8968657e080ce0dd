"""YAML and CSV texts held against their forms: what a file may say is a pydantic model, and every mistake names file, line and key.

Owns the base of all forms and the words for what does not fit. Refuses duplicate and unknown keys, wrong types and YAML's own
surprises: a scalar is the text as written (`09:00` stays text, `no` is a boolean only where the form says so). Mistakes are
collected, not raised, so that one check shows all of them. Called by the readers of the single files.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import ClassVar, Final, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from hub.errors import ConfigError

_LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Place = tuple[str | int, ...]
"""The way from a document's root, or from a value, to what lies inside: keys and list positions."""

MOST_NESTED: Final = 50
"""Levels of a file; the deepest one here has six."""
MISSING: Final = object()
"""Stands for an entry that has to be there and is not; no form takes it."""


_EXPECTED = {"model_type": "a mapping", "dict_type": "a mapping", "tuple_type": "a list", "string_type": "a text"}
"""What a form asks for, by pydantic's name of the mistake, where pydantic speaks of Python."""


class Form(BaseModel):
    """A mapping of a YAML file. A key with nothing after it counts as not written."""

    # A form is compiled when a file is first held against it, and those inside it only as its parts.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        known = _keys(cls)
        # The mistake «unknown key» carries the entry's value: so it can say which keys are known.
        return {key: value if key in known else known for key, value in data.items() if value is not None}


class Row(BaseModel):
    """A line of a CSV file; an empty cell counts as not written. Columns that are no field are left alone."""

    columns: ClassVar[tuple[str, ...]]
    """The columns that must be there."""

    model_config = ConfigDict(extra="ignore", defer_build=True)


F = TypeVar("F", bound=Form)
R = TypeVar("R", bound=Row)


class Scalar(str):
    """A scalar that YAML takes for something else than a text: as written, with the kind (`int`, `bool`, `float` …)."""

    __slots__ = ("kind",)
    kind: str


def _check_depth(text: str) -> None:
    """Raises YAMLError for a text nested so deeply that reading it would end the process: libyaml composes by recursion, in C."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_NESTED:
                raise yaml.MarkedYAMLError(problem=f"nested deeper than {MOST_NESTED}", problem_mark=event.start_mark)  # type: ignore[arg-type]
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class Document:
    """One YAML document: its content as plain mappings, lists and texts, and where each thing stands.

    A text that is not there or can't be parsed makes a document without content: no form comes out of it.
    """

    def __init__(self, text: str | None, file: str, problems: list[ConfigError]) -> None:
        self._file = file
        self._problems = problems
        self._root: yaml.Node | None = None
        try:
            if text is not None:
                _check_depth(text)
            self._root = yaml.compose(text, Loader=_LOADER) if text is not None else None
            if text is not None and self._root is None:
                problems.append(ConfigError("the file is empty", file=file, line=1))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            reason = f"not readable as YAML: {getattr(error, 'problem', error)}"
            problems.append(ConfigError(reason, file=file, line=mark.line + 1 if mark is not None else None))
        self._content = self._read(self._root, (), {}) if self._root is not None else None

    def form(self, form: type[F], known: object = None) -> F | None:
        """The document as a form, which validators check by what is `known`; None, and all mistakes noted, when it does not fit."""
        try:
            return form.model_validate(self._content, context=known) if self._root is not None else None
        except ValidationError as refused:
            for mistake in refused.errors(include_url=False):
                self.complain(mistake["loc"], _words(mistake))
            return None

    def keys(self, *place: str) -> set[str]:
        """The keys of the mappings at a place (`*`: any key), whatever else is wrong with them."""
        found = [self._content]
        for step in place:
            found = [inner for one in found if isinstance(one, dict) for key, inner in one.items() if step in ("*", key)]
        return {key for one in found if isinstance(one, dict) for key in one}

    def complain(self, place: Place, message: str) -> None:
        """Note a mistake at a place, or at what is there of the way to it."""
        way, line = self._find(place)
        self._problems.append(ConfigError(message, file=self._file, line=line, key=".".join(map(str, way)) or None))

    def line(self, *place: str | int) -> int:
        """The line, from 1, on which a place begins."""
        return self._find(place)[1]

    def _find(self, place: Place) -> tuple[Place, int]:
        node, line = self._root, 1
        for depth, step in enumerate(place):
            if isinstance(node, yaml.MappingNode):
                entry = next((entry for entry in node.value if entry[0].value == step), None)
                if entry is None:
                    return place[:depth], line
                line, node = entry[0].start_mark.line + 1, entry[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                return place[:depth], line
        return place, line

    def _read(self, node: yaml.Node, place: Place, known: dict[yaml.Node, object]) -> object:
        if isinstance(node, yaml.ScalarNode):
            kind = node.tag.rpartition(":")[2]
            if kind in ("null", "str"):
                return node.value if kind == "str" else None
            scalar = Scalar(node.value)
            scalar.kind = kind
            return scalar
        if node in known:  # an alias: of something read before, or of what it lies in itself
            return known[node]
        known[node] = None
        if isinstance(node, yaml.MappingNode):
            found: dict[str, object] = {}
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                way = (*place, name)
                if name in found:
                    reason = f"key given twice (first on line {self.line(*way)})"
                    self._problems.append(ConfigError(reason, file=self._file, line=line, key=".".join(map(str, way))))
                else:
                    found[name] = self._read(value, way, known)
            known[node] = found
        else:
            known[node] = [self._read(item, (*place, index), known) for index, item in enumerate(node.value)]
        return known[node]


def read_rows(text: Iterable[str] | None, file: str, form: type[R], problems: list[ConfigError]) -> Iterator[tuple[int, R]]:
    """The rows of a CSV text (or its lines) that fit their form, each with its line; what does not fit is noted. None: no rows."""
    if text is None:
        return
    reader = csv.reader(io.StringIO(text) if isinstance(text, str) else text)
    try:
        header = [name.strip() for name in next(reader, ())]
        for column in [name for name in form.columns if name not in header]:
            reason = f"column {column!r} is missing (there are: {', '.join(header) or 'none'})"
            problems.append(ConfigError(reason, file=file, line=1, key=column))
            return
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                problems.append(ConfigError(f"{len(cells)} columns instead of {len(header)}", file=file, line=reader.line_num))
                continue
            try:
                yield (
                    reader.line_num,
                    form(**{name: cell for name, cell in zip(header, map(str.strip, cells), strict=True) if cell}),
                )
            except ValidationError as refused:
                for mistake in refused.errors(include_url=False):
                    words = "is empty" if mistake["type"] == "missing" else _words(mistake)
                    problems.append(ConfigError(words, file=file, line=reader.line_num, key=str(mistake["loc"][0])))
    except csv.Error as error:
        problems.append(ConfigError(f"not CSV: {error}", file=file, line=reader.line_num))


def refuse(mistakes: Iterable[tuple[Place, str]]) -> None:
    """For validators: refuse a value for what is wrong inside it, each mistake by its place; nothing when there is none."""
    details = [
        InitErrorDetails(type=PydanticCustomError("inside", "{words}", {"words": words}), loc=place, input=None)
        for place, words in mistakes
    ]
    if details:
        raise ValidationError.from_exception_data("form", details)


@cache
def _keys(form: type[Form]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in form.model_fields.items())


def _words(mistake: ErrorDetails) -> str:
    """A mistake in plain words: pydantic's, but for what is said better with the file in view."""
    *_, key = mistake["loc"] or ("",)
    if mistake["input"] is MISSING or mistake["type"] == "missing":
        return f"key {key!r} is missing"
    if mistake["type"] == "extra_forbidden":
        near = get_close_matches(str(key), mistake["input"], n=1)
        return f"unknown key; known here: {', '.join(mistake['input'])}" + (f" (did you mean {near[0]}?)" if near else "")
    if mistake["type"] in ("enum", "literal_error"):
        found = "unknown key" if key == "[key]" else repr(mistake["input"])
        return f"{found} is not one of {mistake['ctx']['expected']}"
    if mistake["type"] in _EXPECTED:
        return f"{_EXPECTED[mistake['type']]} is expected here"
    return mistake["msg"].removeprefix("Value error, ")
