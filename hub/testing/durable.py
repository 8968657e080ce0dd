"""Holding an adapter where it can be killed: a store on disk, and a process that hands one assignment over.

`python -m hub.testing.durable FILE` reads one order (JSON): which class, which settings, which store, which assignment. Started by the
contract suite, which kills it between sending and answer.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hub.contract import Adapter, Assignment
from hub.errors import DeliveryError
from hub.testing.programs import Program, start_program


class FileStore:
    """An AdapterStore that outlives its process: one file a key."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        file = self._directory / key
        return file.read_bytes() if file.is_file() else None

    async def put(self, key: str, value: bytes) -> None:
        """Store; written beside and renamed, so that a kill leaves the old or the new."""
        fresh = self._directory / f"{key}~"
        fresh.write_bytes(value)
        fresh.rename(self._directory / key)

    async def delete(self, key: str) -> None:
        """Forget."""
        (self._directory / key).unlink(missing_ok=True)


def start_handing(
    kind: type[Adapter], settings: Mapping[str, object], assignment: Assignment, store: Path
) -> Program | subprocess.Popen[str]:
    """Start a process that delivers `assignment` and prints its ticket; the caller kills or awaits it. `store` is a new directory."""
    order = {
        "module": kind.__module__,
        "name": kind.__qualname__,
        "settings": dict(settings),
        "store": str(store),
        "assignment": msgspec.to_builtins(assignment),
    }
    store.mkdir(mode=0o700)  # the settings have secrets
    written = store / ".order"
    written.write_text(json.dumps(order), encoding="utf-8")
    return start_program("hub.testing.durable", (str(written),), environment=os.environ, errors=store / ".stderr")


async def _hand(order: Mapping[str, Any]) -> int:
    """Deliver once; 0 with the ticket on stdout, 1 with the error's code."""
    from hub.testing.kit import running_adapter

    kind: Any = importlib.import_module(order["module"])
    for part in order["name"].split("."):
        kind = getattr(kind, part)
    assignment = msgspec.convert(order["assignment"], Assignment)
    async with running_adapter(kind, order["settings"], timeout=30.0, store=FileStore(Path(order["store"]))) as adapter:
        try:
            receipt = await adapter.deliver(assignment)
        except DeliveryError as error:
            print(error.code, flush=True)
            return 1
    print(receipt.ticket, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_hand(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
