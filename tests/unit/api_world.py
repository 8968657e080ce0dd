"""A hub without a bus, for tests of views and API: the real desk, intake, vault, lifecycle, policy and views over a ledger in memory.

The fakes behave: the ledger and the bus check expected sequences, buckets and objects keep what they are given.
"""

import asyncio
import hashlib
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
from hub.bus import KeyExists, Message, WrongSequence
from hub.bus.buckets import Entry as Stored
from hub.config import District, load_district
from hub.contract import CallbackRejected, CallbackRequest
from hub.desk import Desk
from hub.errors import LedgerConflict, NotAllowed
from hub.intake import Intake
from hub.ledger import PolicyRecord
from hub.ledger_codec import digest, encode
from hub.model.areas import Level, UnitCode
from hub.model.cases import SYSTEM, Actor, ActorKind, Case, CaseId, case_id
from hub.model.events import Commit
from hub.model.lifecycle import fold
from hub.privacy import Vault
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

    async def create(self, key: str, value: bytes) -> int:
        if key in self.values:
            raise KeyExists(key, subject=key)
        return await self.put(key, value)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        if key not in self.values:
            raise LedgerConflict("changed by another", subject=key)
        return await self.put(key, value)

    async def purge(self, key: str) -> None:
        self.values.pop(key, None)

    async def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self.values if key.startswith(prefix))


class MemoryBus:
    """The last message of each subject: what intake needs of a bus."""

    def __init__(self) -> None:
        self.stored: dict[str, Message] = {}
        self._sequence = 0

    async def publish(self, subject: str, data: bytes, *, expect: int | None = None) -> int:
        last = self.stored[subject].sequence if subject in self.stored else 0
        if expect is not None and expect != last:
            raise WrongSequence("another was first", subject=subject)
        self._sequence += 1
        self.stored[subject] = Message(subject, data, self._sequence)
        return self._sequence

    async def last(self, stream: str, subject: str) -> Message | None:
        return self.stored.get(subject)


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
    vault: Vault
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
        vault = Vault(MemoryBucket(), MemoryBucket())
        desk = Desk(ledger, lambda: place.policy, clock=clock, hiding=vault.hiding)  # type: ignore[arg-type]
        views = Views(f"sqlite:///{folder / 'views.db'}", clock=clock)
        objects, adapters, reportback = MemoryObjects(), MemoryAdapters(), MemoryReportBack()
        tokens = Tokens(MemoryBucket())

        async def publish(sources: dict[str, str], actor: Actor) -> int:
            ledger.published.append(PolicyRecord(version=len(ledger.published) + 1, at=clock(), actor=actor, sources=sources))
            return len(ledger.published)

        app = create_app(
            Services(
                desk=desk,
                intake=Intake(desk, MemoryBus(), lambda: place, vault, clock=clock),  # type: ignore[arg-type]
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
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.client.aclose()
        self.views.close()

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
