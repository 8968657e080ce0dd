"""The Open311 server as a client sees it: every endpoint in both formats, every refusal in Open311's words."""

from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hub_open311.server.settings import Choice, Question

from hub.model.case.state import CaseId
from hub.model.positions import Point
from hub.surfaces.api.mounts import reception
from plugins.open311.tests.open311_world import LAMP, ROOT, WHERE, get, post, report, serve
from tests.unit.api_world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with serve(tmp_path) as opened:
        yield opened


async def test_a_report_that_can_not_be_shown_yet_is_not_said_to_be_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "WAIT", 0.05)
    await world.leave_views_behind()
    id = await report(world)
    for path in ("requests.json", f"requests/{id}.json"):
        answer = await get(world, path)
        assert (answer.status_code, answer.json()[0]["code"], answer.headers["retry-after"]) == (503, 503, "1"), path


# services


async def test_services_are_the_leaf_categories_in_both_formats(world: World) -> None:
    answer = await get(world, "services.json")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    services = answer.json()
    assert {item["service_code"] for item in services} == {category.code for category in world.district.policy.categories}
    lamp = next(item for item in services if item["service_code"] == LAMP)
    assert lamp["service_name"] == "路灯故障"
    assert lamp["group"] == "公用设施"
    assert lamp["metadata"] is True
    assert lamp["type"] == "realtime"
    assert "灯杆" in lamp["keywords"].split(", ")
    other = await get(world, "services.xml")
    assert other.headers["content-type"] == "text/xml; charset=utf-8"
    assert other.content.startswith(b'<?xml version="1.0" encoding="utf-8"?>')
    tree = ElementTree.fromstring(other.content)
    assert tree.tag == "services"
    assert [item.findtext("service_code") for item in tree.findall("service")] == [item["service_code"] for item in services]
    assert tree[0].findtext("metadata") == "true"


async def test_definition_asks_in_order_with_every_datatype(world: World) -> None:
    attributes = (await get(world, f"services/{LAMP}.json")).json()["attributes"]
    assert [item["order"] for item in attributes] == list(range(1, len(attributes) + 1))
    assert {item["datatype"] for item in attributes} == {
        "string", "number", "datetime", "text", "singlevaluelist", "multivaluelist",
    }  # fmt: skip
    assert [item["variable"] for item in attributes].count(False) == 1
    danger = next(item for item in attributes if item["code"] == "DANGER")
    assert {"key": "yes", "name": "是"} in danger["values"]
    tree = ElementTree.fromstring((await get(world, f"services/{LAMP}.xml")).content)
    assert tree.tag == "service_definition"
    assert tree.findtext("service_code") == LAMP
    assert len(tree.findall("attributes/attribute")) == len(attributes)
    assert tree.find("attributes/attribute/values/value/key") is not None


async def test_questions_come_from_the_settings_by_the_longest_beginning(tmp_path: Path) -> None:
    kind = Question(
        code="KIND",
        description="灯型",
        datatype="singlevaluelist",
        required=True,
        values=(Choice(key="1", name="高杆灯"), Choice(key="2", name="庭院灯")),
    )
    async with serve(tmp_path, attributes={"P01": (kind,), "*": ()}) as world:
        assert [item["code"] for item in (await get(world, f"services/{LAMP}.json")).json()["attributes"]] == ["KIND"]
        assert (await get(world, "services/P0201.json")).json()["attributes"] == []
        form = {"api_key": world.secrets["admin"], "service_code": LAMP, **WHERE}
        refusal = await post(world, form)
        assert refusal.status_code == 400
        assert refusal.json() == [{"code": 400, "description": "attribute[KIND] is required"}]
        assert (await post(world, {**form, "attribute[KIND]": "9"})).status_code == 400
        assert (await post(world, {**form, "attribute[KIND]": "1"})).status_code == 200


async def test_only_the_services_in_the_settings_are_offered(tmp_path: Path) -> None:
    async with serve(tmp_path, services=("P01",)) as world:
        assert all(item["service_code"].startswith("P01") for item in (await get(world, "services.json")).json())
        assert (await get(world, "services/P0201.json")).status_code == 404


# reporting


