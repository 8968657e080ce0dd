"""Intake: untrusted reports become one validated, masked command, exactly once per key; or a clear refusal.

Owns the reservations (KEYS) that make intake idempotent, and the place markers (PLACES) that find duplicates and covering
notices. Called by the API, and by report-back for what departments bring in. Never writes anything personal to the ledger.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from hub import telemetry
from hub.bus.connection import Bus, WrongSequence
from hub.bus.streams import KEYS, PLACES
from hub.contract import CaseText
from hub.desk import Desk, Outcome, utc_now
from hub.errors import InvalidInput
from hub.marks import known_here
from hub.model.actors import SYSTEM, Actor
from hub.model.aggregate import Command, Event
from hub.model.areas import AreaCode
from hub.model.case.commands import AttachReport, Comment, Report
from hub.model.case.state import Case, CaseId, Channel, Severity, case_id
from hub.model.records import Attachment, Source
from hub.model.rules import Matter
from hub.privacy import hider, mask_text

if TYPE_CHECKING:
    from hub.classification import Classified
    from hub.config import District
    from hub.contract import Contact, IncomingCase
    from hub.privacy import Vault

log = structlog.get_logger("hub.intake")

MOST_TITLE = 200
MOST_TEXT = 20_000
MOST_PLACE = 200
CLOCK_SKEW = timedelta(minutes=10)
"""How far in the future a report's own time may lie before it is refused."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One report as it came in. `area` (code) wins over `place_name`; without both the text is searched for a place name."""

    channel: Channel
    title: str
    text: str
    reported_at: datetime
    area: str | None = None
    place_name: str | None = None
    place: str | None = None
    category: str | None = None
    severity: Severity | None = None
    contact: Contact | None = None
    source: Source | None = None
    covers: tuple[str, ...] = ()
    covers_until: datetime | None = None
    attachments: tuple[Attachment, ...] = ()
    said: str | None = None
    """What the caller sent, when the rest was filled in (the present time, say): then this is what a repeated key is compared by."""


