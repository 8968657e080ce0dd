"""An order as the desk keeps it, and which step may follow which. Pure.

Read by the pages, the interface and the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class OrderState(StrEnum):
    """Where an order stands at the team."""

    RECEIVED = "received"
    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"
    RESOLVED = "resolved"
    RETURNED = "returned"
    RECALLED = "recalled"

    @property
    def open(self) -> bool:
        """Whether the team still has something to do."""
        return self in (OrderState.RECEIVED, OrderState.ACCEPTED, OrderState.IN_PROGRESS)


class Step(StrEnum):
    """What a person does; the value is the callback's `kind`."""

    ACCEPT = "accepted"
    PROGRESS = "progress"
    RESOLVE = "resolved"
    RETURN = "returned"


_NEXT: Mapping[tuple[OrderState, Step], OrderState] = {
    (OrderState.RECEIVED, Step.ACCEPT): OrderState.ACCEPTED,
    (OrderState.RECEIVED, Step.RETURN): OrderState.RETURNED,
    (OrderState.ACCEPTED, Step.PROGRESS): OrderState.IN_PROGRESS,
    (OrderState.ACCEPTED, Step.RESOLVE): OrderState.RESOLVED,
    (OrderState.ACCEPTED, Step.RETURN): OrderState.RETURNED,
    (OrderState.IN_PROGRESS, Step.PROGRESS): OrderState.IN_PROGRESS,
    (OrderState.IN_PROGRESS, Step.RESOLVE): OrderState.RESOLVED,
    (OrderState.IN_PROGRESS, Step.RETURN): OrderState.RETURNED,
}


def after(state: OrderState, step: Step) -> OrderState | None:
    """The state after `step`, None when it may not be done now."""
    return _NEXT.get((state, step))


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order 工单. Times are Unix seconds; `version` counts the person's steps; `body` is what the hub sent."""

    ticket: str
    key: str
    team: str
    state: OrderState
    created_at: float
    changed_at: float
    version: int
    urged: int
    urged_note: str | None
    trace: str | None
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """What happened to an order, for the team's eyes. `kind` is a step, or received, urged, recalled, undone."""

    at: float
    kind: str
    note: str | None
    photos: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A photo of an order, without its content; `event` is None while it has not been sent."""

    id: str
    ticket: str
    media_type: str
    size: int
    sha256: str
    event: str | None
