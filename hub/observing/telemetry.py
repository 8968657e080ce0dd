"""Spans of the hub: names, attributes, set-up. Every stage and the departmental HTTP client make their spans here.

Owns the making of spans and their destinations: always the embedded store (`hub.observing.store`), and OTLP when the standard
`OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set. Resource, sampler, batching and export are the OpenTelemetry
SDK's. Only the span object is our own: the SDK's costs 20-33 µs before anything is stored, and a matter makes about 25. Refuses nothing:
telemetry never makes a matter fail.

The one piece of module state is the tracer: `setup` installs it, `Telemetry.close` removes it. Before and after, every call is a cheap
no-op that still passes a given traceparent on. The current span is a context variable: a task started inside a span inherits it;
`root=True` starts a new trace all the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from random import getrandbits
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Protocol

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_RESOURCE_ATTRIBUTES,
    OTEL_SDK_DISABLED,
    OTEL_SERVICE_NAME,
)
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, DEFAULT_ON, Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

if TYPE_CHECKING:
    from hub.settings import Settings

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | bool | int | float

# Attribute names: OpenTelemetry's semantic conventions for messaging, HTTP and errors.
MESSAGING_SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
DESTINATION_TEMPLATE: Final = "messaging.destination.template"
SUBSCRIPTION: Final = "messaging.destination.subscription.name"
MESSAGE_ID: Final = "messaging.message.id"
CONVERSATION: Final = "messaging.message.conversation_id"
"""Carries the matter id."""
ERROR_TYPE: Final = "error.type"
HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
URL: Final = "url.full"
# The hub's own.
LEVEL: Final = "hub.level"
"""grid, community, street or district: where the step happened."""
DEPARTMENT: Final = "hub.department"
ADAPTER: Final = "hub.adapter"
ATTEMPT: Final = "hub.attempt"
ACTOR: Final = "hub.actor"
COMMAND: Final = "hub.command"
COMMIT: Final = "hub.commit"
EFFECT: Final = "hub.effect"
FEEDBACK: Final = "hub.feedback"
RETRY: Final = "hub.retry"
"""True on a span that repeats an earlier one."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_SAMPLED = frozenset("13579bdf")
_OK = Status(StatusCode.UNSET)
_SCOPE = InstrumentationScope("hub")
_KINDS: Mapping[str, SpanKind] = {kind.name.lower(): kind for kind in SpanKind}

Row = tuple[str, str, str | None, str, str, int, int, str | None, tuple[str, ...], str | None, dict[str, Value]]
"""An ended span for the store: trace, span, parent (hex), name, kind, start and end (ns since 1970), matter, links
(traceparents), error type, attributes."""


class SpanSink(Protocol):
    """Where ended spans go; `hub.observing.store.SpanStore` is the embedded one."""

    def add(self, row: Row) -> None:
        """Take one ended span; must not block."""


class ActiveSpan(Protocol):
    """What `with span(...) as s` gives."""

    @property
    def traceparent(self) -> str | None:
        """W3C traceparent to pass on; None only when tracing is off and none came in."""

    def set(self, key: str, value: Value) -> None:
        """Put an attribute on the span; ignored once it has ended."""

    def fail(self, error_type: str) -> None:
        """Mark the span as failed with a stable, low-cardinality word (an error's `code`, an HTTP status)."""

    def __enter__(self) -> ActiveSpan:
        """Start the span and make it the current one."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """End it; an exception that passes marks it as failed."""


def valid_traceparent(text: str | None) -> str | None:
    """Give `text` back when it is a W3C traceparent (headers from outside), else None."""
    return text if text and _TRACEPARENT.fullmatch(text) else None


def error_type_of(error: BaseException) -> str:
    """The word for `error.type`: a hub error's `code`, else the class's name. Never the message: it may hold personal data."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else type(error).__name__


class _Passing:
    """Stands for a span while tracing is off: passes the parent's traceparent on."""

    __slots__ = ("_before", "matter", "traceparent")

    def __init__(self, traceparent: str | None, matter: str | None) -> None:
        self.traceparent = traceparent
        self.matter = matter
        self._before: _Passing | _Span | None = None

    def set(self, key: str, value: Value) -> None:
        """Nothing is recorded."""

    def fail(self, error_type: str) -> None:
        """Nothing is recorded."""

    def __enter__(self) -> _Passing:
        self._before = _current.get()
        _current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        _current.set(self._before)


