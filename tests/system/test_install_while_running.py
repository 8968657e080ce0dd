"""A plugin is installed by pip and an instance of it added while cases come in: no restart, nothing lost, nothing handed over twice."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.model.actors import SYSTEM
from hub.platform.instances.registration import By, Patch
from hub.spine.ledger.desk import Outcome
from hub.testing.kit import eventually
from tests.system.department import Department, report_gas, running_hub, scripted

MODULE = "installed_while_running"
PROJECT = f"""[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{MODULE.replace("_", "-")}"
version = "1.0"

[project.entry-points.city_hub]
latecomer = "{MODULE}"

[tool.hatch.build.targets.wheel]
only-include = ["{MODULE}.py"]
"""
SOURCE = '''"""A department that comes late."""

from hub import Adapter, Capability, Manifest, Receipt, hookimpl

taken = []


class Latecomer(Adapter):
    """Answers without a network."""

    manifest = Manifest(name="latecomer", department="后来部门", version="1", capabilities=frozenset({Capability.IDEMPOTENT}))

    async def deliver(self, assignment):
        """Note it."""
        taken.append(assignment.key)
        return Receipt(ticket=f"L-{len(taken)}")


@hookimpl
def hub_adapters():
    """The one class."""
    return [Latecomer]
'''


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A directory packages are installed into, on the path as a virtual environment's is."""
    site = tmp_path / "site"
    site.mkdir()
    sys.path.append(str(site))
    yield site
    sys.path.remove(str(site))
    sys.modules.pop(MODULE, None)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The plugin's source."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (project / f"{MODULE}.py").write_text(SOURCE, encoding="utf-8")
    return project


async def install(site: Path, project: Path) -> None:
    """As DevOps would."""
    command = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    child = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--no-build-isolation", "--target", str(site), str(project)
    )
    assert await child.wait() == 0


async def test_plugin_installed_under_load_takes_its_share_and_harms_nobody(tmp_path: Path, site: Path, project: Path) -> None:
    police, property_ = Department(), Department()
    adapters = {"police": scripted("police", police), "property": scripted("property", property_)}
    outcomes: list[Outcome] = []
    enough = asyncio.Event()

    async with running_hub(tmp_path / "data", adapters) as hub:

        async def load() -> None:
            for number in itertools.count():
                if enough.is_set():
                    return
                outcomes.append(await report_gas(hub, text=f"{number} 单元楼道有很浓的燃气味", place=f"{number} 号"))
                await asyncio.sleep(0.03)

        loading = asyncio.create_task(load())
        await eventually(lambda: len(outcomes) >= 10 or loading.done())
        await install(site, project)
        assert await hub.registration.look_for_plugins() == ["latecomer"]
        before = len(outcomes)
        await hub.registration.add("latecomer", "latecomer", Patch(units=("gas",)), By(actor=SYSTEM))
        bound = len(outcomes)
        taken: list[str] = sys.modules[MODULE].taken
        await eventually(lambda: len(taken) >= 10 or loading.done())
        enough.set()
        await loading
        assert before > 10, "nothing came in while it was installed"

        def owed(unit_is_gas: bool) -> set[str]:
            return {
                f"{outcome.state.id}.{assignment.id}"
                for outcome in outcomes
                for assignment in outcome.state.assignments
                if (assignment.unit == "gas") is unit_is_gas
            }

        await eventually(lambda: set(police.filed) | set(property_.filed) == owed(unit_is_gas=False))
        assert len(police.filed) + len(property_.filed) == len(owed(unit_is_gas=False))
        since = {
            key for key in owed(unit_is_gas=True) if key.partition(".")[0] in {o.state.id for o in outcomes[bound + 1 :]}
        }  # one was on its way
        await eventually(lambda: since <= set(taken))
        assert len(taken) == len(set(taken))
        assert not hub.fatal.done()
