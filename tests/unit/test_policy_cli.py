import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from hub.config.days import DAYS, year_text
from hub.config.notice import read_notice
from hub.surfaces.cli.days import days
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


ANNOUNCEMENTS = Path(__file__).parent / "days"
READER = typer.Typer()
READER.command()(days)


def read(*arguments: str, text: bytes | None = None) -> Result:
    return RUNNER.invoke(READER, list(arguments), input=text)


def test_an_announcement_is_printed_as_the_file_and_what_sets_no_day_beside_it() -> None:
    result = read(str(ANNOUNCEMENTS / "2025.txt"))
    assert result.exit_code == 0
    announced = read_notice((ANNOUNCEMENTS / "2025.txt").read_text(encoding="utf-8")).announced
    assert announced is not None
    assert result.stdout == year_text(announced)
    assert "set no day, left aside" in result.stderr
    assert "line 11: 请妥善安排值班" in result.stderr


def test_an_announcement_is_read_from_standard_input_in_gb18030() -> None:
    text = (ANNOUNCEMENTS / "2024.txt").read_text(encoding="utf-8").encode("gb18030")
    found = json.loads(read("-", "--json", text=text).stdout)
    assert (found["ok"], found["year"], found["announcement"], found["written"]) == (True, 2024, "国办发明电〔2023〕7号", None)
    assert found["days_off"][1] == {"name": "春节", "first": "2024-02-10", "last": "2024-02-17"}
    assert found["working_days"][:2] == ["2024-02-04", "2024-02-18"]
    assert found["unread"] == found["problems"] == []


def test_an_announcement_not_wholly_read_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    file = tmp_path / "notice.txt"
    text = (ANNOUNCEMENTS / "2025.txt").read_text(encoding="utf-8")
    file.write_text(text.replace("共8天。1月26日（周日）", "共9天。1月26日（周日）另行安排，1月26日（周六）"), encoding="utf-8")
    result = read(str(file), "--write", "--config", str(tmp_path))
    assert result.exit_code == 1
    assert "春节: 8 days off are given, the text counts 9" in result.stderr
    assert "NOT read:\n  line 6: «1月26日(周日)另行安排" in result.stderr
    assert "nothing was written" in result.stderr
    assert not (tmp_path / DAYS).exists()
    found = json.loads(read(str(file), "--json").stdout)
    assert not found["ok"]
    assert found["yaml"].startswith("years:\n  2025:")


def test_announcements_are_written_one_after_the_other(tmp_path: Path) -> None:
    directory = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    for year in (2026, 2024, 2025, 2024):
        result = read(str(ANNOUNCEMENTS / f"{year}.txt"), "--write", "--config", str(directory))
        assert result.exit_code == 0, result.stderr
        assert "hub policy publish" in result.stderr
    text = (directory / DAYS).read_text(encoding="utf-8")
    assert [line.strip(": ") for line in text.splitlines() if line.startswith("  20")] == ["2024", "2025", "2026"]
    checked = json.loads(run("check", "--config", str(directory), "--json").stdout)
    assert checked["ok"]
    assert not any(DAYS + ":" in warning for warning in checked["warnings"])
    (directory / DAYS).write_text(text.replace("2025-01-01", "2025-01-02"), encoding="utf-8")
    refused = read(str(ANNOUNCEMENTS / "2025.txt"), "--write", "--config", str(directory))
    assert refused.exit_code == 1
    assert "stands there already" in refused.stderr.replace("\n", " ")


@pytest.mark.parametrize(("text", "words"), [(None, "can't be read"), (b"PK\x03\x04\0", "plain text"), (b"", "--year")])
def test_a_file_that_is_no_announcement_is_refused_in_a_line(tmp_path: Path, text: bytes | None, words: str) -> None:
    file = tmp_path / "notice"
    if text is not None:
        file.write_bytes(text)
    result = read(str(file))
    assert result.exit_code == 1
    assert words in result.stderr
    assert not result.stdout
