"""`hub bench`: the bench's part of the command line."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hub.hookspecs import hookimpl
from hub.surfaces.cli.run import ConfigDirectory


@hookimpl
def hub_cli_commands(app: typer.Typer) -> None:
    """Add `bench`."""
    app.command("bench")(bench)


class Sync(StrEnum):
    """When the embedded server flushes."""

    ALWAYS = "always"
    DEFAULT = "default"


def bench(
    cases: Annotated[int, typer.Option(min=1, help="Cases of the throughput run.")] = 3000,
    sync: Annotated[Sync, typer.Option(help="When the embedded server flushes.")] = Sync.DEFAULT,
    rate: Annotated[float, typer.Option(min=1.0, help="Cases per second of the latency run.")] = 150.0,
    config: ConfigDirectory = None,
    tracing: Annotated[bool, typer.Option("--tracing/--no-tracing", help="Make spans.")] = True,
    install: Annotated[
        bool, typer.Option("--install", help="Instead: the others' latency while a plugin is installed and added.")
    ] = False,
    poisoned: Annotated[
        bool, typer.Option("--poisoned", help="Instead: the others' throughput beside a poisoned adapter.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Measure closed cases per second, the latency the hub adds, and the floor a bare process reaches.

    Examples: hub bench --cases 3000 --json
    ·  hub bench --install --rate 60
    ·  hub bench --poisoned
    """
    from hub.bench.platform import InstallBench, PoisonBench
    from hub.bench.spine import Bench, BenchOptions, run

    options = BenchOptions(
        cases=cases, sync=sync.value, rate=rate, tracing=tracing, json=as_json, config=config or Path("config")
    )
    raise typer.Exit(run(options, InstallBench if install else PoisonBench if poisoned else Bench))
