"""Retries at two time-scales, multiplied knowingly: seconds inside one attempt (tenacity), minutes to hours between attempts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from hub.errors import HubError, Unavailable

if TYPE_CHECKING:
    from hub.contract import AdapterInstance

T = TypeVar("T")

INNER_TRIES = 3
INNER_SECONDS = 4.0
"""Inside one attempt: at most this many tries within this time, when nothing was taken and the department named no delay."""
FAULT_ATTEMPTS = 3
"""Attempts spent on a plugin's own fault before an operator is asked."""


def backoff(instance: AdapterInstance, attempt: int, draw: Callable[[], float]) -> timedelta:
    """Full jitter: U(0, min(cap, base·2^(attempt-1))); by the instance's schedule if it has one, ±10 %. `draw` gives U(0, 1)."""
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
    """Call, and again within seconds while the department is unavailable and named no delay; raises the last error.

    The first call is made without tenacity: setting a retry up costs as much as the rest of a delivery that just works.
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
