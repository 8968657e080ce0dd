"""A circuit breaker over a window of calls, with a minimum number of calls and three probes.

Own code because the libraries looked at count consecutive failures only, or are not asynchronous. Pure but for the clock passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum

PROBES = 3
"""Successful probes in a row that close a half-open breaker."""


class BreakerState(StrEnum):
    """Closed: calls pass. Open: none does. Half-open: one probe at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens when the share `ratio` of the last `window` calls failed, given at least `minimum` calls. Stays open `open_for` seconds."""

    def __init__(self, *, window: int, minimum: int, ratio: float, open_for: float, clock: Callable[[], float]) -> None:
        self._calls: deque[bool] = deque(maxlen=window)
        self._minimum = minimum
        self._ratio = ratio
        self._open_for = open_for
        self._clock = clock
        self._opened_at: float | None = None
        self._probing = 0
        self._probes_done = 0

    @property
    def state(self) -> BreakerState:
        """The present state."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() - self._opened_at < self._open_for else BreakerState.HALF_OPEN

    @property
    def wait(self) -> float:
        """Seconds until a probe may go; 0 when calls pass."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._open_for - (self._clock() - self._opened_at))

    def admit(self) -> bool:
        """Whether a call may go now; an admitted call must end in `succeeded`, `failed` or `undecided`."""
        match self.state:
            case BreakerState.CLOSED:
                return True
            case BreakerState.OPEN:
                return False
            case BreakerState.HALF_OPEN:
                if self._probing >= 1:
                    return False
                self._probing += 1
                return True

    def succeeded(self) -> None:
        """An admitted call reached the department (a refusal counts: the system answered)."""
        if self._opened_at is None:
            self._calls.append(True)
            return
        self._probing = max(0, self._probing - 1)
        self._probes_done += 1
        if self._probes_done >= PROBES:
            self._close()

    def failed(self) -> None:
        """An admitted call did not get through."""
        if self._opened_at is not None:
            self._probing = max(0, self._probing - 1)
            if self.state is BreakerState.HALF_OPEN:
                self._open()
            return
        self._calls.append(False)
        failures = self._calls.count(False)
        if len(self._calls) >= self._minimum and failures >= self._ratio * len(self._calls):
            self._open()

    def undecided(self) -> None:
        """An admitted call ended without saying anything about the department (cancelled, nothing sent)."""
        self._probing = max(0, self._probing - 1)

    def _open(self) -> None:
        self._opened_at = self._clock()
        self._probing = 0
        self._probes_done = 0

    def _close(self) -> None:
        self._opened_at = None
        self._calls.clear()
        self._probing = 0
        self._probes_done = 0
