"""The State Council's announcement of a year's days off 国务院办公厅关于部分节假日安排的通知, read from its plain text.

Owns the forms such a text has had since 2013. What it does not understand it gives back, never guesses: each sentence is read, or unread,
or left aside with nothing of a day in it. It holds what it read against the text itself: the weekday in brackets, the count «共N天», the
seven holidays by law. Reads no files. Called by `hub policy days`.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

import msgspec

from hub.errors import ConfigError
from hub.model.limits.calendar import AnnouncedYear, DaysOff, WorkedDay

_DAY = timedelta(days=1)
_HOLIDAYS = ("元旦", "春节", "清明", "劳动", "端午", "中秋", "国庆")
"""Words for the holidays of the law 全国年节及纪念日放假办法, each in the name that announcements give it."""
_WEEKDAYS = "一二三四五六日"

_TITLE = re.compile(r"(20\d{2})年(?:部分|全年|法定)*(?:节假日|各?节日|放假)")
_NUMBER = re.compile(r"((?:国办|国|[\u4e00-\u9fff]政办|[\u4e00-\u9fff]政)发(?:明电|电|函)?)[〔\[(【](\d{4})[〕\])】]第?(\d+)号")
_NUMBERED = r"(?:[一二三四五六七八九十]+、|\([一二三四五六七八九十]+\)|\d{1,2}[.、])"
_NAME = r"[^\d:,。;]{2,20}?"
_HEAD = re.compile(rf"(?:{_NUMBERED}({_NAME}):?|({_NAME}节|元旦):)(?=\d)")
_DATED = re.compile(r"\d日")
_ISSUED = re.compile(r"(?:[\u4e00-\u9fff]{2,20}[厅室府局委])?20\d{2}年\d{1,2}月\d{1,2}日(?:\([^()]*\))?")
_ASIDE = re.compile(r"(?:鼓励|倡导|提倡)")
"""How a sentence begins that asks for rest beside the days off, such as leave on New Year's Eve."""

_TO = "[至到~〜\\-—–]"
_WHEN = rf"(?:(20\d{{2}})年)?(?:(\d{{1,2}})月)?(\d{{1,2}})(?:日(?:\(([^()]*)\))?|(?={_TO}))"
_FROM_TO = re.compile(rf"{_WHEN}(?:{_TO}+{_WHEN})?")
_AND = re.compile("[、,和及]")
_WORKED = re.compile("(?:均|都|照常|正常|调休)*(?:上班|补班)")
_FREE = re.compile("放假|补休|调休|公休|休息")
_COUNTED = re.compile(r",?(?:共计?|放假|连休)?(\d{1,2})天")
_JOINED = re.compile("(?:,?(?:与|和)周末(?:连休|相连)|,?补休)")
_REMARK = re.compile("[,()]|不?调休|公休|不补休")


