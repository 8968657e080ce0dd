"""The documentation is tested: generated parts are current, commands parse, Python runs, links lead somewhere."""

import asyncio
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import hub
from hub import hookspecs
from hub.bus.permissions import exports_block
from hub.settings import Settings
from tests.unit.api_world import served

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)\s]+)\)")


def pages() -> list[Path]:
    found = [
        *DOCS.glob("*.md"),
        *DOCS.glob("plugins/*.md"),
        *ROOT.glob("README*.md"),
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
    ]
    return [page for page in sorted(found) if page.is_file()]


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    for page in pages():
        for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if match["language"] == language:
                yield page, match["text"]


def commands(program: str) -> list[tuple[str, str]]:
    """Every line a reader is told to type that runs `program`, with its page."""
    found = []
    for page, text in blocks("console"):
        for line in text.splitlines():
            words = line.removeprefix("$ ").removesuffix(" &").split(" ", 1)
            if line.startswith("$ ") and Path(words[0]).name == program:
                found.append((page.name, words[1] if len(words) > 1 else ""))
    return found


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.name))
def test_generated_parts_are_up_to_date(generate: ModuleType, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert generate.rendered(text) == text, "run `python docs/generate.py`"


def test_every_setting_is_documented(generate: ModuleType) -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    for name, variable, _default, help in generate._settings(Settings):
        assert f"| `{name}` | `HUB_{variable}` |" in page
        assert help, f"{name} has no description"


@pytest.mark.parametrize("name", ["reference.md", "reference.zh-CN.md"])
def test_every_hook_is_documented_with_its_signature(name: str) -> None:
    page = (DOCS / "plugins" / name).read_text(encoding="utf-8")
    hooks = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, f"{hookspecs.PROJECT}_spec")}
    assert hooks
    for name, hook in hooks.items():
        signature = str(inspect.signature(hook)).replace("'", "")
        assert f"```text\n{name}{signature}\n```" in page


def test_everything_plugin_authors_import_is_in_the_reference() -> None:
    page = (DOCS / "plugins" / "reference.md").read_text(encoding="utf-8")
    named_elsewhere = {"API_VERSION", "__version__", "hookimpl", "DeliveryError", "HubError", "Channel", "Role", "Severity"}
    named_elsewhere |= {"Manifest"}  # has a section of its own
    missing = [name for name in hub.__all__ if name not in named_elsewhere and name not in page]
    assert not missing


def test_every_sentence_of_the_reference_has_its_chinese(generate: ModuleType) -> None:
    reference = generate._sibling("plugin_reference")
    asked, there = reference.names(), set(reference.chinese())
    assert not asked - there, "add them to docs/plugins/reference.zh-CN.yaml"
    assert not there - asked, "these are not needed any more"
    for name, sentence in reference.chinese().items():
        assert re.search(r"[\u4e00-\u9fff]", sentence) or name == "Notice.stage", name


@pytest.mark.parametrize("name", ["tutorial", "reference", "cookbook", "compatibility", "migration"])
def test_chinese_page_has_the_headings_and_the_code_of_the_english_one(name: str) -> None:
    chinese, english = ((DOCS / "plugins" / f"{name}{end}").read_text(encoding="utf-8") for end in (".zh-CN.md", ".md"))
    for language in ("python", "console", "diff", "toml", "yaml"):
        assert code(chinese, language) == code(english, language), language
    levels = [[len(found) for found in re.findall(r"^(#+) ", BLOCK.sub("", text), re.MULTILINE)] for text in (chinese, english)]
    assert levels[0] == levels[1]


def code(text: str, language: str) -> list[str]:
    return [match["text"] for match in BLOCK.finditer(text) if match["language"] == language]


def root_command() -> Any:
    import typer.main

    from hub.surfaces.cli import whole

    return typer.main.get_command(whole())


