"""12345 hotline plugin: registers `HotlineAdapter`."""

from __future__ import annotations

from collections.abc import Sequence

from hub import Adapter, hookimpl
from hub_hotline.adapter import HotlineAdapter, HotlineSettings

__all__ = ["HotlineAdapter", "HotlineSettings", "hub_adapters"]


@hookimpl
def hub_adapters() -> Sequence[type[Adapter]]:
    """The adapter classes of this plugin."""
    return (HotlineAdapter,)
