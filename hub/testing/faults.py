"""Faults of a simulator on demand: which ones are set, and whether the next request gets one.

In memory only: a restarted simulator has the shares of its command line again. Called by the chassis.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class FaultKind(StrEnum):
    """What can go wrong at a departmental system."""

    ERROR = "error"
    """500 before anything was stored."""
    UNAVAILABLE = "unavailable"
    """503 before anything was stored."""
    RATE_LIMIT = "rate_limit"
    """429 with Retry-After."""
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    """The request is carried out, the answer never comes."""
    DUPLICATE_CALLBACK = "duplicate_callback"
    """A callback (or an item of a poll) comes twice."""
    REORDER_CALLBACKS = "reorder_callbacks"
    """A callback (or an item of a poll) comes after the one that follows it."""
    OUTAGE = "outage"
    """Every request gets 503 and nobody works, for `seconds`."""
    BAD_CREDENTIALS = "bad_credentials"
    """401, whatever the credentials."""
    GARBAGE = "garbage"
    """The request is carried out, the answer is 200 with bytes that mean nothing."""
    HUGE = "huge"
    """The request is carried out, the answer is far too long (50 MB)."""
    HANG = "hang"
    """The request is carried out, the answer comes after 30 s."""
    DRIP = "drip"
    """The request is carried out, the answer comes byte by byte, for 30 s."""
    CLOSE = "close"
    """The request is carried out, then the connection is reset."""


class FaultOrder(BaseModel):
    """Body of `POST /_sim/faults`: the next `count` requests, or a `share` of all; for `seconds` if given."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    count: int | None = Field(None, ge=1)
    share: float | None = Field(None, ge=0, le=1)
    seconds: float | None = Field(None, gt=0)


@dataclass
class _Set:
    count: int | None
    share: float
    until: float | None


class Faults:
    """The faults set at present. Draws come from a seeded generator, so a run can be repeated."""

    def __init__(self, seed: int, shares: dict[FaultKind, float] | None = None) -> None:
        self._random = random.Random(f"faults:{seed}")  # noqa: S311 - not for secrets
        self._set: dict[FaultKind, _Set] = {}
        for kind, share in (shares or {}).items():
            self._set[kind] = _Set(None, share, None)

    def order(self, order: FaultOrder) -> None:
        """Set a fault; replaces the one of the same kind. Without count, share and seconds it hits one request."""
        count = order.count
        if count is None and order.share is None:
            count = None if order.seconds is not None else 1
        share = 1.0 if order.share is None else order.share
        until = None if order.seconds is None else time.monotonic() + order.seconds
        self._set[order.kind] = _Set(count, share, until)

    def clear(self) -> None:
        """No faults any more, those of the command line included."""
        self._set.clear()

    def draw(self, kind: FaultKind) -> bool:
        """Whether this request (or callback) is hit; uses up one of a counted fault."""
        fault = self._set.get(kind)
        if fault is None:
            return False
        if fault.until is not None and time.monotonic() >= fault.until:
            del self._set[kind]
            return False
        if fault.share < 1.0 and self._random.random() >= fault.share:
            return False
        if fault.count is not None:
            fault.count -= 1
            if fault.count == 0:
                del self._set[kind]
        return True

    @property
    def outage(self) -> bool:
        """Whether the whole system is down right now (without using the fault up)."""
        fault = self._set.get(FaultKind.OUTAGE)
        return fault is not None and fault.until is not None and time.monotonic() < fault.until

    def listed(self) -> list[dict[str, object]]:
        """The faults set, for `GET /_sim/faults`."""
        now = time.monotonic()
        return [
            {
                "kind": kind.value,
                "count": fault.count,
                "share": fault.share,
                "seconds": None if fault.until is None else round(max(0.0, fault.until - now), 3),
            }
            for kind, fault in self._set.items()
        ]


def parse_faults(text: str) -> dict[FaultKind, float]:
    """Read `error=0.02,rate_limit=0.02`; raises ValueError with the part that is wrong."""
    shares: dict[FaultKind, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, value = part.partition("=")
        try:
            share = float(value)
            kind = FaultKind(name.strip())
        except ValueError as error:
            raise ValueError(f"not a fault: {part!r} (form: error=0.02; kinds: {', '.join(FaultKind)})") from error
        if not 0 <= share <= 1:
            raise ValueError(f"not a share between 0 and 1: {part!r}")
        shares[kind] = share
    return shares
