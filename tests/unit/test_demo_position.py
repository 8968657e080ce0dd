"""Where the demo's reporters are: patrols and sensors in a grid, residents where they say, callers wherever the hub finds."""

from pathlib import Path

import pytest

from hub.config.district import load_district
from hub.config.requests import Request
from hub.demo.replay import position_of
from hub.model.case.state import Channel
from hub.model.policy.district import District

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture(scope="module")
def district() -> District:
    return load_district(CONFIG)


def request(channel: Channel, text: str, id: str = "1") -> Request:
    return Request(id=id, title="路灯不亮", text=text, created_at=None, support=0, against=0, channel=channel)


def test_a_patrol_is_always_in_a_grid_and_always_in_the_same(district: District) -> None:
    first = position_of(request(Channel.PATROL, "三天不亮"), district)
    assert first is not None
    assert len(first) == 15
    assert first in district.areas
    assert position_of(request(Channel.PATROL, "三天不亮"), district) == first


def test_a_named_place_holds_the_grid(district: District) -> None:
    square = district.locate("迈皋桥广场")
    assert square is not None
    for channel in (Channel.PATROL, Channel.RESIDENT, Channel.DEVICE):
        position = position_of(request(channel, "迈皋桥广场旁路灯不亮"), district)
        assert position is not None
        assert position.startswith(square)


def test_residents_without_a_place_and_callers_have_no_position(district: District) -> None:
    assert position_of(request(Channel.RESIDENT, "路灯不亮"), district) is None
    assert position_of(request(Channel.HOTLINE, "迈皋桥广场旁路灯不亮"), district) is None


def test_positions_spread_over_the_district(district: District) -> None:
    found = {position_of(request(Channel.DEVICE, "水位过高", id=str(number)), district) for number in range(50)}
    assert len({str(position)[:9] for position in found}) > 5
