"""The streams and durable consumers of the hub, and their limits; see docs/design/spine.md for what each is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hub.bus.connection import Bus, JetStreamRefused

LEDGER = "LEDGER"
DISPATCH = "DISPATCH"
ORDERS = "ORDERS"
REACTIONS = "REACTIONS"
WAITING = "WAITING"
"""What units said and what came in, while its case is not known or the hub is busy."""
TIMERS = "TIMERS"
KEYS = "KEYS"
PLACES = "PLACES"
ALERTS = "ALERTS"
LEASES = "LEASES"
FILES = "FILES"

ACK_WAIT = 10.0
"""Seconds without a sign of life after which a message in hand is given to another process."""

_MIB = 1024 * 1024
ANSWER_BYTES = 128 * _MIB
"""Most bytes of answers of one adapter that wait to be taken."""
_SECOND = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """Where a stream stands."""

    first: int
    last: int
    messages: int


def stream_configs(*, replicas: int, ledger_bytes: int) -> list[dict[str, Any]]:
    """The configuration of every stream. A full stream refuses new messages, it never drops old ones."""
    common: dict[str, Any] = {"storage": "file", "num_replicas": replicas, "allow_direct": True, "discard": "new"}
    return [
        common
        | {
            "name": LEDGER,
            "subjects": ["ledger.>"],
            "retention": "limits",
            "max_bytes": ledger_bytes,
            "deny_delete": True,
            "deny_purge": True,
            "duplicate_window": 120 * _SECOND,
        },
        common
        | {
            "name": DISPATCH,
            "subjects": ["dispatch.>"],
            "retention": "workqueue",
            "max_bytes": 1024 * _MIB,
            "duplicate_window": 600 * _SECOND,
        },
        common
        | {
            "name": ORDERS,
            "subjects": ["order.>"],
            "retention": "workqueue",
            "max_bytes": 1024 * _MIB,
            "duplicate_window": 600 * _SECOND,
        },
        common
        | {
            "name": REACTIONS,
            "subjects": ["react.>"],
            "retention": "workqueue",
            "max_bytes": 256 * _MIB,
            "duplicate_window": 600 * _SECOND,
        },
        common
        | {
            "name": WAITING,
            "subjects": ["waiting.>"],
            "retention": "workqueue",
            "max_bytes": 1024 * _MIB,
            "duplicate_window": 600 * _SECOND,
        },
        common
        | {
            "name": ALERTS,
            "subjects": ["alert.>"],
            "retention": "workqueue",
            "max_bytes": 64 * _MIB,
            "max_age": 7 * 86_400 * _SECOND,
            "discard": "old",
            "duplicate_window": 600 * _SECOND,
        },
        common | {"name": FILES, "subjects": ["file.>"], "retention": "limits"},
        common
        | {
            "name": TIMERS,
            "subjects": ["timer.>"],
            "retention": "workqueue",
            "max_bytes": 512 * _MIB,
            "max_msgs_per_subject": 1,
            "discard": "old",  # "new" would refuse the replacement of a timer; the byte limit is far off
            "allow_msg_schedules": True,
            "allow_msg_ttl": True,
        },
        common
        | {
            "name": KEYS,
            "subjects": ["key.>"],
            "retention": "limits",
            "max_bytes": 1024 * _MIB,
            "max_msgs_per_subject": 1,
            "discard": "old",
        },
        common
        | {
            "name": PLACES,
            "subjects": ["place.>"],
            "retention": "limits",
            "max_bytes": 256 * _MIB,
            "max_msgs_per_subject": 1,
            "discard": "old",
            "max_age": 30 * 86_400 * _SECOND,
        },
        common
        | {
            "name": LEASES,
            "subjects": ["lease.>"],
            "retention": "limits",
            "max_bytes": 16 * _MIB,
            "max_msgs_per_subject": 1,
            "discard": "old",
            "allow_msg_ttl": True,
        },
    ]


async def ensure_streams(bus: Bus, *, replicas: int = 1, ledger_bytes: int = 8 * 1024 * _MIB) -> None:
    """Create the streams that are missing and bring the others' limits up to date; never deletes anything."""
    for config in stream_configs(replicas=replicas, ledger_bytes=ledger_bytes):
        await _ensure_stream(bus, config)


