"""Pure: how areas of a notice are put together."""

from __future__ import annotations

import pytest
from hub_utilities.messages import common_area
from hypothesis import given
from hypothesis import strategies as st

CODES = st.sampled_from(["320113", "320113001", "320113001001", "320113001001001", "320113001001002", "320113002", "320114001"])


@pytest.mark.parametrize(
    ("areas", "area"),
    [
        (["320113001001"], "320113001001"),
        (["320113001001", "320113001002"], "320113001"),
        (["320113001001001", "320113001001"], "320113001001"),
        (["320113001", "320113002"], "320113"),
        (["320113001", "320114001"], None),
    ],
)
def test_common_area_is_the_smallest_that_holds_all(areas: list[str], area: str | None) -> None:
    assert common_area(areas) == area


@given(st.lists(CODES, min_size=1, max_size=6))
def test_every_area_lies_in_the_common_one(areas: list[str]) -> None:
    shared = common_area(areas)
    assert shared is None or all(code.startswith(shared) for code in areas)
