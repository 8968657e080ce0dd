"""Where something is on the map: a position as it was given, and the same on WGS-84. Pure; `hub.geo` converts.

A position is never converted in place: it is kept as given, with the system it was given in, and beside it what intake made of it once.
Its exact value is for those who handle the matter; `from_afar` is what everybody else sees.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hub.errors import InvalidInput
from hub.model import words
from hub.model.texts import CODE

WGS84: Final = "wgs84"
SYSTEMS: Final = (WGS84, "cgcs2000", "gcj02", "bd09")
"""The systems in degrees that everybody knows. Any other name is that of a plane of the district."""
PLANE_NAME: Final = r"^[a-z][a-z0-9_-]{1,31}$"

FAR_DECIMALS: Final = 2
"""Decimals of a position for those who don't handle the matter: about a kilometre."""
FARTHEST: Final = 100_000_000.0
"""Metres in a plane; nothing lies further out."""
METRES_PER_DEGREE: Final = 111_195.0
"""Of latitude, on a sphere of 6371 km; good to half a per cent, as a search near by needs it."""
CHINA: Final = (73.5, 135.1, 3.8, 53.6)
"""West, east, south, north: what lies outside is noted, not refused."""

_NO_POINT: Final = "a point is LON,LAT in degrees, such as 118.91,32.10"

Coordinate = Annotated[float, Meta(ge=-FARTHEST, le=FARTHEST)]
SystemName = Annotated[
    str,
    Meta(pattern=PLANE_NAME, max_length=32, extra=CODE, description=f"{', '.join(SYSTEMS)}, or a plane of the district."),
]


class How(StrEnum):
    """How a position came about."""

    DEVICE = "device"
    """Measured: a phone, a sensor, a camera that stands there."""
    PERSON = "person"
    """Somebody pointed at a map."""
    GEOCODED = "geocoded"
    """Looked up from an address."""


class Point(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A place on WGS-84, in degrees."""

    longitude: Coordinate
    latitude: Coordinate


class Position(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A position exactly as it was given.

    In a plane of the district `longitude` is the way east and `latitude` the way north, in metres.
    """

    longitude: Coordinate
    latitude: Coordinate
    system: SystemName
    """wgs84, cgcs2000, gcj02, bd09, or the name of a plane in district.yaml. It is never guessed."""
    accuracy_m: Annotated[float, Meta(ge=0, le=1_000_000, description="Metres it may be off.")] | None = None
    how: How | None = None

    def line(self) -> str:
        """In one line, for people: the numbers, the system, how good they are."""
        parts = [f"{self.longitude!r},{self.latitude!r}", words.SYSTEMS.get(self.system, self.system)]
        if self.accuracy_m is not None:
            parts.append(f"±{self.accuracy_m:g} 米")
        if self.how is not None:
            parts.append(words.HOW[self.how])
        return " ".join(parts)


def check(position: Position, planes: Collection[str] | None = None) -> None:
    """Raises InvalidInput naming the field for a value that can't be; also, where `planes` are given, for a system nobody knows."""
    if position.system in SYSTEMS:
        bounds = {"longitude": 180.0, "latitude": 90.0}
    elif planes is None or position.system in planes:
        bounds = {"longitude": FARTHEST, "latitude": FARTHEST}
    else:
        known = ", ".join((*SYSTEMS, *sorted(planes)))
        raise InvalidInput(f"no such coordinate system: {position.system} (known: {known})", subject="position.system")
    for name, most in bounds.items():
        value = getattr(position, name)
        if not -most <= value <= most:  # not a number is between nothing
            raise InvalidInput(f"lies between -{most:.15g} and {most:.15g}", subject=f"position.{name}")
    if position.accuracy_m is not None and not 0 <= position.accuracy_m <= 1_000_000:
        raise InvalidInput("metres, 0 to 1000000", subject="position.accuracy_m")


def in_china(point: Point) -> bool:
    """Whether it lies in the rectangle around China; what does not has most likely lost a digit, or has its numbers exchanged."""
    west, east, south, north = CHINA
    return west <= point.longitude <= east and south <= point.latitude <= north


def rounded(point: Point) -> Point:
    """A point for those who don't handle the matter."""
    return Point(longitude=round(point.longitude, FAR_DECIMALS), latitude=round(point.latitude, FAR_DECIMALS))


def from_afar(wgs84: Point | None) -> tuple[Position | None, Point | None]:
    """(position, wgs84) as those see it who don't handle the matter: the rounded point in both, whatever was given.

    The same place rounded in two systems would lie where both roundings meet, and so be known far more exactly.
    """
    if wgs84 is None:
        return None, None
    point = rounded(wgs84)
    return Position(longitude=point.longitude, latitude=point.latitude, system=WGS84), point


class Plane(msgspec.Struct, frozen=True, kw_only=True):
    """A local plane of a district: metres east and north of some origin.

    `affine` (a, b, c, d, e, f): x = a·east + b·north + c, y = d·east + e·north + f; x and y are metres in the projection `epsg`, or
    degrees of WGS-84 without one. With neither the plane is known by name only, and its positions have no WGS-84.
    """

    epsg: int | None = None
    affine: tuple[float, ...] | None = None

    def moved(self, east: float, north: float) -> tuple[float, float]:
        """What the affine makes of it."""
        if self.affine is None:
            return east, north
        a, b, c, d, e, f = self.affine
        return a * east + b * north + c, d * east + e * north + f


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What lies within so many metres of a point: a rectangle to look in, and the distance to be kept to."""

    point: Point
    metres: float

    @property
    def east_scale(self) -> float:
        """Metres of a degree of longitude here; never nothing, so that at a pole there is still something to divide by."""
        return METRES_PER_DEGREE * max(0.01, math.cos(math.radians(self.point.latitude)))

    @property
    def rectangle(self) -> tuple[float, float, float, float]:
        """West, east, south, north."""
        wide, high = self.metres / self.east_scale, self.metres / METRES_PER_DEGREE
        here = self.point
        return here.longitude - wide, here.longitude + wide, here.latitude - high, here.latitude + high


def read_point(text: str) -> Point:
    """A point written `LON,LAT` in degrees of WGS-84; raises ValueError."""
    try:
        longitude, latitude = map(float, text.split(","))
    except ValueError:
        raise ValueError(_NO_POINT) from None
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise ValueError(_NO_POINT)
    return Point(longitude=longitude, latitude=latitude)
