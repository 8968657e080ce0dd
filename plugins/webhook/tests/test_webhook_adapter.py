"""The webhook adapter against a receiver that answers what the test wants: what goes out, and how every answer is read."""

import asyncio
import hashlib
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvicorn
from hub_webhook import WebhookAdapter, hub_adapters
from hub_webhook.throttle import Throttle
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub import (
    Adapter,
    AdapterFault,
    CallbackRejected,
    CallbackRequest,
    CredentialsRejected,
    Crosswalk,
    Feedback,
    Notice,
    OutcomeUnknown,
    Refused,
    Unavailable,
    Withdrawn,
)
from hub.contract import AdapterInstance, WordTable
from hub.platform.adapters.running import build
from hub.testing.kit import MemoryStore, QuietServer, eventually, running_adapter, sample_assignment
from hub.webhooks import MOST_PAYLOAD, RETRY_DELAYS, Signer, Verifier, new_secret

OLD, NEW = new_secret(), new_secret()


@dataclass
class Came:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """A department's endpoint: remembers, and answers the next of `answers`, the last of them for ever."""

    url: str = ""
    came: list[Came] = field(default_factory=list)
    answers: list[Response] = field(default_factory=lambda: [Response()])

    async def take(self, request: Request) -> Response:
        self.came.append(Came(request.method, request.url.path, dict(request.headers), await request.body()))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def says(self, status: int, body: object = None, **headers: str) -> None:
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        self.answers = [Response(content, status, {name.replace("_", "-"): value for name, value in headers.items()})]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    listener = socket.create_server(("127.0.0.1", 0))
    receiver.url = f"http://127.0.0.1:{listener.getsockname()[1]}/in"
    app = Starlette(routes=[Route("/{path:path}", receiver.take, methods=["GET", "HEAD", "POST"])])
    server = QuietServer(uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await eventually(lambda: server.started)
        yield receiver
    finally:
        server.should_exit = True
        await serving
        listener.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


def settings(url: str, **changes: object) -> dict[str, object]:
    return {"url": url, "secret": OLD, "plain_http": True, "private_networks": ["127.0.0.0/8"], **changes}


@asynccontextmanager
async def speaking(receiver: Receiver, **changes: object) -> AsyncIterator[Adapter]:
    async with running_adapter(WebhookAdapter, settings(receiver.url, **changes)) as adapter:
        yield adapter


# what goes out


async def test_assignment_goes_out_as_a_signed_event_of_the_standard(receiver: Receiver) -> None:
    assignment = sample_assignment(unit="parks")
    async with speaking(receiver) as adapter:
        receipt = await adapter.deliver(assignment)
    (came,) = receiver.came
    assert Verifier([OLD]).verify(came.headers, came.body, now=datetime.now(UTC).timestamp()) == f"{assignment.key}.made"
    body = came.json()
    assert body["type"] == "assignment.made"
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    assert body["data"] == assignment.summary()
    assert came.headers["idempotency-key"] == assignment.key
    assert came.headers["content-type"] == "application/json"
    assert receipt.ticket == assignment.key, "an answer without a number: our key stands for it"


async def test_id_stays_over_retries_and_the_time_does_not(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    assignment = sample_assignment()
    receiver.says(500)
    async with speaking(receiver) as adapter:
        for at in (1_700_000_000.2, 1_700_000_005.8):
            monkeypatch.setattr("hub_webhook.adapter.time.time", lambda at=at: at)
            with pytest.raises(Unavailable):
                await adapter.deliver(assignment)
    first, second = receiver.came
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert (first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]) == ("1700000000", "1700000005")


async def test_while_rotating_both_secrets_sign(receiver: Receiver) -> None:
    async with speaking(receiver, secret=NEW, previous_secret=OLD) as adapter:
        await adapter.deliver(sample_assignment())
    (came,) = receiver.came
    for secret in (OLD, NEW):
        Verifier([secret]).verify(came.headers, came.body, now=datetime.now(UTC).timestamp())


async def test_recall_urge_and_inform_are_events_of_their_own_type(receiver: Receiver) -> None:
    assignment = sample_assignment(ticket="T1")
    at = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
    async with speaking(receiver) as adapter:
        await adapter.recall(assignment, "重复派单")
        await adapter.urge(assignment, "请尽快")
        await adapter.urge(assignment, "请尽快")
        await adapter.urge(assignment, "再次催办")
        await adapter.inform(Notice(case=assignment.case, ref="R1", stage="closed", text="已办结", at=at))
    kinds = [came.json()["type"] for came in receiver.came]
    assert kinds == ["assignment.recalled", *["assignment.urged"] * 3, "case.informed"]
    ids = [came.headers["webhook-id"] for came in receiver.came]
    assert ids[0] == f"{assignment.key}.recalled"
    assert ids[1] == ids[2] != ids[3]
    assert receiver.came[0].json()["data"]["message"] == "重复派单"
    assert receiver.came[4].json()["data"] == {
        "case": assignment.case, "ref": "R1", "stage": "closed", "text": "已办结", "at": "2026-03-02T10:00:00+00:00",
    }  # fmt: skip


async def test_event_that_the_department_does_not_take_is_left_to_people(receiver: Receiver) -> None:
    async with speaking(receiver, events={"urged": None}) as adapter:
        with pytest.raises(Refused, match="请电话联系"):
            await adapter.urge(sample_assignment(), "请尽快")
    assert receiver.came == []


async def test_body_and_headers_are_made_by_configuration(receiver: Receiver) -> None:
    template = """{"bh": {{ key | tojson }}, "bt": {{ title | tojson }}, "dz": {{ (place or "") | tojson }},
      "wg": {{ area_path[-1] | tojson }}, "jj": {{ (severity == "urgent") | tojson }}, "lx": {{ type | tojson }}}"""
    assignment = sample_assignment(title='井盖"松动"', place=None)
    changes = {"bodies": {"made": template}, "headers": {"X-Api-Key": "k1"}, "events": {"made": "gd.new"}}
    async with speaking(receiver, **changes) as adapter:
        await adapter.deliver(assignment)
    (came,) = receiver.came
    assert came.json() == {"bh": assignment.key, "bt": '井盖"松动"', "dz": "", "wg": "第1网格", "jj": False, "lx": "gd.new"}
    assert came.headers["x-api-key"] == "k1"


async def test_form_encoded_bodies_can_be_made_too(receiver: Receiver) -> None:
    changes = {"bodies": {"made": "bt={{ title | urlencode }}"}, "media_type": "application/x-www-form-urlencoded"}
    async with speaking(receiver, **changes) as adapter:
        await adapter.deliver(sample_assignment(title="a&b"))
    assert receiver.came[0].body == b"bt=a%26b"


@pytest.mark.parametrize("bodies", [{}, {"made": '{"t": {{ text | tojson }}, "again": {{ text | tojson }}}'}])
async def test_payload_stays_below_twenty_kilobytes(receiver: Receiver, bodies: dict[str, str]) -> None:
    async with speaking(receiver, bodies=bodies) as adapter:
        await adapter.deliver(sample_assignment(text="积水很深。" * 4000))
    (came,) = receiver.came
    assert len(came.body) <= MOST_PAYLOAD
    assert "全文请在指挥中心查看" in came.body.decode()


# how answers are read


@pytest.mark.parametrize("body", [{"ticket": "A-7"}, {"data": {"ticket": "A-7"}}])
async def test_ticket_is_found_where_it_usually_is(receiver: Receiver, body: object) -> None:
    receiver.says(201, body)
    async with speaking(receiver) as adapter:
        assert (await adapter.deliver(sample_assignment())).ticket == "A-7"


async def test_ticket_is_found_where_the_configuration_says(receiver: Receiver) -> None:
    receiver.says(200, {"result": [{"gd/bh": 4711}]})
    async with speaking(receiver, answers={"ticket": ["/result/0/gd~1bh"]}) as adapter:
        assert (await adapter.deliver(sample_assignment())).ticket == "4711"


async def test_missing_ticket_is_a_fault_where_one_is_required(receiver: Receiver) -> None:
    async with speaking(receiver, answers={"ticket_required": True}) as adapter:
        with pytest.raises(AdapterFault):
            await adapter.deliver(sample_assignment())


async def test_refusals_are_told_by_status_or_by_body(receiver: Receiver) -> None:
    rules = {"refused_statuses": [409, 422], "refused_when": {"/code": ["40001"], "/ok": ["false"]}, "reason": ["/msg"]}
    async with speaking(receiver, answers=rules) as adapter:
        for status, body in (
            (422, {"msg": "非辖区"}),
            (200, {"code": 40001, "msg": "非辖区"}),
            (200, {"ok": False, "msg": "非辖区"}),
        ):
            receiver.says(status, body)
            with pytest.raises(Refused, match="非辖区") as refusal:
                await adapter.deliver(sample_assignment())
            assert refusal.value.status == status
        receiver.says(409)
        with pytest.raises(Refused, match="对方系统不予受理"):
            await adapter.deliver(sample_assignment())
        receiver.says(200, {"code": 0, "ok": True})
        await adapter.deliver(sample_assignment())


@pytest.mark.parametrize("status", [300, 301, 302, 307, 400, 404, 408, 418])
async def test_only_2xx_succeeds_and_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.says(status, location=receiver.url)
    async with speaking(receiver) as adapter:
        with pytest.raises(Unavailable) as failure:
            await adapter.deliver(sample_assignment())
    assert failure.value.status == status
    assert len(receiver.came) == 1


async def test_410_shuts_the_door(receiver: Receiver) -> None:
    receiver.says(410)
    async with speaking(receiver) as adapter:
        with pytest.raises(Withdrawn) as shut:
            await adapter.deliver(sample_assignment())
        assert shut.value.status == 410
        assert not (await adapter.health()).ok


async def test_401_pauses(receiver: Receiver) -> None:
    receiver.says(401)
    async with speaking(receiver) as adapter:
        with pytest.raises(CredentialsRejected):
            await adapter.deliver(sample_assignment())


@pytest.mark.parametrize(("status", "kind"), [(429, Unavailable), (502, Unavailable), (504, OutcomeUnknown)])
async def test_overloaded_endpoint_is_left_alone_for_as_long_as_it_asks(
    receiver: Receiver, status: int, kind: type[Exception]
) -> None:
    receiver.says(status, retry_after="120")
    async with speaking(receiver) as adapter:
        with pytest.raises(kind):
            await adapter.deliver(sample_assignment())
        with pytest.raises(Unavailable) as held:
            await adapter.deliver(sample_assignment())
    assert len(receiver.came) == 1
    assert held.value.retry_after is not None
    assert timedelta(seconds=110) < held.value.retry_after <= timedelta(seconds=120)


async def test_503_with_retry_after_holds_back_too(receiver: Receiver) -> None:
    receiver.says(503, retry_after="60")
    async with speaking(receiver) as adapter:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await adapter.deliver(sample_assignment())
    assert len(receiver.came) == 1


def test_pauses_double_until_something_gets_through() -> None:
    at = [0.0]
    throttle = Throttle(lambda: at[0])
    pauses = []
    for _ in range(11):
        pauses.append(throttle.hold(None).total_seconds())
        at[0] += 1000
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    throttle.check()
    throttle.passed()
    assert throttle.hold(None) == timedelta(seconds=1)


async def test_recall_of_what_they_never_had_is_no_error_and_of_what_is_done_is_a_no(receiver: Receiver) -> None:
    async with speaking(receiver) as adapter:
        receiver.says(404)
        await adapter.recall(sample_assignment(), "重复")
        with pytest.raises(Refused, match="没有该工单"):
            await adapter.urge(sample_assignment(), "请尽快")
        receiver.says(409, {"reason": "已办结"})
        with pytest.raises(Refused, match="已办结"):
            await adapter.recall(sample_assignment(), "重复")


async def test_lookup_asks_by_key_or_leaves_it_to_the_same_id(receiver: Receiver) -> None:
    assignment = sample_assignment()
    async with speaking(receiver) as adapter:
        assert await adapter.lookup(assignment) is None
        assert receiver.came == []
    url = receiver.url.replace("/in", "/orders?ref={key}")
    async with speaking(receiver, lookup_url=url, answers={"ticket": ["/items/0/no"]}) as adapter:
        receiver.says(200, {"items": [{"no": 7}]})
        found = await adapter.lookup(assignment)
        assert found is not None
        assert found.ticket == "7"
        for status, body in ((404, None), (200, {"items": []})):
            receiver.says(status, body)
            assert await adapter.lookup(assignment) is None


async def test_down_is_said_once_and_up_again_once(receiver: Receiver) -> None:
    said: list[str] = []

    class Log:
        def warning(self, event: str, **_: object) -> None:
            said.append(event)

        info = warning

    receiver.says(500)
    async with speaking(receiver) as adapter:
        adapter.log = Log()  # type: ignore[assignment]
        for _ in range(3):
            with pytest.raises(Unavailable):
                await adapter.deliver(sample_assignment())
        receiver.says(200)
        for _ in range(2):
            await adapter.deliver(sample_assignment())
    assert said == ["endpoint does not take events", "endpoint answers again"]


async def test_diagnostics_hold_no_secret(receiver: Receiver) -> None:
    async with speaking(receiver, secret=NEW, previous_secret=OLD, headers={"X-Api-Key": "sesame"}) as adapter:
        facts = str(await adapter.diagnostics()) + repr(adapter.settings)
    for secret in (OLD, NEW, "sesame"):
        assert secret.removeprefix("whsec_") not in facts


def test_manifest_carries_the_published_schedule() -> None:
    assert WebhookAdapter.manifest.retry_schedule == RETRY_DELAYS
    assert len(RETRY_DELAYS) == 9


@pytest.mark.parametrize(
    ("own", "schedule", "attempts"),
    [
        ({}, RETRY_DELAYS, 10),
        ({"attempts": 3}, (), 3),
        ({"backoff_cap": timedelta(minutes=1)}, (), 8),
        ({"schedule": (timedelta(seconds=1),), "attempts": 2}, (timedelta(seconds=1),), 2),
    ],
)
async def test_instance_follows_the_published_schedule_unless_it_says_otherwise(
    own: dict[str, Any], schedule: tuple[timedelta, ...], attempts: int
) -> None:
    given = AdapterInstance(name="parks", plugin="webhook", settings=settings("http://127.0.0.1:9/in"), **own)
    running = build(WebhookAdapter, given, store=MemoryStore(), callback_url="http://127.0.0.1:9/hooks/parks")
    assert (running.instance.schedule, running.instance.attempts) == (schedule, attempts)
    await running.stop()


# settings


async def test_address_that_turns_private_is_not_called(receiver: Receiver) -> None:
    """The settings can't know what a name leads to; before sending it is looked at."""
    port = receiver.url.rpartition(":")[2]
    given = {"url": f"http://localhost:{port}", "secret": OLD, "plain_http": True}
    async with running_adapter(WebhookAdapter, given) as adapter:
        with pytest.raises(AdapterFault, match="localhost is a loopback address"):
            await adapter.deliver(sample_assignment())
        health = await adapter.health()
    assert not health.ok
    assert "loopback" in health.detail
    assert receiver.came == []


async def test_name_that_does_not_resolve_is_tried_again_later() -> None:
    given = {"url": f"https://{'a' * 70}.example.org/", "secret": OLD}
    async with running_adapter(WebhookAdapter, given) as adapter:
        with pytest.raises(Unavailable, match="does not resolve"):
            await adapter.deliver(sample_assignment())


async def test_template_that_fails_for_one_assignment_is_a_fault_with_its_place(receiver: Receiver) -> None:
    async with speaking(receiver, bodies={"made": '{"n": {{ 60 // (title | length - 3) }}}'}) as adapter:
        with pytest.raises(AdapterFault, match=r"bodies\.made does not work: ZeroDivisionError"):
            await adapter.deliver(sample_assignment(title="三个字"))
    assert receiver.came == []


async def test_payload_that_can_not_be_cut_down_is_a_fault(receiver: Receiver) -> None:
    async with speaking(receiver) as adapter:
        with pytest.raises(AdapterFault, match="whatever is cut off"):
            await adapter.deliver(sample_assignment(task="长" * 10_000))


async def test_department_that_never_brought_the_case_in_is_told_nothing_and_nobody_is_troubled(receiver: Receiver) -> None:
    receiver.says(404)
    async with speaking(receiver) as adapter:
        await adapter.inform(Notice(case="c", ref="R1", stage="closed", text="已办结", at=datetime(2026, 3, 2, tzinfo=UTC)))
    assert len(receiver.came) == 1


async def test_categories_are_sent_in_the_departments_words_where_it_is_wanted(receiver: Receiver) -> None:
    class Words(WordTable):
        def __init__(self) -> None:
            super().__init__(Crosswalk(categories={"P01": "LH"}, fields={"title": "bt"}))

    async with speaking(receiver, translate_categories=True) as adapter:
        adapter.words = Words()
        await adapter.deliver(sample_assignment(category="P0103"))
    data = receiver.came[0].json()["data"]
    assert data["their_category"] == "LH"
    assert "bt" in data


async def test_file_of_a_callback_is_fetched_from_the_endpoints_own_host_and_checked(receiver: Receiver) -> None:
    photo = b"\xff\xd8photo"
    file = {"name": "现场.jpg", "media_type": "image/jpeg", "url": receiver.url.replace("/in", "/files/1")}
    body = {"type": "assignment.resolved", "key": "k", "files": [{**file, "sha256": hashlib.sha256(photo).hexdigest()}]}
    raw = json.dumps(body).encode()
    request = CallbackRequest(
        method="POST", path="", headers=Signer([OLD]).headers("e1", raw, now=time.time()), query={}, body=raw
    )
    async with speaking(receiver) as adapter:
        receiver.answers = [Response(photo)]
        (report,) = await adapter.parse_callback(request)
        assert isinstance(report, Feedback)
        assert [kept.content for kept in report.files] == [photo]
        came = receiver.came[0]
        assert (came.method, came.path) == ("GET", "/files/1")
        Verifier([OLD]).verify(came.headers, b"", now=time.time())
        for answer, status in ((Response(b"other"), 400), (Response(status_code=500), 503), (Response(status_code=404), 503)):
            receiver.answers = [answer]
            with pytest.raises(CallbackRejected) as rejection:
                await adapter.parse_callback(request)
            assert rejection.value.status == status


def test_plugin_registers_its_adapter() -> None:
    assert hub_adapters() == (WebhookAdapter,)