class _Span:
    """One recorded span."""

    __slots__ = (
        "_before",
        "_ended",
        "_tracer",
        "attributes",
        "error",
        "kind",
        "links",
        "matter",
        "name",
        "parent",
        "span",
        "start",
        "trace",
        "traceparent",
    )

    def __init__(
        self,
        tracer: _Tracer,
        name: str,
        kind: str,
        trace: str,
        parent: str | None,
        links: tuple[str, ...],
        matter: str | None,
        attributes: dict[str, Value],
    ) -> None:
        span = _span_id()
        self._tracer = tracer
        self.name = name
        self.kind = kind
        self.trace = trace
        self.span = span
        self.parent = parent
        self.links = links
        self.matter = matter
        self.attributes = attributes
        self.traceparent: str | None = f"00-{trace}-{span}-01"
        self.error: str | None = None
        self._ended = False
        self._before: _Passing | _Span | None = None
        self.start = time_ns()

    def set(self, key: str, value: Value) -> None:
        """Put an attribute on the span; the conversation id also files it under the matter. Ignored once it has ended."""
        if not self._ended:
            self.attributes[key] = value
            if key == CONVERSATION:
                self.matter = str(value)

    def fail(self, error_type: str) -> None:
        """Mark the span as failed."""
        if not self._ended:
            self.error = error_type
            self.attributes[ERROR_TYPE] = error_type

    def __enter__(self) -> _Span:
        self._before = _current.get()
        _current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None and self.error is None:
            self.fail(error_type_of(error))
        # Not a token's reset: an async generator may be closed in another context than it was started in.
        _current.set(self._before)
        self._ended = True
        self._tracer.end(self, time_ns())


_current: ContextVar[_Span | _Passing | None] = ContextVar("hub_span", default=None)


class _Tracer:
    """Starts spans by the SDK's sampler and hands ended ones to the store and to the SDK's export pipeline."""

    __slots__ = ("_exporting", "_provider", "_sampler", "_store")

    def __init__(self, provider: TracerProvider, store: SpanSink | None, exporting: SpanProcessor | None) -> None:
        self._provider = provider
        self._store = store
        self._exporting = exporting
        # The default (sampled unless the caller's trace is not) needs no call of the sampler.
        self._sampler = None if provider.sampler is DEFAULT_ON else provider.sampler

    def start(
        self,
        name: str,
        kind: str,
        incoming: str | None,
        links: tuple[str, ...],
        matter: str | None,
        attributes: dict[str, Value],
    ) -> _Span | _Passing:
        """A started span, or one that only passes the context on when it is not sampled."""
        if incoming is None:
            trace, parent, sampled = f"{getrandbits(128):032x}", None, True
        else:
            trace, parent, sampled = incoming[3:35], incoming[36:52], incoming[54] in _SAMPLED
        if self._sampler is not None:
            around = None if incoming is None else set_span_in_context(NonRecordingSpan(_context(incoming, remote=True)))
            links_given = [Link(_context(link, remote=True)) for link in links]
            result = self._sampler.should_sample(around, int(trace, 16), name, _KINDS[kind], attributes, links_given)
            sampled = result.decision is Decision.RECORD_AND_SAMPLE
        if not sampled:
            return _Passing(f"00-{trace}-{parent or _span_id()}-00", matter)
        return _Span(self, name, kind, trace, parent, links, matter, attributes)

    def shown_to(self, sink: SpanSink) -> _Tracer:
        """The same with one more place for spans, and without sampling."""
        tracer = _Tracer(self._provider, sink if self._store is None else _Both(self._store, sink), self._exporting)
        tracer._sampler = None
        return tracer

    def end(self, span: _Span, at: int) -> None:
        """Hand an ended span over."""
        if self._store is not None:
            self._store.add(
                (
                    span.trace,
                    span.span,
                    span.parent,
                    span.name,
                    span.kind,
                    span.start,
                    at,
                    span.matter,
                    span.links,
                    span.error,
                    span.attributes,
                )
            )
        if self._exporting is not None:
            self._exporting.on_end(self._readable(span, at))

    def _readable(self, span: _Span, at: int) -> ReadableSpan:
        parent = span.parent
        return ReadableSpan(
            span.name,
            context=_context(f"00-{span.trace}-{span.span}-01", remote=False),
            parent=None if parent is None else _context(f"00-{span.trace}-{parent}-01", remote=True),
            resource=self._provider.resource,
            attributes=span.attributes,
            links=[Link(_context(link, remote=True)) for link in span.links],
            kind=_KINDS[span.kind],
            status=_OK if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=span.start,
            end_time=at,
            instrumentation_scope=_SCOPE,
        )


_tracer: _Tracer | None = None
_watching: ContextVar[_Tracer | None] = ContextVar("hub_watching", default=None)


def span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    links: Sequence[str | None] = (),
    matter: str | None = None,
    attributes: Mapping[str, Value] | None = None,
    root: bool = False,
) -> ActiveSpan:
    """A span as a context manager. It starts here and is the current one inside the `with`.

    `parent` and `links` are W3C traceparents; unreadable or missing ones are left out. Without `parent` it is a child of the current span;
    with `root` it starts a new trace (one outside stimulus is one trace). `matter` goes into the conversation id. Without it the span takes
    the current span's matter, unless it is a new root.
    """
    around = None if root else _current.get()
    incoming = around.traceparent if parent is None and around is not None else valid_traceparent(parent)
    if matter is None and around is not None:
        matter = around.matter
    tracer = _watching.get() or _tracer
    if tracer is None:
        return _Passing(incoming, matter)
    values: dict[str, Value] = dict(attributes) if attributes else {}
    if matter is not None:
        values[CONVERSATION] = matter
    linked = tuple(link for link in links if link is not None and _TRACEPARENT.fullmatch(link)) if links else ()
    return tracer.start(name, kind, incoming, linked, matter, values)