class Reservation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which case a key stands for; `digest` of the content; `joined` when the report went to an existing case."""

    case: CaseId
    digest: str
    joined: CaseId | None = None


class Marker(msgspec.Struct, frozen=True, omit_defaults=True):
    """The case last seen at a place (`until` None), or a notice that covers an area until then."""

    case: CaseId
    at: datetime
    until: datetime | None = None


def new_suffix(now: float, noise: bytes) -> str:
    """A case id suffix: milliseconds since 1970 (9 characters) and 35 bits of `noise` (7), Crockford base 32, sortable."""
    number = (int(now * 1000) & ((1 << 45) - 1)) << 35 | int.from_bytes(noise[:5], "big") & ((1 << 35) - 1)
    letters = []
    for _ in range(16):
        letters.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(letters))


class Classify(Protocol):
    """What intake asks about a report without a category."""

    async def __call__(self, case: CaseText) -> Classified | None:
        """What it is, and whose word that is; None for no idea. Never raises."""
        ...


class Intake:
    """Takes reports in."""

    def __init__(
        self,
        desk: Desk[Case, Command, Event],
        bus: Bus,
        district: Callable[[], District],
        vault: Vault,
        *,
        clock: Callable[[], datetime] = utc_now,
        classify: Classify | None = None,
    ) -> None:
        self._classify = classify
        self._desk = desk
        self._bus = bus
        self._district = district
        self._vault = vault
        self._clock = clock

    async def report(self, entry: Entry, *, actor: Actor, key: str | None = None, cause: str | None = None) -> Outcome[Case]:
        """Open a case for `entry`, or join it to the case it belongs to.

        `key`: the caller's Idempotency-Key; a report from a system is keyed by its own number. The same key with another content
        raises InvalidInput(Idempotency-Key) (a system's repeated number simply gives its case). Raises InvalidInput naming the field.
        """
        now = self._clock()
        with (
            telemetry.span(f"receive {entry.channel.value}", kind="consumer") as span,
            known_here(hider(entry.contact)),  # a classifier may log what it reads
        ):
            entry, area = self._checked(entry, now)
            identity = (
                f"{entry.source.adapter}\n{entry.source.ref}" if entry.source else f"{actor.name}\n{key}" if key else None
            )
            fresh = case_id(area, new_suffix(time.time(), os.urandom(5)))
            token = hashlib.sha256(f"{entry.channel.value}\n{identity}".encode()).hexdigest() if identity else None
            revision, reserved = (0, Reservation(fresh, _digest(entry)))
            if token is not None:
                revision, reserved = await self._reserve(token, reserved, strict=entry.source is None)
            span.set(telemetry.CONVERSATION, reserved.case)
            if reserved.case != fresh or reserved.joined is not None:
                earlier = await self._desk.load(reserved.joined or reserved.case)
                if earlier is not None:
                    await self._mark_covers(entry, earlier.id)
                    return Outcome(earlier, repeated=True, attached=reserved.joined is not None)
            return await self._open(entry, area, reserved, revision, token, actor, cause, now)

    async def _open(
        self,
        entry: Entry,
        area: AreaCode,
        reserved: Reservation,
        revision: int,
        token: str | None,
        actor: Actor,
        cause: str | None,
        now: datetime,
    ) -> Outcome[Case]:
        district = self._district()
        classified = await self._classified(entry, area)
        if classified is not None:
            severity = entry.severity or classified.suggestion.severity
            entry = replace(entry, category=classified.suggestion.category, severity=severity)
        matter = Matter(
            channel=entry.channel,
            title=entry.title,
            text=entry.text,
            area=area,
            category=entry.category,
            severity=entry.severity,
            source_adapter=entry.source.adapter if entry.source else None,
        )
        command_id = token[:32] if token else None
        needs_category = entry.place is not None or entry.category is None
        category = district.policy.plan(matter, now).category if needs_category else (entry.category or "")
        if not entry.covers and (notice := await self._covering(area, category, now)) is not None:
            joined = await self._desk.execute(
                notice,
                AttachReport(
                    channel=entry.channel,
                    text=entry.text,
                    area=area,
                    reported_at=entry.reported_at,
                    place=entry.place,
                    source=entry.source,
                ),
                actor=actor,
                command_id=command_id,
                cause=cause,
            )
            if token is not None:
                await self._bus.publish(
                    f"key.{token}", msgspec.json.encode(Reservation(reserved.case, reserved.digest, notice)), expect=revision
                )
            return replace(joined, attached=True)
        fields = await self._vault.store(reserved.case, entry.contact) if entry.contact is not None else ()
        duplicate = await self._duplicate(entry, area, category, reserved.case, now)
        outcome = await self._desk.execute(
            reserved.case,
            Report(
                channel=entry.channel,
                title=entry.title,
                text=entry.text,
                area=area,
                reported_at=entry.reported_at,
                place=entry.place,
                source=entry.source,
                category=entry.category,
                severity=entry.severity,
                contact_fields=tuple(fields),
                covers=tuple(AreaCode(code) for code in entry.covers),
                covers_until=entry.covers_until,
                attachments=entry.attachments,
                duplicate_of=duplicate,
            ),
            actor=actor,
            command_id=command_id,
            cause=cause,
        )
        await self._mark_covers(entry, outcome.folded.id)
        if classified is not None and not outcome.repeated:
            known = district.policy.category(classified.suggestion.category)
            words = classified.words(known.name if known is not None else classified.suggestion.category)
            outcome = await self._desk.execute(outcome.folded.id, Comment(text=mask_text(words)), actor=SYSTEM, cause=cause)
        return outcome

    async def _classified(self, entry: Entry, area: AreaCode) -> Classified | None:
        """What a classifier says of a report without a category; entry texts are masked by now."""
        if entry.category is not None or self._classify is None:
            return None
        return await self._classify(CaseText(title=entry.title, text=entry.text, channel=entry.channel, area=area))

    def _checked(self, entry: Entry, now: datetime) -> tuple[Entry, AreaCode]:
        """Validate, locate and mask."""
        title, text = entry.title.strip(), entry.text.strip()
        for name, value, most in (
            ("title", title, MOST_TITLE),
            ("text", text, MOST_TEXT),
            ("place", entry.place or "", MOST_PLACE),
        ):
            if len(value) > most:
                raise InvalidInput(f"at most {most} characters", subject=name)
        if not title and not text:
            raise InvalidInput("a report needs a title or a text", subject="text")
        if entry.reported_at.tzinfo is None:
            raise InvalidInput("a time needs an offset", subject="reported_at")
        if entry.reported_at > now + CLOCK_SKEW:
            raise InvalidInput("lies in the future", subject="reported_at")
        district = self._district()
        for code in entry.covers:
            if not district.policy.is_area(code):
                raise InvalidInput(f"no such area: {code}", subject="covers")
        if entry.covers and entry.covers_until is None:
            raise InvalidInput("a notice that covers areas needs an end", subject="covers_until")
        if entry.category is not None and not district.policy.is_category(entry.category):
            raise InvalidInput(f"no such category: {entry.category}", subject="category")
        hidden = hider(entry.contact)
        masked = replace(
            entry,
            title=mask_text(hidden(title or text[:60])),
            text=mask_text(hidden(text or title)),
            # The place is where departments have to go: the building stays, the flat does not.
            place=mask_text(entry.place.strip()) if entry.place and entry.place.strip() else None,
            reported_at=entry.reported_at.astimezone(UTC),
        )
        return masked, self._locate(entry, district)

    def _locate(self, entry: Entry, district: District) -> AreaCode:
        if entry.area is not None:
            if not district.policy.is_area(entry.area):
                raise InvalidInput(f"no such area: {entry.area}", subject="area")
            return AreaCode(entry.area)
        if entry.place_name:
            found = district.places.get(entry.place_name) or district.locate(entry.place_name)
            if found is not None:
                return found
        return district.locate(f"{entry.place or ''} {entry.title} {entry.text}") or district.code

    async def _reserve(self, token: str, wanted: Reservation, *, strict: bool) -> tuple[int, Reservation]:
        """Reserve a key; returns the revision and the reservation in force (an earlier one if there is one)."""
        subject = f"key.{token}"
        try:
            return await self._bus.publish(subject, msgspec.json.encode(wanted), expect=0), wanted
        except WrongSequence:
            stored = await self._bus.last(KEYS, subject)
            if stored is None:
                raise
        earlier = msgspec.json.decode(stored.data, type=Reservation)
        if strict and earlier.digest != wanted.digest:
            raise InvalidInput("the same key came with another content", subject="Idempotency-Key")
        return stored.sequence, earlier

    async def _covering(self, area: AreaCode, category: str, now: datetime) -> CaseId | None:
        """The live notice that covers the area for this category, if any."""
        district = self._district()
        if not district.policy.covers_attach(category):
            return None
        located = area.rstrip("0") if len(area) == 15 else area
        for length in (15, 12, 9, 6):
            if len(located) < length - 2:
                continue
            found = await self._bus.last(PLACES, f"place.{area[:length]}.{category}.cover")
            if found is None:
                continue
            marker = msgspec.json.decode(found.data, type=Marker)
            if marker.until is not None and marker.until > now:
                notice = await self._desk.load(marker.case)
                if notice is not None and not notice.state.ended:
                    return marker.case
        return None

    async def _mark_covers(self, entry: Entry, case: CaseId) -> None:
        if not entry.covers or entry.covers_until is None:
            return
        stored = await self._desk.load(case)
        category = stored.state.category if stored is not None else entry.category
        marker = msgspec.json.encode(Marker(case, self._clock(), entry.covers_until))
        for code in entry.covers:
            await self._bus.publish(f"place.{code}.{category}.cover", marker)

    async def _duplicate(self, entry: Entry, area: AreaCode, category: str, case: CaseId, now: datetime) -> CaseId | None:
        """The earlier open case with the same place and category within the window; marks this one otherwise."""
        window = self._district().policy.duplicate_window(category) if entry.place else None
        if window is None or entry.place is None:
            return None
        digest = hashlib.sha256(_normal(entry.place).encode()).hexdigest()[:24]
        subject = f"place.{area[:12]}.{category}.{digest}"
        fresh = msgspec.json.encode(Marker(case, now))
        expect = 0
        while True:
            try:
                await self._bus.publish(subject, fresh, expect=expect)
                return None
            except WrongSequence:
                found = await self._bus.last(PLACES, subject)
                if found is None:
                    continue
                marker = msgspec.json.decode(found.data, type=Marker)
                if marker.case == case:
                    return None
                if now - marker.at <= window:
                    earlier = await self._desk.load(marker.case)
                    if earlier is not None and not earlier.state.ended:
                        return marker.case
                expect = found.sequence


def entry_of(adapter: str, item: IncomingCase) -> Entry:
    """A department's matter as an intake entry."""
    return Entry(
        channel=item.channel,
        title=item.title,
        text=item.text,
        reported_at=item.reported_at,
        area=item.area,
        place_name=item.place_name,
        place=item.place,
        category=item.category,
        severity=item.severity,
        contact=item.contact,
        source=Source(adapter=adapter, ref=item.ref),
        covers=item.covers,
        covers_until=item.covers_until,
    )


def _normal(place: str) -> str:
    """A place name without spaces, punctuation and case."""
    return re.sub(r"[\W_]+", "", place).lower()


def _digest(entry: Entry) -> str:
    """A hash of what the caller said; personal data only as part of the hash."""
    return hashlib.sha256((entry.said or repr(entry)).encode()).hexdigest()[:32]


__all__ = ["Entry", "Intake", "Marker", "Reservation", "entry_of", "new_suffix"]
