"""Reads a verified callback: which report it is, about what, with which files; or a case the department brings in. No network."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec

from hub import CallbackRejected, Feedback, FeedbackKind, IncomingCase, Position, ReportedFile, Severity
from hub_webhook.pointers import first, text_at
from hub_webhook.settings import Callbacks

MOST_FILES = 10
MOST_FILE = 10 * 1024 * 1024
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_AREA = range(6, 16)


class Means(Protocol):
    """What a word of the department reports: the crosswalk's `kind`."""

    def __call__(self, status: str, *, about: str | None = None) -> FeedbackKind:
        """What it means; `about`: key or ticket, for the repair item of a word nobody mapped."""
        ...


@dataclass(frozen=True, kw_only=True)
class FileToFetch:
    """A file that is named by address; it is fetched from the department's own host and checked by its hash."""

    name: str
    media_type: str
    url: str
    sha256: str


def wrong(reason: str) -> CallbackRejected:
    """A body that can't be read."""
    return CallbackRejected(reason, status=400)


def document_of(body: bytes) -> Any:
    """The JSON of a callback; raises CallbackRejected(400)."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise wrong("the body is no JSON") from None
    if not isinstance(found, dict):
        raise wrong("the body is no JSON object")
    return found


def type_of(document: Any, settings: Callbacks) -> str:
    """What happened; raises CallbackRejected(400)."""
    kind = text_at(document, settings.type, most=200)
    if kind is None:
        raise wrong(f"nothing at {' or '.join(settings.type)}")
    return kind


def report_of(
    document: Any, kind: str, *, id: str, settings: Callbacks, means: Means, zone: ZoneInfo, files: tuple[ReportedFile, ...]
) -> Feedback:
    """The report a callback makes; raises CallbackRejected(400)."""
    key, ticket = text_at(document, settings.key, most=200), text_at(document, settings.ticket, most=200)
    if key is None and ticket is None:
        raise wrong("neither our key nor your ticket is in the body")
    note = text_at(document, settings.note)
    reported = means(kind, about=key or ticket)
    if reported is FeedbackKind.RETURNED and note is None:
        raise wrong("a return needs its reason")
    return Feedback(
        id=text_at(document, settings.id, most=200) or id,
        kind=reported,
        key=key,
        ticket=ticket,
        at=_time(document, settings, zone),
        by=text_at(document, settings.by, most=100),
        note=note,
        files=files,
    )


def case_of(document: Any, *, id: str, settings: Callbacks, zone: ZoneInfo) -> IncomingCase:
    """The case a callback brings in: ref, title, text, area or place_name, place, position, category, severity; at the top or in `data`."""

    def said(name: str, most: int = 200) -> str | None:
        return text_at(document, (f"/{name}", f"/data/{name}"), most=most)

    title, text = said("title"), said("text", 20_000)
    if title is None and text is None:
        raise wrong("a case needs a title or a text")
    area = said("area")
    if area is not None and not (area.isascii() and area.isdigit() and len(area) in _AREA):
        raise wrong("area is no area code")
    severity = said("severity")
    if severity is not None and severity not in [one.value for one in Severity]:
        raise wrong(f"severity is one of {', '.join(Severity)}")
    return IncomingCase(
        ref=said("ref") or id,
        channel=settings.channel,
        title=title or (text or "")[:60],
        text=text or title or "",
        reported_at=_time(document, settings, zone) or datetime.now(UTC),
        area=area,
        place_name=said("place_name"),
        place=said("place"),
        position=_position(first(document, ("/position", "/data/position"))),
        category=said("category"),
        severity=None if severity is None else Severity(severity),
    )


def _position(found: Any) -> Position | None:
    """longitude, latitude, system, accuracy_m, how; raises CallbackRejected(400) for what is none."""
    if found is None:
        return None
    try:
        return msgspec.convert(found, Position)
    except msgspec.ValidationError as problem:
        raise wrong(f"position: {problem}") from None


def files_of(document: Any, settings: Callbacks) -> list[ReportedFile | FileToFetch]:
    """The files that came along, or where they are; raises CallbackRejected(400)."""
    listed = first(document, settings.files)
    if listed is None:
        return []
    if not isinstance(listed, list) or len(listed) > MOST_FILES:
        raise wrong(f"files is a list of at most {MOST_FILES}")
    return [_file(entry) for entry in listed]


def checked_file(name: str, media_type: str, content: bytes, sha256: str | None) -> ReportedFile:
    """A file whose size and hash are right; raises CallbackRejected(400)."""
    if len(content) > MOST_FILE:
        raise wrong(f"the file {name} is above 10 MiB")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256.lower():
        raise wrong(f"the file {name} does not have its sha256")
    return ReportedFile(name=name, media_type=media_type, content=content)


def _file(entry: Any) -> ReportedFile | FileToFetch:
    name = text_at(entry, ("/name",), most=200) or "file"
    media_type = text_at(entry, ("/media_type",), most=100) or "application/octet-stream"
    sha256, url, content = text_at(entry, ("/sha256",)), text_at(entry, ("/url",)), first(entry, ("/content",))
    if isinstance(content, str):
        try:
            raw = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise wrong(f"the content of {name} is not base64") from None
        return checked_file(name, media_type, raw, sha256)
    if url is None or sha256 is None:
        raise wrong(f"the file {name} needs content, or url and sha256")
    return FileToFetch(name=name, media_type=media_type, url=url, sha256=sha256)


def _time(document: Any, settings: Callbacks, zone: ZoneInfo) -> datetime | None:
    said = text_at(document, settings.at, most=60)
    if said is None:
        return None
    try:
        at = datetime.fromtimestamp(int(said), UTC) if said.isascii() and said.isdigit() else datetime.fromisoformat(said)
        at = at if at.tzinfo is not None else at.replace(tzinfo=zone)
        if not _EARLIEST <= at < _LATEST:
            raise OverflowError
    except (ValueError, OverflowError, OSError):
        raise wrong("the time is no ISO 8601 and no seconds since 1970") from None
    return at
