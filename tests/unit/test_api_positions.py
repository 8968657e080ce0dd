"""A position over HTTP, from the report to the list: exact for those who handle the case, rounded for everybody else."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hub.model.case import commands as c
from hub.model.case.state import CaseId, Channel
from hub.model.district.areas import AreaCode, UnitCode
from hub.model.positions import Point, Position
from hub.privacy.masks import mask_text
from hub.spine.handover import of_case
from hub.surfaces.cli import app
from tests.unit.api_world import STREET, World, person, served

GIVEN = {"longitude": 118.9175123, "latitude": 32.1009456, "system": "gcj02", "accuracy_m": 12.5, "how": "device"}
FAR = {"longitude": 118.91, "latitude": 32.1}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World.make(tmp_path) as made:
        yield made


async def ids(world: World, who: str, **query: object) -> list[str]:
    answer = await world.client.get("/cases", params={"fresh": 1, **query}, headers=world.as_(who))  # type: ignore[dict-item]
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def one(world: World, who: str, case: object) -> dict[str, Any]:
    answer = await world.client.get(f"/cases/{case}", params={"fresh": 1}, headers=world.as_(who))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_position_goes_its_whole_way(world: World) -> None:
    """Reported without an area, located by the outline, dispatched to the police; seen exactly, and from afar."""
    body = {"title": "井盖缺失", "text": "人行道上井盖不见了", "channel": "device", "position": GIVEN}
    answer = await world.client.post("/cases", json=body, headers=world.as_("admin", "k1"))
    assert answer.status_code == 201, answer.text
    case = answer.json()["case"]
    assert case["area"] == STREET, "by the outline"
    assert case["position"] == GIVEN
    exact = case["wgs84"]
    assert (round(exact["longitude"], 3), round(exact["latitude"], 3)) == (118.912, 32.103)
    assert (await one(world, "street", case["id"]))["position"] == GIVEN

    # everybody else
    for shown in (await one(world, "viewer", case["id"]), (await listed(world, "viewer"))[0]):
        assert shown["position"] == FAR | {"system": "wgs84"}
        assert shown["wgs84"] == FAR
    story = (await world.client.get(f"/cases/{case['id']}/timeline", params={"fresh": 1}, headers=world.as_("viewer"))).json()
    assert story["items"][0]["body"]["position"] == FAR | {"system": "wgs84"}
    assert "118.9175" not in str(story)
    assert "118.912" not in str(story)
    mine = (await world.client.get(f"/cases/{case['id']}/timeline", params={"fresh": 1}, headers=world.as_("street"))).json()
    assert mine["items"][0]["body"]["position"] == GIVEN

    # whom it is dispatched to
    centre = person(world.district.code, world.district)
    id = CaseId(case["id"])
    await world.desk.execute(id, c.Dispatch(targets=(c.Target(unit=UnitCode("police")),)), actor=centre)
    assert (await one(world, "police", id))["position"] == GIVEN
    folded = await world.desk.load(id)
    assert folded is not None
    order = of_case(folded.state, folded.state.assignments[-1], world.district, None)
    assert order.position == folded.state.position
    assert order.wgs84 == Point(**exact)
    assert order.summary()["position"] == GIVEN


async def listed(world: World, who: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.client.get("/cases", params={"fresh": 1}, headers=world.as_(who))).json()[
        "items"
    ]
    return found


async def test_near_by_is_exact_for_who_handles_and_by_the_rounded_point_for_others(world: World) -> None:
    here = {"longitude": 118.9042, "latitude": 32.1042, "system": "wgs84"}
    case = (await world.report(position=here))["id"]
    await world.report(position={"longitude": 118.95, "latitude": 32.12, "system": "wgs84"})
    await world.report()
    for who in ("admin", "street"):
        assert await ids(world, who, near="118.9042,32.1042", within_m=10) == [case]
        assert await ids(world, who, near="118.9060,32.1042") == [case], "500 m unless said"
        assert await ids(world, who, near="118.9100,32.1042") == []
        assert await ids(world, who, near="118.9,32.1", within_m=10) == []
    assert await ids(world, "viewer", near="118.9042,32.1042", within_m=10) == []
    assert await ids(world, "viewer", near="118.9,32.1", within_m=10) == [case]
    assert len(await ids(world, "admin", near="118.92,32.11", within_m=50_000)) == 2, "without a position it is near nothing"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"near": "here"}, "near"),
        ({"near": "118.9"}, "near"),
        ({"near": "200,32"}, "near"),
        ({"within_m": 500}, "within_m"),
        ({"near": "118.9,32.1", "within_m": 0}, "within_m"),
    ],
)
async def test_a_search_near_nothing_is_refused(world: World, query: dict[str, Any], field: str) -> None:
    answer = await world.client.get("/cases", params=query, headers=world.as_("admin"))
    assert answer.status_code == 422
    assert field in str(answer.json()["errors"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"longitude": 181}, "position.longitude"),
        ({"latitude": "32"}, "position.latitude"),
        ({"system": "nanjing92"}, "position.system"),
        ({"system": "GCJ-02"}, "position.system"),
        ({"system": None}, "position.system"),
        ({"accuracy_m": -3}, "position.accuracy_m"),
        ({"how": "guessed"}, "position.how"),
        ({"lng": 118.9}, "position.lng"),
    ],
)
async def test_a_position_that_can_not_be_is_refused_naming_the_field(world: World, change: dict[str, Any], field: str) -> None:
    body = {"title": "井盖缺失", "text": "井盖不见了", "area": STREET, "position": GIVEN | change}
    answer = await world.client.post("/cases", json=body, headers=world.as_("admin", "k1"))
    assert answer.status_code == 422, answer.text
    assert [problem["field"] for problem in answer.json()["errors"]] == [field]
    assert await ids(world, "admin") == []


async def test_a_contradiction_is_noted_and_the_report_taken(world: World) -> None:
    case = await world.report(area="320113002", position=GIVEN)
    assert case["area"] == "320113002"
    story = (await world.client.get(f"/cases/{case['id']}/timeline", params={"fresh": 1}, headers=world.as_("admin"))).json()[
        "items"
    ]
    (remark,) = [item for item in story if item["event"] == "case.commented"]
    assert "尧化街道" in remark["body"]["text"]
    assert remark["actor"]["kind"] == "system"
    assert mask_text(remark["body"]["text"]) == remark["body"]["text"]


async def test_a_token_for_a_street_reports_within_it(world: World) -> None:
    elsewhere = {"longitude": 118.9, "latitude": 32.05, "system": "wgs84"}  # the made-up outline of 马群街道
    body = {"title": "井盖缺失", "text": "井盖不见了", "position": elsewhere}
    answer = await world.client.post("/cases", json=body, headers=world.as_("street", "k1"))
    assert answer.json()["case"]["area"] == STREET


async def test_a_report_that_joins_keeps_its_own_position(world: World) -> None:
    case = CaseId(str((await world.report(position=GIVEN))["id"]))
    later = c.AttachReport(
        channel=Channel.HOTLINE,
        text="还没修",
        area=AreaCode(STREET),
        reported_at=world.clock(),
        position=Position(longitude=118.92, latitude=32.11, system="wgs84"),
        wgs84=Point(longitude=118.92, latitude=32.11),
    )
    await world.desk.execute(case, later, actor=person(STREET, world.district))
    shown = await one(world, "street", case)
    assert shown["position"] == GIVEN
    story = (await world.client.get(f"/cases/{case}/timeline", params={"fresh": 1}, headers=world.as_("street"))).json()[
        "items"
    ]
    (joined,) = [item["body"] for item in story if item["event"] == "case.report_attached"]
    assert joined["position"] == {"longitude": 118.92, "latitude": 32.11, "system": "wgs84"}


async def test_the_command_line_takes_shows_and_finds_a_position(tmp_path: Path) -> None:
    async with served(tmp_path) as (world, client):
        url = f"http://{client.base_url.host}:{client.base_url.port}"

        async def run(*words: str) -> Result:
            options = ["--url", url, "--token", world.secrets["admin"]]
            runner = CliRunner(env={"COLUMNS": "220", "TERM": "dumb"})
            return await asyncio.to_thread(runner.invoke, app, [*words, *options])

        report = ("case", "report", "--title", "井盖缺失", "--text", "井盖不见了", "--json", "--position")
        opened = await run(*report, "118.9175123,32.1009456,gcj02,12.5")
        assert opened.exit_code == 0, opened.output
        id = json.loads(opened.stdout)["case"]["id"]
        shown = (await run("case", "show", id)).output
        assert "118.9175123,32.1009456 GCJ-02（火星坐标） ±12.5 米（WGS-84 118.91" in shown
        assert id in (await run("case", "list", "--near", "118.912,32.103", "--within-m", "200")).output
        assert id not in (await run("case", "list", "--near", "118.93,32.103")).output
        for wrong in ("118.9", "118.9,x", "1,2,wgs84,3,4"):
            refused = await run(*report, wrong)
            assert (refused.exit_code, "--position" in refused.output) == (2, True)
        unknown = await run(*report, "118.9,32.1,gps")
        assert (unknown.exit_code, "position.system" in unknown.output) == (1, True)
