"""A trial's sample. Its marks tell people at the department that it is one. Its case id can't exist.

Pure. Also recognises the sample in the department's later feedback. Such feedback concerns no case and is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from hub.contract import Assignment
from hub.errors import InvalidInput
from hub.model.assignments.state import Role, delivery_key
from hub.model.case.state import Severity, case_id
from hub.model.district.areas import Level, within

if TYPE_CHECKING:
    from hub.contract import AdapterInstance, Manifest
    from hub.model.policy.district import District

MARK = "【测试】"
"""What the title of every sample begins with."""
NOWHERE = "0" * 15
"""The area of a sample's case id: no area has this code, so no case can have the id."""
RECALL_REASON = "联调测试结束，请撤销该测试件"


def is_sample(reference: str) -> bool:
    """Whether a case id or a delivery key is a sample's."""
    return reference.startswith(f"{NOWHERE}-")


def default_sample(
    *,
    suffix: str,
    now: datetime,
    unit: str,
    area: str = "320113001001001",
    area_path: tuple[str, ...] = ("示例区", "示例街道", "示例社区", "第1网格"),
    category: str = "E0101",
    category_name: str = "联调测试",
) -> Assignment:
    """A marked assignment. `suffix`: at least 10 characters of lower-case Crockford base 32, new for each; `now` aware."""
    case = case_id(NOWHERE, suffix)
    at = now.replace(microsecond=0)
    return Assignment(
        key=delivery_key(case, "a1"),
        case=case,
        unit=unit,
        role=Role.LEAD,
        title=f"{MARK}系统联调测试件，请勿处置",
        text="这是城市运行管理中枢的联调测试件，不是真实事件，无需处置；测试结束后会自动撤回。",
        category=category,
        category_name=category_name,
        severity=Severity.MINOR,
        area=area,
        area_path=area_path,
        reported_at=at,
        place="测试地址",
        accept_by=at + timedelta(hours=24),
        finish_by=at + timedelta(hours=72),
    )


def sample_in(district: District, instance: AdapterInstance, manifest: Manifest, *, suffix: str, now: datetime) -> Assignment:
    """The marked assignment with a unit, an area and a category of the district that the instance is for."""
    units = [unit.code for unit in district.directory if unit.adapter == instance.name]
    unit = next(iter((*instance.units, *units)), instance.name)
    scopes = instance.areas or manifest.areas
    grids = [
        area.code for area in district.areas.at_level(Level.GRID) if not scopes or any(within(area.code, s) for s in scopes)
    ]
    area = grids[0] if grids else (scopes[0] if scopes else district.code)
    fits = [
        category
        for category in district.policy.categories
        if not manifest.categories or category.code.startswith(tuple(manifest.categories))
    ]
    sample = default_sample(suffix=suffix, now=now.astimezone(district.zone), unit=unit, area=area)
    sample = replace(sample, area_path=tuple(district.areas.path(area)))
    return replace(sample, category=fits[0].code, category_name=fits[0].name) if fits else sample


def given_sample(values: Mapping[str, Any], base: Assignment, *, subject: str = "sample") -> Assignment:
    """`base` with the fields somebody gives instead; key and case stay the sample's, the title is marked.

    Raises InvalidInput naming the field.
    """
    for name in values:
        if name not in Assignment.__struct_fields__:
            raise InvalidInput(f"an assignment has no {name}", subject=f"{subject}.{name}")
    given = {name: value for name, value in values.items() if name not in ("key", "case", "ticket")}
    try:
        sample = msgspec.convert({**_plain(base), **given}, Assignment)
    except msgspec.ValidationError as problem:
        field = str(problem).rpartition("`$.")[2].rstrip("`")
        raise InvalidInput(str(problem).partition(" - at")[0], subject=f"{subject}.{field}" if field else subject) from problem
    return sample if sample.title.startswith(MARK) else replace(sample, title=f"{MARK}{sample.title}")


def _plain(assignment: Assignment) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(assignment)
    return plain
