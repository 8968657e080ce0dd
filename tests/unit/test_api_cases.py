"""Cases over HTTP: reporting once, listing, commands, refusals, contact, attachments."""

import hashlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub.contract import Contact
from hub.model.actors import SYSTEM
from hub.model.case.commands import Attach
from hub.model.case.state import CaseId, Channel
from hub.model.records import Attachment
from hub.spine.ways_in.intake import Entry, EntryFile
from hub.surfaces.api import answers
from hub.testing.kit import PATIENCE
from tests.unit.api_world import STREET, World

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World.make(tmp_path) as made:
        yield made


async def test_report_opens_a_case_that_the_next_list_shows(world: World) -> None:
    case = await world.report(title="楼道漏水", text="联系电话13800001234，三楼漏水")
    assert case["area"] == STREET
    assert "13800001234" not in str(case)
    listed = (await world.client.get("/cases", params={"q": "漏水"}, headers=world.as_("admin"))).json()
    assert [item["id"] for item in listed["items"]] == [case["id"]]
    assert listed["cursor"] is None
    one = await world.client.get(f"/cases/{case['id']}", headers=world.as_("admin"))
    assert one.json()["text"] == "联系电话138****1234，三楼漏水"
    assert one.headers["Hub-Sequence"] == "1"
    story = (await world.client.get(f"/cases/{case['id']}/timeline", headers=world.as_("admin"))).json()
    assert story["items"][0]["event"] == "case.reported"
    assert story["items"][0]["actor"]["name"] == "admin"


async def test_views_that_are_behind_are_not_passed_off_as_up_to_date(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "WAIT", 0.05)
    seen = await world.report()
    assert await world.views.wait_for(1, PATIENCE)
    await world.leave_views_behind()
    unseen = await world.report()
    own = ("/cases", "/summary", "/deliveries", f"/cases/{unseen['id']}", f"/cases/{unseen['id']}/timeline")
    asked = [(path, {}, "admin") for path in own] + [(path, {"fresh": 1}, "viewer") for path in own[:2]]
    for path, query, who in asked:
        answer = await world.client.get(path, params=query, headers=world.as_(who))
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:hub:problem:unavailable"), path
        assert answer.headers["retry-after"] == "1"
    listed = await world.client.get("/cases", headers=world.as_("viewer"))  # wrote nothing, asked for nothing fresh
    assert [item["id"] for item in listed.json()["items"]] == [seen["id"]]
    one = await world.client.get(f"/cases/{unseen['id']}", params={"fresh": 1}, headers=world.as_("viewer"))
    assert one.status_code == 200, "a single case comes from the ledger"


async def test_report_without_a_key_is_refused(world: World) -> None:
    answer = await world.client.post("/cases", json={"text": "路灯不亮"}, headers=world.as_("admin"))
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:hub:problem:key-missing"


