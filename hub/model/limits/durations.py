"""Durations as people write them in configuration: `30s`, `5m`, `2h`, `7d`, `4 working hours`, `3 working days`.

Owns the notation only. `calendar` knows how many hours a working day has. Called by the reading of configuration.
"""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec

_CLOCK = re.compile(r"^(\d{1,6})\s*(s|m|h|d)$")  # a longer number is no duration but a slip, and one that overflows
_WORKING = re.compile(r"^(\d{1,6})\s*working\s+(minute|hour|day)s?$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Span(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A duration as written. Around the clock: `amount`. Working: `amount` of working hours plus `days` working days."""

    amount: timedelta = timedelta(0)
    days: int = 0
    working: bool = False
    words: str


def parse_span(text: str) -> Span:
    """Read a duration; raises ValueError naming the accepted forms."""
    words = " ".join(text.lower().split())
    if words == "0":
        return Span(words="at once")
    if match := _CLOCK.match(words):
        return Span(amount=timedelta(seconds=int(match[1]) * _SECONDS[match[2]]), words=words)
    if match := _WORKING.match(words):
        count = int(match[1])
        if match[2] == "day":
            return Span(days=count, working=True, words=words)
        return Span(amount=timedelta(minutes=count * (60 if match[2] == "hour" else 1)), working=True, words=words)
    raise ValueError(f"not a duration: {text!r} (write 30s, 5m, 2h, 7d, 4 working hours or 3 working days)")
