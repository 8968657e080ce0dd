"""Commands that others add to `hub`: its own demo and bench, and plugins.

They are loaded only for a command that is none of our own, or for the list of all. A plugin's command with another's name, and a plugin
that can't be loaded, are refused in one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Final

import typer

from hub.errors import HubError, PluginError

OWN: Final = "city_hub.own_commands"
"""The entry-point group of the hub's own parts that add commands."""


def wanted(tree: typer.Typer, arguments: Sequence[str]) -> bool:
    """Whether plugins have to be asked: for a command that is not ours, or the list of all."""
    if not arguments:
        return True
    first = arguments[0]
    return first in ("--help", "-h") or (not first.startswith("-") and first not in names_of(tree))


def add_own_commands(tree: typer.Typer) -> None:
    """Let demo and bench add their commands. The hub does not need them to run, so the surface does not import them."""
    for entry in sorted(entry_points(group=OWN), key=lambda entry: entry.name):
        entry.load().hub_cli_commands(app=tree)


def add_plugin_commands(tree: typer.Typer) -> None:
    """Let every plugin add its commands; raises PluginError naming the plugin."""
    from hub.platform.adapters.plugins import command_plugins  # not at the top: plugins are loaded only when they are needed

    manager = command_plugins()
    for plugin in manager.get_plugins():
        name = manager.get_name(plugin) or "?"
        own = typer.Typer()
        others = [other for other in manager.get_plugins() if other is not plugin]
        try:
            manager.subset_hook_caller("hub_cli_commands", others)(app=own)
        except Exception as problem:
            raise PluginError(f"plugin {name}: hub_cli_commands failed: {problem}", subject=name) from problem
        clash = sorted(set(names_of(own)) & set(names_of(tree)))
        if clash:
            raise PluginError(f"plugin {name}: there is a command {clash[0]} already", subject=name)
        tree.registered_commands += own.registered_commands
        tree.registered_groups += own.registered_groups


def names_of(tree: typer.Typer) -> list[str]:
    """The names of a tree's commands and groups."""
    commands = [
        command.name or (command.callback.__name__.replace("_", "-") if command.callback is not None else "")
        for command in tree.registered_commands
    ]
    return commands + [str(group.name) for group in tree.registered_groups if group.name]


def extended(tree: typer.Typer, arguments: Sequence[str]) -> str | None:
    """Add plugins' commands where they are wanted. Returns the text of the fault, if any."""
    if not wanted(tree, arguments):
        return None
    add_own_commands(tree)
    if not wanted(tree, arguments):
        return None
    try:
        add_plugin_commands(tree)
    except HubError as problem:
        return problem.message
    return None
