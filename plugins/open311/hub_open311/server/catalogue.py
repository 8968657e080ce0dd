"""Services and their questions: the leaf categories of the policy in force, as GeoReport v2 lists them. Pure.

The questions are those of the settings; without any, six that every handler can use (their codes are constant).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from hub import Category, DistrictFacts
from hub_open311.server.asking import plus_again
from hub_open311.server.errors import Open311Error
from hub_open311.server.formats import Value
from hub_open311.server.settings import Choice, Question, ServerSettings

MOST_KEYWORDS = 12
PLACE_DETAIL = "PLACE_DETAIL"
"""The built-in question whose answer goes to the place instead of the text."""

QUESTIONS: tuple[Question, ...] = (
    Question(
        code="NOTICE",
        variable=False,
        description="联系方式加密保存，只供办理单位核实情况使用，不对外公开。情况紧急、有人受伤时请直接拨打紧急电话。",
    ),
    Question(
        code=PLACE_DETAIL, description="位置补充：楼栋、灯杆号、井盖编号、路口方位等", datatype_description="不要填写门牌户号"
    ),
    Question(
        code="DANGER",
        description="是否危及人身安全",
        datatype="singlevaluelist",
        values=(
            Choice(key="no", name="否"),
            Choice(key="yes", name="是"),
            Choice(key="unknown", name="不清楚"),
        ),
    ),
    Question(
        code="SITUATION",
        description="现场情况（可多选）",
        datatype="multivaluelist",
        values=(
            Choice(key="traffic", name="影响通行"),
            Choice(key="night", name="夜间更严重"),
            Choice(key="again", name="反复出现"),
            Choice(key="children", name="附近有学校或儿童活动场所"),
        ),
    ),
    Question(
        code="SINCE", description="何时发现", datatype="datetime", datatype_description="ISO 8601，如 2026-03-01T08:30:00+08:00"
    ),
    Question(code="HOUSEHOLDS", description="大约影响多少户", datatype="number"),
    Question(code="MORE", description="其他需要说明的情况", datatype="text"),
)
"""What is asked where the settings say nothing; none is required."""

_MOST = {"string": 200, "number": 30, "datetime": 40, "text": 2000, "singlevaluelist": 100, "multivaluelist": 100}
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


class Catalogue:
    """The services of one district."""

    def __init__(self, district: DistrictFacts, settings: ServerSettings) -> None:
        self._district = district
        self._settings = settings

    def services(self) -> list[Value]:
        """GET services."""
        return [self._service(category) for category in self._offered()]

    def definition(self, code: str) -> dict[str, Value]:
        """GET services/{code}; raises Open311Error(404)."""
        self.find(code)
        return {
            "service_code": code,
            "attributes": [_shown(question, order) for order, question in enumerate(self.questions(code), 1)],
        }

    def find(self, code: str) -> Category:
        """The category behind a service code; raises Open311Error(404)."""
        category = self._district.category(code)
        if category is None or not self._offers(category):
            raise Open311Error(404, f"service_code {code[:80]} was not found")
        return category

    def name(self, code: str | None) -> str:
        """A service's name; the code itself for one that is in the policy no more."""
        category = self._district.category(code) if code else None
        return category.name if category is not None else (code or "")

    def questions(self, code: str) -> tuple[Question, ...]:
        """The questions of a service: by the longest beginning of its code in the settings, else `*`, else the built-in ones."""
        given = self._settings.attributes
        for length in range(len(code), 0, -1):
            if code[:length] in given:
                return given[code[:length]]
        return given.get("*", QUESTIONS)

    def answers(self, code: str, sent: Mapping[str, list[str]]) -> tuple[dict[str, str], dict[str, str]]:
        """(our questions' codes → answers in words, what was sent under other codes). Raises Open311Error(400) naming each mistake."""
        problems: list[str] = []
        ours: dict[str, str] = {}
        known = {question.code: question for question in self.questions(code) if question.variable}
        for question in known.values():
            values = sent.get(question.code, [])
            if not values:
                if question.required:
                    problems.append(f"attribute[{question.code}] is required")
                continue
            try:
                ours[question.code] = _answer(question, values)
            except ValueError as problem:
                problems.append(f"attribute[{question.code}] {problem}")
        if problems:
            raise Open311Error(400, *problems)
        others = {name: "、".join(values)[:500] for name, values in sent.items() if name not in known}
        return ours, others

    def _offered(self) -> Iterator[Category]:
        return (category for category in self._district.categories if self._offers(category))

    def _offers(self, category: Category) -> bool:
        return not self._settings.services or category.code.startswith(self._settings.services)

    def _service(self, category: Category) -> Value:
        words = dict.fromkeys(group[0] for group in category.keywords if len(group) == 1)
        return {
            "service_code": category.code,
            "service_name": category.name,
            "description": f"{category.major_name}：{category.name}",
            "metadata": bool(self.questions(category.code)),
            "type": "realtime",
            "keywords": ", ".join(list(words)[:MOST_KEYWORDS]),
            "group": category.major_name,
        }


def _shown(question: Question, order: int) -> Value:
    shown: dict[str, Value] = {
        "variable": question.variable,
        "code": question.code,
        "datatype": question.datatype,
        "required": question.required and question.variable,
        "datatype_description": question.datatype_description or None,
        "order": order,
        "description": question.description,
    }
    if question.values:
        shown["values"] = [{"key": value.key, "name": value.name} for value in question.values]
    return shown


def _answer(question: Question, values: list[str]) -> str:
    """An answer in words; raises ValueError saying what is wrong."""
    most = _MOST[question.datatype]
    if any(len(value) > most for value in values):
        raise ValueError(f"has more than {most} characters")
    match question.datatype:
        case "singlevaluelist" | "multivaluelist":
            names = {value.key: value.name for value in question.values}
            if question.datatype == "singlevaluelist" and len(values) > 1:
                raise ValueError("takes one value")
            if unknown := [value for value in values if value not in names]:
                raise ValueError(f"has no value {unknown[0]!r}")
            return "、".join(dict.fromkeys(names[value] for value in values))
        case "number":
            if not _NUMBER.fullmatch(values[0]):
                raise ValueError("is no number")
        case "datetime":
            try:
                datetime.fromisoformat(plus_again(values[0]))
            except ValueError:
                raise ValueError("is no ISO 8601 time") from None
        case "string" if "\n" in values[0]:
            raise ValueError("may not contain line breaks")
    if len(values) > 1:
        raise ValueError("takes one value")
    return values[0]
