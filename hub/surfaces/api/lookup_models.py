"""Answers of the lookups: areas, units, figures, the policy, who one is."""

from __future__ import annotations

from datetime import datetime

from hub.surfaces.api.models import Answer


class AreaAnswer(Answer, frozen=True, kw_only=True):
    """An area 区划."""

    code: str
    name: str
    level: str
    path: list[str]
    parent: str | None = None
    grid_kind: str | None = None
    households: int | None = None


class AreaList(Answer, frozen=True, kw_only=True):
    """Areas, by code."""

    items: list[AreaAnswer]


class UnitAnswer(Answer, frozen=True, kw_only=True):
    """Who acts 单位."""

    code: str
    name: str
    kind: str
    areas: list[str]
    level: str | None = None
    adapter: str | None = None


class UnitList(Answer, frozen=True, kw_only=True):
    """Units."""

    items: list[UnitAnswer]


class LatencyAnswer(Answer, frozen=True, kw_only=True):
    """Milliseconds from made to delivered."""

    p50: float | None
    p99: float | None


class UnitSummary(Answer, frozen=True, kw_only=True):
    """One unit's assignments."""

    unit: str
    unit_name: str
    adapter: str | None
    assignments: int
    open: int
    delivered: int
    resolved: int
    returned: int
    refused: int
    dead: int
    late: int
    retries: int
    dispatch_ms: LatencyAnswer


class SummaryAnswer(Answer, frozen=True, kw_only=True):
    """The figures of a scope; `cases` = `open` + `dead` + `closed` + `void` + `merged`.

    `missing_years`: years whose days off the policy in force should know by now and doesn't; their limits count Monday to Friday.

    `answers`: what reporters said when they were asked, by question. Which of them count in the rates (0 to 1; null without any) is policy.
    """

    at: datetime
    sequence: int
    cases: int
    open: int
    dead: int
    closed: int
    void: int
    merged: int
    stages: dict[str, int]
    late: int
    attention: int
    answers: dict[str, dict[str, int]]
    closings: dict[str, int]
    resolution_rate: float | None
    satisfaction_rate: float | None
    assignments: int
    retries: int
    dispatch_ms: LatencyAnswer
    units: list[UnitSummary]
    missing_years: list[int]


class PolicyVersion(Answer, frozen=True, kw_only=True):
    """One published policy."""

    version: int
    at: datetime
    by: str


class PolicyAnswer(Answer, frozen=True, kw_only=True):
    """The policy in force and its files; every version published."""

    version: int
    sources: dict[str, str]
    published: list[PolicyVersion]


class Published(Answer, frozen=True, kw_only=True):
    """The number of a policy now in force."""

    version: int


class Myself(Answer, frozen=True, kw_only=True):
    """The token's name, its view and its rights, and the time zone of answers."""

    name: str
    role: str
    area: str
    unit: str | None
    unit_name: str | None
    level: str | None
    commands: list[str]
    scopes: list[str]
    district: str
    zone: str
