"""A hub with a worker, in a process that a test kills: `python -m tests.system.remote_hub DATA BOOKS` prints the worker's process id."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from hub.testing.kit import eventually
from tests.system.remote_world import Office
from tests.system.test_remote_workers import hub_of_workers, status


async def main() -> None:
    async with hub_of_workers(Path(sys.argv[1]), Office(Path(sys.argv[2]))) as hub:
        await eventually(lambda: hub.workers.status("police") is not None and status(hub, "police").pid)
        await eventually(lambda: hub.answers.seen("police"))
        sys.stderr.flush()
        print(status(hub, "police").pid, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    from hub.observing import logs

    logs.setup("error")
    asyncio.run(main())
