"""A plugin that logs its assignments' reporters: no name reaches the log, in the hub's process or in a worker's."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hub.contract import Contact, Placement
from hub.model.actors import SYSTEM
from hub.model.assignments.commands import Recall
from hub.model.assignments.state import AssignmentState
from hub.model.limits.commands import Urge
from hub.testing.kit import eventually
from tests.logged import logged
from tests.system.department import report_gas
from tests.system.remote_world import Office, away, hub_with, until


@pytest.mark.parametrize("placement", [Placement.HUB, Placement.PROCESS])
async def test_reporters_name_stays_out_of_the_log_whatever_the_plugin_logs(tmp_path: Path, placement: Placement) -> None:
    office = Office(tmp_path / "office.db")
    instance = replace(away("police", placement), settings={"books": str(office.file)})
    worker = (sys.executable, "-m", "tests.system.remote_office", "-")

    def log() -> str:
        file = tmp_path / "hub" / "workers" / "police.log"
        return file.read_text() if file.exists() else here.getvalue()

    with logged() as here:
        async with hub_with(tmp_path / "hub", instance, worker_command=worker) as hub:
            office.next("no answer")
            outcome = await report_gas(hub, contact=Contact(name="欧阳建国", phone="13900001111"))
            assignment = await until(hub, outcome, "police", AssignmentState.DELIVERED)
            await hub.desk.execute(outcome.state.id, Urge(assignment=assignment.id, message="请尽快"), actor=SYSTEM)
            await eventually(lambda: len(office.heard()) == 1)
            await hub.desk.execute(outcome.state.id, Recall(assignment=assignment.id, reason="误报"), actor=SYSTEM)
            await eventually(lambda: len(office.heard()) == 2)
    for call in ("deliver", "no answer", "lookup", "urge", "recall"):
        assert call in log()
    assert log().count("欧阳**") >= 5
    assert "建国" not in log()
