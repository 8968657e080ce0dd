"""Spans go to a real OTLP/HTTP receiver when the standard variables say so, and into the embedded store all the same."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from hub.observing import telemetry
from hub.observing.metrics import SENT, Metrics
from hub.observing.store import SpanStore
from hub.settings import Settings

CASE = "320113001001001-0123456789"
CAUSE = f"00-{'c' * 32}-{'d' * 16}-01"


class Receiver(ThreadingHTTPServer):
    """Takes OTLP over HTTP as a collector does; `packed` says whether what came was gzip."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.raw: list[tuple[bytes, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> dict[str, Span]:
        return {
            span.name: span
            for request in self.traces
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        }

    def services(self) -> set[str]:
        return {
            item.value.string_value
            for request in self.traces
            for group in request.resource_spans
            for item in group.resource.attributes
            if item.key == "service.name"
        }


class _Door(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        encoding = self.headers.get("Content-Encoding")
        self.server.raw.append((body, self.headers["Content-Type"], encoding))
        plain = gzip.decompress(body) if encoding == "gzip" else body
        if self.path == "/v1/traces":
            self.server.traces.append(ExportTraceServiceRequest.FromString(plain))
        elif self.path == "/v1/metrics":
            self.server.metrics.append(ExportMetricsServiceRequest.FromString(plain))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for name in (
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_SAMPLER",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ):
        monkeypatch.delenv(name, raising=False)
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def make_spans() -> None:
    """One report: taken, committed, and a departmental call that fails."""
    with telemetry.span("receive hotline", kind="consumer", root=True, matter=CASE, links=(CAUSE,)):
        with telemetry.span("send ledger.case", kind="producer", attributes=telemetry.messaging("send", "send", "ledger.case")):
            pass
        with telemetry.span("POST", kind="client", attributes={telemetry.HTTP_STATUS: 503}) as call:
            call.fail("503")


def test_spans_arrive_at_a_collector_with_parents_links_and_conventions(receiver: Receiver, tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db")
    running = telemetry.setup(Settings(), "hub", store)
    make_spans()
    running.close()

    spans = receiver.spans()
    assert set(spans) == {"receive hotline", "send ledger.case", "POST"}
    root, commit, call = spans["receive hotline"], spans["send ledger.case"], spans["POST"]
    assert root.parent_span_id == b""
    assert commit.parent_span_id == call.parent_span_id == root.span_id
    assert root.trace_id == commit.trace_id == call.trace_id
    assert (root.links[0].trace_id.hex(), root.links[0].span_id.hex()) == ("c" * 32, "d" * 16)
    assert (root.kind, commit.kind, call.kind) == (Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CLIENT)
    assert call.status.code == call.status.STATUS_CODE_ERROR
    assert commit.status.code == commit.status.STATUS_CODE_UNSET
    assert root.start_time_unix_nano <= commit.start_time_unix_nano <= commit.end_time_unix_nano <= root.end_time_unix_nano
    attributes = {item.key: item.value for item in commit.attributes}
    assert attributes["messaging.system"].string_value == "nats"
    assert {
        next(i.value.string_value for i in span.attributes if i.key == telemetry.CONVERSATION) for span in spans.values()
    } == {CASE}
    assert receiver.services() == {"hub"}

    kept = store.of_matter(CASE)
    store.close()
    assert {(record.trace, record.span) for record in kept} == {
        (span.trace_id.hex(), span.span_id.hex()) for span in spans.values()
    }


def test_the_service_name_variable_and_the_traces_endpoint_are_honoured(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "qixia-hub")
    running = telemetry.setup(Settings(), "hub", None)
    make_spans()
    running.close()
    assert receiver.services() == {"qixia-hub"}
    assert {encoding for _, _, encoding in receiver.raw} == {"gzip"}


def test_what_one_hub_exports_another_store_takes(receiver: Receiver, tmp_path: Path) -> None:
    running = telemetry.setup(Settings(), "police-simulator", None)
    make_spans()
    running.close()
    store = SpanStore(tmp_path / "spans.db")
    taken = sum(store.ingest_otlp(body, kind, content_encoding=encoding) for body, kind, encoding in receiver.raw)
    records = store.of_matter(CASE)
    store.close()
    assert taken == len(records) == 3
    assert {record.service for record in records} == {"police-simulator"}
    assert next(record for record in records if record.name == "POST").error == "503"


def test_a_collector_that_is_away_costs_no_span_of_the_embedded_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    closed = Receiver()
    closed.server_close()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", closed.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    store = SpanStore(tmp_path / "spans.db")
    running = telemetry.setup(Settings(), "hub", store)
    make_spans()
    assert len(store.of_matter(CASE)) == 3
    running.close()
    store.close()


def test_metrics_arrive_too(receiver: Receiver) -> None:
    metrics = Metrics()
    metrics.sent("ledger.case", 0.004)
    metrics.close()
    names = {
        m.name
        for request in receiver.metrics
        for group in request.resource_metrics
        for scope in group.scope_metrics
        for m in scope.metrics
    }
    assert SENT in names
