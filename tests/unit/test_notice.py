"""Announcements of the year's days off, read from their text. The texts in `days/` are the project's own, in the form of the real ones."""

from datetime import date, timedelta
from pathlib import Path

import chinese_calendar
import pytest

from hub.config.notice import Reading, notice_text, read_notice
from hub.errors import ConfigError
from hub.model.limits.calendar import Calendar

TEXTS = Path(__file__).parent / "days"
ITEMS = {
    "元旦": "1月1日（周四）至3日（周六）放假调休，共3天。1月4日（周日）上班。",
    "春节": "2月15日（周日）至23日（周一）放假调休，共9天。2月14日（周六）、2月28日（周六）上班。",
    "清明节": "4月4日（周六）至6日（周一）放假，共3天。",
    "劳动节": "5月1日（周五）至5日（周二）放假调休，共5天。5月9日（周六）上班。",
    "端午节": "6月19日（周五）至21日（周日）放假，共3天。",
    "中秋节": "9月25日（周五）至27日（周日）放假，共3天。",
    "国庆节": "10月1日（周四）至7日（周三）放假调休，共7天。9月20日（周日）、10月10日（周六）上班。",
}
WORKED = {
    "元旦": {"01-04"},
    "春节": {"02-14", "02-28"},
    "劳动节": {"05-09"},
    "国庆节": {"09-20", "10-10"},
}


def notice(year: int = 2026, more: str = "", **items: str) -> Reading:
    """The announcement of 2026 with other items."""
    lines = [
        f"{number}、{name}：{text}" for number, (name, text) in zip("一二三四五六七八", (ITEMS | items).items(), strict=False)
    ]
    return read_notice("\n".join([f"国务院办公厅关于{year}年部分节假日安排的通知", "国办发明电〔2025〕7号", *lines, more]))


def days_of(found: Reading, name: str) -> set[str]:
    assert found.announced is not None
    return {f"{day:%m-%d}" for one in found.announced.off if one.name == name for day in one.days()}


def worked(found: Reading) -> set[str]:
    assert found.announced is not None
    return {f"{one.day:%m-%d}" for one in found.announced.work}


@pytest.mark.parametrize(
    ("year", "number"), [(2024, "国办发明电〔2023〕7号"), (2025, "国办发明电〔2024〕12号"), (2026, "国办发明电〔2025〕7号")]
)
def test_what_is_read_of_a_year_is_what_the_calendar_package_knows(year: int, number: str) -> None:
    found = read_notice((TEXTS / f"{year}.txt").read_text(encoding="utf-8"))
    assert (found.problems, found.unread, found.warnings) == ((), (), ())
    assert found.whole
    assert found.announced is not None
    assert (found.announced.year, found.announced.announcement) == (year, number)
    ours = Calendar([found.announced])
    for number_of_day in range(365):
        day = date(year, 1, 1) + timedelta(days=number_of_day)
        assert ours.is_working_day(day) is chinese_calendar.is_workday(day), day


def test_nothing_of_the_text_gets_lost() -> None:
    found = read_notice((TEXTS / "2024.txt").read_text(encoding="utf-8"))
    aside = "\n".join(found.aside)
    assert all(words in aside for words in ("各省、自治区", "鼓励各单位", "排好值班", "2023年10月25日"))
    assert found.aside[3].startswith("line 8: 鼓励")


@pytest.mark.parametrize(
    ("name", "text", "days", "work"),
    [
        ("元旦", "1月1日放假1天。", {"01-01"}, set()),
        ("元旦", "1月1日（星期四）放假，不调休。", {"01-01"}, set()),
        ("元旦", "2026年1月1日至2026年1月3日放假公休,共3天。1月4日（星期天）照常上班。", {"01-01", "01-02", "01-03"}, {"01-04"}),
        ("元旦", "1月1日－3日放假调休，共3天。", {"01-01", "01-02", "01-03"}, set()),
        ("元旦", "1月1至3日放假调休，共3天；1月4日（周日）调休上班。", {"01-01", "01-02", "01-03"}, {"01-04"}),
        ("清明节", "4月6日放假，与周末连休。", {"04-06"}, set()),
        ("清明节", "4月6日（周一）放假，与周末连休，共3天。", {"04-06"}, set()),
        ("清明节", "4月5日（周日）放假，4月6日（星期一）补休。", {"04-05", "04-06"}, set()),
        ("春节", "2月16日至17日放假调休，共2天。2月14日（周六），28日（周六）均上班。", {"02-16", "02-17"}, {"02-14", "02-28"}),
        ("春节", "2月16日（周一）、17日（周二）放假，共2天。", {"02-16", "02-17"}, set()),
        ("劳动节", "4月30日至5月2日放假调休，共3天。", {"04-30", "05-01", "05-02"}, set()),
    ],
)  # fmt: skip
def test_every_usual_form_is_read(name: str, text: str, days: set[str], work: set[str]) -> None:
    found = notice(**{name: text})
    assert found.whole, found
    assert days_of(found, name) == days
    assert worked(found) == work.union(*(days for other, days in WORKED.items() if other != name))


