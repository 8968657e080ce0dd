"""Property companies plugin: registers `PropertyAdapter`. The companies' phone page is `hub_property.desk`."""

from __future__ import annotations

from collections.abc import Sequence

from hub import Adapter, hookimpl
from hub_property.adapter import PropertyAdapter, PropertySettings

__all__ = ["PropertyAdapter", "PropertySettings", "hub_adapters"]


@hookimpl
def hub_adapters() -> Sequence[type[Adapter]]:
    """The adapter classes of this plugin."""
    return (PropertyAdapter,)
