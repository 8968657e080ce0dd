"""`hub demo`, which is also `hub up --demo`: the demo's part of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from hub.demo.options import DemoOptions
from hub.hookspecs import hookimpl
from hub.surfaces.cli.run import ConfigDirectory, LogLevel, Port, settings_of

DEMO_DATA: Final = Path("demo-data")
"""Where the demo keeps its data unless told otherwise, so that it never mixes with a real hub's."""


@hookimpl
def hub_cli_commands(app: typer.Typer) -> None:
    """Add `demo`."""
    app.command("demo")(demo)


def demo(
    data: Annotated[
        Path | None, typer.Option("--data", envvar="HUB_DATA", help="Data directory.", show_default="demo-data")
    ] = None,
    config: ConfigDirectory = None,
    port: Port = None,
    log_level: LogLevel = None,
    replay: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="CSV of requests instead of the project's own.", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many requests.", show_default=False)] = None,
    exit: Annotated[bool, typer.Option("--exit", help="End when everything is settled.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, nothing else.")] = False,
    rate: Annotated[float | None, typer.Option(min=0.01, help="Requests per second.", show_default="as fast as taken")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 1,
    pace: Annotated[float, typer.Option(min=0.0, help="Seconds people take for one step.")] = 0.5,
    scenes: Annotated[
        bool | None,
        typer.Option("--scenes/--no-scenes", help="Play stories 1-4 first.", show_default="yes, but not with --json"),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=1.0, help="With --exit: give up after so many seconds without any change.")
    ] = 90.0,
) -> None:
    """Show the hub at work on the demo district, with simulated departments.

    Examples: hub demo
    ·  hub demo --replay requests.csv --limit 500 --exit --json
    """
    from hub.demo.run import run

    options = DemoOptions(
        replay=replay, limit=limit, exit=exit, json=as_json, rate=rate, seed=seed, pace=pace, scenes=scenes, patience=patience
    )
    raise typer.Exit(run(settings_of(data or DEMO_DATA, config, port=port, log_level=log_level), options))
