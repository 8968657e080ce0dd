"""Settings of one drop folder: where it is, what the columns are called, which words mean what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from hub import AdapterSettings, Channel, FeedbackKind

COLUMNS: dict[str, str] = {
    "kind": "类型",
    "ticket": "派单编号",
    "unit": "承办单位",
    "title": "事项",
    "category": "分类",
    "severity": "紧急程度",
    "area": "所属区域",
    "place": "地点",
    "longitude": "经度",
    "latitude": "纬度",
    "system": "坐标系",
    "text": "内容",
    "task": "办理要求",
    "reported_at": "上报时间",
    "accept_by": "受理期限",
    "finish_by": "办结期限",
    "message": "说明",
    "status": "办理状态",
    "note": "办理情况",
    "at": "办理时间",
    "files": "附件",
    "key": "系统编号",
}
"""Columns of a work list in their order, and what the department fills in: status, note, at, files."""

CASE_COLUMNS: dict[str, str] = {
    "ref": "来件编号",
    "title": "事项",
    "text": "内容",
    "place": "地点",
    "longitude": "经度",
    "latitude": "纬度",
    "system": "坐标系",
    "area": "区划代码",
    "place_name": "所属区域",
    "reported_at": "上报时间",
    "category": "分类代码",
    "name": "联系人",
    "phone": "联系电话",
}
"""Columns of rows without a number of ours: new cases."""

STATUSES: dict[str, FeedbackKind] = {
    "受理": FeedbackKind.ACCEPTED,
    "已受理": FeedbackKind.ACCEPTED,
    "签收": FeedbackKind.ACCEPTED,
    "已签收": FeedbackKind.ACCEPTED,
    "处理中": FeedbackKind.PROGRESS,
    "办理中": FeedbackKind.PROGRESS,
    "办结": FeedbackKind.RESOLVED,
    "已办结": FeedbackKind.RESOLVED,
    "已完成": FeedbackKind.RESOLVED,
    "退回": FeedbackKind.RETURNED,
    "退单": FeedbackKind.RETURNED,
    "不予受理": FeedbackKind.RETURNED,
}

_NAME = re.compile(r'[^\x00-\x1f/\\:*?"<>|.~][^\x00-\x1f/\\:*?"<>|]{0,79}')


class TableSettings(AdapterSettings):
    """Settings of one department that is reached by tables in a folder."""

    folder: Path = Field(
        description="The shared folder; absolute. The three folders in it must exist: none is made, so an unmounted share is seen."
    )
    out: str = Field("派单", description="Folder in it for our work lists.")
    inbox: str = Field("反馈", description="Folder in it where the department drops its tables.")
    archive: str = Field("归档", description="Folder in it where tables go that have been read.")
    format: Literal["csv", "xlsx"] = Field("csv", description="Of the work lists; what comes back may be either.")
    lists: Literal["day", "batch"] = Field(
        "day",
        description="day: one list a day that grows; batch: what comes within `batch_seconds` makes a list that is never touched again.",
    )
    batch_seconds: float = Field(2.0, ge=0, le=10, description="How long a batch waits for more.")
    units: tuple[str, ...] = Field((), description="Units served; another one's assignment is refused. Empty: any.")
    unit_names: dict[str, str] = Field(default_factory=dict, description="Unit code → name in the list.")
    columns: dict[str, str] = Field(
        default_factory=lambda: dict(COLUMNS), description="Field → column, in the order of the list; key is needed."
    )
    case_columns: dict[str, str] = Field(
        default_factory=lambda: dict(CASE_COLUMNS), description="Field → column of rows that are new cases."
    )
    statuses: dict[str, FeedbackKind] = Field(
        default_factory=dict, description="办理状态 → what it reports; before the crosswalk's and the built-in ones."
    )
    new_cases: bool = Field(False, description="Rows without a number of ours open cases.")
    channel: Channel = Field(Channel.DEPARTMENT, description="Channel of those cases.")
    categories_file: str = Field(
        "事项分类.csv",
        description="The department's categories (分类代码, 分类名称) in the shared folder; none: no categories.",
    )
    ready: Literal["stable", "marker"] = Field(
        "stable",
        description="stable: read when size and time don't change any more; marker: when `<name>.done` lies beside it.",
    )
    stable_seconds: float = Field(5.0, ge=0, le=3600, description="How long they must not change.")
    rows_per_poll: int = Field(500, ge=1, le=5000, description="Rows handed over at once.")
    rows_max: int = Field(50_000, ge=1, le=200_000, description="Rows of one table; a longer one is not read at all.")
    file_max_bytes: int = Field(20 * 2**20, ge=1024, le=100 * 2**20, description="A larger table is not read at all.")
    timeout: float = Field(15.0, gt=0, le=30, description="Seconds for one look into the folder; a network share can hang.")
    zone: str = Field("Asia/Shanghai", description="Time zone of times in tables.")

    @field_validator("folder")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("the folder must be given with its absolute path")
        return value

    @field_validator("out", "inbox", "archive")
    @classmethod
    def _one_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"not the name of a folder: {value}")
        return value

    @field_validator("categories_file")
    @classmethod
    def _one_table(cls, value: str) -> str:
        if not (_NAME.fullmatch(value) and value.lower().endswith((".csv", ".xlsx"))):
            raise ValueError(f"not the name of a table: {value}")
        return value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no such time zone: {value}") from error
        return value

    @field_validator("columns")
    @classmethod
    def _work_columns(cls, value: dict[str, str]) -> dict[str, str]:
        if "key" not in value:
            raise ValueError("a column for key is needed: without it nothing can be matched")
        return _checked(value, COLUMNS)

    @field_validator("case_columns")
    @classmethod
    def _new_case_columns(cls, value: dict[str, str]) -> dict[str, str]:
        if not {"ref", "title"} <= value.keys():
            raise ValueError("columns for ref and title are needed")
        return _checked(value, CASE_COLUMNS)

    @model_validator(mode="after")
    def _three_folders(self) -> Self:
        if len({self.out, self.inbox, self.archive}) != 3:
            raise ValueError("out, inbox and archive must be three folders")
        return self


def _checked(value: dict[str, str], known: dict[str, str]) -> dict[str, str]:
    unknown = value.keys() - known.keys()
    if unknown:
        raise ValueError(f"unknown field {min(unknown)}")
    if len(set(value.values())) != len(value) or not all(name.strip() == name and name for name in value.values()):
        raise ValueError("column names must be different and not empty")
    return value
