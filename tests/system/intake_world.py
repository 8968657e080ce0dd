"""Counters where reports come in: real intake, desk and vault on a real server, each like a hub of its own on one bus."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hub.bus import Bucket, Bus, Objects
from hub.config.district import load_district
from hub.contract import CaseText, Contact, Suggestion
from hub.errors import BusUnavailable
from hub.model.actors import SYSTEM, Actor
from hub.model.aggregate import Aggregates, Command, Event
from hub.model.case import CASE
from hub.model.case.state import Case, CaseId, Channel, Severity
from hub.model.records import Attachment
from hub.privacy.vault import Vault
from hub.spine.ledger.desk import Desk, Outcome
from hub.spine.ledger.store import CheckpointFile, Ledger
from hub.spine.ways_in.classification import Classified
from hub.spine.ways_in.intake import Classify, Entry, EntryFile, Intake
from tests.system.department import CONFIG, GRID

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
STREET, OTHER_STREET = "320113001", "320113002"
SOMEBODY = Contact(name="欧阳建国", phone="13812341234", address="尧化街道尧佳路1号2幢301室")


PHOTO = EntryFile(
    Attachment(name="a.png", media_type="image/png", size=5, sha256=hashlib.sha256(b"photo").hexdigest()), b"photo"
)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


class Guess:
    """A classifier whose every answer is another one."""

    def __init__(self, severity: Severity | None = None) -> None:
        self.asked: list[CaseText] = []
        self._severity = severity

    def asks(self, case: CaseText) -> bool:
        return True

    async def __call__(self, case: CaseText) -> Classified | None:
        self.asked.append(case)
        because = f"第 {len(self.asked)} 次"
        return Classified(by="guess", suggestion=self._suggestion(because))

    def _suggestion(self, because: str) -> Suggestion:
        return Suggestion(category="P0102", confidence=0.9, severity=self._severity, because=because)


@dataclass
class Counter:
    """Where reports come in."""

    bus: Bus
    ledger: Ledger
    desk: Desk[Case, Any, Any]
    vault: Vault
    objects: Objects
    intake: Intake

    async def report(self, *, key: str | None = None, actor: Actor = SYSTEM, **changes: Any) -> Outcome[Case]:
        return await self.intake.report(entry(**changes), actor=actor, key=key)

    async def story(self, of: type[Event] | None = None) -> list[tuple[CaseId, Event]]:
        """Every event of the ledger, or every one of a kind."""
        found = [(c.id, event) async for _, c, _ in self.ledger.follow(0, live=False) for event in c.events]
        return [(case, event) for case, event in found if of is None or isinstance(event, of)]

    async def case(self, id: CaseId) -> Case:
        found = await self.ledger.load(id)
        assert found is not None
        state: Case = found.state
        return state

    def waits_before(self, command: type[Command], barrier: asyncio.Barrier) -> None:
        """Such a command is given only when all others at the barrier are about to."""
        execute = self.desk.execute

        async def waited(case: CaseId, given: Command, **options: Any) -> Outcome[Case]:
            if isinstance(given, command):
                await barrier.wait()
            return await execute(case, given, **options)

        self.desk.execute = waited  # type: ignore[method-assign]

    def killed_at(self, command: type[Command]) -> None:
        """The process is killed before it commits such a command."""
        execute = self.desk.execute

        async def stopped(case: CaseId, given: Command, **options: Any) -> Outcome[Case]:
            if isinstance(given, command):
                raise BusUnavailable("killed")
            return await execute(case, given, **options)

        self.desk.execute = stopped  # type: ignore[method-assign]


Open = Callable[..., Counter]


async def opener(bus: Bus, folder: Path, clock: Clock) -> Open:
    """Opens counters on one bus."""
    district = load_district(CONFIG, environ={})
    personal, keys = await Bucket.open(bus, "PERSONAL"), await Bucket.open(bus, "VAULT_KEYS")
    numbers = itertools.count()

    def one(classify: Classify | None = None) -> Counter:
        ledger = Ledger(bus, CheckpointFile(folder / f"checkpoint{next(numbers)}.json"), Aggregates(CASE))
        vault = Vault(personal, keys)
        desk = Desk(CASE, ledger, lambda: district.policy.rules, clock=clock, hiding=vault.hiding)
        objects = Objects(bus)
        intake = Intake(desk, bus, lambda: district, vault, objects, clock=clock, classify=classify)
        return Counter(bus, ledger, desk, vault, objects, intake)

    return one


def entry(**changes: Any) -> Entry:
    values: dict[str, Any] = {
        "channel": Channel.RESIDENT,
        "title": "路灯不亮",
        "text": "北门的路灯不亮",
        "reported_at": NOW,
        "area": GRID,
        "category": "P0102",
    }
    return Entry(**values | changes)


def outage(**changes: Any) -> dict[str, Any]:
    """A notice of a planned outage in the street."""
    return {
        "channel": Channel.DEPARTMENT,
        "title": "计划停水通知",
        "text": "供水管道检修，计划停水",
        "category": "E0404",
        "covers": (STREET,),
        "covers_until": NOW + timedelta(hours=6),
    } | changes


DRY: dict[str, Any] = {"title": "家里停水了", "text": "早上开始停水，什么时候来水？", "category": None}

GAS: dict[str, Any] = {"title": "燃气味", "text": "楼道里有燃气味", "category": "E0401", "severity": Severity.URGENT}
