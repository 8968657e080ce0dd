"""What `hub plugin new` refuses, and what it says; the plugins it writes are tested in tests/system/test_new_plugin.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.errors import InvalidInput
from hub.surfaces.cli import app
from hub.workshop.scaffold import Kind, NewPlugin, write


def new(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["plugin", "new", *words])
    return result.exit_code, result.output


def test_new_plugin_is_written_without_git_and_without_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    status, said = new("street_trees", "--department", "园林", "--yes")
    assert status == 0, said
    directory = tmp_path / "hub-street-trees"
    assert 'street_trees = "hub_street_trees"' in (directory / "pyproject.toml").read_text(encoding="utf-8")
    assert (directory / "hub_street_trees" / "py.typed").is_file()
    assert "class StreetTreesAdapter(Adapter)" in (directory / "hub_street_trees" / "adapter.py").read_text(encoding="utf-8")
    assert [line.strip().split()[0] for line in said.splitlines()[-3:]] == ["cd", "python", "python"], "the next three commands"


@pytest.mark.parametrize("kind", Kind)
def test_nothing_of_the_template_is_left_in_what_is_written(kind: Kind, tmp_path: Path) -> None:
    directory = write(NewPlugin(name="trees", kind=kind, department="园林", owner="信息科", into=tmp_path / "new"))
    for file in directory.rglob("*"):
        assert "{{" not in file.name
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            assert "{%" not in text, file
            assert "jinja" not in text, file
    readme = (directory / "README.md").read_text(encoding="utf-8")
    for heading in ("## Install", "## Settings", "## Remove", "## Known limitations"):
        assert heading in readme
    for line in readme.splitlines():
        if line.startswith("| `"):
            assert line.split("`")[1] in (directory / "hub_trees" / "adapter.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["Trees", "1trees", "class", "a-b", "../x", "", "x" * 25, "a__b", "a_"])
def test_name_that_is_no_plugin_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refusal:
        write(NewPlugin(name=name, into=tmp_path / "new"))
    assert refusal.value.subject == "name"
    assert not (tmp_path / "new").exists()


def test_name_of_an_installed_plugin_is_refused(tmp_path: Path) -> None:
    status, said = new("hotline", "--into", str(tmp_path / "new"), "--yes")
    assert status == 1
    assert "installed already" in said


def test_directory_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    status, said = new("trees", "--into", str(tmp_path), "--yes")
    assert status == 1
    assert "not empty" in said
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("field", ["department", "owner"])
@pytest.mark.parametrize("text", ['a"b', "a\nb", "{{ 1 }}", "一" * 61])
def test_text_that_would_break_the_code_is_refused(field: str, text: str, tmp_path: Path) -> None:
    given: dict[str, str] = {field: text}
    with pytest.raises(InvalidInput) as refusal:
        write(NewPlugin(name="trees", into=tmp_path / "new", **given))  # type: ignore[arg-type]
    assert refusal.value.subject == field


def test_installed_plugins_are_listed_and_checked() -> None:
    listed = CliRunner().invoke(app, ["plugin", "list", "--json"])
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows["hotline"]["kind"] == "adapter"
    assert "url" in rows["hotline"]["settings"]
    checked = CliRunner().invoke(app, ["plugin", "check", "hotline"])
    assert checked.exit_code == 0
    assert checked.stdout.startswith("✓ hotline")
    missing = CliRunner().invoke(app, ["plugin", "check", "no_such"])
    assert missing.exit_code == 1
    assert "no plugin named no_such" in missing.output
