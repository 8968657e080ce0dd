"""Keeping a matter's timer: it is set by the matter's state, never by an old commit. Called by linkage and deadlines."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hub.bus.connection import Bus
from hub.bus.timers import set_timer
from hub.model.aggregate import Folded
from hub.spine.ledger.desk import Desk


async def wake_when_due(bus: Bus, desk: Desk[Any, Any, Any], folded: Folded[Any]) -> None:
    """Set the timer for the time at which the matter is due. Does nothing when it never is. Raises BusUnavailable.

    After setting it, the setter looks again whether the matter is still due then. So the last of several at the same time has seen the
    newest state.
    """
    at: datetime | None = None
    while (due := desk.aggregate.next_due(folded.state)) is not None and due != at:
        await set_timer(bus, folded.id, due)
        at = due
        folded = await desk.load(folded.id) or folded


__all__ = ["wake_when_due"]
