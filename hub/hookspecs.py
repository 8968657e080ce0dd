"""The hook contract: few hooks that register rich objects. A plugin is found by its `city_hub` entry point.

Hooks only ever gain arguments within one API_VERSION; a plugin that needs a newer one is refused at start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.contract import Adapter

API_VERSION = 1
"""Raised by one when a hook or a method of Adapter changes incompatibly."""

PROJECT = "city_hub"
"""The pluggy project name, and the entry-point group in a plugin's pyproject.toml."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def hub_adapters() -> Sequence[type[Adapter]]:
    """Return the adapter classes this plugin offers."""
    return ()
