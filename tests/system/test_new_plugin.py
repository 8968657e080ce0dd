"""A new user's way: from `hub plugin new` to a first case delivered and reported back by the new adapter, timed.

The way is docs/plugins/tutorial.md: its commands are typed into a shell, its changes are made, line by line, as a reader would.
Also by hand: `python tests/system/test_new_plugin.py` prints each step with its time.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 40
MOST_SECONDS = 600

TUTORIAL = ROOT / "docs" / "plugins" / "tutorial.md"
BLOCK = re.compile(r"^```(console|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Steps:
    """What was done when; printed as it goes."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def __call__(self, what: str) -> None:
        print(f"{self.seconds:6.1f} s  {what}", flush=True)


class Shell:
    """A shell in a fresh environment that has the hub, as a new user's machine has one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        scripts = directory / "env" / "bin"
        venv.create(directory / "env", symlinks=True, with_pip=False)
        mine = directory / "env" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        # The hub and what it needs are installed by reference instead of downloaded once more.
        seen = [path for path in sys.path if path.endswith("site-packages")]
        (mine / "hub.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in seen))
        (scripts / "hub").write_text(f"#!{scripts / 'python'}\nfrom hub.surfaces.cli import main\nmain()\n")
        (scripts / "hub").chmod(0o755)
        (directory / "config").symlink_to(ROOT / "config")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "PYTEST_", "PIP_"))}
        environment = {
            **inherited,
            "PATH": f"{scripts}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "COLUMNS": "200",
        }
        self._bash = subprocess.Popen(
            ["bash", "--norc"], cwd=directory, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._services = 0

    def type(self, line: str) -> str:
        """Type a line and wait for the prompt; fails with what it said when its status isn't 0."""
        if line.endswith(" &"):
            self._services += 1
            line = f"{line.removesuffix(' &')} > {self.directory}/service{self._services}.log 2>&1 &"
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f'{{ {line}\n}} 2>&1 < /dev/null; echo; echo "@@ $?"\n')
        self._bash.stdin.flush()
        said = []
        for answer in self._bash.stdout:
            if answer.startswith("@@ "):
                assert answer == "@@ 0\n", f"{line}\n{''.join(said)}{self.logs()}"
                return "".join(said)
            said.append(answer)
        raise AssertionError(f"the shell ended at: {line}")

    def asked(self, line: str) -> Any:
        """What a command with --json says."""
        return json.loads(self.type(f"{line} --json"))

    def logs(self) -> str:
        """What the services said last."""
        return "".join(log.read_text(errors="replace")[-3000:] for log in self.directory.glob("service*.log"))

    def close(self) -> None:
        """End the services, then the shell."""
        assert self._bash.stdin is not None
        self._bash.stdin.write("kill $(jobs -p) 2> /dev/null; wait\n")
        self._bash.stdin.close()
        self._bash.wait(60)
        if self._bash.stdout is not None:
            self._bash.stdout.close()


def until(holds: Callable[[], bool], *, within: float, otherwise: Callable[[], str]) -> None:
    give_up = time.monotonic() + within
    while not holds():
        assert time.monotonic() < give_up, f"not so within {within} s\n{otherwise()}"
        time.sleep(0.1)


def listens(port: int) -> bool:
    with socket.socket() as wire:
        return wire.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as wire:
        wire.bind(("127.0.0.1", 0))
        port: int = wire.getsockname()[1]
        return port


def change(package: Path, block: str) -> int:
    """Make the changes of a diff block: what `-` says becomes what `+` says; returns the number of own lines."""
    first, _, rest = block.partition("\n")
    file = package / first.removeprefix("# ")
    text, own = file.read_text(encoding="utf-8"), 0
    for group in rest.strip("\n").split("\n\n"):
        lines = group.split("\n")
        old = "".join(f"{line[1:]}\n" for line in lines if line.startswith("-"))
        new = "".join(f"{line[1:]}\n" for line in lines if line.startswith("+"))
        assert text.count(old) == 1, f"{file.name} has not got exactly one:\n{old}"
        text = text.replace(old, new)
        own += new.count("\n")
    file.write_text(text, encoding="utf-8")
    return own


def first_case(directory: Path, step: Steps) -> int:
    """The whole way; returns the number of own lines."""
    shell, own, unit = Shell(directory), 0, "hub case list --unit landscaping"
    ports = {"8600": free_port(), "8701": free_port()}  # those of the tutorial may be taken here
    try:
        for kind, block in BLOCK.findall(TUTORIAL.read_text(encoding="utf-8")):
            if kind == "diff":
                own += change(directory / "hub-greenery", block)
                step(f"changed {block.splitlines()[0].removeprefix('# ')}: {own} own lines so far")
                continue
            for line in block.splitlines():
                assert line.startswith("$ "), line
                typed = re.sub("8600|8701", lambda found: str(ports[found[0]]), line.removeprefix("$ "))
                said = shell.type(typed)
                if typed.endswith(" &"):
                    port = next(port for port in ports.values() if f"--port {port}" in typed)
                    until(lambda port=port: listens(port), within=60, otherwise=shell.logs)  # type: ignore[misc]
                step(f"{line}{'  → ' + outcome(said) if 'pytest' in line or 'grade' in line else ''}")
                if line.startswith("$ hub case report"):
                    until(lambda: "resolved" in states(shell, unit), within=60, otherwise=shell.logs)
                    step(f"the first case is delivered, worked on, reported back resolved, with {own} own lines")
        case = shell.asked(f"hub case show {shell.asked(unit)['items'][0]['id']}")
        assignment = next(one for one in case["assignments"] if one["unit"] == "landscaping")
        assert assignment["ticket"].startswith("GR"), assignment
        requests = httpx.get(f"http://127.0.0.1:{ports['8701']}/_sim/requests", trust_env=False).json()["requests"]
        filed = [row for row in requests if (row["method"], row["path"]) == ("POST", "/orders")]
        assert [row["answer"]["status"] for row in filed] == [200], "handed over once"
        assert '"bt":"行道树倒伏"' in filed[0]["text"]
    finally:
        shell.close()
    return own


def outcome(said: str) -> str:
    """The line that says what came of tests or of a grading."""
    found = [line.strip() for line in said.splitlines() if re.search(r"\d passed|: (gold|platinum)", line)]
    assert found, said
    return found[0]


def states(shell: Shell, listing: str) -> set[str]:
    """How the assignments of the unit stand."""
    found = [shell.asked(f"hub case show {row['id']}") for row in shell.asked(listing)["items"]]
    return {one["state"] for case in found for one in case["assignments"] if one["unit"] == "landscaping"}


@pytest.mark.timeout(MOST_SECONDS)
def test_a_new_users_first_case_comes_back_resolved_within_ten_minutes_and_forty_lines(tmp_path: Path) -> None:
    step = Steps()
    own = first_case(tmp_path, step)
    step(f"done with {own} own lines")
    assert 0 < own <= MOST_LINES
    assert step.seconds < MOST_SECONDS


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as here:
        timed = Steps()
        lines = first_case(Path(here), timed)
        timed(f"done with {lines} own lines")
