"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any


async def eventually(predicate: Callable[[], Any], *, within: float = 10.0, every: float = 0.02) -> Any:
    """Return the first true value of `predicate` (a function, may be async); AssertionError after `within` seconds."""
    end = time.monotonic() + within
    while True:
        value = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {inspect.getsource(predicate).strip()}")
        await asyncio.sleep(every)
