"""What reporters, checkers and units say of a result, what follows from it, and how a case is closed."""

import pytest

from hub.contract.crosswalk import Crosswalk, WordTable
from hub.errors import InvalidInput, TransitionRefused
from hub.model.answers import AnswerRules, Closing, Ending, Rate, Reached, Satisfied, Solved
from hub.model.assignments.state import public_reply
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case.state import Stage
from hub.model.texts import one_of
from hub.model.words import ANSWERS
from hub.privacy.masks import mask_text
from tests.unit.case_play import Play, names, only
from tests.unit.fake_rules import COMMUNITY, DISTRICT, GRID, LAMP, STREET, FakeRules, department, person
from tests.unit.test_lifecycle import dispatched, resolved

YES = Reached.YES


def test_partly_solved_reopens_and_mostly_satisfied_does_not() -> None:
    partly = resolved()
    assert "case.reopened" in names(partly.do(c.Visit(reached=YES, solved=Solved.PARTLY, satisfied=Satisfied.MOSTLY)))
    mostly = resolved()
    ended = only(mostly.do(c.Visit(reached=YES, solved=Solved.YES, satisfied=Satisfied.MOSTLY)), e.CaseClosed)
    assert ended.outcome is Ending.SATISFIED


def test_which_answers_reopen_is_the_policys() -> None:
    rules = FakeRules(answers=AnswerRules(reopen_solved=frozenset({Solved.NO}), reopen_satisfied=frozenset(Satisfied)))
    play = Play(rules)
    play.report(LAMP)
    play.do(c.Settle(note="已修"), person(GRID))
    assert "case.reopened" in names(play.do(c.Visit(reached=YES, satisfied=Satisfied.NOT_RATED)))
    lenient = Play(FakeRules(answers=AnswerRules(reopen_solved=frozenset(), reopen_satisfied=frozenset())))
    lenient.report(LAMP)
    lenient.do(c.Settle(note="已修"), person(GRID))
    ended = only(lenient.do(c.Visit(reached=YES, solved=Solved.NO, satisfied=Satisfied.NO)), e.CaseClosed)
    assert ended.outcome is Ending.UNSATISFIED


def test_a_reporter_who_rates_nothing_closes_the_case_unrated() -> None:
    play = resolved()
    ended = only(play.do(c.Visit(reached=YES, solved=Solved.NOT_ASKED, satisfied=Satisfied.NOT_RATED)), e.CaseClosed)
    assert ended.outcome is Ending.NOT_RATED


@pytest.mark.parametrize(("rating", "satisfied"), [(5, "yes"), (4, "yes"), (3, "mostly"), (2, "no"), (1, "no")])
def test_a_rating_alone_is_an_answer(rating: int, satisfied: str) -> None:
    play = resolved()
    visited = only(play.do(c.Visit(reached=YES, rating=rating)), e.CallbackVisited)
    assert (visited.satisfied, visited.solved) == (Satisfied(satisfied), Solved.NOT_ASKED)


def test_who_refuses_to_be_asked_is_not_asked_again() -> None:
    play = resolved()
    ended = only(play.do(c.Visit(reached=Reached.REFUSED, note="拒绝回访")), e.CaseClosed)
    assert ended.outcome is Ending.REFUSED
    assert play.case.reporter_said is not None
    assert play.case.reporter_said.reached is Reached.REFUSED


def test_tries_count_whoever_made_them() -> None:
    play = resolved()
    play.do(c.Visit(reached=Reached.NO, tries=2))
    assert (play.case.stage, play.case.visits) == (Stage.RESOLVED, 2)
    assert only(play.do(c.Visit(reached=Reached.NO)), e.CaseClosed).outcome is Ending.NOT_REACHED
    with pytest.raises(InvalidInput) as refused:
        resolved().do(c.Visit(reached=Reached.NO, tries=0))
    assert refused.value.subject == "tries"


def test_a_try_that_reached_nobody_leaves_what_the_reporter_said_before() -> None:
    play = resolved()
    play.do(c.Visit(reached=YES, satisfied=Satisfied.NO))
    before = play.case.reporter_said
    play.do(c.Settle(note="返工"), person(COMMUNITY))
    play.do(c.Visit(reached=Reached.NO))
    assert play.case.reporter_said == before


