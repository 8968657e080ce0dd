"""Police plugin: registers `PoliceAdapter`."""

from __future__ import annotations

from collections.abc import Sequence

from hub import Adapter, hookimpl
from hub_police.adapter import PoliceAdapter, PoliceSettings

__all__ = ["PoliceAdapter", "PoliceSettings", "hub_adapters"]


@hookimpl
def hub_adapters() -> Sequence[type[Adapter]]:
    """The adapter classes of this plugin."""
    return (PoliceAdapter,)
