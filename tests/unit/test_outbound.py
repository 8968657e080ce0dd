"""What the transport says becomes what dispatch does; nothing secret leaves by spans."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.contract import PASS_STATUSES
from hub.errors import AdapterFault, CredentialsRejected, DeliveryError, OutcomeUnknown, Unavailable
from hub.observing import telemetry
from hub.platform.adapters.outbound import MAX_ANSWER, MAX_RETRY_AFTER, Exchange, Pace, departmental_client, parse_retry_after
from hub.settings import Settings

NOW = datetime(2024, 5, 6, 12, 0, 0, tzinfo=UTC)
NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
UNSENDABLE = {"UnsupportedProtocol", "LocalProtocolError"}


def _subclasses(kind: type[httpx.TransportError]) -> Iterator[type[httpx.TransportError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def _mapping(kind: type[httpx.TransportError], method: str) -> type[DeliveryError]:
    if kind.__name__ in UNSENDABLE:
        return AdapterFault
    if kind.__name__ in NEVER_SENT or method == "GET":
        return Unavailable
    return OutcomeUnknown


def client(answer: httpx.Response | Exception) -> httpx.AsyncClient:
    def reply(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return departmental_client("lamps", timeout=1, transport=httpx.MockTransport(reply))


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("kind", sorted(set(_subclasses(httpx.TransportError)), key=str))
async def test_every_transport_error_is_mapped(kind: type[httpx.TransportError], method: str) -> None:
    expected = _mapping(kind, method)
    async with client(kind("oh")) as http:
        with pytest.raises(DeliveryError) as raised:
            await http.request(method, "http://lamps.test/orders?token=secret")
    assert type(raised.value) is expected
    assert raised.value.subject == "lamps"
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (429, "POST", Unavailable),
        (429, "GET", Unavailable),
        (500, "POST", Unavailable),
        (502, "POST", Unavailable),
        (503, "POST", Unavailable),
        (504, "GET", Unavailable),
        (504, "POST", OutcomeUnknown),
        (599, "POST", Unavailable),
        (401, "POST", CredentialsRejected),
        (403, "GET", CredentialsRejected),
    ],
)
async def test_status_that_is_no_answer_raises(status: int, method: str, expected: type[DeliveryError]) -> None:
    async with client(httpx.Response(status)) as http:
        with pytest.raises(DeliveryError) as raised:
            await http.request(method, "http://lamps.test/")
    assert type(raised.value) is expected


@pytest.mark.parametrize("status", [200, 201, 204, 302, 400, 404, 409, 422])
async def test_other_statuses_come_back_and_redirects_are_not_followed(status: int) -> None:
    async with client(httpx.Response(status, headers={"location": "http://169.254.169.254/"}, content=b"x")) as http:
        response = await http.post("http://lamps.test/")
    assert (response.status_code, response.content) == (status, b"x")


async def test_status_a_protocol_answers_with_is_passed_on() -> None:
    async with client(httpx.Response(500, content=b"<Fault>")) as http:
        response = await http.post("http://lamps.test/", extensions={PASS_STATUSES: {500}})
    assert response.content == b"<Fault>"


async def test_rate_limit_says_when_to_come_back() -> None:
    async with client(httpx.Response(429, headers={"retry-after": "7"})) as http:
        with pytest.raises(Unavailable) as limited:
            await http.post("http://lamps.test/")
    assert limited.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", timedelta(0)),
        (" 120 ", timedelta(minutes=2)),
        ("Mon, 06 May 2024 12:00:30 GMT", timedelta(seconds=30)),
        ("Mon, 06 May 2024 11:00:00 GMT", timedelta(0)),
        ("Mon, 06 May 2024 20:00:30 +0800", timedelta(seconds=30)),
        ("Mon, 06 May 2024 12:00:30 -0000", timedelta(seconds=30)),
        ("9" * 400, MAX_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, expected: timedelta | None) -> None:
    assert parse_retry_after(value, now=NOW) == expected


@given(st.one_of(st.text(), st.integers().map(str), st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT"))))
def test_no_retry_after_breaks_the_client(value: str) -> None:
    delay = parse_retry_after(value, now=NOW)
    assert delay is None or timedelta(0) <= delay <= MAX_RETRY_AFTER


class _Flood(httpx.AsyncByteStream):
    """An endless answer that counts what was read of it."""

    def __init__(self) -> None:
        self.read = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.read += 65536
            yield b"x" * 65536

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("method", "expected"), [("GET", AdapterFault), ("POST", OutcomeUnknown)])
async def test_endless_answer_is_cut_at_the_limit(method: str, expected: type[DeliveryError]) -> None:
    flood = _Flood()
    async with client(httpx.Response(200, stream=flood)) as http:
        with pytest.raises(expected):
            await http.request(method, "http://lamps.test/")
    assert flood.read <= MAX_ANSWER + 65536
    assert flood.closed


async def test_compressed_answer_nobody_asked_for_is_not_unpacked() -> None:
    bomb = gzip.compress(b"0" * 1_000_000)

    async def endless() -> AsyncIterator[bytes]:
        yield bomb

    async with client(httpx.Response(200, headers={"content-encoding": "gzip"}, content=endless())) as http:
        with pytest.raises(AdapterFault):
            await http.get("http://lamps.test/")


class _Spans:
    """Keeps what telemetry records."""

    def __init__(self) -> None:
        self.rows: list[telemetry.Row] = []

    def add(self, row: telemetry.Row) -> None:
        self.rows.append(row)


async def test_span_and_traceparent_go_along_without_secrets() -> None:
    seen: list[str] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["traceparent"])
        return httpx.Response(429)

    spans = _Spans()
    recording = telemetry.setup(Settings(), "hub", spans)
    try:
        async with departmental_client("lamps", timeout=1, transport=httpx.MockTransport(reply)) as http:
            with telemetry.span("process dispatch.lamps", matter="320113001000000-0123456789") as attempt:
                with pytest.raises(Unavailable):
                    await http.post("http://user:pass@lamps.test:81/orders?token=secret", headers={"authorization": "secret"})
                trace = str(attempt.traceparent)
    finally:
        recording.close()
    text = repr(spans.rows)
    assert "POST" in text
    assert "lamps.test" in text
    assert "/orders" in text
    assert "429" in text
    assert "unavailable" in text
    assert "320113001000000-0123456789" in text
    assert "secret" not in text
    assert "pass" not in text.replace("_Passing", "")
    assert seen[0].split("-")[1] == trace.split("-")[1]
    assert seen[0] != trace, "the department continues from the client span"


@asynccontextmanager
async def department(*, answers: bool) -> AsyncIterator[str]:
    """A real server that reads a request and closes the line, or says nothing."""
    hung: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answers:
            writer.close()
        else:
            hung.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        for writer in hung:
            writer.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("answers", [True, False], ids=["line lost", "no answer"])
async def test_lost_answer_of_a_real_server_leaves_the_outcome_unknown(answers: bool) -> None:
    async with department(answers=answers) as url, departmental_client("lamps", timeout=0.3) as http:
        with pytest.raises(OutcomeUnknown):
            await http.post(url, json={})
        with pytest.raises(Unavailable):
            await http.get(url)


async def test_refused_connection_means_nothing_was_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        async with departmental_client("lamps", timeout=1) as http:
            with pytest.raises(Unavailable):
                await http.post(url, json={})


async def test_url_that_cannot_be_sent_is_the_plugins_fault() -> None:
    async with departmental_client("lamps", timeout=1) as http:
        with pytest.raises(AdapterFault):
            await http.post("ftp://lamps.test/")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_turns_come_at_the_rate_and_in_order() -> None:
    clock = Clock()
    pace = Pace(2, most_wait=10, clock=clock)
    assert [pace.turn() for _ in range(5)] == [(0, True), (0, True), (0.5, True), (1.0, True), (1.5, True)]
    clock.now = 10.0
    assert [pace.turn() for _ in range(3)] == [(0, True), (0, True), (0.5, True)]


def test_turn_too_far_off_is_not_taken_and_leaves_the_others_theirs() -> None:
    clock = Clock()
    pace = Pace(1, most_wait=2, clock=clock)
    assert [pace.turn() for _ in range(5)] == [(0, True), (1, True), (2, True), (3, False), (3, False)]
    clock.now = 1.0
    assert pace.turn() == (2, True)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.floats(0.1, 50))
def test_never_more_than_the_rate_whenever_asked(pauses: list[float], rate: float) -> None:
    clock = Clock()
    pace = Pace(rate, most_wait=5, clock=clock)
    due = []
    for pause in pauses:
        clock.now += pause
        wait, taken = pace.turn()
        if taken:
            due.append(clock.now + wait)
    assert due == sorted(due)
    for first in range(len(due)):
        for last in range(first, len(due)):
            most = max(1.0, rate) + rate * (due[last] - due[first])
            assert last - first + 1 <= most + 1e-6


async def test_requests_above_the_rate_wait_and_hopeless_ones_are_unavailable() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200)

    async with departmental_client("lamps", timeout=0.4, rate=10, transport=httpx.MockTransport(reply)) as http:
        found = await asyncio.gather(*(http.get("http://lamps.test/") for _ in range(20)), return_exceptions=True)
    refused = [one for one in found if isinstance(one, Unavailable)]
    assert 6 <= len(refused) <= 8  # ten at once and two or three in the 0.2 s that each may wait
    assert all(one.retry_after is not None and one.retry_after > timedelta(seconds=0.1) for one in refused)


async def test_every_exchange_is_recorded_with_what_was_made_of_it() -> None:
    answers = iter([httpx.Response(200, json={"ok": 1}, headers={"x-a": "b"}), httpx.Response(503), httpx.ReadTimeout("oh")])

    def reply(request: httpx.Request) -> httpx.Response:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    kept: list[Exchange] = []
    transport = httpx.MockTransport(reply)
    async with departmental_client("lamps", timeout=1, record=kept.append, transport=transport) as http:
        await http.post("http://lamps.test/orders?a=1", json={"n": 1})
        with pytest.raises(Unavailable):
            await http.get("http://lamps.test/orders")
        with pytest.raises(OutcomeUnknown):
            await http.post("http://lamps.test/orders", files={"f": b"123"})
    first, second, third = kept
    assert (first.method, first.url, first.status) == ("POST", "http://lamps.test/orders?a=1", 200)
    assert (first.body, first.answer, first.error) == (b'{"n":1}', b'{"ok":1}', None)
    assert dict(first.answer_headers)["x-a"] == "b"
    assert (second.status, type(second.error)) == (503, Unavailable)
    assert (third.status, third.answer, type(third.error)) == (None, None, OutcomeUnknown)
    assert b"123" in third.body


async def test_answer_too_long_is_recorded_with_its_head() -> None:
    kept: list[Exchange] = []
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=b"x" * (MAX_ANSWER + 1)))
    async with departmental_client("lamps", timeout=1, record=kept.append, transport=transport) as http:
        with pytest.raises(AdapterFault):
            await http.get("http://lamps.test/")
    assert (kept[0].status, kept[0].answer) == (200, None)


class HandClock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@given(st.floats(0.5, 50), st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_no_more_requests_get_a_turn_than_the_rate_allows(per_second: float, pauses: list[float]) -> None:
    clock = HandClock()
    pace = Pace(per_second, most_wait=10, clock=clock)
    turns = []
    for pause in pauses:
        clock.at += pause
        wait, taken = pace.turn()
        if taken:
            turns.append(clock.at + wait)
    assert turns == sorted(turns), "first come, first served"
    burst = max(1.0, per_second)
    for first in range(len(turns)):
        for last in range(first, len(turns)):
            assert last - first + 1 <= burst + (turns[last] - turns[first]) * per_second + 1e-6


async def test_requests_above_the_rate_wait_their_turn_and_those_too_far_back_are_unavailable() -> None:
    asked: list[float] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(asyncio.get_running_loop().time())
        return httpx.Response(200)

    async with departmental_client("lamps", timeout=0.5, rate=10, transport=httpx.MockTransport(reply)) as http:
        answers = await asyncio.gather(*(http.get("http://lamps.test/") for _ in range(20)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert len(asked) == 12, "a second's worth at once, then those whose turn comes within half the time-out"
    assert asked[-1] - asked[0] >= 0.19
    assert len(refused) == 8
    assert all(problem.retry_after is not None and problem.retry_after > timedelta(seconds=0.25) for problem in refused)


async def test_a_recorder_is_shown_every_exchange_whole_and_what_became_of_it() -> None:
    answers = iter([httpx.Response(201, json={"ticket": "T-1"}), httpx.Response(503), httpx.ReadTimeout("lost")])

    def reply(request: httpx.Request) -> httpx.Response:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    seen: list[Exchange] = []
    async with departmental_client("lamps", timeout=1, record=seen.append, transport=httpx.MockTransport(reply)) as http:
        assert (await http.post("http://lamps.test/a?b=c", json={"x": 1})).json() == {"ticket": "T-1"}
        with pytest.raises(Unavailable):
            await http.post("http://lamps.test/a")
        with pytest.raises(OutcomeUnknown):
            await http.post("http://lamps.test/a")
    assert [(one.method, one.status, type(one.error)) for one in seen] == [
        ("POST", 201, type(None)),
        ("POST", 503, Unavailable),
        ("POST", None, OutcomeUnknown),
    ]
    assert seen[0].url == "http://lamps.test/a?b=c"
    assert (seen[0].body, seen[0].answer) == (b'{"x":1}', b'{"ticket":"T-1"}')
    assert dict(seen[0].headers)["user-agent"] == "city-hub"


async def test_an_exchange_that_is_given_up_is_recorded_too() -> None:
    async def reply(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("never answered")

    seen: list[Exchange] = []
    async with departmental_client("lamps", timeout=1, record=seen.append, transport=httpx.MockTransport(reply)) as http:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await http.post("http://lamps.test/a", content=b"x")
    assert [(one.status, one.error, one.body) for one in seen] == [(None, None, b"x")]
