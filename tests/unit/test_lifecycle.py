"""The course of a case: from report over the levels and units to its end, and what is refused on the way."""

from datetime import timedelta

import pytest

from hub.errors import InvalidInput, TransitionRefused, Undecided
from hub.model.answers import Closing, Reached, Satisfied, Solved
from hub.model.assignments.state import AssignmentState, Role
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case.state import CaseId, Channel, Severity, Stage
from hub.model.district.areas import AreaCode, Level, UnitCode
from hub.model.limits.state import DeadlineKind
from hub.model.records import Source
from tests.unit.case_play import START, Play, names, only
from tests.unit.fake_rules import (
    COMMUNITY,
    DISTRICT,
    GAS,
    GRID,
    LAMP,
    NOISE,
    OTHER_GRID,
    OTHER_STREET,
    SEWER,
    STREET,
    FakeRules,
    department,
    person,
)

S = AssignmentState
THIRD = CaseId(f"{GRID}-0123456789abcdeh")
OTHER = CaseId(f"{GRID}-0123456789abcdeg")


def dispatched(category: str = SEWER) -> Play:
    """A sewer: property leads, water supports and works in the hub."""
    play = Play()
    play.report(category)
    if category == SEWER:
        play.do(c.Dispatch(), person(COMMUNITY))
    return play


def resolved(play: Play | None = None) -> Play:
    play = play or dispatched()
    for item in play.case.assignments:
        play.do(c.Resolve(assignment=item.id, note="办结"), department(item.unit))
    assert play.case.stage is Stage.RESOLVED
    return play


def test_a_report_is_triaged_and_held_by_the_level_the_policy_names() -> None:
    play = Play()
    events = play.report(LAMP, contact_fields=("name", "phone"), duplicate_of=OTHER)
    assert names(events) == [
        "case.reported",
        "case.contact_stored",
        "case.triaged",
        "case.duplicate_suspected",
        "case.held",
        "limit.set",
        "limit.set",
    ]
    case = play.case
    assert (case.stage, case.level, case.holder) == (Stage.HELD, Level.GRID, GRID)
    assert (case.category, case.severity, case.duplicate_of, case.has_contact) == (LAMP, Severity.MINOR, OTHER, True)
    assert {d.kind: d.owner for d in case.deadlines} == {DeadlineKind.FIRST_RESPONSE: GRID, DeadlineKind.RESOLVE: GRID}


def test_an_urgent_matter_goes_to_all_its_departments_in_the_same_commit() -> None:
    play = Play()
    events = play.report(GAS)
    assert play.case.stage is Stage.DISPATCHED
    assert play.envelope.number == 1
    made = [event for event in events if isinstance(event, e.AssignmentMade)]
    assert [(m.assignment, m.unit, m.role, m.required, m.adapter) for m in made] == [
        ("a1", "gas", Role.LEAD, True, "utilities"),
        ("a2", "police", Role.SUPPORT, True, "police"),
        ("a3", "property", Role.SUPPORT, False, "property"),
    ]
    assert play.limit(DeadlineKind.FINISH, "a2") is not None
    assert play.case.first_response_at is None, "the hub's own dispatch is nobody's response"


def test_a_unit_without_adapter_has_its_assignment_at_once() -> None:
    assert dispatched().states() == {"a1": S.MADE, "a2": S.DELIVERED}


def test_the_case_is_resolved_with_its_last_required_assignment() -> None:
    play = Play()
    play.report(GAS)
    play.do(c.Resolve(assignment="a1"), department("gas"))
    assert play.case.stage is Stage.DISPATCHED
    events = play.do(c.Resolve(assignment="a2", note="已到场"), department("police"))
    assert names(events) == ["assignment.accepted", "assignment.resolved", "case.resolved"]
    assert play.case.stage is Stage.RESOLVED
    assert play.part("a3").state is S.MADE, "support that is not required may go on"
    assert [d.assignment for d in play.case.deadlines] == ["a3", "a3"]


