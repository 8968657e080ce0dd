"""The raw floor of the bench: the throughput of one Python process that uses nats-py as documented, and nothing else.

It publishes and consumes persisted messages at the same time on its own connection, with the library's own calls (`publish_async`,
`pull_subscribe`, `fetch`, `ack`). So it measures the bus and the library, not this package.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import nats
from nats.errors import TimeoutError as NoMessages
from nats.js.api import ConsumerConfig

from hub.bus.connection import Bus

STREAM = "BENCH"
FETCH = 500
WINDOW = 1000
"""Publishes without an answer at the most."""


async def raw_floor(bus: Bus, messages: int, size: int, progress: Callable[[int], None]) -> float:
    """Seconds to store `messages` messages of `size` bytes, acknowledged, and to fetch and acknowledge them all."""
    address = bus.nc.connected_url
    assert address is not None
    nc = await nats.connect(address.geturl())
    try:
        js = nc.jetstream(publish_async_max_pending=WINDOW)
        await bus.api(
            f"STREAM.CREATE.{STREAM}", {"name": STREAM, "subjects": ["bench.>"], "storage": "file", "retention": "limits"}
        )
        subscription = await js.pull_subscribe(
            "bench.>", durable="floor", stream=STREAM, config=ConsumerConfig(max_ack_pending=20_000)
        )
        payload = b"x" * size

        async def produce() -> None:
            for number in range(messages):
                await js.publish_async(f"bench.{number % 1000}", payload)
            await js.publish_async_completed()

        started = time.perf_counter()
        producing = asyncio.create_task(produce())
        got = 0
        while got < messages:
            try:
                fetched = await subscription.fetch(min(FETCH, messages - got), timeout=1)
            except NoMessages:
                if producing.done():
                    producing.result()
                continue
            for message in fetched:
                await message.ack()
            got += len(fetched)
            progress(got)
        await producing
        await nc.flush()
        return time.perf_counter() - started
    finally:
        await bus.api(f"STREAM.DELETE.{STREAM}")
        await nc.close()
