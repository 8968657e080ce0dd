"""What lies in deploy/ works with the programs it is for."""

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from hub.bus import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def test_the_nats_configuration_is_valid_and_flushes_before_it_acknowledges() -> None:
    server = Path(sys.executable).with_name("nats-server")
    secrets = {"NATS_SERVER_NAME": "nats-1", "NATS_HUB_PASSWORD": "a", "NATS_SYS_PASSWORD": "b"}
    result = subprocess.run(
        [server, "-t", "-c", DEPLOY / "nats.conf"], env={**os.environ, **secrets}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "sync_interval: always" in (DEPLOY / "nats.conf").read_text()


def test_the_nats_configuration_takes_messages_as_large_as_the_embedded_server_does(tmp_path: Path) -> None:
    embedded = EmbeddedServer(tmp_path)._config(1, "x")
    (most,) = re.findall(r"max_payload: \S+", embedded)
    assert most in (DEPLOY / "nats.conf").read_text().splitlines()


def test_the_compose_file_names_only_files_that_are_there() -> None:
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert (ROOT / services["hub"]["build"]["dockerfile"]).is_file()
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source


def test_the_service_runs_the_real_command_line() -> None:
    import typer.main

    from hub.surfaces.cli import app

    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "hub.service")
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "hub"
    command: Any = typer.main.get_command(app)
    with command.commands[words[0]].make_context(words[0], words[1:]):
        pass


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert "make test" in script.read_text()
