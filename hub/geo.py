"""Conversions between coordinate systems, by libraries: geocoordinates for those of China, PROJ for a district's own planes.

A position is converted once, when a report is taken in, and stored beside what was given. Called by intake, and by the configuration to
see whether a projection is known.

GCJ-02 and BD-09 have no exact way back; the library's refined one is good to half a metre. CGCS2000 lies within a metre of WGS-84, and
counts as the same. The libraries are imported when they are first needed: many hubs never see such a position.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from hub.model.positions import Plane, Point, Position

if TYPE_CHECKING:
    from pyproj import Transformer

WGS84_EPSG: Final = 4326
DECIMALS: Final = 7
"""Of a converted degree: a centimetre, far below what a conversion is good for."""


def to_wgs84(position: Position, planes: Mapping[str, Plane]) -> Point | None:
    """The position on WGS-84; None for a plane of which nobody said where it lies, and for a place its projection does not reach."""
    x, y = position.longitude, position.latitude
    match position.system:
        case "wgs84" | "cgcs2000":
            return Point(longitude=x, latitude=y)
        case "gcj02" | "bd09":
            return _point(*_from_china(x, y, position.system))
        case name:
            plane = planes[name]
    if plane.epsg is None and plane.affine is None:
        return None
    x, y = plane.moved(x, y)
    return _point(x, y) if plane.epsg is None else _point(*_projection(plane.epsg).transform(x, y))


def check_projection(epsg: int) -> None:
    """Raises ValueError unless it is the code of a projection into a plane."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        projected = CRS.from_epsg(epsg).is_projected
    except CRSError:
        raise ValueError(f"no coordinate system has the EPSG code {epsg}") from None
    if not projected:
        raise ValueError(f"EPSG:{epsg} is no projection into a plane")


def _from_china(longitude: float, latitude: float, system: str) -> tuple[float, float]:
    import geocoordinates_ffi as china

    if system == "gcj02":
        found = china.gcj02_to_wgs84_refined(china.Gcj02(lat=latitude, lon=longitude))
    else:
        found = china.bd09_to_wgs84_refined(china.Bd09(lat=latitude, lon=longitude))
    return found.lon, found.lat


def _point(longitude: float, latitude: float) -> Point | None:
    if not (math.isfinite(longitude) and math.isfinite(latitude) and abs(longitude) <= 180 and abs(latitude) <= 90):
        return None
    return Point(longitude=round(longitude, DECIMALS), latitude=round(latitude, DECIMALS))


@lru_cache(maxsize=16)
def _projection(epsg: int) -> Transformer:
    from pyproj import Transformer

    return Transformer.from_crs(epsg, WGS84_EPSG, always_xy=True)
