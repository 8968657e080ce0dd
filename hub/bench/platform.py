"""Benches of the adapter platform: what an installation, and what one poisoned adapter, cost the others. Ratios within one run.

`InstallBench`: while cases arrive at a rate, a plugin is installed by pip and an instance of it is added; the others' latency in quiet and
meanwhile, in turns, and afterwards. `PoisonBench`: closed cases per second of three healthy adapters alone and beside one that hangs,
fails, talks rubbish and answers with 50 MB, in turns. Called by `hub bench --install` and `hub bench --poisoned`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import Field

from hub.app import Hub
from hub.bench.spine import Bench, Step, dispatched_at_once, quantile, report, three_departments
from hub.contract import Adapter, AdapterSettings, Assignment, Capability, Health, Manifest, Receipt
from hub.errors import ConfigError
from hub.model.actors import SYSTEM
from hub.model.district.areas import Level
from hub.model.policy.district import District
from hub.platform.instances.registration import By, Patch

NEWCOMER = "bench_newcomer"
_SOURCE = '''"""A plugin that takes everything at once; the bench hears of it through `heard`."""

from hub import Adapter, Capability, Manifest, Receipt, hookimpl

heard = None


class Newcomer(Adapter):
    """Answers without a network."""

    manifest = Manifest(name="NEWCOMER", department="新部门", version="1", capabilities=frozenset({Capability.IDEMPOTENT}))

    async def deliver(self, assignment):
        """Say who got what."""
        heard(self.context.instance, assignment.key)
        return Receipt(ticket=f"NEW-{assignment.key}")


@hookimpl
def hub_adapters():
    """The one class."""
    return [Newcomer]
'''
_PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "NEWCOMER"
version = "1.0"

[project.entry-points.city_hub]
NEWCOMER = "NEWCOMER"

[tool.hatch.build.targets.wheel]
only-include = ["NEWCOMER.py"]
"""
TURNS = 3
SECONDS_A_TURN = 8
BY = By(actor=SYSTEM, note="bench")


class InstallBench(Bench):
    """Installs a plugin and adds an instance while cases arrive, several times."""

    async def measure(self, progress: Step) -> dict[str, object]:
        """Latency at `rate` in quiet and while a plugin is installed, in turns, and whether anything was lost or done twice."""
        rate = self._options.rate
        count = max(60, int(rate * SECONDS_A_TURN))
        quiet: list[float] = []
        meanwhile: list[float] = []
        seconds: list[float] = []
        doubled = taken = 0
        with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
            directory = Path(name)
            site = directory / "site"
            site.mkdir()
            newcomers = [f"{NEWCOMER}{turn}" for turn in range(1, TURNS + 1)]
            wheels = [await _wheel(directory, newcomer) for newcomer in newcomers]
            sys.path.append(str(site))
            try:
                async with self._hub(directory) as (hub, departments):
                    await self._load(hub, count, rate, progress, "warm-up")
                    for turn, (newcomer, wheel) in enumerate(zip(newcomers, wheels, strict=True), 1):
                        await self._load(hub, count, rate, progress, f"quiet {turn}")
                        quiet.append(quantile(self._delays(), 0.99))
                        doubled += self._run.doubled
                        installing = asyncio.create_task(self._install(hub, newcomer, wheel, site, departments[0]))
                        await self._load(hub, count, rate, progress, f"installing {turn}")
                        meanwhile.append(quantile(self._delays(), 0.99))
                        doubled += self._run.doubled
                        seconds.append(await installing)
                    await self._load(hub, count, rate, progress, "afterwards")
                    afterwards = quantile(self._delays(), 0.99)
                    doubled += self._run.doubled
                    taken = sum(1 for key in self._run.arrived if key.startswith(f"{NEWCOMER} "))
            finally:
                sys.path.remove(str(site))
                for newcomer in newcomers:
                    sys.modules.pop(newcomer, None)
        before = statistics.median(quiet)
        return {
            "rate_per_s": rate,
            "cases": count * (2 * TURNS + 1),
            "lost": 0,  # the load ends when every single case is closed
            "doubled": doubled,
            "install_s": [round(value, 2) for value in seconds],
            "taken_by_newcomers": taken,
            "p99_ms": {
                "quiet": [round(value, 2) for value in quiet],
                "installing": [round(value, 2) for value in meanwhile],
                "afterwards": round(afterwards, 2),
            },
            "p99_ratio_installing": round(statistics.median(meanwhile) / before, 2),
            "p99_ratio_afterwards": round(afterwards / before, 2),
        }

    async def _install(self, hub: Hub, newcomer: str, wheel: Path, site: Path, neighbour: str) -> float:
        """As DevOps would: pip, look, add; seconds it took. The newcomer takes a part of one neighbour's cases."""
        started = time.perf_counter()
        await _pip("install", "--no-deps", "--no-index", "--no-compile", "--target", str(site), str(wheel))
        fresh = await hub.registration.look_for_plugins()
        if newcomer not in fresh:
            raise ConfigError(f"the bench's plugin was not found ({fresh})", key="bench")

        def heard(instance: str, key: str) -> None:
            self._run.arrived[f"{NEWCOMER} {key}"] = time.time()
            self._run.resolved(instance, key)

        sys.modules[newcomer].heard = heard  # type: ignore[attr-defined]
        unit = _unit_of(hub.rulebook.district(), neighbour)
        await hub.registration.add(newcomer, newcomer, Patch(units=(unit,), percent=10), BY)
        return time.perf_counter() - started


