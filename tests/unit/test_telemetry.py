"""How spans are made and passed on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from hub.errors import Unavailable
from hub.observing import telemetry
from hub.observing.telemetry import CONVERSATION, ERROR_TYPE, Row, span
from hub.settings import Settings

CASE = "320113001001001-0123456789"
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
UNSAMPLED = f"00-{'a' * 32}-{'b' * 16}-00"


class Kept:
    """A sink that keeps rows in a list."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, row: Row) -> None:
        self.rows.append(row)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    for name in (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_SAMPLER",
    ):
        monkeypatch.delenv(name, raising=False)
    sink = Kept()
    running = telemetry.setup(Settings(), "hub", sink)
    yield sink
    running.close()


def test_before_set_up_nothing_is_made_and_the_parent_passes_through() -> None:
    with span("receive hotline", parent=PARENT) as outer:
        outer.set("x", 1)
        assert outer.traceparent == telemetry.traceparent() == PARENT
        with span("send ledger.case") as inner:
            assert inner.traceparent == PARENT
    assert telemetry.traceparent() is None
    with span("alone") as alone:
        assert alone.traceparent is None


def test_a_child_continues_the_current_span_and_its_case(kept: Kept) -> None:
    with span("outer", matter=CASE) as outer, span("inner", kind="client"):
        pass
    inner, outer_row = kept.rows
    assert outer.traceparent == f"00-{outer_row[0]}-{outer_row[1]}-01"
    assert (inner[0], inner[2], inner[4], inner[7]) == (outer_row[0], outer_row[1], "client", CASE)
    assert inner[10][CONVERSATION] == CASE
    assert inner[5] <= inner[6]


def test_a_given_parent_is_continued_and_links_are_kept(kept: Kept) -> None:
    link = f"00-{'c' * 32}-{'d' * 16}-01"
    with span("process ledger.case", parent=PARENT, links=(link, None, "nonsense")):
        pass
    (row,) = kept.rows
    assert (row[0], row[2], row[8]) == ("a" * 32, "b" * 16, (link,))


@pytest.mark.parametrize(
    "parent", ["", "nonsense", f"00-{'0' * 32}-{'b' * 16}-01", f"00-{'a' * 32}-{'b' * 15}-01", PARENT + "\n"]
)
def test_an_unreadable_parent_gives_a_new_trace(kept: Kept, parent: str) -> None:
    with span("receive hotline", parent=parent):
        pass
    assert kept.rows[0][0] != "a" * 32
    assert kept.rows[0][2] is None


def test_a_root_starts_a_new_trace_inside_another(kept: Kept) -> None:
    with span("outer", matter=CASE), span("timer", root=True):
        pass
    inner, outer = kept.rows
    assert inner[0] != outer[0]
    assert inner[7] is None


def test_an_exception_marks_the_span_by_its_code_and_never_by_its_text(kept: Kept) -> None:
    with pytest.raises(Unavailable), span("deliver"):
        raise Unavailable("call 13812345678")
    (row,) = kept.rows
    assert row[9] == "unavailable"
    assert row[10] == {ERROR_TYPE: "unavailable"}
    with pytest.raises(KeyError), span("deliver"):
        raise KeyError("x")
    assert kept.rows[1][9] == "KeyError"


def test_a_failure_said_by_hand_stays(kept: Kept) -> None:
    def deliver() -> None:
        with span("deliver") as current:
            current.fail("503")
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        deliver()
    assert kept.rows[0][9] == "503"


def test_what_is_set_after_the_end_is_ignored(kept: Kept) -> None:
    with span("a") as ended:
        ended.set(CONVERSATION, CASE)
    ended.set("late", True)
    ended.fail("late")
    (row,) = kept.rows
    assert row[7] == CASE
    assert row[10] == {CONVERSATION: CASE}
    assert row[9] is None


