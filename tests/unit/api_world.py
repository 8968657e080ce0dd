"""A hub without a bus, for tests of views and API: the real desk, lifecycle, policy and views over a ledger in memory.

The fakes behave: the ledger checks expected sequences, buckets and objects keep what they are given, the vault forgets keys.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import httpx
from fastapi import FastAPI

from hub.adapters import AdapterStatus
from hub.api import Services, create_app
from hub.api.tokens import Tokens
from hub.bus.buckets import Entry as Stored
from hub.bus.connection import WrongSequence
from hub.config import District, load_district
from hub.contract import CallbackRejected, CallbackRequest, Contact
from hub.desk import Desk, Outcome
from hub.errors import InvalidInput, LedgerConflict, NotAllowed
from hub.intake import Entry
from hub.ledger import PolicyRecord
from hub.ledger_codec import digest, encode
from hub.model.areas import AreaCode, Level, UnitCode
from hub.model.cases import SYSTEM, Actor, ActorKind, Case, CaseId, case_id
from hub.model.commands import Report
from hub.model.events import Commit
from hub.model.lifecycle import fold
from hub.privacy import mask_text
from hub.settings import ApiSettings, Open311Settings
from hub.views import Projector, Views

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
STREET = "320113001"


@cache
def district() -> District:
    return load_district(ROOT / "config", environ={})


class Clock:
    """A clock that is set by hand."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


class MemoryLedger:
    """Commits in a list; sequence n is place n-1."""

    def __init__(self) -> None:
        self.stored: list[tuple[Commit, str]] = []
        self.published: list[PolicyRecord] = []
        self._grown = asyncio.Event()

    async def append(self, commit: Commit, *, after: int) -> tuple[int, bytes]:
        last = max((n for n, (other, _) in enumerate(self.stored, 1) if other.case == commit.case), default=0)
        if last != after:
            raise WrongSequence("another was first", subject=commit.case)
        return self.push(commit)

    def push(self, commit: Commit) -> tuple[int, bytes]:
        raw = encode(commit)
        self.stored.append((commit, digest(raw)))
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        return len(self.stored), raw

    async def load(self, case: CaseId) -> Case | None:
        state: Case | None = None
        for sequence, (commit, own) in enumerate(self.stored, 1):
            if commit.case == case:
                state = fold(state, commit, digest=own, sequence=sequence)
        return state

    async def follow_batches(
        self, after: int, *, live: bool = True, most: int = 512
    ) -> AsyncIterator[list[tuple[int, Commit, str]]]:
        while True:
            grown = self._grown
            while after < len(self.stored):
                batch = [(n, *self.stored[n - 1]) for n in range(after + 1, min(after + most, len(self.stored)) + 1)]
                after = batch[-1][0]
                yield batch
            if not live:
                return
            await grown.wait()

    async def follow(self, after: int, *, live: bool = True) -> AsyncIterator[tuple[int, Commit, str]]:
        async for batch in self.follow_batches(after, live=live):
            for item in batch:
                yield item

    async def last_sequence(self) -> int:
        return len(self.stored)

    async def policies(self) -> Sequence[PolicyRecord]:
        return self.published


class MemoryBucket:
    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str) -> Stored | None:
        return Stored(self.values[key], 1) if key in self.values else None

    async def put(self, key: str, value: bytes) -> int:
        self.values[key] = value
        return 1

    async def update(self, key: str, value: bytes, revision: int) -> int:
        if key not in self.values:
            raise LedgerConflict("changed by another", subject=key)
        return await self.put(key, value)

    async def purge(self, key: str) -> None:
        self.values.pop(key, None)

    async def entries(self, pattern: str = ">") -> dict[str, Stored]:
        fits = re.compile(re.escape(pattern).replace(r"\*", r"[^.]+").replace(">", ".+")).fullmatch
        return {key: Stored(value, 1) for key, value in self.values.items() if fits(key)}


