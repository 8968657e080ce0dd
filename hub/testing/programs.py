"""Start `python -m MODULE` as a process of its own that does not import everything anew.

Importing is most of what starting a simulator costs, and a suite starts many. So a server process (multiprocessing's forkserver)
imports once what all of them need, and each program is a fork of it: with an id of its own, killed and awaited like any other.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import IO

_preloaded = ["hub.testing.simulator"]


def preload(*modules: str) -> None:
    """Have the server import these as well; before it forks the first program, later is too late."""
    _preloaded.extend(modules)


@functools.cache
def _forks() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_preloaded)
    return context


class Program:
    """A forked program; it answers like `subprocess.Popen`. Ended with this process if nobody ended it before."""

    def __init__(self, module: str, arguments: Sequence[str], *, environment: Mapping[str, str], errors: Path) -> None:
        reader, writer = _forks().Pipe(duplex=False)
        self.stdout: IO[str] = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()
        self._process = _forks().Process(
            target=_run, args=(module, tuple(arguments), dict(environment), writer, str(errors)), daemon=True
        )
        self._process.start()
        writer.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    def poll(self) -> int | None:
        """Its exit status when it has ended; -N when signal N ended it."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises subprocess.TimeoutExpired after `timeout` seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


def start_program(
    module: str, arguments: Sequence[str], *, environment: Mapping[str, str], errors: Path
) -> Program | subprocess.Popen[str]:
    """Start `python -m MODULE ARGUMENTS`; `stdout` is a pipe, stderr is added to the file `errors`."""
    if _starter_is_a_script():
        with errors.open("ab") as output:
            command = [sys.executable, "-m", module, *arguments]
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True, env=environment)
    return Program(module, arguments, environment=environment, errors=errors)


def _starter_is_a_script() -> bool:
    """Whether this process runs a file by its path: a fork would run that file first."""
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is None and getattr(main, "__file__", None) is not None


def _run(module: str, arguments: Sequence[str], environment: Mapping[str, str], output: Connection, errors: str) -> None:
    """Be the program, in the fork."""
    os.dup2(output.fileno(), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
