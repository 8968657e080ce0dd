"""Deliveries: attempts, receipts, dead letters; every record may come twice, late or against another."""

import pytest

from hub.errors import InvalidInput, TransitionRefused
from hub.model.assignments.state import AssignmentState, AttemptOutcome, DeadLetter
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case.state import Stage
from hub.model.district.areas import UnitCode
from hub.model.limits.state import DeadlineKind
from tests.unit.case_play import START, Play, names, only
from tests.unit.fake_rules import DISTRICT, GAS, NOISE, STREET, department, person

S = AssignmentState
LETTER = DeadLetter(
    event_id="e1",
    subject="dispatch.police.x",
    attempts=1,
    first_at=START,
    last_at=START,
    error="unavailable",
    reason="503",
    adapter_version="1",
    payload_hash="00",
)


def sending(category: str = NOISE) -> Play:
    """The police have it on the wire."""
    play = Play()
    play.report(category)
    play.do(c.StartDelivery(assignment="a1"))
    return play


def failed(**given: object) -> c.RecordFailed:
    return c.RecordFailed(**{"assignment": "a1", "attempt": 1, "error": "unavailable", "reason": "503", **given})  # type: ignore[arg-type]


def test_an_attempt_is_committed_before_anything_is_sent() -> None:
    play = sending()
    part = play.part("a1")
    assert (part.state, part.tries) == (S.SENDING, 1)
    assert [(a.number, a.outcome) for a in part.attempts] == [(1, AttemptOutcome.STARTED)]


def test_an_attempt_does_not_begin_before_the_last_has_ended() -> None:
    with pytest.raises(TransitionRefused, match="attempt 1 has not ended"):
        sending().do(c.StartDelivery(assignment="a1"))


def test_a_failed_attempt_is_followed_by_the_next_and_ends_once() -> None:
    play = sending()
    play.do(failed())
    assert play.do(failed()) == ()
    assert play.part("a1").state is S.SENDING
    play.do(c.StartDelivery(assignment="a1"))
    assert [a.outcome for a in play.part("a1").attempts] == [AttemptOutcome.FAILED, AttemptOutcome.STARTED]


def test_rejected_credentials_spend_no_attempt() -> None:
    play = sending()
    play.do(failed(error="credentials_rejected"))
    assert play.part("a1").tries == 0
    assert len(play.part("a1").attempts) == 1


def test_a_receipt_is_taken_once() -> None:
    play = sending()
    receipt = c.RecordDelivered(assignment="a1", ticket="P-1", attempt=1)
    assert names(play.do(receipt)) == ["delivery.delivered"]
    assert play.do(receipt) == ()
    assert (play.part("a1").state, play.part("a1").ticket) == (S.DELIVERED, "P-1")
    assert play.part("a1").attempts[0].outcome is AttemptOutcome.DELIVERED
    with pytest.raises(TransitionRefused, match="does not wait for delivery"):
        play.do(c.StartDelivery(assignment="a1"))


def test_a_second_ticket_is_recorded_as_a_conflict() -> None:
    play = sending()
    play.do(c.RecordDelivered(assignment="a1", ticket="P-1", attempt=1))
    conflict = only(play.do(c.RecordDelivered(assignment="a1", ticket="P-2", via="lookup")), e.FeedbackConflicted)
    assert (conflict.kind, conflict.note) == ("delivered", "P-2")
    assert play.part("a1").ticket == "P-1"


def test_a_ticket_replaces_our_own_key_that_stood_in_for_it() -> None:
    play = sending()
    play.do(c.RecordDelivered(assignment="a1", ticket=f"{play.id}.a1", via="feedback"), department("police"))
    play.do(c.Accept(assignment="a1"), department("police"))
    play.do(c.RecordDelivered(assignment="a1", ticket="P-1", attempt=1))
    assert (play.part("a1").state, play.part("a1").ticket) == (S.ACCEPTED, "P-1")


def test_a_receipt_after_a_report_keeps_the_state() -> None:
    play = sending()
    play.do(c.Resolve(assignment="a1"), department("police"))
    assert play.case.stage is Stage.RESOLVED
    play.do(c.RecordDelivered(assignment="a1", ticket="P-1", attempt=1))
    assert (play.part("a1").state, play.part("a1").ticket, play.case.stage) == (S.RESOLVED, "P-1", Stage.RESOLVED)


