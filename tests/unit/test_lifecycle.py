"""The course of a case: from report over the levels and units to its end, and what is refused on the way."""

from datetime import timedelta

import msgspec
import pytest

from hub.errors import InvalidInput, LedgerDamaged, TransitionRefused
from hub.ledger_codec import decode
from hub.model import commands as c
from hub.model import events as e
from hub.model.areas import AreaCode, Level, UnitCode
from hub.model.cases import AssignmentState, CaseId, Channel, DeadlineKind, Role, Severity, Source, Stage
from hub.model.lifecycle import decide, evolve, fold, wake_at
from tests.unit.case_play import START, Play, names, only
from tests.unit.fake_rules import (
    COMMUNITY,
    DISTRICT,
    GAS,
    GRID,
    LAMP,
    NOISE,
    OTHER_COMMUNITY,
    OTHER_GRID,
    OTHER_STREET,
    SEWER,
    STREET,
    FakeRules,
    department,
    person,
)

S = AssignmentState
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
        "case.deadline_set",
        "case.deadline_set",
    ]
    case = play.case
    assert (case.stage, case.level, case.holder) == (Stage.HELD, Level.GRID, GRID)
    assert (case.category, case.severity, case.duplicate_of, case.has_contact) == (LAMP, Severity.MINOR, OTHER, True)
    assert {d.kind: d.owner for d in case.deadlines} == {DeadlineKind.FIRST_RESPONSE: GRID, DeadlineKind.RESOLVE: GRID}


def test_an_urgent_matter_goes_to_all_its_departments_in_the_same_commit() -> None:
    play = Play()
    events = play.report(GAS)
    assert play.case.stage is Stage.DISPATCHED
    assert play.case.number == 1
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
    events = play.do(c.Visit(reached=True, satisfied=True))
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
    assert names(events) == ["assignment.recalled", "assignment.made", "case.deadline_set", "case.deadline_set"]
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
    conflict = only(events, e.ReportConflicted)
    assert (conflict.kind, conflict.note, conflict.reported_at) == ("accepted", "签收", late)
    assert play.part("a1").state is S.RESOLVED
    assert play.do(c.Resolve(assignment="a1", note="办结"), department("property")) == (), "the same again"
    assert names(play.do(c.Resolve(assignment="a1", note="又办结"), department("property"))) == ["assignment.report_conflicted"]
    assert names(play.do(c.Return(assignment="a1", reason="退"), department("property"))) == ["assignment.report_conflicted"]
    assert names(play.do(c.Progress(assignment="a1", note="还在"), department("property"))) == ["assignment.report_conflicted"]
    assert play.case.stage is Stage.RESOLVED


def test_a_report_on_a_recalled_assignment_is_recorded() -> None:
    play = dispatched()
    play.deliver("a1")
    play.do(c.Recall(assignment="a1", reason="误派"), person(COMMUNITY))
    assert names(play.do(c.Resolve(assignment="a1", note="办完了"), department("property"))) == ["assignment.report_conflicted"]
    assert play.part("a1").state is S.RECALLED


@pytest.mark.parametrize("first", [c.Claim(), c.Dispatch(), c.Settle(note="已修"), c.Dispatch(note="请速办")])
def test_claiming_dispatching_and_settling_stop_the_first_response_clock(first: c.AnyCommand) -> None:
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
    assert play.case.number == 2


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
    events = play.do(c.Visit(reached=True, solved=True, satisfied=True, rating=5))
    assert names(events) == ["case.callback_visited", "case.closed"]
    assert only(events, e.CaseClosed).outcome == "satisfied"
    assert (play.case.stage, play.case.satisfied, play.case.closed_at) == (Stage.CLOSED, True, play.now)


def test_a_reporter_who_is_not_content_reopens_the_case_once() -> None:
    play = resolved()
    play.wait(days=1)
    events = play.do(c.Visit(reached=True, satisfied=False, note="还在冒水"))
    assert names(events) == ["case.callback_visited", "case.reopened", "case.held", "case.deadline_set"]
    assert (play.case.stage, play.case.holder, play.case.reopened) == (Stage.HELD, COMMUNITY, 1)
    resolve = play.limit(DeadlineKind.RESOLVE)
    assert resolve is not None
    assert resolve.due_at == play.now + timedelta(days=3)
    play.do(c.Settle(note="返工"), person(COMMUNITY))
    assert only(play.do(c.Visit(reached=True, satisfied=False)), e.CaseClosed).outcome == "unsatisfied"
    with pytest.raises(TransitionRefused, match="reopened once"):
        play.do(c.Reopen(reason="再来"), person(DISTRICT))


