"""deploy/install-browser says nothing when a browser is there, and what to do when none can be had."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.browser.conftest import REPOSITORY

SCRIPT = REPOSITORY / "deploy" / "install-browser"


def test_browser_that_is_there_is_not_spoken_of(chromium: str) -> None:
    done = subprocess.run(
        [SCRIPT], capture_output=True, text=True, env={"CHROMIUM": chromium, "PATH": "/usr/bin:/bin"}, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_machine_that_can_get_none_is_told_what_to_do(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "mktemp", "tail", "rm", "id", "cat"):
        found = shutil.which(name)
        assert found, name
        (tools / name).symlink_to(found)
    environment = {
        "PATH": str(tools),
        "HOME": str(tmp_path),
        "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path / "browsers"),
        "PLAYWRIGHT_DOWNLOAD_HOST": "http://127.0.0.1:9",
    }
    done = subprocess.run([SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "No Chromium for the browser tests" in done.stderr
    assert "apt-get install chromium" in done.stderr
