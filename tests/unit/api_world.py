"""A hub without a server, for tests of views and API: everything real over a bus, buckets and files in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from hub.bus import Objects
from hub.bus.streams import FILES
from hub.config.district import load_district
from hub.contract import CallbackRejected, CallbackRequest
from hub.errors import NotAllowed
from hub.model.actors import SYSTEM, Actor, ActorKind
from hub.model.aggregate import Aggregates
from hub.model.case import CASE
from hub.model.case.effects import ERASURE
from hub.model.case.state import Case, CaseId, case_id
from hub.model.district.areas import Level, UnitCode
from hub.model.effects import Call, React
from hub.model.policy.district import District
from hub.platform.adapters import AdapterStatus
from hub.platform.adapters.mounts import Mounted
from hub.platform.upkeep.repairs import Repair
from hub.privacy.vault import Vault
from hub.settings import ApiSettings
from hub.spine.effects.erasure import Erasure
from hub.spine.effects.linkage import reaction_of
from hub.spine.effects.reactions import Reactions
from hub.spine.ledger.codec import Codecs
from hub.spine.ledger.desk import Desk, Desks
from hub.spine.ways_in.intake import Intake
from hub.surfaces.api import Services, create_app
from hub.surfaces.api.cases.kind import CASE_KIND
from hub.surfaces.api.people.tokens import Tokens
from hub.testing.kit import QuietServer, eventually
from hub.testing.memory import MemoryBucket, MemoryLedger
from hub.views.projector import Projector
from hub.views.views import Views

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

    async def all(self) -> Sequence[AdapterStatus]:
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

    async def of(self, name: str) -> AdapterStatus:
        for one in await self.all():
            if one.name == name:
                return one
        raise NotAllowed("no such adapter", subject=name)

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


async def _note(repair: Repair) -> None:
    raise AssertionError(f"a reaction was put aside: {repair.text}")


@dataclass
class World:
    """Everything one test needs. Use `async with world(tmp_path) as w`."""

    district: District
    clock: Clock
    ledger: MemoryLedger
    desk: Desk[Case, Any, Any]
    views: Views
    projector: Projector
    reactions: Reactions
    desks: Desks
    vault: Vault
    objects: Objects
    adapters: MemoryAdapters
    reportback: MemoryReportBack
    tokens: Tokens
    app: FastAPI
    client: httpx.AsyncClient
    secrets: dict[str, str] = field(default_factory=dict)
    _running: tuple[asyncio.Task[None], ...] = ()

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        settings: ApiSettings | None = None,
        heartbeat: float = 15.0,
        mounts: tuple[Mounted, ...] = (),
    ) -> "World":
        folder.mkdir(exist_ok=True)
        place = district()
        clock = Clock(datetime.now(UTC))
        aggregates = Aggregates(CASE)
        ledger = MemoryLedger(aggregates)
        vault = Vault(MemoryBucket(), MemoryBucket())
        desk = Desk(CASE, ledger, lambda: place.policy.rules, clock=clock, hiding=vault.hiding)
        desks = Desks(desk)
        views = Views(f"sqlite:///{folder / 'views.db'}", clock=clock)
        objects = Objects(ledger.bus)  # type: ignore[arg-type]
        adapters, reportback = MemoryAdapters(), MemoryReportBack()
        tokens = Tokens(MemoryBucket())

        async def publish(sources: dict[str, str], actor: Actor) -> int:
            return await ledger.publish_policy(sources, actor)

        app = create_app(
            Services(
                desk=desk,
                desks=desks,
                kinds=(CASE_KIND,),
                intake=Intake(desk, ledger.bus, lambda: place, vault, objects, clock=clock),  # type: ignore[arg-type]
                callback=lambda *sent: reportback.callback(*sent),
                adapters=adapters,  # type: ignore[arg-type]
                statuses=adapters,  # type: ignore[arg-type]
                ledger=ledger,  # type: ignore[arg-type]
                views=views,
                vault=vault,
                objects=objects,
                tokens=tokens,
                spans=None,
                district=lambda: place,
                publish_policy=publish,
                settings=settings or ApiSettings(),
                mounts=mounts,
                connected=lambda: True,
            ),
            heartbeat=heartbeat,
        )
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://hub/api/v1")
        projector = Projector(views, ledger)
        erasure = Erasure(desk, ledger, vault, objects)  # type: ignore[arg-type]
        reactions = Reactions(None, desks, Codecs(aggregates), {ERASURE: erasure}, _note)  # type: ignore[arg-type]
        return cls(
            district=place,
            clock=clock,
            ledger=ledger,
            desk=desk,
            views=views,
            projector=projector,
            reactions=reactions,
            desks=desks,
            vault=vault,
            objects=objects,
            adapters=adapters,
            reportback=reportback,
            tokens=tokens,
            app=app,
            client=client,
        )

    async def __aenter__(self) -> "World":
        self._running = (asyncio.create_task(self.projector.run()), asyncio.create_task(self._react()))
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
        await self._stop(*self._running)
        await self.client.aclose()
        self.views.close()

    async def leave_views_behind(self) -> None:
        """From now on the views stay as they are."""
        await self._stop(self._running[0])

    async def _stop(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _react(self) -> None:
        """What linkage and reactions do, without the queue between them."""
        async for _, commit, _ in self.ledger.follow(0):
            desk = self.desks.of(commit.id)
            folded = await desk.known(commit.id, number=commit.number)
            assert folded is not None
            for effect in desk.aggregate.effects(commit, folded.state):
                if isinstance(effect, React | Call):
                    await self.reactions.do(reaction_of(commit, effect))

    async def files(self) -> list[bytes]:
        """What is stored of files."""
        return [message.data for message in await self.ledger.bus.all_of(FILES, "file.>")]

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


@asynccontextmanager
async def served(folder: Path, *, heartbeat: float = 15.0) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    """A world behind a real server, and a client for it."""
    async with World.make(folder, heartbeat=heartbeat) as world:
        config = uvicorn.Config(
            world.app, port=0, lifespan="off", log_level="critical", access_log=False, timeout_graceful_shutdown=1
        )
        server = QuietServer(config)
        serving = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10) as client:
                yield world, client
        finally:
            server.should_exit = True
            await serving


__all__ = ["START", "STREET", "SYSTEM", "Clock", "MemoryLedger", "World", "district", "new_case_id", "person", "served"]
