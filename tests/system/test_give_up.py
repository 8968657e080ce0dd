"""A plugin that never gives the event loop back ends the hub, and is out of the next one before anything is handed over."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from hub.app import GAVE_UP, HELD_UP
from hub.platform.upkeep.repairs import RepairFilter
from hub.testing.kit import eventually
from tests.system.department import Department, running_hub, scripted

ROOT = Path(__file__).parents[2]


async def _run(data: Path) -> tuple[int | None, list[str]]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.system.held_up_hub", str(data), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    output, _ = await asyncio.wait_for(child.communicate(), timeout=60)
    return child.returncode, output.decode().split()


async def test_a_plugin_that_never_returns_ends_the_hub_which_starts_again_without_it(tmp_path: Path) -> None:
    assert await _run(tmp_path) == (GAVE_UP, ["delivering"])
    assert (tmp_path / HELD_UP).read_text() == "police"
    assert await _run(tmp_path) == (0, ["process"])
    assert not (tmp_path / HELD_UP).exists()


async def test_what_ended_the_hub_is_out_before_anything_is_dispatched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[str] = []
    async with running_hub(tmp_path, {"police": scripted("police", Department())}, stages=False) as hub:
        (tmp_path / HELD_UP).write_text("police")
        dispatch = hub.dispatch.run

        async def run() -> None:
            began.append((await hub.statuses.of("police")).placement)
            await dispatch()

        monkeypatch.setattr(hub.dispatch, "run", run)
        async with hub.running():
            await eventually(lambda: began)
        found = await hub.repairs.list(RepairFilter())
    assert began == ["process"]
    assert [(item.kind, item.adapter) for item in found.items] == [("blocked_loop", "police")]
