"""Adapters in worker processes of the hub's: what they eat, block or throw away is theirs alone, and they end with the hub."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hub.app import Hub
from hub.contract import CallbackRequest, Placement
from hub.model.assignments.state import AssignmentState
from hub.platform.remote.worker import WorkerStatus
from hub.spine.ledger.desk import Outcome
from hub.testing.kit import PATIENCE, eventually
from tests.system.department import report_gas
from tests.system.remote_world import ROOT, Office, assignment_of, away, hub_with, until


@asynccontextmanager
async def hub_of_workers(tmp_path: Path, office: Office, **police: object) -> AsyncIterator[Hub]:
    """Police and property, each in a process of its own, with a department each: one misbehaves as its settings say."""
    settings = {"books": str(office.file)}
    patience = {"backoff_base": timedelta(seconds=4), "backoff_cap": timedelta(seconds=4), "concurrency": 1}
    wild = replace(away("police", Placement.PROCESS, **patience), settings={**settings, **police}, memory_mib=640)
    calm = replace(away("property", Placement.PROCESS), settings=settings)
    async with hub_with(
        tmp_path / "hub", wild, calm, worker_command=(sys.executable, "-m", "tests.system.remote_office", "-")
    ) as hub:
        yield hub


def status(hub: Hub, name: str) -> WorkerStatus:
    found = hub.workers.status(name)
    assert found is not None
    return found


async def test_a_worker_delivers_and_takes_callbacks_through_the_hub(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_of_workers(tmp_path, office) as hub:
        outcome = await report_gas(hub)
        for name in ("police", "property"):
            await until(hub, outcome, name, AssignmentState.DELIVERED)
        key = f"{outcome.state.id}.{(await assignment_of(hub, outcome, 'police')).id}"
        request = CallbackRequest(
            method="POST", path="done", headers={"x-secret": "open"}, query={}, body=f"{key} accepted".encode()
        )
        assert await hub.workers.callback("police", request) == 1
        await until(hub, outcome, "police", AssignmentState.ACCEPTED)
        seen = _proc(status(hub, "police").pid, "cmdline") + _proc(status(hub, "police").pid, "environ")
        assert b"remote_office" in seen
        assert str(office.file).encode() not in seen  # settings come by a pipe


async def test_a_worker_that_eats_memory_ends_and_is_started_again_and_the_other_goes_on(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_of_workers(tmp_path, office, eats_mib=2000) as hub:
        first = await report_gas(hub)
        await until(hub, first, "property", AssignmentState.DELIVERED)
        pid = status(hub, "property").pid
        second = await report_gas(hub, text="另一栋楼也有燃气味")
        await until(hub, second, "property", AssignmentState.DELIVERED)
        await eventually(lambda: _failed(hub, first))
        assert status(hub, "property").pid == pid
        assert status(hub, "property").restarts == 0


async def _failed(hub: Hub, outcome: Outcome) -> bool:
    attempts = (await assignment_of(hub, outcome, "police")).attempts
    return bool(attempts) and attempts[0].error is not None


async def test_a_worker_that_spins_holds_up_nobody_but_itself(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_of_workers(tmp_path, office, spins=True) as hub:
        outcomes = [await report_gas(hub, text=f"{number}号楼有燃气味") for number in range(5)]
        for outcome in outcomes:
            await until(hub, outcome, "property", AssignmentState.DELIVERED)
        assert status(hub, "police").state == "running"
        assert hub.bus.connected


async def test_a_killed_worker_is_started_again_and_files_nothing_twice(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_of_workers(tmp_path, office) as hub:
        first = await report_gas(hub)
        await until(hub, first, "police", AssignmentState.DELIVERED)
        before = status(hub, "police").pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: status(hub, "police").state == "running" and status(hub, "police").pid != before)
        second = await report_gas(hub, text="另一栋楼也有燃气味")
        await until(hub, second, "police", AssignmentState.DELIVERED)
        assert len(office.filed()) == len(set(office.filed()))
        pids = [status(hub, name).pid for name in ("police", "property")]
    assert not any(pid is not None and _alive(pid) for pid in pids)


async def test_workers_end_with_a_hub_that_was_killed(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.system.remote_hub",
        str(tmp_path),
        str(office.file),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert child.stdout is not None
        worker = int((await asyncio.wait_for(child.stdout.readline(), timeout=PATIENCE)).decode())
        assert _alive(worker)
    finally:
        child.kill()
        await child.wait()
    await eventually(lambda: not _alive(worker))


def _proc(pid: int | None, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def _alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()[0] != "Z"
    return False
