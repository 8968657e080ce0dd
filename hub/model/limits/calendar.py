"""Working time: the district's office hours on China's working days.

Owns adding and measuring working time. Working days come from `chinesecalendar`: holidays, and the weekend days worked in lieu, as the
State Council announces them each autumn. For a year it does not know yet, Monday to Friday count, and `hub policy check` warns. No clock,
no I/O. Called by the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import chinese_calendar

_DAY = timedelta(days=1)
_ZERO = timedelta(0)
_MOST_DAYS = 366 * 60

Interval = tuple[datetime, datetime]


def is_working_day(day: date) -> bool:
    """Whether offices are open on that day in China. Monday to Friday in years whose holidays are not announced yet."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return day.weekday() < 5


def knows_year(year: int) -> bool:
    """Whether that year's holidays are known to the calendar."""
    try:
        chinese_calendar.is_workday(date(year, 6, 1))
    except NotImplementedError:
        return False
    return True


class WorkingHours:
    """Office hours `[("09:00", "12:00"), …]` in one zone, laid over the working days.

    Instants given and returned are aware; results are UTC. Days are computed once and kept.
    Raises ValueError when the hours are empty, overlap or run backwards.
    """

    def __init__(
        self, hours: Sequence[tuple[time, time]], zone: ZoneInfo, *, working_day: Callable[[date], bool] = is_working_day
    ) -> None:
        if not hours:
            raise ValueError("no working hours")
        last: time | None = None
        for opens, closes in hours:
            if opens >= closes or (last is not None and opens < last):
                raise ValueError("working hours must ascend and not overlap")
            last = closes
        self.hours = tuple(hours)
        self.zone = zone
        self._working_day = working_day
        self._days: dict[date, tuple[Interval, ...]] = {}
        self.day_length = sum(
            ((datetime.combine(date.min, b) - datetime.combine(date.min, a)) for a, b in self.hours), start=_ZERO
        )
        """Working time of one day."""

    def intervals(self, day: date) -> tuple[Interval, ...]:
        """The working intervals of a local day, as UTC instants; empty on a day off."""
        found = self._days.get(day)
        if found is None:
            found = ()
            if self._working_day(day):
                found = tuple(
                    (
                        datetime.combine(day, opens, self.zone).astimezone(UTC),
                        datetime.combine(day, closes, self.zone).astimezone(UTC),
                    )
                    for opens, closes in self.hours
                )
            self._days[day] = found
        return found

    def add_working(self, start: datetime, amount: timedelta) -> datetime:
        """The earliest instant with `amount` of working time between `start` and it; `start` itself for zero.

        A negative amount goes back in time. Raises ValueError when 60 years do not hold that much working time.
        """
        at = start.astimezone(UTC)
        if amount == _ZERO:
            return at
        return self._forward(at, amount) if amount > _ZERO else self._backward(at, -amount)

    def _forward(self, at: datetime, amount: timedelta) -> datetime:
        day = at.astimezone(self.zone).date()
        for _ in range(_MOST_DAYS):
            for opens, closes in self.intervals(day):
                begin = opens if opens > at else at
                room = closes - begin
                if room >= amount:
                    return begin + amount
                if room > _ZERO:
                    amount -= room
            day += _DAY
        raise ValueError("no such amount of working time within 60 years")

    def _backward(self, at: datetime, amount: timedelta) -> datetime:
        day = at.astimezone(self.zone).date()
        exhausted = False  # the amount ends exactly at an opening: the same moment of work is the close before it
        for _ in range(_MOST_DAYS):
            for opens, closes in reversed(self.intervals(day)):
                end = closes if closes < at else at
                if exhausted and closes <= at:
                    return closes
                room = end - opens
                if room > amount:
                    return end - amount
                if room > _ZERO:
                    amount -= room
                    exhausted = exhausted or amount == _ZERO
            day -= _DAY
        raise ValueError("no such amount of working time within 60 years")

    def working_between(self, start: datetime, end: datetime) -> timedelta:
        """Working time from `start` to `end`; negative when `end` comes first."""
        first, last = start.astimezone(UTC), end.astimezone(UTC)
        if last < first:
            return -self.working_between(last, first)
        total = _ZERO
        day = first.astimezone(self.zone).date()
        final = last.astimezone(self.zone).date()
        while day <= final:
            for opens, closes in self.intervals(day):
                begin = opens if opens > first else first
                stop = closes if closes < last else last
                if stop > begin:
                    total += stop - begin
            day += _DAY
        return total