def test_a_new_year_that_begins_in_december_is_read() -> None:
    text = "2025年12月30日（周二）至2026年1月1日（周四）放假调休，共3天。2025年12月28日（周日）上班。"
    found = notice(元旦=text)
    assert found.whole, found
    assert days_of(found, "元旦") == {"12-30", "12-31", "01-01"}
    assert found.announced is not None
    assert date(2025, 12, 28) in [one.day for one in found.announced.work]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("元旦", "1月1日（周五）放假1天。", "line 3: 2026年1月1日 is 周四, the text says 周五"),
        ("元旦", "1月1日至3日（星期天）放假调休，共3天。", "line 3: 2026年1月3日 is 周六, the text says 星期天"),
        ("元旦", "1月1日（周四）放假1天。1月4日（周六）上班。", "line 3: 2026年1月4日 is 周日, the text says 周六"),
        ("端午节", "6月19日至21日放假，共4天。", "line 7: 端午节: 3 days off are given, the text counts 4"),
        ("端午节", "6月19日放假2天。", "line 7: 端午节: 1 days off are given, the text counts 2"),
        ("端午节", "6月19日放假，与周末连休，共4天。", "line 7: 端午节: 1 days off are given, the text counts 4"),
        ("端午节", "6月17日放假，与周末连休。", "line 7: 端午节: 2026-06-17 touches no weekend"),
        ("端午节", "6月31日放假。", "line 7: 2026年6月31日 is no day of the calendar"),
        ("端午节", "6月19日至17日放假。", "ends before it begins"),
        ("端午节", "7月19日（周日）上班。", "line 7: 端午节: no day off was read"),
        ("端午节", "6月19日放假1天。6月19日上班。", "line 7: 2026-06-19 is a working day and a day off (端午节)"),
        ("端午节", "2027年6月18日放假1天。", "line 7: 端午节: 2027-06-18 lies outside 2026"),
    ],
)
def test_what_contradicts_itself_or_the_calendar_is_said(name: str, text: str, problem: str) -> None:
    found = notice(**{name: text})
    assert not found.whole
    assert any(problem in one for one in found.problems), found.problems


@pytest.mark.parametrize(
    ("name", "text", "unread"),
    [
        ("元旦", "1月1日放假，1月2日下午休假半天。", "«1月2日下午休假半天» of «1月1日放假,1月2日下午休假半天»"),
        ("元旦", "1月1日放假半天。", "«半天» of «1月1日放假半天»"),
        ("元旦", "1月1日放假。1月2日另行通知。", "«1月2日另行通知»"),
        ("元旦", "1月1日不放假。", "«1月1日不放假»"),
    ],
)
def test_what_was_not_understood_is_given_back(name: str, text: str, unread: str) -> None:
    found = notice(**{name: text})
    assert not found.whole
    assert f"line 3: {unread}" in found.unread


def test_a_day_outside_the_items_is_given_back() -> None:
    found = notice(more="9月3日为纪念日，全国放假。")
    assert found.unread == ("line 10: «9月3日为纪念日,全国放假»",)
    assert read_notice("2026年放假安排\n1月1日（周四）放假。").unread == ("line 1: «2026年放假安排1月1日(周四)放假»",)


def test_a_holiday_the_text_does_not_name_is_missed() -> None:
    found = read_notice("关于2026年部分节假日安排的通知\n国办发明电〔2025〕7号\n\n元旦：1月1日（周四）放假1天。\n")
    assert found.announced is not None
    assert [f"the text says nothing of {name}" for name in ("春节", "清明", "劳动", "端午", "中秋", "国庆")] == list(
        found.problems
    )


def test_what_is_odd_is_a_warning() -> None:
    found = notice(中秋节="9月26日（周六）放假1天。")
    assert found.whole
    assert found.warnings == ("line 8: 中秋节: 2026-09-26 is a weekend anyway",)


def test_year_and_number_can_be_said_when_the_text_does_not() -> None:
    text = "\n".join(f"{number}、{name}：{item}" for number, (name, item) in zip("一二三四五六七", ITEMS.items(), strict=True))
    bare = read_notice(text)
    assert bare.announced is None
    assert any("--year" in problem for problem in bare.problems)
    assert any("--number" in problem for problem in bare.problems)
    told = read_notice(text, year=2026, number="国办发明电〔2025〕7号")
    assert told.whole
    assert told.announced is not None
    assert (told.announced.year, told.announced.announcement) == (2026, "国办发明电〔2025〕7号")
    wrong = read_notice((TEXTS / "2025.txt").read_text(encoding="utf-8"), year=2026)
    assert "the text is of 2025, not of 2026" in wrong.problems
    assert any("the text says" in problem for problem in wrong.problems)


def test_two_numbers_are_not_chosen_from() -> None:
    found = notice(more="原《通知》（苏政办发〔2025〕3号）同时废止。")
    assert any("several numbers (国办发明电〔2025〕7号, 苏政办发〔2025〕3号)" in problem for problem in found.problems)


def test_a_text_saved_on_windows_is_read_and_a_document_is_not() -> None:
    text = "元旦：1月1日放假"
    assert notice_text(text.encode("gb18030")) == notice_text(text.encode("utf-8-sig")) == text
    with pytest.raises(ConfigError, match="plain text"):
        notice_text(b"PK\x03\x04\x00\x00")


def test_letters_copied_from_a_pdf_are_read() -> None:
    found = notice(元旦="1⽉1⽇（周四）放假１天。")
    assert found.whole, found
    assert days_of(found, "元旦") == {"01-01"}
