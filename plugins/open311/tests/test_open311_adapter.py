"""What the contract suite does not ask: tokens, the form, mapping, reopening, lost memory, strange answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import structlog
from hub_open311 import Open311Adapter, hub_adapters
from hub_open311.book import Book, Entry
from hub_open311.messages import Request, items, read
from hub_open311.simulator import adapter_settings

from hub import AdapterFault, Contact, Context, Feedback, FeedbackKind, OutcomeUnknown, Point, Position, Refused
from hub.platform.adapters.outbound import departmental_client
from hub.testing.kit import PATIENCE, MemoryStore, running_adapter, sample_assignment
from hub.testing.process import SimulatorProcess

SECRET = "key-of-the-city"


class City:
    """A server whose requests and updates the test writes; keeps what was posted."""

    def __init__(self) -> None:
        self.posted: list[httpx.Request] = []
        self.requests: list[dict[str, Any]] = []
        self.updates: list[dict[str, Any]] | None = None
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        if request.method == "POST":
            self.posted.append(request)
            return httpx.Response(200, json=[{"service_request_id": len(self.posted)}])
        self.asked.append(request)
        if name == "servicerequestupdates.json":
            return httpx.Response(404) if self.updates is None else httpx.Response(200, json=self.updates)
        return httpx.Response(200, json=self.requests)


Answers = Callable[[httpx.Request], httpx.Response]


@asynccontextmanager
async def adapter_of(city: Answers, store: MemoryStore | None = None, **settings: Any) -> AsyncIterator[Open311Adapter]:
    """The adapter before a city in this process."""
    async with departmental_client("open311", timeout=1.0, transport=httpx.MockTransport(city)) as http:
        context = Context(
            instance="open311",
            http=http,
            store=store or MemoryStore(),
            log=structlog.get_logger("open311"),
            callback_url="http://hub/hooks/open311",
        )
        given = {"url": "http://city/v2/", "api_key": SECRET, "default_service": "999", **settings}
        adapter = Open311Adapter(Open311Adapter.Settings.model_validate(given), context)
        await adapter.start()
        yield adapter


def form_of(request: httpx.Request) -> dict[str, list[str]]:
    return parse_qs(request.content.decode())


async def test_form_carries_our_key_and_nothing_of_the_reporter() -> None:
    city = City()
    assignment = sample_assignment(
        contact=Contact(name="张三", phone="13800001234"),
        place="尧佳路7号（地址编号 12）",
        position=Position(longitude=118.91742, latitude=32.10094, system="gcj02"),
        wgs84=Point(longitude=118.91234, latitude=32.10312),
    )
    async with adapter_of(
        city, services={"drainage": "003"}, email="centre@example.org", attributes={"SIZE": "big"}
    ) as adapter:
        await adapter.deliver(assignment)
        await adapter.deliver(assignment)
    assert len(city.posted) == 1, "what was posted under a key is not posted again"
    form = form_of(city.posted[0])
    assert city.posted[0].headers["idempotency-key"] == assignment.key
    assert form["attribute[external_id]"] == [assignment.key]
    assert assignment.key in form["description"][0]
    assert form["service_code"] == ["003"]
    assert (form["lat"], form["long"]) == (["32.10312"], ["118.91234"])
    assert form["address_string"] == ["栖霞区尧化街道尧化社区居委会第1网格尧佳路7号（地址编号 12）"]
    assert form["email"] == ["centre@example.org"]
    assert form["attribute[SIZE]"] == ["big"]
    assert "13800001234" not in city.posted[0].content.decode()


async def test_category_without_a_service_is_refused_in_words_an_operator_reads() -> None:
    async with adapter_of(City(), default_service=None) as adapter:
        with pytest.raises(Refused, match="没有与事项分类"):
            await adapter.deliver(sample_assignment())


async def test_long_text_is_cut_but_never_the_key() -> None:
    city = City()
    assignment = sample_assignment(text="长" * 9000)
    async with adapter_of(city) as adapter:
        await adapter.deliver(assignment)
    (description,) = form_of(city.posted[0])["description"]
    assert len(description) == 4000
    assert assignment.key in description


def update(id: str, status: str, at: str, request: int = 1) -> dict[str, Any]:
    return {"update_id": id, "service_request_id": request, "status": status, "updated_datetime": at, "description": ""}


async def test_closed_after_fixed_says_nothing_new_until_it_is_opened_again() -> None:
    city = City()
    city.updates = []
    async with adapter_of(city) as adapter:
        await adapter.deliver(sample_assignment())
        city.updates = [
            update("1", "INVESTIGATING", "2026-11-01T10:00:00+08:00"),
            update("2", "FIXED", "2026-11-01T11:00:00+08:00"),
            update("3", "CLOSED", "2026-11-01T12:00:00+08:00"),
            update("4", "closed", "2026-11-01T12:00:00+08:00", request=99),
        ]
        first = await adapter.poll(None)
        assert [(item.kind, item.id) for item in first.items if isinstance(item, Feedback)] == [
            (FeedbackKind.ACCEPTED, "update-1"),
            (FeedbackKind.RESOLVED, "update-2"),
        ]
        again = await adapter.poll(None)
        assert again.items == first.items, "a poll that was not taken in brings the same"
        city.updates += [update("5", "OPEN", "2026-11-01T13:00:00+08:00"), update("6", "FIXED", "2026-11-01T14:00:00+08:00")]
        later = await adapter.poll(first.cursor)
        assert [item.kind for item in later.items if isinstance(item, Feedback)] == [
            FeedbackKind.PROGRESS,
            FeedbackKind.RESOLVED,
        ]
        assert (await adapter.poll(later.cursor)).items == []


async def test_update_seen_before_its_request_was_noted_comes_with_the_next_poll() -> None:
    city = City()
    city.updates = [update("1", "FIXED", "2026-11-01T10:00:00+08:00")]
    async with adapter_of(city) as adapter:
        before = await adapter.poll(None)
        assert before.items == []
        await adapter.deliver(sample_assignment())
        assert len((await adapter.poll(before.cursor)).items) == 1


async def test_status_that_the_settings_map_counts_before_the_usual_ones() -> None:
    city = City()
    city.updates = []
    async with adapter_of(city, statuses={"closed": "returned"}) as adapter:
        await adapter.deliver(sample_assignment())
        city.updates = [update("1", "CLOSED", "2026-11-01T10:00:00+08:00")]
        (item,) = (await adapter.poll(None)).items
    assert isinstance(item, Feedback)
    assert item.kind is FeedbackKind.RETURNED
    assert item.note == "对方不予办理"


async def test_bare_server_is_followed_by_status_and_a_lost_poll_is_told_again() -> None:
    city = City()
    store = MemoryStore()
    async with adapter_of(city, store) as adapter:
        await adapter.deliver(sample_assignment())
        city.requests = [{"service_request_id": "1", "status": "open"}]
        first = await adapter.poll(None)
        assert [item.kind for item in first.items if isinstance(item, Feedback)] == [FeedbackKind.ACCEPTED]
    async with adapter_of(city, store) as adapter:
        again = await adapter.poll(None)
        assert [item.id for item in again.items] == [item.id for item in first.items], "the hub never came back with its cursor"
        city.requests = [{"service_request_id": "1", "status": "closed", "status_notes": "已更换"}]
        second = await adapter.poll(again.cursor)
        assert [(item.kind, item.note) for item in second.items if isinstance(item, Feedback)] == [
            (FeedbackKind.RESOLVED, "已更换")
        ]
        third = await adapter.poll(second.cursor)
        assert third.items == []
        city.requests = [{"service_request_id": "1", "status": "open"}]
        fourth = await adapter.poll(third.cursor)
        assert [item.kind for item in fourth.items if isinstance(item, Feedback)] == [FeedbackKind.PROGRESS]
        city.requests = [{"service_request_id": "1", "status": "closed"}]
        fifth = await adapter.poll(fourth.cursor)
        (item,) = [item for item in fifth.items if isinstance(item, Feedback)]
        assert item.kind is FeedbackKind.RESOLVED
        assert item.id not in {item.id for item in second.items}


async def test_audit_names_every_request_of_ours_page_by_page() -> None:
    city = City()
    async with adapter_of(city) as adapter:
        for _ in range(60):
            await adapter.deliver(sample_assignment())
        city.requests = [{"service_request_id": str(n), "status": "open"} for n in range(1, 61)]
        first = await adapter.audit(None)
        second = await adapter.audit(first.cursor)
        assert second.cursor is None
        assert len(first.items) == 50
        assert len({item.ticket for item in (*first.items, *second.items)}) == 60
        assert (await adapter.diagnostics())["requests"] == 60


async def test_foreign_cursor_is_a_fault() -> None:
    city = City()
    city.updates = []
    async with adapter_of(city) as adapter:
        with pytest.raises(AdapterFault):
            await adapter.poll("17.4")


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    data = tmp_path_factory.mktemp("batch")
    with SimulatorProcess("hub_open311.simulator", data, secret=SECRET, options=("--batch", "--pace", "0.05")) as city:
        yield city


async def test_token_becomes_a_number_and_reports_find_their_assignment(batch: SimulatorProcess) -> None:
    async with running_adapter(Open311Adapter, adapter_settings(batch.url, SECRET)) as adapter:
        assignment = sample_assignment()
        receipt = await adapter.deliver(assignment)
        assert receipt.ticket.startswith("token:")
        kinds: list[FeedbackKind] = []
        cursor: str | None = None
        async with asyncio.timeout(PATIENCE):
            while FeedbackKind.RESOLVED not in kinds:
                poll = await adapter.poll(cursor)
                cursor = poll.cursor
                kinds += [item.kind for item in poll.items if isinstance(item, Feedback) and item.key == assignment.key]
                await asyncio.sleep(0.05)


async def test_services_are_the_catalogue_in_both_formats(batch: SimulatorProcess) -> None:
    for form in ("json", "xml"):
        async with running_adapter(Open311Adapter, {**adapter_settings(batch.url, SECRET), "format": form}) as adapter:
            assert (await adapter.catalogue())["001"] == "Street light out"


async def test_book_outlives_the_process_and_forgets_what_ended_long_ago(tmp_path: Path) -> None:
    store = MemoryStore()
    await Book(store).note(Entry(key="a", ticket="1", id="1", at=0.0))
    entry = await Book(store).of_id("1")
    assert entry is not None
    assert entry.key == "a"
    (page,) = store.values
    old = [json.loads(store.values[page])[0] | {"status": "closed", "at": 1.0}]
    store.values[page] = json.dumps(old).encode()
    await Book(store).note(replace(entry, key="a", at=0.0))
    assert await Book(store).of_key("a") is not None
    store.values[page] = json.dumps([*old, {**old[0], "key": "b", "id": "2"}]).encode()
    await Book(store).note(entry)
    assert [entry.key for entry in await Book(store).entries()] == ["a"]


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        b"[1, 2]",
        b"{",
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><service_requests><request>&e;</request></service_requests>',
    ],
)
def test_answer_that_is_no_list_is_a_fault(body: bytes) -> None:
    with pytest.raises(AdapterFault):
        items(httpx.Response(200, content=body))


def test_answer_without_a_number_names_the_field_and_no_value() -> None:
    answer = httpx.Response(200, json=[{"service_request_id": "", "status": "open", "description": "秘密"}])
    with pytest.raises(AdapterFault, match="service_request_id") as fault:
        read(Request, answer)
    assert "秘密" not in str(fault.value)


def test_numbers_and_kept_roots_are_understood() -> None:
    kept = httpx.Response(200, json={"service_requests": [{"service_request_id": 638344, "status": "open"}]})
    assert read(Request, kept)[0].service_request_id == "638344"
    spark = (
        b'<?xml version="1.0" encoding="utf-8"?><service_requests><request><service_request_id>1</service_request_id>'
        b"<status>closed</status><updated_datetime>2010-04-14T06:37:38-08:00</updated_datetime></request></service_requests>"
    )
    assert read(Request, httpx.Response(200, content=spark))[0].status == "closed"


async def test_what_was_filed_without_a_number_is_unknown_not_failed() -> None:
    def blackbox(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[{"service_notice": "thank you"}] if request.method == "POST" else [])

    async with adapter_of(blackbox) as adapter:
        with pytest.raises(OutcomeUnknown):
            await adapter.deliver(sample_assignment())


def test_plugin_registers_its_adapter() -> None:
    assert list(hub_adapters()) == [Open311Adapter]


async def test_lookup_turns_pages_until_it_finds_our_key() -> None:
    assignment = sample_assignment()

    def paged(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params.get("page", "1"))
        filler = [{"service_request_id": f"{page}-{n}", "status": "open"} for n in range(200)]
        mine = {"service_request_id": "mine", "status": "open", "description": f"x 〔来源编号 {assignment.key}〕"}
        return httpx.Response(200, json=filler if page < 3 else [mine])

    async with adapter_of(paged) as adapter:
        receipt = await adapter.lookup(assignment)
        assert receipt is not None
        assert receipt.ticket == "mine"


async def test_server_without_pages_ends_the_search() -> None:
    asked: list[httpx.Request] = []

    def unpaged(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=[{"service_request_id": str(n), "status": "open"} for n in range(many)])

    many = 300
    async with adapter_of(unpaged) as adapter:
        assert await adapter.lookup(sample_assignment()) is None
        assert len(asked) == 2
        many = 1000
        with pytest.raises(OutcomeUnknown):
            await adapter.lookup(sample_assignment())