def test_a_department_records_a_receipt_for_itself_only() -> None:
    play = sending()
    with pytest.raises(TransitionRefused, match="only the hub itself"):
        play.do(c.RecordDelivered(assignment="a1", ticket="P-1", via="feedback"), department("gas"))
    play.do(c.RecordDelivered(assignment="a1", ticket="P-1", via="feedback"), department("police"))


def test_a_receipt_for_a_recalled_assignment_tells_the_department_again() -> None:
    play = sending()
    play.do(c.Recall(assignment="a1", reason="误派"), person(STREET))
    receipt = c.RecordDelivered(assignment="a1", ticket="P-1", attempt=1)
    events = play.do(receipt)
    assert names(events) == ["delivery.delivered", "assignment.feedback_conflicted", "assignment.recalled"]
    recalled = only(events, e.AssignmentRecalled)
    assert (recalled.tell, recalled.reason) == (True, "误派")
    assert (play.part("a1").state, play.part("a1").ticket) == (S.RECALLED, "P-1")
    assert play.do(receipt) == ()


def test_a_receipt_that_comes_after_the_end_of_the_case_still_tells_the_department() -> None:
    play = sending()
    play.do(c.Void(reason="误报"), person(STREET))
    assert only(play.do(c.RecordDelivered(assignment="a1", ticket="P-1", attempt=1)), e.AssignmentRecalled).tell is True
    assert play.case.stage is Stage.VOID


def test_a_refused_lead_asks_the_operator_and_gives_the_case_back() -> None:
    play = sending()
    events = play.do(c.RecordRefused(assignment="a1", attempt=1, reason="不在辖区"))
    assert names(events) == ["delivery.refused", "case.held"]
    assert (play.part("a1").state, play.case.stage, play.case.attention) == (S.REFUSED, Stage.HELD, ("refused:a1",))
    assert play.do(c.RecordRefused(assignment="a1", attempt=1, reason="不在辖区")) == ()


def test_a_refused_delivery_is_sent_again_under_the_same_key_with_fresh_limits() -> None:
    play = sending()
    play.do(c.RecordRefused(assignment="a1", attempt=1, reason="不在辖区"))
    play.wait(hours=1)
    events = play.do(c.Resend(assignment="a1", reason="已协调"), person(DISTRICT))
    assert names(events) == ["delivery.resent", "limit.set", "limit.set"]
    assert (play.part("a1").state, play.part("a1").tries, play.case.stage) == (S.MADE, 0, Stage.DISPATCHED)
    assert play.case.attention == ()
    play.do(c.StartDelivery(assignment="a1"))
    assert play.part("a1").attempts[-1].number == 2


def test_a_refusal_after_a_report_is_a_conflict() -> None:
    play = sending()
    play.do(c.Accept(assignment="a1"), department("police"))
    events = play.do(c.RecordRefused(assignment="a1", attempt=1, reason="不在辖区"))
    assert names(events) == ["delivery.refused", "assignment.feedback_conflicted"]
    assert play.part("a1").state is S.ACCEPTED
    assert play.part("a1").attempts[0].outcome is AttemptOutcome.REFUSED


def test_a_dead_delivery_stays_owed_until_sent_again_or_dropped() -> None:
    play = sending()
    play.do(failed())
    play.do(c.RecordDead(assignment="a1", letter=LETTER))
    assert play.do(c.RecordDead(assignment="a1", letter=LETTER)) == ()
    assert (play.part("a1").state, play.case.stage, play.case.attention) == (S.DEAD, Stage.DISPATCHED, ("dead:a1",))
    assert play.limit(DeadlineKind.FINISH, "a1") is not None
    events = play.do(c.Drop(assignment="a1", reason="电话办理"), person(DISTRICT))
    assert names(events) == ["delivery.dropped", "case.held"]
    assert (play.part("a1").state, play.case.stage, play.case.attention) == (S.DROPPED, Stage.HELD, ())


