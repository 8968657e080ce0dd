"""The embedded span store."""

from __future__ import annotations

import gzip
import sqlite3
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hub.errors import InvalidInput
from hub.observing.store import SpanStore, SpanStoreClosed
from hub.observing.telemetry import CONVERSATION, Row

CASE = "320113001001001-0123456789"
OTHER = "320113001001001-9876543210"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SpanStore]:
    made = SpanStore(tmp_path / "spans.db", now=lambda: 0)
    yield made
    made.close()


def row(span: str, *, trace: str = "a", parent: str | None = None, matter: str | None = CASE, at: int = 1000) -> Row:
    return (trace * 32, span * 16, parent and parent * 16, f"step {span}", "internal", at, at + 5_000_000, matter, (), None, {})


def test_spans_of_a_case_come_back_with_everything_that_was_on_them(store: SpanStore) -> None:
    link = f"00-{'c' * 32}-{'d' * 16}-01"
    values = {"hub.attempt": 2, "hub.retry": True, "text": "燃气泄漏", CONVERSATION: CASE}
    store.add(
        ("a" * 32, "b" * 16, None, "process dispatch.police", "consumer", 10, 2_000_010, CASE, (link,), "unavailable", values)
    )
    (record,) = store.of_matter(CASE)
    assert record.links == (link,)
    assert record.attributes == values
    assert (record.error, record.kind, record.service, record.matter) == ("unavailable", "consumer", "hub", CASE)
    assert record.duration == timedelta(milliseconds=2)


def test_spans_without_a_case_come_along_when_they_share_a_trace(store: SpanStore) -> None:
    store.add(row("1", at=1))
    store.add(row("2", parent="1", matter=None, at=2))
    store.add(row("3", trace="b", matter=None, at=3))
    store.add(row("4", matter=OTHER, at=4))
    assert [record.name for record in store.of_matter(CASE)] == ["step 1", "step 2"]


def test_many_spans_are_all_written_and_ordered_by_start(store: SpanStore) -> None:
    for number in range(3000, 0, -1):
        store.add(("a" * 32, f"{number:016x}", None, "x", "internal", number, number + 1, CASE, (), None, {"n": number}))
    records = store.of_matter(CASE)
    assert [record.attributes["n"] for record in records] == list(range(1, 3001))
    assert store.dropped == 0


