"""What `make setup` installs comes from the locks alone, with old and new pip: nothing that is released later gets into an old checkout.

Each lock is resolved as the Makefile does it, in an environment that has none of it. Needs the network, as `make setup` does.
"""

from __future__ import annotations

import ensurepip
import re
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)  # the index is asked for every package, and pip of another kind may have nothing cached
ROOT = Path(__file__).resolve().parents[2]
OLDEST = "22.3" if sys.version_info < (3, 12) else ensurepip.version()
"""pip 22.3 came in 2022 and does not run on Python 3.12, which brings a later one."""
PIPS = (f"pip=={OLDEST}", "pip")
"""The second is the newest."""


def as_made() -> list[str]:
    """How the Makefile installs a lock."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^LOCKED := \$\(PIP\) (.+)$", makefile, re.MULTILINE)
    assert found is not None
    options = found[1].split()
    assert {"--no-deps", "--no-build-isolation", "--require-hashes"} <= set(options)
    return options


@dataclass(frozen=True)
class Machine:
    """An environment without packages, and a pip that is not in it."""

    python: Path
    pip: Path

    def install(self, lock: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Install a lock with the Makefile's options."""
        command = [self.python, "-I", self.pip, "install", "--quiet", "--disable-pip-version-check", *as_made(), *options]
        return subprocess.run([*command, "-r", lock], capture_output=True, text=True, check=False)

    def resolve(self, lock: Path) -> subprocess.CompletedProcess[str]:
        """Say what would be installed, whatever is there."""
        return self.install(lock, "--dry-run", "--ignore-installed")


@pytest.fixture(scope="module", params=PIPS)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    place = tmp_path_factory.mktemp("machine")
    venv.create(place / "env", symlinks=True, with_pip=False)
    command = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target")
    subprocess.run([*command, place / "pip", request.param], check=True)
    return Machine(place / "env" / "bin" / "python", place / "pip" / "pip")


def test_both_locks_install_with_the_oldest_and_the_newest_pip(machine: Machine) -> None:
    built = machine.install(ROOT / "requirements-build.lock")
    assert built.returncode == 0, built.stderr
    resolved = machine.resolve(ROOT / "requirements.lock")
    assert resolved.returncode == 0, resolved.stderr


@pytest.mark.parametrize("machine", PIPS[1:], indirect=True)
def test_a_lock_with_a_package_that_is_not_pinned_whole_is_refused(machine: Machine, tmp_path: Path) -> None:
    """The check above can fail: by a missing hash, a package added by hand, a file that is not the one that was locked."""
    text = (ROOT / "requirements-build.lock").read_text(encoding="utf-8")
    sound = re.match(r"(\S+==\S+)( \\\n    --hash=sha256:[0-9a-f]{64})+\n", text)
    assert sound is not None
    lock = tmp_path / "some.lock"
    for content, says in (
        (f"{sound[1]}\n", "Hashes are required"),
        (f"{sound[0]}sniffio==1.3.1\n", "Hashes are required"),
        (re.sub("[0-9a-f]{64}", "0" * 64, sound[0]), "DO NOT MATCH THE HASHES"),
    ):
        lock.write_text(content, encoding="utf-8")
        done = machine.resolve(lock)
        assert done.returncode != 0, content
        assert says in done.stderr, done.stderr
