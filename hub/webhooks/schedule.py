"""The published schedule of attempts, as data: Standard Webhooks 1.0.0, "Deliverability and reliability".

Dispatch spreads each delay by ±10 %, so that a receiver that comes back is not met by all at once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

RETRY_DELAYS: Final[tuple[timedelta, ...]] = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Delay before the second, third … tenth attempt, counted from the one before; `Manifest.retry_schedule` of webhooks."""

SCHEDULE: Final[tuple[timedelta, ...]] = (timedelta(0), *RETRY_DELAYS)
"""The same with the first attempt, which is made at once."""

ATTEMPTS: Final = len(SCHEDULE)
"""Attempts before a message is given up: over three days."""
