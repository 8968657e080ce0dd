"""Intake: an untrusted report becomes one validated, masked command, exactly once per key; or a clear refusal.

Owns the reservations (KEYS) that make intake idempotent, and the place markers (PLACES) that find duplicates and covering notices. Called
by the API, and by report-back for cases that departments bring in. Writes nothing personal to the ledger: a reporter's contact and files
are stored apart, under the case, where they can be destroyed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from hub.bus.buckets import Objects
from hub.bus.connection import Bus, WrongSequence
from hub.bus.streams import KEYS, PLACES
from hub.contract import CaseText
from hub.errors import InvalidInput, TransitionRefused
from hub.model.actors import SYSTEM, Actor
from hub.model.aggregate import Command, Event, suffix_of
from hub.model.case.commands import AttachReport, Comment, Report
from hub.model.case.state import Case, CaseId, Channel, Severity, case_id
from hub.model.district.areas import AreaCode
from hub.model.policy.rules import Matter
from hub.model.positions import Position
from hub.model.records import Attachment, Source
from hub.observing import telemetry
from hub.privacy.marks import known_here
from hub.privacy.masks import hider, mask_text
from hub.spine.ledger.desk import Desk, Outcome, utc_now
from hub.spine.ways_in.locating import Located, locate

if TYPE_CHECKING:
    from hub.contract import Contact, IncomingCase
    from hub.model.policy.district import District
    from hub.privacy.vault import Vault
    from hub.spine.ways_in.classification import Classified

log = structlog.get_logger("hub.intake")

MOST_TITLE = 200
MOST_TEXT = 20_000
MOST_PLACE = 200
CLOCK_SKEW = timedelta(minutes=10)
"""How far in the future a report's own time may lie before it is refused."""


@dataclass(frozen=True, slots=True)
class EntryFile:
    """A file that came with a report."""

    record: Attachment
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One report as it came in. `area` (code) wins over `place_name`, that over `position` (where areas have outlines). Without any of
    them intake looks for a place name in the text.
    """

    channel: Channel
    title: str
    text: str
    reported_at: datetime
    area: str | None = None
    place_name: str | None = None
    place: str | None = None
    position: Position | None = None
    category: str | None = None
    severity: Severity | None = None
    contact: Contact | None = None
    source: Source | None = None
    covers: tuple[str, ...] = ()
    covers_until: datetime | None = None
    files: tuple[EntryFile, ...] = ()
    said: str | None = None
    """The caller's own content, when the hub filled in the rest (e.g. the present time). A repeated key is compared by this."""


