"""The departmental systems of the demo as child processes: started, watched, started again, stopped.

A child never outlives the demo, even when the demo is killed (Linux: the kernel ends it; elsewhere the next start does).
What a child prints goes to `<data>/logs/<name>-simulator.log`. Called by `hub.demo.run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from hub.errors import ConfigError

log = structlog.get_logger("hub.demo")

DEPARTMENTS = ("hotline", "police", "property", "utilities")
"""The adapters the project ships; each plugin `hub_<name>` has a module `simulator`."""

_PR_SET_PDEATHSIG = 1


class SupervisedSimulator:
    """One departmental system, run as `python -m hub_<name>.simulator`.

    `port` 0 takes a free port; the port it got is kept over restarts of the child. `arguments` go to the module as they are.
    """

    def __init__(
        self,
        name: str,
        *,
        data: Path,
        port: int = 0,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        module: str | None = None,
        lost: Callable[[str, int], None] | None = None,
    ) -> None:
        self.name = name
        self.url = ""
        self.port = port
        self.restarts = 0
        self._module = module or f"hub_{name}.simulator"
        self._data = data / "simulators" / name
        self._log = data / "logs" / f"{name}-simulator.log"
        self._pid_file = data / "simulators" / f"{name}.pid"
        self._arguments = tuple(arguments)
        self._environment = {**os.environ, **(environment or {})}
        self._lost = lost
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running child, None when there is none."""
        return None if self._child is None or self._child.returncode is not None else self._child.pid

    async def start(self, *, within: float = 60.0) -> str:
        """Start the child and wait until it says it listens; returns its URL. Raises ConfigError when it does not come up."""
        self._data.mkdir(parents=True, exist_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(end_stale, self._pid_file, self._module)
        await self._spawn(within)
        self._watch = asyncio.create_task(self._supervise(), name=f"simulator {self.name}")
        return self.url

    async def stop(self) -> None:
        """End the child; killed when it takes more than ten seconds."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        child = self._child
        if child is not None and child.returncode is None:
            child.terminate()
            try:
                await asyncio.wait_for(child.wait(), timeout=10)
            except TimeoutError:
                child.kill()
                await child.wait()
        if self._reader is not None:
            await self._reader
        self._pid_file.unlink(missing_ok=True)

    async def _spawn(self, within: float) -> None:
        command = [sys.executable, "-m", self._module, "--port", str(self.port), "--data", str(self._data), *self._arguments]
        parent = os.getpid()
        with self._log.open("ab") as errors:
            self._child = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                start_new_session=True,
                preexec_fn=lambda: end_with_parent(parent),
            )
        self._pid_file.write_text(str(self._child.pid))
        assert self._child.stdout is not None
        url: str | None = None
        try:
            async with asyncio.timeout(within):
                while url is None and (line := await self._child.stdout.readline()):
                    self._write(line)
                    url = _ready_url(line)
        except TimeoutError:
            self._child.kill()
        if url is None:
            code = await self._child.wait()
            raise ConfigError(f"the {self.name} simulator was not ready within {within:.0f} s (exit {code}); see {self._log}")
        self.url = url
        self.port = int(url.rsplit(":", 1)[-1].strip("/"))
        self._reader = asyncio.create_task(self._drain(self._child.stdout), name=f"log of {self.name}")

    async def _supervise(self) -> None:
        """Start the child again on the same port whenever it dies; slower each time it dies at once."""
        clock = asyncio.get_running_loop().time
        pause = 0.2
        while True:
            assert self._child is not None
            began = clock()
            code = await self._child.wait()
            self.restarts += 1
            if self._lost is not None:
                self._lost(self.name, code)
            pause = 0.2 if clock() - began > 10 else min(10.0, pause * 2)
            await asyncio.sleep(pause)
            try:
                await self._spawn(60)
            except ConfigError as problem:
                log.error("a simulator does not come up", simulator=self.name, reason=problem.message)

    async def _drain(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self._write(line)

    def _write(self, line: bytes) -> None:
        with self._log.open("ab") as file:
            file.write(line)


def adapter_settings(name: str, url: str, secret: str) -> dict[str, object]:
    """The adapter settings that fit a running simulator; asks the plugin's own simulator module. Raises ConfigError."""
    try:
        module = importlib.import_module(f"hub_{name}.simulator")
    except ModuleNotFoundError as problem:
        raise ConfigError(f"plugin hub_{name} is not installed ({problem}); run `make setup`") from problem
    settings: dict[str, object] = module.adapter_settings(url, secret)
    return settings


def end_with_parent(parent: int) -> None:
    """Run in a child before exec: ask the kernel to kill it when its parent dies (Linux; elsewhere nothing).

    Ends at once when the parent is already gone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def end_stale(pid_file: Path, module: str, *, within: float = 10.0) -> bool:
    """End a child an earlier demo left behind; True when there was one. A pid that now is another program is left alone.

    Raises ConfigError when the process does not end within `within` seconds.
    """
    try:
        pid = int(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return False
    if module not in _command_of(pid):
        pid_file.unlink(missing_ok=True)
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + within
    while module in _command_of(pid):
        if time.monotonic() > until:
            raise ConfigError(f"an earlier {module} (pid {pid}) does not end")
        time.sleep(0.02)
    pid_file.unlink(missing_ok=True)
    return True


def _command_of(pid: int) -> str:
    """Command line of a live process, "" when there is none (or only its remains)."""
    entry = Path(f"/proc/{pid}")
    if Path("/proc/self").exists():
        try:
            state = (entry / "stat").read_text().rsplit(")", 1)[-1].split()[0]
            return "" if state == "Z" else (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    answer = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def _ready_url(line: bytes) -> str | None:
    """The URL in a simulator's ready line; None for any other line."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    if isinstance(message, dict) and message.get("ready") is True:
        return str(message["url"])
    return None
