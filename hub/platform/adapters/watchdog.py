"""The watchdog: finds the plugin that holds the event loop up, and names it.

A thread asks the loop for a sign of life. When none comes, the name of the task in its step tells whose code it is (`calls` gives the
names). A step can't be ended from outside: one longer than GIVE_UP_AFTER seconds ends the process, which starts again without that plugin.
Started by the composition root.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable

import structlog

from hub.platform.adapters.calls import TASK_PREFIX

log = structlog.get_logger("hub.adapters")

LIMIT = 1.0
"""Seconds without a sign of life before it says so."""
GIVE_UP_AFTER = 30.0
"""Seconds that one step of a plugin may hold the loop up. Nothing else runs meanwhile. No known step needs so long."""
_LOOK_EVERY = 0.1


class Watchdog:
    """Watches one loop.

    `held_up` hears (instance, seconds) on the loop, after the fact. `give_up` hears the instance on the thread, once, when a step does not
    end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        held_up: Callable[[str, float], None],
        give_up: Callable[[str], None],
        *,
        limit: float = LIMIT,
        give_up_after: float = GIVE_UP_AFTER,
    ) -> None:
        self._loop = loop
        self._held_up = held_up
        self._give_up = give_up
        self._limit = limit
        self._give_up_after = give_up_after
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(timeout=2)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_EVERY):
            self._answered.clear()
            asked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._answered.wait(self._limit):
                self._held(asked)

    def _held(self, asked: float) -> None:
        """The loop does not answer: find out whose step it is, wait for its end, and tell."""
        culprit: str | None = None
        step: asyncio.Task[object] | None = None
        ends_at = 0.0
        while not self._answered.wait(0.05) and not self._ended.is_set():
            current = asyncio.current_task(self._loop)
            if current is not step:  # several calls were due at once: each may hold the loop up in its turn
                step, ends_at = current, time.monotonic() + self._give_up_after
            found = _instance_of(current)
            if found is None:
                continue
            culprit = found
            if time.monotonic() > ends_at:
                self._give_up(found)
                ends_at = math.inf
        seconds = time.monotonic() - asked
        if culprit is None:
            log.warning("the event loop was held up", seconds=round(seconds, 1))
            return
        log.error("a plugin held the event loop up", adapter=culprit, seconds=round(seconds, 1))
        try:
            self._loop.call_soon_threadsafe(self._held_up, culprit, seconds)
        except RuntimeError:
            return


def _instance_of(task: asyncio.Task[object] | None) -> str | None:
    """The instance whose code a task runs."""
    name = task.get_name() if task is not None else ""
    return name.removeprefix(TASK_PREFIX).partition(" ")[0] if name.startswith(TASK_PREFIX) else None
