"""Through the interface: what reporters and checkers say, how a case is closed by it, and what of it counts in the figures."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World.make(tmp_path) as made:
        yield made


async def _do(world: World, case: str, command: str, **body: object) -> dict[str, Any]:
    answer = await world.client.post(f"/cases/{case}/{command}", json=body, headers=world.as_("admin"))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _resolved(world: World) -> str:
    case = str((await world.report())["id"])
    shown = (await world.client.get(f"/cases/{case}", headers=world.as_("admin"))).json()
    if shown["stage"] != "held":
        for item in shown["assignments"]:
            await _do(world, case, "resolve", assignment=item["id"], note="已办")
    else:
        await _do(world, case, "settle", note="已现场处置")
    return case


async def test_partly_solved_reopens_mostly_satisfied_closes_and_both_are_in_the_figures(world: World) -> None:
    case = await _resolved(world)
    checked = await _do(world, case, "check", solved="partly", note="井盖未复位")
    assert checked["events"] == ["case.checked"]
    assert checked["case"]["stage"] == "resolved"
    again = await _do(world, case, "visit", reached="yes", tries=2, solved="partly", satisfied="mostly")
    assert "case.reopened" in again["events"]
    await _do(world, case, "settle", note="返工完毕")
    await _do(world, case, "visit", reached="no", tries=2)
    closed = (await _do(world, case, "visit", reached="yes", solved="yes", satisfied="mostly"))["case"]
    assert (closed["stage"], closed["closing"], closed["visits"]) == ("closed", "normal", 3)
    said = closed["reporter_said"]
    assert (said["reached"], said["solved"], said["satisfied"], said["tries"]) == ("yes", "yes", "mostly", 3)
    assert said["by"]
    assert said["at"]
    assert (closed["checker_said"]["solved"], closed["checker_said"].get("satisfied")) == ("partly", None)

    other = await _resolved(world)
    closed = (await _do(world, other, "close", reason="设施已拆除", kind="special"))["case"]
    assert (closed["closing"], closed["closing_reason"], closed.get("reporter_said")) == ("special", "设施已拆除", None)

    figures = (await world.client.get("/summary", params={"fresh": 1}, headers=world.as_("admin"))).json()
    assert figures["answers"]["satisfied"] == {"yes": 0, "mostly": 1, "no": 0, "not_rated": 0}
    assert figures["answers"]["solved"]["yes"] == 1
    assert figures["answers"]["reached"] == {"yes": 1, "no": 0, "refused": 0}
    assert figures["closings"] == {"normal": 1, "late": 0, "faulty": 0, "special": 1}
    assert (figures["resolution_rate"], figures["satisfaction_rate"]) == (1.0, 1.0)
    for wanted, ids in (({"satisfied": "mostly"}, [case]), ({"closing": "special"}, [other]), ({"solved": "no"}, [])):
        found = (await world.client.get("/cases", params=wanted, headers=world.as_("admin"))).json()
        assert [item["id"] for item in found["items"]] == ids, wanted
    story = (await world.client.get(f"/cases/{case}/timeline", headers=world.as_("admin"))).json()["items"]
    tried = [item["body"] for item in story if item["event"] == "case.callback_visited"]
    assert [body["reached"] for body in tried] == ["yes", "no", "yes"]


async def test_without_an_answer_there_is_no_rate(world: World) -> None:
    figures = (await world.client.get("/summary", headers=world.as_("admin"))).json()
    assert (figures["resolution_rate"], figures["satisfaction_rate"]) == (None, None)


@pytest.mark.parametrize(
    ("command", "body", "field", "words"),
    [
        ("visit", {"reached": True}, "reached", "one of yes, no, refused"),
        ("visit", {"reached": "yes", "solved": False}, "solved", "one of yes, partly, no, not_asked"),
        ("visit", {"reached": "yes", "satisfied": "fairly"}, "satisfied", "one of yes, mostly, no, not_rated"),
        ("visit", {"reached": "no", "tries": 0}, "tries", ">= 1"),
        ("visit", {"reached": "yes"}, "satisfied", "what did the reporter say"),
        ("close", {"reason": "忙", "kind": "late"}, "kind", "follow from the limit"),
        ("check", {"note": "看过了"}, "solved", "missing"),
    ],
)
async def test_a_plain_yes_or_no_is_refused_with_what_may_be_said(
    world: World, command: str, body: dict[str, object], field: str, words: str
) -> None:
    case = await _resolved(world)
    answer = await world.client.post(f"/cases/{case}/{command}", json=body, headers=world.as_("admin"))
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert words in error["message"]


async def test_a_public_reply_is_shown_with_the_assignment_and_one_with_a_number_is_refused(world: World) -> None:
    case = str((await world.report())["id"])
    await _do(world, case, "dispatch", targets=[{"unit": "police", "role": "lead"}])
    body = {"assignment": "a1", "note": "内部说明", "public_reply": "已处理，联系13800001234"}
    refused = await world.client.post(f"/cases/{case}/resolve", json=body, headers=world.as_("police"))
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "public_reply")
    body["public_reply"] = "已处理，感谢反映"
    done = await world.client.post(f"/cases/{case}/resolve", json=body, headers=world.as_("police"))
    assert done.status_code == 200, done.text
    (item,) = [one for one in done.json()["case"]["assignments"] if one["id"] == "a1"]
    assert (item["note"], item["public_reply"]) == ("内部说明", "已处理，感谢反映")
