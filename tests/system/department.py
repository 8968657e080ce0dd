"""A scripted department and a running hub around it: real nats-server, real ledger, an adapter that does as it is told."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hub.app import Hub
from hub.contract import (
    Adapter,
    AdapterInstance,
    Assignment,
    Capability,
    Feedback,
    FeedbackKind,
    Health,
    IncomingCase,
    Manifest,
    Notice,
    Plugin,
    Poll,
    Receipt,
)
from hub.errors import OutcomeUnknown
from hub.model.actors import SYSTEM
from hub.model.case.state import Channel, Severity
from hub.settings import Settings
from hub.spine.ledger.desk import Outcome, utc_now
from hub.spine.ways_in.intake import Entry

CONFIG = Path(__file__).parents[2] / "config"
GRID = "320113001001001"


@dataclass
class Department:
    """The department's side: what it has, what it was told, and what it does with the next calls (`script`)."""

    script: deque[BaseException | str] = field(default_factory=deque)
    tickets: dict[str, str] = field(default_factory=dict)
    filed: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    recalled: list[str] = field(default_factory=list)
    urged: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    items: list[Feedback | IncomingCase] = field(default_factory=list)
    contacts: list[Any] = field(default_factory=list)
    healthy: bool = True
    numbers: Any = field(default_factory=itertools.count)

    def file(self, key: str) -> str:
        """Every call files one more ticket: the department is not idempotent."""
        ticket = f"T-{next(self.numbers)}"
        self.tickets[key] = ticket
        self.filed.append(key)
        return ticket


def scripted(name: str, department: Department, capabilities: Sequence[Capability] = ()) -> type[Adapter]:
    """An adapter class for the instance `name` that speaks to `department`."""

    class Scripted(Adapter):
        manifest = Manifest(
            name=f"scripted-{name}",
            department="测试部门",
            version="1",
            capabilities=frozenset(capabilities),
            poll_every=timedelta(seconds=0.05),
            attempt_timeout=timedelta(seconds=5),
        )

        async def deliver(self, assignment: Assignment) -> Receipt:
            department.calls.append(f"deliver {assignment.key}")
            department.contacts.append(assignment.contact)
            if department.script:
                step = department.script.popleft()
                if step == "accept, then no answer":
                    department.file(assignment.key)
                    raise OutcomeUnknown("no answer")
                if isinstance(step, BaseException):
                    raise step
            return Receipt(ticket=department.file(assignment.key))

        async def lookup(self, assignment: Assignment) -> Receipt | None:
            department.calls.append(f"lookup {assignment.key}")
            ticket = department.tickets.get(assignment.key)
            return None if ticket is None else Receipt(ticket=ticket)

        async def recall(self, assignment: Assignment, reason: str) -> None:
            department.recalled.append(assignment.key)

        async def urge(self, assignment: Assignment, message: str) -> None:
            department.urged.append(assignment.key)

        async def inform(self, notice: Notice) -> None:
            department.notices.append(notice)

        async def poll(self, cursor: str | None) -> Poll:
            start = int(cursor or 0)
            return Poll(items=department.items[start:], cursor=str(len(department.items)))

        async def health(self) -> Health:
            return Health(ok=department.healthy)

    return Scripted


def instance(name: str, **limits: Any) -> AdapterInstance:
    """An instance that retries within milliseconds."""
    values: dict[str, Any] = {
        "attempts": 6,
        "backoff_base": timedelta(milliseconds=20),
        "backoff_cap": timedelta(milliseconds=200),
        "breaker_open_for": timedelta(milliseconds=300),
        "breaker_minimum": 50,
        "breaker_window": 100,
    }
    return AdapterInstance(name=name, plugin=f"scripted-{name}", **(values | limits))


@contextlib.asynccontextmanager
async def running_hub(
    data: Path,
    adapters: dict[str, type[Adapter]],
    *,
    clock: Callable[[], datetime] = utc_now,
    config: Path = CONFIG,
    stages: bool = True,
    extra: Sequence[type[Plugin]] = (),
    **limits: Any,
) -> AsyncIterator[Hub]:
    """A hub with its own server; the adapters replace those of the configuration, `extra` plugins are installed besides."""
    settings = Settings(data=data, config=config)
    settings = settings.model_copy(update={"nats": settings.nats.model_copy(update={"port": 0})})
    instances = [instance(name, **limits) for name in adapters]
    async with Hub.open(settings, instances=instances, plugins=[*adapters.values(), *extra], clock=clock) as hub:
        if not stages:
            yield hub
            return
        async with hub.running():
            yield hub
            if hub.fatal.done():
                raise AssertionError(hub.fatal.result())


async def report_gas(hub: Hub, **changes: Any) -> Outcome:
    """Smell of gas: utilities lead, police and property support, dispatched at once."""
    return await hub.intake.report(
        Entry(
            **{
                "channel": Channel.RESIDENT,
                "title": "楼道里有燃气味",
                "text": "三单元楼道有很浓的燃气味，担心泄漏。",
                "reported_at": datetime.now(UTC),
                "area": GRID,
                "category": "E0401",
                "severity": Severity.URGENT,
            }
            | changes
        ),
        actor=SYSTEM,
    )


def accepted(key: str, number: int = 1) -> Feedback:
    """A report that a unit took it."""
    return Feedback(id=f"{key}/{number}", kind=FeedbackKind.ACCEPTED, key=key, at=datetime.now(UTC))


def resolved(key: str, number: int = 2) -> Feedback:
    """A report that it is done."""
    return Feedback(id=f"{key}/{number}", kind=FeedbackKind.RESOLVED, key=key, note="已处理", at=datetime.now(UTC))
