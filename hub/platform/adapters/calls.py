"""One call into a plugin: bounded in time, in a task of its own. Whatever it throws becomes one of the hub's errors.

A call that ignores its cancellation does not hold the hub up: it is left behind and counted. Called by `running`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from hub.contract import CallbackRejected
from hub.errors import AdapterFault, HubError
from hub.privacy.marks import plain

log = structlog.get_logger("hub.adapters")

T = TypeVar("T")

TRACED_EVERY = 60.0
"""Seconds within which the same fault is logged without its traceback."""
MOST_TRACED = 100
GRACE = 1.0
"""Seconds a cancelled call gets to end."""
TASK_PREFIX = "plugin "
"""Tasks with a plugin's code are named `plugin <instance> <method>`. The watchdog reads the name."""


class TookTooLong(Exception):
    """The call did not end within its time."""


class Calls:
    """The calls into one plugin instance."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._strays: set[asyncio.Task[Any]] = set()
        self._traced: dict[str, float] = {}
        self.active = 0
        """Calls under way."""

    @property
    def strays(self) -> int:
        """Abandoned calls that did not end."""
        return len(self._strays)

    async def call(self, method: str, work: Coroutine[Any, Any, T], *, within: float) -> T:
        """Run `work` for at most `within` seconds. Raises TookTooLong, the plugin's own hub errors, AdapterFault for anything else."""
        task = asyncio.get_running_loop().create_task(_guarded(work), name=f"{TASK_PREFIX}{self._instance} {method}")
        self.active += 1
        try:
            done, _ = await asyncio.wait((task,), timeout=within)
            if not done:
                await self._give_up(task, method)
                raise TookTooLong
            if task.cancelled():
                raise AdapterFault(f"{self._instance}: {method} cancelled itself", subject=self._instance)
            problem = task.exception()
            if problem is None:
                return task.result()
            if isinstance(problem, HubError):
                problem.message = plain(str(problem.message))
            if isinstance(problem, HubError | CallbackRejected):
                raise problem
            self._say(method, problem)
            raise AdapterFault(f"{self._instance}: {method} failed: {words(problem)}", subject=self._instance) from problem
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            self.active -= 1

    def _say(self, method: str, problem: BaseException) -> None:
        """Log a fault. The traceback comes only once a minute, because a plugin that always fails would fill the disk."""
        what, now = f"{method}: {words(problem)}", time.monotonic()
        traced = now - self._traced.get(what, -TRACED_EVERY) >= TRACED_EVERY
        if traced:
            if len(self._traced) > MOST_TRACED:
                self._traced.clear()
            self._traced[what] = now
        log.error(
            "adapter fault", adapter=self._instance, call=method, error=words(problem), exc_info=problem if traced else None
        )

    async def _give_up(self, task: asyncio.Task[Any], method: str) -> None:
        task.cancel()
        done, _ = await asyncio.wait((task,), timeout=GRACE)
        if not done:
            self._strays.add(task)
            task.add_done_callback(self._strays.discard)
            log.error("a call does not end", adapter=self._instance, call=method, strays=len(self._strays))
        elif not task.cancelled():
            task.exception()  # # its exception on the way out does not matter any more


async def _guarded(work: Coroutine[Any, Any, T]) -> T:
    """Keep what would end the process inside: asyncio lets SystemExit and KeyboardInterrupt of a task through to the loop."""
    try:
        return await work
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as problem:
        raise _Thrown(words(problem)) from problem


class _Thrown(Exception):
    """A plugin threw something that is not for plugins to throw."""


def words(problem: BaseException) -> str:
    """The class and a short text of an exception; for logs and operators, never for residents."""
    try:
        text = str(problem)
    except Exception:
        text = "(no text)"
    return f"{type(problem).__name__}: {plain(text[:200])}"
