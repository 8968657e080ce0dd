from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.model.limits.calendar import Calendar, WorkingHours, is_working_day

SHANGHAI = ZoneInfo("Asia/Shanghai")
OFFICE = WorkingHours([(time(9), time(12)), (time(13, 30), time(17, 30))], SHANGHAI)
NEW_YORK = WorkingHours([(time(9), time(17))], ZoneInfo("America/New_York"))

instants = st.datetimes(min_value=datetime(2019, 1, 1), max_value=datetime(2027, 6, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
amounts = st.timedeltas(min_value=timedelta(minutes=1), max_value=timedelta(hours=300))


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def test_a_day_has_seven_working_hours() -> None:
    assert OFFICE.day_length == timedelta(hours=7)


def test_work_goes_on_after_lunch() -> None:
    assert OFFICE.add_working(local("2026-03-03T11:30"), timedelta(hours=1)) == local("2026-03-03T14:00")


def test_work_that_starts_at_night_begins_in_the_morning() -> None:
    assert OFFICE.add_working(local("2026-03-03T23:40"), timedelta(hours=1)) == local("2026-03-04T10:00")


def test_the_spring_festival_is_no_working_time() -> None:
    assert OFFICE.add_working(local("2024-02-09T17:30"), timedelta(hours=1)) == local("2024-02-18T10:00")


def test_a_weekend_day_worked_in_lieu_counts() -> None:
    assert is_working_day(date(2024, 2, 18))
    assert date(2024, 2, 18).weekday() == 6
    assert not is_working_day(date(2024, 2, 12))


def test_a_year_without_announced_holidays_counts_monday_to_friday() -> None:
    assert not Calendar().knows_year(2098)
    assert Calendar().knows_year(2024)
    assert is_working_day(date(2098, 10, 1))  # a Wednesday, and National Day
    assert not is_working_day(date(2098, 10, 4))


@pytest.mark.parametrize(
    ("today", "missing"), [("2097-09-30", (2097,)), ("2097-10-01", (2097, 2098)), ("2024-10-01", ()), ("2024-03-01", ())]
)
def test_the_next_year_is_missed_from_october_on(today: str, missing: tuple[int, ...]) -> None:
    assert Calendar().missing_years(date.fromisoformat(today)) == missing


def test_an_amount_that_ends_at_closing_time_ends_that_day() -> None:
    assert OFFICE.add_working(local("2026-03-03T09:00"), timedelta(hours=7)) == local("2026-03-03T17:30")


@given(instants, amounts)
def test_what_was_added_is_between(start: datetime, amount: timedelta) -> None:
    end = OFFICE.add_working(start, amount)
    assert end > start
    assert OFFICE.working_between(start, end) == amount


@given(instants, amounts)
def test_an_end_that_was_computed_is_found_again_from_any_moment(start: datetime, amount: timedelta) -> None:
    due = OFFICE.add_working(start, amount)
    now = start + amount / 2
    left = OFFICE.working_between(now, due)
    if left:
        assert OFFICE.add_working(now, left) == due


@given(instants, amounts)
def test_going_back_is_the_inverse_of_going_on(start: datetime, amount: timedelta) -> None:
    back = OFFICE.add_working(start, -amount)
    assert back < start
    assert OFFICE.working_between(back, start) == amount
    assert OFFICE.working_between(start, back) == -amount


@given(instants, instants, instants)
def test_working_time_adds_up(a: datetime, b: datetime, c: datetime) -> None:
    assert OFFICE.working_between(a, b) + OFFICE.working_between(b, c) == OFFICE.working_between(a, c)


@given(instants, amounts, amounts)
def test_more_work_never_ends_earlier(start: datetime, less: timedelta, more: timedelta) -> None:
    first, second = sorted((less, more))
    assert OFFICE.add_working(start, first) <= OFFICE.add_working(start, second)


@given(instants, amounts)
def test_a_zone_with_daylight_saving_keeps_the_inverse(start: datetime, amount: timedelta) -> None:
    end = NEW_YORK.add_working(start, amount)
    assert NEW_YORK.working_between(start, end) == amount


@pytest.mark.parametrize("hours", [[], [(time(12), time(9))], [(time(9), time(12)), (time(11), time(14))]])
def test_hours_that_make_no_sense_are_refused(hours: list[tuple[time, time]]) -> None:
    with pytest.raises(ValueError, match="working hours"):
        WorkingHours(hours, SHANGHAI)


def test_a_calendar_without_working_days_does_not_search_for_ever() -> None:
    never = WorkingHours([(time(9), time(12))], SHANGHAI, working_day=lambda day: False)
    with pytest.raises(ValueError, match="60 years"):
        never.add_working(local("2026-03-03T09:00"), timedelta(hours=1))
