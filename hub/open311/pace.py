"""How often somebody without a key may report: a bucket for each address, refilled steadily. No I/O; the clock is passed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

_MOST_REMEMBERED = 10_000


class Pace:
    """`per_minute` for each address, all of it at once if need be."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._most = float(per_minute)
        self._refill = per_minute / 60.0
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> float:
        """Take one; seconds until there is one again (0: taken)."""
        now = self._clock()
        left, since = self._left.get(address, (self._most, now))
        left = min(self._most, left + (now - since) * self._refill)
        allowed = left >= 1
        self._left[address] = (left - 1 if allowed else left, now)
        self._left.move_to_end(address)
        if len(self._left) > _MOST_REMEMBERED:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._refill