class PoisonBench(Bench):
    """Runs three healthy adapters alone and beside a poisoned one, in turns."""

    async def measure(self, progress: Step) -> dict[str, object]:
        """Closed cases per second alone and beside, medians of three turns each."""
        count = max(100, self._options.cases // 3)
        alone: list[float] = []
        beside: list[float] = []
        with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
            async with self._hub(Path(name), Poisoned) as (hub, _), _nuisance() as url:
                district = hub.rulebook.district()
                category, unit = _one_department(district)
                grid = district.areas.at_level(Level.GRID)[0].code
                settings = {"url": url}
                await hub.registration.add("poisoned", "poisoned", Patch(settings=settings, units=(unit,)), BY, enabled=False)
                await self._load(hub, count, None, progress, "warm-up")
                for turn in range(1, 4):
                    alone.append(count / await self._load(hub, count, None, progress, f"alone {turn}"))
                    await hub.registration.enable("poisoned", By(actor=SYSTEM, untried=True))
                    for number in range(40):
                        words = f"故障部门的事项 {turn}.{number}"
                        await report(hub, category, grid, title=words, text=words)
                    beside.append(count / await self._load(hub, count, None, progress, f"beside {turn}"))
                    doubled = self._run.doubled
                    await hub.registration.disable("poisoned", BY)
        return {
            "cases_a_turn": count,
            "alone_per_s": [round(value, 1) for value in alone],
            "beside_per_s": [round(value, 1) for value in beside],
            "doubled": doubled,
            "troubles": Poisoned.calls,
            "ratio": round(statistics.median(beside) / statistics.median(alone), 3),
        }


class PoisonedSettings(AdapterSettings):
    """Where the trouble is."""

    url: str = Field(description="Base address of a system at its worst.")


class Poisoned(Adapter):
    """Believes whatever its department's system says, and breaks every rule of the contract in turn."""

    manifest = Manifest(
        name="poisoned",
        department="故障部门",
        version="1",
        capabilities=frozenset({Capability.IDEMPOTENT}),
        attempt_timeout=timedelta(seconds=3),
    )
    Settings = PoisonedSettings
    settings: PoisonedSettings
    calls = 0

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Ask, and do something else that must not be done every other time."""
        Poisoned.calls += 1
        match Poisoned.calls % 4:
            case 0:
                raise SystemExit(1)
            case 1:
                answer: Any = ["rubbish"] * 1000
                return answer  # type: ignore[no-any-return]
            case _:
                reply = await self.http.post(f"{self.settings.url}/orders", json=assignment.summary())
                return Receipt(ticket=reply.json()["ticket"])

    async def health(self) -> Health:
        """Never well."""
        return Health(ok=False, detail="always")


def _unit_of(district: District, adapter: str) -> str:
    """The unit of the bench's category whose assignments go through an adapter."""
    category, _ = three_departments(district)
    return next(unit.code for unit in dict(dispatched_at_once(district))[category] if unit.adapter == adapter)


def _write_newcomer(directory: Path, name: str) -> None:
    directory.mkdir()
    (directory / "pyproject.toml").write_text(_PROJECT.replace("NEWCOMER", name), encoding="utf-8")
    (directory / f"{name}.py").write_text(_SOURCE.replace("NEWCOMER", name), encoding="utf-8")


async def _wheel(directory: Path, newcomer: str) -> Path:
    """A newcomer as it is given out. Built before anything is measured: whoever installs a plugin has a wheel."""
    project, wheels = directory / newcomer, directory / f"{newcomer}-wheel"
    await asyncio.to_thread(_write_newcomer, project, newcomer)
    await _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(project))
    return await asyncio.to_thread(lambda: next(wheels.glob("*.whl")))


async def _pip(what: str, *arguments: str) -> None:
    """Run pip at the lowest priority, as docs/devops.md says: what is measured shares its processors with it."""
    command = (sys.executable, "-m", "pip", what, "--quiet", "--disable-pip-version-check", *arguments)
    nice = ("nice", "-n", "19") if shutil.which("nice") else ()
    child = await asyncio.create_subprocess_exec(*nice, *command)
    if await child.wait() != 0:
        raise ConfigError(f"pip {what} failed for the bench's plugin", key="bench")


@contextlib.asynccontextmanager
async def _nuisance() -> AsyncIterator[str]:
    """The address of a system at its worst, in a process of its own."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "hub.testing.nuisance", stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    try:
        yield str(json.loads(await child.stdout.readline())["url"])
    finally:
        child.terminate()
        await child.wait()


def _one_department(district: District) -> tuple[str, str]:
    """A category whose matters are dispatched at once to one unit that has no adapter, and that unit."""
    for category, units in dispatched_at_once(district):
        if len(units) == 1 and units[0].adapter is None:
            return category, units[0].code
    raise ConfigError("no category is dispatched to one unit without an adapter", key="routing")


__all__ = ["InstallBench", "PoisonBench"]