def test_reporter_checker_and_unit_keep_their_own_word_with_who_and_when() -> None:
    play = dispatched()
    play.deliver("a1")
    play.do(
        c.Resolve(assignment="a1", note="已疏通", reached=YES, tries=2, solved=Solved.YES, satisfied=Satisfied.YES),
        department("property"),
    )
    play.do(c.Resolve(assignment="a2", note="已处理"), person("water"))
    play.wait(hours=1)
    play.do(c.Check(solved=Solved.PARTLY, note="井盖未复位"), person(COMMUNITY))
    checked_at = play.now
    assert play.case.stage is Stage.RESOLVED, "the checker's word moves nothing"
    play.wait(hours=1)
    play.do(c.Visit(reached=YES, solved=Solved.YES, satisfied=Satisfied.MOSTLY), person(DISTRICT))
    case = play.case
    unit, silent = (case.assignment(id) for id in ("a1", "a2"))
    assert unit is not None
    assert silent is not None
    assert unit.said is not None
    assert silent.said is None, "a unit that says only that it is done has said nothing of the reporter"
    assert (unit.said.by, unit.said.solved, unit.said.tries) == ("property", Solved.YES, 2)
    assert case.checker_said is not None
    assert (case.checker_said.by, case.checker_said.solved, case.checker_said.at) == (COMMUNITY, Solved.PARTLY, checked_at)
    assert case.reporter_said is not None
    assert (case.reporter_said.by, case.reporter_said.satisfied, case.reporter_said.at) == (
        DISTRICT,
        Satisfied.MOSTLY,
        play.now,
    )


def test_only_who_steers_the_case_checks_it_and_not_after_its_end() -> None:
    play = resolved()
    with pytest.raises(TransitionRefused):
        play.do(c.Check(solved=Solved.YES), person("water"))
    play.do(c.Visit(reached=YES, satisfied=Satisfied.YES))
    with pytest.raises(TransitionRefused):
        play.do(c.Check(solved=Solved.YES), person(COMMUNITY))


def test_a_case_resolved_past_its_limit_is_closed_late_and_one_in_time_is_not() -> None:
    late = dispatched()
    late.wait(days=4)
    for item in late.case.assignments:
        late.do(c.Resolve(assignment=item.id), department(item.unit))
    assert only(late.do(c.Visit(reached=YES, satisfied=Satisfied.YES)), e.CaseClosed).kind is Closing.LATE
    slow_visit = resolved()
    slow_visit.wait(days=30)
    assert only(slow_visit.do(c.Visit(reached=YES, satisfied=Satisfied.YES)), e.CaseClosed).kind is Closing.NORMAL


def test_a_reopened_case_is_late_by_its_new_limit_only() -> None:
    play = dispatched()
    play.wait(days=4)
    for item in play.case.assignments:
        play.do(c.Resolve(assignment=item.id), department(item.unit))
    play.do(c.Visit(reached=YES, satisfied=Satisfied.NO))
    play.do(c.Settle(note="返工"), person(COMMUNITY))
    assert only(play.do(c.Visit(reached=YES, satisfied=Satisfied.YES)), e.CaseClosed).kind is Closing.NORMAL


def test_faulty_and_special_closings_are_said_with_a_reason() -> None:
    faulty = resolved()
    faulty.do(c.Visit(reached=Reached.NO))
    faulty.do(c.Close(reason="派错单位，已更正", kind=Closing.FAULTY), person(COMMUNITY))
    assert (faulty.case.closing, faulty.case.closing_reason) == (Closing.FAULTY, "派错单位，已更正")
    faulty.do(c.Reopen(reason="又冒水了"), person(DISTRICT))
    assert (faulty.case.closing, faulty.case.closing_reason) == (None, None)
    for kind in (Closing.NORMAL, Closing.LATE):
        with pytest.raises(InvalidInput, match="follow from the limit") as refused:
            resolved().do(c.Close(reason="忙", kind=kind), person(DISTRICT))
        assert refused.value.subject == "kind"