def test_a_full_queue_drops_and_counts_instead_of_blocking(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db", queue=10, every=60, now=lambda: 0)
    for _ in range(25):
        store.add(row("1"))
    assert store.dropped == 15
    store.close()


def test_spans_survive_a_restart(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db", every=60, now=lambda: 0)
    store.add(row("1"))
    store.close()
    again = SpanStore(tmp_path / "spans.db", now=lambda: 0)
    assert len(again.of_matter(CASE)) == 1
    again.close()


def test_a_file_of_another_version_is_started_anew(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "spans.db") as database:
        database.execute("CREATE TABLE span (other TEXT)")
        database.execute("PRAGMA user_version=99")
    database.close()
    store = SpanStore(tmp_path / "spans.db", now=lambda: 0)
    store.add(row("1"))
    assert len(store.of_matter(CASE)) == 1
    store.close()


def test_spans_beyond_the_age_are_trimmed(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db", now=lambda: 0)
    store.add(row("1"))
    store.close()
    late = SpanStore(tmp_path / "spans.db", keep=timedelta(days=1), now=lambda: int(timedelta(days=2).total_seconds() * 1e9))
    late.flush()
    late.close()  # the first round of the writer has trimmed
    assert late.of_matter(CASE) == []


def test_a_file_that_grew_too_large_loses_its_oldest_spans(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db", now=lambda: 0)
    for number in range(12_000):
        store.add(("a" * 32, f"{number:016x}", None, "x", "internal", number, 2**62, CASE, (), None, {"pad": "x" * 200}))
    store.close()
    small = SpanStore(tmp_path / "spans.db", now=lambda: 0, max_bytes=2 * 1024**2)
    small.close()
    left = small.of_matter(CASE)
    assert 0 < len(left) < 12_000
    assert left[-1].started == 11_999


def test_an_odd_attribute_does_not_cost_the_span_nor_the_writer(store: SpanStore) -> None:
    store.add(("a" * 32, "b" * 16, None, "x", "internal", 1, 2, CASE, (), None, {"bad": "\ud800", "nan": float("nan")}))
    store.add(("a" * 32, "c" * 16, None, "\ud800", "internal", 1, 2, CASE, (), None, {}))
    store.flush()
    store.add(row("d"))
    assert {record.span for record in store.of_matter(CASE)} == {"b" * 16, "d" * 16}
    assert store.dropped == 1


def test_a_closed_store_refuses_to_flush_and_counts_what_comes_late(store: SpanStore) -> None:
    store.close()
    store.add(row("1"))
    assert store.dropped == 1
    with pytest.raises(SpanStoreClosed):
        store.flush()


def test_spans_added_from_many_threads_are_all_there(store: SpanStore) -> None:
    threads = [
        threading.Thread(
            target=lambda t=t: [
                store.add((f"{t}" * 32, f"{n:016x}", None, "x", "internal", n, n, CASE, (), None, {})) for n in range(500)
            ]
        )
        for t in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.of_matter(CASE)) == 2000


def otlp(matter: str | None = CASE) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    name = group.resource.attributes.add()
    name.key, name.value.string_value = "service.name", "police-simulator"
    span = group.scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.parent_span_id = b"\xaa" * 16, b"\xbb" * 8, b"\x11" * 8
    span.name, span.kind, span.start_time_unix_nano, span.end_time_unix_nano = "POST /soap", 2, 5, 9
    span.status.code = span.status.STATUS_CODE_ERROR
    if matter:
        attribute = span.attributes.add()
        attribute.key, attribute.value.string_value = CONVERSATION, matter
    attribute = span.attributes.add()
    attribute.key, attribute.value.int_value = "http.response.status_code", 503
    link = span.links.add()
    link.trace_id, link.span_id = b"\xcc" * 16, b"\xdd" * 8
    return request.SerializeToString()


def test_an_otlp_export_is_taken_under_the_senders_service_name(store: SpanStore) -> None:
    assert store.ingest_otlp(otlp(), "application/x-protobuf; charset=binary") == 1
    (record,) = store.of_matter(CASE)
    assert (record.service, record.name, record.kind, record.error) == ("police-simulator", "POST /soap", "server", "error")
    assert record.parent == "11" * 8
    assert record.links == (f"00-{'cc' * 16}-{'dd' * 8}-01",)
    assert record.attributes["http.response.status_code"] == 503


def test_a_foreign_span_without_case_is_found_by_its_trace(store: SpanStore) -> None:
    store.add(("aa" * 16, "11" * 8, None, "POST", "client", 1, 10, CASE, (), None, {}))
    store.ingest_otlp(gzip.compress(otlp(matter=None)), content_encoding="gzip")
    assert [record.service for record in store.of_matter(CASE)] == ["hub", "police-simulator"]


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "subject"),
    [
        (otlp(), "application/json", None, "Content-Type"),
        (b"\xff\xff\xff", "application/x-protobuf", None, "body"),
        (b"not gzip", "application/x-protobuf", "gzip", "Content-Encoding"),
        (gzip.compress(otlp())[:-9], "application/x-protobuf", "gzip", "Content-Encoding"),
        (otlp(), "application/x-protobuf", "br", "Content-Encoding"),
        (gzip.compress(b"\0" * 3_000_000), "application/x-protobuf", "gzip", "body"),
    ],
)
def test_an_export_that_cannot_be_read_is_refused(
    store: SpanStore, body: bytes, content_type: str, encoding: str | None, subject: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        store.ingest_otlp(body, content_type, content_encoding=encoding, max_bytes=1_000_000)
    assert refused.value.subject == subject