class Reading(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What was read of an announcement. Only without `problems` and `unread` is it whole."""

    announced: AnnouncedYear | None
    """None when the year is not known or no day was read."""
    problems: tuple[str, ...]
    """Where the text contradicts itself, the calendar, or lacks something."""
    unread: tuple[str, ...]
    """Sentences that seem to say something of days, and were not understood."""
    warnings: tuple[str, ...]
    """What is odd but may be meant."""
    aside: tuple[str, ...]
    """Sentences that set no day: to whom it is addressed, what to mind, when it was issued."""

    @property
    def whole(self) -> bool:
        """Whether everything was read and nothing contradicts."""
        return self.announced is not None and not self.problems and not self.unread


def notice_text(raw: bytes) -> str:
    """The text of a file as it was saved, in UTF-8 or GB18030. Raises ConfigError when it is neither."""
    for encoding in ("utf-8-sig", "gb18030"):
        with contextlib.suppress(UnicodeDecodeError):
            text = raw.decode(encoding)
            if "\0" not in text:
                return text
    raise ConfigError("the announcement is no plain text (UTF-8 or GB18030): save or copy it as text")


def read_notice(text: str, *, year: int | None = None, number: str | None = None) -> Reading:
    """Read an announcement; `year` and `number` where the text does not say them."""
    plain = unicodedata.normalize("NFKC", text)
    reader = _Reader()
    wanted = _the_year(plain, year, reader.problems)
    number = number or _the_number(plain, reader.problems)
    if wanted is not None:
        reader.read(plain, wanted)
    off, work = tuple(reader.off), tuple(reader.work)
    if wanted is None or not off:
        if wanted is not None:
            reader.problems.append("the text gives no day off")
        return _reading(reader, None, ())
    announced = AnnouncedYear(year=wanted, announcement=number or "", off=off, work=work)
    reader.problems += _contradictions(announced)
    names = "".join(one.name for one in off)
    reader.problems += [f"the text says nothing of {word}" for word in _HOLIDAYS if word not in names]
    return _reading(reader, announced, tuple(f"line {line}: {oddity}" for line, oddity in announced.oddities()))


def _reading(reader: _Reader, announced: AnnouncedYear | None, warnings: tuple[str, ...]) -> Reading:
    return Reading(
        announced=announced,
        problems=tuple(reader.problems),
        unread=tuple(reader.unread),
        warnings=warnings,
        aside=tuple(reader.aside),
    )


def _the_year(plain: str, given: int | None, problems: list[str]) -> int | None:
    found = sorted({int(match[1]) for match in _TITLE.finditer(re.sub(r"\s", "", plain))})
    if given is None and len(found) != 1:
        told = f"speaks of the days off of {', '.join(map(str, found))}" if found else "does not say of which year it is"
        problems.append(f"the text {told}; say it with --year")
        return None
    if given is not None and found and given not in found:
        problems.append(f"the text is of {found[0]}, not of {given}")
    return given if given is not None else found[0]


def _the_number(plain: str, problems: list[str]) -> str | None:
    found = sorted({f"{match[1]}〔{match[2]}〕{match[3]}号" for match in _NUMBER.finditer(plain)})
    if len(found) == 1:
        return found[0]
    told = f"names several numbers ({', '.join(found)})" if found else "names no number (such as 国办发明电〔2025〕7号)"
    problems.append(f"the text {told}; say the announcement's with --number")
    return None


def _contradictions(announced: AnnouncedYear) -> Iterator[str]:
    off = {day: one.name for one in announced.off for day in one.days()}
    for one in announced.off:
        for day in (one.first, one.last):
            if not announced.holds(day):
                yield f"line {one.line}: {one.name}: {day} lies outside {announced.year}"
    for worked in announced.work:
        if not announced.holds(worked.day):
            yield f"line {worked.line}: {worked.day} lies outside {announced.year}"
        if worked.day in off:
            yield f"line {worked.line}: {worked.day} is a working day and a day off ({off[worked.day]})"


def _paragraphs(plain: str) -> Iterator[tuple[int, str]]:
    """The text's paragraphs without blanks, each with the line it begins on; a line that was only wrapped goes on."""
    begun, so_far = 0, ""
    for number, line in enumerate(plain.splitlines(), start=1):
        bare = re.sub(r"\s", "", line)
        ended = so_far[-1:] in ("。", "!", ";") or (so_far.endswith(":") and not re.match(_NUMBERED, so_far))
        if so_far and (not bare or ended or re.match(_NUMBERED, bare)):
            yield begun, so_far
            so_far = ""
        if bare:
            begun = begun if so_far else number
            so_far += bare
    if so_far:
        yield begun, so_far


@dataclass
class _Sentence:
    """What one sentence says, as far as it was understood."""

    off: list[tuple[date, date]] = field(default_factory=list)
    work: list[date] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    joined: bool = False
    """Whether the weekend belongs to the days off without being told."""
    rest: str = ""
    """What was not understood of it."""


class _Reader:
    """Goes through the paragraphs and keeps what it found."""

    def __init__(self) -> None:
        self.off: list[DaysOff] = []
        self.work: list[WorkedDay] = []
        self.problems: list[str] = []
        self.unread: list[str] = []
        self.aside: list[str] = []
        self._line = 0
        self._year = 0
        self._month: int | None = None

    def read(self, plain: str, year: int) -> None:
        """Read a text whose characters are normalised."""
        self._year = year
        name = ""
        for self._line, paragraph in _paragraphs(plain):
            head = _HEAD.match(paragraph)
            if head is not None:
                name, self._month = head[1] or head[2], None
            sentences = [one for one in re.split("[。;!]", paragraph[head.end() if head is not None else 0 :]) if one]
            before = len(self.off)
            for sentence in sentences:
                self._take(name, sentence, of_item=head is not None)
            if head is not None and len(self.off) == before:
                self.problems.append(f"line {self._line}: {name}: no day off was read")

    def _take(self, name: str, sentence: str, *, of_item: bool) -> None:
        if _ASIDE.match(sentence) or _ISSUED.fullmatch(sentence) or not (of_item or _DATED.search(sentence)):
            self.aside.append(f"line {self._line}: {sentence}")
            return
        found = self._understood(sentence)
        if found.rest or not name:
            part = f"«{found.rest}» of " if found.rest and found.rest != sentence else ""
            self.unread.append(f"line {self._line}: {part}«{sentence}»")
        if name and (of_item or not found.rest):
            self.off += [DaysOff(name=name, first=first, last=last, line=self._line) for first, last in found.off]
            self.work += [WorkedDay(day=day, line=self._line) for day in found.work]
            self._check_count(name, found)

    def _understood(self, sentence: str) -> _Sentence:
        found, at = _Sentence(), 0
        while at < len(sentence):
            rest = sentence[at:]
            if match := _COUNTED.match(rest):
                found.counts.append(int(match[1]))
            elif match := _JOINED.match(rest):
                found.joined = True
            elif match := _REMARK.match(rest):
                pass
            else:
                length = self._clause(rest, found)
                if not length:
                    found.rest = rest
                    return found
                at += length
                continue
            at += match.end()
        return found

    def _clause(self, text: str, found: _Sentence) -> int:
        """Read «days … 放假» or «days … 上班» at the beginning of a text; how many letters it took, 0 when it is neither."""
        spans: list[tuple[date, date]] = []
        at = 0
        month = self._month
        while match := _FROM_TO.match(text, at):
            span = self._span(match)
            if span is None:
                break
            spans.append(span)
            at = match.end()
            if joint := _AND.match(text, at):
                at = joint.end()
        if spans and (verb := _WORKED.match(text, at)):
            found.work += [first + _DAY * number for first, last in spans for number in range((last - first).days + 1)]
        elif spans and (verb := _FREE.match(text, at)):
            found.off += spans
            found.joined = found.joined or verb[0] == "补休"
        else:
            self._month = month
            return 0
        return verb.end()

    def _span(self, match: re.Match[str]) -> tuple[date, date] | None:
        first = self._date(match[1], match[2], match[3], match[4], self._year)
        if first is None or match[7] is None:
            return None if first is None else (first, first)
        last = self._date(match[5], match[6], match[7], match[8], first.year)
        if last is not None and last < first:
            self.problems.append(f"line {self._line}: «{match[0]}» ends before it begins")
            return None
        return None if last is None else (first, last)

    def _date(self, year: str | None, month: str | None, day: str, note: str | None, usual: int) -> date | None:
        self._month = int(month) if month is not None else self._month
        if self._month is None:
            return None
        said = f"{year or usual}年{self._month}月{day}日"
        try:
            found = date(int(year or usual), self._month, int(day))
        except ValueError:
            self.problems.append(f"line {self._line}: {said} is no day of the calendar")
            return None
        weekday = re.search("(?:周|星期|礼拜)([一二三四五六日天])", note or "")
        if weekday is not None and _WEEKDAYS.index(weekday[1].replace("天", "日")) != found.weekday():
            self.problems.append(f"line {self._line}: {said} is 周{_WEEKDAYS[found.weekday()]}, the text says {weekday[0]}")
        return found

    def _check_count(self, name: str, found: _Sentence) -> None:
        days = {first + _DAY * number for first, last in found.off for number in range((last - first).days + 1)}
        counts = {len(days)}
        if found.joined and days:
            around = _with_weekends(days)
            counts.add(len(around))
            if around == days and not any(day.weekday() >= 5 for day in days):
                self.problems.append(f"line {self._line}: {name}: {', '.join(map(str, sorted(days)))} touches no weekend")
        self.problems += [
            f"line {self._line}: {name}: {len(days)} days off are given, the text counts {said}"
            for said in found.counts
            if said not in counts
        ]


def _with_weekends(days: set[date]) -> set[date]:
    """Days off together with the weekends they touch."""
    around = set(days)
    for day in sorted(days):
        for step in (_DAY, -_DAY):
            beside = day + step
            while beside.weekday() >= 5:
                around.add(beside)
                beside += step
    return around
