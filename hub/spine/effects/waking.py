"""Keeping a matter's timer: it is set by the matter's state, never by an old commit. Called by linkage and deadlines."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hub.bus.connection import Bus
from hub.bus.timers import set_timer
from hub.model.aggregate import Folded
from hub.spine.ledger.desk import Desk


async def wake_when_due(bus: Bus, desk: Desk[Any, Any, Any], folded: Folded[Any]) -> None:
    """Set the timer for when the matter is due; nothing when it never is. Raises BusUnavailable.

    Whoever sets it looks afterwards whether the matter is still due then, so the last one to set it has seen the newest state,
    however many do it at the same time.
    """
    at: datetime | None = None
    while (due := desk.aggregate.next_due(folded.state)) is not None and due != at:
        await set_timer(bus, folded.id, due)
        at = due
        folded = await desk.load(folded.id) or folded


__all__ = ["wake_when_due"]
