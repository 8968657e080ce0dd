"""The chassis every departmental simulator stands on: durable, faulty on demand, calling back, traced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.testing.callbacks import webhook_secret
from hub.testing.faults import FaultKind, FaultOrder, Faults, parse_faults
from hub.testing.kit import QuietServer, eventually
from hub.testing.process import SimulatorProcess
from hub.testing.store import SimulatorStore

SECRET = "lamp-secret"
CASE = "320113001000000-0123456789"
HERE = {"PYTHONPATH": str(Path(__file__).parent)}


def lamps(data: Path, *options: str, pace: str = "600", environment: dict[str, str] | None = None) -> SimulatorProcess:
    return SimulatorProcess(
        "lamps", data, secret=SECRET, options=("--pace", pace, *options), environment={**HERE, **(environment or {})}
    )


@pytest.fixture
def office(tmp_path: Path) -> Iterator[SimulatorProcess]:
    with lamps(tmp_path / "lamps") as process:
        yield process


def order(office: SimulatorProcess, key: str = f"{CASE}.a1", **options: Any) -> httpx.Response:
    return httpx.post(f"{office.url}/orders", json={"key": key}, trust_env=False, **options)


def states(office: SimulatorProcess) -> dict[str, str]:
    return {ticket["key"]: ticket["state"] for ticket in office.tickets()}


@dataclass
class Receiver:
    """Takes callbacks and OTLP; answers what `status` says."""

    url: str
    status: int = 204
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)

    async def callback(self, request: Request) -> Response:
        body = await request.body()
        self.headers.append(dict(request.headers))
        self.bodies.append(body)
        return Response(status_code=self.status)

    async def otlp(self, request: Request) -> Response:
        export = ExportTraceServiceRequest.FromString(await request.body())
        for resource in export.resource_spans:
            named = {item.key: item.value.string_value for item in resource.resource.attributes}
            self.services.add(named["service.name"])
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return Response(status_code=200)

    def said(self) -> list[str]:
        return [json.loads(body)["state"] for body in self.bodies]

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers in self.headers]


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    listener = socket.create_server(("127.0.0.1", 0))
    found = Receiver(f"http://127.0.0.1:{listener.getsockname()[1]}")
    routes = [
        Route("/hooks/lamps", found.callback, methods=["POST"]),
        Route("/v1/traces", found.otlp, methods=["POST"]),
    ]
    server = QuietServer(uvicorn.Config(Starlette(routes=routes), lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve([listener]))
    await eventually(lambda: server.started)
    try:
        yield found
    finally:
        server.should_exit = True
        await serving
        listener.close()


# the process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_simulator_ends_cleanly_when_asked(tmp_path: Path, number: signal.Signals) -> None:
    office = lamps(tmp_path).start()
    assert office.pid is not None
    os.kill(office.pid, number)
    assert office.stop() == 0
    assert "Traceback" not in (tmp_path / "stderr.log").read_text()


def test_ready_line_is_the_first_thing_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lamps", "--port", "0", "--data", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **HERE}) as child:
        assert child.stdout is not None
        ready = json.loads(child.stdout.readline())
        child.terminate()
    assert ready["ready"] is True
    assert ready["url"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "option", [("--faults", "eror=0.1"), ("--faults", "error=2"), ("--latency-ms", "9,3"), ("--latency-ms", "x")]
)
def test_wrong_option_is_refused_with_what_is_wrong(tmp_path: Path, option: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "lamps", "--data", str(tmp_path), *option]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **HERE}, check=False)
    assert result.returncode == 2
    assert option[1].split("=")[0] in result.stderr


async def test_simulator_whose_people_fail_stops_and_says_so(tmp_path: Path) -> None:
    office = lamps(tmp_path, "--explode", pace="0.01").start()
    order(office)
    await eventually(lambda: office.pid is None)
    assert office.stop() == 1
    assert "the ladder broke" in (tmp_path / "stderr.log").read_text()


def test_second_order_under_a_key_gets_the_first_ticket(office: SimulatorProcess) -> None:
    assert order(office).json() == order(office).json()
    assert len(office.tickets()) == 1


async def test_what_was_answered_and_planned_survives_a_kill(tmp_path: Path) -> None:
    office = lamps(tmp_path, pace="1").start()
    tickets = {key: order(office, key).json()["ticket"] for key in (f"{CASE}.a{number}" for number in range(1, 21))}
    office.kill()
    url = office.url
    office.start()
    try:
        assert office.url == url, "it has its port again"
        assert {ticket["key"]: ticket["ticket"] for ticket in office.tickets()} == tickets
        await eventually(lambda: set(states(office).values()) == {"done"})
    finally:
        office.stop()


async def test_orders_at_once_are_all_kept(office: SimulatorProcess) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = await asyncio.gather(
            *(client.post(f"{office.url}/orders", json={"key": f"{CASE}.a{number}"}) for number in range(50))
        )
    office.kill()
    office.start()
    assert {answer.json()["ticket"] for answer in answers} == {ticket["ticket"] for ticket in office.tickets()}
    assert len(office.tickets()) == 50


# faults


@pytest.mark.parametrize(
    ("kind", "status"), [("error", 500), ("unavailable", 503), ("rate_limit", 429), ("bad_credentials", 401), ("outage", 503)]
)
def test_fault_answers_and_files_nothing(office: SimulatorProcess, kind: str, status: int) -> None:
    office.fault(kind, **({"seconds": 30} if kind == "outage" else {"count": 1}))
    answer = order(office)
    assert answer.status_code == status
    if kind == "rate_limit":
        assert answer.headers["retry-after"] == "1"
    assert office.tickets() == []
    office.clear_faults()
    assert order(office).status_code == 200


def test_counted_fault_is_used_up(office: SimulatorProcess) -> None:
    office.fault("error", count=2)
    assert [order(office).status_code for _ in range(3)] == [500, 500, 200]


def test_timeout_after_accept_keeps_the_order_and_never_answers(office: SimulatorProcess) -> None:
    office.fault("timeout_after_accept", count=1)
    assert httpx.get(f"{office.url}/orders", trust_env=False).json() == {"count": 0}, "a question is not hit"
    with pytest.raises(httpx.ReadTimeout):
        order(office, timeout=0.3)
    assert len(office.tickets()) == 1
    assert order(office).json()["ticket"] == office.tickets()[0]["ticket"]


def test_hung_request_does_not_keep_the_simulator_from_stopping(tmp_path: Path) -> None:
    office = lamps(tmp_path).start()
    office.fault("timeout_after_accept", count=1)
    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ReadTimeout):
        client.post(f"{office.url}/orders", json={"key": f"{CASE}.a1"}, timeout=0.2)
    began = time.monotonic()
    assert office.stop() == 0
    assert time.monotonic() - began < 8


def test_share_is_drawn_the_same_for_the_same_seed() -> None:
    def run(seed: int) -> list[bool]:
        faults = Faults(seed, parse_faults("error=0.3, rate_limit=0"))
        assert not any(faults.draw(FaultKind.RATE_LIMIT) for _ in range(100))
        return [faults.draw(FaultKind.ERROR) for _ in range(400)]

    assert run(1) == run(1) != run(2)
    assert 80 < sum(run(1)) < 160


async def test_fault_for_a_time_passes() -> None:
    faults = Faults(1)
    faults.order(FaultOrder(kind=FaultKind.OUTAGE, seconds=0.1))
    assert faults.outage
    await eventually(lambda: not faults.outage)
    assert not faults.draw(FaultKind.OUTAGE)


async def test_nobody_works_during_an_outage(tmp_path: Path) -> None:
    async with receiver() as hub:
        with lamps(tmp_path, "--callback-url", f"{hub.url}/hooks/lamps", pace="0.5") as office:
            began = time.monotonic()
            order(office)
            office.fault("outage", seconds=1.5)
            await eventually(lambda: hub.said() == ["accepted", "done"])
            assert time.monotonic() - began > 1.5


# callbacks


async def test_callbacks_are_signed_by_standard_webhooks_and_in_order(tmp_path: Path) -> None:
    async with receiver() as hub:
        with lamps(tmp_path, "--callback-url", f"{hub.url}/hooks/lamps", pace="0.05") as office:
            order(office)
            await eventually(lambda: len(hub.bodies) == 2)
    assert hub.said() == ["accepted", "done"]
    for body, headers in zip(hub.bodies, hub.headers, strict=True):
        Webhook(webhook_secret(SECRET)).verify(body, headers)


async def test_unconfirmed_callback_is_sent_again_under_its_id(tmp_path: Path) -> None:
    async with receiver() as hub:
        hub.status = 503
        with lamps(tmp_path, "--callback-url", f"{hub.url}/hooks/lamps", pace="0.05") as office:
            order(office)
            await eventually(lambda: len(hub.bodies) >= 2)
            assert len(set(hub.ids())) == 1, "what follows waits for what comes first"
            office.kill()
            hub.status = 204
            office.start()
            await eventually(lambda: hub.said()[-1] == "done")
            await eventually(lambda: office.control("GET", "/_sim/state")["unsent_callbacks"] == 0)
    assert len(set(hub.ids())) == 2


async def test_callback_the_receiver_calls_gone_is_given_up(tmp_path: Path) -> None:
    async with receiver() as hub:
        hub.status = 410
        with lamps(tmp_path, "--callback-url", f"{hub.url}/hooks/lamps", pace="0.05") as office:
            order(office)
            await eventually(lambda: len(hub.bodies) == 2)
            await eventually(lambda: office.control("GET", "/_sim/state")["unsent_callbacks"] == 0)


async def test_duplicates_and_disorder_on_demand(tmp_path: Path) -> None:
    async with receiver() as hub:
        options = ("--callback-url", f"{hub.url}/hooks/lamps", "--faults", "duplicate_callback=1")
        with lamps(tmp_path, *options, pace="0.05") as office:
            office.fault("reorder_callbacks", count=1)
            order(office)
            await eventually(lambda: len(hub.bodies) == 4)
    assert hub.said() == ["done", "done", "accepted", "accepted"]
    assert len(set(hub.ids())) == 2


async def test_callbacks_wait_until_an_address_is_known(tmp_path: Path) -> None:
    async with receiver() as hub:
        with lamps(tmp_path, pace="0.05") as office:
            order(office)
            await eventually(lambda: states(office) == {f"{CASE}.a1": "done"})
            office.call_back_to(f"{hub.url}/hooks/lamps")
            await eventually(lambda: hub.said() == ["accepted", "done"])


# spans


async def test_spans_continue_the_callers_trace_and_callbacks_link_to_it(tmp_path: Path) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    async with receiver() as hub:
        options = ("--callback-url", f"{hub.url}/hooks/lamps")
        with lamps(tmp_path, *options, pace="0.05", environment={"OTEL_EXPORTER_OTLP_ENDPOINT": hub.url}) as office:
            headers = {"traceparent": f"00-{trace}-{parent}-01"}
            assert (await asyncio.to_thread(order, office, headers=headers)).status_code == 200
            await eventually(lambda: len(hub.spans) >= 3)
    served = next(span for span in hub.spans if span.kind == Span.SPAN_KIND_SERVER)
    assert (served.trace_id.hex(), served.parent_span_id.hex(), served.name) == (trace, parent, "POST /orders")
    calls = [span for span in hub.spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert len(calls) == 2
    for call in calls:
        assert call.trace_id != served.trace_id, "a callback is a new stimulus, so a new trace"
        assert [link.span_id for link in call.links] == [served.span_id]
    for span in hub.spans:
        named = {item.key: item.value.string_value for item in span.attributes}
        assert named["messaging.message.conversation_id"] == CASE
    assert {headers["traceparent"].split("-")[1] for headers in hub.headers} == {call.trace_id.hex() for call in calls}
    assert hub.services == {"lamps-simulator"}


async def test_simulator_stops_in_time_when_nobody_takes_its_spans(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
        office = lamps(tmp_path, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": nobody}).start()
        order(office)
        began = time.monotonic()
        assert office.stop() == 0
        assert time.monotonic() - began < 6


# the store


async def test_change_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    store = SimulatorStore(tmp_path)
    store.add_ticket("T1", key="other", unit="u", state="s", body={})

    def file_two() -> None:
        with store.change():
            store.add_ticket("T2", key="k", unit="u", state="s", body={})
            store.add_ticket("T1", key="l", unit="u", state="s", body={})

    with pytest.raises(sqlite3.IntegrityError):
        file_two()
    store.add_ticket("T2", key="k", unit="u", state="s", body={"a": "水"})
    await store.durable()
    store.close()
    again = SimulatorStore(tmp_path)
    assert [(ticket.ticket, ticket.body) for ticket in again.tickets()] == [
        ("T1", {}),
        ("T2", {"a": "水"}),
    ]
    again.close()
