"""The process beside the department: `hub adapter run NAME`. Reads its settings, runs the adapter, ends cleanly.

Exit codes: 0 stopped by a signal, 1 failed (a service manager starts it again), 2 wrong usage, 3 unusable settings, plugin or credentials.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from hub.config.adapters_file import read_adapters
from hub.config.documents import Document
from hub.contract import AdapterInstance, Capability, Crosswalk, FeedbackKind, Plugin
from hub.errors import ConfigError, HubError, PluginError
from hub.model.answers import QUESTIONS
from hub.observing import logs, telemetry
from hub.platform.adapters.plugins import Plugins
from hub.platform.adapters.watchdog import Watchdog
from hub.platform.remote.credentials_file import parse_credentials, read_credentials
from hub.platform.remote.far.handing import nowhere
from hub.platform.remote.far.listener import listening
from hub.platform.remote.far.runner import Runner, Setup
from hub.settings import Settings

log = structlog.get_logger("hub.remote")

UNUSABLE = 3


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says."""

    name: str
    credentials: Path | None = None
    settings: Path | None = None
    plugin: str | None = None
    data: Path = Path("adapter-data")
    callback_host: str = "127.0.0.1"
    callback_port: int | None = None
    callback_url: str = ""
    from_stdin: bool = False
    log_level: str = "info"


def run(options: Options, *, plugins: tuple[type[Plugin], ...] = (), step: Callable[[str], None] = nowhere) -> int:
    """Run until told to stop; the exit code."""
    logs.setup(options.log_level)
    try:
        setup = setup_of(options, plugins)
    except HubError as problem:
        sys.stderr.write(f"hub: {problem.message}\n")
        return UNUSABLE
    settings = Settings(data=setup.data)
    tracer = telemetry.setup(settings, service=f"adapter-{options.name}", store=None)
    try:
        return asyncio.run(_main(setup, options, step))
    finally:
        tracer.close()


async def _main(setup: Setup, options: Options, step: Callable[[str], None]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    try:
        async with AsyncExitStack() as stack:
            runner = await stack.enter_async_context(Runner.opened(setup, step=step))
            if options.callback_port is not None:
                port = await stack.enter_async_context(listening(runner.callback, options.callback_host, options.callback_port))
                sys.stdout.write(json.dumps({"callbacks": f"http://{options.callback_host}:{port}"}) + "\n")
                sys.stdout.flush()
            watchdog = Watchdog(loop, _held_up, _give_up)
            watchdog.start()
            stack.callback(watchdog.stop)
            working = asyncio.create_task(runner.run(), name="adapter")
            stopping = asyncio.create_task(stop.wait())
            log.info("adapter runs", adapter=runner.name, plugin=setup.kind.manifest.name)
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not working.done():
                await runner.drain()
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
                return 0
            await working  # it failed: raises
            return 1
    except (ConfigError, PluginError) as problem:
        sys.stderr.write(f"hub: {problem.message}\n")
        return UNUSABLE


def _held_up(name: str, seconds: float) -> None:
    log.error("the plugin held everything up", adapter=name, seconds=round(seconds, 1))


def _give_up(name: str) -> None:
    """Nothing ends the plugin's step: end the process, whoever keeps it going starts it again."""
    log.critical("the plugin holds everything up for good; ending", adapter=name)
    os._exit(1)


def setup_of(options: Options, plugins: tuple[type[Plugin], ...]) -> Setup:
    """What to run, from files or from stdin. Raises ConfigError, PluginError."""
    installed = Plugins(plugins)
    if options.from_stdin:
        told = json.loads(sys.stdin.buffer.read())
        credentials = parse_credentials(json.dumps(told["credentials"]).encode(), "stdin")
        instance = instance_from(told["instance"])
        callback_url = str(told.get("callback_url", ""))
    else:
        if options.credentials is None:
            raise ConfigError("is needed", key="--creds")
        credentials = read_credentials(options.credentials)
        instance = _instance(options)
        callback_url = options.callback_url
    if credentials.adapter != instance.name:
        raise ConfigError(f"the credentials are for {credentials.adapter}, not for {instance.name}", key="--creds")
    kind = installed.get(instance.plugin)
    if Capability.CALLBACK in kind.manifest.capabilities and options.callback_port is None and not options.from_stdin:
        log.warning("the plugin takes callbacks, and there is no --callback-port", adapter=instance.name)
    return Setup(
        credentials=credentials, instance=instance, kind=kind, data=options.data / instance.name, callback_url=callback_url
    )


def _instance(options: Options) -> AdapterInstance:
    """The instance of the settings file (same form as the hub's adapters.yaml), or a plain one of `--plugin`."""
    if options.settings is None:
        return AdapterInstance(name=options.name, plugin=options.plugin or options.name)
    file = str(options.settings)
    try:
        text = options.settings.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"can't be read ({problem})", file=file) from problem
    problems: list[ConfigError] = []
    found = read_adapters(Document(text, file, problems), os.environ)
    if problems:
        raise problems[0]
    for instance in found:
        if instance.name == options.name:
            return instance if options.plugin is None else replace(instance, plugin=options.plugin)
    raise ConfigError(f"has no adapter named {options.name}", file=file, key="adapters")


def told(instance: AdapterInstance) -> dict[str, Any]:
    """An instance as `instance_from` reads it, secrets and all: for a pipe, never for a file."""
    own = instance.crosswalk
    return {
        "name": instance.name,
        "plugin": instance.plugin,
        "settings": _plain(instance.settings),
        "version": instance.version,
        "concurrency": instance.concurrency,
        "attempts": instance.attempts,
        "backoff_base": instance.backoff_base.total_seconds(),
        "backoff_cap": instance.backoff_cap.total_seconds(),
        "rate_per_second": instance.rate_per_second,
        "items_per_second": instance.items_per_second,
        "breaker_window": instance.breaker_window,
        "breaker_minimum": instance.breaker_minimum,
        "breaker_ratio": instance.breaker_ratio,
        "breaker_open_for": instance.breaker_open_for.total_seconds(),
        "crosswalk": None
        if own is None
        else {
            "version": own.version,
            "statuses": {word: kind.value for word, kind in own.statuses.items()},
            "categories": dict(own.categories),
            "fields": dict(own.fields),
            **{question: {word: str(answer) for word, answer in getattr(own, question).items()} for question in QUESTIONS},
        },
    }


def instance_from(found: dict[str, Any]) -> AdapterInstance:
    """The reverse of `told`."""
    values = dict(found)
    for name in ("backoff_base", "backoff_cap", "breaker_open_for"):
        values[name] = timedelta(seconds=values[name])
    own = values.pop("crosswalk")
    if own is not None:
        statuses = {word: FeedbackKind(kind) for word, kind in own["statuses"].items()}
        answers: dict[str, Any] = {
            question: {word: kind(answer) for word, answer in own[question].items()} for question, kind in QUESTIONS.items()
        }
        values["crosswalk"] = Crosswalk(
            version=own["version"], statuses=statuses, categories=own["categories"], fields=own["fields"], **answers
        )
    return AdapterInstance(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, str) else value
