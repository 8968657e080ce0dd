"""What is graded: a plugin's class, its package, its documentation, and what its own tests prove when they are run.

Owns finding these things and running the tests. Refuses with InvalidInput when a plugin has no package of its own.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree as etree

from hub.contract import Plugin
from hub.errors import InvalidInput

REPORT = "grade.json"
TESTS_WITHIN = 900
"""Seconds the plugin's own tests get."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the plugin's tests showed. `results`: test name without parameters → all of its runs passed, and at least one ran."""

    results: Mapping[str, bool] = field(default_factory=dict)
    coverage: float | None = None
    """Percent of the lines of the adapter's own code."""
    error: str = ""
    """Why there is no proof."""
    typing: str | None = None
    """What `mypy --strict` says first; None: nothing, or it was not asked."""

    def passed(self, *names: str) -> list[str]:
        """Those of the tests that did not run or did not pass; empty: all are proved."""
        return [name for name in names if not self.results.get(name)]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One plugin."""

    kind: type[Plugin]
    package: Path
    """Directory of its Python package."""
    root: Path | None
    """Directory of its source with pyproject.toml, README and tests; None when only the package is installed."""
    proof: Proof = field(default_factory=Proof)

    @cached_property
    def readme(self) -> str:
        """Its README, all languages together; empty when there is none."""
        files = sorted(self.root.glob("README*.md")) if self.root is not None else []
        return "\n".join(file.read_text(encoding="utf-8") for file in files)

    @cached_property
    def modules(self) -> Mapping[str, ast.Module]:
        """The modules that run in the hub: the adapter's own and what it imports of its package."""
        name = self.package.name
        waiting, found = [self.kind.__module__], dict[str, ast.Module]()
        while waiting:
            module = waiting.pop()
            file = self._file(module)
            if module in found or file is None:
                continue
            found[module] = tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
            waiting += [one for one in _imports(tree, module) if one == name or one.startswith(f"{name}.")]
        return found

    @cached_property
    def simulator(self) -> str:
        """The source of the simulator module; empty when there is none."""
        file = self.package / "simulator.py"
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    def _file(self, module: str) -> Path | None:
        parts = module.split(".")[1:]
        base = self.package.joinpath(*parts)
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                return file
        return None

    def files(self) -> list[Path]:
        """The modules' files."""
        return [file for module in self.modules if (file := self._file(module)) is not None]


def subject_of(kind: type[Plugin]) -> Subject:
    """The plugin's package and, where it is installed from source, the directory around it. Raises InvalidInput."""
    module = inspect.getmodule(kind)
    file = getattr(module, "__file__", None)
    if module is None or file is None or "." not in f"{module.__name__}.":
        raise InvalidInput(f"{kind.__qualname__} has no file", subject="plugin")
    package = Path(file).resolve().parents[module.__name__.count(".") - 1] if "." in module.__name__ else Path(file).resolve()
    if package.is_file() or not (package / "__init__.py").is_file():
        raise InvalidInput(f"{kind.manifest.name} is no package of its own", subject="plugin")
    root = next((one for one in (package.parent, package.parent.parent) if (one / "pyproject.toml").is_file()), None)
    return Subject(kind=kind, package=package, root=root)


def digest_of(package: Path) -> str:
    """A hash over the package's files, the report itself aside."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*")):
        if file.is_file() and file.name != REPORT and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(package).as_posix()}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def prove(subject: Subject) -> Proof:
    """Run the plugin's own tests with coverage of the code that runs in the hub; blocks for as long as they take."""
    tests = subject.root / "tests" if subject.root is not None else None
    if tests is None or not tests.is_dir():
        return Proof(error="its tests are not here: grade it from its source directory")
    with tempfile.TemporaryDirectory(prefix="hub-grade-") as directory:
        results, coverage, settings = (Path(directory) / name for name in ("results.xml", "coverage.json", "coveragerc"))
        include = "\n    ".join(str(file) for file in subject.files())
        settings.write_text(
            f"[run]\ndata_file = {directory}/data\nparallel = true\nbranch = false\ninclude =\n    {include}\n",
            encoding="utf-8",
        )
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)),
            *(f"--junitxml={results}", f"--cov-config={settings}", "--cov", f"--cov-report=json:{coverage}"),
        ]
        try:
            ran = subprocess.run(
                command,
                cwd=subject.root,
                capture_output=True,
                text=True,
                timeout=TESTS_WITHIN,
                check=False,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        except subprocess.TimeoutExpired:
            return Proof(error=f"its tests took more than {TESTS_WITHIN} s")
        if not results.is_file():
            return Proof(error=f"its tests do not run: {ran.stdout[-500:]}{ran.stderr[-500:]}".strip())
        typing = _typing(subject)
        covered = json.loads(coverage.read_text())["totals"]["percent_covered"] if coverage.is_file() else None
        return Proof(results=_results(results), coverage=covered, typing=typing)


def _typing(subject: Subject) -> str | None:
    with tempfile.TemporaryDirectory(prefix="hub-grade-") as cache:
        ran = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", cache, "-p", subject.package.name],
            capture_output=True,
            text=True,
            timeout=TESTS_WITHIN,
            check=False,
            cwd=subject.root,
        )
    return None if ran.returncode == 0 else (ran.stdout or ran.stderr).strip().splitlines()[0]


def _results(file: Path) -> dict[str, bool]:
    """Test name → passed, from a JUnit file that was written just now by our own pytest."""
    found: dict[str, bool] = {}
    for case in etree.parse(file).getroot().iter("testcase"):  # noqa: S314 - our own file
        name = (case.get("name") or "").partition("[")[0]
        passed = not any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))
        found[name] = found.get(name, True) and passed
    return found


def _imports(tree: ast.Module, module: str) -> Iterator[str]:
    package = module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(part for part in (package, base) if part)
            yield base
            yield from (f"{base}.{name.name}" for name in node.names)
