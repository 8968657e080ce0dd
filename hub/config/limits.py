"""Reads limits.yaml and ladder.yaml: office hours, limits, visits, the steps when a limit passes, and who may grant what.

Owns the files' forms; the meaning is the policy's. Called by `hub.config.policy`.
"""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Generic, Literal, Self, TypeVar, get_args

import msgspec
from pydantic import AfterValidator, Field, model_validator

from hub.config.documents import Document, Form, refuse
from hub.config.fields import CategoryStart, ClockSpan, Known, LevelWord, LimitSpan, every, parsed
from hub.config.routing import WhenForm
from hub.model.answers import AnswerRules, Rate, Satisfied, Solved
from hub.model.case.state import Severity
from hub.model.district.areas import Level
from hub.model.limits.calendar import Calendar, WorkingHours
from hub.model.limits.durations import Span
from hub.model.limits.state import DeadlineKind
from hub.model.policy.policy import LimitTable, VisitRule
from hub.model.policy.rules import LadderAction, Limit, Step

_HOURS = re.compile(r"(\d{2}:\d{2})-(\d{2}:\d{2})")
Grant = Literal["suspension", "extension", "void", "merge"]


class Limits(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What limits.yaml says: office hours, limits by severity, those of single categories (by code or beginning), visits, answers."""

    hours: WorkingHours
    table: LimitTable
    overrides: dict[str, LimitTable]
    visits: tuple[VisitRule, ...]
    answers: AnswerRules


def _office_hours(text: str) -> tuple[time, time]:
    match = _HOURS.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        return time.fromisoformat(match[1]), time.fromisoformat(match[2])
    except ValueError:
        raise ValueError("working hours are written 09:00-12:00") from None


def _ascending(steps: tuple[_Step, ...]) -> tuple[_Step, ...]:
    refuse(((index,), "steps must ascend") for index in range(1, len(steps)) if steps[index].after <= steps[index - 1].after)
    return steps


class _Visit(Form):
    when: WhenForm
    visit: bool


class _Reopen(Form):
    solved: frozenset[Solved] = AnswerRules().reopen_solved
    satisfied: frozenset[Satisfied] = AnswerRules().reopen_satisfied


A = TypeVar("A", Solved, Satisfied)


class _Rate(Form, Generic[A]):
    counted: frozenset[A]
    of: Annotated[frozenset[A], Field(min_length=1)]

    @model_validator(mode="after")
    def _within(self) -> Self:
        refuse((("counted",), f"{answer} is counted and is not in `of`") for answer in sorted(self.counted - self.of))
        return self

    def rate(self) -> Rate:
        return Rate(counted=frozenset(map(str, self.counted)), of=frozenset(map(str, self.of)))


class _Answers(Form):
    reopen: _Reopen = Field(default_factory=_Reopen)
    resolution: _Rate[Solved] | None = None
    satisfaction: _Rate[Satisfied] | None = None

    def rules(self) -> AnswerRules:
        usual = AnswerRules()
        return AnswerRules(
            reopen_solved=self.reopen.solved,
            reopen_satisfied=self.reopen.satisfied,
            resolution=usual.resolution if self.resolution is None else self.resolution.rate(),
            satisfaction=usual.satisfaction if self.satisfaction is None else self.satisfaction.rate(),
        )


class _Limits(Form):
    hours: tuple[Annotated[tuple[time, time], parsed(_office_hours)], ...]
    severity: Annotated[dict[Severity, Annotated[dict[DeadlineKind, LimitSpan], every(*DeadlineKind)]], every(*Severity)]
    categories: dict[CategoryStart, dict[Severity, dict[DeadlineKind, LimitSpan]]] = Field(default_factory=dict)
    visits: tuple[_Visit, ...] = ()
    answers: _Answers = Field(default_factory=_Answers)


class _Step(Form):
    after: ClockSpan
    action: LadderAction


class _Ladder(Form):
    severity: Annotated[
        dict[Severity, Annotated[tuple[_Step, ...], Field(min_length=1), AfterValidator(_ascending)]], every(*Severity)
    ]
    authority: Annotated[dict[Grant, LevelWord], every(*get_args(Grant))]


def read_limits(document: Document, known: Known, calendar: Calendar) -> Limits | None:
    """Hours on the days of a calendar, limits and visits; None when the file does not fit its form."""
    form = document.form(_Limits, known)
    if form is None:
        return None
    try:
        hours = WorkingHours(form.hours, known.zone, working_day=calendar.is_working_day)
    except ValueError as error:
        document.complain(("hours",), str(error))
        return None

    def table(spans: dict[Severity, dict[DeadlineKind, Span]]) -> LimitTable:
        return {severity: {kind: limit(kind, span) for kind, span in one.items()} for severity, one in spans.items()}

    def limit(kind: DeadlineKind, span: Span) -> Limit:
        duration = span.amount + span.days * hours.day_length
        return Limit(kind=kind, duration=duration, working=span.working, words=span.words)

    return Limits(
        hours=hours,
        table=table(form.severity),
        overrides={code: table(spans) for code, spans in form.categories.items()},
        visits=tuple(
            VisitRule(when=one.when.when(), visit=one.visit, line=document.line("visits", index))
            for index, one in enumerate(form.visits)
        ),
        answers=form.answers.rules(),
    )


def read_ladder(document: Document) -> tuple[dict[Severity, tuple[Step, ...]], dict[str, Level]] | None:
    """The steps per severity and who may grant what, out of ladder.yaml; None when the file does not fit its form."""
    form = document.form(_Ladder)
    if form is None:
        return None
    steps = {severity: tuple(Step(**dict(step)) for step in found) for severity, found in form.severity.items()}
    return steps, dict(form.authority.items())
