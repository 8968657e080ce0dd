"""What one sees while the demo runs: on a terminal a bar and a table that move, elsewhere a plain line now and then.

Writes to standard error when standard output belongs to a script (`--json`). Called by `hub.demo.run`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

LINE_EVERY = 5.0
"""Seconds between two plain lines."""


@dataclass(kw_only=True)
class Standing:
    """How the demo stands: counts of the ledger's cases, and of assignments by unit."""

    requests: int = 0
    put_in: int = 0
    cases: int = 0
    closed: int = 0
    open: int = 0
    dead: int = 0
    void: int = 0
    merged: int = 0
    attached: int = 0
    retries: int = 0
    dispatched: Mapping[str, int] = field(default_factory=dict)
    """Assignments by unit."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Of these, how many are still open, by unit."""
    p50: float | None = None
    p99: float | None = None
    """Milliseconds from the commit that made an assignment to the department having it."""

    @property
    def ended(self) -> int:
        """Cases nothing more is expected of."""
        return self.closed + self.void + self.merged

    def line(self) -> str:
        """Everything in one line."""
        return (
            f"put in {self.put_in}/{self.requests} · cases {self.cases} · closed {self.closed} · open {self.open} · "
            f"retries {self.retries} · dead {self.dead}"
        )


class Display:
    """Shows a `Standing`; a context manager. `quiet_output`: keep standard output free."""

    def __init__(self, *, quiet_output: bool) -> None:
        self.console = Console(stderr=quiet_output, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            expand=True,
        )
        self._put_in = self._progress.add_task("put in", total=None)
        self._ended = self._progress.add_task("settled", total=None)
        self._live: Live | None = None
        self._said_at = 0.0
        self._last = ""

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        """Begin to show."""
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop; nothing of the moving part stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, standing: Standing) -> None:
        """The newest standing."""
        if self._live is not None:
            self._progress.update(self._put_in, total=standing.requests, completed=standing.put_in)
            self._progress.update(self._ended, total=max(standing.cases, standing.requests), completed=standing.ended)
            self._live.update(Group(self._progress, departments_table(standing)))
            return
        line = standing.line()
        now = time.monotonic()
        if line != self._last and now - self._said_at >= LINE_EVERY:
            self._said_at, self._last = now, line
            self.say(line)


def departments_table(standing: Standing) -> Table:
    """Assignments by unit, the busiest first."""
    table = Table(box=None, pad_edge=False, title=standing.line(), title_justify="left")
    table.add_column("dispatched to 派单")
    table.add_column("assignments", justify="right")
    table.add_column("open", justify="right")
    busiest = sorted(standing.dispatched.items(), key=lambda item: (-item[1], item[0]))
    for unit, count in busiest[:12]:
        table.add_row(unit, str(count), str(standing.waiting.get(unit, 0)))
    return table