def test_what_is_still_open_is_recalled_when_the_case_closes() -> None:
    play = Play()
    play.report(GAS)
    play.deliver("a3", "P-7")
    for id in ("a1", "a2"):
        play.do(c.Resolve(assignment=id))
    events = play.do(c.Visit(reached=Reached.YES, satisfied=Satisfied.YES))
    assert only(events, e.AssignmentRecalled) == e.AssignmentRecalled(assignment="a3", reason="the case is closed", tell=True)
    assert play.case.stage is Stage.CLOSED
    assert play.case.deadlines == ()


def test_a_returned_lead_gives_the_case_back_to_its_holder() -> None:
    play = dispatched()
    events = play.do(c.Return(assignment="a1", reason="非本小区"), department("property"))
    assert names(events) == ["assignment.returned", "case.held"]
    assert only(events, e.CaseHeld).cause == "returned"
    assert (play.case.stage, play.case.holder, play.case.attention) == (Stage.HELD, COMMUNITY, ("returned:a1",))
    assert play.part("a2").state is S.DELIVERED, "support goes on"


def test_a_returned_assignment_is_answered_by_reassigning_it() -> None:
    play = dispatched()
    play.do(c.Return(assignment="a1", reason="非本小区"), department("property"))
    events = play.do(c.Reassign(assignment="a1", unit=UnitCode("landscaping"), reason="改派"), person(COMMUNITY))
    assert names(events) == ["assignment.recalled", "assignment.made", "limit.set", "limit.set"]
    assert play.states() == {"a1": S.RECALLED, "a2": S.DELIVERED, "a3": S.DELIVERED}
    assert play.part("a3").role is Role.LEAD
    assert (play.case.stage, play.case.attention) == (Stage.DISPATCHED, ())
    play.do(c.Resolve(assignment="a2"), person("water"))
    play.do(c.Resolve(assignment="a3"), person("landscaping"))
    assert play.case.stage is Stage.RESOLVED


def test_a_returned_lead_is_answered_by_dispatching_again() -> None:
    play = dispatched()
    play.do(c.Return(assignment="a1", reason="非本小区"), department("property"))
    play.do(c.Dispatch(), person(COMMUNITY))
    assert [item.unit for item in play.case.assignments] == ["property", "water", "property"]
    assert play.case.attention == ()
    play.do(c.Resolve(assignment="a3"), department("property"))
    play.do(c.Resolve(assignment="a2"), person("water"))
    assert play.case.stage is Stage.RESOLVED


def test_a_lead_that_was_returned_is_not_covered_by_another_that_is_done() -> None:
    play = Play()
    play.report(SEWER)
    two = (c.Target(unit=UnitCode("property")), c.Target(unit=UnitCode("landscaping")))
    play.do(c.Dispatch(targets=two), person(COMMUNITY))
    play.do(c.Return(assignment="a1", reason="非本小区"), department("property"))
    assert play.case.stage is Stage.DISPATCHED, "another lead is at work"
    play.do(c.Resolve(assignment="a2"), person("landscaping"))
    assert play.case.stage is Stage.HELD
    events = play.do(c.Recall(assignment="a1", reason="不再需要"), person(COMMUNITY))
    assert names(events) == ["assignment.recalled", "case.resolved"]


def test_required_support_that_is_missing_brings_the_case_back() -> None:
    play = dispatched()
    play.do(c.Resolve(assignment="a1"), department("property"))
    assert play.case.stage is Stage.DISPATCHED
    play.do(c.Return(assignment="a2", reason="不是供水"), person("water"))
    assert (play.case.stage, play.case.attention) == (Stage.HELD, ("returned:a2",))


