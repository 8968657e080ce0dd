"""Positions: what is taken, how it is converted, which area it lies in, and what those see who don't handle the case."""

import math
from pathlib import Path

import msgspec
import pytest

from hub.config.district import check_district
from hub.errors import InvalidInput
from hub.geo import to_wgs84
from hub.model.district.areas import AreaCode
from hub.model.district.outlines import Outline, Outlines
from hub.model.policy.district import District
from hub.model.positions import METRES_PER_DEGREE, Plane, Point, Position, Window, check, from_afar, in_china, read_point
from hub.spine.ways_in.locating import locate
from tests.unit.api_world import ROOT, district


def at(longitude: float, latitude: float, system: str = "wgs84") -> Position:
    return Position(longitude=longitude, latitude=latitude, system=system)


def metres(one: Point | None, longitude: float, latitude: float) -> float:
    assert one is not None
    east = (one.longitude - longitude) * METRES_PER_DEGREE * math.cos(math.radians(latitude))
    return math.hypot(east, (one.latitude - latitude) * METRES_PER_DEGREE)


# --- conversions, against points that others published ---


@pytest.mark.parametrize(
    ("system", "given", "wgs84"),
    [
        # The example of the JavaScript library coordtransform, which most map code in China goes back to.
        ("gcj02", (116.41024449916938, 39.91640428150164), (116.404, 39.915)),
        ("bd09", (116.41662724378733, 39.922699552216216), (116.404, 39.915)),
        # eviltransform's test data: Shanghai, Shenzhen, Beijing.
        ("gcj02", (121.531541859215, 31.17530398364597), (121.5272106, 31.1774276)),
        ("gcj02", (113.9171764808363, 22.540796131694766), (113.912316, 22.543847)),
        ("gcj02", (116.38404722455657, 39.91334545536069), (116.377817, 39.911954)),
    ],
)
def test_known_points_come_out_within_two_metres(system: str, given: tuple[float, float], wgs84: tuple[float, float]) -> None:
    assert metres(to_wgs84(at(*given, system), {}), *wgs84) < 2


def test_wgs84_and_cgcs2000_stay_as_they_are() -> None:
    for system in ("wgs84", "cgcs2000"):
        assert to_wgs84(at(118.91234567891, 32.1, system), {}) == Point(longitude=118.91234567891, latitude=32.1)


def test_gcj02_outside_china_is_wgs84() -> None:
    assert metres(to_wgs84(at(-0.1276, 51.5072, "gcj02"), {}), -0.1276, 51.5072) < 0.1


def test_a_plane_by_its_epsg_code_by_an_affine_and_by_both() -> None:
    # EPSG:4549 is CGCS2000 / 3-degree Gauss-Kruger CM 120E: its middle lies at 500 km east, 3,541,852.4 m is the arc to 32° N.
    # (111132.9526·32 - 16038.5087·sin 64° + 16.8326·sin 128°)
    planes = {
        "gauss": Plane(epsg=4549),
        "local": Plane(epsg=4549, affine=(1, 0, 400_000, 0, 1, 3_500_000)),
        "flat": Plane(affine=(0.00001, 0, 118.8, 0, 0.000009, 32.0)),
        "unknown": Plane(),
    }
    assert metres(to_wgs84(at(500_000, 3_541_852.4, "gauss"), planes), 120, 32) < 1
    assert to_wgs84(at(100_000, 41_852.4, "local"), planes) == to_wgs84(at(500_000, 3_541_852.4, "gauss"), planes)
    assert to_wgs84(at(1000, 2000, "flat"), planes) == Point(longitude=118.81, latitude=32.018)
    assert to_wgs84(at(1000, 2000, "unknown"), planes) is None


# --- what is taken ---


@pytest.mark.parametrize(
    ("position", "field"),
    [
        (at(181, 32), "position.longitude"),
        (at(118, -90.5), "position.latitude"),
        (at(math.nan, 32), "position.longitude"),
        (at(math.inf, 32), "position.longitude"),
        (at(118, 32, "gps"), "position.system"),
        (at(2e8, 0, "local"), "position.longitude"),
        (msgspec.structs.replace(at(118, 32), accuracy_m=-1.0), "position.accuracy_m"),
    ],
)
def test_what_can_not_be_is_refused_naming_the_field(position: Position, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(position, ("local",))
    assert refused.value.subject == field


def test_a_plane_takes_metres() -> None:
    check(at(40_512_345.6, 3_551_234.5, "local"), ("local",))


def test_exchanged_numbers_are_not_in_china() -> None:
    assert in_china(Point(longitude=118.9, latitude=32.1))
    assert not in_china(Point(longitude=32.1, latitude=118.9))


@pytest.mark.parametrize("text", ["", "118.9", "118.9,32.1,5", "a,b", "200,32", "nan,nan", "118.9;32.1"])
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="LON,LAT"):
        read_point(text)


def test_a_window_at_a_pole_is_still_one() -> None:
    west, east, south, north = Window(point=Point(longitude=0, latitude=90), metres=500).rectangle
    assert west < 0 < east
    assert south < 90 < north


def test_from_afar_nothing_but_one_rounded_point_is_left() -> None:
    position, wgs84 = from_afar(Point(longitude=118.91234, latitude=32.10312))
    assert wgs84 == Point(longitude=118.91, latitude=32.1)
    assert position == at(118.91, 32.1)
    assert from_afar(None) == (None, None)


# --- areas ---


def square(code: str, west: float, south: float, side: float, hole: float = 0) -> Outline:
    def ring(inset: float) -> tuple[tuple[float, float], ...]:
        w, s, e, n = west + inset, south + inset, west + side - inset, south + side - inset
        return ((w, s), (e, s), (e, n), (w, n), (w, s))

    return Outline(code=AreaCode(code), polygons=((ring(0), ring(hole)) if hole else (ring(0),),))


