"""What only the property adapter does: one of many teams by area, photos fetched by id, callbacks refused."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from hub_page import PageAdapter, PageSettings
from hub_page.adapter import STANDINGS
from hub_page.desk.orders import OrderState, Step
from hub_page.messages import PHOTO_PIECE, Team
from hub_page.routing import TeamEntry, team_of
from hub_page.signing import signed_headers, webhook
from hub_page.simulator import adapter_settings
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import ValidationError

from hub import (
    AdapterFault,
    CallbackRejected,
    CallbackRequest,
    Feedback,
    FeedbackKind,
    Health,
    Poll,
    Refused,
    Severity,
    StandingState,
    Unavailable,
)
from hub.contract import Context, Words, WordTable
from hub.platform.adapters.outbound import departmental_client
from hub.testing.kit import MemoryStore, eventually, open_inbox, running_adapter, sample_assignment
from hub.testing.process import SimulatorProcess

SECRET = "property-test-secret"
FALLBACK = Team(id="district", name="区值班室")
TEAMS = (
    TeamEntry(id="street", name="街道物业", areas=("320113001",)),
    TeamEntry(id="community", name="社区物业", areas=("320113001019", "320113002")),
    TeamEntry(id="grid", name="网格物业", areas=("320113001019001",)),
)


@pytest.mark.parametrize(
    ("area", "team"),
    [
        ("320113001019001", "grid"),
        ("320113001019002", "community"),
        ("320113001019", "community"),
        ("320113001001001", "street"),
        ("320113002", "community"),
        ("320113003001001", "district"),
        ("320113", "district"),
    ],
)
def test_nearest_team_gets_the_order(area: str, team: str) -> None:
    assert team_of("any", area, TEAMS, FALLBACK).id == team


@given(st.from_regex(r"\A\d{15}\Z"), st.randoms())
def test_order_of_the_table_does_not_matter(area: str, chance: Any) -> None:
    shuffled = list(TEAMS)
    chance.shuffle(shuffled)
    assert team_of("any", area, shuffled, FALLBACK) == team_of("any", area, TEAMS, FALLBACK)


MIXED = (
    TeamEntry(id="gardens", name="园林队", units=("landscaping",)),
    TeamEntry(id="gardens-yaohua", name="园林尧化班", units=("landscaping",), areas=("320113001",)),
    TeamEntry(id="street", name="街道综合队", areas=("320113001",)),
    TeamEntry(id="nobody", name="只有链接"),
)


@pytest.mark.parametrize(
    ("unit", "area", "team"),
    [
        ("landscaping", "320113002001", "gardens"),
        ("landscaping", "320113001001", "gardens-yaohua"),
        ("urban", "320113001001", "street"),
        ("urban", "320113002001", "district"),
    ],
)
def test_team_that_names_the_unit_comes_before_one_that_names_the_area(unit: str, area: str, team: str) -> None:
    assert team_of(unit, area, MIXED, FALLBACK).id == team
    assert team_of(unit, area, MIXED[::-1], FALLBACK).id == team


def test_settings_read_codes_as_yaml_gives_them() -> None:
    teams = [{"id": "a", "name": "甲物业", "areas": [320113001019]}]
    settings = PageSettings.model_validate({"url": "http://desk", "secret": "s", "teams": teams})
    assert settings.teams[0].areas == ("320113001019",)
    assert "'s'" not in repr(settings)


@pytest.mark.parametrize(
    "teams",
    [
        [{"id": "a", "name": "甲", "areas": ["320113001"]}, {"id": "b", "name": "乙", "areas": ["320113001"]}],
        [{"id": "a", "name": "甲"}, {"id": "a", "name": "乙"}],
        [{"id": "a", "name": "甲", "units": ["u"]}, {"id": "b", "name": "乙", "units": ["v", "u"]}],
        [{"id": "a", "name": "甲", "areas": ["3201130"]}],
        [{"id": "A B", "name": "甲"}],
    ],
)
def test_ambiguous_table_is_refused_at_start(teams: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        PageSettings.model_validate({"url": "http://desk", "secret": "s", "teams": teams})


@pytest.fixture
def desk_process(tmp_path: Path) -> Iterator[SimulatorProcess]:
    with SimulatorProcess("hub_page.simulator", tmp_path / "p", secret=SECRET, options=("--pace", "0.05")) as process:
        yield process


@pytest.fixture
def returning_process(tmp_path: Path) -> Iterator[SimulatorProcess]:
    options = ("--pace", "0.05", "--returns", "1")
    with SimulatorProcess("hub_page.simulator", tmp_path / "r", secret=SECRET, options=options) as process:
        yield process


async def test_team_that_got_an_order_can_be_seen(desk_process: SimulatorProcess) -> None:
    async with running_adapter(PageAdapter, adapter_settings(desk_process.url, SECRET), timeout=5) as adapter:
        for unit, area in (("landscaping", "320113001019"), ("landscaping", "320113002"), ("mediation", "320113007001")):
            await adapter.deliver(sample_assignment(unit=unit, area=area))
        await adapter.deliver(sample_assignment(unit="other", area="320113007001"))
        await adapter.deliver(sample_assignment(unit="other", area="320113002001"))
    teams = ["landscaping-yaohua", "landscaping", "mediation", "xianlin", "duty"]
    assert [ticket["unit"] for ticket in desk_process.tickets()] == teams


async def test_changed_assignment_under_its_key_gives_the_ticket_it_has(desk_process: SimulatorProcess) -> None:
    async with running_adapter(PageAdapter, adapter_settings(desk_process.url, SECRET), timeout=5) as adapter:
        assignment = sample_assignment(unit="landscaping")
        first = await adapter.deliver(assignment)
        assert await adapter.deliver(replace(assignment, severity=Severity.URGENT)) == first


async def test_simulated_people_bring_photos_and_survive_a_kill(desk_process: SimulatorProcess) -> None:
    async with open_inbox() as inbox:
        desk_process.call_back_to(inbox.url)
        async with running_adapter(PageAdapter, adapter_settings(desk_process.url, SECRET), timeout=5) as adapter:
            inbox.adapter = adapter
            keys = set()
            for _ in range(10):
                assignment = sample_assignment(unit="landscaping")
                await adapter.deliver(assignment)
                keys.add(assignment.key)
            desk_process.kill()
            desk_process.start()

            def resolved() -> dict[str | None, int]:
                reports = [item for item in inbox.items if isinstance(item, Feedback)]
                return {item.key: len(item.files) for item in reports if item.kind is FeedbackKind.RESOLVED}

            await eventually(lambda: resolved() == dict.fromkeys(keys, 1))
            await eventually(lambda: desk_process.control("GET", "/_sim/state")["unsent_callbacks"] == 0)


async def test_people_give_back_when_told_so(returning_process: SimulatorProcess) -> None:
    async with open_inbox() as inbox:
        returning_process.call_back_to(inbox.url)
        async with running_adapter(PageAdapter, adapter_settings(returning_process.url, SECRET), timeout=5) as adapter:
            inbox.adapter = adapter
            await adapter.deliver(sample_assignment(unit="landscaping"))
            await eventually(lambda: any(_kind(item) is FeedbackKind.RETURNED for item in inbox.items))
    assert [ticket["state"] for ticket in returning_process.tickets()] == ["returned"]


def _kind(item: object) -> FeedbackKind | None:
    return item.kind if isinstance(item, Feedback) else None


PHOTO = b"\x89PNG" + bytes(range(256)) * 40_000


def _event(**changes: Any) -> bytes:
    photo = {"id": "0" * 32, "media_type": "image/png", "size": len(PHOTO), "sha256": hashlib.sha256(PHOTO).hexdigest()}
    event = {
        "id": "WY1-2",
        "kind": "resolved",
        "ticket": "WY1",
        "key": "k.a1",
        "at": "2024-05-06T20:00:00Z",
        "by": "物业",
        "photos": [photo],
    }
    return json.dumps({**event, **changes}).encode()


def _request(body: bytes, id: str = "WY1-2") -> CallbackRequest:
    headers = signed_headers(webhook(SECRET), id, body, now=time.time())
    return CallbackRequest(method="POST", path="", headers=headers, query={}, body=body)


@asynccontextmanager
async def _adapter(answer: Any, *, words: Words | None = None, **changes: str) -> AsyncIterator[PageAdapter]:
    async with departmental_client("page", timeout=1, transport=httpx.MockTransport(answer)) as http:
        context = Context(
            instance="page",
            http=http,
            store=MemoryStore(),
            log=structlog.get_logger(),
            callback_url="http://hub/hooks/p",
            words=words,
        )
        settings = PageSettings.model_validate({**adapter_settings("http://desk", SECRET), **changes})
        adapter = PageAdapter(settings, context)
        await adapter.start()
        yield adapter


def _piece(request: httpx.Request, content: bytes = PHOTO) -> httpx.Response:
    offset, length = int(request.url.params["offset"]), int(request.url.params["length"])
    return httpx.Response(200, content=content[offset : offset + length])


async def test_large_photo_is_fetched_in_pieces_from_the_desk_only() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return _piece(request)

    async with _adapter(answer) as adapter:
        (report,) = await adapter.parse_callback(_request(_event()))
    assert isinstance(report, Feedback)
    assert report.files[0].content == PHOTO
    assert len(PHOTO) > 2 * PHOTO_PIECE
    assert {url.host for url in asked} == {"desk"}
    assert len(asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: httpx.Response(503),
        lambda request: httpx.Response(404),
        lambda request: httpx.Response(200, content=b""),
        lambda request: _piece(request, PHOTO[::-1]),
    ],
    ids=["down", "gone", "empty", "another photo"],
)
async def test_callback_whose_photo_cannot_be_had_comes_again(answer: Any) -> None:
    async with _adapter(answer) as adapter:
        with pytest.raises(CallbackRejected) as rejection:
            await adapter.parse_callback(_request(_event()))
    assert rejection.value.status == 503


@pytest.mark.parametrize(
    ("body", "id"),
    [
        (b"not json", "WY1-2"),
        (_event(kind=""), "WY1-2"),
        (_event(at="2024-05-06T20:00:00"), "WY1-2"),
        (_event(), "WY1-3"),
        (_event(photos=[{"id": "../../x", "media_type": "image/png", "size": 1, "sha256": "0" * 64}]), "WY1-2"),
        (_event(photos=[{"id": "0" * 32, "media_type": "image/svg+xml", "size": 1, "sha256": "0" * 64}]), "WY1-2"),
    ],
)
async def test_callback_that_cannot_be_read_is_a_bad_request(body: bytes, id: str) -> None:
    async with _adapter(_piece) as adapter:
        with pytest.raises(CallbackRejected) as rejection:
            await adapter.parse_callback(_request(body, id))
    assert rejection.value.status == 400


async def test_status_nobody_mapped_is_progress_and_told() -> None:
    told: list[tuple[str, str, str | None]] = []
    words = WordTable(PageAdapter.manifest.crosswalk, lambda table, word, about: told.append((table, word, about)))
    async with _adapter(_piece, words=words) as adapter:
        (report,) = await adapter.parse_callback(_request(_event(kind="postponed")))
    assert isinstance(report, Feedback)
    assert report.kind is FeedbackKind.PROGRESS
    assert told == [("statuses", "postponed", "k.a1")]


def test_every_step_and_state_of_the_page_is_mapped() -> None:
    assert set(PageAdapter.manifest.crosswalk.statuses) == {step.value for step in Step}
    assert set(STANDINGS) == {state.value for state in OrderState}


async def test_former_secret_is_taken_while_it_is_changed() -> None:
    old = _request(_event(photos=[]))
    async with _adapter(_piece, callback_secret="new", former_callback_secret=SECRET) as adapter:
        assert await adapter.parse_callback(old)
        assert (await adapter.diagnostics())["rotating"] is True
    async with _adapter(_piece, callback_secret="new") as adapter:
        with pytest.raises(CallbackRejected):
            await adapter.parse_callback(old)


@pytest.mark.parametrize("field", ["secret", "callback_secret", "former_callback_secret"])
def test_secret_that_cannot_sign_is_refused_at_start_and_never_shown(field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        PageSettings.model_validate({"url": "http://desk", "secret": "s", field: "whsec_äöü"})
    assert "no base64" in str(refused.value)
    assert "äöü" not in str(refused.value.errors(include_input=False))


def _news(*events: bytes, more: bool = False) -> Any:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/api/v1/reports":
            return _piece(request)
        asked.append(request.url.params["taken"])
        return httpx.Response(200, json={"items": [json.loads(event) for event in events], "more": more})

    return answer, asked


async def test_reports_that_did_not_come_are_fetched_and_named_when_asking_on() -> None:
    answer, asked = _news(_event(id="GD1-1", kind="accepted", photos=[]), _event(id="GD1-2"), more=True)
    async with _adapter(answer) as adapter:
        poll = await adapter.poll(None)
        await adapter.poll(poll.cursor)
    first, second = poll.items
    assert isinstance(first, Feedback)
    assert isinstance(second, Feedback)
    assert (first.id, first.kind, first.files) == ("GD1-1", FeedbackKind.ACCEPTED, ())
    assert (second.kind, second.files[0].content, second.note) == (FeedbackKind.RESOLVED, PHOTO, None)
    assert (poll.cursor, poll.more, asked) == ("GD1-1,GD1-2", True, ["", "GD1-1,GD1-2"])


async def test_photo_that_is_lost_does_not_hold_up_what_is_fetched() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/api/v1/reports":
            return httpx.Response(404)
        return httpx.Response(200, json={"items": [json.loads(_event(note="已疏通"))]})

    async with _adapter(answer) as adapter:
        (report,) = (await adapter.poll(None)).items
    assert isinstance(report, Feedback)
    assert (report.note, report.files) == ("已疏通（1 张照片未能取得）", ())


async def test_photos_wait_when_the_desk_is_down_while_fetching() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/api/v1/reports":
            return httpx.Response(503)
        return httpx.Response(200, json={"items": [json.loads(_event())]})

    async with _adapter(answer) as adapter:
        with pytest.raises(Unavailable):
            await adapter.poll("GD1-1")


async def test_nothing_new_is_an_empty_poll() -> None:
    answer, _ = _news()
    async with _adapter(answer) as adapter:
        assert await adapter.poll("GD1-1") == Poll(items=[], cursor=None, more=False)


async def test_audit_goes_through_all_orders_page_by_page() -> None:
    order = {"ticket": "GD1", "ref": "k.a1", "state": "in_progress", "changed_at": "2024-05-06T20:00:00Z"}

    def answer(request: httpx.Request) -> httpx.Response:
        last = request.url.params["after"] == "7"
        return httpx.Response(200, json={"items": [order], "next": None if last else 7})

    async with _adapter(answer) as adapter:
        first = await adapter.audit(None)
        second = await adapter.audit(first.cursor)
    (standing,) = first.items
    assert (standing.ticket, standing.key, standing.state) == ("GD1", "k.a1", StandingState.ACCEPTED)
    assert standing.at is not None
    assert (first.cursor, second.cursor) == ("7", None)


async def test_state_the_adapter_does_not_know_is_a_fault_of_its_own() -> None:
    async with _adapter(lambda request: httpx.Response(200, json={"items": [{"ticket": "1", "state": "lost"}]})) as adapter:
        with pytest.raises(AdapterFault, match="lost"):
            await adapter.audit(None)


async def test_catalogue_is_who_takes_orders() -> None:
    at_the_desk = [
        {"id": "urban", "name": "城管执法中队", "closed": True},
        {"id": "mediation", "name": "调解委员会", "closed": False},
        {"id": "by-hand", "name": "临时小组", "closed": False},
    ]
    async with _adapter(lambda request: httpx.Response(200, json={"items": at_the_desk})) as adapter:
        found = await adapter.catalogue()
    assert "urban" not in found
    assert (found["mediation"], found["by-hand"], found["duty"]) == ("调解委员会", "临时小组", "值班人员")
    assert found["landscaping"] == "园林绿化养护队"


async def test_health_says_what_was_given_up_and_diagnostics_what_waits() -> None:
    standing = {"status": "ok", "waiting": 3, "given_up": 2}
    async with _adapter(lambda request: httpx.Response(200, json=standing)) as adapter:
        assert (await adapter.diagnostics())["reports_waiting"] is None
        health = await adapter.health()
        facts = await adapter.diagnostics()
    assert (health.ok, "2 条反馈" in health.detail) == (True, True)
    assert facts == {"host": "desk", "rotating": False, "reports_waiting": 3, "reports_given_up": 2}
    async with _adapter(lambda request: httpx.Response(404)) as adapter:
        assert await adapter.health() == Health(ok=False, detail="HTTP 404")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (409, {"reason": "对方已办结"}, Refused),
        (404, {}, None),
        (200, {"ticket": "", "state": "x"}, AdapterFault),
        (500, {}, Unavailable),
    ],
)
async def test_answer_to_a_recall_is_classified(status: int, body: dict[str, str], error: type[Exception] | None) -> None:
    async with _adapter(lambda request: httpx.Response(status, json=body)) as adapter:
        recalling = adapter.recall(sample_assignment(unit="u", ticket="GD1"), "派错")
        if error is None:
            await recalling
        else:
            with pytest.raises(error):
                await recalling


@pytest.mark.parametrize(("status", "error"), [(409, Refused), (404, Refused), (418, AdapterFault)])
async def test_answer_to_an_urge_is_classified(status: int, error: type[Exception]) -> None:
    async with _adapter(lambda request: httpx.Response(status, text="不是 JSON")) as adapter:
        with pytest.raises(error):
            await adapter.urge(sample_assignment(unit="u", ticket="GD1"), "请尽快")


async def test_urge_of_what_the_desk_never_had_is_refused() -> None:
    async with _adapter(lambda request: httpx.Response(200, json={"items": []})) as adapter:
        with pytest.raises(Refused, match="没有该工单"):
            await adapter.urge(sample_assignment(unit="u"), "请尽快")
        await adapter.recall(sample_assignment(unit="u"), "派错")


async def test_malformed_signature_is_401() -> None:
    async with _adapter(_piece) as adapter:
        genuine = _request(_event())
        for signature in ("", "v1", "v1,=", "v1,é", "v2,abc"):
            forged = replace(genuine, headers={**genuine.headers, "webhook-signature": signature})
            with pytest.raises(CallbackRejected) as rejection:
                await adapter.parse_callback(forged)
            assert rejection.value.status == 401


async def test_desk_that_cannot_read_the_order_is_a_fault_not_a_refusal() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"code": "invalid", "reason": "body.title"})

    async with _adapter(answer) as adapter:
        with pytest.raises(AdapterFault):
            await adapter.deliver(sample_assignment(unit="landscaping"))


async def test_refusal_carries_the_desks_words() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"code": "team_closed", "reason": "某物业已停止接单"})

    async with _adapter(answer) as adapter:
        with pytest.raises(Refused, match="某物业已停止接单"):
            await adapter.deliver(sample_assignment(unit="landscaping"))