def test_a_recall_tells_only_departments_that_may_have_it() -> None:
    play = dispatched()
    assert only(play.do(c.Recall(assignment="a1", reason="误派"), person(COMMUNITY)), e.AssignmentRecalled).tell is False
    play = dispatched()
    play.do(c.StartDelivery(assignment="a1"))
    assert only(play.do(c.Recall(assignment="a1", reason="误派"), person(COMMUNITY)), e.AssignmentRecalled).tell is True
    assert only(play.do(c.Recall(assignment="a2", reason="误派"), person(COMMUNITY)), e.AssignmentRecalled).tell is False


def test_progress_before_acceptance_implies_it() -> None:
    play = dispatched()
    events = play.do(c.Progress(assignment="a1", note="在路上"), department("property"))
    assert names(events) == ["assignment.accepted", "assignment.progressed"]
    assert play.limit(DeadlineKind.ACCEPT, "a1") is None


def test_reports_never_move_an_assignment_backwards_and_what_conflicts_is_recorded() -> None:
    play = resolved()
    late = play.now - timedelta(hours=1)
    events = play.do(c.Accept(assignment="a1", note="签收", reported_at=late), department("property"))
    conflict = only(events, e.FeedbackConflicted)
    assert (conflict.kind, conflict.note, conflict.reported_at) == ("accepted", "签收", late)
    assert play.part("a1").state is S.RESOLVED
    assert play.do(c.Resolve(assignment="a1", note="办结"), department("property")) == (), "the same again"
    assert names(play.do(c.Resolve(assignment="a1", note="又办结"), department("property"))) == [
        "assignment.feedback_conflicted"
    ]
    assert names(play.do(c.Return(assignment="a1", reason="退"), department("property"))) == ["assignment.feedback_conflicted"]
    assert names(play.do(c.Progress(assignment="a1", note="还在"), department("property"))) == [
        "assignment.feedback_conflicted"
    ]
    assert play.case.stage is Stage.RESOLVED


def test_a_report_on_a_recalled_assignment_is_recorded() -> None:
    play = dispatched()
    play.deliver("a1")
    play.do(c.Recall(assignment="a1", reason="误派"), person(COMMUNITY))
    assert names(play.do(c.Resolve(assignment="a1", note="办完了"), department("property"))) == [
        "assignment.feedback_conflicted"
    ]
    assert play.part("a1").state is S.RECALLED


@pytest.mark.parametrize("first", [c.Claim(), c.Dispatch(), c.Settle(note="已修"), c.Dispatch(note="请速办")])
def test_claiming_dispatching_and_settling_stop_the_first_response_clock(first: c.Command) -> None:
    play = Play()
    play.report(LAMP)
    play.wait(minutes=7)
    assert "case.first_responded" in names(play.do(first, person(GRID)))
    assert play.case.first_response_at == START + timedelta(minutes=7)
    assert play.limit(DeadlineKind.FIRST_RESPONSE) is None


def test_the_first_unit_that_accepts_stops_the_first_response_clock() -> None:
    play = dispatched(NOISE)
    assert "case.first_responded" in names(play.do(c.Accept(assignment="a1"), department("police")))


def test_claiming_twice_does_nothing() -> None:
    play = Play()
    play.report(LAMP)
    play.do(c.Claim(), person(GRID))
    assert play.do(c.Claim(), person(GRID)) == ()
    assert play.envelope.number == 2


def test_whoever_claims_from_above_takes_the_case_over_as_far_as_such_matters_go() -> None:
    play = Play()
    play.report(LAMP)
    events = play.do(c.Claim(), person(COMMUNITY))
    assert only(events, e.CaseHeld).cause == "claimed"
    assert play.case.holder == COMMUNITY
    assert all(d.owner == COMMUNITY for d in play.case.deadlines)
    with pytest.raises(TransitionRefused, match="don't go above the community"):
        play.do(c.Claim(), person(DISTRICT))


