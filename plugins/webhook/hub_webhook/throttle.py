"""Holds requests back while the department asks for it: 429, 502 and 504, with Retry-After where it is given.

Standard Webhooks 1.0.0, "Handling of receivers' answers". Time is passed in as a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from hub import Unavailable

STATUSES = frozenset({429, 502, 504})
_FIRST, _MOST = 1.0, 300.0


class Throttle:
    """One department's. Without Retry-After the pauses double from a second to five minutes until something gets through."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = 0.0
        self._pause = _FIRST

    @property
    def left(self) -> timedelta:
        """For how long nothing is sent."""
        return timedelta(seconds=max(0.0, self._until - self._clock()))

    def check(self) -> None:
        """Raises Unavailable while nothing may be sent."""
        left = self.left
        if left > timedelta(0):
            raise Unavailable("the department asked to be left alone for a while", retry_after=left)

    def hold(self, retry_after: timedelta | None) -> timedelta:
        """The department is overloaded; returns for how long nothing is sent."""
        pause = self._pause if retry_after is None else retry_after.total_seconds()
        if retry_after is None:
            self._pause = min(_MOST, self._pause * 2)
        self._until = max(self._until, self._clock() + pause)
        return self.left

    def passed(self) -> None:
        """Something got through."""
        self._pause = _FIRST
