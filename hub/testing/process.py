"""Start, kill and stop a simulator as a real process; ask and tell it through /_sim.

Used by the contract suite and by the demo. Synchronous on purpose: it watches a child, it is not on a hot path.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from hub.testing.programs import Program, start_program


class SimulatorProcess:
    """A running simulator. A context manager that stops it cleanly; its state stays under `data`."""

    def __init__(
        self,
        module: str,
        data: Path,
        *,
        secret: str,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.module = module
        self.data = data
        self.secret = secret
        self.options = tuple(options)
        self.environment = dict(environment or {})
        self.url = ""
        self._child: Program | subprocess.Popen[str] | None = None

    def start(self, *, within: float = 30.0) -> Self:
        """Start and wait for the ready line; after a kill it gets its former port again.

        Raises RuntimeError when it ends or says nothing `within` seconds.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        port = self.url.rpartition(":")[2] or "0"
        own_port = () if "--port" in self.options else ("--port", port)
        self._child = start_program(
            self.module,
            ("--data", str(self.data), *self.options, *own_port),
            environment={**os.environ, "SIMULATOR_SECRET": self.secret, **self.environment},
            errors=self.data / "stderr.log",
        )
        line = self._ready_line(within)
        self.url = str(json.loads(line)["url"])
        return self

    def _ready_line(self, within: float) -> str:
        if self._child is None or self._child.stdout is None:
            raise RuntimeError(f"{self.module} was not started")
        give_up = time.monotonic() + within
        while time.monotonic() < give_up:
            readable, _, _ = select.select([self._child.stdout], [], [], max(0.0, give_up - time.monotonic()))
            if not readable:
                continue
            line = self._child.stdout.readline()
            if line.startswith("{"):
                return line
            if not line:
                break
        self.kill()
        raise RuntimeError(f"{self.module} did not become ready; see {self.data / 'stderr.log'}")

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def kill(self) -> None:
        """SIGKILL. Everything it answered before must be there when it starts again."""
        self._end(signal.SIGKILL)

    def stop(self, *, within: float = 10.0) -> int:
        """SIGTERM and wait; returns its exit status (0 when clean)."""
        return self._end(signal.SIGTERM, within)

    def _end(self, number: signal.Signals, within: float = 10.0) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        if child.poll() is None:
            child.send_signal(number)
        try:
            return child.wait(within)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait(within)
        finally:
            if child.stdout is not None:
                child.stdout.close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    # its state, its next behaviour

    def tickets(self) -> list[dict[str, Any]]:
        """Every ticket the department has: ticket, key, unit, state, created_at."""
        return list(self.control("GET", "/_sim/tickets")["tickets"])

    def fault(self, kind: str, *, count: int | None = None, share: float | None = None, seconds: float | None = None) -> None:
        """Set a fault (see `hub.testing.faults`)."""
        body = {"kind": kind, "count": count, "share": share, "seconds": seconds}
        self.control("POST", "/_sim/faults", {name: value for name, value in body.items() if value is not None})

    def clear_faults(self) -> None:
        """Neither faults nor a script any more."""
        self.control("DELETE", "/_sim/faults")

    def script(self, script: str, *, only: Literal["filing", "all"] = "filing") -> None:
        """What happens to one request after the other (hub.testing.scripts): those that file something, or all."""
        self.control("POST", "/_sim/script", {"script": script, "only": only})

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Every request it got after number `since`, with the answer it gave (hub.testing.recording)."""
        return list(self.control("GET", f"/_sim/requests?since={since}")["requests"])

    def files(self) -> list[dict[str, Any]]:
        """What its people attached: id, ticket, name, media_type, sha256."""
        return list(self.control("GET", "/_sim/files")["files"])

    def call_back_to(self, url: str) -> None:
        """Where callbacks go from now on."""
        self.control("PUT", "/_sim/callback", {"url": url})

    def control(self, method: str, path: str, body: object | None = None) -> dict[str, Any]:
        """One request to the simulator, answered with JSON; raises httpx.HTTPStatusError."""
        answer = httpx.request(method, f"{self.url}{path}", json=body, timeout=10, trust_env=False)
        answer.raise_for_status()
        result: dict[str, Any] = answer.json()
        return result
