"""`hub up|bench|views|ledger|secrets`: what runs or mends a hub on this machine. Settings are made here; the work is `hub.serving`'s.

The hub itself is imported only when one of these commands runs, so that the others start fast.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from hub.settings import Settings

views_app = typer.Typer(no_args_is_help=True, help="Read models (the hub must not be running).")
ledger_app = typer.Typer(no_args_is_help=True, help="The ledger (the hub must not be running).")
secrets_app = typer.Typer(no_args_is_help=True, help="Sealed secrets of adapters (no hub of the bus may be running).")

DEMO_DATA: Final = Path("demo-data")
"""Where the demo keeps its data unless told otherwise, so that it never mixes with a real hub's."""

DataDirectory = Annotated[
    Path | None, typer.Option("--data", envvar="HUB_DATA", help="Data directory.", show_default="data, for the demo demo-data")
]
ConfigDirectory = Annotated[
    Path | None,
    typer.Option("--config", envvar="HUB_CONFIG", help="Directory of the district's configuration.", show_default="config"),
]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the HTTP interface.", show_default="8600")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")]


class Sync(StrEnum):
    """When the embedded server flushes."""

    ALWAYS = "always"
    DEFAULT = "default"


def settings_of(data: Path | None, config: Path | None, *, port: int | None = None, log_level: str | None = None) -> Settings:
    """The settings from the environment with what the command line says on top. Bad ones are a usage error."""
    given: dict[str, Any] = {"data": data, "config": config, "log_level": log_level}
    if port is not None:
        given["api"] = {"port": port}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors(include_input=False))
        raise typer.BadParameter(lines) from None


def up(
    data: DataDirectory = None,
    config: ConfigDirectory = None,
    port: Port = None,
    log_level: LogLevel = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show the hub at work on the demo district, with simulated departments.")
    ] = False,
    replay: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Demo: CSV of requests instead of the project's own.", show_default=False
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Demo: at most so many requests.", show_default=False)] = None,
    exit: Annotated[bool, typer.Option("--exit", help="Demo: end when everything is settled.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Demo: print one JSON object at the end, nothing else.")] = False,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Demo: requests per second.", show_default="as fast as taken")
    ] = None,
    seed: Annotated[int, typer.Option(help="Demo: seed of everything that is drawn.")] = 1,
    pace: Annotated[float, typer.Option(min=0.0, help="Demo: seconds people take for one step.")] = 0.5,
    scenes: Annotated[
        bool | None,
        typer.Option("--scenes/--no-scenes", help="Demo: play stories 1-4 first.", show_default="yes, but not with --json"),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=1.0, help="Demo with --exit: give up after so many seconds without any change.")
    ] = 90.0,
) -> None:
    """Run the hub until it is stopped.

    Examples: hub up
    ·  hub up --demo
    ·  hub up --demo --replay requests.csv --limit 500 --exit --json
    """
    only_demo = {"--replay": replay, "--limit": limit, "--exit": exit or None, "--json": as_json or None, "--rate": rate}
    misplaced = [name for name, value in only_demo.items() if value is not None]
    if misplaced and not demo:
        raise typer.BadParameter(f"{', '.join(misplaced)}: only with --demo")
    if not demo:
        from hub.serving import up as serve

        raise typer.Exit(serve(settings_of(data, config, port=port, log_level=log_level)))
    from hub.demo import DemoOptions
    from hub.demo.run import run as show

    options = DemoOptions(
        replay=replay, limit=limit, exit=exit, json=as_json, rate=rate, seed=seed, pace=pace, scenes=scenes, patience=patience
    )
    raise typer.Exit(show(settings_of(data or DEMO_DATA, config, port=port, log_level=log_level), options))


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


@views_app.command("rebuild")
def rebuild(data: DataDirectory = None, config: ConfigDirectory = None) -> None:
    """Throw the read models away and project the whole ledger again.

    Example: hub views rebuild --data data
    """
    from hub.serving import rebuild_views

    raise typer.Exit(rebuild_views(settings_of(data, config)))


@ledger_app.command("verify")
def verify(data: DataDirectory = None, config: ConfigDirectory = None) -> None:
    """Walk the whole ledger and check every chain.

    Example: hub ledger verify --data data
    """
    from hub.serving import verify_ledger

    raise typer.Exit(verify_ledger(settings_of(data, config)))


@ledger_app.command("accept-loss")
def accept(
    data: DataDirectory = None,
    config: ConfigDirectory = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
) -> None:
    """Take what is left of a damaged ledger as the truth. What is lost stays lost: restore a backup instead if there is one.

    Example: hub ledger accept-loss --data data
    """
    from hub.serving import accept_loss

    if not yes and not typer.confirm("Accept that the ledger lost commits it had acknowledged?"):
        raise typer.Exit(1)
    raise typer.Exit(accept_loss(settings_of(data, config)))


@secrets_app.command("forget")
def forget(
    data: DataDirectory = None,
    config: ConfigDirectory = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
) -> None:
    """Remove all sealed secrets because their key is lost; hubs with another key may start then, and the secrets are set again.

    Example: hub secrets forget --data data
    """
    from hub.serving import forget_secrets

    if not yes and not typer.confirm("Remove every adapter's sealed secrets? They have to be set again."):
        raise typer.Exit(1)
    raise typer.Exit(forget_secrets(settings_of(data, config)))
