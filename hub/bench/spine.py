"""The bench: closed cases per second with three departments each, hub-added latency, and the raw floor in the same run.

The departments are null adapters that answer at once, so that what is measured is the hub and its bus. The floor is one Python
process that publishes and consumes the same number of same-sized persisted messages with the plain library (hub/bus/floor.py), on
the same server right after the load; the ratio of the two is what can be compared between machines. Called by `hub bench`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from hub.app import Hub
from hub.bus import Bus
from hub.bus.floor import raw_floor
from hub.bus.streams import DISPATCH, KEYS, LEDGER, PLACES, TIMERS, WAITING, stream_state
from hub.config.district import load_district
from hub.contract import Adapter, AdapterInstance, Assignment, Capability, Feedback, FeedbackKind, Manifest, Plugin, Receipt
from hub.errors import ConfigError, HubError
from hub.model.actors import SYSTEM
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.case.commands import Visit
from hub.model.case.state import Channel, Severity, Stage
from hub.model.district.areas import AreaCode, Level, Unit
from hub.model.policy.district import District
from hub.model.policy.rules import Matter
from hub.observing import logs
from hub.serving import run_loop
from hub.settings import Settings
from hub.spine.ways_in.intake import Entry

TEXT = "三单元楼道从昨晚开始有很浓的燃气味，担心泄漏，请尽快派人检查，住户已经开窗通风。"
Step = Callable[[str, int, int], None]
"""Told about progress: (what, done, of)."""


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure. `sync`: default (the server's) or always; `rate`: cases per second of the latency run."""

    cases: int = 3000
    sync: str = "default"
    rate: float = 150.0
    latency_cases: int | None = None
    concurrency: int = 96
    tracing: bool = True
    json: bool = False
    config: Path = Path("config")


@dataclass
class Run:
    """What a run collects; times are seconds since 1970 by delivery key."""

    wanted: int = 0
    gate: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)
    arrived: dict[str, float] = field(default_factory=dict)
    made: dict[str, float] = field(default_factory=dict)
    closed: int = 0
    doubled: int = 0
    """Assignments that were handed over more than once."""
    trouble: list[BaseException] = field(default_factory=list)
    """What kept a case from being reported: without it the run would wait for ever."""
    done: asyncio.Event = field(default_factory=asyncio.Event)
    reports: asyncio.Queue[tuple[str, Feedback]] = field(default_factory=asyncio.Queue)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Somebody's report went in, or not."""
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.trouble.append(problem)

    def resolved(self, adapter: str, key: str) -> None:
        """The department says that it is done."""
        report = Feedback(id=key, kind=FeedbackKind.RESOLVED, key=key, note="已处理", at=datetime.now(UTC))
        self.reports.put_nowait((adapter, report))


def null_adapter(run: Callable[[], Run]) -> type[Adapter]:
    """A department that takes everything at once and reports it resolved."""

    class NullAdapter(Adapter):
        """Answers without a network."""

        manifest = Manifest(
            name="null",
            department="空部门",
            version="1",
            capabilities=frozenset({Capability.IDEMPOTENT}),
            attempt_timeout=timedelta(seconds=60),
        )

        async def deliver(self, assignment: Assignment) -> Receipt:
            """Note when it arrived; the report follows by itself."""
            now = run()
            now.doubled += assignment.key in now.arrived
            now.arrived[assignment.key] = time.time()
            now.resolved(self.context.instance, assignment.key)
            return Receipt(ticket=f"N-{assignment.key}")

    return NullAdapter


