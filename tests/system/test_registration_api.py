"""Registration as its users have it: the HTTP interface and the command line against a serving hub."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.serving import Running, serve
from hub.settings import Settings
from hub.testing.kit import PATIENCE
from tests.system.department import CONFIG
from tests.system.test_registration import SECRET, DeskAdapter


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Running]:
    """A hub without departments, with the desk's plugin installed."""
    settings = Settings(data=tmp_path / "data", config=CONFIG)
    nats = settings.nats.model_copy(update={"port": 0})
    settings = settings.model_copy(update={"nats": nats, "api": settings.api.model_copy(update={"port": 0})})
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def started(running: Running) -> None:
        ready.set_result(running)
        await stop.wait()

    task = asyncio.create_task(serve(settings, adapters=[], plugins=[DeskAdapter], any_port=True, started=started, stop=stop))
    done, _ = await asyncio.wait({ready, task}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    assert ready in done, task
    yield ready.result()
    stop.set()
    await task


@pytest.fixture
async def api(served: Running) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {served.admin_token}"}
    async with httpx.AsyncClient(base_url=f"{served.api_url}/api/v1", headers=headers, trust_env=False) as client:
        yield client


DESK = {"name": "gasworks", "plugin": "desk", "set": {"settings": {"url": "a", "secret": SECRET}, "units": ["gas"]}}


async def test_an_instance_over_http_from_adding_to_removing(api: httpx.AsyncClient) -> None:
    added = await api.post("/adapters", json=DESK)
    assert (added.status_code, added.json()["state"]) == (201, "running")
    assert added.json()["stable"]["settings"] == {"url": "a", "secret": "***"}
    changed = await api.patch("/adapters/gasworks", json={"set": {"settings": {"url": "b"}}, "canary": {"percent": 10}})
    assert changed.json()["candidate"]["settings"]["url"] == "b"
    assert (await api.post("/adapters/gasworks/canary", json={"percent": 50})).json()["canary"] == {"percent": 50}
    assert (await api.post("/adapters/gasworks/promote")).json()["stable"]["settings"]["url"] == "b"
    assert (await api.post("/adapters/gasworks/rollback", json={"note": "错了"})).json()["stable"]["settings"]["url"] == "a"
    assert (await api.post("/adapters/gasworks/drain")).json()["state"] == "drained"
    assert (await api.post("/adapters/gasworks/disable")).json()["state"] == "disabled"
    assert (await api.post("/adapters/gasworks/remove")).json()["removed"] is True
    assert (await api.get("/adapters/gasworks")).status_code == 404


async def test_history_says_who_and_why_and_never_a_secret(api: httpx.AsyncClient) -> None:
    await api.post("/adapters", json=DESK | {"note": "燃气公司接入"})
    await api.patch("/adapters/gasworks", json={"set": {"settings": {"secret": "another-secret"}}})
    history = await api.get("/adapters/gasworks/history")
    assert [(item["action"], item["by"], item["note"]) for item in history.json()["items"]] == [
        ("add", "admin", "燃气公司接入"),
        ("set", "admin", ""),
    ]
    assert SECRET not in history.text
    assert "another-secret" not in history.text


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({**DESK, "name": "a.b"}, 422, "name"),
        ({**DESK, "plugin": "nix"}, 422, "plugin"),
        ({**DESK, "set": {"settings": {"url": "a"}}}, 422, "settings.secret"),
        ({**DESK, "set": {"settings": {"url": "down", "secret": SECRET}}}, 422, "settings"),
        ({**DESK, "set": {"settings": {"url": f"https://desk:{SECRET}@a.cn/", "secret": "x"}}}, 422, "settings.url"),
        ({**DESK, "set": {"setings": {}}}, 422, "set.setings"),
        ({**DESK, "set": {"concurrency": 0}}, 422, "concurrency"),
        ({**DESK, "colour": "red"}, 422, "colour"),
    ],
)
async def test_bad_input_names_the_field_and_repeats_no_secret(
    api: httpx.AsyncClient, body: dict[str, Any], status: int, field: str
) -> None:
    answer = await api.post("/adapters", json=body)
    assert answer.status_code == status
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert SECRET not in answer.text


async def test_only_those_who_run_the_hub_may_change_adapters(api: httpx.AsyncClient, served: Running) -> None:
    for role, area, allowed in (("devops", None, 201), ("clerk", None, 403), ("devops", "320113001", 403)):
        token = (await api.post("/tokens", json={"name": "x", "role": role, "area": area or "320113"})).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = await api.post("/adapters", json={**DESK, "name": f"x{allowed}"}, headers=headers)
        assert answer.status_code == allowed, role


async def test_plugins_are_listed_with_the_schema_of_their_settings(api: httpx.AsyncClient) -> None:
    found = {item["name"]: item for item in (await api.post("/plugins/look")).json()["items"]}
    assert found["desk"]["settings"]["required"] == ["url", "secret"]
    assert found["desk"]["kind"] == "adapter"


def hub(served: Running, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hub.cli", *arguments, "--url", served.api_url, "--token", served.admin_token]
    return subprocess.run(
        [sys.executable, "-c", "import sys; from hub.surfaces.cli import main; main()", *command[3:]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", **(env or {})},
    )


async def test_the_command_line_adds_tries_on_a_part_and_takes_back(served: Running, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")

    async def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(hub, served, *arguments, env=env)

    added = await run(
        "adapter", "add", "gasworks", "--plugin", "desk", "--unit", "gas", "--set", "url=a", "--secret-file", f"secret={file}"
    )
    assert added.returncode == 0, added.stderr
    assert SECRET not in added.stdout
    changed = await run(
        "adapter", "set", "gasworks", "--secret-env", "secret=NEW", "--canary", "10%", "--json", env={"NEW": "another"}
    )
    assert json.loads(changed.stdout)["canary"] == {"percent": 10}
    assert (await run("adapter", "rollback", "gasworks")).returncode == 0
    assert json.loads((await run("adapter", "drain", "gasworks", "--wait", "--json")).stdout)["state"] == "drained"
    listed = await run("adapter", "list")
    assert "gasworks" in listed.stdout
    assert "已排空" in listed.stdout
    refused = await run("adapter", "remove", "gasworks", "--yes")
    assert (refused.returncode, "disable it first" in refused.stderr) == (1, True)
    missing = await run("adapter", "set", "gasworks", "--secret-env", "secret=NOPE")
    assert "NOPE is not set" in missing.stderr
