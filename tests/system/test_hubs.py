"""Two hubs on one bus: what is done through one counts in the other."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.app import Hub
from hub.bus.streams import LEASES
from hub.contract import Adapter, Capability, IncomingCase, Poll
from hub.errors import BusUnavailable, CredentialsRejected, Withdrawn
from hub.model.actors import SYSTEM
from hub.model.aggregate import Event
from hub.model.assignments.events import AssignmentAccepted, AssignmentProgressed
from hub.model.case.state import CaseId, Channel
from hub.platform.instances.registration import Patch
from hub.platform.remote import messages
from hub.platform.remote.protocol import encode
from hub.platform.upkeep.repairs import Repair
from hub.testing.kit import eventually
from tests.system.department import GRID, Department, report_gas, scripted
from tests.system.hubs import one_bus, two_hubs
from tests.system.killed_hub import killable, police_of
from tests.system.remote_office import OfficeAdapter
from tests.system.remote_world import Office, away
from tests.system.test_install_while_running import SOURCE
from tests.system.test_registration import BY, SECRET, DeskAdapter


def reason(hub: Hub, name: str = "police") -> str | None:
    pause = hub.adapters.get(name).pause
    return None if pause is None else pause.reason


async def test_a_pause_through_one_hub_stops_the_lane_of_the_other_and_its_end_starts_it(tmp_path: Path) -> None:
    department = Department()
    async with two_hubs(tmp_path, {"police": scripted("police", department)}) as (a, b):
        await b.adapters.pause("police", "检修")
        await eventually(lambda: reason(a) == "检修")
        outcome = await report_gas(a)
        await eventually(lambda: _queued(a))
        assert department.calls == []
        await a.adapters.resume("police")
        await eventually(lambda: reason(b) is None)
        await eventually(lambda: department.filed == [f"{outcome.state.id}.a2"])


async def _queued(hub: Hub) -> bool:
    status = await hub.statuses.of("police")
    return status.state == "paused" and status.queued + status.in_flight > 0


async def test_a_hub_that_starts_later_sees_the_pause_and_one_that_starts_after_the_end_does_not(tmp_path: Path) -> None:
    async with one_bus(tmp_path, {"police": scripted("police", Department())}) as bus, bus.hub("a") as a:
        await a.adapters.pause("police", "检修")
        async with bus.hub("b") as b:
            assert reason(b) == "检修"
            await b.adapters.resume("police")
            await eventually(lambda: reason(a) is None)
        async with bus.hub("b") as b:
            assert reason(b) is None


async def test_an_automatic_pause_is_every_hubs_and_never_goes_over_an_operators(tmp_path: Path) -> None:
    department = Department(healthy=False)
    async with two_hubs(tmp_path, {"police": scripted("police", department)}) as (a, b):
        await a.adapters.shut_out("police", CredentialsRejected("wrong password"))
        await eventually(lambda: reason(b) == "credentials rejected: wrong password")
        await b.adapters.pause("police", "检修")
        await a.adapters.let_in("police")  # A may not have heard of it yet: it must not open what an operator closed
        await eventually(lambda: reason(a) == reason(b) == "检修")
        await a.adapters.shut_out("police", CredentialsRejected("again"))
        await a.adapters.let_in("police")
        assert reason(a) == "检修"
        await a.adapters.resume("police")
        await b.adapters.shut_out("police", Withdrawn("gone for good"))  # nor what B has not heard of
        await eventually(lambda: reason(a) == reason(b))


async def test_an_instance_that_holds_one_hub_up_is_paused_in_the_other_too(tmp_path: Path) -> None:
    async with two_hubs(tmp_path, {"police": scripted("police", Department())}) as (a, b):
        await a.isolation.held_up("police", 10.0)
        await eventually(lambda: reason(b) == "held the event loop up for 10.0 s")
        await a.adapters.resume("police")
        await eventually(lambda: reason(b) is None)
        await b.isolation.quarantine("police")
        await eventually(lambda: reason(a) == "held the whole hub up")


@dataclass
class Polls:
    """The polls of all hubs: which plugin object asked behind which cursor. `hold` keeps answers back."""

    by: list[int] = field(default_factory=list)
    cursors: list[str | None] = field(default_factory=list)
    hold: asyncio.Event | None = None

    def of(self, department: Department) -> type[Adapter]:
        """An adapter that is polled every 2 ms."""
        kind = scripted("police", department, (Capability.POLL, Capability.INFORM))
        kind.manifest = replace(kind.manifest, poll_every=timedelta(milliseconds=2))
        first_poll = kind.poll

        async def poll(plugin: Adapter, cursor: str | None) -> Poll:
            self.by.append(id(plugin))
            self.cursors.append(cursor)
            found = await first_poll(plugin, cursor)
            if self.hold is not None:
                await self.hold.wait()
            return found

        kind.poll = poll  # type: ignore[method-assign]
        return kind


def matter(number: int) -> IncomingCase:
    return IncomingCase(
        ref=f"W-{number}",
        channel=Channel.DEPARTMENT,
        title="停水通知",
        text=f"{number}号管道检修停水",
        reported_at=datetime.now(UTC),
        area=GRID,
    )


async def commands(hub: Hub) -> list[str]:
    """What opened cases, in the order of the ledger."""
    found = [commit async for _, commit, _ in hub.ledger.follow(0, live=False)]
    return [commit.id for commit in found if commit.number == 1]


async def test_a_pause_through_one_hub_stops_the_polling_of_the_other(tmp_path: Path) -> None:
    department = Department()
    polls = Polls()
    async with two_hubs(tmp_path, {"police": polls.of(department)}) as (a, b):
        await eventually(lambda: polls.by)
        await b.adapters.pause("police", "检修")
        await eventually(lambda: reason(a) == "检修")
        most = len(polls.by) + 2  # one under way in each hub
        await report_gas(a)
        await eventually(lambda: _queued(b))  # long enough for a hundred polls
        assert len(polls.by) <= most
        await a.adapters.resume("police")
        await eventually(lambda: len(polls.by) > most)


async def test_one_hub_polls_at_a_time_and_the_other_goes_on_behind_the_same_cursor_when_it_stops(tmp_path: Path) -> None:
    department, polls = Department(), Polls()
    async with one_bus(tmp_path, {"police": polls.of(department)}) as bus, AsyncExitStack() as first:
        a = await first.enter_async_context(bus.hub("a"))
        await eventually(lambda: polls.by)
        async with bus.hub("b") as b:
            department.items += [matter(1), matter(2)]
            await eventually(lambda: _cursor_is(b, b"2"))
            await eventually(lambda: len(polls.by) > 200)
            assert set(polls.by) == {id(a.adapters.running()[0]._plugin)}
            await first.aclose()
            department.items.append(matter(3))
            await eventually(lambda: _cursor_is(b, b"3"))
            assert len(await commands(b)) == 3
            assert polls.cursors.count(None) == 1
            assert len(set(polls.by)) == 2


async def _cursor_is(hub: Hub, value: bytes) -> bool:
    entry = await hub.reportback._cursors.get(f"police.{hub.adapters.running()[0].cursor_name}")
    return entry is not None and entry.value == value


async def test_a_hub_that_polled_before_can_not_move_the_cursor_when_another_took_over(tmp_path: Path) -> None:
    late = asyncio.Event()
    department, polls = Department(items=[matter(1)]), Polls(hold=late)
    async with one_bus(tmp_path, {"police": polls.of(department)}) as bus, bus.hub("a", stages=False) as a:
        running = a.adapters.running()[0]
        # A polls as if nobody had told it that its lease is over; the answer, with the cursor 1, comes late.
        stale = asyncio.create_task(a.reportback._poll_alone(running, f"police.{running.cursor_name}"))
        try:
            await eventually(lambda: polls.by)
            department.items.append(matter(2))
            polls.hold = None
            async with bus.hub("b") as b:
                await eventually(lambda: _cursor_is(b, b"2"))
                late.set()
                await eventually(lambda: polls.by.count(id(running._plugin)) > 1)
                assert await _cursor_is(b, b"2")
                behind = [cursor for who, cursor in zip(polls.by, polls.cursors, strict=True) if who == id(running._plugin)]
                assert behind[:2] == [None, "2"]
                assert len(await commands(b)) == 2
        finally:
            stale.cancel()
            await asyncio.gather(stale, return_exceptions=True)


async def test_polling_is_taken_over_when_the_hub_that_polls_is_killed(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with one_bus(tmp_path) as bus:
        bus.instances, bus.plugins = [police_of(office.file)], [OfficeAdapter]
        async with killable(bus, "a", office) as child, bus.hub("b") as b:
            outcome = await report_gas(b)
            await eventually(lambda: office.filed())
            office.says(office.filed()[0], "accepted")
            await eventually(lambda: office.heard() == ["polled 1"])
            child.kill()
            await child.wait()
            office.says(office.filed()[0], "progress")
            await eventually(lambda: _told(b, outcome.state.id, AssignmentProgressed))
            assert await _told(b, outcome.state.id, AssignmentAccepted) == 1  # also when it is read again from the same cursor


async def _told(hub: Hub, case: CaseId, kind: type[Event]) -> int:
    commits = await hub.ledger.commits(case)
    return sum(isinstance(event, kind) for _, commit in commits for event in commit.events)


async def test_reports_of_an_adapter_elsewhere_are_taken_by_one_hub_in_their_order(tmp_path: Path) -> None:
    taken: list[tuple[str, str]] = []

    def noting(hub: Hub, name: str) -> None:
        async def note(repair: Repair) -> None:
            taken.append((name, repair.subject))

        hub.answers._note = note

    async def say(hub: Hub, number: int) -> None:
        item = messages.Aside(item=f"{number:03}", reason="unreadable")
        raw = encode("answer", "aside", item, id=f"x{number}", source="/there", at=datetime.now(UTC))
        await hub.bus.publish("answer.police.aside", raw)

    async with one_bus(tmp_path) as bus, AsyncExitStack() as first:
        bus.instances, bus.plugins = [away("police")], [OfficeAdapter]
        a = await first.enter_async_context(bus.hub("a"))
        noting(a, "a")
        await eventually(lambda: _takes_reports(a))
        async with bus.hub("b") as b:
            noting(b, "b")
            for number in range(100):
                await say(b, number)
            await eventually(lambda: len(taken) == 100)
            assert {name for name, _ in taken} == {"a"}
            await first.aclose()
            await say(b, 100)
            await eventually(lambda: taken[-1] == ("b", "100"))
            assert len(taken) == 101


async def _takes_reports(hub: Hub) -> bool:
    return await hub.bus.last(LEASES, "lease.answers.police") is not None


async def test_what_is_changed_between_a_hubs_start_and_its_following_is_not_missed(tmp_path: Path) -> None:
    async with one_bus(tmp_path, extra=[DeskAdapter]) as bus, bus.hub("a") as a, bus.hub("b", stages=False) as b:
        await a.registration.add("gasworks", "desk", Patch(settings={"url": "a", "secret": SECRET}), BY)
        first, *_ = sources = dict(a.rulebook.rules().sources)
        assert await a.policies.publish(sources | {first: sources[first] + "\n# again"}, SYSTEM) == 2
        assert b.rulebook.rules().version == 1
        async with b.running():
            await eventually(lambda: b.adapters.serves("gasworks"))
            await eventually(lambda: b.rulebook.rules().version == 2)


async def test_a_change_that_could_not_be_made_true_for_want_of_the_bus_is_made_true_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_hubs(tmp_path, extra=[DeskAdapter]) as (a, b):
        await a.registration.add("gasworks", "desk", Patch(settings={"url": "a", "secret": SECRET}), BY)
        await eventually(lambda: b.adapters.serves("gasworks"))
        opened, troubles = b.registry.open, [BusUnavailable("no answer")]

        async def open(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
            if troubles:
                raise troubles.pop()
            return await opened(name, settings)

        monkeypatch.setattr(b.registry, "open", open)
        await a.registration.change("gasworks", Patch(settings={"url": "b"}), BY)
        await eventually(lambda: b.adapters.get("gasworks").instance.settings["url"] == "b")
        assert not troubles


async def test_a_plugin_installed_since_is_found_by_the_hub_that_was_not_asked_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "found_later", raising=False)
    async with two_hubs(tmp_path) as (a, b):
        source = SOURCE.replace('name="latecomer"', 'name="found-later"')
        (tmp_path / "found_later.py").write_text(source, encoding="utf-8")
        info = tmp_path / "found_later-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: found-later\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[city_hub]\nfound-later = found_later\n")
        await a.registration.add("latecomer", "found-later", Patch(units=("gas",)), BY)
        await eventually(lambda: b.adapters.serves("latecomer"))