def test_what_was_done_before_a_reopening_does_not_resolve_the_case() -> None:
    play = resolved()
    play.do(c.Visit(reached=True, satisfied=False))
    play.do(c.Dispatch(targets=(c.Target(unit=UnitCode("landscaping")),)), person(COMMUNITY))
    play.do(c.Recall(assignment="a3", reason="误派"), person(COMMUNITY))
    assert play.case.stage is Stage.HELD


def test_a_reporter_who_is_not_reached_three_times_is_not_asked_any_more() -> None:
    play = resolved()
    for _ in range(2):
        assert names(play.do(c.Visit(reached=False, note="无人接听"))) == ["case.callback_visited"]
    assert play.case.stage is Stage.RESOLVED
    assert only(play.do(c.Visit(reached=False)), e.CaseClosed).outcome == "not_reached"


@pytest.mark.parametrize(("rating", "outcome"), [(5, Stage.CLOSED), (3, Stage.CLOSED), (2, Stage.HELD)])
def test_a_rating_alone_says_whether_the_reporter_is_content(rating: int, outcome: Stage) -> None:
    play = resolved()
    play.do(c.Visit(reached=True, rating=rating))
    assert play.case.stage is outcome


def test_closing_without_a_visit_needs_a_policy_that_asks_for_none_or_a_reporter_who_was_not_reached() -> None:
    play = resolved()
    with pytest.raises(TransitionRefused, match="visited first"):
        play.do(c.Close(reason="忙"), person(COMMUNITY))
    play.do(c.Visit(reached=False))
    assert only(play.do(c.Close(reason="联系不上"), person(COMMUNITY)), e.CaseClosed).outcome == "not_reached"
    play = Play(FakeRules(visits=False))
    play.report(LAMP)
    play.do(c.Settle(note="已修"), person(GRID))
    assert only(play.do(c.Close(reason="无需回访"), person(GRID)), e.CaseClosed).outcome == "no_visit"


def test_a_closed_case_is_reopened_once_on_request() -> None:
    play = resolved()
    play.do(c.Visit(reached=True, satisfied=True))
    assert names(play.do(c.Reopen(reason="又冒水了"), person(DISTRICT))) == ["case.reopened", "case.held", "case.deadline_set"]
    assert (play.case.stage, play.case.closed_at) == (Stage.HELD, None)


@pytest.mark.parametrize("command", [c.Void(reason="误报"), c.Merge(into=OTHER)])
def test_void_and_merge_recall_what_is_open_and_end_all_limits(command: c.AnyCommand) -> None:
    play = dispatched()
    play.deliver("a1")
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


def test_merging_twice_and_absorbing_twice_do_nothing_more() -> None:
    play = dispatched()
    play.do(c.Absorb(other=OTHER))
    assert play.do(c.Absorb(other=OTHER)) == ()
    play.do(c.Merge(into=OTHER))
    assert play.do(c.Merge(into=OTHER)) == ()
    assert play.case.merged_into == OTHER
    with pytest.raises(TransitionRefused, match="has ended"):
        play.do(c.Absorb(other=CaseId(f"{GRID}-0123456789abcdeh")))


def test_the_same_later_report_is_attached_once() -> None:
    play = Play()
    play.report(LAMP)
    again = c.AttachReport(
        channel=Channel.HOTLINE, text="又来电", area=GRID, reported_at=play.now, source=Source(adapter="hotline", ref="W-2")
    )
    play.do(again)
    assert play.do(again) == ()
    assert play.case.attached_reports == (Source(adapter="hotline", ref="W-2"),)


# --- who may ---


@pytest.mark.parametrize("unit", [OTHER_GRID, OTHER_STREET, OTHER_COMMUNITY, "police"])
def test_units_beside_the_holder_may_not_steer_a_case(unit: str) -> None:
    play = Play()
    play.report(LAMP)
    with pytest.raises(TransitionRefused, match="only the unit that holds the case, or one above it"):
        play.do(c.Claim(), person(unit))


def test_a_lower_level_may_not_steer_what_a_higher_one_holds() -> None:
    play = Play()
    play.report(SEWER)
    with pytest.raises(TransitionRefused):
        play.do(c.Settle(note="已通"), person(GRID))


def test_a_department_speaks_for_its_own_assignment_only() -> None:
    play = dispatched()
    play.do(c.Comment(text="收到"), department("property"))
    with pytest.raises(TransitionRefused, match="only the assignment's unit"):
        play.do(c.Accept(assignment="a1"), department("water"))
    with pytest.raises(TransitionRefused, match="have an assignment of it"):
        play.do(c.Comment(text="路过"), department("gas"))
    with pytest.raises(TransitionRefused):
        play.do(c.Recall(assignment="a1", reason="不想办"), department("property"))


