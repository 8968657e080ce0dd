"""The hook contract: few hooks that register rich objects. A plugin is found by its `city_hub` entry point.

The promise (docs/plugins/compatibility.md): within one API_VERSION hooks and methods only gain arguments and values only gain fields with
defaults; what is going to go is marked with `warn_on_impl` one version ahead, so that its users see a DeprecationWarning before
it breaks; a plugin that was written for a newer API_VERSION (`Manifest.api`) is refused at start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import typer

    from hub.contract import Adapter, Classifier, ConsolePage, IntakeChannel, Mount, Notifier

API_VERSION = 1
"""Raised by one when a hook or a method of the contract changes incompatibly."""

PROJECT = "city_hub"
"""The pluggy project name, and the entry-point group in a plugin's pyproject.toml."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def hub_adapters() -> Sequence[type[Adapter]]:
    """Return the adapter classes this plugin offers: ways to a department's system."""
    return ()


@hookspec
def hub_channels() -> Sequence[type[IntakeChannel]]:
    """Return the channel classes this plugin offers: ways in for cases."""
    return ()


@hookspec
def hub_classifiers() -> Sequence[type[Classifier]]:
    """Return the classifier classes this plugin offers: what a report without a category may be."""
    return ()


@hookspec
def hub_notifiers() -> Sequence[type[Notifier]]:
    """Return the notifier classes this plugin offers: ways to tell people what waits for them."""
    return ()


@hookspec
def hub_console_pages() -> Sequence[ConsolePage]:
    """Return the pages this plugin adds to the command centre's console."""
    return ()


@hookspec
def hub_routes() -> Sequence[Mount[Any]]:
    """Return what this plugin answers beside the hub's own interface, each under a path of its own."""
    return ()


@hookspec
def hub_cli_commands(app: typer.Typer) -> None:
    """Add commands to the `hub` command line; names that exist already are refused."""
