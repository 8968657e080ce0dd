"""`hub plugin new|list|check`: the work of a plugin's author on their own machine. Asks no hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from hub.errors import HubError, PluginError
from hub.workshop.scaffold import Kind, NewPlugin, write

plugin_app = typer.Typer(no_args_is_help=True, help="Plugins: write a new one, see what is installed, check it.")

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON and nothing else.")]


@plugin_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and _, e.g. greenery.")],
    department: Annotated[
        str | None, typer.Option(help="Chinese name of the kind of department, e.g. 园林.", show_default=False)
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="What it starts as.", show_default="http")] = None,
    into: Annotated[Path | None, typer.Option(help="Directory to write.", show_default="hub-NAME")] = None,
    owner: Annotated[
        str | None, typer.Option(help="Who answers for it: a team and how to reach it.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; what isn't said is the default.")] = False,
) -> None:
    """Write a new plugin: adapter, simulator, contract test and README, which pass their tests at once.

    Example: hub plugin new greenery --department 园林 --kind http --yes
    """
    if not yes:
        kind = kind or typer.prompt("Kind", default=Kind.HTTP, type=Kind, show_choices=True)
        department = department or typer.prompt("Department (Chinese)", default="某部门")
        owner = owner if owner is not None else typer.prompt("Owner", default="", show_default=False)
    plugin = NewPlugin(name=name, kind=kind or Kind.HTTP, department=department or "某部门", owner=owner or "", into=into)
    try:
        directory = write(plugin)
    except HubError as error:
        _fail(error)
    typer.echo(f"{directory} is written. Next:")
    typer.echo(f"  cd {directory}")
    typer.echo("  python -m pip install --no-build-isolation --no-deps -e .")
    typer.echo("  python -m pytest")


@plugin_app.command("list")
def list_plugins(as_json: AsJson = False) -> None:
    """List the plugins installed beside this `hub`, whether an instance uses them or not.

    Example: hub plugin list --json
    """
    rows = _checked()
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    from rich.console import Console

    from hub.surfaces.cli.tables import table

    columns = (
        ("名称", "name"),
        ("种类", "kind"),
        ("部门", "department"),
        ("版本", "version"),
        ("能力", "capabilities"),
        ("负责人", "owner"),
    )
    Console().print(table(rows, columns))


@plugin_app.command("check")
def check(
    name: Annotated[str | None, typer.Argument(help="Only this plugin.", show_default="all")] = None, as_json: AsJson = False
) -> None:
    """Hold installed plugins to the contract, as the hub does when it starts; 1 and the broken rule when one fails.

    Example: hub plugin check greenery
    """
    rows = _checked()
    found = [row for row in rows if name is None or row["name"] == name]
    if name is not None and not found:
        _fail(PluginError(f"no plugin named {name} is installed (installed: {', '.join(str(row['name']) for row in rows)})"))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for row in found:
        typer.echo(f"✓ {row['name']} {row['version']}")


def _checked() -> list[dict[str, Any]]:
    """One row per installed class, each held to the contract; ends the process when one breaks it."""
    from hub.platform.adapters.plugins import KINDS, discover

    try:
        kinds = discover()
    except HubError as error:
        _fail(error)
    distributions = dict(_distributions())
    rows = []
    for name, cls in sorted(kinds.items()):
        manifest = cls.manifest
        hook = next(hook for hook, base in KINDS.items() if issubclass(cls, base))
        rows.append(
            {
                "name": name,
                "kind": hook.removeprefix("hub_").removesuffix("s"),
                "department": manifest.department,
                "version": manifest.version,
                "capabilities": sorted(capability.value for capability in manifest.capabilities),
                "owner": manifest.owner,
                "settings": sorted(cls.Settings.model_fields),
                "distribution": distributions.get(cls.__module__.partition(".")[0]),
            }
        )
    return rows


def _distributions() -> Iterator[tuple[str, str]]:
    """Top-level package → distribution and version, of every installed plugin."""
    from hub.hookspecs import PROJECT

    for entry in entry_points(group=PROJECT):
        dist = _dist_of(entry)
        if dist:
            yield entry.module.partition(".")[0], dist


def _dist_of(entry: EntryPoint) -> str | None:
    return None if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def _fail(error: HubError) -> NoReturn:
    """One line on stderr, status 1."""
    typer.echo(str(error), err=True)
    raise typer.Exit(1) from None
