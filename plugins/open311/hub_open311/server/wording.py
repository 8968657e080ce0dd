"""How what GeoReport v2 knows and a case has no field for is kept in the case's own words, and read back. Pure.

- address id: at the end of the place, `尧佳路7号（地址编号 545483）`. The place is what the departments get and what is masked for those
  who do not handle the case.
- picture address and answers: below the description, under the line `〔附加信息〕`, one `name：value` a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hub import How, Position
from hub_open311.server.errors import Open311Error

EXTRAS = "〔附加信息〕"
PICTURE = "图片"
_PLACE = re.compile(r"^(?P<address>.*?)(?:（地址编号 (?P<id>[^；（）]+)）)?$", re.DOTALL)
MOST_PLACE = 200
"""Characters of a place that the hub takes."""


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where something is, as far as it was said."""

    address: str | None = None
    address_id: str | None = None
    degrees: tuple[float, float] | None = None
    """WGS84 latitude and longitude; the case has a position of its own for them."""

    @property
    def position(self) -> Position | None:
        """The degrees as the case's position: clients take them from the phone, or from a map whose pin stands there."""
        if self.degrees is None:
            return None
        return Position(longitude=self.degrees[1], latitude=self.degrees[0], system="wgs84", how=How.DEVICE)


def place_of(spot: Spot) -> str | None:
    """The case's place; raises Open311Error(400) when it would be too long to be kept whole."""
    tail = "" if not spot.address_id else f"（地址编号 {re.sub('[；（）]', ' ', spot.address_id)}）"
    place = f"{spot.address or ''}{tail}"
    if len(place) > MOST_PLACE:
        raise Open311Error(
            400, f"address_string is too long: at most {MOST_PLACE - len(place) + len(spot.address or '')} characters"
        )
    return place or None


def spot_of(place: str | None) -> Spot:
    """What a case's place says."""
    match = _PLACE.match(place or "")
    if match is None:
        return Spot(address=place)
    return Spot(address=match["address"] or None, address_id=match["id"])


def text_of(description: str, extras: Mapping[str, str], *, picture: str | None = None) -> str:
    """The case's text: the description, then the picture's address and what else was said. Nothing said passes for a picture."""
    said = description.replace(EXTRAS, "")
    lines = [] if picture is None else [f"{PICTURE}：{picture}"]
    for given, value in extras.items():
        name = _line(given).replace("：", ":")
        lines.append(f"{'图片说明' if name == PICTURE else name}：{_line(value)}")
    return "\n".join((said, EXTRAS, *lines)).lstrip("\n") if lines else said


def parts_of(text: str) -> tuple[str, dict[str, str]]:
    """(description, extras) of a case's text."""
    description, found, tail = text.rpartition(EXTRAS)
    if not found:
        return text, {}
    pairs = (line.partition("：") for line in tail.strip().splitlines())
    return description.rstrip("\n"), {name: value for name, _, value in pairs}


def _line(text: str) -> str:
    return " ".join(text.replace(EXTRAS, "").split())
