"""Rules compose: an overlay answers one question otherwise and leaves the others to the rules below it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hub.model.case import commands as c
from hub.model.district.areas import Level
from hub.model.limits.state import DeadlineKind
from hub.model.policy.rules import Limit, Powers, Timing
from tests.unit.case_play import START, Play
from tests.unit.fake_rules import COMMUNITY, LAMP, SEWER, FakeRules, person


class Twice:
    """An emergency's limits: half as long as those below; the calendar and the ladder are theirs."""

    def __init__(self, below: Timing) -> None:
        self.due, self.left, self.ladder = below.due, below.left, below.ladder
        self._below = below

    def limit(self, kind: DeadlineKind, category: str, severity: object) -> Limit | None:
        found = self._below.limit(kind, category, severity)  # type: ignore[arg-type]
        return None if found is None else Limit(kind=kind, duration=found.duration / 2, working=False, words="half")


class Closed:
    """Nobody but the district grants anything."""

    def authority(self, what: str) -> Level:
        return Level.DISTRICT


def test_an_overlay_of_limits_shortens_them_and_changes_nothing_else() -> None:
    plain, urgent = Play(), Play()
    urgent.rules = replace(plain.rules, limits=Twice(plain.rules.limits))
    for play in (plain, urgent):
        play.report(SEWER)
        play.do(c.Dispatch(), person(COMMUNITY))
    ordinary, shorter = plain.limit(DeadlineKind.RESOLVE), urgent.limit(DeadlineKind.RESOLVE)
    assert ordinary is not None
    assert shorter is not None
    assert shorter.due_at - START == (ordinary.due_at - START) / 2
    assert urgent.case.level == plain.case.level
    assert [item.unit for item in urgent.case.assignments] == [item.unit for item in plain.case.assignments]
    assert urgent.rules.version == plain.rules.version


def test_overlays_lie_over_each_other_in_any_order() -> None:
    rules = FakeRules().rules
    powers: Powers = Closed()
    one = replace(replace(rules, limits=Twice(rules.limits)), powers=powers)
    two = replace(replace(rules, powers=powers), limits=Twice(rules.limits))
    for composed in (one, two):
        assert composed.powers.authority("void") is Level.DISTRICT
        found = composed.limits.limit(DeadlineKind.ACCEPT, LAMP, object())  # type: ignore[arg-type]
        assert found is not None
        assert found.duration == timedelta(hours=2)
        assert composed.routing is rules.routing
    quarter = replace(one, limits=Twice(one.limits)).limits.limit(DeadlineKind.ACCEPT, LAMP, object())  # type: ignore[arg-type]
    assert quarter is not None
    assert quarter.duration == timedelta(hours=1)