class MemoryVault:
    def __init__(self) -> None:
        self.contacts: dict[CaseId, Contact] = {}

    async def open(self, case: CaseId) -> Contact | None:
        return self.contacts.get(case)

    async def erase(self, case: CaseId) -> None:
        self.contacts.pop(case, None)


class MemoryObjects:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def put(self, content: bytes) -> str:
        sha = hashlib.sha256(content).hexdigest()
        self.files[sha] = content
        return sha

    async def get(self, sha256: str) -> bytes | None:
        return self.files.get(sha256)

    async def delete(self, sha256: str) -> None:
        self.files.pop(sha256, None)


class MemoryIntake:
    """Opens a case per key; keeps the vault."""

    def __init__(self, desk: Desk, vault: MemoryVault, district: District) -> None:
        self._desk = desk
        self._vault = vault
        self._district = district
        self._keys: dict[str, tuple[CaseId, str]] = {}

    async def report(self, entry: Entry, *, actor: Actor, key: str | None = None, cause: str | None = None) -> Outcome:
        if not entry.title.strip() and not entry.text.strip():
            raise InvalidInput("a report needs a title or a text", subject="text")
        if entry.area is not None and not self._district.policy.is_area(entry.area):
            raise InvalidInput(f"no such area: {entry.area}", subject="area")
        if entry.category is not None and not self._district.policy.is_category(entry.category):
            raise InvalidInput(f"no such category: {entry.category}", subject="category")
        said = entry.said or repr(entry)
        if entry.source is not None:
            key = f"{entry.source.adapter}\n{entry.source.ref}"
        if key is not None and key in self._keys:
            case, before = self._keys[key]
            if before != said and entry.source is None:
                raise InvalidInput("the same key came with another content", subject="Idempotency-Key")
            known = await self._desk.load(case)
            assert known is not None
            return Outcome(known, known.sequence, repeated=True)
        area = entry.area or self._district.code
        case = new_case_id(area, len(self._keys) + 1)
        if key is not None:
            self._keys[key] = (case, said)
        fields: tuple[str, ...] = ()
        if entry.contact is not None:
            self._vault.contacts[case] = entry.contact
            fields = tuple(name for name in ("name", "phone", "address") if getattr(entry.contact, name))
        return await self._desk.execute(
            case,
            Report(
                channel=entry.channel,
                title=mask_text(entry.title or entry.text[:60]),
                text=mask_text(entry.text or entry.title),
                area=AreaCode(area),
                reported_at=entry.reported_at,
                place=entry.place,
                source=entry.source,
                category=entry.category,
                severity=entry.severity,
                contact_fields=fields,
            ),
            actor=actor,
            cause=cause,
        )


class MemoryReportBack:
    def __init__(self) -> None:
        self.taken: list[tuple[str, CallbackRequest]] = []

    async def callback(self, adapter: str, request: CallbackRequest) -> int:
        if adapter != "police":
            raise NotAllowed("no such adapter", subject=adapter)
        if request.headers.get("webhook-signature") != "v1,right":
            raise CallbackRejected("signature wrong")
        self.taken.append((adapter, request))
        return 1


class MemoryAdapters:
    def __init__(self) -> None:
        self.paused: dict[str, str] = {}

    async def statuses(self) -> Sequence[AdapterStatus]:
        return [
            AdapterStatus(
                name="police",
                plugin="police",
                department="公安",
                version="1.0",
                state="paused" if "police" in self.paused else "running",
                detail=self.paused.get("police", ""),
                breaker="closed",
                queued=3,
                in_flight=1,
                capabilities=("lookup",),
            )
        ]

    async def pause(self, name: str, reason: str) -> None:
        if name != "police":
            raise NotAllowed("no such adapter", subject=name)
        self.paused[name] = reason

    async def resume(self, name: str) -> None:
        if name != "police":
            raise NotAllowed("no such adapter", subject=name)
        self.paused.pop(name, None)


def new_case_id(area: str, number: int) -> CaseId:
    return case_id(area, f"{number:016d}")


