"""What `--help` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hub.surfaces.cli import whole


def commands_below(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_below(command, (*path, name))
        else:
            yield (*path, name), command


def test_every_command_of_ours_has_help_with_an_example() -> None:
    from typer.main import get_command

    for path, command in commands_below(get_command(whole())):
        if path[0] != "policy" and path != ("area", "generate"):
            assert "Example" in (command.help or ""), path