def test_the_most_specific_outline_counts_and_a_hole_is_not_inside() -> None:
    outlines = Outlines(
        [square("320113001", 118, 32, 1), square("320113001001", 118.1, 32.1, 0.2), square("320113002", 119, 32, 1, hole=0.4)]
    )

    def area(longitude: float, latitude: float) -> str | None:
        return outlines.area_at(Point(longitude=longitude, latitude=latitude))

    assert area(118.2, 32.2) == "320113001001"
    assert area(118.5, 32.5) == "320113001"
    assert area(119.1, 32.1) == "320113002"
    assert area(119.5, 32.5) is None, "the hole"
    assert area(117, 32.5) is None


def where(place: District, **given: object) -> tuple[str, tuple[str, ...]]:
    values: dict[str, object] = {"area": None, "place_name": None, "words": "", "position": None}
    found = locate(place, **values | given)  # type: ignore[arg-type]
    return found.area, found.doubts


def test_an_area_is_found_by_position_and_compared_with_the_words() -> None:
    place = district()
    here = at(118.9, 32.1)  # the made-up outline of 尧化街道
    assert where(place, position=here) == ("320113001", ())
    assert where(place, position=here, words="尧化街道路灯不亮") == ("320113001", ())
    assert where(place, position=here, area="320113001001001") == ("320113001001001", ())
    assert where(place, position=here, area="320113") == ("320113", ()), "what is given stays"
    area, (doubt,) = where(place, position=here, words="马群街道路灯不亮")
    assert (area, "尧化街道" in doubt, "马群街道" in doubt) == ("320113001", True, True)
    area, (doubt,) = where(place, position=here, area="320113002")
    assert (area, "尧化街道" in doubt) == ("320113002", True)
    area, (doubt,) = where(place, position=at(116.4, 39.9))
    assert (area, "轮廓" in doubt) == ("320113", True)
    area, (doubt,) = where(place, position=at(32.1, 88.9))
    assert "中国境内" in doubt


# --- configuration ---


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(ROOT / "config", tmp_path / "config"))


def test_the_demos_outlines_say_that_they_are_made_up() -> None:
    assert "虚构" in (ROOT / "config" / "outlines.geojson").read_text(encoding="utf-8")


def test_planes_are_read(directory: Path) -> None:
    with (directory / "district.yaml").open("a", encoding="utf-8") as file:
        file.write("planes:\n  gauss: {epsg: 4549}\n  flat: {affine: [1e-5, 0, 118.8, 0, 9e-6, 32]}\n  old:\n")
    checked = check_district(directory, {})
    assert checked.configured is not None, checked.problems
    assert checked.configured.district.planes == {
        "gauss": Plane(epsg=4549),
        "flat": Plane(affine=(1e-5, 0, 118.8, 0, 9e-6, 32)),
        "old": Plane(),
    }


def test_without_outlines_areas_are_found_by_words_alone(directory: Path) -> None:
    (directory / "outlines.geojson").unlink()
    checked = check_district(directory, {})
    assert checked.configured is not None, checked.problems
    assert where(checked.configured.district, position=at(118.9, 32.1)) == ("320113", ())


@pytest.mark.parametrize(
    ("planes", "key", "words"),
    [
        ("gcj02: {epsg: 4549}", "gcj02", "everybody knows"),
        ("Gauss: {epsg: 4549}", "Gauss", "not a plane's name"),
        ("gauss: {epsg: 999999}", "gauss.epsg", "no coordinate system has"),
        ("gauss: {epsg: 4326}", "gauss.epsg", "no projection"),
        ("gauss: {affine: [1, 2]}", "gauss.affine", "at least 6 items"),
        ("gauss: {shift: 3}", "gauss.shift", "unknown key"),
    ],
)
def test_a_mistake_in_a_plane_is_named(directory: Path, planes: str, key: str, words: str) -> None:
    with (directory / "district.yaml").open("a", encoding="utf-8") as file:
        file.write(f"planes:\n  {planes}\n")
    problem = next(iter(check_district(directory, {}).problems))
    assert (problem.file, problem.line is not None) == ("district.yaml", True)
    assert key in (problem.key or "")
    assert words in problem.reason


FIRST = '"code": "320113003"'
RING = "[118.76, 32.02], [118.86, 32.02], [118.86, 32.085], [118.76, 32.085], [118.76, 32.02]"


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        (FIRST, '"code": "320114003"', "features[0].properties.code", "no area has the code"),
        (FIRST, '"code": "320113002"', "features[1].properties.code", "has an outline already"),
        (FIRST, '"name": "x"', "features[0].properties", "missing required field"),
        (RING, RING.replace("118.76", "1187.6"), "features[0].geometry", "degrees of WGS-84"),
        (RING, RING[: -len(", [118.76, 32.02]")], "features[0].geometry", "ends where it begins"),
        (RING, "[118, 32], [119, 33], [119, 32], [118, 33], [118, 32]", "features[0].geometry", "crosses itself"),
        ('"Polygon"', '"Point"', "features[0].geometry.type", "Invalid value"),
        ('"features"', '"crs": {"properties": {"name": "EPSG:4549"}}, "features"', "crs", "convert them"),
        ("{", "{{", "", "not JSON"),
    ],
)
def test_a_mistake_in_the_outlines_is_named(directory: Path, old: str, new: str, key: str, words: str) -> None:
    file = directory / "outlines.geojson"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    checked = check_district(directory, {})
    assert checked.configured is None
    found = [(problem.file, problem.key or "", problem.reason) for problem in checked.problems]
    assert any(name == "outlines.geojson" and key == where and words in reason for name, where, reason in found), found
