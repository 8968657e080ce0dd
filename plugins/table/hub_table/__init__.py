"""Table plugin: registers `TableAdapter`."""

from __future__ import annotations

from collections.abc import Sequence

from hub import Adapter, hookimpl
from hub_table.adapter import TableAdapter
from hub_table.settings import TableSettings

__all__ = ["TableAdapter", "TableSettings", "hub_adapters"]


@hookimpl
def hub_adapters() -> Sequence[type[Adapter]]:
    """The adapter classes of this plugin."""
    return (TableAdapter,)
