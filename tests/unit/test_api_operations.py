"""Running the hub over HTTP: adapters, stopped deliveries, policy, lookups, callbacks, probes, traces."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from hub.contract import CallbackRejected, CallbackRequest
from hub.model.actors import SYSTEM
from hub.model.assignments.state import DeadLetter
from hub.model.case import commands as c
from hub.model.case.state import CaseId
from hub.model.district.areas import UnitCode
from hub.observing import telemetry
from hub.observing.store import SpanStore
from hub.settings import Settings
from hub.surfaces.api.adapters import callbacks as hooks
from tests.unit.api_world import STREET, World, person

SENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World.make(tmp_path) as made:
        yield made


async def dead_case(world: World) -> str:
    """A case with a dead delivery to the police; its delivery key."""
    case = await world.report(title="无名事项", text="无名事项")
    id = CaseId(str(case["id"]))
    centre = person(world.district.code, world.district)
    await world.desk.execute(id, c.Dispatch(targets=(c.Target(unit=UnitCode("police")),)), actor=centre)
    state = await world.desk.load(id)
    assert state is not None
    part = state.state.assignments[-1].id
    await world.desk.execute(id, c.StartDelivery(assignment=part), actor=SYSTEM)
    at = datetime.now(UTC)
    letter = DeadLetter(
        event_id=f"{id}:2:deliver",
        subject="dispatch.police",
        attempts=8,
        first_at=at,
        last_at=at,
        error="unavailable",
        reason="503, call 13800001234",
        adapter_version="1.0",
        payload_hash="00",
    )
    await world.desk.execute(id, c.RecordDead(assignment=part, letter=letter), actor=SYSTEM)
    return f"{id}.{part}"


async def test_stopped_delivery_is_listed_shown_and_sent_again_once(world: World) -> None:
    key = await dead_case(world)
    headers = world.as_("devops")
    await world.views.wait_for(len(world.ledger.stored), 5)
    for query in ("stopped=true", "state=dead", "state=refused&state=dead"):
        listed = (await world.client.get(f"/deliveries?{query}", headers=headers)).json()["items"]
        assert [item["key"] for item in listed] == [key]
    assert (await world.client.get("/deliveries?stopped=false", headers=headers)).json()["items"] == []
    one = (await world.client.get(f"/deliveries/{key}", headers=headers)).json()
    assert (one["letter"]["error"], one["letter"]["reason"]) == ("unavailable", "503, call 138****1234")
    path = f"/deliveries/{key}/resend"
    done = await world.client.post(path, json={"reason": "已恢复"}, headers=world.as_("devops", "r1"))
    assert done.status_code == 200, done.text
    assert "delivery.resent" in done.json()["events"]
    again = await world.client.post(path, json={"reason": "已恢复"}, headers=world.as_("devops", "r1"))
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await world.client.get(f"/deliveries/{key}", headers=headers)).json()["letter"] is None
    refused = await world.client.post(path, json={"reason": "再来"}, headers=headers)
    assert refused.status_code == 409


async def test_stopped_delivery_is_dropped_with_a_reason(world: World) -> None:
    key = await dead_case(world)
    path = f"/deliveries/{key}/drop"
    answer = await world.client.post(path, json={}, headers=world.as_("admin"))
    assert answer.json()["errors"][0]["field"] == "reason"
    for who in ("police", "street", "viewer"):
        assert (await world.client.post(path, json={"reason": "算了"}, headers=world.as_(who))).status_code == 403
    answer = await world.client.post(path, json={"reason": "改由电话"}, headers=world.as_("admin"))
    assert answer.status_code == 200, answer.text
    assert (await world.client.get("/summary", headers=world.as_("admin"))).json()["dead"] == 0
    one = (await world.client.get(f"/deliveries/{key}", headers=world.as_("admin"))).json()
    assert (one["state"], one["letter"]["error"]) == ("dropped", "unavailable"), "what it failed of can still be read"


async def test_adapter_is_paused_and_resumed(world: World) -> None:
    headers = world.as_("devops")
    answer = await world.client.post("/adapters/police/pause", json={"reason": "升级"}, headers=headers)
    assert (answer.json()["state"], answer.json()["detail"]) == ("paused", "devops: 升级")
    assert (await world.client.post("/adapters/police/resume", headers=headers)).json()["state"] == "running"
    assert (await world.client.post("/adapters/fire/resume", headers=headers)).status_code == 404
    (status,) = (await world.client.get("/adapters", headers=headers)).json()["items"]
    assert (status["name"], status["queued"], status["breaker"]) == ("police", 3, "closed")


async def test_policy_explains_which_rule_and_unit(world: World) -> None:
    body = {"text": "楼下烧烤店深夜噪声扰民", "area": STREET, "channel": "hotline"}
    found = (await world.client.post("/policy/explain", json=body, headers=world.as_("admin"))).json()
    assert found["plan"]["rule"].startswith("routing.yaml:")
    assert found["plan"]["because"]
    assert found["limits"]
    assert found["area_path"][0] == world.district.name
    before = len(world.ledger.stored)
    assert before == 0


async def test_policy_is_published_by_an_administrator(world: World) -> None:
    sources = dict(world.district.policy.sources)
    answer = await world.client.post("/policy", json={"sources": sources}, headers=world.as_("admin"))
    assert (answer.status_code, answer.json()) == (201, {"version": 1})
    shown = (await world.client.get("/policy", headers=world.as_("admin"))).json()
    assert shown["sources"] == sources
    assert shown["published"][0]["by"] == "admin"


async def test_areas_and_units_can_be_looked_up(world: World) -> None:
    headers = world.as_("viewer")
    streets = (await world.client.get("/areas", params={"level": "street"}, headers=headers)).json()["items"]
    assert STREET in [area["code"] for area in streets]
    below = (await world.client.get("/areas", params={"parent": STREET}, headers=headers)).json()["items"]
    assert {area["level"] for area in below} == {"community"}
    departments = (await world.client.get("/units", params={"kind": "department"}, headers=headers)).json()["items"]
    assert {"police", "property"} <= {unit["code"] for unit in departments}


async def test_callback_goes_to_its_adapter_as_it_came(world: World) -> None:
    headers = {"Webhook-Signature": "v1,right", "content-type": "text/xml"}
    answer = await world.client.post("http://hub/hooks/police/receipts/7?a=1", content=b"<r/>", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"taken": 1})
    ((adapter, request),) = world.reportback.taken
    assert (adapter, request.path, request.query, request.body) == ("police", "receipts/7", {"a": "1"}, b"<r/>")
    assert request.headers["webhook-signature"] == "v1,right"
    wrong = await world.client.post("http://hub/hooks/police/x", content=b"{}")
    assert (wrong.status_code, wrong.json()["type"]) == (401, "urn:hub:problem:callback-rejected")
    assert (await world.client.post("http://hub/hooks/fire/x", content=b"{}")).status_code == 404


async def test_refused_callbacks_are_told_off_while_rightly_signed_ones_pass(world: World) -> None:
    url = "http://hub/hooks/police/x"
    answers = [await world.client.post(url, content=b"{}") for _ in range(hooks.FAILED_PER_MINUTE + 2)]
    assert [answer.status_code for answer in answers] == [401] * hooks.FAILED_PER_MINUTE + [429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    signed = await world.client.post(url, content=b"{}", headers={"Webhook-Signature": "v1,right"})
    assert signed.status_code == 200
    guessed = await world.client.post("http://hub/hooks/fire/x", content=b"{}")
    assert guessed.status_code == 404, "another adapter has a count of its own"


@pytest.mark.parametrize(("status", "shown"), [(200, 400), (99999, 400), (503, 503)])
async def test_what_a_plugin_says_of_a_callback_can_not_break_the_answer(world: World, status: int, shown: int) -> None:
    async def rejects(adapter: str, request: CallbackRequest) -> int:
        raise CallbackRejected("half a letter \ud83d", status=status)

    world.reportback.callback = rejects  # type: ignore[method-assign]
    answer = await world.client.post("http://hub/hooks/police/x", content=b"{}")
    assert answer.status_code == shown
    assert answer.json()["detail"] == "half a letter ?"


async def test_probes_need_no_token(world: World) -> None:
    assert (await world.client.get("http://hub/healthz")).json() == {"status": "ok"}
    ready = await world.client.get("http://hub/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)


async def test_spans_are_taken_from_this_machine_only(world: World, tmp_path: Path) -> None:
    assert (await world.client.post("http://hub/v1/traces", content=b"")).status_code == 404
    store = SpanStore(tmp_path / "spans.db")
    object.__setattr__(world.app.state.services, "spans", store)
    headers = {"content-type": "application/x-protobuf"}
    assert (await world.client.post("http://hub/v1/traces", content=b"", headers=headers)).status_code == 200
    far = httpx.ASGITransport(world.app, client=("10.1.2.3", 5))
    async with httpx.AsyncClient(transport=far, base_url="http://hub") as client:
        assert (await client.post("/v1/traces", content=b"", headers=headers)).status_code == 404
    store.close()


async def test_request_continues_the_callers_trace_and_the_case_shows_it(world: World, tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db")
    tracing = telemetry.setup(Settings(data=tmp_path), "hub", store)
    object.__setattr__(world.app.state.services, "spans", store)
    try:
        answer = await world.client.post(
            "/cases", json={"text": "路灯不亮"}, headers=dict(world.as_("admin", "k")) | {"traceparent": SENT}
        )
        case = answer.json()["case"]["id"]
        told = await world.client.post(f"/cases/{case}/comment", json={"text": "补充"}, headers=world.as_("admin"))
        assert told.status_code == 200
        refused = await world.client.get("/cases?limit=x", headers=dict(world.as_("admin")) | {"traceparent": SENT})
        assert refused.json()["trace_id"] == SENT[3:35]
        spans = store.of_matter(case)
        names = {span.name: span for span in spans}
        assert names["POST /api/v1/cases"].trace == SENT[3:35]
        assert names["POST /api/v1/cases"].parent == SENT[36:52]
        comment = names["POST /api/v1/cases/{id}/comment"]
        assert comment.trace != SENT[3:35]
        assert comment.attributes["http.response.status_code"] == 200
        tree = (await world.client.get(f"/cases/{case}/trace", headers=world.as_("admin"))).json()
        assert len(tree["stimuli"]) == 2
        assert tree["spans"] >= 4
    finally:
        tracing.close()
        store.close()
