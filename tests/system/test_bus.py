"""The bus against a real nats-server: what its stand-in in memory has no part in; all else is in tests/contract/test_stores.py."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.bus import Bucket, Bus, EmbeddedServer, PullConsumer, WrongSequence, ensure_streams
from hub.bus.cancellation import raise_if_cancelled
from hub.bus.streams import DISPATCH, LEDGER, TIMERS, ensure_consumer, stream_state
from hub.bus.timers import set_timer
from hub.errors import BusUnavailable
from hub.model.case.state import case_id
from hub.testing.kit import PATIENCE, eventually

CASE = case_id("320113001001001", "0000000001")


async def test_a_subject_with_more_messages_than_a_batch_is_read_whole(bus: Bus) -> None:
    await asyncio.gather(*(bus.publish("ledger.case.b", b"%d" % n) for n in range(600)))
    found = await bus.all_of(LEDGER, "ledger.case.b")
    assert len(found) == 600
    assert [m.sequence for m in found] == sorted(m.sequence for m in found)
    assert len(await bus.all_of(LEDGER, "ledger.case.b", until=found[299].sequence)) == 300


async def test_following_goes_on_without_gap_or_repeat_when_the_server_is_killed(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "nats", port=0, sync_always=True)
    await server.start()
    bus = await Bus.connect(server.url, publish_timeout=3)
    await ensure_streams(bus)
    seen: list[bytes] = []

    async def follow() -> None:
        async for messages in bus.follow(LEDGER, "ledger.case.>", 0):
            seen.extend(m.data for m in messages)

    task = asyncio.create_task(follow())
    try:
        for n in range(50):
            await bus.publish(f"ledger.case.{n}", b"%d" % n)
        assert server._child is not None
        server._child.kill()
        accepted = 50
        while accepted < 100:
            try:
                await bus.publish(f"ledger.case.{accepted}", b"%d" % accepted, expect=0)
                accepted += 1
            except WrongSequence:
                accepted += 1
            except BusUnavailable:
                continue
        await eventually(lambda: len(seen) >= 100)
        assert seen == [b"%d" % n for n in range(100)]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bus.close()
        await server.stop()


async def test_a_message_is_handed_on_at_once_and_never_more_than_the_capacity_are_in_hand(bus: Bus) -> None:
    await ensure_consumer(bus, DISPATCH, "d", subject="dispatch.x.>", ack_wait=30, most_pending=100)
    async with PullConsumer(bus, DISPATCH, "d", capacity=4) as consumer:
        for n in range(20):
            await bus.publish("dispatch.x.1", b"%d" % n)
        held = [await asyncio.wait_for(consumer.next(), 2) for _ in range(4)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consumer.next(), 0.3)
        for delivery in held:
            await delivery.ack()
        rest = []
        for _ in range(16):
            delivery = await asyncio.wait_for(consumer.next(), 3)
            rest.append(delivery.data)
            await delivery.ack()
        assert rest == [b"%d" % n for n in range(4, 20)]
        # an idle consumer gets the next message without waiting for its request to run out
        started = time.monotonic()
        await bus.publish("dispatch.x.1", b"late")
        delivery = await asyncio.wait_for(consumer.next(), 2)
        assert time.monotonic() - started < 1.0
        await delivery.retry(0.2)
        again = await asyncio.wait_for(consumer.next(), 3)
        assert (again.data, again.deliveries) == (b"late", 2)
        await again.stop()
    await eventually(lambda: _empty(bus))


async def _empty(bus: Bus) -> bool:
    return (await stream_state(bus, DISPATCH)).messages == 0


async def test_what_the_hub_cannot_do_now_comes_again_and_the_queue_goes_on(bus: Bus) -> None:
    await ensure_consumer(bus, DISPATCH, "d", subject="dispatch.x.>", most_pending=10, ack_wait=1.0)
    await bus.publish("dispatch.x.1", b"one")
    async with PullConsumer(bus, DISPATCH, "d", capacity=1, ack_wait=1.0) as consumer:
        first = await consumer.next()
        async with first.handling(lambda deliveries: 0.05 * deliveries):
            raise BusUnavailable("the ledger does not answer")
        second = await asyncio.wait_for(consumer.next(), timeout=PATIENCE)
        assert (second.data, second.deliveries) == (b"one", 2)
        async with second.handling():
            await second.ack(confirmed=True)
        assert consumer.in_hand == 0


async def test_an_answer_the_bus_does_not_take_ends_nothing(bus: Bus) -> None:
    await ensure_consumer(bus, DISPATCH, "d", subject="dispatch.x.>", most_pending=10)
    await bus.publish("dispatch.x.1", b"one")
    async with PullConsumer(bus, DISPATCH, "d", capacity=1) as consumer:
        delivery = await consumer.next()
        await bus.nc.close()
        async with delivery.handling():
            await delivery.ack()
        assert not delivery.held
        assert consumer.in_hand == 0


async def test_a_new_timer_replaces_the_old_one_and_a_due_one_leaves_nothing_behind(bus: Bus) -> None:
    await ensure_consumer(bus, TIMERS, "due", subject="timer.due.>", ack_wait=30, most_pending=100)
    await set_timer(bus, CASE, datetime.now(UTC) + timedelta(seconds=60))
    soon = datetime.now(UTC) + timedelta(seconds=1)
    await set_timer(bus, CASE, soon)
    async with PullConsumer(bus, TIMERS, "due", capacity=4) as consumer:
        delivery = await asyncio.wait_for(consumer.next(), 5)
        assert datetime.now(UTC) >= soon - timedelta(seconds=1)
        assert delivery.subject == f"timer.due.{CASE}"
        await delivery.ack(confirmed=True)
    assert (await stream_state(bus, TIMERS)).messages == 0


async def test_a_timer_survives_a_restart_and_a_past_one_fires_at_once(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "nats", port=0, sync_always=True)
    await server.start()
    bus = await Bus.connect(server.url)
    await ensure_streams(bus)
    await set_timer(bus, CASE, datetime.now(UTC) + timedelta(seconds=0.5))
    await bus.close()
    await server.stop()
    server = EmbeddedServer(tmp_path / "nats", port=0, sync_always=True)
    await server.start()
    bus = await Bus.connect(server.url)
    try:
        await ensure_consumer(bus, TIMERS, "due", subject="timer.due.>", ack_wait=30, most_pending=100)
        async with PullConsumer(bus, TIMERS, "due", capacity=4) as consumer:
            delivery = await asyncio.wait_for(consumer.next(), 5)
            assert delivery.subject == f"timer.due.{CASE}"
    finally:
        await bus.close()
        await server.stop()


async def test_a_listing_is_whole_while_others_write_and_leaves_nothing_behind(bus: Bus) -> None:
    bucket = await Bucket.open(bus, "TEST")
    keys = {f"a.{n}" for n in range(40)}
    await asyncio.gather(*(bucket.put(key, b"0") for key in keys))

    async def write() -> None:
        while True:
            for key in keys:
                raise_if_cancelled()
                await bucket.put(key, b"1")

    writers = [asyncio.create_task(write()) for _ in range(4)]
    try:
        for _ in range(100):
            assert set(await bucket.entries("a.*")) == keys
    finally:
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
    assert (await bus.api("STREAM.INFO.KV_TEST"))["state"]["consumer_count"] == 0


async def test_a_bucket_tells_what_its_keys_hold_and_then_every_change_by_anybody(server: EmbeddedServer, bus: Bus) -> None:
    bucket = await Bucket.open(bus, "TEST")
    for key in ("a.pause", "b.pause", "a.store.x"):
        await bucket.put(key, key.encode())
    await bucket.purge("b.pause")
    now = [change async for change in bucket.changes("*.pause", live=False)]
    assert [(change.key, change.value) for change in now] == [("a.pause", b"a.pause"), ("b.pause", b"")]
    heard: list[tuple[str, bytes]] = []

    async def follow() -> None:
        async for change in bucket.changes("*.pause", after=now[-1].revision):
            heard.append((change.key, change.value))  # noqa: PERF401 - a comprehension would never end

    task = asyncio.create_task(follow())
    other = await Bus.connect(server.url)
    try:
        elsewhere = await Bucket.open(other, "TEST")
        revision = await elsewhere.put("a.pause", b"2")
        await elsewhere.put("a.store.x", b"2")
        await elsewhere.delete("a.pause")
        await eventually(lambda: heard == [("a.pause", b"2"), ("a.pause", b"")])
        assert revision > now[-1].revision
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await other.close()


async def test_the_embedded_server_takes_a_free_port_when_its_own_is_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = EmbeddedServer(tmp_path / "nats", port=port)
        url = await server.start()
        try:
            assert not url.endswith(f":{port}")
        finally:
            await server.stop()


async def test_a_server_left_on_the_store_is_stopped_before_another_is_started(tmp_path: Path) -> None:
    first = EmbeddedServer(tmp_path / "nats", port=0)
    await first.start()
    assert first._child is not None
    pid = first._child.pid
    if first._watch is not None:
        first._watch.cancel()
    second = EmbeddedServer(tmp_path / "nats", port=0)
    await second.start()
    try:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT) if await first._child.wait() is None else os.kill(pid, 0)
    finally:
        await second.stop()


async def test_the_bus_refuses_a_connection_without_the_password(server: EmbeddedServer) -> None:
    with pytest.raises(BusUnavailable, match="can't connect"):
        await Bus.connect(server.url.replace("hub:", "hub:wrong"))