async def test_report_opens_a_case_with_contact_in_the_vault_and_place_kept(world: World) -> None:
    id = await report(
        world,
        first_name="三",
        last_name="张",
        phone="13800001234",
        email="zhang@example.org",
        account_id="a-1",
        device_id="tt222111",
        media_url="http://pictures.example.org/1.jpg",
        **{"attribute[PLACE_DETAIL]": "12号灯杆", "attribute[DANGER]": "yes", "attribute[unknown_to_us]": "x"},
    )
    case = await world.desk.load(CaseId(id))
    assert case is not None
    assert case.state.category == LAMP
    assert case.state.place == "尧化街道尧佳路7号3栋 12号灯杆"
    assert case.state.wgs84 == Point(longitude=118.9123456, latitude=32.1031234)
    assert "是否危及人身安全：是" in case.state.text
    assert "unknown_to_us：x" in case.state.text
    assert case.state.has_contact
    contact = await world.vault.open(case.id)
    assert contact is not None
    assert contact.name == "张三"
    assert contact.phone == "13800001234 / zhang@example.org"
    assert contact.address == "账号 a-1，设备 tt222111"
    for secret in ("13800001234", "zhang@example.org", "tt222111", "张三"):
        assert secret not in repr(world.ledger.all())
        assert secret not in (await get(world, f"requests/{id}.json", api_key=world.secrets["admin"])).text


async def test_flat_that_is_masked_in_the_case_is_kept_whole_in_the_vault(world: World) -> None:
    id = await report(world, address_string="尧佳路7号3栋2单元402室")
    contact = await world.vault.open(CaseId(id))
    assert contact is not None
    assert contact.address == "尧佳路7号3栋2单元402室"
    assert "402" not in (await get(world, f"requests/{id}.json", api_key=world.secrets["viewer"])).text


async def test_answer_to_a_report_is_an_array_in_both_formats(world: World) -> None:
    form = {"api_key": world.secrets["admin"], "service_code": LAMP, "account_id": "7", **WHERE}
    answer = (await post(world, form)).json()
    assert len(answer) == 1
    assert answer[0]["account_id"] == "7"
    assert "token" not in answer[0]
    tree = ElementTree.fromstring((await post(world, form, "requests.xml")).content)
    assert tree.tag == "service_requests"
    assert tree.findtext("request/service_request_id")
    assert tree.find("request/service_notice") is not None


@pytest.mark.parametrize(
    "extra",
    [{"attribute[fixmystreet_id]": "4711"}, {"attribute[external_id]": "4711"}, {"service_request_id_ext": "4711"}],
    ids=["fixmystreet", "external", "extension"],
)
async def test_same_outside_number_opens_one_case(world: World, extra: dict[str, str]) -> None:
    first = await report(world, **extra)
    assert await report(world, **extra) == first
    assert await report(world, "street", **extra) != first, "another client's number is another number"


async def test_idempotency_key_opens_one_case(world: World) -> None:
    form = {"api_key": world.secrets["admin"], "service_code": LAMP, **WHERE}
    first = (await post(world, form, **{"Idempotency-Key": "k-1"})).json()
    assert (await post(world, form, **{"Idempotency-Key": "k-1"})).json() == first
    assert (await post(world, form)).json() != first
    assert (await post(world, form, **{"Idempotency-Key": "k " * 200})).status_code == 400


async def test_client_finds_its_report_by_its_own_number(world: World) -> None:
    id = await report(world, **{"attribute[external_id]": "4711"})
    await world.views.wait_for(len(world.ledger.stored), 5)
    found = await get(world, "requests.json", external_id="4711", api_key=world.secrets["admin"])
    assert [item["service_request_id"] for item in found.json()] == [id]
    assert (await get(world, "requests.json", external_id="4712", api_key=world.secrets["admin"])).json() == []
    assert (await get(world, "requests.json", external_id="4711", api_key=world.secrets["street"])).json() == []


async def test_area_code_as_address_id_locates_the_case(world: World) -> None:
    form = {"api_key": world.secrets["admin"], "service_code": LAMP, "address_id": "320113001"}
    id = (await post(world, form)).json()[0]["service_request_id"]
    assert id.startswith("320113001000000-")
    assert (await post(world, {**form, "api_key": world.secrets["street"], "address_id": "320113002"})).status_code == 400


