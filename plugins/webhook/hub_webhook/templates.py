"""Bodies by template: Jinja2 in its sandbox, over the assignment's fields and nothing else.

A template sees values, no objects; it has filters but no functions, can't multiply texts, and what it refers to must exist. It is
checked with a sample when the settings are read, so that a mistake is found before anything is sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

FIELDS = (
    "key", "case", "unit", "role", "title", "text", "category", "category_name", "severity", "area", "area_path", "reported_at",
    "place", "task", "accept_by", "finish_by", "ticket",
)  # fmt: skip
"""Fields of an assignment a template may use; those that are not set are none."""
NOTICE_FIELDS = ("case", "ref", "stage", "text", "at")
SAMPLE: Mapping[str, object] = {
    "type": "assignment.made",
    "at": "2026-03-02T10:00:00+08:00",
    "message": "请尽快处理",
    "key": "320113001001001-01jd8x2m9qk3v5wz.a1",
    "case": "320113001001001-01jd8x2m9qk3v5wz",
    "unit": "sample",
    "role": "lead",
    "title": '带"引号"的标题',
    "text": "第一行\n第二行",
    "category": "P0103",
    "category_name": "路灯不亮",
    "severity": "ordinary",
    "area": "320113001001001",
    "area_path": ["栖霞区", "尧化街道"],
    "reported_at": "2026-03-02T09:00:00+08:00",
    "ref": "A-1",
    "stage": "closed",
}
"""What a template is tried with: quotes and line breaks, and optional fields missing."""


class BodyWrong(ValueError):
    """A template can't be read, or does not make what it should; the text says where."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Without multiplication and powers: the only ways to make much out of little."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse."""
        raise SecurityError(f"{operator} is not for templates")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _sandbox() -> _Sandbox:
    made = _Sandbox(undefined=StrictUndefined, autoescape=False)
    made.globals.clear()
    made.filters["tojson"] = _json
    for name in ("attr", "map", "pprint", "center", "indent", "wordwrap", "xmlattr", "format"):
        made.filters.pop(name, None)
    return made


class BodyTemplate:
    """One template. Raises BodyWrong when it can't be read or its sample is wrong."""

    def __init__(self, source: str, *, as_json: bool) -> None:
        self._as_json = as_json
        try:
            self._template = _sandbox().from_string(source)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise BodyWrong(f"line {line}: {error}" if line else str(error)) from None
        self.render({})

    def render(self, values: Mapping[str, object]) -> bytes:
        """The body; `values` over the sample's names. Raises BodyWrong."""
        given: dict[str, object] = dict(SAMPLE) if not values else dict(values)
        for name in (*FIELDS, *NOTICE_FIELDS, "message", "type", "their_category"):
            given.setdefault(name, None)
        try:
            text = self._template.render(given)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise BodyWrong(f"{type(error).__name__}: {error}") from None
        if self._as_json:
            try:
                json.loads(text)
            except ValueError as error:
                raise BodyWrong(f"it makes no JSON ({error}); write {{{{ title | tojson }}}} for a text") from None
        return text.encode()
