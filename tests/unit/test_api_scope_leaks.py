"""What a token limited to an area or a unit must not learn by the way: joined cases, others' attention, traces, empty searches."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from hub.model.actors import SYSTEM, Actor
from hub.model.aggregate import MatterId
from hub.model.assignments.commands import RecordEffect
from hub.model.case import CASE
from hub.model.case.commands import Comment
from hub.model.case.events import Commented
from hub.model.case.state import CaseId
from hub.observing import telemetry
from hub.observing.store import SpanStore
from hub.settings import Settings
from hub.spine.ledger.desk import Desk, Outcome
from hub.spine.ways_in.intake import Entry
from hub.surfaces.api.cases.kind import CASE_KIND
from hub.surfaces.api.cases.present import Presenter
from hub.surfaces.api.matters.stream import change_of
from hub.surfaces.api.people.auth import caller_from
from tests.unit.api_world import STREET, World

OTHER_STREET = "320113002"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World.make(tmp_path) as made:
        yield made


async def tell(world: World, who: str = "street", key: str = "k", **body: object) -> httpx.Response:
    return await world.client.post("/cases", json={"text": "污水外溢"} | body, headers=world.as_(who, key))


async def test_report_without_an_area_stays_in_the_area_of_the_token(world: World) -> None:
    nothing_named = await tell(world)
    assert nothing_named.json()["case"]["area"] == STREET
    district_named = await tell(world, key="k2", text="栖霞区污水外溢")
    assert district_named.json()["case"]["area"] == STREET
    street_named = await tell(world, key="k3", text="尧化门地铁站污水外溢")
    assert street_named.json()["case"]["area"].startswith(STREET)


@pytest.mark.parametrize("body", [{"text": "马群地铁站污水外溢"}, {"place_name": "马群地铁站"}, {"place": "马群地铁站2号口"}])
async def test_report_that_names_a_place_outside_the_token_is_refused_unless_it_says_the_area(
    world: World, body: dict[str, object]
) -> None:
    refused = await tell(world, **body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "area"
    assert world.ledger.stored == []
    assert (await tell(world, **body, area=STREET)).status_code == 201


async def test_report_that_joins_a_case_outside_the_scope_shows_nothing_of_it(world: World) -> None:
    notice = await world.report(area=OTHER_STREET, title="停水通知", text="内部说明", key="notice")

    async def joins(entry: Entry, *, actor: Actor, key: str | None = None, cause: str | None = None) -> Outcome[Any]:
        case = await world.desk.load(CaseId(str(notice["id"])))
        assert case is not None
        return Outcome(case, attached=True)

    world.app.state.services.intake.report = joins
    for who in ("street", "police"):
        answer = await tell(world, who)
        assert answer.json()["attached"] is True
        assert answer.json()["case"]["id"] == notice["id"]
        assert "停水通知" not in answer.text
        assert "内部说明" not in answer.text
    assert "停水通知" in (await tell(world, "admin")).text


async def test_repeated_report_does_not_show_a_case_that_left_the_scope(world: World) -> None:
    first = await tell(world, text="尧化门地铁站污水外溢")
    id = first.json()["case"]["id"]
    moved = await world.client.post(
        f"/cases/{id}/triage", json={"area": OTHER_STREET, "reason": "归属他处"}, headers=world.as_("admin")
    )
    assert moved.status_code == 200, moved.text
    again = await tell(world, text="尧化门地铁站污水外溢")
    assert again.json()["repeated"] is True
    assert again.json()["case"]["text"] == ""


async def test_department_sees_attention_for_its_own_assignments_only(world: World) -> None:
    case = await world.report()
    body = {"targets": [{"unit": "police"}, {"unit": "property"}]}
    dispatched = await world.client.post(f"/cases/{case['id']}/dispatch", json=body, headers=world.as_("admin"))
    parts = {item["unit"]: item["id"] for item in dispatched.json()["case"]["assignments"]}
    told = await world.desk.load(CaseId(str(case["id"])))
    assert told is not None
    attention = (f"refused:{parts['police']}", f"dead:{parts['property']}", "overdue:resolve")
    mixed = msgspec.structs.replace(told, state=msgspec.structs.replace(told.state, attention=attention))
    shown = {}
    for who in ("police", "property", "admin"):
        token = await world.tokens.find(world.secrets[who])
        assert token is not None
        caller = caller_from(token, world.district)
        presenter = Presenter(world.district, caller, world.clock())
        commit = world.ledger.all()[-1]
        shown[who] = presenter.case(mixed).attention
        assert presenter.item(mixed).attention == shown[who]
        assert change_of(1, commit, CASE_KIND, mixed.state, caller)["attention"] == shown[who]
    assert shown["police"] == [f"refused:{parts['police']}"]
    assert shown["property"] == [f"dead:{parts['property']}"]
    assert len(shown["admin"]) == 3


async def test_department_sees_effects_on_its_own_assignments_only(world: World) -> None:
    case = await world.report()
    id = CaseId(str(case["id"]))
    body = {"targets": [{"unit": "police"}, {"unit": "property"}]}
    dispatched = await world.client.post(f"/cases/{id}/dispatch", json=body, headers=world.as_("admin"))
    parts = {item["unit"]: item["id"] for item in dispatched.json()["case"]["assignments"]}
    for effect, adapter in (
        (f"recall:{parts['police']}", "police"),
        (f"recall:{parts['property']}", "property"),
        (f"urge:{parts['property']}", "property"),
        ("inform:taken", "hotline"),
    ):
        failed = RecordEffect(effect=effect, adapter=adapter, error="refused", reason=f"{adapter} says no")
        await world.desk.execute(id, failed, actor=SYSTEM)
        await world.desk.execute(id, RecordEffect(effect=effect, adapter=adapter), actor=SYSTEM)
    told = await world.desk.load(id)
    assert told is not None
    for who, wanted in (("police", {"police"}), ("property", {"property"}), ("admin", {"police", "property", "hotline"})):
        token = await world.tokens.find(world.secrets[who])
        assert token is not None
        caller = caller_from(token, world.district)
        story = (await world.client.get(f"/cases/{id}/timeline", params={"fresh": 1}, headers=world.as_(who))).json()["items"]
        effects = [item["body"] for item in story if item["event"].startswith("effect.")]
        assert {body["adapter"] for body in effects} == wanted
        assert {body["reason"] for body in effects if "reason" in body} == {f"{adapter} says no" for adapter in wanted}
        streamed = [
            event["effect"]
            for commit in world.ledger.all()
            if (change := change_of(1, commit, CASE_KIND, told.state, caller)) is not None
            for event in change["events"]
            if "effect" in event
        ]
        assert streamed == [body["effect"] for body in effects]
        changes = [change_of(1, commit, CASE_KIND, told.state, caller) for commit in world.ledger.all()]
        assert (None in changes) == (who != "admin"), "what only concerns others is not told at all"


async def test_request_that_may_not_see_a_case_is_not_filed_under_it(world: World, tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db")
    tracing = telemetry.setup(Settings(data=tmp_path), "hub", store)
    try:
        case = await world.report(area=OTHER_STREET)
        before = len(store.of_matter(str(case["id"])))
        for path, sent in (("comment", {"json": {"text": "x"}}), ("attachments", {"files": {"file": ("a.txt", b"x")}})):
            answer = await world.client.post(f"/cases/{case['id']}/{path}", headers=world.as_("street"), **sent)  # type: ignore[arg-type]
            assert answer.status_code == 404
        assert len(store.of_matter(str(case["id"]))) == before
    finally:
        tracing.close()
        store.close()


@pytest.mark.parametrize("path", ["/cases", "/deliveries"])
@pytest.mark.parametrize("words", ["", "  "])
async def test_search_for_nothing_is_refused_naming_the_field(world: World, path: str, words: str) -> None:
    answer = await world.client.get(path, params={"q": words}, headers=world.as_("admin"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "q"


async def test_a_name_that_came_by_a_merge_is_masked_by_a_hub_that_has_not_heard_of_it(world: World) -> None:
    into = await world.report(contact={"name": "慕容雪", "phone": "13800000001"}, key="a")
    gone = await world.report(contact={"name": "诸葛亮", "phone": "13800000002"}, key="z", text="另一件", place="别处")
    other = Desk(CASE, world.ledger, lambda: world.district.policy.rules, clock=world.clock, hiding=world.vault.hiding)
    await other.known(MatterId(str(into["id"])))  # before the merge
    answer = await world.client.post(f"/cases/{gone['id']}/merge", json={"into": into["id"]}, headers=world.as_("admin"))
    assert answer.status_code == 200, answer.text
    outcome = await other.execute(MatterId(str(into["id"])), Comment(text="诸葛亮来电催办"), actor=SYSTEM)
    (event,) = outcome.events
    assert isinstance(event, Commented)
    assert event.text == "诸葛**来电催办"
