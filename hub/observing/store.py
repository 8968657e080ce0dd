"""The embedded span store: one SQLite file, written in batches by its own thread, read by matter.

Owns the file `spans.db` and nothing else; losing it loses no matter. Never slows the hub down: `add` does not block, and when the writer
can't keep up the newest spans are dropped and counted. Called by `hub.observing.telemetry` (writes), by the API (OTLP from the simulators;
a matter's trace) and by the composition root.

The writer binds a few hundred rows to one multi-row INSERT: SQLite then works for the whole batch without the interpreter lock. One
statement a row would take the lock back after each, up to 5 ms every time the event loop is busy.
"""

from __future__ import annotations

import gzip
import io
import sqlite3
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from hub.errors import HubError, InvalidInput
from hub.observing.telemetry import CONVERSATION, ERROR_TYPE, Row, Value

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

_VERSION: Final = 1
_COLUMNS: Final = (
    "trace",
    "span",
    "parent",
    "name",
    "kind",
    "started",
    "ended",
    "matter",
    "links",
    "error",
    "attributes",
    "service",
)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS span (
    trace TEXT NOT NULL, span TEXT NOT NULL, parent TEXT, name TEXT NOT NULL, kind TEXT NOT NULL,
    started INTEGER NOT NULL, ended INTEGER NOT NULL, matter TEXT, links TEXT, error TEXT, attributes TEXT,
    service TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS span_of_matter ON span (matter) WHERE matter IS NOT NULL;
CREATE INDEX IF NOT EXISTS span_of_trace ON span (trace) WHERE matter IS NULL;
"""
_CHUNK: Final = 256
_OTLP_TYPE: Final = "application/x-protobuf"
_KIND_WORDS: Final = ("internal", "internal", "server", "client", "producer", "consumer")
_ENCODER: Final = msgspec.json.Encoder()
_log = structlog.get_logger("hub.spans")


class SpanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One span as stored. Ids are hex; times are nanoseconds since 1970 (UTC); `error` is the error type of a failed span."""

    trace: str
    span: str
    parent: str | None
    name: str
    kind: str
    started: int
    ended: int
    matter: str | None
    links: tuple[str, ...]
    error: str | None
    attributes: dict[str, Value]
    service: str

    @property
    def duration(self) -> timedelta:
        """How long it took."""
        return timedelta(microseconds=(self.ended - self.started) / 1000)


class SpanStoreClosed(HubError):
    """The store was used after `close`."""

    code = "span_store_closed"


class SpanStore:
    """Keeps spans in `path`. `service` is the name of the spans that come from this process.

    At most `queue` spans wait for the writer. `keep` and `max_bytes` limit age and size; beyond them the oldest go. `now` gives nanoseconds
    since 1970.
    """

    def __init__(
        self,
        path: Path,
        *,
        service: str = "hub",
        queue: int = 50_000,
        keep: timedelta = timedelta(days=14),
        max_bytes: int = 1024**3,
        every: float = 0.25,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = path
        self.service = service
        self.dropped = 0
        """Spans dropped since the start because the writer could not keep up or the disk refused."""
        self._queue: deque[Row | tuple[Row, str] | threading.Event] = deque()
        self._limit = queue
        self._keep = keep
        self._max_bytes = max_bytes
        self._every = every
        self._now = now
        self._wake = threading.Event()
        self._closing = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = self._open()
        self._thread = threading.Thread(target=self._write, name="spans", daemon=True)
        self._thread.start()

    def add(self, row: Row) -> None:
        """Take one ended span of this process; never blocks, drops (and counts) when the queue is full."""
        if len(self._queue) >= self._limit or self._closing:
            self.dropped += 1
            return
        self._queue.append(row)

    def flush(self, within: float = 10.0) -> None:
        """Wait until everything added so far can be read. Blocks: call it from a thread, not from the loop.

        Raises SpanStoreClosed; TimeoutError after `within` seconds.
        """
        if self._closing:
            raise SpanStoreClosed("the span store is closed", subject=str(self.path))
        mark = threading.Event()
        self._queue.append(mark)
        self._wake.set()
        if not mark.wait(within):
            raise TimeoutError(f"spans were not written within {within} s")

    def close(self) -> None:
        """Write what waits and close the file. Calling it again does nothing."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        self._thread.join()
        while self._queue:  # a flush that came too late for the writer need not wait
            item = self._queue.popleft()
            if isinstance(item, threading.Event):
                item.set()

    def of_matter(self, matter: str) -> list[SpanRecord]:
        """All spans of a matter by start: those that carry it, and those without any matter in the same traces.

        Blocks for some milliseconds (writes what waits first): call it from a thread.
        """
        if not self._closing:
            self.flush()
        columns = ", ".join(_COLUMNS)
        with closing(sqlite3.connect(self.path, timeout=5)) as database:
            own = database.execute(f"SELECT {columns} FROM span WHERE matter = ?", (matter,)).fetchall()  # noqa: S608
            rows = {(row[0], row[1]): row for row in own}
            for trace in {row[0] for row in own}:
                shared = database.execute(
                    f"SELECT {columns} FROM span WHERE trace = ? AND matter IS NULL",  # noqa: S608 - constants
                    (trace,),
                )
                rows.update({(row[0], row[1]): row for row in shared})
        return sorted(map(_record, rows.values()), key=lambda record: (record.started, record.ended))

    def ingest_otlp(
        self,
        body: bytes,
        content_type: str = _OTLP_TYPE,
        *,
        content_encoding: str | None = None,
        max_bytes: int = 16 * 1024**2,
    ) -> int:
        """Take an OTLP/HTTP trace export (protobuf, gzip or plain) and return how many spans it held.

        Raises InvalidInput for another content type, an unreadable body or one above `max_bytes` unpacked.
        """
        if content_type.partition(";")[0].strip().lower() != _OTLP_TYPE:
            raise InvalidInput(f"OTLP is taken as {_OTLP_TYPE}", subject="Content-Type")
        records = list(_read_otlp(_unpacked(body, content_encoding, max_bytes)))
        for record in records:
            if len(self._queue) >= self._limit or self._closing:
                self.dropped += 1
            else:
                self._queue.append(record)
        return len(records)

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute("PRAGMA cache_size=-16000")
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, _VERSION):  # spans are not worth a migration
            database.execute("DROP TABLE IF EXISTS span")
        database.executescript(_SCHEMA)
        database.execute(f"PRAGMA user_version={_VERSION}")
        return database

    def _write(self) -> None:
        """The writer thread."""
        trim_at = 0.0
        with closing(self._database) as database:
            while True:
                self._wake.wait(self._every)
                self._wake.clear()
                last = self._closing
                self._drain(database)
                if time.monotonic() >= trim_at:
                    self._trim(database)
                    trim_at = time.monotonic() + 60
                if last:
                    return

    def _drain(self, database: sqlite3.Connection) -> None:
        """Write everything that waits; a mark is set once all before it is committed."""
        while self._queue:
            rows: list[Row | tuple[Row, str]] = []
            mark: threading.Event | None = None
            while self._queue and len(rows) < _CHUNK * 8:
                item = self._queue.popleft()
                if isinstance(item, threading.Event):
                    mark = item
                    break
                rows.append(item)
            if rows:
                self._store(database, self._encoded(rows))
            if mark is not None:
                mark.set()

    def _encoded(self, rows: Iterable[Row | tuple[Row, str]]) -> list[tuple[object, ...]]:
        values: list[tuple[object, ...]] = []
        for item in rows:
            row, service = (item[0], item[1]) if len(item) == 2 else (item, self.service)
            attributes = row[10]
            values.append(
                (
                    *row[:8],
                    " ".join(row[8]) or None,
                    row[9],
                    _json(attributes) if attributes else None,
                    service,
                )
            )
        return values

    def _store(self, database: sqlite3.Connection, rows: list[tuple[object, ...]]) -> None:
        """Insert rows. A full disk or a locked file costs these rows, a row SQLite can't take costs that row. The hub goes on."""
        try:
            _insert(database, rows)
        except (sqlite3.Error, ValueError, OverflowError) as error:
            if database.in_transaction:
                database.rollback()
            if len(rows) > 1 and not isinstance(error, sqlite3.Error):
                for row in rows:
                    self._store(database, [row])
                return
            self.dropped += len(rows)
            _log.warning("spans_not_written", error=str(error), spans=len(rows), path=str(self.path))

    def _trim(self, database: sqlite3.Connection) -> None:
        """Drop the oldest spans beyond the limits of age and size, a few thousand at a time."""
        cutoff = self._now() - int(self._keep.total_seconds() * 1_000_000_000)
        try:
            while self._oldest_ended(database, cutoff) or self._too_large(database):
                gone = database.execute("DELETE FROM span WHERE rowid IN (SELECT rowid FROM span ORDER BY rowid LIMIT 5000)")
                if gone.rowcount == 0:
                    return
        except sqlite3.Error as error:
            _log.warning("spans_not_trimmed", error=str(error), path=str(self.path))

    @staticmethod
    def _oldest_ended(database: sqlite3.Connection, cutoff: int) -> bool:
        """Whether the oldest few thousand rows (in order of arrival) all ended before `cutoff`."""
        newest = database.execute(
            "SELECT max(ended) FROM (SELECT ended FROM span ORDER BY rowid LIMIT 5000)",
        ).fetchone()[0]
        return newest is not None and newest < cutoff

    def _too_large(self, database: sqlite3.Connection) -> bool:
        used, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((used - free) * size) > self._max_bytes


def _insert(database: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """One transaction; see the module's docstring for why rows go in by the hundred."""
    database.execute("BEGIN IMMEDIATE")
    start = 0
    for size in (_CHUNK, 16, 1):
        while len(rows) - start >= size:
            values = [value for row in rows[start : start + size] for value in row]
            database.execute(_insert_statement(size), values)
            start += size
    database.execute("COMMIT")


def _insert_statement(rows: int) -> str:
    one = f"({', '.join('?' * len(_COLUMNS))})"
    return f"INSERT INTO span ({', '.join(_COLUMNS)}) VALUES {', '.join([one] * rows)}"  # noqa: S608 - constants only


def _json(attributes: dict[str, Value]) -> str:
    try:
        return _ENCODER.encode(attributes).decode()
    except (TypeError, ValueError, OverflowError):  # a caller's odd value costs its form, not the span
        return _ENCODER.encode({str(key): ascii(value) for key, value in attributes.items()}).decode()


def _record(row: Sequence[object]) -> SpanRecord:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["links"] = str(values["links"]).split() if values["links"] else ()
    attributes = msgspec.json.decode(str(values["attributes"])) if values["attributes"] else {}
    values["attributes"] = {key: value for key, value in attributes.items() if value is not None}  # NaN is stored as null
    return msgspec.convert(values, SpanRecord)


def _unpacked(body: bytes, encoding: str | None, limit: int) -> bytes:
    match (encoding or "identity").strip().lower():
        case "identity":
            plain = body
        case "gzip":
            try:
                with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
                    plain = packed.read(limit + 1)
            except (OSError, EOFError, zlib.error) as error:
                raise InvalidInput("the body is not gzip", subject="Content-Encoding") from error
        case other:
            raise InvalidInput(f"encoding {other[:40]!r} is not taken (gzip or none)", subject="Content-Encoding")
    if len(plain) > limit:
        raise InvalidInput(f"the export is larger than {limit} bytes", subject="body")
    return plain


def _read_otlp(body: bytes) -> Iterable[tuple[Row, str]]:
    # Imported only here: most hubs never get an export.
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise InvalidInput("the body is not an OTLP trace export", subject="body") from error
    for group in request.resource_spans:
        service = next((item.value.string_value for item in group.resource.attributes if item.key == "service.name"), "unknown")
        for scope in group.scope_spans:
            for span in scope.spans:
                if len(span.trace_id) == 16 and len(span.span_id) == 8:
                    yield _otlp_row(span), service[:200]


def _otlp_row(span: OtlpSpan) -> Row:
    """A span as told by another process; long texts and many attributes are cut, times beyond SQLite's range too."""
    attributes = {item.key[:200]: _plain(item.value) for item in list(span.attributes)[:64]}
    matter = attributes.get(CONVERSATION)
    failed = span.status.code == span.status.STATUS_CODE_ERROR
    return (
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex() if len(span.parent_span_id) == 8 else None,
        span.name[:200],
        _KIND_WORDS[span.kind] if 0 <= span.kind < len(_KIND_WORDS) else "internal",
        min(span.start_time_unix_nano, 2**63 - 1),
        min(span.end_time_unix_nano, 2**63 - 1),
        None if matter is None else str(matter),
        tuple(
            f"00-{link.trace_id.hex()}-{link.span_id.hex()}-01"
            for link in list(span.links)[:32]
            if len(link.trace_id) == 16 and len(link.span_id) == 8
        ),
        str(attributes.get(ERROR_TYPE, "error")) if failed else None,
        attributes,
    )


def _plain(value: AnyValue) -> Value:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value[:1000]
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case _:
            return str(value)[:1000]
