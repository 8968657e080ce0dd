"""A cancellation that a library swallowed is raised again.

`asyncio.wait_for` of Python 3.11 (and nats-py, which is built on it: issue 373) may give its result back although the task was
cancelled in the same moment. A loop that goes on after that never ends; so every endless loop asks here once a round.
"""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError when the current task was asked to end and something swallowed it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
