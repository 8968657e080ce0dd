"""A new plugin of every kind passes its own tests, mypy and ruff as it is written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.workshop.scaffold import Kind, NewPlugin, write

pytestmark = pytest.mark.timeout(400)  # four suites at once, on two cores that others use too
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    """One new plugin of each kind, with short and long names."""
    root = tmp_path_factory.mktemp("plugins")
    names = {Kind.HTTP: "trees", Kind.SOAP: "soapy", Kind.POLLING: "z" * 24, Kind.PAGE: "yard_keepers", Kind.TABLE: "lists"}
    return {
        kind: write(
            NewPlugin(
                name=name,
                kind=kind,
                department="一二三四五六七八九十" * (2 if kind in (Kind.POLLING, Kind.SOAP) else 1),
                into=root / kind.value,
                owner="信息科",
            )
        )
        for kind, name in names.items()
    }


@pytest.fixture(scope="module")
def tested(written: dict[Kind, Path]) -> Iterator[dict[Kind, Future[subprocess.CompletedProcess[str]]]]:
    """Their own tests, run at the same time: they wait more than they compute."""
    with ThreadPoolExecutor(len(written)) as pool:
        command = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
        yield {kind: pool.submit(called, where, *command) for kind, where in written.items() if kind is not Kind.HTTP}


def called(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=directory, capture_output=True, text=True, check=False, timeout=300,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
    )  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.HTTP])  # the tutorial runs those of http
def test_new_plugin_passes_its_own_tests_at_once(
    kind: Kind, tested: dict[Kind, Future[subprocess.CompletedProcess[str]]]
) -> None:
    result = tested[kind].result()
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout


def test_new_plugins_are_typed_strictly(written: dict[Kind, Path]) -> None:
    packages = [next(directory.glob("hub_*")) for directory in written.values()]
    # What the check of the hub has found out about the hub is not found out again.
    result = called(written[Kind.SOAP], "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache"), *map(str, packages))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("kind", Kind)
def test_new_plugin_is_linted_and_formatted(kind: Kind, written: dict[Kind, Path]) -> None:
    for command in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        result = called(written[kind], "-m", "ruff", *command, ".")
        assert result.returncode == 0, result.stdout + result.stderr