async def test_bad_reports_are_refused_with_everything_that_is_wrong(world: World) -> None:
    key = world.secrets["admin"]
    nothing = await post(world, {"api_key": key})
    assert nothing.status_code == 400
    assert len(nothing.json()) == 2
    tree = ElementTree.fromstring((await post(world, {"api_key": key}, "requests.xml")).content)
    assert tree.tag == "errors"
    assert [item.findtext("code") for item in tree.findall("error")] == ["400", "400"]
    for wrong, status in (
        ({"service_code": "nonsense", **WHERE}, 404),
        ({"service_code": LAMP, "lat": "32.1"}, 400),
        ({"service_code": LAMP, "lat": "132.1", "long": "118"}, 400),
        ({"service_code": LAMP, "lat": "nan", "long": "118"}, 400),
        ({"service_code": LAMP, **WHERE, "description": "长" * 4001}, 400),
        ({"service_code": LAMP, **WHERE, "media_url": "javascript:alert(1)"}, 400),
        ({"service_code": LAMP, **WHERE, "address_string": "很" * 201}, 400),
        ({"service_code": LAMP, **WHERE, "attribute[DANGER]": "perhaps"}, 400),
        ({"service_code": LAMP, **WHERE, "attribute[HOUSEHOLDS]": "many"}, 400),
        ({"service_code": LAMP, **WHERE, "attribute[SINCE]": "yesterday"}, 400),
        ({"service_code": LAMP, **WHERE, "jurisdiction_id": "elsewhere.gov"}, 404),
    ):
        answer = await post(world, {"api_key": key, **wrong})
        assert answer.status_code == status, (wrong, answer.text)
        assert answer.json()[0]["code"] == status
        assert answer.json()[0]["description"]


async def test_multivalued_attributes_are_taken_in_php_style(world: World) -> None:
    body = (
        f"api_key={world.secrets['admin']}&service_code={LAMP}&lat=32.1&long=118.9"
        "&attribute[SITUATION][]=night&attribute[SITUATION][]=again"
    )
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    answer = await world.client.post(f"{ROOT}/requests.json", content=body, headers=headers)
    case = await world.desk.load(CaseId(answer.json()[0]["service_request_id"]))
    assert case is not None
    assert "现场情况（可多选）：夜间更严重、反复出现" in case.state.text


@pytest.mark.parametrize("charset", ["undefined", "no-such-charset", "idna", "rot13", "utf-7"])
async def test_form_in_a_charset_of_the_clients_choice_is_no_fault_of_the_hub(world: World, charset: str) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="description"\r\n\r\n\xff\xfe\r\n--b--\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
    answer = await world.client.post(f"{ROOT}/requests.json", content=part, headers=headers)
    assert answer.status_code in (400, 403), "what can't be read, or, where it could be, reporting without a key"
    assert answer.json()[0]["code"] == answer.status_code


async def test_pictures_sent_along_are_kept(world: World) -> None:
    form = {"api_key": world.secrets["admin"], "service_code": LAMP, **WHERE}
    picture = ("lamp.png", b"\x89PNG\r\n\x1a\n....", "image/png")
    answer = await world.client.post(f"{ROOT}/requests.json", data=form, files={"media": picture})
    assert answer.status_code == 200, answer.text
    assert len(await world.files()) == 1
    script = ("x.html", b"<script>", "image/png")
    assert (await world.client.post(f"{ROOT}/requests.json", data=form, files={"media": script})).status_code == 400


# keys


async def test_reporting_needs_a_key_that_may_report(world: World) -> None:
    form = {"service_code": LAMP, **WHERE}
    assert (await post(world, form)).status_code == 403
    assert (await post(world, {**form, "api_key": "hub_made_up"})).status_code == 403
    assert (await post(world, {**form, "api_key": world.secrets["viewer"]})).status_code == 403
    by_header = await post(world, form, Authorization=f"Bearer {world.secrets['admin']}")
    assert by_header.status_code == 200


async def test_without_a_key_reporting_is_rare_where_it_is_allowed(tmp_path: Path) -> None:
    async with serve(tmp_path, anonymous=True, anonymous_per_minute=2) as world:
        answers = [await post(world, {"service_code": LAMP, "device_id": f"device-number-{n}", **WHERE}) for n in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert int(answers[2].headers["retry-after"]) > 0
        assert answers[2].json()[0]["code"] == 429
        stored = repr(world.ledger.all())
        assert "127.0.0.1" not in stored
        assert "device-number" not in stored
        update = {"service_request_id": answers[0].json()[0]["service_request_id"], "update_id": "1", "status": "OPEN"}
        assert (await post(world, update, "servicerequestupdates.json")).status_code == 403
