"""What Open311 clients get to read and follow, and that every refusal is in Open311's words."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hub.model.actors import SYSTEM
from hub.model.answers import Reached, Satisfied
from hub.model.case.commands import Visit
from hub.model.case.state import CaseId
from plugins.open311.tests.open311_world import LAMP, ROOT, WHERE, category_of, get, post, report, serve, settle
from tests.unit.api_world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with serve(tmp_path) as opened:
        yield opened


# reading


async def test_request_shows_what_the_specification_lists(world: World) -> None:
    id = await report(world, media_url="http://pictures.example.org/1.jpg")
    answer = await get(world, f"requests/{id}.json")
    (shown,) = answer.json()
    assert shown["service_request_id"] == id
    assert shown["status"] == "open"
    assert shown["status_notes"] == "已受理，正在核查处理。"
    assert shown["service_name"] == "路灯故障"
    assert shown["description"] == "路灯不亮已经三天"
    assert shown["media_url"] == "http://pictures.example.org/1.jpg"
    assert (shown["lat"], shown["long"]) == (32.1, 118.91), "rounded for everybody"
    assert "7号" not in shown["address"]
    assert shown["requested_datetime"].endswith("+08:00")
    assert datetime.fromisoformat(shown["expected_datetime"]) > datetime.now(UTC)
    (exact,) = (await get(world, f"requests/{id}.json", api_key=world.secrets["admin"])).json()
    assert (exact["lat"], exact["long"]) == (32.1031234, 118.9123456), "exact for those who handle it"
    assert exact["address"] == WHERE["address_string"]
    tree = ElementTree.fromstring((await get(world, f"requests/{id}.xml")).content)
    assert [item.tag for item in tree.findall("request")[0]] == list(shown)
    assert tree.findtext("request/lat") == "32.1"


async def test_resolved_is_closed_and_says_so(world: World) -> None:
    id = await report(world)
    await settle(world, id)
    (shown,) = (await get(world, f"requests/{id}.json")).json()
    assert shown["status"] == "closed"
    assert shown["status_notes"] == "已办理完毕，等待回访。"
    assert [item["service_request_id"] for item in (await get(world, "requests.json", status="closed")).json()] == [id]
    assert (await get(world, "requests.json", status="open")).json() == []


async def test_searches_filter_and_page(world: World) -> None:
    lamps = [await report(world) for _ in range(3)]
    road = await report(world, service_code="P0201")

    async def ids(**query: str) -> list[str]:
        answer = await get(world, "requests.json", **query)
        assert answer.status_code == 200, answer.text
        return [item["service_request_id"] for item in answer.json()]

    assert await ids() == [road, *reversed(lamps)], "newest first"
    assert await ids(service_code="P0201") == [road]
    assert await ids(service_code=f"P0201,{LAMP}", status="open,closed") == [road, *reversed(lamps)]
    assert await ids(service_code="none") == []
    assert await ids(service_request_id=f"{lamps[0]},{road}", service_code="P0103", status="closed") == [lamps[0], road]
    assert await ids(page_size="2") == [road, lamps[2]]
    assert await ids(page_size="2", page="2") == [lamps[1], lamps[0]]
    now = datetime.now(UTC)
    assert await ids(start_date=(now - timedelta(hours=1)).isoformat()) == [road, *reversed(lamps)]
    assert await ids(end_date=(now - timedelta(hours=1)).isoformat()) == []
    assert await ids(start_date="", status="", service_request_id="") == [road, *reversed(lamps)], "empty is not sent"
    unescaped = f"{ROOT}/requests.json?start_date={(now + timedelta(hours=7)).strftime('%Y-%m-%dT%H:%M:%S')}+08:00"
    assert len((await world.client.get(unescaped)).json()) == 4


@pytest.mark.parametrize(
    "query",
    [
        {"status": "pending"},
        {"start_date": "yesterday"},
        {"start_date": "2026-01-01T00:00:00"},
        {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-06-01T00:00:00Z"},
        {"start_date": "2026-02-01T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"},
        {"end_date": "0001-01-01T00:00:00Z"},
        {"page": "0"},
        {"page_size": "many"},
    ],
    ids=str,
)
async def test_bad_searches_are_400(world: World, query: dict[str, str]) -> None:
    for form in ("json", "xml"):
        answer = await get(world, f"requests.{form}", **query)
        assert answer.status_code == 400, answer.text


async def test_cases_of_other_channels_are_not_given_out_unless_all_are(tmp_path: Path) -> None:
    async with serve(tmp_path / "a") as world:
        case = await world.report(category=LAMP)
        assert (await get(world, f"requests/{case['id']}.json")).status_code == 404
        assert (await get(world, "requests.json")).json() == []
    async with serve(tmp_path / "b", publish="all") as world:
        case = await world.report(category=LAMP, title="路灯不亮", text="路灯不亮")
        await world.report(category=category_of(world, "H"), title="欠薪", text="欠薪三个月")
        await world.views.wait_for(len(world.ledger.stored), 5)
        assert [item["service_request_id"] for item in (await get(world, "requests.json")).json()] == [case["id"]]


async def test_sensitive_matters_can_be_followed_but_not_read(world: World) -> None:
    id = await report(world, service_code=category_of(world, "H"), description="单位拖欠我的工资")
    assert (await get(world, "requests.json")).json() == []
    (shown,) = (await get(world, f"requests/{id}.json")).json()
    assert shown["status"] == "open"
    assert "工资" not in shown["description"]
    assert shown["lat"] is None
    (seen,) = (await get(world, f"requests/{id}.json", api_key=world.secrets["admin"])).json()
    assert seen["description"] == "单位拖欠我的工资"


async def test_key_reads_what_its_scopes_its_unit_and_its_own_reports_open(world: World) -> None:
    matter = category_of(world, "H")
    secret = "单位拖欠我的工资"

    async def text(id: str, key: str) -> str:
        (shown,) = (await get(world, f"requests/{id}.json", api_key=key)).json()
        return str(shown["description"])

    theirs = await report(world, service_code=matter, description=secret)
    assert await text(theirs, world.secrets["viewer"]) == secret
    assert await text(theirs, world.secrets["police"]) != secret, "a department sees its own assignments"
    own = await report(world, "police", service_code=matter, description=secret)
    assert await text(own, world.secrets["police"]) == secret, "and what it reported itself"
    narrow, _ = await world.tokens.issue(
        name="reports only", role="department", unit="police", area=world.district.code, scopes=("cases:report",)
    )
    world.secrets["narrow"] = narrow
    assert await text(await report(world, "narrow", service_code=matter, description=secret), narrow) == secret
    assert await text(theirs, narrow) != secret
    reader, _ = await world.tokens.issue(
        name="reads only", role="department", unit="police", area=world.district.code, scopes=("cases:read",)
    )
    assert (await post(world, {"api_key": reader, "service_code": LAMP, **WHERE})).status_code == 403


async def test_token_of_a_realtime_service_is_the_id_itself(world: World) -> None:
    id = await report(world)
    assert (await get(world, f"tokens/{id}.json")).json() == [{"service_request_id": id, "token": id}]
    assert (await get(world, "tokens/12345.json")).status_code == 404


# updates


async def test_updates_tell_the_public_story_once_each(world: World) -> None:
    id = await report(world)
    await settle(world, id)
    updates = (await get(world, "servicerequestupdates.json")).json()
    assert [item["status"] for item in updates] == ["investigating", "fixed"]
    assert {item["service_request_id"] for item in updates} == {id}
    assert len({item["update_id"] for item in updates}) == 2
    assert "灯泡" not in updates[1]["description"], "what was done is for clients with a key"
    keyed = (await get(world, "servicerequestupdates.json", api_key=world.secrets["admin"])).json()
    assert keyed[1]["description"] == "灯泡已更换"
    plain = (await get(world, "servicerequestupdates.json", extended="false")).json()
    assert [item["status"] for item in plain] == ["open", "closed"]
    tree = ElementTree.fromstring((await get(world, "servicerequestupdates.xml")).content)
    assert tree.tag == "service_request_updates"
    assert [item.findtext("status") for item in tree.findall("request_update")] == ["investigating", "fixed"]
    late = updates[1]["updated_datetime"]
    after = (datetime.fromisoformat(late) + timedelta(seconds=2)).isoformat()
    assert (await get(world, "servicerequestupdates.json", start_date=after)).json() == []


def update_of(world: World, id: str, update: str, status: str, who: str = "admin", text: str = "还是不亮") -> dict[str, str]:
    return {
        "api_key": world.secrets[who],
        "service_request_id": id,
        "update_id": update,
        "status": status,
        "updated_datetime": "2026-03-02T10:00:00+08:00",
        "description": text,
    }


async def test_update_of_a_client_is_a_comment_once(world: World) -> None:
    id = await report(world)
    form = update_of(world, id, "u1", "OPEN", text="联系人张三，电话13800001234")
    first = await post(world, form, "servicerequestupdates.json")
    assert first.json() == [{"update_id": "u1"}]
    again = await post(world, form, "servicerequestupdates.xml")
    assert ElementTree.fromstring(again.content).findtext("request_update/update_id") == "u1"
    comments = [commit for commit in world.ledger.all() if commit.command == "comment"]
    assert len(comments) == 1
    assert "13800001234" not in str(comments)
    updates = (await get(world, "servicerequestupdates.json")).json()
    assert len(updates) == 1, "its own words do not come back"


async def test_reporters_word_ends_or_reopens_a_case_only_through_its_own_client(world: World) -> None:
    id = await report(world)
    await settle(world, id)
    await post(world, update_of(world, id, "u0", "REOPEN", who="street"), "servicerequestupdates.json")
    case = await world.desk.load(CaseId(id))
    assert case is not None
    assert case.state.stage.value == "resolved", "another client's word is a remark"
    await post(world, update_of(world, id, "u1", "REOPEN"), "servicerequestupdates.json")
    case = await world.desk.load(CaseId(id))
    assert case is not None
    assert case.state.reopened == 1
    await settle(world, id)
    await post(world, update_of(world, id, "u2", "fixed"), "servicerequestupdates.json")
    case = await world.desk.load(CaseId(id))
    assert case is not None
    assert case.state.stage.value == "closed"
    await post(world, update_of(world, id, "u3", "REOPEN"), "servicerequestupdates.json")
    assert (await get(world, f"requests/{id}.json")).json()[0]["status"] == "closed", "a case is reopened once"
    assert world.ledger.all()[-1].command == "comment"


async def test_bad_updates_are_refused(world: World) -> None:
    id = await report(world)
    good = update_of(world, id, "u1", "OPEN")
    for name in ("update_id", "status", "service_request_id"):
        form = {key: value for key, value in good.items() if key != name}
        assert (await post(world, form, "servicerequestupdates.json")).status_code == 400
    assert (await post(world, good | {"status": "HAPPY"}, "servicerequestupdates.json")).status_code == 400
    assert (await post(world, good | {"service_request_id": "1"}, "servicerequestupdates.json")).status_code == 404
    other = await world.report(category=LAMP)
    assert (await post(world, good | {"service_request_id": str(other["id"])}, "servicerequestupdates.json")).status_code == 404


async def test_visit_by_the_hub_closes_for_the_client_too(world: World) -> None:
    id = await report(world)
    await settle(world, id)
    await world.desk.execute(CaseId(id), Visit(reached=Reached.YES, satisfied=Satisfied.YES), actor=SYSTEM)
    await world.views.wait_for(len(world.ledger.stored), 5)
    assert [item["status"] for item in (await get(world, "servicerequestupdates.json")).json()][-1] == "closed"


# how it speaks


async def test_discovery_is_served_in_both_formats(world: World) -> None:
    found = (await world.client.get("http://hub/open311/discovery.json")).json()
    (endpoint,) = found["endpoints"]
    assert endpoint["specification"] == "http://wiki.open311.org/GeoReport_v2"
    assert endpoint["url"] == "http://hub/open311/v2"
    assert endpoint["formats"] == ["text/xml", "application/json"]
    assert found["changeset"]
    assert found["contact"]
    assert found["key_service"]
    tree = ElementTree.fromstring((await world.client.get("http://hub/open311/discovery.xml")).content)
    assert [item.text for item in tree.findall("endpoints/endpoint/formats/format")] == ["text/xml", "application/json"]
    assert (await world.client.get("http://hub/open311/discovery")).headers["content-type"].startswith("text/xml")


async def test_every_refusal_speaks_open311(world: World) -> None:
    for path, status in (
        ("services.json?jurisdiction_id=elsewhere.gov", 404),
        ("services/none.json", 404),
        ("requests/none.json", 404),
        ("requests/320113001001001-01jd8x2m9qk3v5wz.json", 404),
        ("nothing.json", 404),
        ("requests.json?api_key=hub_wrong", 403),
        ("requests.json?service_code=%FF", 400),
    ):
        answer = await world.client.get(f"{ROOT}/{path}")
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert [error["code"] for error in answer.json()] == [status]
    wrong = await world.client.delete(f"{ROOT}/requests.xml")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "GET, POST"
    assert ElementTree.fromstring(wrong.content).findtext("error/code") == "405"
    body = await world.client.post(f"{ROOT}/requests.json", json={"service_code": LAMP})
    assert body.status_code == 400
    large = await world.client.post(f"{ROOT}/requests.json", content=b"x" * (13 * 1024 * 1024))
    assert large.status_code == 413
    assert large.json()[0]["code"] == 413


async def test_jurisdiction_is_optional_and_known_by_code_or_name(tmp_path: Path) -> None:
    async with serve(tmp_path, jurisdiction_id="qixia.gov.cn") as world:
        for wanted in ("", "qixia.gov.cn", "320113"):
            assert (await get(world, "services.json", jurisdiction_id=wanted)).status_code == 200


async def test_nothing_is_served_when_it_is_off(tmp_path: Path) -> None:
    async with serve(tmp_path, enabled=False) as world:
        assert (await get(world, "services.json")).status_code == 404


async def test_fault_of_the_hub_is_a_general_service_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(world.views, "read", broken)
    answer = await get(world, "requests.json")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()[0]["code"] == 500


async def test_unseen_characters_do_not_break_the_xml(world: World) -> None:
    id = await report(world, description="路灯\x0b不亮 <b>&\ufffe")
    tree = ElementTree.fromstring((await get(world, f"requests/{id}.xml")).content)
    assert tree.findtext("request/description") == "路灯不亮 <b>&"
