"""A case's traces as one tree."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hub.observing.case_trace import Tree, assemble, from_json, render, walk
from hub.observing.store import SpanRecord

CASE = "320113001001001-0123456789"
START = datetime(2026, 3, 2, 15, 40, tzinfo=UTC)


def rec(
    span: str,
    *,
    parent: str | None = None,
    trace: str = "a",
    name: str = "",
    at: float = 0,
    ms: float = 1,
    service: str = "hub",
    kind: str = "internal",
    error: str | None = None,
    links: tuple[str, ...] = (),
    **attributes: Any,
) -> SpanRecord:
    start = int((START.timestamp() + at) * 1e9)
    return SpanRecord(
        trace=trace * 32,
        span=span * 16,
        parent=parent * 16 if parent else None,
        name=name or f"step {span}",
        kind=kind,
        started=start,
        ended=start + int(ms * 1e6),
        matter=CASE,
        links=links,
        error=error,
        attributes={f"hub.{key}": value for key, value in attributes.items()},
        service=service,
    )


def traceparent(trace: str, span: str) -> str:
    return f"00-{trace * 32}-{span * 16}-01"


def entry(at: float, event: str, trace: str, span: str, **body: Any) -> dict[str, Any]:
    when = START + timedelta(seconds=at)
    return {"at": when.isoformat(), "event": event, "traceparent": traceparent(trace, span), "body": body}


def story() -> tuple[list[dict[str, Any]], list[SpanRecord]]:
    """A report, a dispatch to police that needs two attempts, and the callback that reports the end."""
    timeline = [
        entry(0, "case.reported", "a", "2", title="夜间扰民", text="楼下烧烤店"),
        entry(0.01, "case.held", "a", "2", level=1, unit="第3网格", cause="triage"),
        entry(30, "case.held", "b", "2", level=2, unit="320113001001", cause="escalated"),
        entry(31, "delivery.delivered", "f", "9", ticket="JW-1"),
    ]
    spans = [
        rec("1", name="receive hotline", kind="consumer", ms=40),
        rec("2", parent="1", name="send ledger.case", at=0.005, kind="producer"),
        rec(
            "3",
            parent="2",
            name="process dispatch.police",
            at=1,
            adapter="police",
            department="公安",
            attempt=1,
            assignment="a1",
            error="unavailable",
        ),
        rec(
            "4",
            parent="2",
            name="process dispatch.police",
            at=6,
            ms=900,
            adapter="police",
            department="公安",
            attempt=2,
            retry=True,
        ),
        rec("5", parent="4", name="POST", at=6.1, kind="client"),
        rec("6", parent="5", name="POST /soap", at=6.2, service="police-simulator", kind="server"),
        rec("1", trace="b", name="receive feedback.police", at=30, links=(traceparent("a", "2"),), adapter="police"),
        rec("2", trace="b", parent="1", name="send ledger.case", at=30.1),
    ]
    return timeline, spans


def printed(tree: Tree, width: int = 160) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115 - closed below
    with console.file:
        console.print(render(tree, zone=ZoneInfo("Asia/Shanghai")))
        return console.export_text()


def test_stimuli_are_in_order_of_time_and_say_what_caused_them() -> None:
    timeline, spans = story()
    tree = assemble(CASE, timeline, spans[::-1])
    assert [stimulus.nodes[0].name for stimulus in tree.stimuli] == ["receive hotline", "receive feedback.police"]
    assert tree.stimuli[1].caused_by == ["a" * 32]
    assert tree.stimuli[0].started == START
    assert tree.stimuli[0].ms == 6900


def test_spans_are_nested_by_parent_down_into_the_departments_own() -> None:
    tree = assemble(CASE, *story())
    (root,) = tree.stimuli[0].nodes
    (commit,) = root.children
    first, second = commit.children
    assert [node.name for node in walk([second])] == ["process dispatch.police", "POST", "POST /soap"]
    assert (first.error, first.attempt, first.retry) == ("unavailable", 1, False)
    assert (second.error, second.attempt, second.retry) == (None, 2, True)
    assert {node.department for node in walk([second])} == {"公安"}


def test_levels_come_from_the_step_or_from_who_held_the_case_then() -> None:
    tree = assemble(CASE, *story())
    levels = {(stimulus.trace[0], node.span[0]): node.level for stimulus in tree.stimuli for node in walk(stimulus.nodes)}
    assert levels["a", "2"] == "grid"
    assert levels["a", "3"] == levels["a", "5"] == levels["a", "6"] == "department"
    assert levels["b", "2"] == "community"
    assert tree.levels == ["grid", "community", "department"]
    assert tree.departments == ["police", "公安"]
    assert (tree.spans, tree.errors, tree.retries) == (8, 1, 1)


def test_what_was_committed_hangs_under_the_span_that_committed_it() -> None:
    tree = assemble(CASE, *story())
    commit = tree.stimuli[0].nodes[0].children[0]
    assert [happening.type for happening in commit.happenings] == ["case.reported", "case.held"]
    assert [happening.type for happening in tree.loose] == ["delivery.delivered"]


def test_a_happening_says_its_level_and_the_telling_fields_in_one_line() -> None:
    tree = assemble(CASE, *story())
    reported, held = tree.stimuli[0].nodes[0].children[0].happenings
    assert (reported.text, reported.level) == ("夜间扰民", None)
    assert (held.text, held.level) == ("第3网格 triage", "grid")


def test_an_entry_may_hold_the_whole_event_instead_of_its_name() -> None:
    whole = {
        "at": START,
        "traceparent": traceparent("a", "1"),
        "event": {"type": "case.held", "level": "street", "unit": "320113001"},
    }
    tree = assemble(CASE, [whole], [rec("1")])
    (happening,) = tree.stimuli[0].nodes[0].happenings
    assert (happening.type, happening.level, happening.text) == ("case.held", "street", "320113001")
    assert tree.levels == ["street"]


def test_a_span_whose_parent_was_lost_hangs_from_the_root_and_is_marked() -> None:
    tree = assemble(CASE, [], [rec("1"), rec("2", parent="9", at=1), rec("3", parent="2", at=2)])
    (root,) = tree.stimuli[0].nodes
    assert root.children[0].orphan
    assert not root.children[0].children[0].orphan


def test_without_any_root_the_orphans_stand_at_the_top() -> None:
    tree = assemble(CASE, [], [rec("2", parent="9", at=1), rec("3", parent="8", at=2)])
    assert [(node.span[0], node.orphan) for node in tree.stimuli[0].nodes] == [("2", True), ("3", True)]


def test_a_circle_of_parents_still_gives_every_span_once() -> None:
    tree = assemble(CASE, [], [rec("1", parent="2"), rec("2", parent="1"), rec("3", parent="3"), rec("4")])
    assert sorted(node.span[0] for node in walk(tree.stimuli[0].nodes)) == ["1", "2", "3", "4"]


def test_a_case_without_spans_is_an_empty_tree_with_its_timeline() -> None:
    tree = assemble(CASE, [{"at": START, "event": "case.reported"}], [])
    assert tree.stimuli == []
    assert "case.reported" in printed(tree)


def test_the_drawing_shows_times_in_the_zone_levels_departments_retries_and_errors() -> None:
    text = printed(assemble(CASE, *story()))
    assert CASE in text
    for words in (
        "23:40:00.000",
        "[网格]",
        "[社区]",
        "[部门]",
        "公安",
        "第2次",
        "✗ unavailable",
        "@police-simulator",
        "● case.reported",
        "← 1",
    ):
        assert words in text, words
    assert text.count("process dispatch.police") == 2


def test_a_step_that_moved_the_case_shows_where_to_and_the_head_shows_only_who_held_it() -> None:
    timeline = [entry(0, "case.held", "a", "1", level=3, unit="320113001")]
    tree = assemble(CASE, timeline, [rec("1", level="district"), rec("2", parent="1", at=1, level="district")])
    (top,) = tree.stimuli[0].nodes
    assert (top.level, top.children[0].level) == ("street", "district")
    assert tree.levels == ["street"]


def test_a_refused_request_shows_its_status() -> None:
    refused = rec("1")
    refused.attributes["http.response.status_code"] = 409
    assert "→ 409" in printed(assemble(CASE, [], [refused]))


def test_times_on_another_day_carry_the_date() -> None:
    assert "03-03 00:40:00.000" in printed(assemble(CASE, [], [rec("1"), rec("1", trace="b", at=3600)]))


def test_the_json_form_reads_back_to_the_same_tree() -> None:
    tree = assemble(CASE, *story())
    assert from_json(json.loads(json.dumps(tree.to_json()))) == tree


names = st.sampled_from("123456789abcdef")


@given(st.lists(st.tuples(names, st.none() | names, st.sampled_from("ab"), st.floats(0, 100)), max_size=40))
def test_any_set_of_spans_gives_a_tree_that_holds_each_once_and_can_be_drawn(
    parts: list[tuple[str, str | None, str, float]],
) -> None:
    spans = [rec(span, parent=parent, trace=trace, at=at) for span, parent, trace, at in parts]
    tree = assemble(CASE, [], spans)
    shown = [(stimulus.trace[0], node.span[0]) for stimulus in tree.stimuli for node in walk(stimulus.nodes)]
    assert sorted(shown) == sorted({(trace, span) for span, _, trace, _ in parts})
    render(tree)


def test_a_chain_thousands_deep_is_flattened_not_refused() -> None:
    spans = [
        SpanRecord(
            trace="a" * 32, span=f"{n:016x}", parent=f"{n - 1:016x}" if n > 1 else None, name="x", kind="internal", started=n,
            ended=n + 1, matter=CASE, links=(), error=None, attributes={}, service="hub",
        )
        for n in range(1, 3001)
    ]  # fmt: skip
    tree = assemble(CASE, [], spans)
    assert tree.spans == 3000
    json.dumps(tree.to_json())
