"""Rows of a table that came back: each a report, a new case, nothing yet, or an error with row, column and reason. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hub import Channel, Contact, Feedback, FeedbackKind, IncomingCase, Position, ReportedFile
from hub_table.cells import is_key, moment_of, position_of, text_of
from hub_table.sheets import Row

_NOTE_MOST = 4000
_AHEAD = timedelta(hours=12)
_FILES_MOST = 10


@dataclass(frozen=True)
class RowError:
    """Why a row (0: the whole table) was not taken, for the department."""

    row: int
    column: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Form:
    """How the tables of one instance are read."""

    columns: Mapping[str, str]
    case_columns: Mapping[str, str]
    statuses: Mapping[str, FeedbackKind]
    new_cases: bool
    channel: Channel
    zone: ZoneInfo


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What a table brought; `attached`: names of the files its rows speak of."""

    items: tuple[Feedback | IncomingCase, ...]
    errors: tuple[RowError, ...]
    attached: frozenset[str] = frozenset()
    unmapped: Mapping[str, str] = field(default_factory=dict)
    """Statuses in no table, taken as progress, each with a key or ticket it was said of."""


class _Bad(Exception):
    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


def read_back(rows: Sequence[Row], form: Form, file: Callable[[str], ReportedFile], now: datetime) -> Returned:
    """Everything a table says. `file` gives an attachment by its name, or raises ValueError with a Chinese reason."""
    if not rows:
        return Returned(items=(), errors=(RowError(0, "", "表中没有内容"),))
    header = [text_of(cell, form.zone).replace("\n", "") for cell in rows[0].cells]
    if (
        form.columns["key"] not in header
        and form.columns.get("ticket") not in header
        and form.case_columns["ref"] not in header
    ):
        needed = "、".join(dict.fromkeys((form.columns["key"], form.columns.get("ticket", form.columns["key"]))))
        return Returned(items=(), errors=(RowError(rows[0].number, "", f"第一行应为列名，其中须有“{needed}”之一"),))
    items: dict[str, Feedback | IncomingCase] = {}
    errors: list[RowError] = []
    attached: set[str] = set()
    unmapped: dict[str, str] = {}
    for row in rows[1:]:
        said = {name: text_of(cell, form.zone) for name, cell in zip(header, row.cells, strict=False) if name}
        try:
            item, problems = _item(said, form, file, now, attached, unmapped)
        except _Bad as problem:
            errors.append(RowError(row.number, problem.column, problem.reason))
            continue
        errors += [RowError(row.number, problem.column, problem.reason) for problem in problems]
        if item is not None:
            items.setdefault(item.id if isinstance(item, Feedback) else f"ref {item.ref}", item)
    return Returned(items=tuple(items.values()), errors=tuple(errors), attached=frozenset(attached), unmapped=unmapped)


def _item(
    said: Mapping[str, str],
    form: Form,
    file: Callable[[str], ReportedFile],
    now: datetime,
    attached: set[str],
    unmapped: dict[str, str],
) -> tuple[Feedback | IncomingCase | None, list[_Bad]]:
    columns = form.columns
    value = {field: said.get(column, "").removeprefix("'") for field, column in columns.items()}
    key, ticket = value["key"], value.get("ticket", "")
    if not key and not ticket:
        if not any(said.values()):
            return None, []
        if form.new_cases:
            return _case(said, form, now), []
        raise _Bad(columns["key"], "没有派单编号或系统编号")
    if key and not is_key(key):
        raise _Bad(columns["key"], "系统编号不完整或被改动")
    status = value.get("status", "")
    if not status:
        if value.get("note", "") and "status" in columns:
            raise _Bad(columns["status"], "填写了办理情况而没有办理状态")
        return None, []
    at = _at(value.get("at", ""), columns.get("at", ""), form.zone, now)
    names = [name for name in _names(value.get("files", "")) if name]
    attached.update(names)
    files, problems = _attachments(names, columns.get("files", ""), file)
    if status not in form.statuses:
        unmapped.setdefault(status, key or ticket)
    digest = hashlib.sha256("\0".join((key or ticket, status, value.get("note", ""), value.get("at", ""), *names)).encode())
    report = Feedback(
        id=f"row-{digest.hexdigest()[:32]}",
        kind=form.statuses.get(status, FeedbackKind.PROGRESS),
        key=key or None,
        ticket=None if key else ticket,
        at=at,
        note=(value.get("note", "") or status)[:_NOTE_MOST],
        files=files,
    )
    return report, problems


def _case(said: Mapping[str, str], form: Form, now: datetime) -> IncomingCase:
    columns = form.case_columns
    value = {field: said.get(column, "").removeprefix("'") for field, column in columns.items()}
    for needed in ("ref", "title"):
        if not value[needed]:
            raise _Bad(columns[needed], "新来件须填写此列")
    area = value.get("area", "")
    if area and not (area.isascii() and area.isdigit() and len(area) in (6, 9, 12, 15)):
        raise _Bad(columns["area"], "区划代码应为6、9、12或15位数字（长数字请设为文本格式）")
    contact = {field: value.get(field, "") or None for field in ("name", "phone")}
    return IncomingCase(
        ref=value["ref"][:200],
        channel=form.channel,
        title=value["title"][:200],
        text=(value.get("text", "") or value["title"])[:_NOTE_MOST],
        reported_at=_at(value.get("reported_at", ""), columns.get("reported_at", ""), form.zone, now) or now,
        area=area or None,
        place_name=value.get("place_name", "") or None,
        place=value.get("place", "") or None,
        position=_position(value, columns),
        category=value.get("category", "") or None,
        contact=Contact(**contact) if any(contact.values()) else None,
    )


def _position(value: Mapping[str, str], columns: Mapping[str, str]) -> Position | None:
    try:
        return position_of(*(value.get(field, "") for field in ("longitude", "latitude", "system")))
    except ValueError as problem:
        raise _Bad(columns.get("longitude", ""), str(problem)) from problem


def _at(text: str, column: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    if not text:
        return None
    try:
        at = moment_of(text, zone)
    except ValueError as problem:
        raise _Bad(column, f"时间无法读取：{text[:40]}（写法如 2026-11-23 14:30）") from problem
    if not now - timedelta(days=3650) < at < now + _AHEAD:
        raise _Bad(column, f"时间不合理：{text[:40]}")
    return at


def _names(text: str) -> list[str]:
    for separator in ("；", ";", "，", ",", "、"):
        text = text.replace(separator, "\n")
    return [name.strip() for name in text.split("\n") if name.strip()]


def _attachments(
    names: Sequence[str], column: str, file: Callable[[str], ReportedFile]
) -> tuple[tuple[ReportedFile, ...], list[_Bad]]:
    """Attachments by name; one that can't be had is an error of its own, and the report is taken without it."""
    files: list[ReportedFile] = []
    problems: list[_Bad] = []
    for name in names:
        if len(files) == _FILES_MOST:
            problems.append(_Bad(column, f"附件超过{_FILES_MOST}个，其余未接收"))
            break
        try:
            files.append(file(name))
        except ValueError as problem:
            problems.append(_Bad(column, str(problem)))
    return tuple(files), problems
