"""A department that can list its tickets and its categories, and the parts of a hub that compare: real server, ledger and views."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hub.app import Hub
from hub.bus import Bucket
from hub.contract import (
    Adapter,
    Assignment,
    Audit,
    Capability,
    Crosswalk,
    FeedbackKind,
    Manifest,
    Receipt,
    Standing,
    StandingState,
)
from hub.model.assignments.state import AssignmentState, delivery_key
from hub.model.case.state import Case, CaseId
from hub.platform.upkeep.auditing import Auditing, Corrections
from hub.platform.upkeep.catalogues import Catalogues
from hub.platform.upkeep.comparison import Comparison
from hub.platform.upkeep.crosswalk import Crosswalks
from hub.platform.upkeep.reconciliation import Reconciliation
from hub.platform.upkeep.repairs import RepairFilter, RepairItem, Repairs
from hub.platform.upkeep.run_log import Run, RunLog
from hub.surfaces.api.services import Upkeep
from hub.testing.kit import eventually
from tests.system.department import report_gas, running_hub

NAME = "utilities"
"""The instance that leads a smell of gas in the shipped configuration."""


@dataclass
class Office:
    """What the department has: tickets by our key, standings by ticket, a catalogue; and what it does when it is asked."""

    standings: dict[str, Standing] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    page: int = 2
    audits: int = 0
    trouble: list[BaseException] = field(default_factory=list)
    asked: Callable[[], object] = lambda: None
    """Called at the beginning of every audit."""
    never_ends: bool = False

    def stands(self, ticket: str, state: StandingState, *, key: str | None = None) -> None:
        """From now on a ticket stands so."""
        known = self.standings.get(ticket)
        self.standings[ticket] = Standing(ticket=ticket, state=state, key=key or (known.key if known else None))


def audited(office: Office, *capabilities: Capability, crosswalk: Crosswalk | None = None) -> type[Adapter]:
    """An adapter before the office."""

    class Audited(Adapter):
        manifest = Manifest(
            name=f"scripted-{NAME}",
            department="测试部门",
            version="1",
            capabilities=frozenset(capabilities or (Capability.AUDIT,)),
            attempt_timeout=timedelta(seconds=5),
            crosswalk=crosswalk or Crosswalk(),
        )

        async def deliver(self, assignment: Assignment) -> Receipt:
            ticket = f"T-{len(office.standings) + 1}"
            office.stands(ticket, StandingState.FILED, key=assignment.key)
            return Receipt(ticket=ticket)

        async def audit(self, cursor: str | None) -> Audit:
            if cursor is None:
                office.audits += 1
                office.asked()
            if office.trouble:
                raise office.trouble.pop(0)
            start = int(cursor or 0)
            items = list(office.standings.values())
            more = start + office.page < len(items)
            if office.never_ends:
                return Audit(items=items, cursor="0")
            return Audit(items=items[start : start + office.page], cursor=str(start + office.page) if more else None)

        async def catalogue(self) -> Mapping[str, str]:
            if office.trouble:
                raise office.trouble.pop(0)
            return office.codes

        async def lookup(self, assignment: Assignment) -> Receipt | None:
            return None

        async def health(self) -> Any:
            for status in ("处理中", "已转派"):
                self.words.kind(status, about="T-1")
            return await super().health()

    return Audited


@dataclass
class Bench:
    """A running hub with what this part of it needs."""

    hub: Hub
    office: Office
    repairs: Repairs
    catalogues: Catalogues
    crosswalks: Crosswalks
    reconciliation: Reconciliation
    corrections: Corrections
    comparison: Comparison

    async def open_repairs(self, **filter: Any) -> list[RepairItem]:
        """What is open now."""
        page = await self.repairs.list(RepairFilter(**filter))
        return [item for item in page.items if item.state.value == "open"]

    async def reconciled(self) -> Run:
        """Have a run done now and wait for its end."""
        name = await self.reconciliation.ask(NAME, "李工")
        found: list[Run] = []

        async def ended() -> bool:
            found[:] = [run for run in await self.reconciliation.runs(NAME) if run.run == name and run.state.ended]
            return bool(found)

        await eventually(ended)
        return found[0]

    async def delivered(self, *, state: AssignmentState = AssignmentState.DELIVERED) -> tuple[Case, str]:
        """A case whose assignment the office has; the case and the delivery key."""
        id = (await report_gas(self.hub)).state.id

        async def there() -> bool:
            return (await self.assignment(id))[1] is state

        await eventually(there)
        folded = await self.hub.ledger.load(id)
        assert folded is not None
        return folded.state, (await self.assignment(id))[0]

    async def assignment(self, id: CaseId) -> tuple[str, AssignmentState]:
        """The key and state of the office's assignment of a case, by the ledger."""
        folded = await self.hub.ledger.load(id)
        assert folded is not None
        item = next(item for item in folded.state.assignments if item.adapter == NAME)
        return delivery_key(id, item.id), item.state


@contextlib.asynccontextmanager
async def bench(
    data: Path,
    office: Office,
    *capabilities: Capability,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    crosswalk: Crosswalk | None = None,
    grace: timedelta = timedelta(milliseconds=20),
    **options: Any,
) -> AsyncIterator[Bench]:
    """A hub with the office as its only department, comparing."""
    kind = audited(office, *capabilities, crosswalk=crosswalk)
    async with running_hub(data, {NAME: kind}, stages=False) as hub:
        repairs = Repairs(await Bucket.open(hub.bus, "REPAIRS"), clock=clock, hold=0.05)
        bucket = await Bucket.open(hub.bus, "RECONCILIATION")
        crosswalks = Crosswalks(hub.adapters, hub.words, hub.views, repairs, hub.rulebook.district)
        catalogues = Catalogues(bucket, repairs, crosswalks.in_force, clock=clock)
        comparison = Comparison(hub.adapters.names, hub.ledger, hub.views, clock=clock, grace=grace)
        audit = Auditing(hub.adapters, comparison, repairs, catalogues, clock=clock)
        reconciliation = Reconciliation(
            hub.bus, hub.adapters, audit, RunLog(bucket), hub.rulebook.district, clock=clock, **options
        )
        hub.upkeep = Upkeep(
            repairs=repairs,
            reconciliation=reconciliation,
            corrections=Corrections(comparison, hub.reportback.take),
            catalogues=catalogues,
            crosswalks=crosswalks,
        )
        try:
            async with hub.running():
                yield Bench(hub, office, repairs, catalogues, crosswalks, reconciliation, hub.upkeep.corrections, comparison)
                if hub.fatal.done():
                    raise AssertionError(hub.fatal.result())
        finally:
            await repairs.close()


__all__ = ["NAME", "Bench", "FeedbackKind", "Office", "audited", "bench"]
