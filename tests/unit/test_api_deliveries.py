"""The delivery log over HTTP: each department its own, every attempt told, and nothing sent twice by asking."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.model.actors import SYSTEM, Actor, ActorKind
from hub.model.assignments.state import parse_delivery_key
from hub.model.case import commands as c
from hub.model.case.state import CaseId
from hub.model.district.areas import UnitCode
from hub.platform.adapters import AdapterStatus
from tests.unit.api_world import World, person
from tests.unit.test_api_operations import dead_case


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World.make(tmp_path) as made:
        yield made


async def sent(world: World, unit: str = "police", *, title: str = "无名事项", ticket: str | None = "JQ00000007") -> str:
    """A minute later, a case dispatched to a unit: first try failed with 503, the second delivered (or under way); its delivery key."""
    world.clock.at += timedelta(minutes=1)
    case = await world.report(title=title, text=title)
    id = CaseId(str(case["id"]))
    centre = person(world.district.code, world.district)
    await world.desk.execute(id, c.Dispatch(targets=(c.Target(unit=UnitCode(unit)),)), actor=centre)
    state = await world.desk.load(id)
    assert state is not None
    part = state.state.assignments[-1].id
    await world.desk.execute(id, c.StartDelivery(assignment=part), actor=SYSTEM)
    failed = c.RecordFailed(
        assignment=part, attempt=1, error="unavailable", reason="answered 503, call 13800001234", status=503
    )
    await world.desk.execute(id, failed, actor=SYSTEM)
    await world.desk.execute(id, c.StartDelivery(assignment=part), actor=SYSTEM)
    if ticket is not None:
        await world.desk.execute(id, c.RecordDelivered(assignment=part, ticket=ticket, attempt=2), actor=SYSTEM)
    await world.views.wait_for(len(world.ledger.stored), 5)
    return f"{id}.{part}"


async def log(world: World, who: str = "admin", **query: Any) -> list[str]:
    answer = await world.client.get("/deliveries", params=query, headers=world.as_(who))
    assert answer.status_code == 200, answer.text
    return [item["key"] for item in answer.json()["items"]]


def idempotent(world: World, *, capable: bool) -> None:
    """Whether the police's adapter says that it takes the same key once."""
    known = world.adapters.all

    async def all_of_them() -> list[AdapterStatus]:
        found = ("lookup", "idempotent") if capable else ("lookup",)
        return [replace(status, capabilities=found) for status in await known()]

    world.adapters.all = all_of_them  # type: ignore[method-assign]


async def test_delivery_tells_every_attempt_with_time_outcome_and_status(world: World) -> None:
    key = await sent(world)
    one = (await world.client.get(f"/deliveries/{key}", headers=world.as_("police"))).json()
    assert (one["state"], one["outcome"], one["ticket"], one["resend"]) == ("delivered", "delivered", "JQ00000007", "again")
    first, second = one["attempts"]
    assert (first["number"], first["outcome"], first["error"], first["status"]) == (1, "failed", "unavailable", 503)
    assert first["duration_ms"] >= 0
    assert first["reason"] == "answered 503, call 138****1234"
    assert (second["outcome"], second["status"]) == ("delivered", None)
    assert one["tried_at"] == second["started_at"]
    assert one["delivered_at"] is not None


async def test_department_sees_its_own_deliveries_only(world: World) -> None:
    police, property_ = await sent(world), await sent(world, "property", ticket="WY1")
    assert await log(world, "police") == [police]
    assert await log(world, "property") == [property_]
    assert set(await log(world)) == {police, property_}
    assert set(await log(world, "devops")) == {police, property_}
    hidden = await world.client.get(f"/deliveries/{property_}", headers=world.as_("police"))
    assert hidden.status_code == 404
    path = f"/deliveries/{property_}/resend"
    assert (await world.client.post(path, json={"reason": "再发"}, headers=world.as_("police"))).status_code == 404
    for who in ("viewer", "street"):
        assert (await world.client.get("/deliveries", headers=world.as_(who))).status_code == 403


async def test_department_sees_only_its_own_part_of_a_shared_case(world: World) -> None:
    key = await sent(world)
    id, _ = parse_delivery_key(key)
    centre = person(world.district.code, world.district)
    await world.desk.execute(id, c.Dispatch(targets=(c.Target(unit=UnitCode("property")),)), actor=centre)
    await world.views.wait_for(len(world.ledger.stored), 5)
    assert await log(world, "police", case=id) == [key]
    assert len(await log(world, case=id)) == 2


