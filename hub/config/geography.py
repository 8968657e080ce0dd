"""The map of a district: its local planes (in district.yaml) and the outlines of its areas (outlines.geojson, which may be missing).

Outlines are GeoJSON as RFC 7946 has it: WGS-84, longitude first. Each feature's `code` says whose outline it is. Every mistake
names the feature.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import pairwise
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from pydantic import AfterValidator, Field

from hub.config.documents import Form
from hub.errors import ConfigError
from hub.geo import check_projection
from hub.model.district.areas import AreaCode
from hub.model.district.outlines import Outline, Outlines, Ring
from hub.model.positions import SYSTEMS, Plane

OUTLINES = "outlines.geojson"

_SAME = ("CRS84", "EPSG::4326", "EPSG:4326", "EPSG::4490", "EPSG:4490")
"""How the names of WGS-84 and CGCS2000 end in the old member `crs`, which many programs still write."""


def _projection(epsg: int) -> int:
    check_projection(epsg)
    return epsg


def _plane_name(name: str) -> str:
    if name in SYSTEMS:
        raise ValueError(f"{name} is a system everybody knows; give the plane another name")
    return name


PlaneName = Annotated[str, AfterValidator(_plane_name)]


class PlaneForm(Form):
    """A local plane: how its metres become degrees, as far as that is known."""

    epsg: Annotated[int, AfterValidator(_projection)] | None = None
    affine: Annotated[tuple[float, ...], Field(min_length=6, max_length=6)] | None = None

    def plane(self) -> Plane:
        """The plane it describes."""
        return Plane(epsg=self.epsg, affine=self.affine)


_Corner = Annotated[tuple[float, ...], Meta(min_length=2, max_length=3)]
_Ring = Annotated[tuple[_Corner, ...], Meta(min_length=4)]
_Rings = Annotated[tuple[_Ring, ...], Meta(min_length=1)]


class _Polygon(Struct, frozen=True, tag_field="type", tag="Polygon"):
    coordinates: _Rings


class _MultiPolygon(Struct, frozen=True, tag_field="type", tag="MultiPolygon"):
    coordinates: Annotated[tuple[_Rings, ...], Meta(min_length=1)]


class _Properties(Struct, frozen=True):
    code: str


class _Feature(Struct, frozen=True, tag_field="type", tag="Feature"):
    properties: _Properties
    geometry: _Polygon | _MultiPolygon


class _Collection(Struct, frozen=True, tag_field="type", tag="FeatureCollection"):
    features: tuple[_Feature, ...]
    crs: Any = None


def read_outlines(text: str, file: str, areas: Container[str], problems: list[ConfigError]) -> Outlines:
    """The outlines of a GeoJSON text; mistakes are noted."""
    try:
        found = msgspec.json.decode(text, type=_Collection)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        problems.append(ConfigError(reason, file=file, key=path.strip(".`") or None))
        return Outlines()
    except msgspec.DecodeError as error:
        problems.append(ConfigError(f"not JSON: {error}", file=file))
        return Outlines()
    name = (found.crs.get("properties") or {}).get("name") if isinstance(found.crs, dict) else None
    if isinstance(name, str) and not name.endswith(_SAME):
        problems.append(ConfigError(f"outlines are on WGS-84; convert them from {name} first", file=file, key="crs"))
    before, outlines, lines = len(problems), [], dict[str, int]()
    for number, feature in enumerate(found.features):
        code, key = feature.properties.code, f"features[{number}]"
        for reason, place in _mistakes(feature, areas, lines):
            problems.append(ConfigError(reason, file=file, key=f"{key}.{place}"))
        lines.setdefault(code, number)
        geometry = feature.geometry
        parts = (geometry.coordinates,) if isinstance(geometry, _Polygon) else geometry.coordinates
        polygons = tuple(tuple(_ring(ring) for ring in rings) for rings in parts)
        outlines.append(Outline(code=AreaCode(code), polygons=polygons))
    return Outlines(outlines if len(problems) == before else ())


def _mistakes(feature: _Feature, areas: Container[str], earlier: dict[str, int]) -> Iterator[tuple[str, str]]:
    """(reason, where) of what is wrong with a feature that has the right form."""
    code, geometry = feature.properties.code, feature.geometry
    if code not in areas:
        yield f"no area has the code {code!r}", "properties.code"
    if code in earlier:
        yield f"{code} has an outline already (features[{earlier[code]}]); use a MultiPolygon", "properties.code"
    parts = (geometry.coordinates,) if isinstance(geometry, _Polygon) else geometry.coordinates
    for ring in (ring for rings in parts for ring in rings):
        if ring[0] != ring[-1]:
            yield "a ring ends where it begins; this one does not", "geometry"
        if any(not (-180 <= corner[0] <= 180 and -90 <= corner[1] <= 90) for corner in ring):
            yield "a corner is [longitude, latitude] in degrees of WGS-84", "geometry"
        elif _crosses(_ring(ring)):
            yield "a ring crosses itself", "geometry"


def _ring(ring: tuple[tuple[float, ...], ...]) -> Ring:
    return tuple((corner[0], corner[1]) for corner in ring)


def _crosses(ring: Ring) -> bool:
    """Whether two edges of a ring cross. Edges are compared only where their spans of longitude meet."""
    edges = sorted((min(one, other), max(one, other)) for one, other in pairwise(ring))
    for place, first in enumerate(edges):
        for second in edges[place + 1 :]:
            if second[0][0] > first[1][0]:
                break
            if _apart(first, second[0], second[1]) and _apart(second, first[0], first[1]):
                return True
    return False


def _apart(edge: tuple[tuple[float, float], tuple[float, float]], one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two points lie on different sides of an edge's line."""
    return _side(edge, one) * _side(edge, other) < 0


def _side(edge: tuple[tuple[float, float], tuple[float, float]], point: tuple[float, float]) -> float:
    (x1, y1), (x2, y2) = edge
    return (x2 - x1) * (point[1] - y1) - (y2 - y1) * (point[0] - x1)
