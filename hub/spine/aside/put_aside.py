"""Putting aside: a message that can't be read becomes a repair and leaves its queue. The queue goes on.

The repair keeps where the message stood, how it begins and its hash. Every stage that reads a queue calls this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from hub.bus.pull import Delivery
from hub.errors import BusUnavailable, HubError
from hub.observing.logs import redact_text
from hub.spine.aside.repair_items import Repair, RepairKind

log = structlog.get_logger("hub.put_aside")

T = TypeVar("T")

Note = Callable[[Repair], Awaitable[None]]
"""Keeps a repair; raises BusUnavailable (`hub.platform.upkeep.repairs.Repairs.note`)."""

NO_ADAPTER = "hub"
"""Whose the repair is when the message is no adapter's."""
SHOWN_BYTES = 120


async def read_or_put_aside(
    delivery: Delivery, read: Callable[[bytes], T], note: Note, *, adapter: str = NO_ADAPTER, subject: str = ""
) -> T | None:
    """Read a message with `read`. None when it can't be read: then a repair has been noted, and the delivery has ended.

    `subject` is the repair's. With the same subject a repair counts up instead of being listed again; this bounds what comes from outside
    in any number. While the repair can't be stored, the message comes again after its acknowledgement wait.
    """
    try:
        return read(delivery.data)
    except (ValueError, RecursionError, HubError) as problem:
        reason = problem
    try:
        repair = unreadable(delivery, str(reason), adapter=adapter, subject=subject)
        log.error("message put aside", adapter=adapter, reason=str(reason), **repair.details)
        await note(repair)
        await delivery.stop()
    except BusUnavailable as problem:
        log.warning("message comes again", subject=delivery.subject, reason=problem.message)
    finally:
        delivery.forget()
    return None


def unreadable(delivery: Delivery, reason: str, *, adapter: str, subject: str = "") -> Repair:
    """The repair for a message that can't be read. Pure."""
    stream, sequence, raw = delivery.stream, delivery.sequence, delivery.data
    digest = hashlib.sha256(raw).hexdigest()
    return Repair(
        kind=RepairKind.PUT_ASIDE,
        adapter=adapter,
        subject=subject or f"{stream} {sequence}",
        text=f"队列 {stream} 第 {sequence} 条消息无法读取，已搁置：{redact_text(reason)}",
        facts=digest,
        details={
            "stream": stream,
            "subject": delivery.subject,
            "sequence": str(sequence),
            "bytes": str(len(raw)),
            "sha256": digest,
            "begins": _shown(raw[:SHOWN_BYTES]),
        },
    )


def _shown(raw: bytes) -> str:
    """Bytes as text that can be printed anywhere, nothing secret or personal in it."""
    text = raw.decode("utf-8", "backslashreplace")
    return redact_text("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


__all__ = ["NO_ADAPTER", "Note", "read_or_put_aside", "unreadable"]
