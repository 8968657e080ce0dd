"""The year's days off: the file a district enters itself, what it changes, and what a check says of it."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from hub.config.days import DAYS, read_days, with_year, year_text
from hub.config.district import check_district, load_district
from hub.config.documents import Document
from hub.config.policy import policy_from_sources
from hub.errors import ConfigError
from hub.model.limits.calendar import AnnouncedYear, Calendar, DaysOff, WorkedDay
from hub.model.limits.state import DeadlineKind
from hub.model.policy.rules import Limit
from hub.spine.ledger.policies import Policies
from hub.spine.ledger.rulebook import Rulebook
from tests.logged import logged

CONFIG = Path(__file__).parents[2] / "config"
FILE = """\
# entered by the office
years:
  2098:
    announcement: 国办发明电〔2097〕7号
    days_off:
      元旦: 2097-12-31 to 2098-01-02
      劳动节: [2098-05-01, 2098-05-05 to 2098-05-06]
    working_days: [2097-12-28, 2098-04-27]
"""


def read(text: str) -> tuple[Calendar, list[ConfigError]]:
    problems: list[ConfigError] = []
    return read_days(Document(text, DAYS, problems)), problems


def calendar(text: str = FILE) -> Calendar:
    found, problems = read(text)
    assert not problems, problems
    return found


def warnings(directory: Path, today: date) -> tuple[str, ...]:
    checked = check_district(directory, {}, today=today)
    assert not checked.problems
    return checked.warnings


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


def test_the_file_says_which_days_of_its_year_are_worked() -> None:
    found = calendar()
    assert found.knows_year(2098)
    assert not found.knows_year(2099)
    off = ("2098-01-01", "2098-01-02", "2098-05-01", "2098-05-05", "2098-05-06", "2098-05-03", "2097-12-31")
    assert not any(found.is_working_day(date.fromisoformat(day)) for day in off)
    assert all(found.is_working_day(date.fromisoformat(day)) for day in ("2098-04-27", "2098-10-01", "2098-05-07"))


def test_the_example_on_the_page_is_read() -> None:
    page = (CONFIG.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    found = calendar(page.partition(f"```yaml\n# {DAYS}\n")[2].partition("```")[0])
    assert found.years[2026].announcement == "国办发明电〔2025〕7号"


def test_a_december_day_of_the_year_before_moves_and_its_other_days_stay() -> None:
    found = calendar()
    assert date(2097, 12, 28).weekday() == 5
    assert found.is_working_day(date(2097, 12, 28))
    assert not found.is_working_day(date(2097, 12, 29))
    assert not found.knows_year(2097)


def test_the_file_wins_for_its_years_over_what_the_package_knows() -> None:
    text = "years:\n  2024:\n    announcement: 本区决定\n    days_off: {元旦: 2024-01-01}\n"
    found = calendar(text)
    assert found.is_working_day(date(2024, 2, 12))  # Spring Festival by the package
    assert not found.is_working_day(date(2024, 2, 18))  # worked in lieu by the package
    assert not found.is_working_day(date(2025, 1, 28))  # another year: the package's


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ("2098-04-27]", "2098-05-05]", 8, "years.2098.working_days.1", "as a day off on line 7"),
        ("2098-04-27]", "2099-04-27]", 8, "years.2098.working_days.1", "lies outside 2098"),
        ("2097-12-31 to", "2097-11-30 to", 6, "years.2098.days_off.元旦", "2097-11-30 lies outside 2098"),
        ("2098-01-02\n", "2097-12-30\n", 6, "years.2098.days_off.元旦", "ends before it begins"),
        ("2098-05-01,", "05-01,", 7, "years.2098.days_off.劳动节.0", "is not a day"),
        ("2098-05-01,", "2098-02-29,", 7, "years.2098.days_off.劳动节.0", "is not a day"),
        ("2098:", "98:", 3, "years.98", "is not a year"),
        ("    announcement: 国办发明电〔2097〕7号\n", "", 3, "years.2098", "key 'announcement' is missing"),
        ("working_days:", "work:", 8, "years.2098.work", "unknown key"),
        ("[2097-12-28, 2098-04-27]", "[2098-04-27, 2098-04-27]", 8, "years.2098.working_days", "is listed twice"),
    ],
)
def test_a_mistake_is_named_by_line_and_key(old: str, new: str, line: int, key: str, words: str) -> None:
    assert old in FILE
    _, problems = read(FILE.replace(old, new, 1))
    assert any(one.line == line and str(one.key).startswith(key) and words in one.reason for one in problems), problems


def test_a_year_given_twice_is_refused() -> None:
    _, problems = read(FILE + FILE.partition("years:\n")[2])
    assert [(one.line, one.key, one.reason) for one in problems] == [(9, "years.2098", "key given twice (first on line 3)")]


def test_years_may_contradict_one_another_no_more_than_themselves() -> None:
    other = (
        FILE.partition("years:\n")[2].replace("2098", "2097").replace("2097-12-31 to 2097-01-02", "2097-12-27 to 2097-12-28")
    )
    _, problems = read(FILE + other.replace("[2097-12-28, 2097-04-27]", "2097-04-27"))
    assert [one.reason for one in problems] == ["2097-12-28 is given as a working day here and as a day off on line 12"]


def test_a_check_warns_of_what_is_odd_and_takes_it(directory: Path) -> None:
    (directory / DAYS).write_text(
        "years:\n  2098:\n    announcement: 试〔2097〕1号\n    days_off:\n      元旦: 2098-01-01\n"
        "      端午节: 2098-06-07 to 2098-06-08\n      春节: 2098-02-01 to 2098-02-20\n    working_days: [2098-10-08]\n",
        encoding="utf-8",
    )
    found = "\n".join(warnings(directory, date(2098, 3, 1)))
    assert f"{DAYS}:6: 端午节: 2098-06-07 to 2098-06-08 is a weekend anyway" in found
    assert f"{DAYS}:7: 春节: 2098-02-01 to 2098-02-20 is 20 days off in a row" in found
    assert f"{DAYS}:8: 2098-10-08 is a Wednesday, worked anyway" in found
    assert "元旦" not in found


def test_a_check_says_from_october_on_that_the_next_year_is_missing(directory: Path) -> None:
    (directory / DAYS).write_text(FILE, encoding="utf-8")
    assert not any("2099" in warning for warning in warnings(directory, date(2098, 9, 30)))
    (warning,) = [warning for warning in warnings(directory, date(2098, 10, 1)) if "2099" in warning]
    assert "hub policy days" in warning
    assert any("2099" in warning for warning in warnings(directory, date(2099, 1, 1)))
    (directory / DAYS).unlink()
    assert any("2098" in warning for warning in warnings(directory, date(2098, 9, 30)))


def test_the_file_is_part_of_the_policy_and_one_without_it_is_read_as_before(directory: Path) -> None:
    bare = load_district(directory, {})
    assert DAYS not in bare.policy.sources
    (directory / DAYS).write_text(FILE, encoding="utf-8")
    district = load_district(directory, {})
    assert district.policy.sources[DAYS] == FILE
    read = policy_from_sources(bare.policy.sources, district.areas, district.directory, version=1)
    assert read.sources == bare.policy.sources
    assert not read.calendar.knows_year(2098)
    with pytest.raises(ConfigError, match="is not a year") as refused:
        policy_from_sources(
            {**bare.policy.sources, DAYS: FILE.replace("2098:", "98:")}, district.areas, district.directory, version=2
        )
    assert (refused.value.file, refused.value.line) == (DAYS, 3)


def test_limits_run_on_the_districts_own_days(directory: Path) -> None:
    limit = Limit(
        kind=DeadlineKind.FINISH, duration=load_district(directory, {}).policy.hours.day_length, working=True, words=""
    )
    zone = load_district(directory, {}).zone
    friday = datetime(2098, 5, 2, 9, 0, tzinfo=zone)
    assert load_district(directory, {}).policy.due(friday, limit) == friday.replace(hour=17, minute=30)
    (directory / DAYS).write_text(FILE.replace("2098-05-01,", "2098-05-01 to 2098-05-02,"), encoding="utf-8")
    assert load_district(directory, {}).policy.due(friday, limit) == friday.replace(day=7, hour=17, minute=30)


async def test_the_running_hub_says_in_its_log_which_year_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [datetime(2098, 9, 30, 15, 59, tzinfo=UTC)]  # a minute before October in the district
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] = datetime(2098, 9, 30, 16, 0, tzinfo=UTC)
        if len(waits) == 3:
            raise InterruptedError

    monkeypatch.setattr("hub.spine.ledger.policies.asyncio.sleep", sleep)
    rulebook = Rulebook(load_district(CONFIG, {}), policy_from_sources)
    policies = Policies(None, None, rulebook, lambda: now[0])  # type: ignore[arg-type]
    with logged() as out, pytest.raises(InterruptedError):
        await policies.remind()
    assert waits == [24 * 3600.0] * 3
    said = [line for line in out.getvalue().splitlines() if "days off" in line]
    assert ["2099" in line for line in said] == [False, False, True, False, True]


YEAR = AnnouncedYear(
    year=2099,
    announcement="国办发明电〔2098〕3号",
    off=(
        DaysOff(name="元旦", first=date(2099, 1, 1), last=date(2099, 1, 1)),
        DaysOff(name="国庆节、中秋节", first=date(2099, 10, 1), last=date(2099, 10, 7)),
        DaysOff(name="元旦", first=date(2099, 1, 5), last=date(2099, 1, 5)),
    ),
    work=(WorkedDay(day=date(2099, 9, 27)),),
)


def test_a_year_is_written_so_that_it_is_read_again() -> None:
    found = calendar(year_text(YEAR)).years[2099]
    assert (found.announcement, [worked.day for worked in found.work]) == (YEAR.announcement, [date(2099, 9, 27)])
    assert sorted((one.name, one.first, one.last) for one in found.off) == sorted(
        (one.name, one.first, one.last) for one in YEAR.off
    )


@pytest.mark.parametrize(
    "before", [None, "", "# nothing yet\n", "years:\n", FILE, FILE.replace("\n  ", "\n    ") + "\n# the end\n"]
)
def test_a_year_is_added_and_what_stands_there_stays(before: str | None) -> None:
    after = with_year(before, YEAR)
    assert calendar(after).knows_year(2099)
    lines = iter(after.splitlines())
    assert all(line in lines for line in (before or "").splitlines())
    assert with_year(after, YEAR) == after


def test_years_stand_in_their_order() -> None:
    text = with_year(
        FILE.replace("2098", "2096").replace("2097", "2095") + "  # and 2098\n" + FILE.partition("years:\n")[2], YEAR
    )
    years = [line.strip() for line in text.splitlines() if line.startswith("  2") or "and 2098" in line]
    assert years == ["2096:", "# and 2098", "2098:", "2099:"]
    earlier = with_year(with_year(None, YEAR), calendar().years[2098])
    assert list(calendar(earlier).years) == [2098, 2099]


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (year_text(YEAR).replace("2099-01-05", "2099-01-06"), "stands there already"),
        ("years: {2098: {announcement: a, days_off: {元旦: 2098-01-01}}}\n", "in braces"),
        ("years: [\n", "not readable as YAML"),
        ("years:\n  2098:\n    announcement: a\n    days_off: {元旦: 2099-01-01}\n", "lies outside 2098"),
    ],
)
def test_a_year_is_not_added_to_a_file_that_contradicts_it_or_has_mistakes(before: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        with_year(before, YEAR)
