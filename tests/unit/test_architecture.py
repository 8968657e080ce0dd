"""The rules of the architecture that a program can check: who imports, who constructs, who catches, how long a file is."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HUB = ROOT / "hub"
PLUGINS = ROOT / "plugins"

CATCHES_ALL = ("hub/platform/adapters/", "hub/app.py", "hub/surfaces/cli/")
"""Where any exception may be caught: at the plugins' border, and at the border of the process."""

CONSTRUCTS = ("hub/app.py",)
STAGES = {
    "hub.spine.ways_in.intake": "Intake",
    "hub.spine.effects.linkage": "Linkage",
    "hub.spine.dispatch": "Dispatch",
    "hub.spine.ways_in.reportback": "ReportBack",
    "hub.spine.ways_in.deadlines": "Deadlines",
    "hub.spine.ledger.desk": "Desk",
    "hub.spine.ledger.store": "Ledger",
}
DEPARTMENTS = ("police", "hotline", "property", "utilities")


def path_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def sources() -> list[Path]:
    return sorted(HUB.rglob("*.py"))


def plugin_sources() -> list[Path]:
    return sorted(file for file in PLUGINS.rglob("*.py") if "tests" not in file.parts)


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_the_import_contracts_hold() -> None:
    checker = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [checker, "--config", "pyproject.toml"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_the_bus_imports_nats() -> None:
    found = {
        path_of(file)
        for file in (*sources(), *plugin_sources())
        if any(name.split(".")[0] == "nats" for name in imports_of(file)) and not path_of(file).startswith("hub/bus/")
    }
    assert not found


def test_plugins_import_only_what_plugin_authors_may() -> None:
    """A plugin's adapter uses `hub` and, for webhooks, `hub.webhooks`; its simulator and tests also `hub.testing`."""
    found = {
        f"{path_of(file)}: {name}"
        for file in plugin_sources()
        for name in imports_of(file)
        if name.startswith("hub.") and not name.startswith(("hub.testing", "hub.webhooks"))
    }
    assert not found


def test_only_the_composition_root_constructs_the_stages() -> None:
    names = set(STAGES.values())
    found = {
        f"{path_of(file)}:{node.lineno} {node.func.id}"
        for file in sources()
        if path_of(file) not in CONSTRUCTS
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    }
    assert not found


def test_only_the_borders_catch_everything() -> None:
    found = {
        f"{path_of(file)}:{node.lineno}"
        for file in sources()
        if not path_of(file).startswith(CATCHES_ALL)
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ExceptHandler) and catches_all(node)
    }
    assert not found


def catches_all(node: ast.ExceptHandler) -> bool:
    """Whether an `except` takes any exception and does not raise it again."""
    if any(isinstance(inner, ast.Raise) and inner.exc is None for inner in node.body):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in kinds)


def test_every_public_name_has_a_docstring() -> None:
    found = {
        f"{path_of(file)}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', 'module')}"
        for file in (*sources(), *plugin_sources())
        for node in public_nodes(tree_of(file))
        if not ast.get_docstring(node)
    }
    assert not found


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public_nodes(tree: ast.Module) -> Iterator[Documented]:
    """The module, its public classes and functions, and the public methods of those classes."""
    yield tree
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    inner
                    for inner in node.body
                    if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) and not inner.name.startswith("_")
                    if not any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in inner.decorator_list)
                )


def test_the_product_knows_no_department_by_name() -> None:
    """Departments are configuration and plugins. `hotline` is also a channel, `property` also Python's decorator."""
    found = {
        f"{path_of(file)}:{node.lineno} {node.value!r}"
        for file in sources()
        if not path_of(file).startswith("hub/demo/")
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in DEPARTMENTS
        if not is_channel(file, node.value)
    }
    assert not found
    assert not {
        f"{path_of(file)}: {name}"
        for file in sources()
        for name in imports_of(file)
        if re.match(rf"hub_({'|'.join(DEPARTMENTS)})\b", name)
    }


def test_no_departments_name_occurs_in_the_hub() -> None:
    """Not in an example of the help either. The demo is the demo district's; the channel 12345 hotline is one of the hub's own."""
    own = re.compile(
        r"@(functools\.)?(cached_)?property\b|import cached_property|channel hotline|HOTLINE = \"hotline\"|\"hotline\": \"12345热线\""
    )
    word = re.compile(rf"\b({'|'.join(DEPARTMENTS)})\b", re.IGNORECASE)
    found = [
        f"{path_of(file)}:{number}"
        for file in sorted(HUB.rglob("*"))
        if file.suffix in (".py", ".jinja", ".yml", ".yaml", ".toml", ".md") and HUB / "demo" not in file.parents
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if word.search(re.sub(r"Channel\.HOTLINE", "", own.sub("", line)))
    ]
    assert not found


def is_channel(file: Path, word: str) -> bool:
    return word == "hotline" and path_of(file) in ("hub/model/case/state.py", "hub/model/words.py")


@pytest.mark.parametrize("folder", ["hub", "plugins", "tests"])
def test_no_file_is_longer_than_500_lines(folder: str) -> None:
    lengths = {
        path_of(file): len(file.read_text(encoding="utf-8").splitlines())
        for file in (ROOT / folder).rglob("*.py")
        if ".venv" not in file.parts
    }
    assert not {path: length for path, length in lengths.items() if length > 500}


def test_no_top_level_code_has_effects() -> None:
    """A module imports, defines and assigns; calls at import time would be effects."""
    defines = (
        ast.Import,
        ast.ImportFrom,
        ast.ClassDef,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.Assign,
        ast.AnnAssign,
        ast.If,
    )
    found = {
        f"{path_of(file)}:{node.lineno}"
        for file in sources()
        for node in tree_of(file).body
        if not isinstance(node, defines) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    }
    assert not found