def test_a_report_brings_a_dead_delivery_back_to_life() -> None:
    play = sending()
    play.do(failed(unknown=True))
    play.do(c.RecordDead(assignment="a1", letter=LETTER))
    play.do(c.Accept(assignment="a1"), department("police"))
    assert (play.part("a1").state, play.case.attention) == (S.ACCEPTED, ())


def test_whoever_has_an_uncertain_delivery_sent_again_says_that_it_did_not_arrive() -> None:
    play = sending()
    play.do(c.RecordUncertain(assignment="a1", attempt=1, reason="can't be asked"))
    assert (play.part("a1").state, play.case.attention) == (S.UNCERTAIN, ("uncertain:a1",))
    assert play.part("a1").attempts[0].outcome is AttemptOutcome.UNKNOWN
    play.do(c.Resend(assignment="a1", reason="电话核实未收到"), person(DISTRICT))
    assert play.part("a1").attempts[0].outcome is AttemptOutcome.FAILED
    assert play.part("a1").state is S.MADE


def test_a_dead_delivery_in_doubt_is_still_in_doubt_when_sent_again() -> None:
    play = sending()
    play.do(failed(unknown=True))
    play.do(c.RecordDead(assignment="a1", letter=LETTER))
    play.do(c.Resend(assignment="a1", reason="系统已恢复"), person(DISTRICT))
    assert play.part("a1").attempts[0].outcome is AttemptOutcome.UNKNOWN


def test_records_about_an_assignment_that_is_not_wanted_any_more_change_no_state() -> None:
    play = sending()
    play.do(c.Recall(assignment="a1", reason="误派"), person(STREET))
    assert play.do(c.RecordDead(assignment="a1", letter=LETTER)) == ()
    assert play.do(c.RecordUncertain(assignment="a1", attempt=1, reason="?")) == ()
    assert names(play.do(failed())) == ["delivery.failed"], "the attempt ended all the same"
    assert play.part("a1").state is S.RECALLED


def test_only_what_stopped_can_be_dropped() -> None:
    with pytest.raises(TransitionRefused, match="only a dead, refused or uncertain delivery"):
        sending().do(c.Drop(assignment="a1", reason="算了"), person(DISTRICT))


@pytest.mark.parametrize("command", [c.Resend(assignment="a1", reason=" "), c.Drop(assignment="a1", reason=" ")])
def test_sending_again_and_dropping_need_a_reason(command: c.Command) -> None:
    play = sending()
    play.do(failed())
    play.do(c.RecordDead(assignment="a1", letter=LETTER))
    with pytest.raises(InvalidInput) as problem:
        play.do(command, person(DISTRICT))
    assert problem.value.subject == "reason"


def test_the_dead_letter_is_kept_until_the_delivery_is_sent_again() -> None:
    play = sending()
    play.do(failed())
    play.do(c.RecordDead(assignment="a1", letter=LETTER))
    assert play.part("a1").letter == LETTER
    play.do(c.Resend(assignment="a1", reason="已修复"), person(DISTRICT))
    assert play.part("a1").letter is None


def test_an_optional_delivery_that_was_refused_is_not_sent_again_for_a_resolved_case() -> None:
    play = Play()
    play.report(GAS)
    play.do(c.StartDelivery(assignment="a3"))
    play.do(c.RecordRefused(assignment="a3", attempt=1, reason="不属本公司"))
    for id in ("a1", "a2"):
        play.do(c.Resolve(assignment=id))
    assert play.case.stage is Stage.RESOLVED
    with pytest.raises(TransitionRefused, match="nothing is owed"):
        play.do(c.Resend(assignment="a3", reason="再试"), person(DISTRICT))


def test_an_unknown_attempt_is_refused_by_its_field() -> None:
    with pytest.raises(InvalidInput) as problem:
        sending().do(failed(attempt=7))
    assert problem.value.subject == "attempt"


def test_effects_are_recorded_also_after_the_end() -> None:
    play = sending()
    play.do(c.Void(reason="误报"), person(STREET))
    assert names(play.do(c.RecordEffect(effect="recall:a1", adapter="police"))) == ["effect.done"]
    failure = c.RecordEffect(effect="inform:void", adapter="hotline", error="refused", final=True)
    assert only(play.do(failure), e.EffectFailed).reason == "refused"


