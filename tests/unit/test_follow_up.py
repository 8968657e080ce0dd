"""What follows on a failed call: one table for dispatch, effects, the process beside a department and the trial."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub.contract import AdapterInstance
from hub.errors import AdapterFault, CredentialsRejected, HubError, OutcomeUnknown, Refused, Unavailable, Withdrawn
from hub.spine.dispatch.follow_up import FAULT_ATTEMPTS, LEAST_DELAY, SHUT_OUT_DELAY, Doing, FollowUp, NextStep, follow_up

INSTANCE = AdapterInstance(name="lamps", plugin="lamps", attempts=4, backoff_base=timedelta(seconds=10))
DELIVER, ASK, EFFECT = Doing.DELIVER, Doing.ASK, Doing.EFFECT


def after(problem: HubError, doing: Doing, tries: int = 1, draw: float = 0.5) -> FollowUp:
    return follow_up(problem, INSTANCE, doing=doing, tries=tries, draw=lambda: draw)


@pytest.mark.parametrize(
    ("problem", "doing", "next", "unknown", "counts_as"),
    [
        (Unavailable("x"), DELIVER, NextStep.AGAIN, False, False),
        (OutcomeUnknown("x"), DELIVER, NextStep.AGAIN, True, False),
        (AdapterFault("x"), DELIVER, NextStep.AGAIN, True, None),
        (Refused("x"), DELIVER, NextStep.REFUSED, False, True),
        (CredentialsRejected("x"), DELIVER, NextStep.SHUT_OUT, False, None),
        (Withdrawn("x"), DELIVER, NextStep.SHUT_OUT, False, None),
        (Unavailable("x"), ASK, NextStep.AGAIN, True, False),
        (Refused("x"), ASK, NextStep.AGAIN, True, False),
        (AdapterFault("x"), ASK, NextStep.AGAIN, True, None),
        (CredentialsRejected("x"), ASK, NextStep.SHUT_OUT, False, None),
        (Unavailable("x"), EFFECT, NextStep.AGAIN, False, False),
        (OutcomeUnknown("x"), EFFECT, NextStep.AGAIN, True, False),
        (AdapterFault("x"), EFFECT, NextStep.AGAIN, True, None),
        (Refused("x"), EFFECT, NextStep.GIVEN_UP, False, True),
        (CredentialsRejected("x"), EFFECT, NextStep.SHUT_OUT, False, None),
    ],
)
def test_what_follows_on_a_first_failure(
    problem: HubError, doing: Doing, next: NextStep, unknown: bool, counts_as: bool | None
) -> None:
    found = after(problem, doing)
    assert (found.next, found.unknown, found.counts_as) == (next, unknown, counts_as)


@pytest.mark.parametrize(
    ("problem", "doing", "most"),
    [
        (Unavailable("x"), DELIVER, 4),
        (OutcomeUnknown("x"), DELIVER, 4),
        (AdapterFault("x"), DELIVER, FAULT_ATTEMPTS),
        (Unavailable("x"), ASK, 8),
        (AdapterFault("x"), ASK, 2 * FAULT_ATTEMPTS),
        (Unavailable("x"), EFFECT, 12),
        (AdapterFault("x"), EFFECT, 12),
    ],
)
def test_tries_are_used_up_at_the_last_one(problem: HubError, doing: Doing, most: int) -> None:
    assert [after(problem, doing, tries).next for tries in (most - 1, most)] == [NextStep.AGAIN, NextStep.GIVEN_UP]
    assert after(problem, doing, 1).most == most


def test_nobody_is_let_in_costs_no_try_however_often() -> None:
    found = after(CredentialsRejected("x"), DELIVER, 99)
    assert (found.next, found.delay) == (NextStep.SHUT_OUT, SHUT_OUT_DELAY)


def test_the_delay_grows_and_keeps_to_what_the_department_asked_for() -> None:
    assert [after(Unavailable("x"), DELIVER, tries, draw=1.0).delay.total_seconds() for tries in (1, 2, 3)] == [10, 20, 40]
    busy = Unavailable("x", retry_after=timedelta(minutes=2))
    assert after(busy, DELIVER, draw=0.0).delay == timedelta(minutes=2)
    assert after(Unavailable("x"), EFFECT, draw=0.0).delay == LEAST_DELAY


@pytest.mark.parametrize(("counts_as", "told"), [(True, "succeeded"), (False, "failed"), (None, "undecided")])
def test_the_breaker_is_told_once(counts_as: bool | None, told: str) -> None:
    heard: list[str] = []

    class Breaker:
        wait = 0.0

        def admit(self) -> bool:
            return True

        def succeeded(self) -> None:
            heard.append("succeeded")

        def failed(self) -> None:
            heard.append("failed")

        def undecided(self) -> None:
            heard.append("undecided")

    FollowUp(next=NextStep.AGAIN, delay=timedelta(0), most=1, unknown=False, counts_as=counts_as).tell(Breaker())
    assert heard == [told]
