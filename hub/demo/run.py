"""`hub demo`: four departmental simulators, the hub, the people, the stories, then requests replayed through all of it.

Started again on the same data directory, also after everything was killed, it goes on: ports, secrets and keys are kept, so nothing
is put in twice. Called by the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from os import environ
from secrets import token_hex
from typing import TYPE_CHECKING

import httpx
import structlog

from hub.config.district import load
from hub.config.requests import Request, file_key, read_requests
from hub.contract import AdapterInstance
from hub.data_lock import alone_in
from hub.demo.client import HubClient
from hub.demo.crew import PAGE, Badges, Crew
from hub.demo.display import Display, Standing
from hub.demo.options import SHIPPED, DemoOptions
from hub.demo.replay import Replay, Replayed, position_of
from hub.demo.scenes import Scene, Theatre
from hub.demo.simulators import DEPARTMENTS, SupervisedSimulator, adapter_settings
from hub.demo.standing import read_standing
from hub.demo.state import DemoState, free_port, load_state, save_state
from hub.demo.stories import play_all
from hub.demo.summary import Summary
from hub.errors import HubError
from hub.model.case.state import Channel
from hub.model.policy.district import District
from hub.observing import logs
from hub.serving import Running, run_loop, serve

if TYPE_CHECKING:
    from hub.settings import Settings

log = structlog.get_logger("hub.demo")

FAULTS = {"error": 0.02, "rate_limit": 0.01, "timeout_after_accept": 0.002}
"""Shares of requests that meet a fault at each departmental system during the replay."""

RATE_PER_MINUTE = 600_000
"""Requests a token may make: the demo plays a whole district over a few dozen tokens."""

LATENCY_MS = "2,20"
"""How long the departmental systems take to answer, milliseconds."""


def run(settings: Settings, options: DemoOptions) -> int:
    """Run the demo; the process's exit code: 0 when all came out right, 1 else. Errors are said in one line."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    (settings.data / "logs").mkdir(exist_ok=True)
    with (settings.data / "logs" / "hub.log").open("a", encoding="utf-8") as stream:
        logs.setup(level=settings.log_level, json=settings.log_json, stream=stream)
        try:
            with alone_in(settings.data, "demo.lock"):  # its simulators and its ports are touched before the hub takes its own
                return int(run_loop(Demo(settings, options).run))
        except HubError as problem:
            log.error("the demo ends", code=problem.code, reason=problem.message)
            sys.stderr.write(f"hub: {problem.message}\n")
            return 1


