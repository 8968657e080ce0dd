"""Folding commits into a case: the chain, the envelope, the timer."""

from datetime import timedelta

import msgspec
import pytest

from hub.errors import LedgerDamaged
from hub.ledger_codec import decode
from hub.model import commands as c
from hub.model import events as e
from hub.model.cases import CaseId, Stage
from hub.model.lifecycle import evolve, fold, wake_at
from tests.unit.case_play import START, Play
from tests.unit.fake_rules import (
    COMMUNITY,
    GRID,
    LAMP,
    SEWER,
    person,
)

OTHER = CaseId(f"{GRID}-0123456789abcdeg")


def dispatched(category: str = SEWER) -> Play:
    """A sewer: property leads, water supports and works in the hub."""
    play = Play()
    play.report(category)
    if category == SEWER:
        play.do(c.Dispatch(), person(COMMUNITY))
    return play


# --- folding ---


def test_a_commit_that_does_not_follow_is_damage() -> None:
    play = dispatched()
    first, second = (decode(raw) for raw in play.commits[:2])
    with pytest.raises(LedgerDamaged, match=r"commit 2 .* does not open it"):
        fold(None, second, digest="", sequence=1)
    one = fold(None, first, digest="right", sequence=1)
    with pytest.raises(LedgerDamaged, match="hash"):
        fold(one, second, digest="", sequence=2)
    with pytest.raises(LedgerDamaged, match="commit 3 follows commit 1"):
        fold(one, msgspec.structs.replace(second, number=3), digest="", sequence=2)
    with pytest.raises(LedgerDamaged, match="was folded into"):
        fold(one, msgspec.structs.replace(second, case=OTHER), digest="", sequence=2)


def test_an_event_that_does_not_fit_is_damage() -> None:
    with pytest.raises(LedgerDamaged, match=r"begins with case\.commented"):
        evolve(None, e.Commented(text="x"), at=START, id=OTHER)
    with pytest.raises(LedgerDamaged, match="no assignment a7"):
        evolve(dispatched().case, e.AssignmentResolved(assignment="a7"), at=START, id=OTHER)


def test_the_envelope_keeps_commands_traces_and_the_timer() -> None:
    play = Play()
    play.report(LAMP)
    first = decode(play.commits[0])
    case = fold(None, msgspec.structs.replace(first, traceparent="t1"), digest="d1", sequence=10)
    assert (case.number, case.digest, case.sequence) == (1, "d1", 10)
    assert (case.opening_trace, case.last_trace) == ("t1", "t1")
    assert case.commands["command-1"].number == 1
    assert case.commands["command-1"].digest == first.command_digest
    assert case.wake_at == START + timedelta(hours=2)
    remark = msgspec.structs.replace(
        first, number=2, previous="d1", command_id="k2", events=(e.Commented(text="x"),), wake_at=None, traceparent="t2"
    )
    after = fold(case, remark, digest="d2", sequence=20)
    assert after.wake_at == case.wake_at
    assert (after.opening_trace, after.last_trace) == ("t1", "t2")
    assert set(after.commands) == {"command-1", "k2"}
    assert set(case.commands) == {"command-1"}, "the state before is untouched"


def test_a_timer_is_set_only_when_it_has_to_fire_earlier_or_has_fired() -> None:
    play = Play()
    play.report(LAMP)
    case = play.case
    due = case.next_due
    assert due is not None
    assert wake_at(None, case, START) == due
    assert wake_at(case, case, START) is None
    later = msgspec.structs.replace(case, wake_at=due + timedelta(hours=1))
    assert wake_at(later, case, START) == due
    assert wake_at(case, case, due) == due, "the timer has fired"
    ended = msgspec.structs.replace(case, stage=Stage.CLOSED)
    assert wake_at(case, ended, START) is None
