"""Working time: the district's office hours on China's working days.

Owns adding and measuring working time, and which days are worked. Working days come from the announcements that the district entered
itself (`Calendar`), for other years from `chinesecalendar` (holidays and the weekend days worked in lieu, as the State Council announces
them each autumn). For a year that neither knows, Monday to Friday count. No clock, no I/O. Called by the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

import chinese_calendar
import msgspec

_DAY = timedelta(days=1)
_ZERO = timedelta(0)
_MOST_DAYS = 366 * 60
_LONG = 15
"""Days off in a row that are probably a slip of the pen: the longest holiday so far had ten."""
_ANNOUNCED_IN = 10
"""The month from which the next year should be known: the State Council announces it in October or November."""

Interval = tuple[datetime, datetime]


class DaysOff(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Days off in a row, from `first` to `last`, of one holiday; weekends in between are told with them."""

    name: str
    first: date
    last: date
    line: int = 0

    def days(self) -> tuple[date, ...]:
        """Each of them."""
        return tuple(self.first + _DAY * number for number in range((self.last - self.first).days + 1))


class WorkedDay(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A weekend day worked in lieu 调休上班."""

    day: date
    line: int = 0


class AnnouncedYear(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A year's days off and working weekends, and the number of the announcement that says so."""

    year: int
    announcement: str
    off: tuple[DaysOff, ...]
    work: tuple[WorkedDay, ...]
    line: int = 0

    def holds(self, day: date) -> bool:
        """Whether the announcement may speak of that day: of its year, or of the December before, when New Year begins there."""
        return day.year == self.year or (day.year, day.month) == (self.year - 1, 12)

    def oddities(self) -> Iterator[tuple[int, str]]:
        """What is probably a mistake but may be meant: a line, and what is odd there."""
        for off in self.off:
            days = off.days()
            if all(_weekend(day) for day in days):
                yield off.line, f"{off.name}: {_spoken(days)} is a weekend anyway"
            if len(days) > _LONG:
                yield off.line, f"{off.name}: {_spoken(days)} is {len(days)} days off in a row"
        for worked in self.work:
            if not _weekend(worked.day):
                yield worked.line, f"{worked.day} is a {worked.day:%A}, worked anyway: only weekend days are worked in lieu"


def _weekend(day: date) -> bool:
    return day.weekday() >= 5


def _spoken(days: Sequence[date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"


def is_working_day(day: date) -> bool:
    """Whether offices are open on that day in China, as the package knows; Monday to Friday in years that it doesn't know."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return not _weekend(day)


class Calendar:
    """Which days are worked: a district's own years, laid over what the package knows. A year of its own wins as a whole."""

    def __init__(self, years: Iterable[AnnouncedYear] = ()) -> None:
        self.years: Mapping[int, AnnouncedYear] = MappingProxyType({one.year: one for one in years})
        self._said: dict[date, bool] = {}
        """Days the announcements speak of: whether they are worked."""
        for one in self.years.values():
            self._said.update((day, False) for off in one.off for day in off.days())
            self._said.update((worked.day, True) for worked in one.work)

    def is_working_day(self, day: date) -> bool:
        """Whether offices are open on that day; Monday to Friday in a year nobody knows."""
        said = self._said.get(day)
        if said is not None:
            return said
        return not _weekend(day) if day.year in self.years else is_working_day(day)

    def knows_year(self, year: int) -> bool:
        """Whether that year's days off are known."""
        if year in self.years:
            return True
        try:
            chinese_calendar.is_workday(date(year, 6, 1))
        except NotImplementedError:
            return False
        return True

    def missing_years(self, today: date) -> tuple[int, ...]:
        """The years that should be known on that day and are not: the present one, and from 1 October on the next."""
        wanted = (today.year, today.year + 1) if today.month >= _ANNOUNCED_IN else (today.year,)
        return tuple(year for year in wanted if not self.knows_year(year))


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
