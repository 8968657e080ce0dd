"""Who may give which command, and which values are refused by the name of their field."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from hub.contract import Feedback, FeedbackKind
from hub.errors import InvalidInput, TransitionRefused
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case.decide import decide
from hub.model.case.state import CaseId, Stage
from hub.model.district.areas import AreaCode, Level, UnitCode
from hub.platform.adapters import soundness
from tests.unit.case_play import START, Play, names, only
from tests.unit.fake_rules import (
    COMMUNITY,
    DISTRICT,
    GRID,
    LAMP,
    OTHER_COMMUNITY,
    OTHER_GRID,
    OTHER_STREET,
    SEWER,
    FakeRules,
    department,
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


def resolved(play: Play | None = None) -> Play:
    play = play or dispatched()
    for item in play.case.assignments:
        play.do(c.Resolve(assignment=item.id, note="办结"), department(item.unit))
    assert play.case.stage is Stage.RESOLVED
    return play


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
def test_what_the_hub_records_no_person_can_give(command: c.Command) -> None:
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
def test_a_bad_value_is_refused_by_the_name_of_its_field(field: str, command: c.Command) -> None:
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
        resolved().do(c.Visit(reached=Reached.YES, satisfied=Satisfied.YES, rating=rating))
    assert problem.value.subject == "rating"


@pytest.mark.parametrize("reached", Reached)
@pytest.mark.parametrize("satisfied", [None, *Satisfied])
@pytest.mark.parametrize("solved", [None, *Solved])
def test_a_visit_that_a_department_reports_is_unsound_exactly_when_it_is_refused(
    reached: Reached, satisfied: Satisfied | None, solved: Solved | None
) -> None:
    """Else the source would bring it again and again."""
    for rating in (None, -1, 0, 1, 3, 5, 6, 10):
        said = {"solved": solved, "satisfied": satisfied, "rating": rating}
        report = Feedback(id="v", kind=FeedbackKind.VISITED, ticket="W-1", reached=reached, **said)  # type: ignore[arg-type]
        visit = c.Visit(reached=reached, **said)  # type: ignore[arg-type]
        assert _refused(lambda: soundness.item(report, START)) == _refused(lambda: resolved().do(visit)), report  # noqa: B023


def _refused(do: Callable[[], object]) -> bool:
    try:
        do()
    except (ValueError, InvalidInput):
        return True
    return False


def test_a_command_on_a_case_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TransitionRefused, match="no such case") as refused:
        decide(None, c.Claim(), actor=person(GRID), rules=FakeRules().rules, now=START, id=OTHER)
    assert refused.value.state == "none"


def test_a_case_is_reported_once() -> None:
    play = Play()
    play.report(LAMP)
    with pytest.raises(TransitionRefused, match="reported already"):
        play.report(LAMP)
