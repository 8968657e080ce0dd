"""Timers are JetStream message schedules: one subject per case, so that a new timer replaces the old one.

A schedule on `timer.set.<case id>` puts a message on `timer.due.<case id>` when its time comes (at once when it is past), and is
gone then; both survive a restart. Convention: ADR-51 of NATS, server 2.12 and later.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hub.bus.connection import Bus

DUE = "timer.due."
"""Prefix of the subjects of due timers."""


async def set_timer(bus: Bus, case: str, at: datetime) -> None:
    """Wake the case at `at`."""
    await bus.publish(
        f"timer.set.{case}",
        case.encode(),
        headers={
            "Nats-Schedule": f"@at {at.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}",
            "Nats-Schedule-Target": f"{DUE}{case}",
        },
    )
