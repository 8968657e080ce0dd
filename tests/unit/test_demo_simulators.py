"""The demo's child processes: started, started again when they die, never left behind."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.demo.simulators import SupervisedSimulator, _command_of, end_stale
from hub.demo.state import free_port, load_state, save_state
from hub.errors import ConfigError

CHILD = """
import argparse, http.server, json
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--data")
server = http.server.HTTPServer(("127.0.0.1", parser.parse_args().port), http.server.BaseHTTPRequestHandler)
print("a line before", flush=True)
print(json.dumps({"ready": True, "url": f"http://127.0.0.1:{server.server_port}"}), flush=True)
server.serve_forever()
"""


async def until(predicate: Callable[[], bool], within: float = 60) -> None:
    async with asyncio.timeout(within):
        while not predicate():
            await asyncio.sleep(0.01)


def child_in(tmp_path: Path, text: str = CHILD) -> dict[str, str]:
    (tmp_path / "demo_child.py").write_text(text)
    return {"PYTHONPATH": str(tmp_path)}


def simulator(tmp_path: Path, text: str = CHILD) -> SupervisedSimulator:
    return SupervisedSimulator("lamps", data=tmp_path, module="demo_child", environment=child_in(tmp_path, text))


async def test_a_child_that_dies_is_started_again_on_its_port(tmp_path: Path) -> None:
    child = simulator(tmp_path)
    url = await child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in (None, first))
    assert child.restarts == 1
    await child.stop()
    assert child.url == url
    assert child.pid is None
    assert "a line before" in (tmp_path / "logs" / "lamps-simulator.log").read_text()


async def test_a_child_that_ends_at_start_is_named_with_its_log(tmp_path: Path) -> None:
    child = simulator(tmp_path, "raise SystemExit('no luck')")
    with pytest.raises(ConfigError, match=r"lamps simulator was not ready .*exit 1.*; see .*lamps-simulator.log"):
        await child.start()


def test_a_child_left_behind_is_ended_and_another_program_is_not(tmp_path: Path) -> None:
    left = subprocess.Popen(
        [sys.executable, "-m", "demo_child", "--port", "0", "--data", "x"],
        env={**os.environ, **child_in(tmp_path)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid_file = tmp_path / "lamps.pid"
    pid_file.write_text(str(left.pid))
    while "demo_child" not in _command_of(left.pid):  # for a moment after it was started a process has no command line
        time.sleep(0.01)
    assert end_stale(pid_file, "demo_child")
    assert left.wait(10) == -signal.SIGKILL
    pid_file.write_text(str(os.getpid()))
    assert not end_stale(pid_file, "demo_child")
    assert not pid_file.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel ends a child with its parent")
async def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    parent = f"""
import asyncio
from pathlib import Path
from hub.demo.simulators import SupervisedSimulator
async def main():
    child = SupervisedSimulator("lamps", data=Path({str(tmp_path)!r}), module="demo_child")
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE, env={**os.environ, **child_in(tmp_path)}
    )
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    await until(lambda: not lives(pid))


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()[0] != "Z"
    except OSError:
        return False


def test_ports_and_secrets_are_the_same_after_a_restart(tmp_path: Path) -> None:
    state = load_state(tmp_path, seed=7)
    secret = state.secret("police")
    state.ports["police"] = 12345
    save_state(tmp_path, state)
    again = load_state(tmp_path, seed=8)
    assert (again.secret("police"), again.ports, again.seed) == (secret, {"police": 12345}, 7)
    assert secret.startswith("whsec_")
    assert stat.S_IMODE((tmp_path / "demo.json").stat().st_mode) == 0o600
    (tmp_path / "demo.json").write_text("{")
    with pytest.raises(ConfigError, match=r"demo\.json"):
        load_state(tmp_path, seed=1)


def test_a_taken_port_is_not_given() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(None, port) != port
