"""The outlines of areas on the map: which area a point lies in. Pure; `hub.config.outlines` reads them from GeoJSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from hub.model.district.areas import AreaCode
from hub.model.positions import Point

Ring = tuple[tuple[float, float], ...]
"""Longitude and latitude of each corner; the last is the first again."""


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """One area's outline on WGS-84. `polygons`: each an outer ring and the rings of its holes."""

    code: AreaCode
    polygons: tuple[tuple[Ring, ...], ...]


class Outlines:
    """All outlines of a district; looked up by a point."""

    def __init__(self, outlines: Iterable[Outline] = ()) -> None:
        # The deepest first: what lies in a grid lies in its street, too.
        deepest = sorted(outlines, key=lambda one: (-len(one.code), one.code))
        self._polygons = [(one.code, _rectangle(rings[0]), rings) for one in deepest for rings in one.polygons]

    def __bool__(self) -> bool:
        return bool(self._polygons)

    def area_at(self, point: Point) -> AreaCode | None:
        """The most specific area with an outline around the point; None where none has."""
        x, y = point.longitude, point.latitude
        for code, (west, east, south, north), rings in self._polygons:
            if west <= x <= east and south <= y <= north and _inside(x, y, rings):
                return code
        return None


def _rectangle(ring: Ring) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in ring], [y for _, y in ring]
    return min(xs), max(xs), min(ys), max(ys)


def _inside(x: float, y: float, rings: Sequence[Ring]) -> bool:
    """Even-odd rule: a line from the point to the west crosses an odd number of edges; those of a hole take it out again."""
    odd = False
    for ring in rings:
        for (x1, y1), (x2, y2) in pairwise(ring):
            if (y1 > y) != (y2 > y) and x > x1 + (y - y1) * (x2 - x1) / (y2 - y1):
                odd = not odd
    return odd
