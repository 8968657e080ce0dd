from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.model.case.state import Channel, Severity
from hub.model.district.lexicon import Lexicon
from hub.model.limits.durations import parse_span
from hub.model.policy.routing import Facts, RoutingTable, Rule, When, shadows, unreachable

CODES = ["A0101", "A0102", "B0101"]


def rule(id: str, **when: object) -> Rule:
    return Rule(id=id, when=When(**when), line=1)  # type: ignore[arg-type]


def facts(**changes: object) -> Facts:
    values: dict[str, object] = {
        "category": "A0101",
        "severity": Severity.ORDINARY,
        "channel": Channel.HOTLINE,
        "area": "320113001",
        "words": "路灯不亮",
    }
    return Facts(**{**values, **changes})  # type: ignore[arg-type]


def test_the_first_rule_that_fits_decides() -> None:
    book = RoutingTable([rule("a", category=("B",)), rule("b", any=("路灯",)), rule("c", any=("灯",)), rule("d")], CODES)
    assert book.first(facts()).id == "b"
    assert book.first(facts(words="灯")).id == "c"
    assert book.first(facts(words="")).id == "d"
    assert book.first(facts(category="B0101")).id == "a"


@pytest.mark.parametrize(
    ("when", "word"),
    [
        (When(category=("B",)), "category"),
        (When(channel=(Channel.PATROL,)), "channel"),
        (When(severity=(Severity.URGENT,)), "severity"),
        (When(area=("320113002",)), "area"),
        (When(any=("井盖",)), "words"),
        (When(all=("路灯", "井盖")), "井盖"),
    ],
)
def test_a_miss_says_what_does_not_fit(when: When, word: str) -> None:
    assert word in (when.misses(facts()) or "")
    assert not when.fits(facts())


def test_a_rule_behind_a_wider_one_is_unreachable() -> None:
    found = unreachable([rule("wide", category=("A",)), rule("narrow", category=("A0101",), any=("灯",)), rule("rest")], CODES)
    assert [(shadowed.id, "wide" in why) for shadowed, why in found] == [("narrow", True)]


def test_a_rule_that_earlier_ones_take_together_is_unreachable() -> None:
    found = unreachable([rule("a", category=("A",)), rule("b", category=("B",)), rule("rest")], CODES)
    assert [shadowed.id for shadowed, _ in found] == ["rest"]


def test_rules_on_different_words_are_both_reachable() -> None:
    assert unreachable([rule("a", any=("灯",)), rule("b", any=("灯", "井")), rule("rest")], CODES) == []


conditions = st.builds(
    When,
    category=st.lists(st.sampled_from(["A", "A0101", "A0102", "B"]), max_size=2, unique=True).map(tuple),
    area=st.lists(st.sampled_from(["1", "11", "12"]), max_size=2, unique=True).map(tuple),
    channel=st.lists(st.sampled_from([Channel.HOTLINE, Channel.PATROL]), max_size=2, unique=True).map(tuple),
    severity=st.lists(st.sampled_from([Severity.MINOR, Severity.URGENT]), max_size=2, unique=True).map(tuple),
    any=st.lists(st.sampled_from(["灯", "井"]), max_size=2, unique=True).map(tuple),
    all=st.lists(st.sampled_from(["灯", "井"]), max_size=2, unique=True).map(tuple),
)
SPACE = [
    Facts(category=category, severity=severity, channel=channel, area=area, words=words)
    for category, severity, channel, area, words in product(
        CODES, [Severity.MINOR, Severity.URGENT], [Channel.HOTLINE, Channel.PATROL], ["1", "11", "12"], ["", "灯", "井", "灯井"]
    )
]


@given(conditions, conditions)
def test_a_shadowed_rule_really_is_never_first(earlier: When, later: When) -> None:
    if shadows(earlier, later):
        assert all(earlier.fits(point) for point in SPACE if later.fits(point))


@given(conditions)
def test_a_miss_has_words_exactly_when_it_does_not_fit(when: When) -> None:
    assert all((when.misses(point) is None) == when.fits(point) for point in SPACE)


def test_of_words_at_one_place_the_longest_is_found() -> None:
    lexicon = Lexicon(["下水", "下水道", "水道", "堵"])
    assert list(lexicon.find("下水道堵了")) == [(0, "下水道"), (1, "水道"), (3, "堵")]
    assert lexicon.words_in("下水下水道") == ("下水", "下水道")


def test_an_empty_lexicon_finds_nothing() -> None:
    assert list(Lexicon([]).find("下水道")) == []


@given(st.lists(st.text(alphabet="甲乙丙.(", min_size=1, max_size=4), max_size=8), st.text(alphabet="甲乙丙.(", max_size=20))
def test_a_lexicon_finds_what_searching_each_word_finds(words: list[str], text: str) -> None:
    expected = [
        (start, max(fitting, key=len))
        for start in range(len(text))
        if (fitting := [word for word in words if text.startswith(word, start)])
    ]
    assert list(Lexicon(words).find(text)) == expected


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "h", "-5m", "3 working years", "working day"])
def test_a_duration_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_span(text)


def test_durations_keep_their_calendar() -> None:
    assert parse_span("3 working days").working
    assert parse_span("3 working days").days == 3
    assert parse_span("30s").amount.total_seconds() == 30
    assert not parse_span("7d").working
