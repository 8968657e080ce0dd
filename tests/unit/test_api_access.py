"""Who may see and do what over HTTP: tokens, roles, scopes, masks, limits, problems."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.bus import Entry
from hub.errors import BusUnavailable
from hub.settings import ApiSettings
from hub.surfaces.api.cases.files import safe_name
from hub.surfaces.api.limits import BodyLimit, RateLimit
from hub.surfaces.api.people.tokens import Tokens
from hub.surfaces.api.tracing import name_of
from hub.testing.kit import eventually
from tests.unit.api_world import STREET, MemoryBucket, World

OTHER_STREET = "320113002"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World.make(tmp_path) as made:
        yield made


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Bearer hub_" + "x" * 43, "Basic aHViOmh1Yg=="])
async def test_without_a_valid_token_there_is_nothing(world: World, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    for path in ("/cases", "/me", "/areas", "/summary", "/changes", "/tokens"):
        answer = await world.client.get(path, headers=headers)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"


async def test_street_sees_its_own_subtree_only(world: World) -> None:
    own = await world.report(key="1")
    other = await world.report(key="2", area=OTHER_STREET)
    headers = world.as_("street")
    listed = (await world.client.get("/cases", params={"fresh": 1}, headers=headers)).json()
    assert [item["id"] for item in listed["items"]] == [own["id"]]
    for path in ("", "/timeline", "/trace", "/contact?purpose=回访"):
        answer = await world.client.get(f"/cases/{other['id']}{path}", headers=headers)
        assert answer.status_code == 404, path
    answer = await world.client.post(f"/cases/{other['id']}/comment", json={"text": "x"}, headers=headers)
    assert answer.status_code == 404
    assert (await world.client.get("/summary", params={"fresh": 1}, headers=headers)).json()["cases"] == 1
    assert (await world.client.get("/summary", params={"area": OTHER_STREET}, headers=headers)).status_code == 422
    body = {"text": "路灯不亮", "area": OTHER_STREET}
    assert (await world.client.post("/cases", json=body, headers=world.as_("street", "k"))).status_code == 422
    assert (
        await world.client.post(f"/cases/{own['id']}/merge", json={"into": other["id"]}, headers=headers)
    ).status_code == 422


async def test_department_sees_cases_with_its_own_assignments_only(world: World) -> None:
    case = await world.report(title="无名事项", text="无名事项", key="1")
    path = f"/cases/{case['id']}"
    given = {"targets": [{"unit": "police"}, {"unit": "property"}]}
    answer = await world.client.post(f"{path}/dispatch", json=given, headers=world.as_("admin"))
    assert answer.status_code == 200, answer.text
    by_unit = {item["unit"]: item["id"] for item in answer.json()["case"]["assignments"]}
    other = await world.report(title="无名事项二", text="无名事项二", key="2")
    headers = world.as_("police")
    listed = (await world.client.get("/cases", params={"fresh": 1}, headers=headers)).json()["items"]
    assert case["id"] in [item["id"] for item in listed]
    seen = (await world.client.get(path, headers=headers)).json()
    assert [item["unit"] for item in seen["assignments"]] == ["police"]
    story = (await world.client.get(f"{path}/timeline", headers=headers)).json()["items"]
    assert {item["body"].get("assignment") for item in story} <= {None, by_unit["police"]}
    if not any(item["unit"] == "police" for item in other["assignments"]):
        assert (await world.client.get(f"/cases/{other['id']}", headers=headers)).status_code == 404
    foreign = {"assignment": by_unit["property"], "note": "不是我的"}
    refused = await world.client.post(f"{path}/progress", json=foreign, headers=headers)
    assert refused.status_code in (403, 404, 409, 422)
    assert (await world.client.post(f"{path}/void", json={"reason": "x"}, headers=headers)).status_code == 403
    done = await world.client.post(f"{path}/accept", json={"assignment": by_unit["police"]}, headers=headers)
    assert done.status_code in (200, 409), done.text


async def test_place_is_shown_to_street_level_to_who_does_not_handle_the_case(world: World) -> None:
    case = await world.report(place="栖霞区尧化街道幸福家园3栋2单元")
    shown = {}
    for who in ("admin", "viewer"):
        headers = world.as_(who)
        one = (await world.client.get(f"/cases/{case['id']}", params={"fresh": 1}, headers=headers)).json()
        story = (await world.client.get(f"/cases/{case['id']}/timeline", params={"fresh": 1}, headers=headers)).json()
        shown[who] = (one["place"], story["items"][0]["body"]["place"])
    assert shown["admin"] == ("栖霞区尧化街道幸福家园3栋2单元",) * 2
    assert shown["viewer"] == ("栖霞区尧化街道***",) * 2


async def test_viewer_may_read_and_nothing_else(world: World) -> None:
    case = await world.report()
    headers = world.as_("viewer", "k")
    assert (await world.client.get("/cases", headers=headers)).status_code == 200
    for path, body in (
        ("/cases", {"text": "x"}),
        (f"/cases/{case['id']}/comment", {"text": "x"}),
        ("/adapters/police/pause", {"reason": "x"}),
        ("/tokens", {"name": "x", "role": "admin"}),
        ("/policy", {"sources": {"a": "b"}}),
    ):
        answer = await world.client.post(path, json=body, headers=headers)
        assert answer.status_code == 403, path
    for path in ("/adapters", "/deliveries", "/tokens", "/policy"):
        assert (await world.client.get(path, headers=headers)).status_code == 403, path


async def test_token_is_issued_used_and_revoked(world: World) -> None:
    body = {"name": "尧化街道 李", "role": "clerk", "unit": STREET, "area": STREET}
    made = (await world.client.post("/tokens", json=body, headers=world.as_("admin"))).json()
    mine = {"Authorization": f"Bearer {made['token']}"}
    me = (await world.client.get("/me", headers=mine)).json()
    assert (me["name"], me["role"], me["level"], me["zone"]) == ("尧化街道 李", "clerk", "street", "Asia/Shanghai")
    listed = await world.client.get("/tokens", headers=world.as_("admin"))
    assert made["token"] not in listed.text
    assert made["id"] in [item["id"] for item in listed.json()["items"]]
    assert (await world.client.delete(f"/tokens/{made['id']}", headers=world.as_("admin"))).status_code == 204
    assert (await world.client.get("/me", headers=mine)).status_code == 401
    assert (await world.client.delete(f"/tokens/{made['id']}", headers=world.as_("admin"))).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "role": "king"}, "role"),
        ({"name": "x", "role": "clerk", "area": "999999"}, "area"),
        ({"name": "x", "role": "clerk", "unit": "nobody"}, "unit"),
        ({"name": "x", "role": "department"}, "unit"),
        ({"name": "x", "role": "department", "unit": STREET}, "unit"),
        ({"role": "clerk"}, "name"),
    ],
)
async def test_token_that_makes_no_sense_is_refused(world: World, body: dict[str, object], field: str) -> None:
    answer = await world.client.post("/tokens", json=body, headers=world.as_("admin"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_token_of_a_unit_reaches_no_further_than_what_the_unit_is_there_for(world: World) -> None:
    for unit, area in ((STREET, STREET), ("police", world.district.code), (None, world.district.code)):
        body = {"name": "x", "role": "clerk"} | ({} if unit is None else {"unit": unit})
        made = await world.client.post("/tokens", json=body, headers=world.as_("admin"))
        assert made.json()["area"] == area, unit


async def test_only_the_hash_of_a_token_is_stored() -> None:
    bucket = MemoryBucket()
    secret, token = await Tokens(bucket).issue(name="x", role="viewer", unit=None, area="320113")
    stored = b"".join(
        [key.encode() + entry.value for key in list(await bucket.entries()) if (entry := await bucket.get(key)) is not None]
    )
    assert secret.encode() not in stored
    assert secret.removeprefix("hub_").encode() not in stored
    assert await Tokens(bucket).find(secret) == token
    assert await Tokens(bucket).find(secret[:-1]) is None


class HeardBucket(MemoryBucket):
    """Without the bus nothing can be read."""

    away = False

    async def get(self, key: str) -> Entry | None:
        if self.away:
            raise BusUnavailable("away")
        return await super().get(key)


async def test_known_tokens_count_for_ten_seconds_while_the_bus_is_away() -> None:
    bucket, now = HeardBucket(), [100.0]
    secret, token = await Tokens(bucket).issue(name="x", role="viewer", unit=None, area="320113")
    here = Tokens(bucket, connected=lambda: not bucket.away, clock=lambda: now[0])
    following = asyncio.create_task(here.run())
    try:
        await eventually(lambda: here._following)
        found = await here.find(secret)
        assert found is not None
        bucket.away = True
        now[0] = 109.0
        assert await here.find(secret) is not None
        now[0] = 111.0
        with pytest.raises(BusUnavailable):
            await here.find(secret)
        bucket.away = False
        assert await here.holds(token.id)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_unknown_address_and_method_are_problems(world: World) -> None:
    missing = await world.client.get("/nothing", headers=world.as_("admin"))
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:hub:problem:not-found")
    wrong = await world.client.put("/cases", headers=world.as_("admin"))
    assert (wrong.status_code, wrong.json()["type"]) == (405, "urn:hub:problem:method-not-allowed")
    assert wrong.headers["allow"]
    assert len(missing.json()["trace_id"]) == 32


async def test_bug_is_answered_without_its_insides(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(world.views, "summary", broken)
    with caplog.at_level(logging.CRITICAL):
        answer = await world.client.get("/summary", headers=world.as_("admin"))
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert len(answer.json()["trace_id"]) == 32


async def test_too_large_body_is_413_whatever_its_header_says(tmp_path: Path) -> None:
    async with World.make(tmp_path, settings=ApiSettings(max_body=1000)) as world:
        headers = world.as_("admin", "k") | {"content-type": "application/json"}
        answer = await world.client.post("/cases", content=b"x" * 1001, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:hub:problem:too-large")

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * 100

        answer = await world.client.post("/cases", content=pieces(), headers=headers)
        assert answer.status_code == 413
        files = {"file": ("a.txt", b"x" * 2000)}
        case = await world.report()
        answer = await world.client.post(f"/cases/{case['id']}/attachments", files=files, headers=world.as_("admin"))
        assert answer.status_code == 413


async def test_rate_is_per_token_and_says_when_to_come_again(tmp_path: Path) -> None:
    async with World.make(tmp_path, settings=ApiSettings(rate_per_minute=3)) as world:
        answers = [await world.client.get("/me", headers=world.as_("viewer")) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert answers[-1].json()["type"] == "urn:hub:problem:rate-limited"
        assert (await world.client.get("/me", headers=world.as_("admin"))).status_code == 200
        assert (await world.client.get("http://hub/healthz")).status_code == 200


async def test_rate_refills_steadily() -> None:
    async def app(scope: object, receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    now = [0.0]
    limited = RateLimit(BodyLimit(app, 10), 60, clock=lambda: now[0])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(limited), base_url="http://hub") as client:
        for _ in range(60):
            assert (await client.get("/")).status_code == 204
        assert (await client.get("/")).status_code == 429
        now[0] = 2.0
        assert [(await client.get("/")).status_code for _ in range(3)] == [204, 204, 429]


async def test_made_up_tokens_share_the_rate_of_their_address(tmp_path: Path) -> None:
    async with World.make(tmp_path, settings=ApiSettings(rate_per_minute=3)) as world:
        first = await world.client.get("/me", headers=world.as_("viewer"))
        assert first.status_code == 200
        answers = [
            (await world.client.get(path, headers={"Authorization": f"Bearer hub_{number:043}"})).status_code
            for number, path in enumerate(("/me", "/openapi.json", "/me", "/me"))
        ]
        assert answers == [401, 200, 401, 429]
        assert (await world.client.get("/me", headers=world.as_("viewer"))).status_code == 200


async def test_administrator_of_a_street_rules_the_street_only(world: World) -> None:
    issued = await world.client.post(
        "/tokens", json={"name": "街道", "role": "admin", "area": STREET}, headers=world.as_("admin")
    )
    headers = {"Authorization": f"Bearer {issued.json()['token']}"}
    listed = (await world.client.get("/tokens", headers=headers)).json()["items"]
    assert {item["area"][:9] for item in listed} == {STREET}
    everybody = (await world.client.get("/tokens", headers=world.as_("admin"))).json()["items"]
    centre = next(item for item in everybody if item["role"] == "admin" and item["area"] != STREET)
    assert (await world.client.delete(f"/tokens/{centre['id']}", headers=headers)).status_code == 404
    above = {"name": "x", "role": "operator", "unit": centre["area"]}
    refused = await world.client.post("/tokens", json=above, headers=headers)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "unit"
    assert (await world.client.post("/adapters/gas/pause", json={"reason": "x"}, headers=headers)).status_code == 403
    assert (await world.client.post("/adapters/gas/resume", headers=headers)).status_code == 403
    assert (await world.client.post("/policy", json={"sources": {"a": "b"}}, headers=headers)).status_code == 403


async def test_notice_covers_nothing_outside_the_area_of_the_token(world: World) -> None:
    body = {"text": "停水", "area": STREET, "covers": [OTHER_STREET], "covers_until": "2030-01-01T00:00:00Z"}
    answer = await world.client.post("/cases", json=body, headers=world.as_("street", "k"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "covers"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"])
async def test_time_beyond_the_calendar_is_refused_by_its_field(world: World, time: str) -> None:
    body = {"text": "漏水", "reported_at": time}
    answer = await world.client.post("/cases", json=body, headers=world.as_("admin", "k"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "reported_at"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("13987654321_现场.jpg", "139****4321_现场.jpg"),
        ("IMG_13987654321_110101199003074514.jpg", "IMG_139****4321_110101************.jpg"),
        ("\u202egpj.exe", "gpj.exe"),
        ("a\ud800.txt", "a.txt"),
        ("..\\..\\x\r\n.txt", "x.txt"),
        (None, "file"),
    ],
)
def test_name_of_a_file_holds_nothing_personal_and_nothing_unseen(name: str | None, safe: str) -> None:
    assert safe_name(name) == safe


async def test_file_name_in_an_odd_charset_is_no_mistake_of_the_hub(world: World) -> None:
    case = await world.report(key="1")
    for charset in ("unicode_escape", "undefined", "utf-7"):
        part = rb'Content-Disposition: form-data; name="file"; filename="a\ud800.txt"'
        body = b"--b\r\n" + part + b"\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n"
        headers = world.as_("admin", charset) | {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
        answer = await world.client.post(f"/cases/{case['id']}/attachments", content=body, headers=headers)
        assert answer.status_code in (201, 400), charset


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/cases/13987654321", "GET /api/v1/cases/{}"),
        ("/api/v1/cases/320113001001001-01jd8x2m9qk3v5wz/return", "GET /api/v1/cases/{id}/return"),
        ("/api/v1/nope/张三", "GET /api/v1/nope/{}"),
        ("/hooks/property/reports", "GET /hooks/property/reports"),
    ],
)
def test_name_of_a_span_holds_nothing_a_caller_made_up(path: str, name: str) -> None:
    assert name_of("GET", path) == name
