"""The watchdog: finds out which plugin holds the event loop up, cuts its step short, and says so.

A thread asks the loop for a sign of life; when none comes, the task that is being stepped tells whose code it is (`calls` names them).
A step longer than INTERRUPT_AFTER seconds gets an exception thrown into it, which ends whatever is Python; what sits in C for longer than
GIVE_UP_AFTER can't be ended, so the process ends instead and starts again without that plugin. Started by the composition root.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import Callable

import structlog

from hub.adapters.calls import TASK_PREFIX

log = structlog.get_logger("hub.adapters")

LIMIT = 1.0
"""Seconds without a sign of life that are said."""
INTERRUPT_AFTER = 3.0
GIVE_UP_AFTER = 30.0
_LOOK_EVERY = 0.1


class HeldUp(Exception):
    """Thrown into a plugin's step that holds the event loop up."""


class Watchdog:
    """Watches one loop.

    `held_up` hears (instance, seconds) on the loop, after the fact; `give_up` hears the instance on the thread, when nothing helps.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        held_up: Callable[[str, float], None],
        give_up: Callable[[str], None],
        *,
        limit: float = LIMIT,
        interrupt_after: float = INTERRUPT_AFTER,
        give_up_after: float = GIVE_UP_AFTER,
    ) -> None:
        self._loop = loop
        self._held_up = held_up
        self._give_up = give_up
        self._limit = limit
        self._interrupt_after = interrupt_after
        self._give_up_after = give_up_after
        self._loop_thread = threading.get_ident()
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch; call it on the loop's own thread."""
        self._loop_thread = threading.get_ident()
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
        """The loop does not answer: find out whose step it is, end it, and tell."""
        culprit: str | None = None
        interrupted = gave_up = False
        step: asyncio.Task[object] | None = None
        since = asked
        while not self._answered.wait(0.05) and not self._ended.is_set():
            current = asyncio.current_task(self._loop)
            if (
                current is not step and step is not None
            ):  # several calls were due at once: the next holds the loop up in its turn
                since, interrupted = time.monotonic(), False
            step = current
            found = self._stepping()
            if found is not None:
                culprit = found
            waited = time.monotonic() - since
            if found is not None and not interrupted and waited > self._interrupt_after:
                interrupted = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._loop_thread), ctypes.py_object(HeldUp))
            if culprit is not None and not gave_up and waited > self._give_up_after:
                gave_up = True
                self._give_up(culprit)
        seconds = time.monotonic() - asked
        if culprit is None:
            log.warning("the event loop was held up", seconds=round(seconds, 1))
            return
        log.error("a plugin held the event loop up", adapter=culprit, seconds=round(seconds, 1))
        try:
            self._loop.call_soon_threadsafe(self._held_up, culprit, seconds)
        except RuntimeError:
            return

    def _stepping(self) -> str | None:
        """The instance whose code the loop is in right now."""
        task = asyncio.current_task(self._loop)
        name = task.get_name() if task is not None else ""
        return name.removeprefix(TASK_PREFIX).partition(" ")[0] if name.startswith(TASK_PREFIX) else None
