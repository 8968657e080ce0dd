"""The phone page plugin, for any unit without a system of its own: registers `PageAdapter`. The page itself is `hub_page.desk`."""

from __future__ import annotations

from collections.abc import Sequence

from hub import Adapter, hookimpl
from hub_page.adapter import DeskSettings, PageAdapter, PageSettings
from hub_page.messages import Team
from hub_page.routing import TeamEntry

__all__ = ["DeskSettings", "PageAdapter", "PageSettings", "Team", "TeamEntry", "hub_adapters"]


@hookimpl
def hub_adapters() -> Sequence[type[Adapter]]:
    """The adapter classes of this plugin."""
    return (PageAdapter,)