def traceparent() -> str | None:
    """The W3C traceparent of the current span (or of what came in, while tracing is off); None outside one."""
    around = _current.get()
    return None if around is None else around.traceparent


def current() -> ActiveSpan | None:
    """The current span, to set an attribute on from deeper down; None outside one."""
    return _current.get()


def messaging(
    operation: str,
    type: Literal["create", "send", "receive", "process", "settle"],
    destination: str,
    *,
    template: str | None = None,
    subscription: str | None = None,
    message_id: str | None = None,
) -> dict[str, Value]:
    """The attributes every messaging span has. `template` is the destination with its variable parts left as `<matter>`."""
    values: dict[str, Value] = {
        MESSAGING_SYSTEM: "nats",
        OPERATION_NAME: operation,
        OPERATION_TYPE: type,
        DESTINATION: destination,
    }
    if template is not None:
        values[DESTINATION_TEMPLATE] = template
    if subscription is not None:
        values[SUBSCRIPTION] = subscription
    if message_id is not None:
        values[MESSAGE_ID] = message_id
    return values


@contextmanager
def watching(sink: SpanSink) -> Iterator[None]:
    """Spans made inside, and in tasks started inside, also go to `sink`: all of them, sampled or not, with tracing on or off."""
    off = _Tracer(TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False), None, None)
    before = _watching.get()
    _watching.set((_tracer or off).shown_to(sink))
    try:
        yield
    finally:
        _watching.set(before)


class _Both:
    """Two places for spans."""

    def __init__(self, one: SpanSink, other: SpanSink) -> None:
        self._one = one
        self._other = other

    def add(self, row: Row) -> None:
        """Take one ended span."""
        self._one.add(row)
        self._other.add(row)


class Telemetry:
    """The running telemetry of `setup`. `close` sends the rest and makes every call a no-op again."""

    def __init__(self, provider: TracerProvider | None, tracer: _Tracer | None) -> None:
        self.provider = provider
        """The SDK's provider (None while tracing is off), for a plugin that wants its own OpenTelemetry tracer."""
        self._tracer = tracer

    def close(self) -> None:
        """Stop making spans and export the rest (waits for the exporter's own time-out at most). The store is its owner's."""
        global _tracer
        if _tracer is self._tracer:
            _tracer = None
        if self.provider is not None:
            self.provider.shutdown()
            self.provider = None


class _StoreProcessor(SpanProcessor):
    """Brings spans made by the OpenTelemetry API (a plugin's own) into the embedded store."""

    def __init__(self, store: SpanSink) -> None:
        self._store = store

    def on_end(self, span: ReadableSpan) -> None:
        """Take one ended span."""
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            return
        values: dict[str, Value] = {
            key: value if isinstance(value, str | bool | int | float) else str(value)
            for key, value in (span.attributes or {}).items()
        }
        matter = values.get(CONVERSATION)
        error = str(values.get(ERROR_TYPE, "error")) if span.status.status_code is StatusCode.ERROR else None
        self._store.add(
            (
                f"{context.trace_id:032x}",
                f"{context.span_id:016x}",
                None if span.parent is None else f"{span.parent.span_id:016x}",
                span.name,
                span.kind.name.lower(),
                span.start_time or 0,
                span.end_time or 0,
                None if matter is None else str(matter),
                tuple(f"00-{link.context.trace_id:032x}-{link.context.span_id:016x}-01" for link in span.links),
                error,
                values,
            )
        )


def setup(settings: Settings, service: str, store: SpanSink | None) -> Telemetry:
    """Start making spans under the service name (`OTEL_SERVICE_NAME` goes first).

    They land in `store` (if given) and by OTLP over HTTP where the standard variables say. `OTEL_SDK_DISABLED=true` or
    `settings.tracing` false: nothing is made. A second call before `close` replaces the first's tracer.
    """
    global _tracer
    if not settings.tracing or os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":
        return Telemetry(None, None)
    named = OTEL_SERVICE_NAME in os.environ or f"{SERVICE_NAME}=" in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, "")
    provider = TracerProvider(resource=Resource.create({} if named else {SERVICE_NAME: service}), shutdown_on_exit=False)
    if store is not None:
        provider.add_span_processor(_StoreProcessor(store))
    exporting: SpanProcessor | None = None
    if os.environ.get(OTEL_EXPORTER_OTLP_ENDPOINT) or os.environ.get(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT):
        # Imported only here: protobuf and requests cost 60 ms and 15 MB a hub without a collector does not need.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporting = BatchSpanProcessor(OTLPSpanExporter())
        provider.add_span_processor(exporting)
    _tracer = _Tracer(provider, store, exporting)
    return Telemetry(provider, _tracer)


def _span_id() -> str:
    return f"{getrandbits(64):016x}"


def _context(traceparent: str, *, remote: bool) -> SpanContext:
    return SpanContext(
        int(traceparent[3:35], 16), int(traceparent[36:52], 16), remote, TraceFlags(int(traceparent[53:55], 16) & 1)
    )
