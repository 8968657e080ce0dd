"""Metrics of the hub by the OpenTelemetry metrics API: durations and counts, never a case id in a label.

Owns the instruments' names (semantic conventions for messaging) and the OTLP export when the standard variables are set. Without a provider
every call is a cheap no-op. Called by dispatch, linkage, desk and the composition root.
"""

from __future__ import annotations

import os
from typing import Final

from opentelemetry import metrics
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT,
    OTEL_SDK_DISABLED,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from hub.observing.telemetry import DESTINATION_TEMPLATE, ERROR_TYPE, MESSAGING_SYSTEM, OPERATION_NAME

OPERATION_DURATION: Final = "messaging.client.operation.duration"
PROCESS_DURATION: Final = "messaging.process.duration"
SENT: Final = "messaging.client.sent.messages"
CONSUMED: Final = "messaging.client.consumed.messages"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The hub's instruments. `reader` is for tests; without it OTLP is used where the standard variables say."""

    def __init__(self, service: str = "hub", *, reader: MetricReader | None = None) -> None:
        self._provider = _provider(service, reader)
        meter = (self._provider or metrics.NoOpMeterProvider()).get_meter("hub")
        buckets = list(_SECONDS)
        self._operation = meter.create_histogram(
            OPERATION_DURATION, unit="s", description="Sending or receiving", explicit_bucket_boundaries_advisory=buckets
        )
        self._process = meter.create_histogram(
            PROCESS_DURATION, unit="s", description="Working on a message", explicit_bucket_boundaries_advisory=buckets
        )
        self._sent = meter.create_counter(SENT, unit="{message}", description="Messages sent")
        self._consumed = meter.create_counter(CONSUMED, unit="{message}", description="Messages taken")

    def sent(self, destination: str, seconds: float, *, operation: str = "send", error: str | None = None) -> None:
        """One message was sent (or failed to be). `destination` is a template (`dispatch.parks`), never with a case id."""
        if self._provider is not None:
            labels = _labels(destination, operation, error)
            self._operation.record(seconds, labels)
            self._sent.add(1, labels)

    def processed(self, destination: str, seconds: float, *, operation: str = "process", error: str | None = None) -> None:
        """One message was worked on for so many seconds."""
        if self._provider is not None:
            labels = _labels(destination, operation, error)
            self._process.record(seconds, labels)
            self._consumed.add(1, labels)

    def close(self) -> None:
        """Export the rest and stop."""
        if self._provider is not None:
            self._provider.shutdown()
            self._provider = None


def _labels(destination: str, operation: str, error: str | None) -> dict[str, str]:
    labels = {MESSAGING_SYSTEM: "nats", DESTINATION_TEMPLATE: destination, OPERATION_NAME: operation}
    if error is not None:
        labels[ERROR_TYPE] = error
    return labels


def _provider(service: str, reader: MetricReader | None) -> MeterProvider | None:
    if os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":
        return None
    if reader is None:
        if not (os.environ.get(OTEL_EXPORTER_OTLP_ENDPOINT) or os.environ.get(OTEL_EXPORTER_OTLP_METRICS_ENDPOINT)):
            return None
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    named = "OTEL_SERVICE_NAME" in os.environ
    resource = Resource.create({} if named else {SERVICE_NAME: service})
    return MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
