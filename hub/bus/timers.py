"""Timers are JetStream message schedules: one subject per timer, so that a new one replaces the old one.

A schedule on `timer.set.<id>` puts a message on `timer.due.<id>` when its time comes (at once when it is past). Then the schedule is gone.
Both survive a restart. `timer.audit.set.<adapter>` and `timer.audit.due.<adapter>.<run>` do the same for the nightly reconciliation.
Convention: ADR-51 of NATS, server 2.12 and later.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hub.bus.connection import Bus
from hub.bus.streams import TIMERS

DUE = "timer.due."
"""Prefix of the subjects of due timers."""
AUDIT_DUE = "timer.audit.due."
"""Prefix of the subjects of reconciliations that are due."""
_AUDIT_SET = "timer.audit.set."


async def set_timer(bus: Bus, matter: str, at: datetime) -> None:
    """Wake the matter at `at`."""
    await _schedule(bus, f"timer.set.{matter}", f"{DUE}{matter}", at, matter.encode())


async def set_audit(bus: Bus, adapter: str, run: str, at: datetime, body: bytes) -> None:
    """Have the adapter's run `run` due at `at`; replaces the one that is set."""
    await _schedule(bus, f"{_AUDIT_SET}{adapter}", f"{AUDIT_DUE}{adapter}.{run}", at, body)


async def audit_due_now(bus: Bus, adapter: str, run: str, body: bytes) -> None:
    """Make a run due at once. A scheduled one stays scheduled."""
    await bus.publish(f"{AUDIT_DUE}{adapter}.{run}", body)


async def audit_waits(bus: Bus, adapter: str) -> bool:
    """Whether a reconciliation of the adapter is set, due or under way."""
    return (
        await bus.last(TIMERS, f"{_AUDIT_SET}{adapter}") is not None
        or await bus.last(TIMERS, f"{AUDIT_DUE}{adapter}.>") is not None
    )


async def _schedule(bus: Bus, on: str, target: str, at: datetime, body: bytes) -> None:
    headers = {
        "Nats-Schedule": f"@at {at.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}",
        "Nats-Schedule-Target": target,
    }
    await bus.publish(on, body, headers=headers)