def test_the_contact_is_read_by_those_who_hold_the_case_or_owe_something_on_it() -> None:
    play = Play()
    play.report(SEWER, contact_fields=("phone",))
    play.do(c.Dispatch(), person(COMMUNITY))
    read = c.AccessContact(by="班组", purpose="上门", fields=("phone",))
    assert names(play.do(read, person("water"))) == ["case.contact_accessed"]
    play.do(c.Return(assignment="a2", reason="不是供水"), person("water"))
    for unit in ("water", "gas", GRID):
        with pytest.raises(TransitionRefused, match="may read the contact"):
            play.do(read, person(unit))
    play.do(c.EraseContact(reason="保存期满"), person(DISTRICT))
    assert play.do(c.EraseContact(reason="保存期满"), person(DISTRICT)) == ()
    with pytest.raises(TransitionRefused, match="there is no contact"):
        play.do(read, person(COMMUNITY))


def test_only_a_level_above_the_holder_supervises() -> None:
    play = dispatched()
    with pytest.raises(TransitionRefused, match="above the holder"):
        play.do(c.Supervise(message="限期"), person(COMMUNITY))
    assert only(play.do(c.Supervise(message="限期"), person(DISTRICT)), e.Supervised).level is Level.DISTRICT
    assert play.case.supervised == 1


@pytest.mark.parametrize(
    "command", [c.CheckDeadlines(), c.StartDelivery(assignment="a1"), c.RecordEffect(effect="urge:a1", adapter="x")]
)
def test_what_the_hub_records_no_person_can_give(command: c.AnyCommand) -> None:
    with pytest.raises(TransitionRefused, match="only the hub itself"):
        dispatched().do(command, person(DISTRICT))


# --- what is not taken ---


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("area", {"area": "999999"}),
        ("category", {"category": "X99"}),
        ("text", {"title": " ", "text": ""}),
        ("reported_at", {"reported_at": START.replace(tzinfo=None)}),
        ("covers", {"covers": ("999999",)}),
        ("covers_until", {"covers_until": START.replace(tzinfo=None)}),
    ],
)
def test_a_report_with_a_bad_field_is_refused_by_its_name(field: str, given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as problem:
        Play().report(**{"category": LAMP, **given})  # type: ignore[arg-type]
    assert problem.value.subject == field


@pytest.mark.parametrize(
    ("field", "command"),
    [
        ("targets", c.Dispatch(targets=(c.Target(unit=UnitCode("nobody")),))),
        ("targets", c.Dispatch(targets=(c.Target(unit=UnitCode("police")), c.Target(unit=UnitCode("police"))))),
        ("targets", c.Dispatch(targets=(c.Target(unit=UnitCode(OTHER_STREET)),))),
        ("reason", c.Escalate(reason=" ")),
        ("note", c.Settle(note="")),
        ("category", c.Triage(category="X99")),
        ("area", c.Triage(area=AreaCode("999999"))),
        ("unit", c.Reassign(assignment="a1", unit=UnitCode("nobody"), reason="改派")),
        ("assignment", c.Recall(assignment="a9", reason="误派")),
        ("into", c.Merge(into=CaseId("nonsense"))),
        ("what", c.Ask(what="holiday", reason="累")),
        ("request", c.Approve(request="q9")),
        ("until", c.Suspend(reason="待料", until=START)),
        ("until", c.Suspend(reason="待料", until=(START + timedelta(days=9)).replace(tzinfo=None))),
        ("text", c.Comment(text=" ")),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_field(field: str, command: c.AnyCommand) -> None:
    play = Play()
    play.report(SEWER)
    if not isinstance(command, c.Settle | c.Dispatch):
        play.do(c.Dispatch(), person(COMMUNITY))
    with pytest.raises(InvalidInput) as problem:
        play.do(command, person(DISTRICT))
    assert problem.value.subject == field


@pytest.mark.parametrize("rating", [0, 6, -1])
def test_a_rating_outside_one_to_five_is_refused(rating: int) -> None:
    with pytest.raises(InvalidInput) as problem:
        resolved().do(c.Visit(reached=True, satisfied=True, rating=rating))
    assert problem.value.subject == "rating"


def test_a_command_on_a_case_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TransitionRefused, match="no such case") as refused:
        decide(None, c.Claim(), actor=person(GRID), rules=FakeRules(), now=START, new_id=OTHER)
    assert refused.value.state == "none"


def test_a_case_is_reported_once() -> None:
    play = Play()
    play.report(LAMP)
    with pytest.raises(TransitionRefused, match="reported already"):
        play.report(LAMP)


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
