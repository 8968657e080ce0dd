"""Backoff between attempts."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from hub.contract import AdapterInstance
from hub.spine.dispatch import backoff

INSTANCE = AdapterInstance(name="x", plugin="x", backoff_base=timedelta(seconds=5), backoff_cap=timedelta(minutes=30))


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_delay_is_full_jitter_below_base_times_two_to_the_n_and_below_the_cap(attempt: int, draw: float) -> None:
    delay = backoff(INSTANCE, attempt, lambda: draw)
    assert timedelta(0) <= delay <= timedelta(minutes=30)
    assert delay <= timedelta(seconds=5 * 2 ** min(attempt - 1, 20))


def test_the_upper_end_doubles() -> None:
    assert [backoff(INSTANCE, n, lambda: 1.0).total_seconds() for n in (1, 2, 3)] == [5, 10, 20]
