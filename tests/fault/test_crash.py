"""SIGKILL at every step of a case's life: nothing accepted is lost, and every department has exactly one ticket."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.testing.programs import Program
from tests.fault.ticket_office import Office


@pytest.fixture
def office() -> Iterator[Office]:
    """A department that outlives the hub."""
    office = Office()
    thread = threading.Thread(target=office.serve_forever, daemon=True)
    thread.start()
    yield office
    office.shutdown()
    office.server_close()
    thread.join(5)


def run_one_case(data: Path, office: Office, step: int) -> tuple[int, str]:
    errors = data.with_name("stderr.log")
    errors.parent.mkdir(exist_ok=True)
    hub = Program("tests.fault.one_case", (str(data), office.url, str(step)), environment=os.environ, errors=errors)
    with hub.stdout:
        said = hub.stdout.read()
    code = hub.wait(90)
    if code not in (0, -signal.SIGKILL):
        raise AssertionError(f"step {step}: exit {code}\n{said[-3000:]}\n{errors.read_text()[-3000:]}")
    return code, said


def check_whole(result: dict[str, Any], office: Office, step: int) -> None:
    assert len(result["cases"]) == 1, f"killed at step {step}: {result['cases']}"
    assert result["states"] == ["resolved"] * 3, f"killed at step {step}: {result['states']}"
    assert all(result["tickets"].values())
    counts = Counter(office.filed)
    assert sorted(counts.values()) == [1, 1, 1], f"killed at step {step}: tickets {counts}"


def kill_at(step: int, tmp_path: Path, office: Office) -> bool:
    """Kill at one step, start again, check; false when the case had fewer steps."""
    code, output = run_one_case(tmp_path / "data", office, step)
    killed = code == -signal.SIGKILL
    if killed:
        code, output = run_one_case(tmp_path / "data", office, 0)
        assert code == 0
    check_whole(json.loads(output), office, step)
    return killed


@pytest.mark.parametrize("step", [1, 6, 9, 13, 17, 21, 26, 31, 38, 45])
@pytest.mark.timeout(200)
def test_a_kill_at_a_step_loses_nothing_and_doubles_nothing(step: int, tmp_path: Path, office: Office) -> None:
    kill_at(step, tmp_path, office)


@pytest.mark.fault
@pytest.mark.timeout(3000)
def test_a_kill_at_every_single_step_loses_nothing_and_doubles_nothing(tmp_path: Path, office: Office) -> None:
    step = 0
    killed = True
    while killed:
        step += 1
        office.filed.clear()
        killed = kill_at(step, tmp_path / str(step), office)
    assert step > 40
