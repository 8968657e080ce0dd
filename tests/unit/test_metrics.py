"""The hub's instruments."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from hub.observing.metrics import CONSUMED, OPERATION_DURATION, PROCESS_DURATION, SENT, Metrics


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def test_durations_and_counts_carry_the_destination_and_the_error_and_no_case() -> None:
    reader = InMemoryMetricReader()
    metrics = Metrics(reader=reader)
    metrics.sent("ledger.case", 0.002)
    metrics.processed("dispatch.police", 0.2, error="unavailable")
    data = reader.get_metrics_data()
    assert data is not None
    found = {m.name: m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    assert set(found) == {OPERATION_DURATION, PROCESS_DURATION, SENT, CONSUMED}
    (point,) = found[PROCESS_DURATION].data.data_points
    assert point.attributes == {
        "messaging.system": "nats",
        "messaging.destination.template": "dispatch.police",
        "messaging.operation.name": "process",
        "error.type": "unavailable",
    }
    metrics.close()


def test_without_a_collector_nothing_is_measured_and_nothing_fails() -> None:
    metrics = Metrics()
    metrics.sent("ledger.case", 0.002)
    metrics.close()
    metrics.close()
