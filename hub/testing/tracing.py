"""A simulator's own spans: they continue the caller's traceparent and go out by OTLP when the standard variables are set.

Without OTEL_EXPORTER_OTLP_ENDPOINT nothing is recorded. Called by the chassis.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_LAST_WORDS = 2.0
"""Seconds the last spans may take; the exporter by itself would retry for ten."""
_PROPAGATOR = TraceContextTextMapPropagator()
CONVERSATION = "messaging.message.conversation_id"
"""The attribute that carries the case id (OpenTelemetry messaging conventions)."""


class SimulatorTracing:
    """Makes a simulator's spans under its own service name."""

    def __init__(self, service: str) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
        self._exporter: SpanExporter | None = None
        if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            exporter = OTLPSpanExporter()
            self._exporter = exporter
            self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
        self._tracer = self._provider.get_tracer("hub.testing")

    @contextmanager
    def span(
        self, name: str, *, kind: SpanKind, parent: str | None = None, links: Sequence[str] = (), case: str | None = None
    ) -> Iterator[Span]:
        """A span as the current one. `parent` and `links` are W3C traceparent strings; an unreadable one is left out."""
        linked = [Link(context) for context in map(_span_context, links) if context is not None]
        root = Context() if parent is None else _PROPAGATOR.extract({"traceparent": parent}, Context())
        with self._tracer.start_as_current_span(
            name, context=root, kind=kind, links=linked, attributes={CONVERSATION: case} if case else None
        ) as span:
            yield span

    def close(self) -> None:
        """Send the rest. Give up on a receiver that is gone after two seconds."""
        impatience = None if self._exporter is None else threading.Timer(_LAST_WORDS, self._exporter.shutdown)
        if impatience is not None:
            impatience.daemon = True
            impatience.start()
        self._provider.shutdown()
        if impatience is not None:
            impatience.cancel()


def current_traceparent() -> str | None:
    """The W3C traceparent of the current span, None outside one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def note_case(case: str) -> None:
    """Put the case id on the current span."""
    trace.get_current_span().set_attribute(CONVERSATION, case)


def failed(span: Span, error_type: str) -> None:
    """Mark a span as failed with the conventions' `error.type`."""
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR))


def _span_context(traceparent: str) -> trace.SpanContext | None:
    context = trace.get_current_span(_PROPAGATOR.extract({"traceparent": traceparent}, Context())).get_span_context()
    return context if context.is_valid else None
