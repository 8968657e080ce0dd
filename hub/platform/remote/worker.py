"""Worker processes: adapters that the operator or their plugin wants apart. The hub runs them as its own children.

Owns their lives: started with a key of their own, bounded in memory, ended with the hub, started again with growing pauses. Settings and
secrets go over a pipe. The program is the one that runs beside a department. Started by the composition root.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec
import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.embedded import die_with_parent
from hub.contract import AdapterInstance, CallbackRejected, CallbackRequest, Placement
from hub.errors import NotAllowed
from hub.platform.adapters import Adapters, Away
from hub.platform.remote.credentials import Credentials
from hub.platform.remote.far.program import UNUSABLE, told
from hub.spine.ledger.desk import utc_now

log = structlog.get_logger("hub.remote")

MIB = 1024 * 1024
STOP_WITHIN = 8.0
"""Seconds in which a worker may finish its work in hand. Less than the hub gives its stages."""
CALLBACK_WITHIN = 15.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
STEADY_AFTER = 60.0
"""Seconds after which a worker counts as steady, and its next pause is the first again."""


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """How a worker stands. `state`: running, waiting (to be started again), unusable or stopped."""

    state: str
    pid: int | None = None
    since: datetime | None = None
    restarts: int = 0
    detail: str = ""


@dataclass
class _Worker:
    instance: AdapterInstance
    status: WorkerStatus = field(default_factory=lambda: WorkerStatus(state="stopped"))
    task: asyncio.Task[None] | None = None
    child: asyncio.subprocess.Process | None = None
    callbacks: str = ""
    """Where the worker takes callbacks, once it has said so."""


class Workers:
    """One child per instance that is placed in a process of its own. `command` replaces the program in tests."""

    def __init__(
        self,
        adapters: Adapters,
        credentials: Credentials,
        data: Path,
        *,
        public_url: str = "",
        command: Sequence[str] = (sys.executable, "-m", "hub.platform.remote.far"),
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = utc_now,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._adapters = adapters
        self._credentials = credentials
        self._data = data
        self._public_url = public_url.rstrip("/")
        self._command = tuple(command)
        self._environ = dict(os.environ if environ is None else environ)
        self._clock = clock
        self._first_pause = first_pause
        self._workers: dict[str, _Worker] = {}

    def status(self, name: str) -> WorkerStatus | None:
        """How an instance's worker stands; None when it has none."""
        found = self._workers.get(name)
        return None if found is None else found.status

    async def callback(self, name: str, request: CallbackRequest) -> int:
        """Hand a callback on to an instance's worker; how many items it held, all kept. Raises CallbackRejected, NotAllowed."""
        worker = self._workers.get(name)
        if worker is None:
            raise NotAllowed("no such callback", subject=name)
        if not worker.callbacks:
            raise CallbackRejected("the adapter is starting, come back later", status=503)
        url = f"{worker.callbacks}/{quote(request.path)}"
        try:
            async with httpx.AsyncClient(timeout=CALLBACK_WITHIN, trust_env=False) as client:
                answer = await client.post(
                    url, params=dict(request.query), headers=_passed_on(request.headers), content=request.body
                )
        except httpx.HTTPError as problem:
            raise CallbackRejected("the adapter does not answer, come back later", status=503) from problem
        if answer.status_code != 200:
            raise CallbackRejected(answer.text.strip()[:500], status=answer.status_code)
        return int(answer.text)

    async def run(self) -> None:
        """Keep a worker going for every such instance, for ever; a changed instance gets a new one."""
        async with asyncio.TaskGroup() as group:
            async for _ in self._adapters.changes():
                raise_if_cancelled()
                wanted = self._wanted()
                for name, worker in list(self._workers.items()):
                    if wanted.get(name) != worker.instance:
                        del self._workers[name]
                        if worker.task is not None:
                            worker.task.cancel()
                            await asyncio.wait((worker.task,))
                for name, instance in wanted.items():
                    if name not in self._workers:
                        worker = self._workers[name] = _Worker(instance)
                        worker.task = group.create_task(self._keep(worker), name=f"worker {name}")

    def _wanted(self) -> dict[str, AdapterInstance]:
        found = {}
        for name in self._adapters.names():
            one = self._adapters.get(name) if self._adapters.serves(name) else None
            if isinstance(one, Away) and one.placement is Placement.PROCESS:
                found[name] = one.instance
        return found

    async def _keep(self, worker: _Worker) -> None:
        """Start it, wait for its end, start it again after a pause that grows while it keeps dying."""
        name, pause, restarts = worker.instance.name, self._first_pause, 0
        loop = asyncio.get_running_loop()
        try:
            while True:
                raise_if_cancelled()
                started = loop.time()
                child = await self._spawn(worker)
                worker.child = child
                worker.status = WorkerStatus(state="running", pid=child.pid, since=self._clock(), restarts=restarts)
                listening = asyncio.create_task(self._listens(worker, child))
                try:
                    code = await child.wait()
                finally:
                    listening.cancel()
                    worker.callbacks = ""
                if loop.time() - started > STEADY_AFTER:
                    pause = self._first_pause
                restarts += 1
                state = "unusable" if code == UNUSABLE else "waiting"
                detail = f"ended with {signal.Signals(-code).name if code < 0 else code}; again in {pause:.0f} s"
                worker.status = WorkerStatus(state=state, since=self._clock(), restarts=restarts, detail=detail)
                log.error("worker ended", adapter=name, code=code, again_in=pause)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
        finally:
            await self._end(worker)

    async def _spawn(self, worker: _Worker) -> asyncio.subprocess.Process:
        instance = worker.instance
        credentials = await self._credentials.lend(instance.name)
        directory = self._data / "workers"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        told_it = {
            "credentials": msgspec.to_builtins(credentials),
            "instance": told(instance),
            "callback_url": f"{self._public_url}/hooks/{instance.name}",
        }
        limit = instance.memory_mib * MIB

        def bounded() -> None:
            die_with_parent(signal.SIGKILL)  # one that spins hears nothing else; its journal stands a kill
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        with (directory / f"{instance.name}.log").open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                instance.name,
                "--stdin",
                "--data",
                str(directory),
                "--callback-port",
                "0",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                env=self._environ,
                start_new_session=True,
                preexec_fn=bounded,
            )
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended already: its code says why
            child.stdin.write(json.dumps(told_it).encode())
            await child.stdin.drain()
        child.stdin.close()
        return child

    async def _listens(self, worker: _Worker, child: asyncio.subprocess.Process) -> None:
        """Read where the worker takes callbacks, from its one line of output."""
        assert child.stdout is not None
        line = await child.stdout.readline()
        with contextlib.suppress(ValueError, KeyError):
            worker.callbacks = str(json.loads(line)["callbacks"])

    async def _end(self, worker: _Worker) -> None:
        child = worker.child
        if child is not None and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            try:
                await asyncio.wait_for(child.wait(), timeout=STOP_WITHIN)
            except TimeoutError:
                log.error("a worker did not stop; killing it", adapter=worker.instance.name)
                child.kill()
                await child.wait()
        worker.status = WorkerStatus(state="stopped")


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """What a plugin may need of a callback's headers: all but those of the connection."""
    own = ("host", "connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "te", "trailer", "expect")
    return {name: value for name, value in headers.items() if name not in own}
