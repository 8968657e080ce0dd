"""A limit of rate: a token bucket. Pure but for the given clock."""

from __future__ import annotations

from collections.abc import Callable


class Rate:
    """At most `per_second` on average, `burst` at once."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = max(1.0, burst)
        self._clock = clock
        self._left = self._burst
        self._at = clock()

    def wait(self, count: int = 1) -> float:
        """Take `count`; seconds until they are due (0: now). The taken count is owed at once, so callers in a row wait in turn."""
        self._fill()
        self._left -= count
        return max(0.0, -self._left / self._per_second)

    def admit(self, count: int = 1) -> float:
        """Take `count` if something is left (a larger count may run into debt); returns 0. Else only the seconds to wait."""
        self._fill()
        if self._left < min(count, 1):
            return (1 - self._left) / self._per_second
        self._left -= count
        return 0.0

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
