"""The chassis of a departmental simulator: subclass `Simulator`, add routes, say what its people do.

Owns what every simulator needs: command line, ready line, durable state, faults, latency, people, callbacks, spans, clean stop.
A simulator is a separate process on loopback; it never imports the hub's stages. `--help` lists the options.

    class LampSimulator(Simulator):
        department = "lamps"

        def routes(self, app: FastAPI) -> None:
            app.post("/orders")(self.order)

        async def order(self, body: Order) -> dict[str, str]:
            ticket = self.file(key=body.key, unit=body.unit, body=body.model_dump())
            await self.store.durable()
            return {"ticket": ticket.ticket}

        def planned(self, ticket: Ticket) -> None:
            self.after(1, "accept", ticket.ticket)

        def step(self, step: Step) -> None:
            ...

    if __name__ == "__main__":
        LampSimulator.main()
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import structlog
import uvicorn
from fastapi import FastAPI

from hub.testing.callbacks import CallbackSender, Sign, standard_webhook, webhook_secret
from hub.testing.control import Control
from hub.testing.faults import FaultKind, Faults, parse_faults
from hub.testing.gate import Gate
from hub.testing.recording import Recorder
from hub.testing.scripts import Script, Trouble, parse_script
from hub.testing.store import KeptFile, SimulatorStore, Step, Ticket, iso
from hub.testing.tracing import SimulatorTracing, current_traceparent, note_case

__all__ = ["DEFAULT_SECRET", "FaultKind", "Simulator", "Step", "Ticket", "iso", "webhook_secret"]

DEFAULT_SECRET = "simulator-secret"  # noqa: S105 - a simulator on loopback, nothing to protect
"""What `--callback-secret` is when not given."""

log = structlog.get_logger(__name__)


class Simulator:
    """One departmental system. Subclasses set `department`, define `routes`, and usually `planned` and `step`."""

    department: ClassVar[str]
    """English name; the spans' service is `<department>-simulator`."""
    prefix: ClassVar[str] = "T"
    """What its ticket numbers start with."""
    statuses: ClassVar[Sequence[str]] = ()
    """Every status its interface documents for what happens to a ticket; the adapter's crosswalk must have them all."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.seed: int = arguments.seed
        self.pace: float = arguments.pace
        self.secret: str = arguments.callback_secret
        self.store = SimulatorStore(arguments.data)
        self.faults = Faults(self.seed, arguments.faults)
        self.script = Script(arguments.script)
        self.recorder = Recorder((self.secret, webhook_secret(self.secret)))
        self.tracing = SimulatorTracing(f"{self.department}-simulator")
        self.callbacks = CallbackSender(
            self.store,
            self.faults,
            self.tracing,
            self.signer(self.secret),
            url=arguments.callback_url or self.store.note("callback_url"),
            seed=self.seed,
            hold_for=max(0.5, 3 * self.pace),
        )
        self._people_wake = asyncio.Event()
        self._failed: BaseException | None = None
        self._stop: Callable[[], None] = lambda: None
        self.app = FastAPI(lifespan=self._lifespan, docs_url=None, redoc_url=None, openapi_url=None)
        Control(self).add_to(self.app)
        self.routes(self.app)

    # what a subclass says

    def routes(self, app: FastAPI) -> None:
        """Add the department's own interface."""
        raise NotImplementedError(f"{type(self).__name__} has no routes")

    def planned(self, ticket: Ticket) -> None:
        """Plan what people will do with a new ticket, with `after`. Synchronous: part of the filing transaction."""

    def step(self, step: Step) -> None:
        """A planned step is due: change tickets, call `feed`, `call_back`, `after`. Synchronous: happens wholly or not."""

    def signer(self, secret: str) -> Sign:
        """How callbacks are signed; Standard Webhooks unless overridden."""
        return standard_webhook(secret)

    def files(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Whether a request files something, so `timeout_after_accept` may hit it; `headers` have lower-case names."""
        return method not in ("GET", "HEAD")

    def faulty(self, method: str, path: str) -> bool:
        """Whether faults and latency apply to a request; not to /_sim, nor to pages people look at."""
        return True

    def background(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Work of the department's own that runs as long as it does; one that ends by its own fault stops the simulator."""
        return ()

    def listed(self) -> Sequence[Ticket]:
        """The records `/_sim/tickets` shows: the chassis's own unless a department keeps its records itself."""
        return self.store.tickets()

    def kept_files(self) -> Sequence[KeptFile]:
        """What `/_sim/files` shows its people attached: the chassis's own files unless a department keeps them itself."""
        return self.store.files()

    def unsent(self) -> int:
        """How many callbacks wait, for `/_sim/state`."""
        return self.store.unsent()

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the department's own options."""

    # what a subclass calls

    def file(
        self, *, key: str | None, unit: str, body: Mapping[str, Any], ticket: str | None = None, state: str = "received"
    ) -> Ticket:
        """Store a ticket and let `planned` plan for it; the same key gives the ticket it already has.

        `key` is `<case id>.<assignment>` when it comes from the hub. Await `self.store.durable()` before answering.
        """
        if key is not None:
            note_case(key.partition(".")[0])
            found = self.store.ticket_of_key(key)
            if found is not None:
                return found
        with self.store.change():
            number = ticket or f"{self.prefix}{self.store.count('ticket'):08d}"
            filed = self.store.add_ticket(number, key=key, unit=unit, state=state, body=body, trace=current_traceparent())
            self.planned(filed)
        return filed

    def after(
        self, steps: float, kind: str, ticket: str, body: Mapping[str, Any] | None = None, *, most: float | None = None
    ) -> None:
        """Plan a step in about `steps` x `--pace` seconds (±30 %, the same for the same seed, ticket and kind).

        `most` caps it, in seconds, for steps that may not wait whatever the pace.
        """
        delay = steps * self.pace * self.random(ticket, kind).uniform(0.7, 1.3)
        if most is not None:
            delay = min(delay, most)
        self.store.add_step(time.time() + delay, kind, ticket, body)
        self._people_wake.set()

    def call_back(
        self, id: str, body: Mapping[str, Any], *, ticket: Ticket | None = None, case: str | None = None, path: str = ""
    ) -> None:
        """Queue a JSON callback to `<callback url><path>`; `id` (ASCII: it is a header) is the same however often it is sent.

        Callbacks of one case (given, or that of the ticket's key) go out in order.
        """
        if not id.isascii() or not id.isprintable():
            raise ValueError(f"the id of a callback is printable ASCII: {id!r}")
        if case is None and ticket is not None and ticket.key is not None:
            case = ticket.key.partition(".")[0]
        self.store.post(
            id,
            path=path,
            body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
            media_type="application/json",
            trace=ticket.trace if ticket else None,
            case=case,
        )
        self.callbacks.wake()

    def attach(self, ticket: str, name: str, media_type: str, content: bytes) -> KeptFile:
        """A person attaches a file to a ticket; the same again is the same file. `GET /_sim/files` lists them."""
        return self.store.add_file(ticket, name=name, media_type=media_type, content=content)

    def random(self, *about: str) -> random.Random:
        """A generator that gives the same for the same seed and words."""
        return random.Random(":".join((str(self.seed), *about)))  # noqa: S311 - behaviour, not secrets

    # the command line and the process

    @classmethod
    def parse(cls, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Read the command line."""
        parser = argparse.ArgumentParser(prog=f"{cls.department}-simulator", description=cls.__doc__)
        parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0: a free one")
        parser.add_argument("--data", type=Path, required=True, help="directory of the state")
        parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same people")
        parser.add_argument("--latency-ms", type=_latency, default=(0.0, 0.0), metavar="LOW,HIGH", help="per request")
        parser.add_argument(
            "--faults", type=_faults, default={}, metavar="SPEC", help="shares, e.g. error=0.02,rate_limit=0.02"
        )
        parser.add_argument(
            "--script", type=_script, default=(), metavar="FILE", help="what happens to one filing request after the other"
        )
        parser.add_argument("--callback-url", default=None, help="where callbacks go; also PUT /_sim/callback")
        parser.add_argument(
            "--callback-secret",
            default=os.environ.get("SIMULATOR_SECRET", DEFAULT_SECRET),
            help="shared secret of both directions; also in the environment: SIMULATOR_SECRET",
        )
        parser.add_argument("--pace", type=float, default=20.0, help="seconds its people take for one step")
        cls.add_arguments(parser)
        return parser.parse_args(argv)

    @classmethod
    def main(cls, argv: Sequence[str] | None = None) -> None:
        """Run until SIGTERM or SIGINT; exits 0 then, 1 when its own work failed."""
        arguments = cls.parse(argv)
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
        # asyncio turns Nagle's delay off only for sockets that name their protocol
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", arguments.port))
        sys.exit(asyncio.run(cls._serve(arguments, listener)))

    @classmethod
    async def _serve(cls, arguments: argparse.Namespace, listener: socket.socket) -> int:
        simulator = cls(arguments)
        gate = Gate(
            simulator.app, simulator.faults, simulator.tracing, simulator, latency=arguments.latency_ms, seed=simulator.seed
        )
        server = _Server(uvicorn.Config(gate, lifespan="on", log_config=None, access_log=False, timeout_graceful_shutdown=2))
        simulator._stop = server.stop
        await server.serve(sockets=[listener])
        if simulator._failed is not None:
            log.error("simulator_failed", department=cls.department, exc_info=simulator._failed)
            return 1
        return 0

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(work) for work in (self._people(), self.callbacks.run(), *self.background())]
        for task in tasks:
            task.add_done_callback(self._ended)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.store.close()
            self.tracing.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A background task ended: when by its own fault, the simulator stops and says so."""
        if not task.cancelled() and task.exception() is not None:
            self._failed = task.exception()
            self._stop()

    async def _people(self) -> None:
        """Do every planned step when it is due; steps are on disk, so a killed simulator goes on where it was."""
        while True:
            self._people_wake.clear()
            if not self.faults.outage:
                for step in self.store.due_steps(time.time()):
                    with self.store.change():
                        if self.store.take_step(step.id):
                            self.step(step)
                await self.store.durable()
            next_at = self.store.next_step_at()
            wait = 1.0 if next_at is None else min(1.0, max(0.02, next_at - time.time()))
            try:
                async with asyncio.timeout(wait if not self.faults.outage else 0.2):
                    await self._people_wake.wait()
            except TimeoutError:
                continue


class _Server(uvicorn.Server):
    """Prints the ready line when it listens; stops cleanly on SIGTERM and SIGINT with exit status 0."""

    def stop(self) -> None:
        """Ask the server to end."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started and sockets:
            port = sockets[0].getsockname()[1]
            print(json.dumps({"ready": True, "url": f"http://127.0.0.1:{port}"}), flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals without raising them again at the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def _latency(text: str) -> tuple[float, float]:
    """`5,40` (milliseconds) as seconds."""
    low, _, high = text.partition(",")
    try:
        bounds = (float(low) / 1000, float(high or low) / 1000)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not LOW,HIGH in milliseconds: {text!r}") from error
    if not 0 <= bounds[0] <= bounds[1]:
        raise argparse.ArgumentTypeError(f"LOW must not be above HIGH: {text!r}")
    return bounds


def _faults(text: str) -> dict[FaultKind, float]:
    try:
        return parse_faults(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _script(name: str) -> tuple[Trouble, ...]:
    try:
        return parse_script(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{name}: {error}") from error