async def test_same_key_opens_one_case_also_when_the_time_was_left_out(world: World) -> None:
    headers = world.as_("admin", "key-1")
    first = await world.client.post("/cases", json={"text": "路灯不亮"}, headers=headers)
    again = await world.client.post("/cases", json={"text": "路灯不亮"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["case"]["id"] == first.json()["case"]["id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    other = await world.client.post("/cases", json={"text": "井盖缺失"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["type"] == "urn:hub:problem:key-reused"
    assert len(world.ledger.stored) == 1


async def test_two_tokens_keys_never_meet(world: World) -> None:
    first = await world.client.post("/cases", json={"text": "路灯不亮"}, headers=world.as_("admin", "same"))
    other = await world.client.post("/cases", json={"text": "井盖缺失", "area": STREET}, headers=world.as_("street", "same"))
    assert other.status_code == 201
    assert other.json()["case"]["id"] != first.json()["case"]["id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "x", "colour": "red"}, "colour"),
        ({"text": 5}, "text"),
        ({"text": "x", "area": "32"}, "area"),
        ({"text": "x", "reported_at": "2026-01-01T00:00:00"}, "reported_at"),
        ({"text": "x", "contact": {"phone": 1}}, "contact.phone"),
        ({"title": "", "text": " "}, "text"),
        ({"text": "x", "area": "999999"}, "area"),
    ],
)
async def test_invalid_report_names_the_field(world: World, body: dict[str, object], field: str) -> None:
    answer = await world.client.post("/cases", json=body, headers=world.as_("admin", "k"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_body_that_is_no_json_is_400_and_of_another_type_415(world: World) -> None:
    headers = world.as_("admin", "k") | {"content-type": "application/json"}
    assert (await world.client.post("/cases", content=b"{", headers=headers)).status_code == 400
    headers = world.as_("admin", "k") | {"content-type": "text/plain"}
    assert (await world.client.post("/cases", content=b"{}", headers=headers)).status_code == 415


async def test_command_is_done_once_per_key(world: World) -> None:
    case = await world.report()
    headers = world.as_("admin", "c1")
    first = await world.client.post(f"/cases/{case['id']}/comment", json={"text": "电话13912345678来问"}, headers=headers)
    assert first.status_code == 200, first.text
    assert first.json()["events"] == ["case.commented"]
    again = await world.client.post(f"/cases/{case['id']}/comment", json={"text": "电话13912345678来问"}, headers=headers)
    assert again.json()["repeated"] is True
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await world.client.post(f"/cases/{case['id']}/comment", json={"text": "别的"}, headers=headers)
    assert other.status_code == 422
    story = (await world.client.get(f"/cases/{case['id']}/timeline", headers=world.as_("admin"))).json()
    assert [item["body"]["text"] for item in story["items"] if item["event"] == "case.commented"] == ["电话139****5678来问"]


async def test_refused_transition_names_state_command_and_rule(world: World) -> None:
    case = await world.report()
    answer = await world.client.post(f"/cases/{case['id']}/visit", json={"reached": "yes"}, headers=world.as_("admin"))
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["type"] == "urn:hub:problem:transition-refused"
    assert problem["command"] == "visit"
    assert problem["state"]
    assert problem["rule"]


async def test_command_without_required_fields_needs_no_body(world: World) -> None:
    case = await world.report()
    answer = await world.client.post(f"/cases/{case['id']}/claim", headers=world.as_("admin"))
    assert answer.status_code == 200, answer.text


async def test_dispatch_to_named_units_and_reassign(world: World) -> None:
    case = await world.report(text="路灯不亮", title="路灯不亮", channel="patrol", area=STREET + "001001")
    body = {"targets": [{"unit": "police", "role": "lead", "task": "到场"}]}
    answer = await world.client.post(f"/cases/{case['id']}/dispatch", json=body, headers=world.as_("admin"))
    assert answer.status_code == 200, answer.text
    made = [item for item in answer.json()["case"]["assignments"] if item["unit"] == "police"]
    assert made[0]["unit_name"]
    assert made[0]["key"] == f"{case['id']}.{made[0]['id']}"
    wrong = {"targets": [{"unit": "police", "role": "chief"}]}
    refused = await world.client.post(f"/cases/{case['id']}/dispatch", json=wrong, headers=world.as_("admin"))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"].startswith("targets")


async def test_internal_commands_have_no_address(world: World) -> None:
    case = await world.report()
    for name in (
        "start_delivery",
        "record_delivered",
        "check_deadlines",
        "absorb",
        "access_contact",
        "attach_report",
        "report",
    ):
        answer = await world.client.post(f"/cases/{case['id']}/{name}", json={}, headers=world.as_("admin"))
        assert answer.status_code == 404, name


async def test_merge_tells_the_other_case_first(world: World) -> None:
    one = await world.report(key="1")
    two = await world.report(key="2")
    answer = await world.client.post(f"/cases/{two['id']}/merge", json={"into": one["id"]}, headers=world.as_("admin", "m"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["case"]["merged_into"] == one["id"]
    kept = (await world.client.get(f"/cases/{one['id']}", params={"fresh": 1}, headers=world.as_("admin"))).json()
    assert kept["absorbed"] == [two["id"]]
    again = await world.client.post(f"/cases/{two['id']}/merge", json={"into": one["id"]}, headers=world.as_("admin", "m"))
    assert again.json()["repeated"] is True
    refused = await world.client.post(f"/cases/{one['id']}/merge", json={"into": one["id"]}, headers=world.as_("admin"))
    assert refused.status_code == 422


@pytest.mark.parametrize("into", ["320113001001001-err-0123456789abcdef", "320113001001001-0123456789abcdef", "x"])
async def test_merge_into_what_is_no_case_names_the_field(world: World, into: str) -> None:
    case = await world.report()
    refused = await world.client.post(f"/cases/{case['id']}/merge", json={"into": into}, headers=world.as_("admin"))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "into"
    other = await world.client.post(f"/cases/{into}/merge", json={"into": case["id"]}, headers=world.as_("admin"))
    assert other.status_code in (404, 422)


async def test_refused_merge_leaves_the_other_case_alone(world: World) -> None:
    one = await world.report(key="1")
    two = await world.report(key="2")
    await world.client.post(f"/cases/{two['id']}/void", json={"reason": "测试"}, headers=world.as_("admin"))
    answer = await world.client.post(f"/cases/{two['id']}/merge", json={"into": one["id"]}, headers=world.as_("admin"))
    assert answer.status_code == 409
    kept = await world.desk.load(CaseId(str(one["id"])))
    assert kept is not None
    assert kept.state.absorbed == ()


async def test_contact_is_read_with_a_purpose_and_that_is_on_the_timeline_first(world: World) -> None:
    case = await world.report(contact={"name": "张三", "phone": "13800001234"})
    path = f"/cases/{case['id']}/contact"
    assert case["has_contact"] is True
    assert (await world.client.get(path, headers=world.as_("admin"))).status_code == 422
    answer = await world.client.get(path, params={"purpose": "回访"}, headers=world.as_("admin"))
    assert answer.json() == {"name": "张三", "phone": "13800001234", "address": None}
    assert answer.headers["cache-control"] == "no-store"
    last = world.ledger.all()[-1]
    assert last.command == "access_contact"
    before = len(world.ledger.stored)
    for who, status in (("viewer", 403), ("devops", 403), ("police", 404)):
        refused = await world.client.get(path, params={"purpose": "回访"}, headers=world.as_(who))
        assert refused.status_code == status, who
    assert len(world.ledger.stored) == before


async def test_erased_contact_is_gone(world: World) -> None:
    case = await world.report(contact={"phone": "13800001234"})
    answer = await world.client.post(
        f"/cases/{case['id']}/erase_contact", json={"reason": "本人要求"}, headers=world.as_("admin")
    )
    assert answer.status_code == 200, answer.text
    assert await world.vault.open(CaseId(str(case["id"]))) is None
    gone = await world.client.get(f"/cases/{case['id']}/contact", params={"purpose": "回访"}, headers=world.as_("admin"))
    assert gone.status_code == 404


async def test_name_in_the_reason_of_an_erasure_is_masked_before_it_is_forgotten(world: World) -> None:
    case = await world.report(contact={"name": "欧阳建国"})
    answer = await world.client.post(
        f"/cases/{case['id']}/erase_contact", json={"reason": "欧阳建国本人要求"}, headers=world.as_("admin")
    )
    assert answer.status_code == 200, answer.text
    assert await world.vault.open(CaseId(str(case["id"]))) is None
    assert "欧阳建国" not in repr(world.ledger.all())
    assert "欧阳**本人要求" in repr(world.ledger.all())


async def reported_with(world: World, *photos: bytes) -> CaseId:
    """A case whose reporter left a contact and sent these along."""
    files = []
    for number, content in enumerate(photos):
        sha = hashlib.sha256(content).hexdigest()
        record = Attachment(name=f"{number}.png", media_type="image/png", size=len(content), sha256=sha)
        files.append(EntryFile(record, content))
    entry = Entry(
        channel=Channel.RESIDENT,
        title="漏水",
        text="漏水",
        reported_at=world.clock(),
        area=STREET,
        contact=Contact(phone="13800001234"),
        files=tuple(files),
    )
    return (await world.app.state.services.intake.report(entry, actor=SYSTEM)).state.id  # type: ignore[no-any-return]


async def erase(world: World, case: CaseId) -> dict[str, Any]:
    answer = await world.client.post(f"/cases/{case}/erase_contact", json={"reason": "本人要求"}, headers=world.as_("admin"))
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def attach(world: World, case: CaseId, content: bytes, name: str = "0.png") -> None:
    files = {"file": (name, content, "image/png")}
    answer = await world.client.post(f"/cases/{case}/attachments", files=files, headers=world.as_("admin"))
    assert answer.status_code == 201, answer.text


async def download(world: World, content: bytes) -> bytes | None:
    sha = hashlib.sha256(content).hexdigest()
    answer = await world.client.get(f"/attachments/{sha}", params={"fresh": 1}, headers=world.as_("admin"))
    return answer.content if answer.status_code == 200 else None


async def test_erasing_destroys_the_files_of_the_report_and_says_what_is_left(world: World) -> None:
    own, later = PNG + b"own", PNG + b"later"
    case = await reported_with(world, own)
    await attach(world, case, later, "later.png")
    told = await erase(world, case)
    assert told["files_destroyed"] == [hashlib.sha256(own).hexdigest()]
    assert [file["name"] for file in told["files_kept"]] == ["later.png"]
    assert (await download(world, own), await download(world, later)) == (None, later)
    assert (await erase(world, case))["files_destroyed"] == told["files_destroyed"]


@pytest.mark.parametrize("how", ["attached", "reported"])
@pytest.mark.parametrize("when", ["before", "while"])
async def test_erasing_takes_the_same_content_from_no_other_case(world: World, how: str, when: str) -> None:
    content = PNG + b"shared"
    case = await reported_with(world, content)
    other = CaseId(str((await world.report())["id"]))

    async def stored() -> None:
        await (attach(world, other, content) if how == "attached" else reported_with(world, content))

    if when == "before":
        await stored()
    else:
        delete = world.objects.delete

        async def overtaken(sha256: str, *, of: str) -> None:
            await stored()
            await delete(sha256, of=of)

        world.objects.delete = overtaken  # type: ignore[method-assign]
    await erase(world, case)
    assert await download(world, content) == content


@pytest.mark.parametrize("when", ["before", "after"])
async def test_reporters_own_file_that_somebody_attaches_again_is_there_once(world: World, when: str) -> None:
    content = PNG + b"own"
    case = await reported_with(world, content)
    if when == "before":
        await attach(world, case, content)
        assert len(await world.files()) == 1
    await erase(world, case)
    assert await world.files() == []
    if when == "after":
        await attach(world, case, content)
        assert await download(world, content) == content
        assert [file["name"] for file in (await erase(world, case))["files_kept"]] == ["0.png"]
        assert await download(world, content) == content


async def test_reporters_own_file_that_is_erased_while_somebody_attaches_it_again_is_stored_anew(world: World) -> None:
    content = PNG + b"own"
    case = await reported_with(world, content)
    execute = world.desk.execute

    async def overtaken(id: CaseId, command: Any, **options: Any) -> Any:
        if isinstance(command, Attach):
            await erase(world, case)
        return await execute(id, command, **options)

    world.desk.execute = overtaken  # type: ignore[method-assign]
    await attach(world, case, content)
    assert await download(world, content) == content


async def test_same_file_sent_twice_with_a_report_is_destroyed_and_not_left(world: World) -> None:
    told = await erase(world, await reported_with(world, PNG, PNG))
    assert (told["files_destroyed"], told["files_kept"]) == ([hashlib.sha256(PNG).hexdigest()] * 2, [])


async def test_attachment_comes_back_as_a_download_only(world: World) -> None:
    case = await world.report()
    files = {"file": ("../现场<1>.html", PNG, "text/html")}
    answer = await world.client.post(f"/cases/{case['id']}/attachments", files=files, headers=world.as_("admin", "f1"))
    assert answer.status_code == 201, answer.text
    stored = answer.json()["attachment"]
    assert (stored["name"], stored["media_type"], stored["size"]) == ("现场1.html", "image/png", len(PNG))
    again = await world.client.post(f"/cases/{case['id']}/attachments", files=files, headers=world.as_("admin", "f1"))
    assert again.json()["repeated"] is True
    got = await world.client.get(f"/attachments/{stored['sha256']}", headers=world.as_("admin"))
    assert got.content == PNG
    assert got.headers["content-type"] == "image/png"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-disposition"].startswith("attachment")
    assert (await world.client.get(f"/attachments/{stored['sha256']}", headers=world.as_("police"))).status_code == 404
    assert (await world.client.get(f"/attachments/{'0' * 64}", headers=world.as_("admin"))).status_code == 404


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 422), (b"\x7fELF\0\0", 415), (b"<html><script>", 415), (b"x" * (10 * 1024 * 1024 + 1), 413), ("记录".encode(), 201)],
)
async def test_attachment_is_judged_by_its_content(world: World, content: bytes, status: int) -> None:
    case = await world.report()
    files = {"file": ("photo.jpg", content, "image/jpeg")}
    answer = await world.client.post(f"/cases/{case['id']}/attachments", files=files, headers=world.as_("admin"))
    assert answer.status_code == status, answer.text


async def test_list_filters_and_pages(world: World) -> None:
    for number in range(5):
        await world.report(key=str(uuid.uuid4()), title=f"路灯不亮{number}", severity="minor" if number else "major")
    headers = world.as_("admin")
    page = (await world.client.get("/cases", params={"limit": 2, "total": 1}, headers=headers)).json()
    assert (len(page["items"]), page["total"]) == (2, 5)
    rest = (await world.client.get("/cases", params={"limit": 200, "cursor": page["cursor"]}, headers=headers)).json()
    assert len(rest["items"]) == 3
    assert rest["cursor"] is None
    major = (await world.client.get("/cases", params={"severity": "major"}, headers=headers)).json()
    assert [item["severity"] for item in major["items"]] == ["major"]
    none = (await world.client.get("/cases", params=[("stage", "closed"), ("stage", "void")], headers=headers)).json()
    assert none["items"] == []
    for wrong in ({"limit": 0}, {"stage": "x"}, {"cursor": "x"}, {"since": "2026-01-01"}, {"area": "abc"}):
        answer = await world.client.get("/cases", params=wrong, headers=headers)
        assert answer.status_code == 422, wrong
        assert answer.json()["errors"][0]["field"].startswith(next(iter(wrong)))
