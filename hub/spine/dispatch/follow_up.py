"""Decides what follows on a failed call to a department. No other place decides it.

`follow_up` is pure. From the error, the number of tries and the instance's patience it derives the next step. Dispatch, the process beside
a department and the trial ask it; each records the answer in its own way. A new kind of failure is an error class in `hub.errors`. Where
none of the dispositions fits, it also needs a case here.

Retries have two time-scales, and their numbers multiply on purpose: seconds inside one attempt (`within_attempt`, by tenacity), minutes to
hours between attempts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from hub.errors import Disposition, HubError, Unavailable, disposition_of

if TYPE_CHECKING:
    from hub.contract import AdapterInstance
    from hub.spine.departments import CircuitBreaker

T = TypeVar("T")

INNER_TRIES = 3
INNER_SECONDS = 4.0
"""Limits inside one attempt: at most so many tries, within so many seconds. Only while the department took nothing and named no delay."""
FAULT_ATTEMPTS = 3
"""Attempts spent on a plugin's own fault before an operator is asked."""
SHUT_OUT_DELAY = timedelta(seconds=5)
"""When a task of a just paused instance is looked at again. By then its lane is closed."""
LEAST_DELAY = timedelta(seconds=0.2)
"""Between two tries of an effect."""


class Doing(StrEnum):
    """What was tried."""

    DELIVER = "deliver"
    """Handing an assignment over: a try is an attempt of the assignment."""
    ASK = "ask"
    """Asking what became of an attempt: costs no attempt, a try is a turn of the queue."""
    EFFECT = "effect"
    """Recall, urge or inform: a try is a turn of the queue."""


class NextStep(StrEnum):
    """What is next."""

    AGAIN = "again"
    """The same after `delay`."""
    SHUT_OUT = "shut_out"
    """The department lets nobody in. The instance is paused, no attempt is spent, and the same follows after `delay`."""
    REFUSED = "refused"
    """The department said no; a person decides."""
    GIVEN_UP = "given_up"
    """Tries are used up: a dead letter, or an effect that is not done."""


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """What follows on a failed call."""

    next: NextStep
    delay: timedelta
    """Time before the next try. Given also when no try follows: then it is what the delay would have been."""
    most: int
    """Tries there are."""
    unknown: bool
    """Whether the department may have received the call. Then it is asked before anything is sent again."""
    counts_as: bool | None
    """For the breaker: True the system answered, False it failed, None nothing can be said of it."""

    def tell(self, breaker: CircuitBreaker) -> None:
        """Tell the breaker how the call ended."""
        if self.counts_as is None:
            breaker.undecided()
        elif self.counts_as:
            breaker.succeeded()
        else:
            breaker.failed()


def follow_up(problem: HubError, instance: AdapterInstance, *, doing: Doing, tries: int, draw: Callable[[], float]) -> FollowUp:
    """What follows when try number `tries` ended with `problem`. Pure; `draw` gives U(0, 1) for the jitter of the delay."""
    disposition = disposition_of(problem)
    delay = delay_before(instance, max(tries, 1), problem, draw)
    most = instance.attempts
    if disposition is Disposition.FAULT and doing is not Doing.EFFECT:
        most = min(most, FAULT_ATTEMPTS)
    match doing:
        case Doing.ASK:
            most *= 2
        case Doing.EFFECT:
            most *= 3  # turns that a breaker put off count too
            delay = max(delay, LEAST_DELAY)
    unknown = doing is Doing.ASK or disposition in (Disposition.UNKNOWN, Disposition.FAULT)
    if disposition is Disposition.PAUSE:
        return FollowUp(next=NextStep.SHUT_OUT, delay=SHUT_OUT_DELAY, most=most, unknown=False, counts_as=None)
    if disposition is Disposition.REFUSE and doing is not Doing.ASK:
        ended = NextStep.REFUSED if doing is Doing.DELIVER else NextStep.GIVEN_UP
        return FollowUp(next=ended, delay=delay, most=most, unknown=False, counts_as=True)
    counts_as = None if disposition is Disposition.FAULT else False
    return FollowUp(
        next=NextStep.GIVEN_UP if tries >= most else NextStep.AGAIN,
        delay=delay,
        most=most,
        unknown=unknown,
        counts_as=counts_as,
    )


def backoff(instance: AdapterInstance, attempt: int, draw: Callable[[], float]) -> timedelta:
    """Full jitter: U(0, min(cap, base·2^(attempt-1))). An instance with a schedule gets its delay, ±10 %. `draw` gives U(0, 1)."""
    if instance.schedule:
        step = instance.schedule[min(attempt, len(instance.schedule)) - 1]
        return step * (0.9 + 0.2 * draw())
    ceiling = min(instance.backoff_cap.total_seconds(), instance.backoff_base.total_seconds() * 2.0 ** min(attempt - 1, 40))
    return timedelta(seconds=draw() * ceiling)


def delay_before(instance: AdapterInstance, attempt: int, problem: HubError, draw: Callable[[], float]) -> timedelta:
    """The delay before the attempt after number `attempt`: the backoff, never before the department's Retry-After."""
    delay = backoff(instance, attempt, draw)
    if isinstance(problem, Unavailable) and problem.retry_after is not None:
        return max(delay, problem.retry_after)
    return delay


async def within_attempt(call: Callable[[], Awaitable[T]]) -> T:
    """Call; call again within seconds while the department is unavailable and names no delay. Raises the last error.

    The first call goes without tenacity: setting up a retry costs as much as the rest of a delivery that works at once.
    """
    try:
        return await call()
    except Unavailable as problem:
        if problem.retry_after is not None:
            raise
    await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311 - jitter
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(lambda e: isinstance(e, Unavailable) and e.retry_after is None),
        stop=stop_after_attempt(INNER_TRIES - 1) | stop_after_delay(INNER_SECONDS),
        wait=wait_random_exponential(multiplier=0.1, max=1.0),
        reraise=True,
    ):
        with attempt:
            return await call()
    raise AssertionError("tenacity ended without a result")