async def test_log_is_searched_by_everything_one_knows(world: World) -> None:
    first = await sent(world, title="井盖缺失")
    second = await sent(world, "property", title="电梯故障", ticket=None)
    for query, found in (
        ({"adapter": "police"}, [first]),
        ({"unit": "property"}, [second]),
        ({"state": "delivered"}, [first]),
        ({"state": ["sending", "delivered"]}, [second, first]),
        ({"outcome": "started"}, [second]),
        ({"ticket": "JQ00000007"}, [first]),
        ({"q": "JQ00000007", "unit": "police"}, [first]),
        ({"q": "电梯", "unit": "property"}, [second]),
        ({"q": second}, [second]),
        ({"q": "没有这个"}, []),
        ({"key": first}, [first]),
        ({"case": first.partition(".")[0], "unit": "police"}, [first]),
        ({"since": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, []),
        ({"until": (datetime.now(UTC) + timedelta(hours=1)).isoformat(), "unit": "police"}, [first]),
    ):
        assert await log(world, **query) == found, query


async def test_log_is_read_page_by_page_latest_attempt_first(world: World) -> None:
    keys = [await sent(world, ticket=f"JQ{number}") for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await world.client.get("/deliveries", params=params, headers=world.as_("police"))).json()
        seen += [item["key"] for item in page["items"]]
        cursor = page.get("cursor")
        if not cursor:
            break
    assert seen == keys[::-1]
    bad = await world.client.get("/deliveries?cursor=abc", headers=world.as_("police"))
    assert bad.json()["errors"][0]["field"] == "cursor"


async def test_dead_delivery_is_sent_again_by_its_department_once(world: World) -> None:
    key = await dead_case(world)
    await world.views.wait_for(len(world.ledger.stored), 5)
    one = (await world.client.get(f"/deliveries/{key}", headers=world.as_("police"))).json()
    assert one["resend"] == "yes"
    path, body = f"/deliveries/{key}/resend", {"reason": "我方已恢复，电话13800001234"}
    done = await world.client.post(path, json=body, headers=world.as_("police", "r1"))
    assert done.status_code == 200, done.text
    assert done.json()["events"] == ["delivery.resent"]
    again = await world.client.post(path, json=body, headers=world.as_("police", "r1"))
    assert again.headers["Idempotency-Replayed"] == "true"
    busy = await world.client.post(path, json=body, headers=world.as_("police"))
    assert busy.status_code == 409
    assert busy.json()["rule"] == "it is being delivered already"
    assert await log(world, "police", state="made") == [key]
    told = (await world.client.get(f"/cases/{key.partition('.')[0]}/timeline", headers=world.as_("admin"))).json()["items"]
    assert "138****1234" in str(told[-1])


async def test_operator_sends_a_dead_delivery_again_too(world: World) -> None:
    key = await dead_case(world)
    path = f"/deliveries/{key}/resend"
    assert (await world.client.post(path, json={"reason": "已恢复"}, headers=world.as_("devops"))).status_code == 200


async def test_delivered_one_is_not_sent_again_and_it_says_why(world: World) -> None:
    key = await sent(world)
    idempotent(world, capable=True)
    path = f"/deliveries/{key}/resend"
    plain = await world.client.post(path, json={"reason": "没收到"}, headers=world.as_("police"))
    assert plain.status_code == 409
    assert plain.json()["state"] == "delivered"
    assert "has it as JQ00000007" in plain.json()["rule"]
    operator = await world.client.post(path, json={"reason": "没收到", "again": True}, headers=world.as_("admin"))
    assert operator.status_code == 409
    assert operator.json()["rule"] == "only the department itself may ask for what its system has already"


async def test_delivered_one_is_sent_again_when_the_department_asks_and_takes_a_key_once(world: World) -> None:
    key = await sent(world)
    path, body = f"/deliveries/{key}/resend", {"reason": "数据库恢复后缺失", "again": True}
    idempotent(world, capable=False)
    refused = await world.client.post(path, json=body, headers=world.as_("police"))
    assert refused.status_code == 409
    assert "would file the same key twice" in refused.json()["rule"]
    idempotent(world, capable=True)
    done = await world.client.post(path, json=body, headers=world.as_("police"))
    assert done.status_code == 200, done.text
    id, part = parse_delivery_key(key)
    await world.desk.execute(id, c.StartDelivery(assignment=part), actor=SYSTEM)
    await world.desk.execute(id, c.RecordDelivered(assignment=part, ticket="JQ00000007", attempt=3), actor=SYSTEM)
    await world.views.wait_for(len(world.ledger.stored), 5)
    one = (await world.client.get(f"/deliveries/{key}", headers=world.as_("police"))).json()
    assert (one["state"], one["ticket"], len(one["attempts"])) == ("delivered", "JQ00000007", 3)


async def test_taken_up_delivery_is_never_sent_again(world: World) -> None:
    key = await sent(world)
    idempotent(world, capable=True)
    id, part = parse_delivery_key(key)
    police = Actor(kind=ActorKind.DEPARTMENT, name="police", unit=UnitCode("police"))
    await world.desk.execute(id, c.Accept(assignment=part), actor=police)
    answer = await world.client.post(
        f"/deliveries/{key}/resend", json={"reason": "再发", "again": True}, headers=world.as_("police")
    )
    assert answer.status_code == 409
    assert "has said so" in answer.json()["rule"]


async def test_key_without_the_scope_may_look_but_not_have_it_sent(world: World) -> None:
    key = await dead_case(world)
    await world.views.wait_for(len(world.ledger.stored), 5)
    world.secrets["reader"], _ = await world.tokens.issue(
        name="r", role="department", unit="police", area=world.district.code, scopes=("deliveries:read",)
    )
    assert await log(world, "reader") == [key]
    refused = await world.client.post(f"/deliveries/{key}/resend", json={"reason": "x"}, headers=world.as_("reader"))
    assert refused.status_code == 403
    assert refused.json()["detail"] == "The key does not have the scope deliveries:resend."
