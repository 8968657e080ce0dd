"""A hub whose police plugin never gives the loop back: `python -m tests.system.held_up_hub DATA`.

Ends with exit code 70 when the watchdog gives up. Started again on the same data, it prints where the plugin is placed and ends.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from pathlib import Path

from hub import app
from hub.contract import Adapter, Assignment, Manifest, Receipt
from hub.platform.adapters.watchdog import Watchdog
from tests.system.department import report_gas, running_hub

GIVE_UP_AFTER = 1.0


class Endless(Adapter):
    """A delivery that never ends."""

    manifest = Manifest(name="scripted-police", department="测试部门", version="1")

    async def deliver(self, assignment: Assignment) -> Receipt:
        print("delivering", flush=True)
        while True:
            pass


async def main() -> None:
    data = Path(sys.argv[1])
    again = (data / app.HELD_UP).exists()
    async with running_hub(data, {"police": Endless}) as hub:
        if not again:
            await report_gas(hub)
            await asyncio.Event().wait()
        print((await hub.statuses.of("police")).placement, flush=True)


if __name__ == "__main__":
    from hub.observing import logs

    app.Watchdog = functools.partial(Watchdog, limit=0.2, give_up_after=GIVE_UP_AFTER)  # type: ignore[assignment,misc]
    logs.setup("error")
    asyncio.run(main())
