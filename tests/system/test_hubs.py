"""Two hubs on one bus: what is done through one counts in the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hub.app import Hub
from hub.contract import Capability
from hub.errors import CredentialsRejected, Withdrawn
from tests.eventually import eventually
from tests.system.department import Department, report_gas, scripted
from tests.system.hubs import one_bus, two_hubs


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
        await eventually(lambda: department.filed == [f"{outcome.case.id}.a2"])


async def _queued(hub: Hub) -> bool:
    status = await hub.adapters.status("police")
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
        await a.adapters.held_up("police", 10.0)
        await eventually(lambda: reason(b) == "held the event loop up for 10.0 s")
        await a.adapters.resume("police")
        await eventually(lambda: reason(b) is None)
        await b.adapters.quarantine("police")
        await eventually(lambda: reason(a) == "held the whole hub up")


async def test_a_pause_through_one_hub_stops_the_polling_of_the_other(tmp_path: Path) -> None:
    department = Department()
    kind = scripted("police", department, (Capability.POLL,))
    kind.manifest = replace(kind.manifest, poll_every=timedelta(milliseconds=2))
    polls: list[str | None] = []
    first_poll = kind.poll

    async def poll(self: object, cursor: str | None) -> object:
        polls.append(cursor)
        return await first_poll(self, cursor)  # type: ignore[arg-type]

    kind.poll = poll  # type: ignore[method-assign,assignment]
    async with two_hubs(tmp_path, {"police": kind}) as (a, b):
        await eventually(lambda: polls)
        await b.adapters.pause("police", "检修")
        await eventually(lambda: reason(a) == "检修")
        most = len(polls) + 2  # one under way in each hub
        await report_gas(a)
        await eventually(lambda: _queued(b))  # long enough for a hundred polls
        assert len(polls) <= most
        await a.adapters.resume("police")
        await eventually(lambda: len(polls) > most)
