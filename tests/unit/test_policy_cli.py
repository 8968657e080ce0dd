import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from hub.surfaces.cli.lookups import generate
from hub.surfaces.cli.policy import policy_app

CONFIG = Path(__file__).parents[2] / "config"
RUNNER = CliRunner()


def run(*arguments: str) -> Result:
    return RUNNER.invoke(policy_app, list(arguments))


def test_check_says_that_the_shipped_directory_is_sound() -> None:
    result = run("check", "--config", str(CONFIG))
    assert result.exit_code == 0
    assert "栖霞区" in result.stdout


def test_check_lists_every_mistake_with_its_line(tmp_path: Path) -> None:
    directory = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    routing = directory / "policy" / "routing.yaml"
    routing.write_text(
        routing.read_text(encoding="utf-8").replace("[gas]", "[gaz]").replace("[heat]", "[heet]"), encoding="utf-8"
    )
    result = run("check", "--config", str(directory))
    assert result.exit_code == 1
    assert "'gaz'" in result.stdout
    assert "'heet'" in result.stdout
    found = json.loads(run("check", "--config", str(directory), "--json").stdout)
    assert not found["ok"]
    assert {problem["file"] for problem in found["problems"]} == {"policy/routing.yaml"}
    assert all(problem["line"] and problem["key"] for problem in found["problems"])


def test_a_broken_directory_stops_the_other_commands_with_the_first_mistake(tmp_path: Path) -> None:
    result = run("explain", "路灯不亮", "--config", str(tmp_path))
    assert result.exit_code == 1
    assert "areas.csv" in result.stderr


def test_explain_names_the_rule_and_line_that_decided() -> None:
    result = run("explain", "夜里广场舞噪音扰民", "--area", "尧化街道", "--config", str(CONFIG))
    assert result.exit_code == 0
    assert "noise-at-night" in result.stdout
    assert "公安" in result.stdout
    found = json.loads(run("explain", "夜里广场舞噪音扰民", "--area", "320113001", "--config", str(CONFIG), "--json").stdout)
    assert found["rule"].startswith("routing.yaml:")
    assert found["targets"][0] == {"unit": "police", "role": "lead", "required": True, "task": "到场劝阻、依法处理"}
    assert found["looked"][-1]["fits"]


def test_explain_can_show_every_rule_looked_at() -> None:
    result = run("explain", "夜里广场舞噪音扰民", "--all", "--config", str(CONFIG))
    assert "gas-leak: category E0504 is not E0401" in result.stdout


@pytest.mark.parametrize(("option", "value"), [("--area", "火星"), ("--category", "X1"), ("--channel", "smoke")])
def test_explain_refuses_what_does_not_exist(option: str, value: str) -> None:
    result = run("explain", "路灯不亮", option, value, "--config", str(CONFIG))
    assert result.exit_code == 2


def test_replay_counts_every_request_once(tmp_path: Path) -> None:
    requests = tmp_path / "requests.csv"
    requests.write_text(
        "id,created_at,title,text,support,against\n"
        "1,2026-03-02T09:00:00+08:00,路灯不亮,尧化街道路灯坏了,0,0\n"
        "2,,楼道有煤气味,燃气泄漏,3,0\n"
        "3,,嗯,无,0,1\n",
        encoding="utf-8",
    )
    found = json.loads(run("replay", str(requests), "--config", str(CONFIG), "--json").stdout)
    assert found["cases"] == 3
    assert sum(row["cases"] for row in found["outcomes"]) == 3
    assert found["backstop"] == 1
    assert {"category": "E0401", "name": "燃气泄漏", "level": "district", "lead": ["gas"], "cases": 1} in found["outcomes"]
    table = run("replay", str(requests), "--config", str(CONFIG))
    assert "3 requests" in table.stdout
    assert "燃气泄漏" in table.stdout


def test_replay_names_the_line_of_a_bad_row(tmp_path: Path) -> None:
    requests = tmp_path / "requests.csv"
    requests.write_text("id,title,text\n1,,没有标题\n", encoding="utf-8")
    result = run("replay", str(requests), "--config", str(CONFIG))
    assert result.exit_code == 1
    assert "title" in result.stderr


def test_publish_without_a_hub_says_so_in_one_line(tmp_path: Path) -> None:
    result = run("publish", "--config", str(CONFIG), "--data", str(tmp_path))
    assert result.exit_code == 1
    assert "no hub runs" in result.stderr


def test_grids_are_generated_for_a_division_file(tmp_path: Path) -> None:
    out = tmp_path / "areas.csv"
    north = Path(__file__).parent / "districts" / "north.csv"
    app = typer.Typer()
    app.command()(generate)
    result = RUNNER.invoke(app, [str(north), "--out", str(out)])
    assert result.exit_code == 0
    assert "990101002498001,第1网格（商业）,grid,990101002498,commercial,0" in out.read_text(encoding="utf-8")
