"""The table of Chinese words: every stored value has one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import pytest

from hub.contract import FeedbackKind
from hub.model import words
from hub.model.assignments.state import AssignmentState, Role
from hub.model.case.state import Channel, Severity, Stage
from hub.model.district.areas import GridKind, Level, UnitKind
from hub.model.limits.state import DeadlineKind


@pytest.mark.parametrize(
    ("values", "table"),
    [
        (AssignmentState, words.ASSIGNMENTS),
        (Channel, words.CHANNELS),
        (DeadlineKind, words.LIMITS),
        (GridKind, words.GRIDS),
        (FeedbackKind, words.SAYINGS),
        (Role, words.ROLES),
        (Severity, words.SEVERITIES),
        (Stage, words.STAGES),
        (UnitKind, words.UNITS),
    ],
)
def test_every_value_has_a_word_of_its_own(values: type[StrEnum], table: Mapping[str, str]) -> None:
    assert set(table) == {value.value for value in values}
    assert len(set(table.values())) == len(table)


def test_every_level_has_a_word() -> None:
    assert set(words.LEVELS) == {level.word for level in Level}
