"""What a trial does on each answer and each fault, what it makes of it, and what dispatch would do next."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import SecretStr

from hub.contract import (
    Adapter,
    AdapterInstance,
    AdapterSettings,
    Assignment,
    Capability,
    Contact,
    Health,
    Manifest,
    Receipt,
)
from hub.errors import (
    AdapterFault,
    CredentialsRejected,
    HubError,
    InvalidInput,
    OutcomeUnknown,
    PluginError,
    Refused,
    Unavailable,
)
from hub.platform.trial.sample import MARK, default_sample, given_sample, is_sample
from hub.platform.trial.trying import try_plugin
from hub.platform.trial.values import Trial, from_json
from hub.platform.trial.verdict import next_step
from hub.spine.dispatch.follow_up import FAULT_ATTEMPTS
from tests.logged import logged

SECRET = "a-secret-of-the-settings"
SAMPLE = default_sample(suffix="abcdefgh23456789", now=datetime(2026, 3, 2, 8, tzinfo=UTC), unit="lamps")
INSTANCE = AdapterInstance(name="lamps-west", plugin="lamps", settings={"secret": SECRET})
ALL = frozenset({Capability.LOOKUP, Capability.RECALL})


class LampSettings(AdapterSettings):
    secret: SecretStr


def lamps(
    capabilities: frozenset[Capability] = ALL,
    *,
    deliver: Callable[[Any, Assignment], Any] | None = None,
    start: Callable[[Any], Any] | None = None,
    seconds: float = 5,
) -> type[Adapter]:
    """An adapter to a REST system; `deliver` and `start` replace its own."""

    class Lamps(Adapter):
        manifest = Manifest(
            name="lamps",
            department="路灯",
            version="1",
            capabilities=capabilities,
            attempt_timeout=timedelta(seconds=seconds),
        )
        Settings = LampSettings

        async def start(self) -> None:
            if start is not None:
                await start(self)

        async def health(self) -> Health:
            answer = await self.http.get("http://lamps.test/ping")
            return Health(ok=answer.status_code == 200, detail="" if answer.status_code == 200 else "维护中")

        async def deliver(self, assignment: Assignment) -> Receipt:
            if deliver is not None:
                return await deliver(self, assignment)  # type: ignore[no-any-return]
            answer = await self.http.post("http://lamps.test/orders", json={"ref": assignment.key, "title": assignment.title})
            if answer.status_code == 422:
                raise Refused(answer.json()["reason"])
            return Receipt(ticket=answer.json()["ticket"])

        async def lookup(self, assignment: Assignment) -> Receipt | None:
            answer = await self.http.get("http://lamps.test/orders", params={"ref": assignment.key})
            found = answer.json()["ticket"]
            return None if found is None else Receipt(ticket=found)

        async def recall(self, assignment: Assignment, reason: str) -> None:
            answer = await self.http.delete(f"http://lamps.test/orders/{assignment.ticket}")
            if answer.status_code == 409:
                raise Refused("已办结")

    return Lamps


class Department:
    """Answers by method; what it is given in `faults` comes first."""

    def __init__(self, **faults: list[httpx.Response | Exception]) -> None:
        self.faults = faults
        self.ticket: str | None = None
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        word = {"/ping": "ping", "POST": "post", "GET": "get", "DELETE": "delete"}[
            "/ping" if request.url.path == "/ping" else request.method
        ]
        self.asked.append(word)
        fault = self.faults.get(word, [])
        answer = fault.pop(0) if fault else None
        if isinstance(answer, httpx.ReadTimeout) and word == "post":
            self.ticket = "L-1"
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        if word == "post":
            self.ticket = "L-1"
        return httpx.Response(200, json={"ticket": self.ticket})


async def tried(department: Department, kind: type[Adapter] | None = None, **options: Any) -> Trial:
    options = {"assignment": SAMPLE} | options
    return await try_plugin(kind or lamps(), INSTANCE, transport=httpx.MockTransport(department), **options)


def calls(trial: Trial) -> list[str]:
    return [call.call for call in trial.calls]


async def test_health_alone_hands_nothing_over() -> None:
    department = Department()
    trial = await tried(department, assignment=None)
    assert (trial.ok, trial.outcome, department.asked) == (True, "usable", ["ping"])
    assert trial.assignment is None


async def test_health_that_is_not_well_says_why() -> None:
    trial = await tried(Department(ping=[httpx.Response(404)]), assignment=None)
    assert (trial.ok, trial.outcome, trial.text) == (False, "unusable", "健康检查未通过：维护中")


async def test_a_sample_is_filed_found_and_taken_back() -> None:
    trial = await tried(Department())
    assert calls(trial) == ["start", "health", "deliver", "lookup", "recall"]
    assert (trial.ok, trial.outcome, trial.ticket) == (True, "recalled", "L-1")
    assert from_json(trial.to_json()) == trial


async def test_a_sample_is_left_on_request_or_where_it_can_not_be_taken_back() -> None:
    assert (await tried(Department(), recall=False)).text.endswith("按要求未撤回")
    trial = await tried(Department(), lamps(frozenset({Capability.LOOKUP})))
    assert (trial.ok, trial.outcome) == (True, "filed")
    assert "请通知对方作废" in trial.text


@pytest.mark.parametrize(
    ("faults", "outcome", "expected"),
    [
        ({"post": [httpx.Response(422, json={"reason": "区划不存在"})]}, "refused", ["deliver"]),
        ({"post": [httpx.Response(401)]}, "not_filed", ["deliver"]),
        ({"post": [httpx.Response(503, headers={"retry-after": "30"})]}, "not_filed", ["deliver"]),
        ({"post": [httpx.Response(503)] * 3}, "not_filed", ["deliver"] * 3),
        ({"post": [httpx.Response(503)]}, "recalled", ["deliver", "deliver", "lookup", "recall"]),
        ({"post": [httpx.ReadTimeout("lost")]}, "recalled", ["deliver", "lookup", "recall"]),
        ({"post": [httpx.ReadTimeout("lost")], "get": [httpx.Response(500)] * 3}, "unsure", ["deliver", *["lookup"] * 3]),
        ({"get": [httpx.Response(200, json={"ticket": None})]}, "unsure", ["deliver", "lookup", "recall"]),
        ({"get": [httpx.Response(200, json={"ticket": "L-9"})]}, "unsure", ["deliver", "lookup", "recall"]),
        ({"delete": [httpx.Response(409)]}, "left_behind", ["deliver", "lookup", "recall"]),
    ],
)
async def test_what_comes_of_a_sample(faults: dict[str, Any], outcome: str, expected: list[str]) -> None:
    trial = await tried(Department(**faults))
    assert (trial.outcome, calls(trial)[2:]) == (outcome, expected), trial.text
    assert trial.ok is (outcome == "recalled")


async def test_what_can_neither_be_asked_nor_repeated_is_left_in_doubt() -> None:
    trial = await tried(Department(post=[httpx.ReadTimeout("lost")]), lamps(frozenset()))
    assert (trial.ok, trial.outcome, calls(trial)[2:]) == (False, "unsure", ["deliver"])
    problem = trial.calls[2].problem
    assert problem is not None
    assert problem.next.what == "operator"


async def test_a_bug_in_the_plugin_is_shown_with_its_place_and_without_secrets() -> None:
    async def broken(adapter: Any, assignment: Assignment) -> Receipt:
        raise KeyError(f"no field {adapter.settings.secret.get_secret_value()}")

    trial = await tried(Department(), lamps(frozenset(), deliver=broken))
    problem = trial.calls[2].problem
    assert problem is not None
    assert (problem.error, problem.disposition) == ("AdapterFault", "fault")
    assert any("test_trying.py" in line and "broken" in line for line in problem.traceback)
    assert SECRET not in json.dumps(trial.to_json(), default=str)


async def test_a_plugin_that_hangs_is_cut_off_and_its_request_shown() -> None:
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path == "/ping":
                return httpx.Response(200)
            await asyncio.Event().wait()
            raise AssertionError("it never answers")

    trial = await try_plugin(lamps(frozenset(), seconds=0.2), INSTANCE, assignment=SAMPLE, transport=Silent())
    deliver = trial.calls[2]
    assert deliver.problem is not None
    assert deliver.problem.error == "OutcomeUnknown"
    assert [(one.request.method, one.answer) for one in deliver.exchanges] == [("POST", None)]


async def test_a_plugin_that_does_not_start_is_unusable_and_one_with_wrong_settings_can_not_be_tried() -> None:
    async def fails(adapter: Any) -> None:
        raise RuntimeError("no certificate")

    trial = await tried(Department(), lamps(start=fails))
    assert (trial.ok, trial.outcome, calls(trial)) == (False, "unusable", ["start"])
    assert "no certificate" in trial.text
    with pytest.raises(PluginError, match=r"settings\.secret"):
        await try_plugin(lamps(), replace(INSTANCE, settings={}))


async def test_log_lines_unmapped_words_and_spans_are_part_of_it() -> None:
    async def talks(adapter: Any, assignment: Assignment) -> Receipt:
        adapter.log.bind(step=1).info("sending", secret_used=SECRET, phone="13912345678")
        adapter.words.kind("办得差不多了", about="L-1")
        return Receipt(ticket="L-1")

    trial = await tried(Department(), lamps(frozenset(), deliver=talks))
    (line,) = trial.logs
    assert (line.level, line.event, line.fields["step"]) == ("info", "sending", 1)
    assert SECRET not in str(line.fields)
    assert "13912345678" not in str(line.fields)
    assert trial.unmapped == ["statuses: 办得差不多了"]
    assert trial.trace is not None
    assert "GET" in json.dumps(trial.trace)


async def test_a_given_contact_stays_out_of_the_log() -> None:
    async def deliver(_: Any, assignment: Assignment) -> Receipt:
        raise RuntimeError(f"no {assignment.contact.name}")  # type: ignore[union-attr]

    sample = msgspec.structs.replace(SAMPLE, contact=Contact(name="欧阳静怡", phone="025-86001234"))
    with logged() as out:
        await tried(Department(), lamps(deliver=deliver), assignment=sample)
    assert "adapter fault" in out.getvalue()
    assert "静怡" not in out.getvalue()


async def test_a_given_contact_is_struck_out() -> None:
    async def files(adapter: Any, assignment: Assignment) -> Receipt:
        await adapter.http.post(
            "http://lamps.test/orders", json={"who": assignment.contact.name, "call": assignment.contact.phone}
        )
        return Receipt(ticket="L-1")

    sample = msgspec.structs.replace(SAMPLE, contact=Contact(name="欧阳静怡", phone="025-86001234"))
    trial = await tried(Department(), lamps(frozenset(), deliver=files), assignment=sample)
    shown = json.dumps(trial.to_json(), ensure_ascii=False, default=str)
    assert "欧阳静怡" not in shown
    assert "86001234" not in shown


@pytest.mark.parametrize(
    ("problem", "capabilities", "what", "after", "attempts"),
    [
        (Unavailable("x"), ALL, "again", (0.0, 5.0), 8),
        (Unavailable("x", retry_after=timedelta(seconds=30)), ALL, "again", (30.0, 30.0), 8),
        (OutcomeUnknown("x"), ALL, "lookup", (0.0, 5.0), 8),
        (OutcomeUnknown("x"), {Capability.IDEMPOTENT}, "again", (0.0, 5.0), 8),
        (OutcomeUnknown("x"), set(), "operator", None, None),
        (AdapterFault("x"), ALL, "lookup", (0.0, 5.0), FAULT_ATTEMPTS),
        (CredentialsRejected("x"), ALL, "pause", None, None),
        (Refused("x"), ALL, "operator", None, None),
    ],
)
def test_what_dispatch_would_do_next(
    problem: HubError, capabilities: set[Capability], what: str, after: tuple[float, float] | None, attempts: int | None
) -> None:
    manifest = Manifest(name="x", department="x", version="1", capabilities=frozenset(capabilities))
    found = next_step(INSTANCE, manifest, "deliver", problem)
    assert (found.what, found.after, found.attempts) == (what, after, attempts)


def test_the_default_sample_is_marked_and_belongs_to_no_case() -> None:
    assert SAMPLE.title.startswith(MARK)
    assert is_sample(SAMPLE.key)
    assert is_sample(SAMPLE.case)
    assert not is_sample("320113001001001-01jd8x2m9qk3v5wz.a1")


def test_a_given_sample_keeps_key_and_mark() -> None:
    given = given_sample({"key": "320113001001001-01jd8x2m9qk3v5wz.a1", "title": "路灯不亮", "severity": "urgent"}, SAMPLE)
    assert (given.key, given.case, given.title) == (SAMPLE.key, SAMPLE.case, "【测试】路灯不亮")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"colour": 1}, "sample.colour"),
        ({"severity": "odd"}, "sample.severity"),
        ({"reported_at": "2026-03-02T08:00:00"}, "sample.reported_at"),
    ],
)
def test_a_given_sample_that_can_not_be_is_refused_by_field(values: Mapping[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        given_sample(values, SAMPLE)
    assert refused.value.subject == field
