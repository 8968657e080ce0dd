"""Case id suffixes."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from hub.model.case import CASE
from hub.model.case.state import case_id, parse_case_id
from hub.spine.ways_in.intake import new_suffix


@given(st.floats(1.6e9, 4e9), st.binary(min_size=5, max_size=5))
def test_every_suffix_makes_a_valid_case_id(now: float, noise: bytes) -> None:
    assert parse_case_id(case_id("320113001001001", new_suffix(now, noise)))


@given(st.floats(1.6e9, 4e9), st.floats(0.002, 1e6))
def test_later_suffixes_sort_behind(now: float, later: float) -> None:
    assert new_suffix(now, b"\xff" * 5) < new_suffix(now + later, b"\0" * 5)


def test_suffixes_of_one_moment_differ() -> None:
    assert len({new_suffix(1.7e9, os.urandom(5)) for _ in range(10_000)}) == 10_000


def test_the_subject_carries_the_four_levels_of_the_id() -> None:
    id = case_id("320113001", "0000000001")
    assert CASE.subject(id) == f"ledger.case.320113.001.000.000.{id}"
