"""Open311 plugin: `Open311Adapter` is a client of GeoReport v2 and of FixMyStreet's updates, `server` serves both at /open311."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hub import Adapter, Mount, hookimpl
from hub_open311.adapter import Open311Adapter
from hub_open311.form import Open311Settings
from hub_open311.server import SERVER

__all__ = ["Open311Adapter", "Open311Settings", "hub_adapters", "hub_routes"]


@hookimpl
def hub_adapters() -> Sequence[type[Adapter]]:
    """The adapter classes of this plugin."""
    return (Open311Adapter,)


@hookimpl
def hub_routes() -> Sequence[Mount[Any]]:
    """The server of this plugin."""
    return (SERVER,)
