"""When two sides disagree, and what an operator is told of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hub.contract import Standing, StandingState
from hub.model.assignments.state import AssignmentState as A
from hub.model.case.state import CaseId
from hub.platform.upkeep.disagreements import Held, What, between, disagreement, repair_of

S = StandingState
CASE = CaseId("320113001001001-0f3k9m2p7q")


def held(state: A, *, open: bool | None = None) -> Held:
    return Held(
        case=CASE,
        assignment="a1",
        unit="lighting",
        state=state,
        open=state.open if open is None else open,
        ticket="T-1",
        ended_at=datetime(2026, 11, 23, tzinfo=UTC),
    )


def stands(state: S) -> Standing:
    return Standing(ticket="T-1", state=state)


@pytest.mark.parametrize(
    ("ours", "theirs", "what"),
    [
        (A.DELIVERED, None, What.MISSING_THERE),
        (A.IN_PROGRESS, None, What.MISSING_THERE),
        (A.MADE, None, None),
        (A.SENDING, None, None),
        (A.SENDING, S.FILED, None),
        (A.DEAD, None, None),
        (A.RESOLVED, None, None),
        (A.DELIVERED, S.FILED, None),
        (A.DELIVERED, S.ACCEPTED, None),
        (A.ACCEPTED, S.FILED, None),
        (A.ACCEPTED, S.RESOLVED, What.ENDED_THERE),
        (A.IN_PROGRESS, S.RETURNED, What.ENDED_THERE),
        (A.DELIVERED, S.RECALLED, What.ENDED_THERE),
        (A.RESOLVED, S.RESOLVED, None),
        (A.RECALLED, S.RESOLVED, None),
        (A.RESOLVED, S.ACCEPTED, What.OPEN_THERE),
        (A.RECALLED, S.FILED, What.OPEN_THERE),
        (A.REFUSED, S.FILED, What.OPEN_THERE),
        (A.UNCERTAIN, S.FILED, What.ARRIVED_THERE),
        (A.DEAD, S.RESOLVED, What.ARRIVED_THERE),
        (None, S.FILED, What.UNKNOWN_HERE),
        (None, S.RESOLVED, None),
    ],
)
def test_two_sides_disagree_only_on_what_nothing_under_way_explains(
    ours: A | None, theirs: S | None, what: What | None
) -> None:
    assert between(None if ours is None else held(ours), None if theirs is None else stands(theirs)) is what


def test_an_open_assignment_of_an_ended_case_is_ended() -> None:
    assert between(held(A.ACCEPTED, open=False), stands(S.ACCEPTED)) is What.OPEN_THERE
    assert between(held(A.ACCEPTED, open=False), None) is None


@pytest.mark.parametrize("what", list(What))
def test_every_kind_is_told_in_chinese_and_keeps_its_identity_when_the_states_change(what: What) -> None:
    first = repair_of("lamps", disagreement(what, held(A.ACCEPTED), stands(S.FILED)))
    second = repair_of("lamps", disagreement(what, held(A.DELIVERED), stands(S.ACCEPTED)))
    assert first.text.startswith("对账：")
    assert (first.id, first.case, first.unit) == (second.id, CASE, "lighting")
    assert first.facts != second.facts


@pytest.mark.parametrize(("theirs", "offers"), [(S.RESOLVED, "resolved"), (S.RETURNED, "returned"), (S.RECALLED, None)])
def test_only_what_a_report_can_say_is_offered_to_be_taken_over(theirs: S, offers: str | None) -> None:
    repair = repair_of("lamps", disagreement(What.ENDED_THERE, held(A.ACCEPTED), stands(theirs)))
    assert repair.details.get("apply") == offers
