"""The stream of changes over real HTTP: scope, resuming, heartbeats."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from hub.surfaces.api.matters import stream
from hub.testing.kit import PATIENCE, eventually
from tests.unit.api_world import STREET, World, served


async def take(answer: httpx.Response, count: int) -> list[dict[str, object]]:
    """The next changes of an open stream."""
    found: list[dict[str, object]] = []
    id = ""
    async for line in answer.aiter_lines():
        if line.startswith("id: "):
            id = line[4:]
        if line.startswith("data: "):
            found.append({"id": id} | json.loads(line[6:]))
            if len(found) == count:
                break
    return found


async def test_stream_tells_what_happens_from_now_on(tmp_path: Path) -> None:
    async with served(tmp_path) as (world, client):
        await world.report(key="before")
        async with client.stream("GET", "/changes", headers=world.as_("admin")) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            case = await world.report(key="after", title="楼道漏水")
            (change,) = await take(answer, 1)
        assert change["matter"] == case["id"]
        assert change["command"] == "report"
        assert change["title"] == "楼道漏水"
        assert change["id"] == str(change["sequence"]) == "2"
        events = change["events"]
        assert isinstance(events, list)
        assert events[0]["type"] == "case.reported"


async def test_stream_goes_on_behind_the_last_event_id(tmp_path: Path) -> None:
    async with served(tmp_path) as (world, client):
        made = [(await world.report(key=str(number)))["id"] for number in range(4)]
        headers = dict(world.as_("admin")) | {"Last-Event-ID": "2"}
        async with client.stream("GET", "/changes", headers=headers) as answer:
            assert [change["matter"] for change in await take(answer, 2)] == made[2:]
        async with client.stream("GET", "/changes", params={"after": 0}, headers=world.as_("admin")) as answer:
            assert [change["matter"] for change in await take(answer, 4)] == made


async def test_stream_of_a_street_leaves_out_other_streets(tmp_path: Path) -> None:
    async with served(tmp_path) as (world, client):
        await world.report(key="1", area="320113002")
        own = await world.report(key="2", area=STREET)
        async with client.stream("GET", "/changes", params={"after": 0}, headers=world.as_("street")) as answer:
            assert [change["matter"] for change in await take(answer, 1)] == [own["id"]]


async def test_stream_of_a_department_leaves_out_others_assignments(tmp_path: Path) -> None:
    async with served(tmp_path) as (world, client):
        case = await world.report(title="无名事项", text="无名事项")
        body = {"targets": [{"unit": "police"}, {"unit": "property"}]}
        answer = await world.client.post(f"/cases/{case['id']}/dispatch", json=body, headers=world.as_("admin"))
        parts = {item["unit"]: item["id"] for item in answer.json()["case"]["assignments"]}
        async with client.stream("GET", "/changes", params={"after": 1}, headers=world.as_("police")) as stream_answer:
            (change,) = await take(stream_answer, 1)
        events = change["events"]
        assert isinstance(events, list)
        assert {event.get("assignment") for event in events} <= {None, parts["police"]}


async def test_silent_stream_sends_heartbeats(tmp_path: Path) -> None:
    async with (
        served(tmp_path, heartbeat=0.05) as (world, client),
        client.stream("GET", "/changes", headers=world.as_("admin")) as answer,
    ):
        beats = 0
        async for line in answer.aiter_lines():
            beats += line.startswith(": ")
            if beats == 3:
                break


async def test_left_streams_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_STREAMS", 1)
    async with served(tmp_path, heartbeat=0.05) as (world, client):
        async with client.stream("GET", "/changes", headers=world.as_("admin")) as answer:
            async for line in answer.aiter_lines():
                if line.startswith(": "):
                    break
            refused = await client.get("/changes", headers=world.as_("viewer"))
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
        await eventually(lambda: not world.app.state.streams)


async def test_one_token_can_not_hold_every_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_OF_ONE", 1)
    async with served(tmp_path) as (world, client):
        async with client.stream("GET", "/changes", headers=world.as_("admin")) as answer:
            assert await anext(answer.aiter_lines()) == "retry: 1000"
            refused = await client.get("/changes", headers=world.as_("admin"))
            assert refused.status_code == 429
            assert refused.headers["retry-after"]
            async with client.stream("GET", "/changes", headers=world.as_("viewer")) as other:
                assert other.status_code == 200
        await eventually(lambda: not world.app.state.streams)


async def test_streams_asked_for_at_once_are_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_OF_ONE", 2)
    async with served(tmp_path) as (world, client):

        async def opened() -> int:
            async with client.stream("GET", "/changes", headers=world.as_("admin")) as answer:
                found.append(answer.status_code)
                await eventually(lambda: len(found) == 6)
                return answer.status_code

        found: list[int] = []
        assert sorted(await asyncio.gather(*(opened() for _ in range(6)))) == [200, 200, 429, 429, 429, 429]


async def test_last_event_id_that_is_no_number_is_refused(tmp_path: Path) -> None:
    async with World.make(tmp_path) as world:
        headers = dict(world.as_("admin")) | {"Last-Event-ID": "x"}
        assert (await world.client.get("/changes", headers=headers)).status_code == 422


async def test_stream_of_a_revoked_token_ends(tmp_path: Path) -> None:
    async with served(tmp_path, heartbeat=0.1) as (world, client):
        issued = await world.client.post("/tokens", json={"name": "x", "role": "viewer"}, headers=world.as_("admin"))
        headers = {"Authorization": f"Bearer {issued.json()['token']}"}
        async with client.stream("GET", "/changes", headers=headers) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "retry: 1000"
            await world.client.delete(f"/tokens/{issued.json()['id']}", headers=world.as_("admin"))
            async with asyncio.timeout(PATIENCE):
                async for line in lines:
                    assert not line.startswith("data:")