def test_a_special_closing_needs_no_visit_but_authority() -> None:
    play = Play()
    play.report(LAMP)
    play.do(c.Settle(note="已修"), person(GRID))
    with pytest.raises(TransitionRefused):
        play.do(c.Close(reason="设施已拆除", kind=Closing.SPECIAL), person(GRID))
    with pytest.raises(TransitionRefused, match="visited first"):
        play.do(c.Close(reason="差错", kind=Closing.FAULTY), person(STREET))
    ended = only(play.do(c.Close(reason="设施已拆除", kind=Closing.SPECIAL), person(STREET)), e.CaseClosed)
    assert (ended.kind, ended.outcome, ended.reason) == (Closing.SPECIAL, Ending.NO_VISIT, "设施已拆除")


def test_a_rate_counts_what_the_policy_says_and_is_none_without_any() -> None:
    rate = Rate(counted=frozenset({"yes"}), of=frozenset({"yes", "mostly", "no"}))
    assert rate.share({"yes": 1, "mostly": 2, "no": 1, "not_rated": 9}) == 0.25
    assert rate.share({"not_rated": 9}) is None


def test_a_departments_own_words_come_before_the_hubs_and_unknown_ones_are_told() -> None:
    told: list[tuple[str, str, str | None]] = []
    words = WordTable(
        Crosswalk(satisfied={"还行": Satisfied.MOSTLY, "满意": Satisfied.MOSTLY}, solved={"是": Solved.YES}),
        lambda table, word, about: told.append((table, word, about)),
    )
    assert (words.satisfied("还行"), words.satisfied("满意"), words.satisfied("不满意")) == (
        Satisfied.MOSTLY,
        Satisfied.MOSTLY,
        Satisfied.NO,
    )
    assert (words.solved("是"), words.solved("partly"), words.reached("拒访")) == (Solved.YES, Solved.PARTLY, Reached.REFUSED)
    assert told == []
    assert words.satisfied("马马虎虎", about="GD1") is None
    assert told == [("satisfied", "马马虎虎", "GD1")]


def test_every_answer_has_its_word() -> None:
    for question, values in (("reached", Reached), ("solved", Solved), ("satisfied", Satisfied)):
        assert set(ANSWERS[question]) == {value.value for value in values}
        assert len(set(ANSWERS[question].values())) == len(ANSWERS[question]), "each word means one answer"


def test_the_choices_of_a_field_are_named_and_of_other_fields_none() -> None:
    assert one_of(c.Visit, "solved") == ": one of yes, partly, no, not_asked"
    assert one_of(c.Visit, "note") == ""
    assert one_of(dict[str, int], "note") == ""


def test_a_public_reply_stands_apart_from_the_note_and_only_this_rounds_is_read_out() -> None:
    play = dispatched()
    play.do(c.Resolve(assignment="a1", note="内部：管径偏小", public_reply="已疏通管道"), department("property"))
    play.do(c.Resolve(assignment="a2", note="已处理"), person("water"))
    item = play.case.assignment("a1")
    assert item is not None
    assert (item.note, item.public_reply, public_reply(play.case)) == ("内部：管径偏小", "已疏通管道", "已疏通管道")
    play.do(c.Visit(reached=YES, satisfied=Satisfied.NO))
    assert public_reply(play.case) is None, "what was said before the reopening holds no more"


@pytest.mark.parametrize("reply", ["已疏通，可拨打13800001234", "已疏通，电话025-84512345", "身份证320113199001011234"])
def test_a_public_reply_with_a_number_is_refused_however_it_is_masked(reply: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        dispatched().do(c.Resolve(assignment="a1", public_reply=mask_text(reply)), department("property"))
    assert refused.value.subject == "public_reply"


def test_a_public_reply_with_a_time_or_a_hotline_is_taken() -> None:
    dispatched().do(
        c.Resolve(assignment="a1", public_reply=mask_text("2026年3月2日已修复，疑问请拨12345")), department("property")
    )