def person(area: str, place: District) -> Actor:
    """Somebody of the area's own unit."""
    unit = place.directory.get(area)
    assert unit is not None
    return Actor(kind=ActorKind.PERSON, name=f"clerk of {area}", unit=UnitCode(area), level=unit.level or Level.DISTRICT)


@dataclass
class World:
    """Everything one test needs. Use `async with world(tmp_path) as w`."""

    district: District
    clock: Clock
    ledger: MemoryLedger
    desk: Desk
    views: Views
    projector: Projector
    vault: MemoryVault
    objects: MemoryObjects
    adapters: MemoryAdapters
    reportback: MemoryReportBack
    tokens: Tokens
    app: FastAPI
    client: httpx.AsyncClient
    secrets: dict[str, str] = field(default_factory=dict)
    _running: asyncio.Task[None] | None = None

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        settings: ApiSettings | None = None,
        heartbeat: float = 15.0,
        open311: Open311Settings | None = None,
    ) -> "World":
        folder.mkdir(exist_ok=True)
        place = district()
        clock = Clock(datetime.now(UTC))
        ledger = MemoryLedger()
        desk = Desk(ledger, lambda: place.policy, clock=clock)  # type: ignore[arg-type]
        views = Views(f"sqlite:///{folder / 'views.db'}", clock=clock)
        vault, objects, adapters, reportback = MemoryVault(), MemoryObjects(), MemoryAdapters(), MemoryReportBack()
        tokens = Tokens(MemoryBucket())

        async def publish(sources: dict[str, str], actor: Actor) -> int:
            ledger.published.append(PolicyRecord(version=len(ledger.published) + 1, at=clock(), actor=actor, sources=sources))
            return len(ledger.published)

        app = create_app(
            Services(
                desk=desk,
                intake=MemoryIntake(desk, vault, place),
                reportback=reportback,
                adapters=adapters,
                ledger=ledger,
                views=views,
                vault=vault,
                objects=objects,
                tokens=tokens,
                spans=None,
                district=lambda: place,
                publish_policy=publish,
                settings=settings or ApiSettings(),
                open311=open311 or Open311Settings(),
                connected=lambda: True,
            ),
            heartbeat=heartbeat,
        )
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://hub/api/v1")
        projector = Projector(views, ledger)
        return cls(
            district=place,
            clock=clock,
            ledger=ledger,
            desk=desk,
            views=views,
            projector=projector,
            vault=vault,
            objects=objects,
            adapters=adapters,
            reportback=reportback,
            tokens=tokens,
            app=app,
            client=client,
        )

    async def __aenter__(self) -> "World":
        self._running = asyncio.create_task(self.projector.run())
        for name, role, unit, area in (
            ("admin", "admin", None, self.district.code),
            ("viewer", "viewer", None, self.district.code),
            ("street", "clerk", STREET, STREET),
            ("police", "department", "police", self.district.code),
            ("property", "department", "property", self.district.code),
            ("devops", "devops", None, self.district.code),
        ):
            self.secrets[name], _ = await self.tokens.issue(name=name, role=role, unit=unit, area=area)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave_views_behind()
        await self.client.aclose()
        self.views.close()

    async def leave_views_behind(self) -> None:
        """From now on the views stay as they are."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    def as_(self, who: str, key: str | None = None) -> Mapping[str, str]:
        """Headers of somebody."""
        headers = {"Authorization": f"Bearer {self.secrets[who]}"}
        return headers | {"Idempotency-Key": key} if key else headers

    async def report(self, who: str = "admin", key: str | None = None, **body: object) -> dict[str, object]:
        """Report something by the API; the case."""
        given = {"title": "下水道堵塞", "text": "3栋楼下污水外溢", "area": STREET, "place": "幸福家园3栋"} | body
        answer = await self.client.post("/cases", json=given, headers=self.as_(who, key or f"k{len(self.ledger.stored)}"))
        assert answer.status_code == 201, answer.text
        case: dict[str, object] = answer.json()["case"]
        return case


__all__ = ["START", "STREET", "SYSTEM", "Clock", "MemoryLedger", "World", "district", "new_case_id", "person"]
