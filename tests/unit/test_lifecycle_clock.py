"""Limits: the ladder when they pass, suspension, extension, asking and granting."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hub.config.district import load_district
from hub.errors import InvalidInput, TransitionRefused
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case.state import Severity, Stage
from hub.model.district.areas import Level, UnitCode
from hub.model.limits.state import DeadlineKind
from hub.model.policy.rules import LadderAction, Step
from tests.unit.case_play import START, Play, names, only
from tests.unit.fake_rules import COMMUNITY, DISTRICT, GRID, LAMP, NOISE, SEWER, STREET, FakeRules, department, person

K = DeadlineKind


def held(category: str = LAMP, rules: FakeRules | None = None) -> Play:
    play = Play(rules)
    play.report(category)
    return play


def dispatched() -> Play:
    play = held(SEWER)
    play.do(c.Dispatch(), person(COMMUNITY))
    return play


def test_nothing_happens_before_a_limit_passes() -> None:
    play = held()
    play.wait(hours=1, minutes=59)
    assert play.do(c.CheckDeadlines()) == ()


def test_a_passed_limit_is_urged_then_escalated_one_level_then_supervised() -> None:
    play = held()
    assert play.case.next_due == START + timedelta(hours=2)
    play.wait(hours=2)
    events = play.do(c.CheckDeadlines())
    assert names(events) == ["limit.breached", "work.urged"]
    assert only(events, e.DeadlineBreached) == e.DeadlineBreached(
        kind=K.FIRST_RESPONSE, owner=UnitCode(GRID), step=1, action="urge", next_at=START + timedelta(hours=3)
    )
    assert only(events, e.Urged).automatic
    play.wait(hours=1)
    events = play.do(c.CheckDeadlines())
    assert names(events) == ["limit.breached", "case.held"]
    assert (play.case.holder, only(events, e.CaseHeld).cause) == (COMMUNITY, "escalated")
    play.wait(hours=2)
    events = play.do(c.CheckDeadlines())
    assert names(events) == ["limit.breached", "work.supervised"]
    assert only(events, e.DeadlineBreached).owner == COMMUNITY
    assert only(events, e.Supervised).level is Level.STREET
    assert play.case.attention == ("overdue:first_response",)
    assert play.case.next_due == START + timedelta(days=3), "the limit for resolving is next"
    play.do(c.Claim(), person(COMMUNITY))
    assert play.case.attention == ()


def test_the_ladder_goes_beyond_where_people_may_escalate() -> None:
    play = held()
    play.do(c.Escalate(reason="要梯子"), person(GRID))
    play.wait(hours=3)
    play.do(c.CheckDeadlines())
    assert play.case.holder == STREET


def test_steps_that_were_missed_are_made_up_for_but_only_one_level_is_climbed() -> None:
    play = held()
    play.wait(days=10)
    events = play.do(c.CheckDeadlines())
    assert [event.action for event in events if isinstance(event, e.DeadlineBreached)] == ["urge", "escalate", "supervise"] * 2
    assert [event.unit for event in events if isinstance(event, e.CaseHeld)] == [COMMUNITY]
    assert play.case.next_due is None
    assert set(play.case.attention) == {"overdue:first_response", "overdue:resolve"}
    assert play.do(c.CheckDeadlines()) == ()


def test_the_same_timer_twice_does_nothing_the_second_time() -> None:
    play = held()
    play.wait(hours=2)
    play.do(c.CheckDeadlines())
    assert play.do(c.CheckDeadlines()) == ()


def test_a_late_assignment_urges_its_unit_and_then_asks_for_attention() -> None:
    play = dispatched()
    play.do(c.Accept(assignment="a2"), person("water"))
    play.wait(hours=4)
    events = play.do(c.CheckDeadlines())
    assert only(events, e.Urged).assignment == "a1"
    assert play.part("a1").urged == 1
    play.wait(hours=1)
    play.do(c.CheckDeadlines())
    assert play.case.attention == ("overdue:a1",)
    assert play.case.holder == COMMUNITY, "the case itself is not late"
    play.wait(hours=2)
    assert only(play.do(c.CheckDeadlines()), e.Supervised).assignment == "a1"
    play.do(c.Accept(assignment="a1"), department("property"))
    assert play.case.attention == ()
    assert play.limit(K.FINISH, "a1") is not None


def test_a_dispatched_case_is_escalated_with_its_assignments_going_on() -> None:
    play = dispatched()
    play.do(c.Resolve(assignment="a2"), person("water"))
    play.wait(days=3, hours=1)
    play.do(c.CheckDeadlines())
    assert (play.case.stage, play.case.holder) == (Stage.DISPATCHED, STREET)
    assert play.part("a1").state.open


def test_a_ladder_whose_first_step_comes_later_says_that_the_limit_passed_and_waits() -> None:
    late = FakeRules(steps=(Step(action=LadderAction.URGE, after=timedelta(minutes=30)),))
    play = held(rules=late)
    play.wait(hours=2)
    events = play.do(c.CheckDeadlines())
    breach = only(events, e.DeadlineBreached)
    assert (breach.step, breach.action, breach.next_at) == (0, "none", START + timedelta(hours=2, minutes=30))
    assert len(events) == 1
    play.wait(minutes=30)
    assert names(play.do(c.CheckDeadlines())) == ["limit.breached", "work.urged"]


def test_without_a_ladder_a_passed_limit_asks_for_attention() -> None:
    play = held(rules=FakeRules(steps=()))
    play.wait(hours=2)
    play.do(c.CheckDeadlines())
    assert play.case.attention == ("overdue:first_response",)


def test_where_the_policy_names_no_limit_there_is_still_one_for_finishing_and_resolving() -> None:
    play = Play(FakeRules(limits={}))
    play.report(NOISE)
    assert {d.kind: d.due_at for d in play.case.deadlines} == {
        K.RESOLVE: START + timedelta(days=30),
        K.FINISH: START + timedelta(days=30),
    }


# --- suspension ---


def test_a_suspended_case_stands_still_and_gets_the_time_it_had_left() -> None:
    play = dispatched()
    play.wait(hours=1)
    play.do(c.Suspend(reason="等待配件"), person(STREET))
    finish = play.limit(K.FINISH, "a1")
    assert finish is not None
    assert finish.remaining == timedelta(hours=47)
    assert play.case.next_due is None
    play.wait(days=20)
    assert play.do(c.CheckDeadlines()) == ()
    events = play.do(c.Resume(reason="到货"), person(COMMUNITY))
    assert names(events) == ["clock.resumed", *["limit.moved"] * 5]
    finish = play.limit(K.FINISH, "a1")
    assert finish is not None
    assert (finish.due_at, finish.next_at, finish.remaining) == (play.now + timedelta(hours=47),) * 2 + (None,)
    assert play.case.suspended_at is None


def test_a_suspension_ends_by_itself() -> None:
    play = held()
    play.do(c.Suspend(reason="等待配件", until=START + timedelta(days=1)), person(STREET))
    assert play.case.next_due == START + timedelta(days=1)
    play.wait(days=1)
    events = play.do(c.CheckDeadlines())
    assert names(events) == ["clock.resumed", "limit.moved", "limit.moved"]
    assert play.case.next_due == play.now + timedelta(hours=2)


def test_the_ladder_goes_on_where_it_stood_when_the_case_was_suspended() -> None:
    play = held()
    play.wait(hours=2, minutes=30)
    play.do(c.CheckDeadlines())
    play.do(c.Suspend(reason="等待配件"), person(STREET))
    play.wait(days=1)
    play.do(c.Resume(), person(STREET))
    first = play.limit(K.FIRST_RESPONSE)
    assert first is not None
    assert (first.step, first.next_at) == (1, play.now + timedelta(minutes=30))


def test_a_suspended_case_is_not_dispatched_but_its_units_may_go_on() -> None:
    play = dispatched()
    play.do(c.Suspend(reason="等待配件"), person(STREET))
    for command in (c.Dispatch(), c.Escalate(reason="急"), c.Reassign(assignment="a1", unit=UnitCode("gas"), reason="改派")):
        with pytest.raises(TransitionRefused, match="suspended; resume it first"):
            play.do(command, person(COMMUNITY))
    play.do(c.Resolve(assignment="a1"), department("property"))
    events = play.do(c.Resolve(assignment="a2"), person("water"))
    assert names(events) == [
        "assignment.accepted",
        "assignment.resolved",
        "clock.resumed",
        "limit.moved",
        "case.resolved",
    ]
    assert (play.case.stage, play.case.suspended_at) == (Stage.RESOLVED, None)


def test_suspending_needs_authority_and_is_asked_for_below_it() -> None:
    play = held()
    with pytest.raises(TransitionRefused, match="suspension is granted from the street upwards; ask for it"):
        play.do(c.Suspend(reason="等待配件"), person(COMMUNITY))
    play.do(c.Ask(what="suspension", reason="等待配件", until=START + timedelta(days=2)), person(GRID))
    request = play.case.asked[0]
    assert (request.what, request.by) == ("suspension", GRID)
    with pytest.raises(TransitionRefused, match="from the street upwards"):
        play.do(c.Approve(request=request.id), person(COMMUNITY))
    assert only(play.do(c.Approve(request=request.id), person(STREET)), e.Suspended).asked == request.id
    assert play.case.asked == ()
    assert play.case.suspended_until == START + timedelta(days=2)
    with pytest.raises(TransitionRefused, match="suspended already"):
        play.do(c.Suspend(reason="再等"), person(STREET))


# --- extension ---


def test_a_unit_asks_for_more_time_for_its_own_assignment() -> None:
    play = dispatched()
    until = START + timedelta(days=6)
    with pytest.raises(TransitionRefused, match="only the assignment's unit"):
        play.do(c.Ask(what="extension", reason="缺料", until=until, assignment="a1"), department("water"))
    play.do(c.Ask(what="extension", reason="缺料", until=until, assignment="a1"), department("property"))
    with pytest.raises(TransitionRefused, match="waits for an answer"):
        play.do(c.Ask(what="extension", reason="缺料", until=until, assignment="a1"), department("property"))
    moved = only(play.do(c.Approve(request=play.case.asked[0].id), person(STREET)), e.DeadlineMoved)
    assert (moved.kind, moved.due_at, moved.assignment) == (K.FINISH, until, "a1")
    finish = play.limit(K.FINISH, "a1")
    assert finish is not None
    assert finish.next_at == until


def test_a_request_that_is_declined_changes_no_limit() -> None:
    play = dispatched()
    before = play.case.deadlines
    play.do(c.Ask(what="extension", reason="缺料", until=START + timedelta(days=6), assignment="a1"), department("property"))
    play.do(c.Decline(request=play.case.asked[0].id, reason="抓紧办理"), person(STREET))
    assert play.case.deadlines == before
    assert play.case.asked == ()


def test_requests_end_with_their_assignment() -> None:
    play = dispatched()
    play.do(c.Ask(what="extension", reason="缺料", until=START + timedelta(days=6), assignment="a1"), department("property"))
    play.do(c.Recall(assignment="a1", reason="误派"), person(COMMUNITY))
    assert play.case.asked == ()


def test_a_request_whose_time_has_passed_can_only_be_declined() -> None:
    play = held()
    play.do(c.Ask(what="suspension", reason="等待配件", until=START + timedelta(hours=1)), person(GRID))
    play.wait(hours=1)
    with pytest.raises(TransitionRefused, match="decline it"):
        play.do(c.Approve(request=play.case.asked[0].id), person(STREET))


def test_an_extension_must_be_later_and_of_an_open_limit() -> None:
    play = held()
    with pytest.raises(InvalidInput, match="later than the present limit"):
        play.do(c.Extend(kind=K.RESOLVE, until=START + timedelta(days=1), reason="缺料"), person(STREET))
    with pytest.raises(InvalidInput, match="in the future"):
        play.do(c.Extend(kind=K.RESOLVE, until=START, reason="缺料"), person(STREET))
    with pytest.raises(TransitionRefused, match="no open finish limit"):
        play.do(c.Extend(kind=K.FINISH, until=START + timedelta(days=9), reason="缺料"), person(STREET))


def test_an_extension_starts_the_ladder_anew() -> None:
    play = held()
    play.wait(hours=8)
    play.do(c.CheckDeadlines())
    assert play.case.attention == ("overdue:first_response",)
    play.do(c.Extend(kind=K.FIRST_RESPONSE, until=play.now + timedelta(hours=2), reason="人手不足"), person(DISTRICT))
    assert play.case.attention == ()
    first = play.limit(K.FIRST_RESPONSE)
    assert first is not None
    assert (first.step, first.next_at) == (0, play.now + timedelta(hours=2))


# --- with the shipped policy ---


def test_working_time_that_was_left_on_friday_is_left_on_monday_under_the_shipped_policy() -> None:
    shanghai = ZoneInfo("Asia/Shanghai")
    policy = load_district(Path(__file__).parents[2] / "config", environ={}).policy
    play = Play(policy, now=datetime(2026, 3, 6, 15, 30, tzinfo=shanghai).astimezone(UTC))  # a Friday
    play.report("E0102", area=DISTRICT, severity=Severity.MINOR)
    first = play.limit(K.FIRST_RESPONSE)
    assert first is not None
    assert first.due_at == datetime(2026, 3, 9, 11, 0, tzinfo=shanghai), "2 h on Friday, 2 h on Monday"
    play.wait(hours=1)
    play.do(c.Suspend(reason="等待配件"), person(DISTRICT))
    play.now = datetime(2026, 3, 10, 9, 0, tzinfo=shanghai).astimezone(UTC)
    play.do(c.Resume(), person(DISTRICT))
    first = play.limit(K.FIRST_RESPONSE)
    assert first is not None
    assert first.due_at == datetime(2026, 3, 10, 12, 0, tzinfo=shanghai), "3 working hours were left"