class Bench:
    """One hub, two loads, one floor."""

    def __init__(self, options: BenchOptions) -> None:
        self._options = options
        self._run = Run()

    async def measure(self, progress: Step) -> dict[str, object]:
        """Everything; returns the figures."""
        options = self._options
        with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory:
            async with self._hub(Path(directory)) as (hub, _):
                await self._load(hub, min(300, options.cases), None, progress, "warm-up")
                before = await _volume(hub.bus)
                seconds = await self._load(hub, options.cases, None, progress, "closed cases")
                lag = await _views_lag(hub)
                after = await _volume(hub.bus)
                count = options.latency_cases or min(options.cases, int(options.rate * 15))
                await self._load(hub, count, options.rate, progress, "latency")
                delays = self._delays()
                messages = after[0] - before[0]
                size = max(64, (after[1] - before[1]) // max(1, messages))
                floor = await raw_floor(hub.bus, messages, size, lambda done: progress("raw floor", done, messages))
        return {
            "cases": options.cases,
            "sync": options.sync,
            "closed_per_s": round(options.cases / seconds, 1),
            "floor_per_s": round(options.cases / floor, 1),
            "floor_ratio": round(floor / seconds, 3),
            "latency_ms": {"p50": round(quantile(delays, 0.5), 2), "p99": round(quantile(delays, 0.99), 2)},
            "latency_rate_per_s": options.rate,
            "messages_per_case": round(messages / options.cases, 2),
            "bytes_per_message": size,
            "views_lag_s": round(lag, 2),
            "tracing": options.tracing,
        }

    @contextlib.asynccontextmanager
    async def _hub(self, directory: Path, *plugins: type[Plugin]) -> AsyncIterator[tuple[Hub, tuple[str, ...]]]:
        """A hub at work with three healthy adapters, and their names."""
        options = self._options
        plain = Settings(data=directory / "data", config=options.config, tracing=options.tracing)
        nats = plain.nats.model_copy(update={"port": 0, "sync_always": options.sync == "always"})
        settings = plain.model_copy(update={"nats": nats})
        _, departments = three_departments(await asyncio.to_thread(load_district, settings.config))
        instances = [AdapterInstance(name=name, plugin="null", concurrency=64) for name in departments]
        healthy = null_adapter(lambda: self._run)
        async with Hub.open(settings, instances=instances, plugins=[healthy, *plugins]) as hub, hub.running():
            yield hub, departments

    async def _load(self, hub: Hub, count: int, rate: float | None, progress: Step, name: str) -> float:
        """Put `count` cases through, as fast as they close (bounded) or at a rate; returns the seconds until all are closed."""
        grids = [area.code for area in hub.rulebook.district().areas.at_level(Level.GRID)[:500]]
        category, _ = three_departments(hub.rulebook.district())
        self._run = run = Run(wanted=count, gate=asyncio.Semaphore(self._options.concurrency if rate is None else count))
        reporters = [asyncio.create_task(self._report_back(hub, run)) for _ in range(48)]
        pending: set[asyncio.Task[None]] = set()
        started = time.perf_counter()
        try:
            for index in range(count):
                await run.gate.acquire()
                if rate is not None:
                    await asyncio.sleep(max(0.0, started + index / rate - time.perf_counter()))
                task = asyncio.create_task(report(hub, category, grids[index % len(grids)]))
                pending.add(task)
                task.add_done_callback(pending.discard)
                task.add_done_callback(run.ended)
                if index % 100 == 0:
                    progress(name, run.closed, count)
            while not run.done.is_set():
                ended = {task for task in reporters if task.done()}
                for task in ended:
                    task.result()
                if run.trouble:
                    raise run.trouble[0]
                if hub.fatal.done():
                    raise HubError(f"the hub stopped: {hub.fatal.result()}")
                progress(name, run.closed, count)
                await asyncio.wait([asyncio.create_task(run.done.wait())], timeout=0.2)
            seconds = time.perf_counter() - started
        finally:
            for task in [*reporters, *pending]:
                task.cancel()
            await asyncio.gather(*reporters, *pending, return_exceptions=True)
        progress(name, count, count)
        return seconds

    async def _report_back(self, hub: Hub, run: Run) -> None:
        """What callbacks do: reports into the hub, then the visit once a case is resolved."""
        while True:
            adapter, report = await run.reports.get()
            outcome = await hub.reportback.take(adapter, report)
            if outcome is None or outcome.state.stage is not Stage.RESOLVED:
                continue
            visited = await hub.desk.execute(
                outcome.state.id, Visit(reached=Reached.YES, solved=Solved.YES, satisfied=Satisfied.YES, rating=5), actor=SYSTEM
            )
            for assignment in visited.state.assignments:
                run.made[f"{visited.state.id}.{assignment.id}"] = assignment.made_at.timestamp()
            run.closed += 1
            run.gate.release()
            if run.closed >= run.wanted:
                run.done.set()

    def _delays(self) -> list[float]:
        """Milliseconds from the commit that made an assignment to its arrival at the adapter, for every assignment."""
        run = self._run
        return sorted((run.arrived[key] - made) * 1000 for key, made in run.made.items() if key in run.arrived)


def three_departments(district: District) -> tuple[str, tuple[str, ...]]:
    """A category whose matters the policy dispatches at once to three adapters, and these. Raises ConfigError when there is none."""
    for category, units in dispatched_at_once(district):
        adapters = dict.fromkeys(unit.adapter for unit in units if unit.adapter is not None)
        if len(adapters) == len(units) == 3:
            return category, tuple(adapters)
    raise ConfigError("no category is dispatched to three departments at once", key="routing")


def dispatched_at_once(district: District) -> Iterator[tuple[str, list[Unit]]]:
    """Each category whose urgent matters the policy dispatches at once, with the units, when all of them have to."""
    area = district.areas.at_level(Level.GRID)[0].code
    for category in (each.code for each in district.policy.categories):
        matter = Matter(channel=Channel.HOTLINE, title="", text="", area=area, category=category, severity=Severity.URGENT)
        plan = district.policy.plan(matter, datetime.now(UTC))
        units = [unit for target in plan.targets if (unit := district.directory.get(target.unit)) is not None]
        if plan.dispatch and all(target.required for target in plan.targets):
            yield category, units


async def report(hub: Hub, category: str, area: AreaCode, *, title: str = "楼道里有燃气味", text: str = TEXT) -> None:
    """One urgent case."""
    await hub.intake.report(
        Entry(
            channel=Channel.HOTLINE,
            title=title,
            text=text,
            reported_at=datetime.now(UTC),
            area=area,
            category=category,
            severity=Severity.URGENT,
        ),
        actor=SYSTEM,
    )


async def _volume(bus: Bus) -> tuple[int, int]:
    """Messages ever stored and the ledger's bytes for all of them, over the hub's streams."""
    messages = 0
    for stream in (LEDGER, DISPATCH, WAITING, TIMERS, KEYS, PLACES):
        messages += (await stream_state(bus, stream)).last
    state = (await bus.api(f"STREAM.INFO.{LEDGER}"))["state"]
    return messages, int(state["bytes"] * messages / max(1, state["messages"]))


async def _views_lag(hub: Hub) -> float:
    """Seconds the read models needed to catch up after the load."""
    started = time.perf_counter()
    await hub.views.wait_for(await hub.ledger.last_sequence(), 60.0)
    return time.perf_counter() - started


def quantile(values: list[float], share: float) -> float:
    """The value below which `share` of the sorted values lie."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def run(options: BenchOptions, kind: type[Bench] = Bench) -> int:
    """`hub bench`: measure and print; `json` prints one object and nothing else on stdout."""
    logs.setup(level="warning", json=False, stream=None if kind is Bench else io.StringIO())  # a poisoned adapter is loud
    console = Console(stderr=options.json)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        figures = run_loop(lambda: kind(options).measure(progress))
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return 0
    table = Table(title="hub bench")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, json.dumps(value) if isinstance(value, dict) else str(value))
    console.print(table)
    return 0


__all__ = ["Bench", "BenchOptions", "Step", "dispatched_at_once", "quantile", "report", "run", "three_departments"]
