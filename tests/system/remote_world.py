"""A hub whose department's adapter runs elsewhere, and that adapter's process: real server, real keys, a real department over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hub.app import Hub
from hub.contract import AdapterInstance, Placement
from hub.model.assignments.state import Assignment, AssignmentState
from hub.platform.remote.credentials_file import CredentialsFile, write_credentials
from hub.settings import Settings
from hub.spine.ledger.desk import Outcome
from hub.testing.kit import PATIENCE, eventually
from hub.testing.programs import Program
from tests.system.department import CONFIG, instance
from tests.system.matters import case_of
from tests.system.remote_office import OfficeAdapter

ROOT = Path(__file__).resolve().parents[2]


def away(name: str, placement: Placement = Placement.REMOTE, **limits: Any) -> AdapterInstance:
    return replace(instance(name, **limits), plugin=OfficeAdapter.manifest.name, placement=placement)


@asynccontextmanager
async def hub_with(data: Path, *instances: AdapterInstance, **options: Any) -> AsyncIterator[Hub]:
    settings = Settings(data=data, config=CONFIG)
    settings = settings.model_copy(update={"nats": settings.nats.model_copy(update={"port": options.pop("port", 0)})})
    async with Hub.open(settings, instances=instances, plugins=[OfficeAdapter, *options.pop("plugins", [])]) as hub:
        hub.workers._command = options.pop("worker_command", hub.workers._command)
        hub.workers._first_pause = 0.1
        async with hub.running():
            yield hub
            if hub.fatal.done():
                raise AssertionError(hub.fatal.result())


async def credentials_for(hub: Hub, name: str, directory: Path) -> Path:
    found: CredentialsFile = await hub.credentials.issue(name, "test")
    file = directory / f"{name}-{found.user[:8]}.creds"
    write_credentials(file, found)
    return file


class Office:
    """The department's own books, in a SQLite file that the adapter's process writes to: what it filed, under which key."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with sqlite3.connect(file) as db:
            db.execute("CREATE TABLE IF NOT EXISTS filed (number INTEGER PRIMARY KEY, key TEXT, contact TEXT)")
            db.execute("CREATE TABLE IF NOT EXISTS said (number INTEGER PRIMARY KEY, key TEXT, kind TEXT)")
            db.execute("CREATE TABLE IF NOT EXISTS script (number INTEGER PRIMARY KEY, step TEXT)")
            db.execute("CREATE TABLE IF NOT EXISTS heard (number INTEGER PRIMARY KEY, what TEXT)")

    def _all(self, query: str, *values: object) -> list[Any]:
        with sqlite3.connect(self.file) as db:
            return db.execute(query, values).fetchall()

    def filed(self) -> list[str]:
        return [key for (key,) in self._all("SELECT key FROM filed ORDER BY number")]

    def contacts(self) -> list[str | None]:
        return [contact for (contact,) in self._all("SELECT contact FROM filed ORDER BY number")]

    def heard(self) -> list[str]:
        return [what for (what,) in self._all("SELECT what FROM heard ORDER BY number")]

    def next(self, *steps: str) -> None:
        """What it does with the next assignments."""
        for step in steps:
            self._all("INSERT INTO script (step) VALUES (?)", step)

    def says(self, key: str, kind: str) -> None:
        self._all("INSERT INTO said (key, kind) VALUES (?, ?)", key, kind)


@asynccontextmanager
async def process(
    name: str, creds: Path, office: Office, data: Path, *, die_at: str = "", more: tuple[str, ...] = ()
) -> AsyncIterator[Program]:
    """The adapter's process; `die_at` NAME: kill it (SIGKILL) when it comes to that step."""
    settings = data / f"{name}.yaml"
    data.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a test
    own = {
        "plugin": OfficeAdapter.manifest.name,
        "settings": {"books": str(office.file)},
        "breaker": {"minimum": 50, "window": 100},
    }
    settings.write_text(json.dumps({"adapters": {name: own}}))
    arguments = [name, "--creds", str(creds), "--settings", str(settings), "--data", str(data), *more]
    child = Program(
        "tests.system.remote_office", (die_at or "-", *arguments), environment=os.environ, errors=data / f"{name}.log"
    )
    try:
        yield child
    finally:
        child.kill()
        await asyncio.to_thread(child.wait)
        child.stdout.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def assignment_of(hub: Hub, outcome: Outcome, adapter: str) -> Assignment:
    case = await case_of(hub, outcome.state.id)
    assert case is not None
    return next(a for a in case.assignments if a.adapter == adapter)


async def until(hub: Hub, outcome: Outcome, adapter: str, state: AssignmentState, within: float = PATIENCE) -> Assignment:
    async def reached() -> bool:
        return (await assignment_of(hub, outcome, adapter)).state is state

    try:
        await eventually(reached, within=within)
    except AssertionError:
        raise AssertionError(f"still {await assignment_of(hub, outcome, adapter)}") from None
    return await assignment_of(hub, outcome, adapter)