def test_a_case_goes_up_and_down_one_level_at_a_time() -> None:
    play = Play()
    play.report(SEWER)
    play.do(c.Escalate(reason="社区无法解决"), person(COMMUNITY))
    assert (play.case.level, play.case.holder) == (Level.STREET, STREET)
    play.do(c.Escalate(reason="需区级协调"), person(STREET))
    assert (play.case.level, play.case.holder) == (Level.DISTRICT, DISTRICT)
    resolve = play.limit(DeadlineKind.RESOLVE)
    assert resolve is not None
    assert resolve.owner == DISTRICT
    with pytest.raises(TransitionRefused, match="no level above"):
        play.do(c.Escalate(reason="再上"), person(DISTRICT))
    play.do(c.Delegate(reason="街道办理"), person(DISTRICT))
    assert play.case.holder == STREET
    assert play.case.visited_levels == (Level.COMMUNITY, Level.STREET, Level.DISTRICT)


def test_a_person_escalates_no_further_than_the_policy_lets_such_matters_go() -> None:
    play = Play()
    play.report(LAMP)
    play.do(c.Escalate(reason="要梯子"), person(GRID))
    with pytest.raises(TransitionRefused, match="such matters don't go above the community") as refused:
        play.do(c.Escalate(reason="要更长的梯子"), person(COMMUNITY))
    assert (refused.value.state, refused.value.command) == ("held", "escalate")


def test_a_case_that_is_not_located_is_delegated_to_a_named_unit() -> None:
    play = Play()
    play.report(SEWER, area=DISTRICT)
    assert play.case.holder == DISTRICT
    with pytest.raises(InvalidInput, match="name the unit") as problem:
        play.do(c.Delegate(reason="街道办理"), person(DISTRICT))
    assert problem.value.subject == "unit"
    with pytest.raises(InvalidInput, match="not one level below"):
        play.do(c.Delegate(reason="社区办理", unit=UnitCode(COMMUNITY)), person(DISTRICT))
    play.do(c.Delegate(reason="街道办理", unit=UnitCode(OTHER_STREET)), person(DISTRICT))
    assert play.case.holder == OTHER_STREET


def test_a_level_settles_only_what_the_policy_gives_it() -> None:
    play = Play()
    play.report(LAMP, severity=Severity.MAJOR)
    with pytest.raises(TransitionRefused, match="settled from the community upwards"):
        play.do(c.Settle(note="已修"), person(GRID))
    play.do(c.Escalate(reason="按规定"), person(GRID))
    assert only(play.do(c.Settle(note="已修"), person(COMMUNITY)), e.CaseResolved).by == COMMUNITY
    assert play.case.stage is Stage.RESOLVED


def test_a_dispatched_case_is_not_settled_over_the_heads_of_its_units() -> None:
    with pytest.raises(TransitionRefused, match="has to be held"):
        dispatched().do(c.Settle(note="已修"), person(COMMUNITY))


def test_triage_routes_a_held_case_anew() -> None:
    play = Play()
    play.report(LAMP)
    events = play.do(c.Triage(category=NOISE, reason="是扰民"), person(GRID))
    assert (play.case.category, play.case.holder, play.case.stage) == (NOISE, STREET, Stage.DISPATCHED)
    assert only(events, e.AssignmentMade).unit == "police"
    assert play.do(c.Triage(category=NOISE), person(STREET)) == (), "nothing is corrected"


def test_triage_of_a_dispatched_case_leaves_its_units_alone() -> None:
    play = dispatched()
    assert names(play.do(c.Triage(area=AreaCode(OTHER_GRID)), person(COMMUNITY))) == ["case.triaged"]
    assert play.case.area == OTHER_GRID
    assert play.case.stage is Stage.DISPATCHED


def test_a_content_reporter_closes_the_case() -> None:
    play = resolved()
    events = play.do(c.Visit(reached=Reached.YES, solved=Solved.YES, satisfied=Satisfied.YES, rating=5))
    assert names(events) == ["case.callback_visited", "case.closed"]
    assert only(events, e.CaseClosed).outcome == "satisfied"
    assert (play.case.stage, play.case.closing, play.case.closed_at) == (Stage.CLOSED, Closing.NORMAL, play.now)
    said = play.case.reporter_said
    assert said is not None
    assert (said.solved, said.satisfied, said.rating, said.at) == (Solved.YES, Satisfied.YES, 5, play.now)


