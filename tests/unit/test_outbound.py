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

from hub import telemetry
from hub.contract import PASS_STATUSES
from hub.errors import AdapterFault, CredentialsRejected, DeliveryError, OutcomeUnknown, Unavailable
from hub.outbound import MAX_ANSWER, MAX_RETRY_AFTER, departmental_client, parse_retry_after
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
            with telemetry.span("process dispatch.lamps", case="320113001000000-0123456789") as attempt:
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
