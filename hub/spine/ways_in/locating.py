"""Where a report arose: the area that is given, named in words, or lies around its position. Pure but for what it logs.

Words and position are compared. Neither is refused for the other: what does not fit together is told to the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from hub.errors import InvalidInput
from hub.geo import to_wgs84
from hub.model.district.areas import AreaCode, within
from hub.model.positions import Point, Position, check, in_china

if TYPE_CHECKING:
    from hub.model.policy.district import District

log = structlog.get_logger("hub.intake")


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """Where a report arose. `wgs84`: its position, converted this one time; `doubts`: what does not fit together, in Chinese."""

    area: AreaCode
    wgs84: Point | None
    doubts: tuple[str, ...]


def locate(district: District, *, area: str | None, place_name: str | None, words: str, position: Position | None) -> Located:
    """`area` wins over `place_name`, that over the position, that over places in the words unless they say the same more exactly.

    Raises InvalidInput naming the field.
    """
    wgs84 = None if position is None else on_the_map(district, position)
    shown = None if wgs84 is None else district.outlines.area_at(wgs84)
    given = _given(district, area, place_name)
    said = given or district.locate(words)
    found = said or district.code
    if given is None and shown is not None and not within(found, shown):
        found = shown
    doubt = _doubt(district, wgs84, shown, said)
    if doubt is not None:
        log.info("position in doubt", reason=doubt)
    return Located(area=found, wgs84=wgs84, doubts=() if doubt is None else (doubt,))


def on_the_map(district: District, position: Position) -> Point | None:
    """The position on WGS-84; None for a plane of which nobody said where it lies. Raises InvalidInput."""
    check(position, district.planes)
    wgs84 = to_wgs84(position, district.planes)
    plane = district.planes.get(position.system)
    if wgs84 is None and plane is not None and (plane.epsg, plane.affine) != (None, None):
        raise InvalidInput(f"lies outside what {position.system} reaches", subject="position")
    return wgs84


def _given(district: District, area: str | None, place_name: str | None) -> AreaCode | None:
    if area is not None:
        if not district.policy.is_area(area):
            raise InvalidInput(f"no such area: {area}", subject="area")
        return AreaCode(area)
    return (district.places.get(place_name) or district.locate(place_name)) if place_name else None


def _doubt(district: District, wgs84: Point | None, shown: AreaCode | None, said: AreaCode | None) -> str | None:
    if wgs84 is None:
        return None
    if not in_china(wgs84):
        return "坐标不在中国境内，请核对经纬度是否写反、坐标系是否写错"
    if shown is None:
        return "坐标不在本区任何区划轮廓内，请核对" if district.outlines else None
    if said is None or within(said, shown) or within(shown, said):
        return None
    here, there = ("".join(district.areas.path(code)) for code in (shown, said))
    return f"坐标位于{here}，所报区划或文字所指为{there}，请核对"


__all__ = ["Located", "locate", "on_the_map"]