def delivered() -> Play:
    """The police have it as P-1 and have not taken it up."""
    play = sending()
    play.do(c.RecordDelivered(assignment="a1", ticket="P-1", attempt=1))
    return play


def test_a_unit_asks_for_its_delivery_again_and_gets_it_under_the_same_key() -> None:
    play = delivered()
    police = department(play.part("a1").unit)
    assert names(play.do(c.Resend(assignment="a1", reason="系统恢复后丢失", again=True), police)) == ["delivery.resent"]
    assert (play.part("a1").state, play.part("a1").tries) == (S.MADE, 0)
    play.do(c.StartDelivery(assignment="a1"))
    assert names(play.do(c.RecordDelivered(assignment="a1", ticket="P-1", attempt=2))) == ["delivery.delivered"]
    assert (play.part("a1").state, play.part("a1").ticket) == (S.DELIVERED, "P-1")
    assert [a.outcome for a in play.part("a1").attempts] == [AttemptOutcome.DELIVERED] * 2
    assert play.do(c.RecordDelivered(assignment="a1", ticket="P-1", attempt=2)) == ()


def test_another_ticket_for_what_was_sent_again_is_kept_and_said() -> None:
    play = delivered()
    with pytest.raises(TransitionRefused, match="has it as P-1"):
        play.do(c.Resend(assignment="a1", reason="查无此单"))
    play.do(c.Resend(assignment="a1", reason="查无此单", again=True))
    play.do(c.StartDelivery(assignment="a1"))
    events = play.do(c.RecordDelivered(assignment="a1", ticket="P-2", attempt=2))
    assert names(events) == ["delivery.delivered", "assignment.feedback_conflicted"]
    assert (play.part("a1").state, play.part("a1").ticket) == (S.DELIVERED, "P-2")


def test_what_was_taken_up_or_is_on_its_way_is_not_sent_again() -> None:
    with pytest.raises(TransitionRefused, match="being delivered already"):
        sending().do(c.Resend(assignment="a1", reason="再发"))
    play = delivered()
    play.do(c.Accept(assignment="a1"), department(play.part("a1").unit))
    with pytest.raises(TransitionRefused, match="has it and has said so"):
        play.do(c.Resend(assignment="a1", reason="再发"))


def test_another_unit_can_not_ask_for_it_again() -> None:
    with pytest.raises(TransitionRefused, match="only the assignment's unit"):
        delivered().do(c.Resend(assignment="a1", reason="再发"), department("gas"))


def test_a_unit_revives_its_own_dead_letter() -> None:
    play = sending()
    play.do(failed())
    play.do(c.RecordDead(assignment="a1", letter=LETTER))
    assert names(play.do(c.Resend(assignment="a1", reason="已修复"), department(play.part("a1").unit)))[0] == "delivery.resent"
    assert play.part("a1").state is S.MADE


def test_a_unit_that_refused_takes_it_back_only_while_nobody_else_has_it() -> None:
    play = sending()
    play.do(c.RecordRefused(assignment="a1", attempt=1, reason="非管辖", status=422))
    assert play.part("a1").attempts[0].status == 422
    police = department(play.part("a1").unit)
    elsewhere = Play()
    elsewhere.__dict__.update(play.__dict__ | {"commits": list(play.commits)})
    elsewhere.do(c.Dispatch(targets=(c.Target(unit=UnitCode("gas")),)), person(STREET))
    with pytest.raises(TransitionRefused, match="went on without it"):
        elsewhere.do(c.Resend(assignment="a1", reason="再发"), police)
    play.do(c.Resend(assignment="a1", reason="误拒"), police)
    assert (play.part("a1").state, play.case.stage) == (S.MADE, Stage.DISPATCHED)


def test_a_shut_door_spends_no_attempt_and_the_status_is_kept() -> None:
    play = sending()
    play.do(failed(error="withdrawn", status=410))
    assert (play.part("a1").tries, play.part("a1").attempts[0].status) == (0, 410)
