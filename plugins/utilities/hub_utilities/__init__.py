"""Utilities plugin: registers `UtilitiesAdapter`."""

from __future__ import annotations

from collections.abc import Sequence

from hub import Adapter, hookimpl
from hub_utilities.adapter import UtilitiesAdapter, UtilitiesSettings

__all__ = ["UtilitiesAdapter", "UtilitiesSettings", "hub_adapters"]


@hookimpl
def hub_adapters() -> Sequence[type[Adapter]]:
    """The adapter classes of this plugin."""
    return (UtilitiesAdapter,)