def test_a_reporter_who_is_not_content_reopens_the_case_once() -> None:
    play = resolved()
    play.wait(days=1)
    events = play.do(c.Visit(reached=Reached.YES, satisfied=Satisfied.NO, note="还在冒水"))
    assert names(events) == ["case.callback_visited", "case.reopened", "case.held", "limit.set"]
    assert (play.case.stage, play.case.holder, play.case.reopened) == (Stage.HELD, COMMUNITY, 1)
    resolve = play.limit(DeadlineKind.RESOLVE)
    assert resolve is not None
    assert resolve.due_at == play.now + timedelta(days=3)
    play.do(c.Settle(note="返工"), person(COMMUNITY))
    assert only(play.do(c.Visit(reached=Reached.YES, satisfied=Satisfied.NO)), e.CaseClosed).outcome == "unsatisfied"
    with pytest.raises(TransitionRefused, match="reopened once"):
        play.do(c.Reopen(reason="再来"), person(DISTRICT))


def test_what_was_done_before_a_reopening_does_not_resolve_the_case() -> None:
    play = resolved()
    play.do(c.Visit(reached=Reached.YES, satisfied=Satisfied.NO))
    play.do(c.Dispatch(targets=(c.Target(unit=UnitCode("landscaping")),)), person(COMMUNITY))
    play.do(c.Recall(assignment="a3", reason="误派"), person(COMMUNITY))
    assert play.case.stage is Stage.HELD


def test_a_reporter_who_is_not_reached_three_times_is_not_asked_any_more() -> None:
    play = resolved()
    for _ in range(2):
        assert names(play.do(c.Visit(reached=Reached.NO, note="无人接听"))) == ["case.callback_visited"]
    assert play.case.stage is Stage.RESOLVED
    assert only(play.do(c.Visit(reached=Reached.NO)), e.CaseClosed).outcome == "not_reached"


@pytest.mark.parametrize(("rating", "outcome"), [(5, Stage.CLOSED), (3, Stage.CLOSED), (2, Stage.HELD)])
def test_a_rating_alone_says_whether_the_reporter_is_content(rating: int, outcome: Stage) -> None:
    play = resolved()
    play.do(c.Visit(reached=Reached.YES, rating=rating))
    assert play.case.stage is outcome


def test_closing_without_a_visit_needs_a_reporter_who_was_not_reached() -> None:
    play = resolved()
    with pytest.raises(TransitionRefused, match="visited first"):
        play.do(c.Close(reason="忙"), person(COMMUNITY))
    play.do(c.Visit(reached=Reached.NO))
    assert only(play.do(c.Close(reason="联系不上"), person(COMMUNITY)), e.CaseClosed).outcome == "not_reached"


def test_where_the_policy_asks_for_no_visit_a_resolved_case_is_closed_in_the_same_commit() -> None:
    play = Play(FakeRules(visits=False))
    play.report(LAMP)
    events = play.do(c.Settle(note="已修"), person(GRID))
    assert only(events, e.CaseClosed).outcome == "no_visit"
    assert (play.case.stage, play.case.deadlines) == (Stage.CLOSED, ())


def test_a_closed_case_is_reopened_once_on_request() -> None:
    play = resolved()
    play.do(c.Visit(reached=Reached.YES, satisfied=Satisfied.YES))
    assert names(play.do(c.Reopen(reason="又冒水了"), person(DISTRICT))) == ["case.reopened", "case.held", "limit.set"]
    assert (play.case.stage, play.case.closed_at) == (Stage.HELD, None)


