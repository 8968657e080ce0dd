"""A hub on a bus of several, in a process that a test kills: `python -m tests.system.killed_hub DATA URL BOOKS`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from hub.app import Hub
from hub.contract import AdapterInstance
from hub.settings import Settings
from hub.testing.kit import PATIENCE
from tests.system.department import CONFIG, instance
from tests.system.hubs import KEY, OneBus
from tests.system.remote_office import OfficeAdapter
from tests.system.remote_world import ROOT, Office


def police_of(office: Path) -> AdapterInstance:
    """The instance that every hub of the test has, in the hub's own process."""
    return replace(instance("police"), plugin=OfficeAdapter.manifest.name, settings={"books": str(office)})


@asynccontextmanager
async def killable(bus: OneBus, name: str, office: Office) -> AsyncIterator[asyncio.subprocess.Process]:
    """The hub `name` in a process of its own; it runs when this is entered."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.system.killed_hub",
        str(bus.directory / name),
        bus.server.url,
        str(office.file),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert child.stdout is not None
        assert (await asyncio.wait_for(child.stdout.readline(), timeout=PATIENCE)).strip() == b"runs"
        yield child
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def main(data: str, url: str, books: str) -> None:
    settings = Settings(data=Path(data), config=CONFIG, nats={"url": url}, secrets_key=KEY)  # type: ignore[arg-type]
    async with Hub.open(settings, instances=[police_of(Path(books))], plugins=[OfficeAdapter]) as hub, hub.running():
        print("runs", flush=True)
        await hub.fatal


if __name__ == "__main__":
    from hub.observing import logs

    logs.setup("error")
    asyncio.run(main(*sys.argv[1:]))
