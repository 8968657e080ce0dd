"""What only the property adapter does: one of many teams by area, photos fetched by id, callbacks refused."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from hub_page import PageAdapter, PageSettings
from hub_page.messages import PHOTO_PIECE, Team
from hub_page.routing import TeamEntry, team_of
from hub_page.signing import signed_headers, webhook
from hub_page.simulator import adapter_settings
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hub import AdapterFault, CallbackRejected, CallbackRequest, Refused, Report, ReportKind, Severity
from hub.contract import Context
from hub.outbound import departmental_client
from hub.testing.kit import MemoryStore, eventually, open_inbox, running_adapter, sample_assignment
from hub.testing.process import SimulatorProcess

SECRET = "property-test-secret"
FALLBACK = Team(id="district", name="区物业管理中心")
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
                reports = [item for item in inbox.items if isinstance(item, Report)]
                return {item.key: len(item.files) for item in reports if item.kind is ReportKind.RESOLVED}

            await eventually(lambda: resolved() == dict.fromkeys(keys, 1), within=30)
            await eventually(lambda: desk_process.control("GET", "/_sim/state")["unsent_callbacks"] == 0, within=10)


async def test_people_give_back_when_told_so(returning_process: SimulatorProcess) -> None:
    async with open_inbox() as inbox:
        returning_process.call_back_to(inbox.url)
        async with running_adapter(PageAdapter, adapter_settings(returning_process.url, SECRET), timeout=5) as adapter:
            inbox.adapter = adapter
            await adapter.deliver(sample_assignment(unit="landscaping"))
            await eventually(lambda: any(_kind(item) is ReportKind.RETURNED for item in inbox.items), within=20)
    assert [ticket["state"] for ticket in returning_process.tickets()] == ["returned"]


def _kind(item: object) -> ReportKind | None:
    return item.kind if isinstance(item, Report) else None


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
async def _adapter(answer: Any) -> AsyncIterator[PageAdapter]:
    async with departmental_client("property", timeout=1, transport=httpx.MockTransport(answer)) as http:
        context = Context(
            instance="property", http=http, store=MemoryStore(), log=structlog.get_logger(), callback_url="http://hub/hooks/p"
        )
        settings = PageSettings.model_validate(adapter_settings("http://desk", SECRET))
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
    assert isinstance(report, Report)
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
