"""Open311 plugin: registers `Open311Adapter`, a client of GeoReport v2 and of FixMyStreet's updates."""

from __future__ import annotations

from collections.abc import Sequence

from hub import Adapter, hookimpl
from hub_open311.adapter import Open311Adapter
from hub_open311.form import Open311Settings

__all__ = ["Open311Adapter", "Open311Settings", "hub_adapters"]


@hookimpl
def hub_adapters() -> Sequence[type[Adapter]]:
    """The adapter classes of this plugin."""
    return (Open311Adapter,)