@pytest.mark.parametrize("command", [c.Void(reason="误报"), c.FinishMerge(into=OTHER)])
def test_void_and_merge_recall_what_is_open_and_end_all_limits(command: c.Command) -> None:
    play = dispatched()
    play.deliver("a1")
    if isinstance(command, c.FinishMerge):
        play.do(c.Merge(into=OTHER), person(COMMUNITY))
        events = play.do(command)
    else:
        events = play.do(command, person(COMMUNITY))
    assert [(event.assignment, event.tell) for event in events if isinstance(event, e.AssignmentRecalled)] == [
        ("a1", True),
        ("a2", False),
    ]
    assert play.case.stage.ended
    assert play.case.deadlines == ()
    assert play.case.next_due is None


def test_void_needs_the_authority_the_policy_names() -> None:
    play = Play()
    play.report(LAMP)
    with pytest.raises(TransitionRefused, match="void is granted from the community upwards"):
        play.do(c.Void(reason="误报"), person(GRID))


@pytest.mark.parametrize("hours", [0, 100])
def test_nothing_that_depends_on_the_answer_to_a_merge_is_decided_before_it_is_there(hours: int) -> None:
    play = dispatched()
    play.do(c.Merge(into=OTHER), person(COMMUNITY))
    play.wait(hours=hours)
    assert play.do(c.Merge(into=OTHER), person(COMMUNITY)) == ()
    report = c.AttachReport(channel=Channel.RESIDENT, text="又坏了", area=GRID, reported_at=play.now)
    for command in (c.Void(reason="误报"), c.Merge(into=THIRD), c.Comment(text="漏电"), report):
        with pytest.raises(Undecided, match="it is being merged into"):
            play.do(command, person(COMMUNITY))
    play.do(c.FinishMerge(into=OTHER))
    assert names(play.do(c.Comment(text="漏电"), person(COMMUNITY))) == ["case.commented", "case.passed_on"]


def test_a_resolved_case_is_not_closed_while_it_is_being_merged() -> None:
    play = resolved()
    play.do(c.Merge(into=OTHER), person(COMMUNITY))
    with pytest.raises(Undecided):
        play.do(c.Visit(reached=Reached.YES, satisfied=Satisfied.YES), person(COMMUNITY))
    play.do(c.RefuseMerge(into=OTHER, reason="the case has ended"))
    assert names(play.do(c.Visit(reached=Reached.YES, satisfied=Satisfied.YES), person(COMMUNITY)))[-1] == "case.closed"


def test_a_case_that_waits_takes_only_who_asked_before_it() -> None:
    play = dispatched()
    play.wait(minutes=1)
    (asked,) = play.do(c.Merge(into=OTHER), person(COMMUNITY))
    assert isinstance(asked, e.MergeAsked)
    later, earlier = asked.stamp + timedelta(seconds=1), asked.stamp - timedelta(seconds=1)
    with pytest.raises(TransitionRefused, match=r"merged into .* itself"):
        play.do(c.Absorb(other=THIRD, stamp=later))
    play.do(c.Absorb(other=THIRD, stamp=earlier))
    assert play.case.absorbed == (THIRD,)
    play.do(c.RefuseMerge(into=OTHER, reason="the case has ended"))
    again = only(play.do(c.Merge(into=OTHER), person(COMMUNITY)), e.MergeAsked)
    assert again.stamp > earlier


def test_a_case_can_not_be_voided_in_the_moment_another_came_in() -> None:
    play = dispatched()
    play.do(c.Absorb(other=THIRD, stamp=play.now))
    with pytest.raises(TransitionRefused, match="was merged into it a moment ago"):
        play.do(c.Void(reason="误报"), person(COMMUNITY))
    play.wait(seconds=11)
    play.do(c.Void(reason="误报"), person(COMMUNITY))


def test_the_same_later_report_is_attached_once() -> None:
    play = Play()
    play.report(LAMP)
    again = c.AttachReport(
        channel=Channel.HOTLINE, text="又来电", area=GRID, reported_at=play.now, source=Source(adapter="hotline", ref="W-2")
    )
    play.do(again)
    assert play.do(again) == ()
    assert list(play.case.attached_reports) == [Source(adapter="hotline", ref="W-2")]
