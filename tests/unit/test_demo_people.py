"""What the demo's people do with a case they see: always something sensible, never for ever."""

from collections import Counter
from typing import Any

from hub.demo.people import Habits, Step, Work, next_step

GRID = "320113001001001"
SETTLES = Habits(settled_at_grid=1.0, settled_at_community=1.0, content=1.0, returned=0.0)
HANDS_ON = Habits(settled_at_grid=0.0, settled_at_community=0.0, content=0.0, returned=0.0)


def seen(**changes: Any) -> Work:
    case: dict[str, Any] = {
        "id": f"{GRID}-0123456789abcdef",
        "number": 1,
        "stage": "held",
        "channel": "resident",
        "level": "grid",
        "holder": GRID,
        "severity": "minor",
        "assignments": [],
    }
    return Work.read(case | changes)


def step_for(work: Work, habits: Habits = SETTLES, *done: str) -> Step:
    step = next_step(work, seed=1, done=Counter(done), habits=habits)
    assert step is not None
    return step


def part(state: str, unit: str = "city_management", adapter: str | None = None, id: str = "a1") -> dict[str, Any]:
    return {"id": id, "unit": unit, "state": state, "adapter": adapter}


def test_the_holder_takes_a_new_case_up_first() -> None:
    step = step_for(seen())
    assert (step.role, step.unit, step.command) == ("grid_worker", GRID, "claim")


def test_a_grid_worker_settles_or_hands_up() -> None:
    work = seen(first_response_at="2026-01-01T00:00:00+00:00")
    assert step_for(work).command == "settle"
    assert step_for(work, HANDS_ON).command == "escalate"
    assert step_for(work, SETTLES, "refused:settle:grid").command == "escalate"


def test_a_clerk_dispatches_to_the_units_the_policy_names() -> None:
    work = seen(level="street", holder=GRID[:9], first_response_at="2026-01-01T00:00:00+00:00")
    step = step_for(work, HANDS_ON)
    assert (step.role, step.command, dict(step.body)) == ("clerk", "dispatch", {})
    assert step_for(work, HANDS_ON, "refused:dispatch:street").command == "settle"
    assert step_for(work, HANDS_ON, "refused:dispatch:street", "refused:settle:street").command == "escalate"


def test_a_case_given_back_twice_is_not_dispatched_again() -> None:
    returned = [part("returned"), part("returned", id="a2")]
    work = seen(level="street", holder=GRID[:9], first_response_at="2026-01-01T00:00:00+00:00", assignments=returned)
    assert step_for(work, HANDS_ON).command == "settle"


def test_a_department_without_a_system_accepts_then_resolves() -> None:
    delivered = seen(stage="dispatched", assignments=[part("delivered")])
    assert (step_for(delivered).role, step_for(delivered).command) == ("department", "accept")
    assert step_for(seen(stage="dispatched", assignments=[part("accepted")])).command == "resolve"


def test_a_department_with_a_system_is_left_to_its_adapter() -> None:
    work = seen(stage="dispatched", assignments=[part("delivered", "police", "police")])
    assert next_step(work, seed=1, done=Counter()) is None


def test_a_dead_delivery_is_sent_again_once_and_then_stays() -> None:
    work = seen(stage="dispatched", attention=["dead:a1"], assignments=[part("dead", "police", "police")])
    step = step_for(work)
    assert (step.role, step.command, step.part) == ("operator", "resend", "a1")
    assert next_step(work, seed=1, done=Counter(["resend:a1"])) is None


def test_a_refusal_is_given_back_to_the_holder() -> None:
    work = seen(stage="dispatched", attention=["refused:a1"], assignments=[part("refused", "police", "police")])
    assert step_for(work).command == "drop"


def test_the_centre_asks_back_and_one_who_is_not_content_is_asked_again_after_reopening() -> None:
    first = step_for(seen(stage="resolved"), HANDS_ON)
    assert (first.role, first.unit, first.command, first.body["satisfied"]) == ("operator", "320113", "visit", "no")
    assert step_for(seen(stage="resolved", reopened=1), HANDS_ON).body["satisfied"] in ("yes", "mostly")


def test_the_hotline_asks_its_own_callers_back() -> None:
    assert next_step(seen(stage="resolved", channel="hotline"), seed=1, done=Counter()) is None


def test_nobody_touches_what_has_ended_or_is_suspended() -> None:
    for stage in ("closed", "void", "merged"):
        assert next_step(seen(stage=stage), seed=1, done=Counter()) is None
    assert next_step(seen(suspended_at="2026-01-01T00:00:00+00:00"), seed=1, done=Counter()) is None


def test_everybody_runs_out_of_ideas_when_everything_is_refused() -> None:
    done: Counter[str] = Counter()
    work = seen()
    for _ in range(20):
        step = next_step(work, seed=1, done=done, habits=HANDS_ON)
        if step is None:
            return
        done[f"refused:{step.command}:grid"] += 1
    raise AssertionError("still trying")


def test_the_same_case_and_seed_give_the_same_step() -> None:
    work = seen(first_response_at="2026-01-01T00:00:00+00:00")
    assert next_step(work, seed=7, done=Counter()) == next_step(work, seed=7, done=Counter())
