"""Reads what a client sends: arguments of query and form, times, lists, pages, attributes. Untrusted input becomes typed values.

An empty argument counts as one that was not sent ("Optional Arguments" of the specification). Refusals are Open311Error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from hub_open311.server.errors import Open311Error

WINDOW = timedelta(days=90)
"""The default span of a search, and the longest ("Response Volume" and start_date of the specification)."""
MOST = 1000
"""Requests in one answer, by the same rule."""
MOST_FIELDS = 300
MOST_FILES = 6
_ATTRIBUTE = re.compile(r"attribute\[(?P<code>[^\[\]]{1,60})\](?P<many>\[\d*\])?")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LOST_PLUS = re.compile(r"(?<=\d\d:\d\d) (?=\d\d:?\d\d$)|(?<=\.\d{3}) (?=\d\d:?\d\d$)")


@dataclass(frozen=True)
class Asked:
    """The arguments of one request. `get` takes the first that is not empty, the form's before the query's."""

    pairs: tuple[tuple[str, str], ...]
    files: tuple[UploadFile, ...] = ()
    errors: list[str] = field(default_factory=list)

    def get(self, name: str, *, most: int = 200) -> str | None:
        """The value, None when empty or not sent. Raises Open311Error(400) above `most` characters."""
        for key, value in self.pairs:
            if key == name and value.strip():
                if len(value) > most:
                    raise Open311Error(400, f"{name} has more than {most} characters")
                return value.strip()
        return None

    def listed(self, name: str) -> tuple[str, ...]:
        """A comma-delimited argument, which may also be sent several times."""
        found = (part.strip() for key, value in self.pairs if key in (name, f"{name}[]") for part in value.split(","))
        return tuple(dict.fromkeys(part for part in found if part))

    def attributes(self) -> dict[str, list[str]]:
        """`attribute[CODE]=v` and `attribute[CODE][]=v` by code, in the order sent; empty values left out."""
        found: dict[str, list[str]] = {}
        for key, value in self.pairs:
            match = _ATTRIBUTE.fullmatch(key)
            if match is not None and value.strip():
                found.setdefault(match["code"], []).append(value.strip())
        return found


async def read(request: Request) -> Asked:
    """Query and form of a request, UTF-8. Raises Open311Error(400) for another kind of body."""
    query = list(_pairs(request.scope["query_string"]))
    if request.method not in ("POST", "PUT"):
        return Asked(tuple(query))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        try:
            form = await request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS)
        except HTTPException as problem:
            raise Open311Error(400, f"the form can't be read: {problem.detail}") from problem
        except (UnicodeError, LookupError) as problem:  # a charset of the client's choice
            raise Open311Error(400, "the form is not UTF-8") from problem
        sent = form.multi_items()
        files = tuple(value for _, value in sent if isinstance(value, UploadFile))
        pairs = [(name, _CONTROL.sub("", value)) for name, value in sent if isinstance(value, str)]
        return Asked((*pairs, *query), files)
    body = await request.body()
    if kind not in ("application/x-www-form-urlencoded", "") and body:
        raise Open311Error(400, "Content-Type has to be application/x-www-form-urlencoded")
    return Asked((*_pairs(body), *query))


def _pairs(raw: bytes) -> Iterator[tuple[str, str]]:
    try:
        text = raw.decode("utf-8")
        found = parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=MOST_FIELDS)
    except UnicodeDecodeError as problem:
        raise Open311Error(400, "the arguments are not UTF-8") from problem
    except ValueError as problem:
        raise Open311Error(400, f"more than {MOST_FIELDS} arguments") from problem
    for name, value in found:
        yield name, _CONTROL.sub("", value)


def moment(name: str, text: str, zone: ZoneInfo, *, end: bool = False) -> datetime:
    """A time in the W3C note's form of ISO 8601: with an offset, or a bare date (then a day of the district's).

    A `+` that was sent unescaped arrives as a space and is understood. Raises Open311Error(400).
    """
    said = plus_again(text)
    try:
        if _DATE.fullmatch(said):
            day = date.fromisoformat(said)
            return datetime.combine(day, time.max if end else time.min, tzinfo=zone)
        found = datetime.fromisoformat(said)
        if found.tzinfo is None:
            raise Open311Error(400, f"{name} needs a time zone (Z or an offset such as +08:00)")
        return found.astimezone(zone)
    except (ValueError, OverflowError) as problem:
        raise Open311Error(400, f"{name} is no time in W3C form, e.g. 2010-01-01T00:00:00Z") from problem


def plus_again(text: str) -> str:
    """A time whose `+` was sent unescaped, and so arrived as a space, with the `+` again."""
    return _LOST_PLUS.sub("+", text)


def span(asked: Asked, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """The range start_date to end_date, both included; at most 90 days, by default the last 90. Raises Open311Error(400)."""
    first, last = asked.get("start_date"), asked.get("end_date")
    start = moment("start_date", first, zone) if first else None
    end = moment("end_date", last, zone, end=True) if last else None
    try:
        if start is None:
            end = end or now
            return end - WINDOW, end
        if end is None:
            return start, max(start, min(now, start + WINDOW))
    except OverflowError as problem:
        raise Open311Error(400, "start_date and end_date lie outside the calendar") from problem
    if end < start:
        raise Open311Error(400, "end_date lies before start_date")
    if end - start > WINDOW + timedelta(days=1):
        raise Open311Error(400, "start_date and end_date may not span more than 90 days")
    return start, end


def page(asked: Asked) -> tuple[int, int]:
    """(size, offset) by page_size and page, the widespread extension; all of the first 1000 without them. Raises Open311Error(400)."""
    size, number = _whole(asked, "page_size", MOST), _whole(asked, "page", 1_000_000)
    wanted = MOST if size is None else min(size, MOST)
    return wanted, ((number or 1) - 1) * wanted


def _whole(asked: Asked, name: str, most: int) -> int | None:
    text = asked.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= max(most, 1_000_000)):
        raise Open311Error(400, f"{name} is a whole number from 1")
    return int(text[:9])


def flag(asked: Asked, name: str) -> bool | None:
    """A yes or no; None when not sent."""
    text = asked.get(name)
    return None if text is None else text.lower() in ("1", "true", "yes")


def degrees(asked: Asked) -> tuple[float, float] | None:
    """lat and long (WGS84), both or none. Raises Open311Error(400)."""
    found = {name: asked.get(name) for name in ("lat", "long")}
    if not any(found.values()):
        return None
    if not all(found.values()):
        raise Open311Error(400, "lat and long have to be sent together")
    values = []
    for name, limit in (("lat", 90.0), ("long", 180.0)):
        text = found[name] or ""
        if not re.fullmatch(r"[+-]?\d{1,3}(\.\d{1,20})?", text) or abs(float(text)) > limit:
            raise Open311Error(400, f"{name} is no number of degrees (WGS84)")
        values.append(float(text))
    return values[0], values[1]


def first_of(attributes: Mapping[str, list[str]], names: Iterable[str]) -> str | None:
    """The first value of the first of these attributes that was sent."""
    return next((attributes[name][0] for name in names if attributes.get(name)), None)