class Demo:
    """One run of the demo. Reads configuration and requests at once, so that a mistake shows before anything is started."""

    def __init__(self, settings: Settings, options: DemoOptions) -> None:
        self._options = options
        self._file = options.replay or SHIPPED
        self._requests = read_requests(self._file, limit=options.limit)
        self._configured = load(settings.config)
        self._district = self._configured.district
        self._state = load_state(settings.data, seed=options.seed)
        port = free_port(self._state.api_port, settings.api.port, host=settings.api.host)
        self._state.api_port = port
        api = settings.api.model_copy(
            update={"port": port, "rate_per_minute": max(RATE_PER_MINUTE, settings.api.rate_per_minute)}
        )
        self._settings = settings.model_copy(update={"api": api})
        self._url = settings.api.public_url or f"http://{settings.api.host}:{port}"
        self._display = Display(quiet_output=options.json)
        self._simulators: dict[str, SupervisedSimulator] = {}
        self._code = 1

    async def run(self) -> int:
        """Everything from start to clean stop; the exit code."""
        self._save()
        try:
            await self._start_simulators()
            reason = await serve(self._settings, adapters=self._instances(), any_port=True, started=self._play)
        finally:
            await asyncio.gather(*(simulator.stop() for simulator in self._simulators.values()))
        if reason is not None:
            sys.stderr.write(f"hub: {reason}\n")
            return 1
        return self._code

    async def _start_simulators(self) -> None:
        for instance in self._reached():
            environment = {"SIMULATOR_SECRET": self._state.secret(instance.plugin)}
            if "OTEL_EXPORTER_OTLP_ENDPOINT" not in environ:
                environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = self._url
            self._simulators[instance.plugin] = SupervisedSimulator(
                instance.plugin,
                data=self._settings.data,
                port=free_port(self._state.ports.get(instance.plugin)),
                arguments=(
                    *("--seed", str(self._state.seed), "--pace", str(self._options.pace), "--latency-ms", LATENCY_MS),
                    *("--callback-url", f"{self._url}/hooks/{instance.name}"),
                ),
                environment=environment,
                lost=self._lost,
            )
        await asyncio.gather(*(simulator.start() for simulator in self._simulators.values()))
        self._state.ports = {name: simulator.port for name, simulator in self._simulators.items()}
        self._save()

    def _lost(self, name: str, code: int) -> None:
        self._display.say(f"! the {name} simulator ended ({code}); it is started again")

    def _reached(self) -> list[AdapterInstance]:
        """The configured instances of the plugins the project ships."""
        return [instance for instance in self._configured.adapters if instance.plugin in DEPARTMENTS]

    def _instances(self) -> list[AdapterInstance]:
        """Those instances, connected to the simulators, with waits that suit somebody who watches."""
        return [
            replace(
                instance,
                enabled=True,
                settings=adapter_settings(
                    instance.plugin, self._simulators[instance.plugin].url, self._state.secret(instance.plugin)
                ),
                backoff_base=timedelta(seconds=0.5),
                backoff_cap=timedelta(seconds=10),
                breaker_window=10,
                breaker_minimum=3,
                breaker_open_for=timedelta(seconds=2),
            )
            for instance in self._reached()
        ]

    async def _play(self, running: Running) -> None:
        """What happens beside the hub; ends when the demo is over."""
        async with self._company(running) as company:
            await company.perform()
            self._code = 0 if company.sound else 1
            if not self._options.exit:
                self._display.say("\nThe hub goes on serving; Ctrl-C ends it.")
                await asyncio.Event().wait()

    @contextlib.asynccontextmanager
    async def _company(self, running: Running) -> AsyncIterator[Company]:
        hub = HubClient(running.api_url)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(hub.close)
            clients = {
                name: await stack.enter_async_context(httpx.AsyncClient(base_url=simulator.url, timeout=30, trust_env=False))
                for name, simulator in self._simulators.items()
            }
            badges = Badges(hub, running.admin_token, self._state.tokens, self._save)
            crew = Crew(hub, badges, seed=self._state.seed, pace=self._options.pace)
            yield Company(
                hub=hub,
                badges=badges,
                crew=crew,
                simulators=clients,
                district=self._district,
                requests=self._requests,
                key=file_key(self._file),
                state=self._state,
                options=self._options,
                display=self._display,
                settings=self._settings,
                url=running.api_url,
                save=self._save,
            )

    def _save(self) -> None:
        save_state(self._settings.data, self._state)


