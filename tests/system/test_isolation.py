"""One adapter that breaks every rule beside healthy ones: theirs is delivered once and in time, and the hub goes on."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hub.contract import Adapter, Assignment, Capability, Feedback, FeedbackKind, Health, Manifest, Poll, Receipt
from hub.model.actors import SYSTEM
from hub.model.assignments.state import AssignmentState
from hub.platform.instances.registration import By, Patch
from hub.testing.kit import eventually
from tests.system.department import Department, report_gas, running_hub, scripted
from tests.system.matters import case_of

BY = By(actor=SYSTEM, note="test", untried=True)
CASES = 24


class Endless(list[Any]):
    """A list whose end never comes."""

    def __iter__(self) -> Iterator[Any]:
        return itertools.repeat("x")

    def __len__(self) -> int:
        return 1


class Nameless(Exception):
    """Its text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Mined(str):
    """Text that goes off when it is looked at."""

    def __len__(self) -> int:
        raise RuntimeError("boom")


class Trapped(Receipt, frozen=True, kw_only=True):
    """A receipt that goes off when it is read."""

    def __getattribute__(self, name: str) -> Any:
        if name == "ticket":
            raise RuntimeError("boom")
        return super().__getattribute__(name)


def _deep(level: int = 0) -> int:
    return _deep(level + 1) + 1


class Poisoned(Adapter):
    """Every call ends in another way that must not be."""

    manifest = Manifest(
        name="poisoned",
        department="故障部门",
        version="1",
        capabilities=frozenset({Capability.IDEMPOTENT, Capability.POLL}),
        poll_every=timedelta(milliseconds=20),
        attempt_timeout=timedelta(seconds=0.5),
    )
    turn: ClassVar[Iterator[int]]
    seen: ClassVar[set[int]]
    polls: ClassVar[Iterator[int]]
    released: ClassVar[asyncio.Event]
    flood: ClassVar[list[Feedback]]

    async def deliver(self, assignment: Assignment) -> Receipt:
        ways = (
            self._exits,
            self._interrupts,
            self._cancels,
            self._recurses,
            self._has_no_text,
            self._gives_nothing,
            self._gives_a_number_for_a_ticket,
            self._gives_far_too_long_a_ticket,
            self._gives_a_mined_ticket,
            self._gives_a_trap,
            self._hangs,
            self._will_not_be_cancelled,
            self._holds_the_loop_up,
            self._closes_its_client,
        )
        number = next(Poisoned.turn) % len(ways)
        Poisoned.seen.add(number)
        found: Receipt = await ways[number]()
        return found

    async def _exits(self) -> Any:
        raise SystemExit(3)

    async def _interrupts(self) -> Any:
        raise KeyboardInterrupt

    async def _cancels(self) -> Any:
        raise asyncio.CancelledError

    async def _recurses(self) -> Any:
        return Receipt(ticket=str(_deep()))

    async def _has_no_text(self) -> Any:
        raise Nameless

    async def _gives_nothing(self) -> Any:
        return None

    async def _gives_a_number_for_a_ticket(self) -> Any:
        return Receipt(ticket=7)  # type: ignore[arg-type]

    async def _gives_far_too_long_a_ticket(self) -> Any:
        return Receipt(ticket="x" * 5_000_000)

    async def _gives_a_mined_ticket(self) -> Any:
        return Receipt(ticket=Mined("x"))

    async def _gives_a_trap(self) -> Any:
        return Trapped(ticket="x")

    async def _hangs(self) -> Any:
        await asyncio.sleep(3600)

    async def _will_not_be_cancelled(self) -> Any:
        until = time.monotonic() + 20  # a loop that is closed waits for it
        while not Poisoned.released.is_set() and time.monotonic() < until:
            try:
                await asyncio.wait_for(Poisoned.released.wait(), 1)
            except (asyncio.CancelledError, TimeoutError):
                continue
        return Receipt(ticket="late")

    async def _holds_the_loop_up(self) -> Any:
        time.sleep(0.3)  # noqa: ASYNC251 - what must not be done
        return None

    async def _closes_its_client(self) -> Any:
        await self.http.aclose()
        await self.http.get("http://127.0.0.1:9/")

    async def poll(self, cursor: str | None) -> Poll:
        """Floods, in turn with rubbish."""
        found: tuple[Any, ...] = (
            None,
            Poll(items=Poisoned.flood, cursor=None, more=True),
            Poll(items=Endless(["x"]), cursor="1", more=True),
            Poll(items=(one for one in itertools.count()), cursor="1"),  # type: ignore[arg-type,misc]
            Poll(items=[object()] * 500, cursor="1", more=True),
        )
        chosen: Poll = found[next(Poisoned.polls) % len(found)]
        return chosen

    async def health(self) -> Health:
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    Poisoned.turn, Poisoned.polls = itertools.count(), itertools.count()
    Poisoned.seen = set()
    now = datetime.now(UTC)
    Poisoned.flood = [Feedback(id=f"f{n}", kind=FeedbackKind.ACCEPTED, key="nobody's", at=now) for n in range(20_000)]
    Poisoned.released = asyncio.Event()
    yield
    Poisoned.released.set()


async def test_whatever_one_adapter_does_the_others_go_on(tmp_path: Path) -> None:
    police, property_ = Department(), Department()
    healthy = {"police": scripted("police", police), "property": scripted("property", property_)}
    async with running_hub(tmp_path, healthy, extra=[Poisoned]) as hub:
        patch = Patch(units=("gas",), attempts=2, backoff_base=0.05, backoff_cap=0.1, concurrency=4)
        await hub.registration.add("poisoned", "poisoned", patch, BY)
        outcomes = await asyncio.gather(
            *(report_gas(hub, text=f"{n} 单元楼道有很浓的燃气味", place=f"{n} 号") for n in range(CASES))
        )
        wanted = {
            f"{outcome.state.id}.{assignment.id}"
            for outcome in outcomes
            for assignment in outcome.state.assignments
            if assignment.unit != "gas"
        }
        await eventually(lambda: set(police.filed) | set(property_.filed) == wanted, within=60)
        assert len(police.filed) + len(property_.filed) == len(wanted), "handed over twice"
        await eventually(lambda: len(Poisoned.seen) == 14, within=60)

        async def buried() -> bool:
            cases = [await case_of(hub, outcome.state.id) for outcome in outcomes]
            dead = [
                assignment
                for case in cases
                if case is not None
                for assignment in case.assignments
                if assignment.unit == "gas" and assignment.state is AssignmentState.DEAD
            ]
            return len(dead) >= CASES // 3  # the others wait for the breaker

        await eventually(buried)
        assert not hub.fatal.done()
        Poisoned.released.set()
