"""The circuit breaker."""

from __future__ import annotations

from hub.platform.adapters.breaker import PROBES, Breaker, BreakerState


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock) -> Breaker:
    return Breaker(window=10, minimum=5, ratio=0.5, open_for=30.0, clock=clock)


def test_few_failures_below_the_minimum_do_not_open_it() -> None:
    subject = breaker(Clock())
    for _ in range(4):
        assert subject.admit()
        subject.failed()
    assert subject.state is BreakerState.CLOSED


def test_half_the_window_failing_opens_it_and_nothing_is_admitted() -> None:
    clock = Clock()
    subject = breaker(clock)
    for good in (True, True, False, False, False):
        subject.succeeded() if good else subject.failed()
    assert subject.state is BreakerState.OPEN
    assert not subject.admit()
    clock.now += 29
    assert subject.wait == 1.0


def test_one_probe_at_a_time_and_three_good_ones_close_it() -> None:
    clock = Clock()
    subject = breaker(clock)
    for _ in range(5):
        subject.failed()
    clock.now += 30
    for _ in range(PROBES):
        assert subject.state is BreakerState.HALF_OPEN
        assert subject.admit()
        assert not subject.admit()
        subject.succeeded()
    assert subject.state is BreakerState.CLOSED
    assert subject.admit()


def test_a_failed_probe_opens_it_again_for_the_whole_time() -> None:
    clock = Clock()
    subject = breaker(clock)
    for _ in range(5):
        subject.failed()
    clock.now += 30
    assert subject.admit()
    subject.failed()
    assert subject.state is BreakerState.OPEN
    assert subject.wait == 30.0


def test_a_probe_that_says_nothing_lets_another_go() -> None:
    clock = Clock()
    subject = breaker(clock)
    for _ in range(5):
        subject.failed()
    clock.now += 30
    assert subject.admit()
    subject.undecided()
    assert subject.admit()