async def test_concurrent_tasks_do_not_mix_their_spans(kept: Kept) -> None:
    async def work(name: str) -> None:
        with span(name, root=True) as outer:
            await asyncio.sleep(0)
            with span(f"{name} child"):
                await asyncio.sleep(0)
            assert telemetry.traceparent() == outer.traceparent

    await asyncio.gather(*(work(f"t{n}") for n in range(20)))
    traces = {row[3]: row[0] for row in kept.rows}
    assert all(traces[f"t{n}"] == traces[f"t{n} child"] for n in range(20))


def test_a_caller_that_does_not_sample_is_respected(kept: Kept) -> None:
    with span("receive", parent=UNSAMPLED) as passing, span("inner") as inner:
        assert passing.traceparent == inner.traceparent == UNSAMPLED
    assert kept.rows == []


@pytest.mark.parametrize(
    ("sampler", "argument", "rows"),
    [("always_off", "", 0), ("traceidratio", "0", 0), ("traceidratio", "1", 3), ("always_on", "", 3)],
)
def test_the_standard_sampler_variables_are_honoured(
    monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str, rows: int
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    sink = Kept()
    running = telemetry.setup(Settings(), "hub", sink)
    try:
        with span("root", root=True) as root, span("child") as child:
            assert root.traceparent
            assert child.traceparent
            assert root.traceparent[:35] == child.traceparent[:35]
        with span("continued", parent=UNSAMPLED):
            pass
    finally:
        running.close()
    assert len(sink.rows) == rows


def test_otel_sdk_disabled_switches_spans_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    sink = Kept()
    running = telemetry.setup(Settings(), "hub", sink)
    with span("a", parent=PARENT) as passing:
        assert passing.traceparent == PARENT
    running.close()
    assert sink.rows == []


def test_spans_of_a_plugins_own_opentelemetry_tracer_reach_the_store() -> None:
    sink = Kept()
    running = telemetry.setup(Settings(), "hub", sink)
    assert running.provider is not None
    with running.provider.get_tracer("plugin").start_as_current_span("parse", attributes={CONVERSATION: CASE, "n": 3}):
        pass
    running.close()
    (row,) = sink.rows
    assert (row[3], row[7], row[10]["n"]) == ("parse", CASE, 3)


def test_after_close_calls_are_cheap_no_ops_again(kept: Kept) -> None:
    running = telemetry.setup(Settings(), "hub", kept)
    running.close()
    running.close()
    with span("a"):
        pass
    assert kept.rows == []


def test_a_span_costs_far_less_than_twenty_five_microseconds(kept: Kept) -> None:
    attributes = telemetry.messaging("process", "process", "dispatch.police", template="dispatch.police.<case>", message_id="m")

    def microseconds() -> float:
        start = time.thread_time()
        for _ in range(2000):
            with span(
                "process dispatch.police", kind="consumer", parent=PARENT, links=(PARENT,), matter=CASE, attributes=attributes
            ):
                pass
        return (time.thread_time() - start) / 2000 * 1e6

    assert min(microseconds() for _ in range(5)) < 25


@pytest.mark.parametrize("on", [True, False])
def test_a_watched_piece_of_work_shows_its_spans_with_tracing_on_or_off(on: bool, request: pytest.FixtureRequest) -> None:
    kept = request.getfixturevalue("kept") if on else None
    watched = Kept()
    with span("before"):
        pass
    with telemetry.watching(watched), span("tried", root=True) as outer, span("GET", kind="client"):
        assert outer.traceparent is not None
    with span("after"):
        pass
    assert [row[3] for row in watched.rows] == ["GET", "tried"]
    assert watched.rows[0][2] == watched.rows[1][1], "one is the other's child"
    if kept is not None:
        assert [row[3] for row in kept.rows] == ["before", "GET", "tried", "after"]


async def test_watching_concerns_no_other_task(kept: Kept) -> None:
    watched, go = Kept(), asyncio.Event()

    async def other() -> None:
        await go.wait()
        with span("other"):
            pass

    task = asyncio.create_task(other())
    with telemetry.watching(watched), span("mine"):
        go.set()
        await task
    assert [row[3] for row in watched.rows] == ["mine"]
