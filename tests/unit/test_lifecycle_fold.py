"""Folding commits into a case: the chain, the envelope, the timer."""

from datetime import timedelta

import msgspec
import pytest

from hub.errors import LedgerDamaged
from hub.model.aggregate import CommandRecord
from hub.model.case import CASE
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case.evolve import evolve
from hub.model.case.state import CaseId, Stage
from tests.unit.case_play import CODEC, START, Play
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
    first, second = (CODEC.decode(raw) for raw in play.commits[:2])
    with pytest.raises(LedgerDamaged, match=r"commit 2 .* does not open it"):
        CASE.fold(None, second, digest="", sequence=1)
    one = CASE.fold(None, first, digest="right", sequence=1)
    with pytest.raises(LedgerDamaged, match="hash"):
        CASE.fold(one, second, digest="", sequence=2)
    with pytest.raises(LedgerDamaged, match="commit 3 follows commit 1"):
        CASE.fold(one, msgspec.structs.replace(second, number=3), digest="", sequence=2)
    with pytest.raises(LedgerDamaged, match="was folded into"):
        CASE.fold(one, msgspec.structs.replace(second, id=OTHER), digest="", sequence=2)


def test_an_event_that_does_not_fit_is_damage() -> None:
    with pytest.raises(LedgerDamaged, match=r"begins with case\.commented"):
        evolve(None, e.Commented(text="x"), at=START, id=OTHER)
    with pytest.raises(LedgerDamaged, match="no assignment a7"):
        evolve(dispatched().case, e.AssignmentResolved(assignment="a7"), at=START, id=OTHER)


def test_the_envelope_keeps_commands_traces_and_the_timer() -> None:
    play = Play()
    play.report(LAMP)
    first = CODEC.decode(play.commits[0])
    case = CASE.fold(None, msgspec.structs.replace(first, traceparent="t1"), digest="d1", sequence=10)
    assert (case.number, case.digest, case.sequence) == (1, "d1", 10)
    assert (case.opening_trace, case.last_trace) == ("t1", "t1")
    assert case.commands.get("command-1") == CommandRecord(1, first.command_digest)
    remark = msgspec.structs.replace(
        first, number=2, previous="d1", command_id="k2", events=(e.Commented(text="x"),), wake_at=None, traceparent="t2"
    )
    after = CASE.fold(case, remark, digest="d2", sequence=20)
    assert (after.opening_trace, after.last_trace) == ("t1", "t2")
    assert set(after.commands) == {"command-1", "k2"}
    assert set(case.commands) == {"command-1"}, "the state before is untouched"


def test_a_timer_is_set_only_when_it_has_to_fire_earlier_or_has_fired() -> None:
    play = Play()
    play.report(LAMP)
    folded = play.envelope
    case = folded.state
    due = case.next_due
    assert due is not None
    assert CASE.wake_at(None, case, START) == due
    assert CASE.wake_at(folded, case, START) is None
    earlier = msgspec.structs.replace(
        case, deadlines=tuple(msgspec.structs.replace(d, next_at=due - timedelta(hours=1)) for d in case.deadlines)
    )
    assert CASE.wake_at(folded, earlier, START) == due - timedelta(hours=1)
    resting = msgspec.structs.replace(folded, state=msgspec.structs.replace(case, suspended_at=START))
    assert CASE.wake_at(resting, case, START) == due, "there may be no timer while it rests"
    assert CASE.wake_at(folded, case, due) == due, "the timer has fired"
    ended = msgspec.structs.replace(case, stage=Stage.CLOSED)
    assert CASE.wake_at(folded, ended, START) is None
