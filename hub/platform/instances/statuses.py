"""How the instances stand, for those who watch: the roster's own picture with what queues, dispatch and other processes say beside it.

Called by the API. Changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from hub.platform.adapters.running import Running
from hub.platform.instances.status import AdapterStatus, status_of

if TYPE_CHECKING:
    from hub.contract import Plugin
    from hub.platform.adapters import Adapters


class Statuses:
    """Collects an instance's state from all its sources.

    `backlog`: (queued, in flight) of its queue. `in_hand`: tasks that this process carries out now. `tier`: a plugin's place on the quality
    scale. `elsewhere`: facts about an instance in another process.
    """

    def __init__(
        self,
        adapters: Adapters,
        backlog: Callable[[str], Awaitable[tuple[int, int]]],
        *,
        in_hand: Callable[[str], int],
        tier: Callable[[type[Plugin]], str],
        elsewhere: Callable[[str], Mapping[str, object]],
    ) -> None:
        self._adapters = adapters
        self._backlog = backlog
        self._in_hand = in_hand
        self._tier = tier
        self._elsewhere = elsewhere
        self._tiers: dict[type[Plugin], str] = {}

    async def all(self) -> list[AdapterStatus]:
        """How every instance stands, disabled ones too."""
        return list(await asyncio.gather(*(self.of(name) for name in self._adapters.names())))

    async def of(self, name: str) -> AdapterStatus:
        """How one instance stands; raises NotAllowed."""
        plugin = self._adapters.plugin_of(name)
        kind = self._adapters.plugins.kinds.get(plugin)
        return status_of(
            self._adapters.slot(name),
            plugin=plugin,
            kind=kind,
            file=self._adapters.in_file(name),
            placement=self._adapters.placement,
            backlog=await self._backlog(name),
            in_hand=self._in_hand(name),
            tier=await self._tier_of(kind) if kind is not None else "",
        )

    async def diagnostics(self, name: str) -> Mapping[str, object]:
        """The plugin's own facts for finding a fault. For an instance elsewhere, the facts known of it."""
        one = self._adapters.slot(name).stable
        if one is None:
            return {}
        return await one.diagnostics() if isinstance(one, Running) else self._elsewhere(name)

    async def _tier_of(self, kind: type[Plugin]) -> str:
        """Looked up once: it reads every file of the plugin."""
        if kind not in self._tiers:
            self._tiers[kind] = await asyncio.to_thread(self._tier, kind)
        return self._tiers[kind]
