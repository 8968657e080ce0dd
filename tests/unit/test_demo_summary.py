"""The demo's closing summary: it adds up, says what is wrong, and is one JSON object."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from hub.demo.display import Display, Standing
from hub.demo.scenes import Scene
from hub.demo.standing import read_standing
from hub.demo.summary import Summary


def summary(**changes: Any) -> Summary:
    standing = Standing(
        requests=10, put_in=10, cases=10, closed=6, open=1, dead=1, void=1, merged=1, retries=3,
        dispatched={"police": 4, "property": 7}, p50=12.5, p99=80.0,
    )  # fmt: skip
    values: dict[str, Any] = {"standing": standing, "tickets": {"police": 4, "property": 7}, "doubled": {}, "example": "CASE-1"}
    return Summary(**(values | changes))


def test_in_is_closed_and_open_and_dead_and_void() -> None:
    answer: dict[str, Any] = json.loads(json.dumps(summary().as_json()))
    assert answer["cases"] == answer["closed"] + answer["open"] + answer["dead"] + answer["void"]
    assert (answer["retries"], answer["tickets"], answer["dispatch_ms"]) == (3, 11, {"p50": 12.5, "p99": 80.0})
    assert summary().sound


def test_a_doubled_ticket_or_a_failed_scene_is_not_sound() -> None:
    assert not summary(doubled={"police": ["K"]}).sound
    assert not summary(scenes=[Scene(name="gas", title="gas", checks=[("closed", False)])]).sound
    assert summary(scenes=[Scene(name="gas", title="gas", checks=[("closed", True)])]).sound


def test_the_summary_names_figures_and_where_to_look() -> None:
    output = io.StringIO()
    failed = Scene(name="gas", title="3 燃气泄漏", checks=[("结案", False)])
    found = summary(scenes=[failed], doubled={"police": ["K"]}, refused={"7": "422 title: too long"}, errors={"403": 2})
    found.print(Console(file=output, width=160), data=Path("demo-data"), url="http://127.0.0.1:8600")
    text = output.getvalue()
    for part in (
        "police",
        "property",
        "hub trace CASE-1 --data demo-data",
        "12 / 80 ms",
        "✗ 3 燃气泄漏: 结案",
        "several tickets",
        "too long",
    ):
        assert part in text


def test_the_hubs_own_summary_is_read() -> None:
    units = [{"unit": "police", "assignments": 4, "open": 1}]
    counts = {"cases": 3, "closed": 1, "open": 1, "dead": 1, "void": 0, "merged": 0, "retries": 2}
    standing = read_standing({**counts, "units": units, "dispatch_ms": {"p50": 1.0, "p99": None}})
    assert (standing.dispatched, standing.waiting, standing.ended) == ({"police": 4}, {"police": 1}, 1)


def test_without_a_terminal_plain_lines_are_shown(capsys: Any) -> None:
    display = Display(quiet_output=True)
    with display:
        display.show(Standing(requests=5, put_in=2, cases=2))
        display.show(Standing(requests=5, put_in=2, cases=2))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("put in 2/5") == 1
