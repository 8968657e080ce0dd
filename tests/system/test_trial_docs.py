"""docs/plugins/trying.md: every command of the page is typed, in order, with the exit code the page says."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hub_utilities import UtilitiesAdapter

from hub.contract import AdapterInstance
from hub.platform.trial.trying import try_plugin
from hub.testing.cassette import Cassette, replaying
from hub.testing.process import SimulatorProcess
from tests.system.test_trial import SECRET, adapter_settings, run, serving

DOCS = Path(__file__).parents[2] / "docs" / "plugins"
BLOCK = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8090"
MAIN = "import sys; from hub.surfaces.cli import main; main()"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(
        "hub_utilities.simulator", tmp_path / "platform", secret=SECRET, options=("--pace", "600")
    ) as process:
        yield process


def steps(page: Path) -> Iterator[tuple[str, str]]:
    """The page's blocks of commands and of JSON, in order."""
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match["language"] == "console":
            yield from (("type", line.removeprefix("$ ")) for line in match["text"].splitlines())
        elif match["language"] == "json":
            yield "write", match["text"]


async def test_every_command_of_the_page_does_what_it_says(tmp_path: Path, platform: SimulatorProcess) -> None:
    typed: list[tuple[str, int]] = []
    instance = AdapterInstance(
        name="works", plugin="utilities", settings=adapter_settings(platform.url, SECRET), units=("water", "gas")
    )
    async with serving(tmp_path / "hub", [instance]) as served:
        for what, text in steps(DOCS / "trying.md"):
            if what == "write":
                (tmp_path / "sample.json").write_text(text, encoding="utf-8")
                continue
            program, *words = shlex.split(text.replace(ADDRESS, platform.url))
            words = [str(tmp_path / word) if word.endswith(".json") and not word.startswith("{") else word for word in words]
            if program == "python":
                assert words[:2] == ["-m", platform.module], "the simulator of the page is the one that runs"
            elif program == "curl":
                url = next(word for word in words if word.startswith("http"))
                async with httpx.AsyncClient(trust_env=False) as client:
                    (await client.post(url, json=json.loads(words[words.index("--json") + 1]))).raise_for_status()
            else:
                environment = {"WORKS_SECRET": SECRET, "HUB_URL": served.api_url, "HUB_TOKEN": served.admin_token}
                done = await run([sys.executable, "-c", MAIN, *words], **environment)
                assert SECRET not in done.stdout + done.stderr
                typed.append((text, done.returncode))
    fault = [number for number, (text, code) in enumerate(typed) if code != 0]
    assert fault == [4], typed
    recorded = Cassette.load(tmp_path / "tests" / "cassettes" / "sample.cassette.json")
    department = replaying(recorded)
    again = AdapterInstance(name="utilities", plugin="utilities", settings=adapter_settings("http://department.invalid", "x"))
    trial = await try_plugin(UtilitiesAdapter, again, assignment=recorded.assignment, transport=department)
    department.check_all_played()
    assert trial.ok


def test_the_chinese_page_has_the_headings_and_the_code_of_the_english_one() -> None:
    chinese, english = ((DOCS / f"trying{end}").read_text(encoding="utf-8") for end in (".zh-CN.md", ".md"))
    blocks = [[(match["language"], match["text"]) for match in BLOCK.finditer(text)] for text in (chinese, english)]
    assert blocks[0] == blocks[1]
    levels = [[len(found) for found in re.findall(r"^(#+) ", BLOCK.sub("", text), re.MULTILINE)] for text in (chinese, english)]
    assert levels[0] == levels[1]