@pytest.mark.parametrize(("page", "line"), commands("hub"), ids=lambda value: str(value)[:60])
def test_every_command_parses(page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed by the real command line, not run; a placeholder such as CASE counts as a value."""
    for word in shlex.split(line):
        if word.endswith(".csv"):
            (tmp_path / word).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / word).touch()
    monkeypatch.chdir(tmp_path)
    command, words, name = root_command(), shlex.split(line), "hub"
    while hasattr(command, "commands"):
        assert words, f"{page}: `hub {line}` names no command"
        name = words.pop(0)
        assert name in command.commands, f"{page}: `hub {line}`: there is no {name}"
        command = command.commands[name]
    with command.make_context(name, words) as context:
        assert context.params, page


@pytest.mark.parametrize(("page", "line"), commands("make"), ids=lambda value: str(value)[:60])
def test_every_make_target_exists(page: str, line: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert line.split()[0] in targets, page


def test_python_blocks_compile() -> None:
    found = list(blocks("python"))
    assert found
    for page, text in found:
        compile(text, page.name, "exec")


def test_data_blocks_are_well_formed() -> None:
    for _page, text in blocks("toml"):
        tomllib.loads(text)
    for _page, text in blocks("yaml"):
        yaml.safe_load(text)


def test_the_documented_plugin_passes_the_contract_suite(tmp_path: Path) -> None:
    """The blocks that name a file are written to it, and its own test is run."""
    for text in code((DOCS / "plugins" / "cookbook.md").read_text(encoding="utf-8"), "python"):
        first = text.splitlines()[0]
        if first.startswith("# ") and first.endswith(".py") and not first.startswith("# recipes/"):
            file = tmp_path / first.removeprefix("# ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    (tmp_path / "hub_greenery" / "__init__.py").touch()
    project = next(
        text for text in code((DOCS / "plugins" / "cookbook.md").read_text(encoding="utf-8"), "toml") if "hub-greenery" in text
    )
    (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_other_python_blocks_can_be_imported(tmp_path: Path) -> None:
    for number, (page, text) in enumerate(blocks("python")):
        if text.startswith("# ") and not text.startswith("# recipes/"):
            continue
        file = tmp_path / f"block_{number}.py"
        file.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None, page
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


async def test_the_example_of_the_interface_opens_a_case_and_says_its_id(tmp_path: Path) -> None:
    (text,) = [text for page, text in blocks("python") if page.name == "api.md" and "def report_lamp" in text]
    example: dict[str, Any] = {}
    exec(compile(text.partition("if __name__")[0], "docs/api.md", "exec"), example)
    async with served(tmp_path) as (world, client):
        hub_url = str(client.base_url).removesuffix("/api/v1/")
        id = await asyncio.to_thread(example["report_lamp"], hub_url, world.secrets["admin"])
        answer = await client.get(f"/cases/{id}", headers=world.as_("admin"))
        assert answer.json()["title"] == "路灯不亮"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def written() -> list[Path]:
    """Every page people read, those beside the code too."""
    beside = [*ROOT.glob("plugins/*/README*.md"), *ROOT.glob("hub/*/README*.md"), *ROOT.glob("config/README*.md")]
    return sorted({*pages(), *DOCS.rglob("*.md"), *beside})


def test_every_link_leads_somewhere() -> None:
    broken = []
    for page in written():
        for match in LINK.finditer(BLOCK.sub("", page.read_text(encoding="utf-8"))):
            target, _, anchor = match["target"].partition("#")
            if target.startswith(("http://", "https://")):
                continue
            file = (page.parent / target).resolve() if target else page
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
                broken.append(f"{page.relative_to(ROOT)}: {match['target']}")
    assert not broken


def test_every_file_of_the_code_that_a_page_names_is_there() -> None:
    """A plugin's or a recipe's own files are named without their room; former names stand in the notes of a change only."""
    told_of_before = {ROOT / "CHANGELOG.md", *DOCS.glob("plugins/migration*.md")}
    gone = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in set(written()) - told_of_before
        for name in re.findall(
            r"`(hub/[\w/.-]+|(?:plugins|docs|config|deploy)/[\w/-]+\.\w+)`", BLOCK.sub("", page.read_text(encoding="utf-8"))
        )
        if not (ROOT / name).exists()
    ]
    assert not gone


def test_the_account_for_the_hub_is_written_down_as_the_adapters_need_it() -> None:
    page = (DOCS / "devops.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in exports_block().splitlines() if "service" in line]
    assert lines
    assert not [line for line in lines if line not in page]