@dataclass(kw_only=True)
class Company:
    """Everybody who plays, once the hub serves."""

    hub: HubClient
    badges: Badges
    crew: Crew
    simulators: Mapping[str, httpx.AsyncClient]
    district: District
    requests: Sequence[Request]
    key: str
    state: DemoState
    options: DemoOptions
    display: Display
    settings: Settings
    url: str
    save: Callable[[], None]
    sound: bool = False

    async def perform(self) -> None:
        """Stories, replay, settling, summary."""
        began = time.monotonic()
        self.display.say(f"The hub serves at {self.url}; data in {self.settings.data}; logs in {self.settings.data / 'logs'}")
        scenes = await self._stories()
        replayed = Replayed(total=len(self.requests))
        with self.display:
            crew = asyncio.create_task(self.crew.run())
            try:
                await self._set_faults()
                settling = asyncio.create_task(self._until_settled(replayed, crew))
                await self._put_in(replayed)
                await settling
            finally:
                crew.cancel()
                await asyncio.gather(crew, return_exceptions=True)
        summary = await self._summary(replayed, scenes, time.monotonic() - began)
        self.sound = summary.sound
        if self.options.json:
            sys.stdout.write(json.dumps(summary.as_json(), ensure_ascii=False) + "\n")
            sys.stdout.flush()
        else:
            summary.print(self.display.console, data=self.settings.data, url=self.url)

    async def _stories(self) -> list[Scene]:
        if not self.options.plays_scenes or self.state.scenes:
            return []
        # Stories cut off by a kill are played anew, as others; what they left open the crew works off.
        self.state.run = token_hex(4)
        self.save()
        theatre = Theatre(
            self.hub,
            self.badges,
            self.crew,
            self.simulators,
            say=self.display.say,
            pace=self.options.pace,
            run=self.state.run,
        )
        played = await play_all(theatre)
        self.state.scenes = [scene.name for scene in played]
        self.save()
        self.display.say("")
        return played

    async def _set_faults(self) -> None:
        for client in self.simulators.values():
            for kind, share in FAULTS.items():
                answer = await client.post("/_sim/faults", json={"kind": kind, "share": share})
                answer.raise_for_status()

    async def _put_in(self, replayed: Replayed) -> None:
        replay = Replay(
            self.badges,
            self.simulators["hotline"],
            key=self.key,
            district=self.district.code,
            position=lambda request: position_of(request, self.district),
            began_at=self.state.began_at or datetime.now(UTC),
        )
        await replay.run(self.requests, rate=self.options.rate, state=replayed)

    async def _until_settled(self, replayed: Replayed, crew: asyncio.Task[None]) -> None:
        """Show how it stands until nothing is left to do, or nothing has changed for as long as patience lasts."""
        clock = asyncio.get_running_loop().time
        last, changed_at = "", clock()
        while True:
            if crew.done():
                crew.result()
            standing = await self._standing(replayed)
            self.display.show(standing)
            fingerprint = f"{standing.line()} {self.crew.commands.total()}"
            if fingerprint != last:
                last, changed_at = fingerprint, clock()
            if replayed.put_in == replayed.total and standing.open == 0 and self.crew.idle and not await self._under_way():
                return
            if clock() - changed_at > self.options.patience:
                self.display.say(f"nothing has changed for {self.options.patience:.0f} s; {standing.open} cases are still open")
                return
            await asyncio.sleep(0.5)

    async def _under_way(self) -> bool:
        """Whether callbacks or tasks are still on their way between the hub and the departments."""
        for client in self.simulators.values():
            answer = await client.get("/_sim/state")
            if answer.is_success and answer.json()["unsent_callbacks"]:
                return True
        answer = await self.hub.get("/adapters", token=self.badges.admin)
        return any(item["queued"] or item["in_flight"] for item in answer["items"])

    async def _standing(self, replayed: Replayed) -> Standing:
        standing = read_standing(await self.hub.get("/summary", token=self.badges.admin))
        standing.requests, standing.put_in = replayed.total, replayed.put_in
        return standing

    async def _summary(self, replayed: Replayed, scenes: Sequence[Scene], seconds: float) -> Summary:
        tickets: dict[str, int] = {}
        doubled: dict[str, list[str]] = {}
        for name, client in self.simulators.items():
            answer = await client.get("/_sim/tickets")
            answer.raise_for_status()
            keys = [item["key"] for item in answer.json()["tickets"] if item["key"]]
            tickets[name] = len(keys)
            repeated = sorted({key for key in keys if keys.count(key) > 1}) if len(set(keys)) < len(keys) else []
            if repeated:
                doubled[name] = repeated
        standing = await self._standing(replayed)
        standing.attached = await self._attached()
        return Summary(
            standing=standing,
            tickets=tickets,
            doubled=doubled,
            refused=replayed.refused,
            errors=self.crew.errors,
            scenes=scenes,
            seconds=seconds,
            example=scenes[0].cases[0] if scenes and scenes[0].cases else await self._any_case(),
        )

    async def _attached(self) -> int:
        """How many reports joined a notice instead of opening a case."""
        page = await self.hub.get("/cases", token=self.badges.admin, channel=Channel.DEPARTMENT.value, limit=PAGE)
        cases = [await self.hub.get(f"/cases/{row['id']}", token=self.badges.admin) for row in page["items"]]
        return sum(len(case["attached_reports"]) for case in cases)

    async def _any_case(self) -> str | None:
        page = await self.hub.get("/cases", token=self.badges.admin, channel=Channel.RESIDENT.value, limit=1)
        return str(page["items"][0]["id"]) if page["items"] else None