class Reservation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The case a key stands for. `digest`: hash of the content. `joined`: the notice that takes the report instead.

    Made once. Anybody who comes later with the key, or again after a crash, follows it.
    """

    case: CaseId
    digest: str
    joined: CaseId | None = None


class Marker(msgspec.Struct, frozen=True, omit_defaults=True):
    """The case last seen at a place (`until` None), or a notice that covers an area until then."""

    case: CaseId
    at: datetime
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """A checked report, and who brought it."""

    entry: Entry
    digest: str
    where: Located
    actor: Actor
    token: str | None
    """Its key in KEYS; None: it has none and is never the same as another."""
    cause: str | None

    @property
    def command_id(self) -> str | None:
        """What makes its command idempotent."""
        return self.token[:32] if self.token else None


@dataclass(frozen=True, slots=True)
class _Held:
    """A reservation in force."""

    reservation: Reservation
    revision: int


def new_suffix(now: float, noise: bytes) -> str:
    """A case id suffix: milliseconds since 1970 (9 characters) and 35 bits of `noise` (7), Crockford base 32, sortable."""
    number = (int(now * 1000) & ((1 << 45) - 1)) << 35 | int.from_bytes(noise[:5], "big") & ((1 << 35) - 1)
    return suffix_of(number)


class Classify(Protocol):
    """Classifies a report without a category. Its texts are masked by then."""

    def asks(self, case: CaseText) -> bool:
        """Whether a classifier would be asked."""
        ...

    async def __call__(self, case: CaseText) -> Classified | None:
        """A suggestion and its author; None for no idea. Never raises."""
        ...


class Intake:
    """Takes reports in."""

    def __init__(
        self,
        desk: Desk[Case, Command, Event],
        bus: Bus,
        district: Callable[[], District],
        vault: Vault,
        objects: Objects,
        *,
        clock: Callable[[], datetime] = utc_now,
        classify: Classify | None = None,
    ) -> None:
        self._classify = classify
        self._desk = desk
        self._bus = bus
        self._district = district
        self._vault = vault
        self._objects = objects
        self._clock = clock

    async def report(self, entry: Entry, *, actor: Actor, key: str | None = None, cause: str | None = None) -> Outcome[Case]:
        """Open a case for `entry`, or join it to the case it belongs to.

        `key`: the caller's Idempotency-Key; a report from a system is keyed by its own number. The same key with another content
        raises InvalidInput(Idempotency-Key) (a system's repeated number simply gives its case). Raises InvalidInput naming the field.
        """
        now = self._clock()
        with (
            telemetry.span(f"receive {entry.channel.value}", kind="consumer") as span,
            known_here(hider(entry.contact)),  # a classifier may log the text it reads
        ):
            entry = self._checked(entry, now)
            where = locate(
                self._district(),
                area=entry.area,
                place_name=entry.place_name,
                words=f"{entry.place or ''} {entry.title} {entry.text}",
                position=entry.position,
            )
            area, token = where.area, _token(entry, actor, key)
            told = _Told(entry=entry, digest=_digest(entry), where=where, actor=actor, token=token, cause=cause)
            classified = held = None
            text = CaseText(title=entry.title, text=entry.text, channel=entry.channel, area=area)
            if self._classify is not None and entry.category is None and self._classify.asks(text):
                # Most reports are new, so look the key up first only here: a repeated report should cost no classifier call.
                held = await self._held(told)
                if held is not None and (earlier := await self._earlier(told, held)) is not None:
                    span.set(telemetry.CONVERSATION, earlier.folded.id)
                    return earlier
                classified = await self._classify(text)
            if classified is not None:
                severity = entry.severity or classified.suggestion.severity
                told = replace(told, entry=replace(entry, category=classified.suggestion.category, severity=severity))
            category = self._category(told, now)
            if held is None:
                notice = None if entry.covers else await self._covering(area, category, now)
                wanted = Reservation(case_id(area, new_suffix(time.time(), os.urandom(5))), told.digest, notice)
                held = await self._reserve(told, wanted)
                done = self._joined if held.reservation is wanted else self._earlier
                if (earlier := await done(told, held)) is not None:
                    span.set(telemetry.CONVERSATION, earlier.folded.id)
                    return earlier
            span.set(telemetry.CONVERSATION, held.reservation.case)
            return await self._open(told, held.reservation.case, category, classified, now)

    async def _earlier(self, told: _Told, held: _Held) -> Outcome[Case] | None:
        """The case a key led to. None while it is not open: its reserver is still at work, or was killed."""
        if held.reservation.joined is not None:
            return await self._joined(told, held)
        case = await self._desk.load(held.reservation.case)
        if case is None:
            return None
        await self._mark_covers(told.entry, case.id)
        return Outcome(case, repeated=True)

    async def _joined(self, told: _Told, held: _Held) -> Outcome[Case] | None:
        """Attach the report to its reserved notice, once. None when there is no such notice, or it has ended since."""
        notice, entry = held.reservation.joined, told.entry
        if notice is None:
            return None
        attach = AttachReport(
            channel=entry.channel,
            text=entry.text,
            area=told.where.area,
            reported_at=entry.reported_at,
            place=entry.place,
            position=entry.position,
            wgs84=told.where.wgs84,
            source=entry.source,
        )
        try:
            outcome = await self._desk.execute(
                notice, attach, actor=told.actor, command_id=told.command_id, cause=told.cause, strict=False
            )
        except TransitionRefused:
            await self._reserve_own(told, held)
            return None
        return replace(outcome, attached=True)

    async def _open(
        self, told: _Told, case: CaseId, category: str, classified: Classified | None, now: datetime
    ) -> Outcome[Case]:
        """Open the case. Two callers with one key, or a second run after a crash, get the same case."""
        entry = told.entry
        fields = await self._vault.store(case, entry.contact) if entry.contact is not None else ()
        for file in entry.files:
            await self._objects.put(file.content, of=case)
        duplicate = await self._duplicate(entry, told.where.area, category, case, now)
        outcome = await self._desk.execute(
            case,
            Report(
                channel=entry.channel,
                title=entry.title,
                text=entry.text,
                area=told.where.area,
                reported_at=entry.reported_at,
                place=entry.place,
                position=entry.position,
                wgs84=told.where.wgs84,
                source=entry.source,
                category=entry.category,
                severity=entry.severity,
                contact_fields=tuple(fields),
                covers=tuple(AreaCode(code) for code in entry.covers),
                covers_until=entry.covers_until,
                attachments=tuple(file.record for file in entry.files),
                duplicate_of=duplicate,
            ),
            actor=told.actor,
            command_id=told.command_id,
            cause=told.cause,
            strict=False,  # the reservation compared the content; the hub's own additions (time, category) may differ
        )
        if outcome.repeated:
            await self._forget_erased(case, entry)
        await self._mark_covers(entry, outcome.folded.id)
        if outcome.repeated:
            return outcome
        remarks = list(told.where.doubts)
        if classified is not None:
            known = self._district().policy.category(classified.suggestion.category)
            remarks.append(classified.words(known.name if known is not None else classified.suggestion.category))
        for words in remarks:
            outcome = await self._desk.execute(
                outcome.folded.id, Comment(text=mask_text(words)), actor=SYSTEM, cause=told.cause
            )
        return outcome

    async def _forget_erased(self, case: CaseId, entry: Entry) -> None:
        """Destroy the contact and files just stored, when another caller opened the case and it was erased since."""
        newest = await self._desk.load(case)
        if newest is None or not newest.state.contact_erased:
            return
        await self._vault.erase(case)
        for file in entry.files:
            await self._objects.delete(file.record.sha256, of=case)

    def _category(self, told: _Told, now: datetime) -> str:
        """What the report is about, as the policy will have it."""
        entry = told.entry
        if entry.place is None and entry.category is not None:
            return entry.category
        matter = Matter(
            channel=entry.channel,
            title=entry.title,
            text=entry.text,
            area=told.where.area,
            category=entry.category,
            severity=entry.severity,
            source_adapter=entry.source.adapter if entry.source else None,
        )
        return self._district().policy.plan(matter, now).category

    def _checked(self, entry: Entry, now: datetime) -> Entry:
        """Validate and mask."""
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
        return replace(
            entry,
            title=mask_text(hidden(title or text[:60])),
            text=mask_text(hidden(text or title)),
            # The place is where departments have to go: the building stays, the flat does not.
            place=mask_text(entry.place.strip()) if entry.place and entry.place.strip() else None,
            reported_at=entry.reported_at.astimezone(UTC),
        )

    async def _held(self, told: _Told) -> _Held | None:
        """The reservation of a key, if there is one. Raises InvalidInput when the key came with another content."""
        if told.token is None:
            return None
        stored = await self._bus.last(KEYS, f"key.{told.token}")
        if stored is None:
            return None
        reservation = msgspec.json.decode(stored.data, type=Reservation)
        if told.entry.source is None and reservation.digest != told.digest:
            raise InvalidInput("the same key came with another content", subject="Idempotency-Key")
        return _Held(reservation, stored.sequence)

    async def _reserve(self, told: _Told, wanted: Reservation) -> _Held:
        """Reserve a key together with its case. Two callers at once get the same. Returns the reservation in force."""
        if told.token is None:
            return _Held(wanted, 0)
        try:
            return _Held(wanted, await self._bus.publish(f"key.{told.token}", msgspec.json.encode(wanted), expect=0))
        except WrongSequence:
            held = await self._held(told)
            if held is None:
                raise
            return held

    async def _reserve_own(self, told: _Told, held: _Held) -> None:
        """The notice ended before the report was attached: it gets a case of its own, whatever becomes of the notice."""
        if told.token is None:
            return
        own = Reservation(held.reservation.case, held.reservation.digest)
        with contextlib.suppress(WrongSequence):  # another with this key found the same
            await self._bus.publish(f"key.{told.token}", msgspec.json.encode(own), expect=held.revision)

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
        position=item.position,
        category=item.category,
        severity=item.severity,
        contact=item.contact,
        source=Source(adapter=adapter, ref=item.ref),
        covers=item.covers,
        covers_until=item.covers_until,
    )


def _token(entry: Entry, actor: Actor, key: str | None) -> str | None:
    """The mark by which a report is known again: a system's own number, else the caller's key."""
    identity = f"{entry.source.adapter}\n{entry.source.ref}" if entry.source else f"{actor.name}\n{key}" if key else None
    return hashlib.sha256(f"{entry.channel.value}\n{identity}".encode()).hexdigest() if identity else None


def _normal(place: str) -> str:
    """A place name without spaces, punctuation and case."""
    return re.sub(r"[\W_]+", "", place).lower()


def _digest(entry: Entry) -> str:
    """A hash of the caller's content. Personal data goes in only as part of the hash."""
    return hashlib.sha256((entry.said or repr(entry)).encode()).hexdigest()[:32]


__all__ = ["Entry", "EntryFile", "Intake", "Marker", "Reservation", "entry_of", "new_suffix"]
