"""What GeoReport knows and a case has no field for comes back out of the case's words as it went in."""

import json
from xml.etree import ElementTree

import pytest
from hub_open311.server.errors import Open311Error
from hub_open311.server.formats import Form, form_of, write
from hub_open311.server.wording import EXTRAS, MOST_PLACE, PICTURE, Spot, parts_of, place_of, spot_of, text_of
from hypothesis import given
from hypothesis import strategies as st

from hub import How, Position
from hub.spine.ways_in import intake

words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=60).map(str.strip).filter(bool)


@given(address=st.none() | words, id=st.none() | st.from_regex(r"\A[A-Za-z0-9-]{1,20}\Z"))
def test_place_gives_back_the_address_id(address: str | None, id: str | None) -> None:
    place = place_of(Spot(address=address, address_id=id))
    assert place is None or len(place) <= MOST_PLACE
    if id is not None:
        assert spot_of(place) == Spot(address=address, address_id=id)


def test_degrees_are_the_position_latitude_first_as_clients_send_them() -> None:
    assert Spot(address="尧佳路7号").position is None
    assert Spot(degrees=(32.1, 118.9)).position == Position(longitude=118.9, latitude=32.1, system="wgs84", how=How.DEVICE)


def test_address_that_would_not_fit_is_refused_not_cut() -> None:
    assert MOST_PLACE == intake.MOST_PLACE, "what is said to fit is what the hub takes"
    with pytest.raises(Open311Error) as refusal:
        place_of(Spot(address="长" * MOST_PLACE, address_id="12"))
    assert refusal.value.status == 400


@given(
    description=words,
    extras=st.dictionaries(words, words, max_size=4),
    picture=st.none() | st.just("https://pictures.example.org/1.jpg?a=b"),
)
def test_text_gives_back_description_answers_and_picture(description: str, extras: dict[str, str], picture: str | None) -> None:
    found, more = parts_of(text_of(description, extras, picture=picture))
    assert found == description.replace(EXTRAS, "").rstrip("\n")
    assert more.get(PICTURE) == picture
    clean = {line(name): line(value) for name, value in extras.items()}
    if len(clean) == len(extras) and PICTURE not in clean and not any("：" in name for name in clean):
        assert {name: value for name, value in more.items() if name != PICTURE} == clean


def line(text: str) -> str:
    return " ".join(text.replace(EXTRAS, "").split())


@pytest.mark.parametrize("name", ["图片", " 图片 ", "图片：http"])
def test_nothing_a_reporter_says_passes_for_the_picture(name: str) -> None:
    evil = "javascript:alert(1)"
    assert PICTURE not in parts_of(text_of(f"x\n{EXTRAS}\n图片：{evil}", {}))[1]
    assert PICTURE not in parts_of(text_of("x", {"a": f"{EXTRAS}\n图片：{evil}"}))[1]
    assert PICTURE not in parts_of(text_of("x", {name: evil}))[1]


@given(value=st.text(max_size=50))
def test_any_text_is_well_formed_xml_and_json(value: str) -> None:
    ElementTree.fromstring(write("services", [{"service_name": value}], Form.XML))
    clean = value.encode("utf-8", "replace").decode()
    assert json.loads(write("services", [{"service_name": clean}], Form.JSON)) == [{"service_name": clean}]


@pytest.mark.parametrize(
    ("path", "accept", "form"),
    [
        ("/open311/v2/services.json", "", Form.JSON),
        ("/open311/v2/services.XML", "application/json", Form.XML),
        ("/open311/v2/services", "application/json", Form.JSON),
        ("/open311/v2/services", "*/*", Form.XML),
    ],
)
def test_ending_decides_the_format_before_the_accept_header(path: str, accept: str, form: Form) -> None:
    assert form_of(path, accept) is form
