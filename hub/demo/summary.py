"""The closing summary: what came in and what became of it, for people and as one JSON object for scripts.

It adds up: cases = closed + open + dead + void. A case that was merged into another counts as void here (it ended there); a case
is dead, not open, while it is live and a delivery's attempts are used up. Requests that were attached to a notice opened no case.
Called by `hub.demo.run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hub.demo.display import Standing
from hub.demo.scenes import Scene


@dataclass(kw_only=True)
class Summary:
    """Everything the demo says at its end."""

    standing: Standing
    tickets: Mapping[str, int]
    """Tickets in each departmental system that came from the hub."""
    doubled: Mapping[str, Sequence[str]]
    """Keys for which a departmental system has more than one ticket; none, if the hub keeps its promise."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Requests the hub did not take, and why."""
    errors: Mapping[str, int] = field(default_factory=dict)
    scenes: Sequence[Scene] = ()
    seconds: float = 0.0
    example: str | None = None
    """A case worth looking at."""

    @property
    def sound(self) -> bool:
        """Whether it adds up, nothing is doubled, and every scene came out right."""
        now = self.standing
        adds_up = now.cases == now.closed + now.open + now.dead + now.void + now.merged
        return adds_up and not self.doubled and all(scene.came_out for scene in self.scenes)

    def as_json(self) -> dict[str, object]:
        """One JSON object; the first seven names are a promise to scripts."""
        now = self.standing
        return {
            "cases": now.cases,
            "closed": now.closed,
            "open": now.open,
            "dead": now.dead,
            "void": now.void + now.merged,
            "retries": now.retries,
            "tickets": sum(self.tickets.values()),
            "dispatch_ms": {"p50": now.p50, "p99": now.p99},
            "requests": now.requests,
            "attached": now.attached,
            "merged": now.merged,
            "doubled": sum(len(keys) for keys in self.doubled.values()),
            "refused": len(self.refused),
            "tickets_by_department": dict(self.tickets),
            "dispatched": dict(now.dispatched),
            "scenes": {scene.name: scene.came_out for scene in self.scenes},
            "seconds": round(self.seconds, 1),
        }

    def print(self, console: Console, *, data: Path, url: str) -> None:
        """For people: the figures, then where to look."""
        now = self.standing
        console.print()
        figures = Table(box=None, pad_edge=False, show_header=False)
        figures.add_column()
        figures.add_column(justify="right")
        for name, value in (
            ("requests 诉求", now.requests),
            ("  attached to a notice 并入", now.attached),
            ("cases in 立案", now.cases),
            ("  closed 结案", now.closed),
            ("  open 在办", now.open),
            ("  dead letters 死信", now.dead),
            ("  void or merged 作废/并案", now.void + now.merged),
            ("deliveries retried 重试", now.retries),
            ("tickets at departments 部门工单", sum(self.tickets.values())),
        ):
            figures.add_row(name, f"{value:,}")
        if now.p50 is not None and now.p99 is not None:
            figures.add_row("dispatch latency p50 / p99", f"{now.p50:,.0f} / {now.p99:,.0f} ms")
        figures.add_row("took", f"{self.seconds:,.0f} s")
        console.print(figures)
        console.print()
        table = Table(box=None, pad_edge=False)
        table.add_column("dispatched to 派单")
        table.add_column("assignments", justify="right")
        for unit, count in sorted(now.dispatched.items(), key=lambda item: (-item[1], item[0])):
            table.add_row(unit, f"{count:,}")
        console.print(table)
        self._print_problems(console)
        console.print()
        console.print("Where to look next 接下来可以看:", markup=False)
        where = f"--data {data}"
        for command, says in (
            (f"hub case list --limit 20 {where}", "the work list"),
            (f"hub case show {self.example or 'CASE'} {where}", "one case and who has it"),
            (f"hub trace {self.example or 'CASE'} {where}", "the same as one tree: levels, departments, retries, times"),
            (f"hub delivery list --stopped {where}", "what could not be delivered"),
            (f"hub adapter list {where}", "how the departmental systems stand"),
        ):
            console.print(f"  {command:<70} {says}", markup=False, soft_wrap=True)
        console.print(f"  {url + '/api/v1/openapi.json':<70} the HTTP interface", markup=False, soft_wrap=True)

    def _print_problems(self, console: Console) -> None:
        for scene in self.scenes:
            for text, holds in scene.checks:
                if not holds:
                    console.print(f"✗ {scene.title}: {text}", style="red", markup=False)
        for system, keys in self.doubled.items():
            console.print(f"✗ {system} has several tickets for {', '.join(keys[:3])}", style="red", markup=False)
        for id, reason in list(self.refused.items())[:5]:
            console.print(f"! request {id} was not taken: {reason}", style="yellow", markup=False)
        for reason, count in list(self.errors.items())[:5]:
            console.print(f"! {count} × {reason}", style="yellow", markup=False)
