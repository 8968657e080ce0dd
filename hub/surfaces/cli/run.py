"""`hub up|views|ledger|secrets`: commands that run or mend a hub on this machine. They make the settings; `hub.serving` does the work.

The hub itself is imported only when one of these commands runs, so that the others start fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from hub.settings import Settings
from hub.surfaces.cli.session import Yes

views_app = typer.Typer(no_args_is_help=True, help="Read models (the hub must not be running).")
ledger_app = typer.Typer(no_args_is_help=True, help="The ledger (the hub must not be running).")
secrets_app = typer.Typer(no_args_is_help=True, help="Sealed secrets of adapters (no hub of the bus may be running).")

DataDirectory = Annotated[Path | None, typer.Option("--data", envvar="HUB_DATA", help="Data directory.", show_default="data")]
ConfigDirectory = Annotated[
    Path | None,
    typer.Option("--config", envvar="HUB_CONFIG", help="Directory of the district's configuration.", show_default="config"),
]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the HTTP interface.", show_default="8600")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")]


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


def up(data: DataDirectory = None, config: ConfigDirectory = None, port: Port = None, log_level: LogLevel = None) -> None:
    """Run the hub until it is stopped. `hub up --demo` is `hub demo`.

    Example: hub up --data data
    """
    from hub.serving import up as serve

    raise typer.Exit(serve(settings_of(data, config, port=port, log_level=log_level)))


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
    yes: Yes = False,
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
    yes: Yes = False,
) -> None:
    """Remove all sealed secrets because their key is lost; hubs with another key may start then, and the secrets are set again.

    Example: hub secrets forget --data data
    """
    from hub.serving import forget_secrets

    if not yes and not typer.confirm("Remove every adapter's sealed secrets? They have to be set again."):
        raise typer.Exit(1)
    raise typer.Exit(forget_secrets(settings_of(data, config)))
