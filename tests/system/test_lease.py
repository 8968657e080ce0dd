"""Leases against a real nats-server: one at a time, taken over at once or after a death, given up in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from hub.bus import Bus, EmbeddedServer, Lease
from hub.bus.streams import LEASES, stream_state, withdraw
from hub.testing.kit import PATIENCE, eventually

TTL = 2


@dataclass
class Works:
    """Who works at present, and how often somebody began."""

    now: list[str] = field(default_factory=list)
    most: int = 0
    began: list[str] = field(default_factory=list)
    ended: dict[str, float] = field(default_factory=dict)

    async def work(self, who: str) -> None:
        self.now.append(who)
        self.began.append(who)
        self.most = max(self.most, len(self.now))
        try:
            await asyncio.Event().wait()
        finally:
            self.now.remove(who)
            self.ended[who] = time.monotonic()


@asynccontextmanager
async def keeping(bus: Bus, works: Works, who: str) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(Lease(bus, "poll.x", ttl=TTL).keep(lambda: works.work(who)))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_works_while_the_others_wait(bus: Bus) -> None:
    works = Works()
    async with keeping(bus, works, "a"), keeping(bus, works, "b"), keeping(bus, works, "c"):
        await eventually(lambda: works.now)
        before = (await stream_state(bus, LEASES)).last
        await eventually(lambda: _grown(bus, before + 6))  # two lifetimes of renewals
        assert works.most == 1
        assert len(works.began) == 1


async def _grown(bus: Bus, last: int) -> bool:
    return (await stream_state(bus, LEASES)).last >= last


async def test_the_next_begins_at_once_when_the_holder_leaves(bus: Bus) -> None:
    works = Works()
    async with keeping(bus, works, "a") as first:
        await eventually(lambda: works.now == ["a"])
        async with keeping(bus, works, "b"):
            await eventually(lambda: _listeners(bus))
            left = time.monotonic()
            first.cancel()
            await eventually(lambda: works.now == ["b"])
            assert time.monotonic() - left < TTL / 3
            assert works.most == 1


async def _listeners(bus: Bus) -> bool:
    await bus.nc.flush()
    return len(bus.nc._subs) >= 3


async def test_a_holder_that_can_not_renew_ends_before_the_next_begins(server: EmbeddedServer, bus: Bus) -> None:
    works = Works()
    cut = await Bus.connect(server.url, publish_timeout=3)
    async with keeping(cut, works, "a"):
        await eventually(lambda: works.now == ["a"])
        async with keeping(bus, works, "b"):
            began = time.monotonic()
            await cut.nc.close()
            await eventually(lambda: works.now == ["b"])
            assert works.most == 1
            assert time.monotonic() - began < TTL + 2.5
            assert works.ended["a"] < time.monotonic()


async def test_a_holder_whose_lease_is_gone_ends_and_takes_it_again(bus: Bus) -> None:
    works = Works()
    async with keeping(bus, works, "a"):
        await eventually(lambda: works.now == ["a"])
        await withdraw(bus, LEASES, "lease.poll.x")
        await eventually(lambda: works.began == ["a", "a"])
        assert works.most == 1


async def test_a_holder_goes_on_when_the_server_is_killed_and_is_soon_back(server: EmbeddedServer, bus: Bus) -> None:
    works = Works()
    lease = Lease(bus, "poll.x", ttl=10)
    task = asyncio.create_task(lease.keep(lambda: works.work("a")))
    try:
        await eventually(lambda: works.now == ["a"])
        assert lease.held
        assert server._child is not None
        server._child.kill()
        before = lease._sequence
        await eventually(lambda: lease._sequence > before)
        assert works.began == ["a"]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not lease.held


async def test_a_process_started_again_where_it_died_goes_on_at_once(server: EmbeddedServer, bus: Bus) -> None:
    works = Works()
    await bus.publish("lease.poll.x", f"{bus.run} 0 somewhere 1".encode(), headers={"Nats-TTL": "60s"})  # and died
    next_run = await Bus.connect(server.url)
    other_place = await Bus.connect(server.url)
    next_run.former = bus.run
    try:
        async with keeping(other_place, works, "other"), keeping(next_run, works, "next"):
            await eventually(lambda: works.now == ["next"], within=20)  # far less than the 60 s the lease still has
            assert works.most == 1
    finally:
        await next_run.close()
        await other_place.close()


async def test_work_that_ends_by_itself_ends_the_keeping_and_its_error_is_heard(bus: Bus) -> None:
    async def done() -> None:
        return

    async def broken() -> None:
        raise ZeroDivisionError

    await asyncio.wait_for(Lease(bus, "poll.x").keep(done), PATIENCE)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(Lease(bus, "poll.x").keep(broken), PATIENCE)  # free at once: the one before was given back
