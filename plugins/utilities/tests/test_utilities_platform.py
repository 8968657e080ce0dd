"""What only the utilities do: tokens, request limits, pages of changes, outage notices that open cases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from hub_utilities import UtilitiesAdapter
from hub_utilities.access import Budget, TokenSource
from hub_utilities.simulator import adapter_settings
from msgspec.structs import replace
from pydantic import SecretStr

from hub import (
    AdapterFault,
    Channel,
    CredentialsRejected,
    Feedback,
    FeedbackKind,
    IncomingCase,
    Refused,
    Severity,
    Unavailable,
)
from hub.contract import Adapter, Context
from hub.platform.adapters.outbound import departmental_client
from hub.testing.kit import MemoryStore, eventually, running_adapter, sample_assignment
from hub.testing.process import SimulatorProcess

SECRET = "utilities-test-secret"
OUTAGE = {"kind": "water", "areas": ["320113007003", "320113007008"], "reason": "管网改造"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., SimulatorProcess]]:
    running: list[SimulatorProcess] = []

    def start(*options: str, pace: str = "600") -> SimulatorProcess:
        data = tmp_path / f"platform{len(running)}"
        process = SimulatorProcess("hub_utilities.simulator", data, secret=SECRET, options=("--pace", pace, *options))
        running.append(process.start())
        return process

    yield start
    for process in running:
        process.stop()


@pytest.fixture
def platform(start: Callable[..., SimulatorProcess]) -> SimulatorProcess:
    return start()


@pytest.fixture
async def adapter(platform: SimulatorProcess) -> AsyncIterator[Adapter]:
    async with running_adapter(UtilitiesAdapter, adapter_settings(platform.url, SECRET), timeout=5) as adapter:
        yield adapter


class Tokens(httpx.AsyncBaseTransport):
    """A token endpoint that counts."""

    def __init__(self, *, life: float = 100.0, status: int = 200) -> None:
        self.given = 0
        self.life = life
        self.status = status

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.given += 1
        await asyncio.sleep(0)
        body = {"access_token": f"t{self.given}", "token_type": "Bearer", "expires_in": self.life}
        return httpx.Response(self.status, json=body, request=request)


def _source(http: httpx.AsyncClient, clock: Callable[[], float]) -> TokenSource:
    return TokenSource(http, url="http://platform/oauth/token", client_id="hub", secret=SecretStr("s"), clock=clock)


async def test_token_is_fetched_once_however_many_ask() -> None:
    tokens = Tokens()
    async with departmental_client("utilities", timeout=1, transport=tokens) as http:
        source = _source(http, lambda: 0.0)
        assert set(await asyncio.gather(*(source.token() for _ in range(20)))) == {"t1"}
        assert set(await asyncio.gather(*(source.token(rejected="t1") for _ in range(20)))) == {"t2"}
    assert tokens.given == 2


async def test_token_is_renewed_before_it_expires() -> None:
    now = 0.0
    async with departmental_client("utilities", timeout=1, transport=Tokens(life=100)) as http:
        source = _source(http, lambda: now)
        assert await source.token() == "t1"
        now = 79.0
        assert await source.token() == "t1"
        now = 80.0
        assert await source.token() == "t2"


async def test_client_the_endpoint_does_not_know_is_told_apart() -> None:
    async with departmental_client("utilities", timeout=1, transport=Tokens(status=400)) as http:
        with pytest.raises(CredentialsRejected):
            await _source(http, lambda: 0.0).token()


async def test_rejected_token_is_renewed_once_without_losing_the_call(adapter: Adapter, platform: SimulatorProcess) -> None:
    await adapter.health()
    platform.control("DELETE", "/_sim/tokens")
    receipt = await adapter.deliver(sample_assignment(unit="gas"))
    assert [ticket["ticket"] for ticket in platform.tickets()] == [receipt.ticket]


async def test_platform_that_rejects_its_own_tokens_is_asked_twice_only() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/oauth/token":
            return httpx.Response(200, json={"access_token": f"t{len(asked)}", "token_type": "bearer", "expires_in": 60})
        return httpx.Response(401)

    async with departmental_client("utilities", timeout=1, transport=httpx.MockTransport(answer)) as http:
        context = Context(
            instance="utilities", http=http, store=MemoryStore(), log=structlog.get_logger(), callback_url="http://hub/hooks/u"
        )
        adapter = UtilitiesAdapter(UtilitiesAdapter.Settings.model_validate(adapter_settings("http://platform", "s")), context)
        await adapter.start()
        with pytest.raises(CredentialsRejected):
            await adapter.health()
    assert asked == ["/oauth/token", "/status", "/oauth/token", "/status"]


async def test_lost_answer_of_the_token_endpoint_is_no_unknown_outcome() -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("lost", request=request)

    async with departmental_client("utilities", timeout=1, transport=httpx.MockTransport(lost)) as http:
        with pytest.raises(Unavailable):
            await _source(http, lambda: 0.0).token()


@pytest.mark.parametrize("unit", ["water", "drainage", "power", "gas", "heat"])
async def test_unit_decides_the_company(unit: str, adapter: Adapter, platform: SimulatorProcess) -> None:
    assignment = sample_assignment(unit=unit)
    await adapter.deliver(assignment)
    assert [ticket["unit"] for ticket in platform.tickets() if ticket["key"] == assignment.key] == [unit]


async def test_unit_without_a_company_is_refused(adapter: Adapter) -> None:
    with pytest.raises(Refused, match="police"):
        await adapter.deliver(sample_assignment(unit="police"))


async def test_same_key_with_other_content_gives_the_ticket_it_has(adapter: Adapter) -> None:
    assignment = sample_assignment(unit="water")
    first = await adapter.deliver(assignment)
    assert await adapter.deliver(replace(assignment, severity=Severity.URGENT)) == first


async def test_done_work_order_cannot_be_recalled(start: Callable[..., SimulatorProcess]) -> None:
    platform = start(pace="0.02")
    async with running_adapter(UtilitiesAdapter, adapter_settings(platform.url, SECRET), timeout=5) as adapter:
        assignment = sample_assignment(unit="power")
        await adapter.deliver(assignment)
        await _reports(adapter, {FeedbackKind.RESOLVED})
        with pytest.raises(Refused, match="已办结"):
            await adapter.recall(assignment, "重复")


async def test_work_orders_given_back_come_with_a_reason(start: Callable[..., SimulatorProcess]) -> None:
    platform = start("--returns", "1", pace="0.02")
    async with running_adapter(UtilitiesAdapter, adapter_settings(platform.url, SECRET), timeout=5) as adapter:
        await adapter.deliver(sample_assignment(unit="heat"))
        returned = [
            report for report in await _reports(adapter, {FeedbackKind.RETURNED}) if report.kind is FeedbackKind.RETURNED
        ]
    assert returned[0].note == "不属于本公司管网范围"


async def test_changes_come_in_pages_and_each_once(start: Callable[..., SimulatorProcess]) -> None:
    platform = start(pace="0.01")
    settings = {**adapter_settings(platform.url, SECRET), "page_size": 3}
    async with running_adapter(UtilitiesAdapter, settings, timeout=5) as adapter:
        keys = {(await _delivered(adapter)).key for _ in range(5)}
        await eventually(lambda: all(ticket["state"] == "completed" for ticket in platform.tickets()))
        seen: list[str] = []
        cursor: str | None = None
        pages = 0
        while True:
            poll = await adapter.poll(cursor)
            assert len(poll.items) <= 3
            seen += [item.id for item in poll.items if isinstance(item, Feedback)]
            assert all(item.key in keys for item in poll.items if isinstance(item, Feedback))
            cursor, pages = poll.cursor, pages + 1
            if not poll.more:
                break
        assert (len(seen), len(set(seen)), pages) == (20, 20, 7)
        assert (await adapter.poll(cursor)).items == []


async def test_cursor_outlives_the_death_of_the_platform(adapter: Adapter, platform: SimulatorProcess) -> None:
    platform.control("POST", "/_sim/outages", OUTAGE)
    first = await adapter.poll(None)
    platform.kill()
    platform.start()
    platform.control("POST", "/_sim/outages", {**OUTAGE, "ref": "TG-2"})
    assert [item.ref for item in (await adapter.poll(first.cursor)).items if isinstance(item, IncomingCase)] == ["TG-2"]


@pytest.mark.parametrize("cursor", ["", "7", "a.b", "1.2.3", "-1.0"])
async def test_cursor_of_another_form_is_a_fault(cursor: str, adapter: Adapter) -> None:
    with pytest.raises(AdapterFault):
        await adapter.poll(cursor)


async def test_planned_outage_becomes_a_case_that_covers_its_areas(adapter: Adapter, platform: SimulatorProcess) -> None:
    begins = datetime(2099, 11, 22, 12, tzinfo=UTC)
    times = {"starts_at": begins.isoformat(), "ends_at": (begins + timedelta(hours=6)).isoformat()}
    platform.control("POST", "/_sim/outages", {**OUTAGE, **times, "ref": "TS-1"})
    platform.control("POST", "/_sim/outages", {**OUTAGE, **times, "ref": "TS-1"})
    (case,) = (await adapter.poll(None)).items
    assert isinstance(case, IncomingCase)
    assert (case.ref, case.channel, case.category, case.severity) == ("TS-1", Channel.DEPARTMENT, "E0404", Severity.ORDINARY)
    assert (case.area, case.covers) == ("320113007", ("320113007003", "320113007008"))
    assert case.covers_until == begins + timedelta(hours=6)
    assert case.title == "计划停水：管网改造"
    assert case.text == "供水公司通知：11月22日20:00至11月23日02:00计划停水，原因：管网改造。"


@pytest.mark.parametrize(
    ("kind", "category"), [("water", "E0404"), ("power", "E0405"), ("gas", "E0406"), ("heat", "E0407"), ("drainage", None)]
)
async def test_kind_of_outage_decides_the_category(
    kind: str, category: str | None, adapter: Adapter, platform: SimulatorProcess
) -> None:
    platform.control("POST", "/_sim/outages", {**OUTAGE, "kind": kind})
    (case,) = (await adapter.poll(None)).items
    assert isinstance(case, IncomingCase)
    assert case.category == category


async def test_outage_nobody_planned_is_major(adapter: Adapter, platform: SimulatorProcess) -> None:
    platform.control("POST", "/_sim/outages", {**OUTAGE, "planned": False, "areas": ["320113007003"]})
    (case,) = (await adapter.poll(None)).items
    assert isinstance(case, IncomingCase)
    assert (case.severity, case.title, case.area) == (Severity.MAJOR, "故障停水：管网改造", "320113007003")


async def test_outage_that_is_over_opens_no_case(adapter: Adapter, platform: SimulatorProcess) -> None:
    over = {"starts_at": "2020-01-01T00:00:00+08:00", "ends_at": "2020-01-01T06:00:00+08:00"}
    platform.control("POST", "/_sim/outages", {**OUTAGE, **over})
    poll = await adapter.poll(None)
    assert poll.items == []
    assert (await adapter.poll(poll.cursor)).cursor == poll.cursor


async def test_notices_can_be_left_to_others(platform: SimulatorProcess) -> None:
    platform.control("POST", "/_sim/outages", OUTAGE)
    settings: dict[str, Any] = {**adapter_settings(platform.url, SECRET), "outages": False}
    async with running_adapter(UtilitiesAdapter, settings, timeout=5) as adapter:
        assert (await adapter.poll(None)).items == []


async def test_requests_above_the_limit_wait_and_none_is_lost(start: Callable[..., SimulatorProcess]) -> None:
    platform = start("--rate", "4")
    async with running_adapter(UtilitiesAdapter, adapter_settings(platform.url, SECRET), timeout=5) as adapter:
        for _ in range(12):
            await _delivered(adapter)
    assert len(platform.tickets()) == 12


async def test_budget_holds_back_what_the_platform_does_not_want_yet() -> None:
    now = 0.0
    budget = Budget(lambda: now)
    await budget.wait()
    budget.note(httpx.Headers({"RateLimit": '"default";r=0;t=30'}))
    with pytest.raises(Unavailable) as held:
        await budget.wait()
    assert held.value.retry_after == timedelta(seconds=30)
    now = 30.0
    await budget.wait()
    budget.note(httpx.Headers({"RateLimit": '"default";r=5;t=30'}))
    await budget.wait()


async def _delivered(adapter: Adapter) -> Any:
    assignment = sample_assignment(unit="water")
    await adapter.deliver(assignment)
    return assignment


async def _reports(adapter: Adapter, kinds: set[FeedbackKind], *, within: float = 10) -> list[Feedback]:
    reports: list[Feedback] = []
    cursor: str | None = None
    async with asyncio.timeout(within):
        while not kinds <= {report.kind for report in reports}:
            poll = await adapter.poll(cursor)
            cursor = poll.cursor
            reports += [item for item in poll.items if isinstance(item, Feedback)]
    return reports