async def _ensure_stream(bus: Bus, config: dict[str, Any]) -> None:
    try:
        await bus.api(f"STREAM.INFO.{config['name']}")
    except JetStreamRefused as problem:
        if problem.status != 404:
            raise
        await bus.api(f"STREAM.CREATE.{config['name']}", config)
    else:
        await bus.api(f"STREAM.UPDATE.{config['name']}", config)


async def ensure_answer_stream(bus: Bus, adapter: str, *, replicas: int = 1) -> str:
    """The stream for the answers of one adapter that runs elsewhere, made when it is missing. Returns its name.

    One each, so that a flood fills only its own. An answer that does not fit is refused, and waits with its sender.
    """
    config: dict[str, Any] = {
        "name": f"ANSWERS-{adapter}",
        "subjects": [f"answer.{adapter}.>"],
        "storage": "file",
        "num_replicas": replicas,
        "discard": "new",
        "retention": "workqueue",
        "max_bytes": ANSWER_BYTES,
        "duplicate_window": 600 * _SECOND,
    }
    await _ensure_stream(bus, config)
    return str(config["name"])


async def withdraw(bus: Bus, stream: str, subject: str) -> int:
    """Remove what waits under a subject; returns how many messages went."""
    return int((await bus.api(f"STREAM.PURGE.{stream}", {"filter": subject}))["purged"])


async def stream_state(bus: Bus, stream: str) -> StreamState:
    """First and last sequence and number of messages."""
    state = (await bus.api(f"STREAM.INFO.{stream}"))["state"]
    return StreamState(first=int(state["first_seq"]), last=int(state["last_seq"]), messages=int(state["messages"]))


async def consumer_floors(bus: Bus, stream: str) -> dict[str, int]:
    """For every durable consumer the stream sequence it was delivered up to."""
    answer = await bus.api(f"CONSUMER.LIST.{stream}", {"offset": 0})
    return {
        str(consumer["name"]): int(consumer["delivered"]["stream_seq"])
        for consumer in answer.get("consumers") or []
        if consumer["config"].get("durable_name")
    }


async def ensure_consumer(
    bus: Bus,
    stream: str,
    durable: str,
    *,
    subject: str,
    most_pending: int,
    ack_wait: float = ACK_WAIT,
    ack_all: bool = False,
) -> int:
    """Create or update a durable pull consumer; returns how many messages wait. `ack_wait` in seconds."""
    config = {
        "durable_name": durable,
        "filter_subject": subject,
        "ack_policy": "all" if ack_all else "explicit",
        "ack_wait": int(ack_wait * _SECOND),
        "max_ack_pending": most_pending,
        "max_deliver": -1,
        "deliver_policy": "all",
    }
    answer = await bus.api(f"CONSUMER.CREATE.{stream}.{durable}.{subject}", {"stream_name": stream, "config": config})
    return int(answer["num_pending"]) + int(answer["num_ack_pending"])


async def worked(bus: Bus, stream: str, durable: str) -> bool:
    """Whether some process waits for messages of a durable consumer now; a killed one still does for two seconds."""
    found = await _consumer(bus, stream, durable)
    return found is not None and int(found["num_waiting"]) > 0


async def consumer_backlog(bus: Bus, stream: str, durable: str) -> tuple[int, int]:
    """(waiting, in flight) of a durable consumer; zeros when it does not exist."""
    found = await _consumer(bus, stream, durable)
    return (0, 0) if found is None else (int(found["num_pending"]), int(found["num_ack_pending"]))


async def _consumer(bus: Bus, stream: str, durable: str) -> dict[str, Any] | None:
    """What the server says of a durable consumer; None when it does not exist."""
    try:
        return await bus.api(f"CONSUMER.INFO.{stream}.{durable}")
    except JetStreamRefused as problem:
        if problem.status == 404:
            return None
        raise
