"""Trials as their users have them: the HTTP interface, the command line and registration, against a serving hub and a real simulator."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hub_utilities.simulator import adapter_settings

from hub.contract import AdapterInstance, Feedback, FeedbackKind
from hub.serving import Running, serve
from hub.settings import Settings
from hub.testing.cassette import Cassette
from hub.testing.kit import PATIENCE
from hub.testing.process import SimulatorProcess
from tests.system.department import CONFIG, Department, running_hub, scripted

SECRET = "utilities trial/secret+1="


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(
        "hub_utilities.simulator", tmp_path_factory.mktemp("platform"), secret=SECRET, options=("--pace", "600")
    ) as process:
        yield process


@pytest.fixture
def platform(started: SimulatorProcess) -> SimulatorProcess:
    started.clear_faults()
    return started


@asynccontextmanager
async def serving(path: Path, instances: list[AdapterInstance]) -> AsyncIterator[Running]:
    settings = Settings(data=path / "data", config=CONFIG)
    nats = settings.nats.model_copy(update={"port": 0})
    settings = settings.model_copy(update={"nats": nats, "api": settings.api.model_copy(update={"port": 0})})
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def up(running: Running) -> None:
        ready.set_result(running)
        await stop.wait()

    task = asyncio.create_task(serve(settings, adapters=instances, any_port=True, started=up, stop=stop))
    done, _ = await asyncio.wait({ready, task}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    assert ready in done, task
    yield ready.result()
    stop.set()
    await task


def utilities(platform: SimulatorProcess, **changes: Any) -> AdapterInstance:
    settings = dict(adapter_settings(platform.url, SECRET)) | changes
    return AdapterInstance(name="works", plugin="utilities", settings=settings, units=("gas",))


@pytest.fixture
async def served(tmp_path: Path, platform: SimulatorProcess) -> AsyncIterator[Running]:
    async with serving(tmp_path, [utilities(platform)]) as running:
        yield running


@pytest.fixture
async def api(served: Running) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {served.admin_token}"}
    async with httpx.AsyncClient(base_url=f"{served.api_url}/api/v1", headers=headers, trust_env=False, timeout=60) as client:
        yield client


async def hub(served: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from hub.surfaces.cli import main; main()", *arguments]
    return await run([*command, "--url", served.api_url, "--token", served.admin_token])


async def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def sample_of(platform: SimulatorProcess, trial: dict[str, Any]) -> dict[str, Any]:
    return next(ticket for ticket in platform.tickets() if ticket["key"] == trial["assignment"]["key"])


async def test_a_sample_is_handed_over_and_taken_back_and_no_case_knows_of_it(
    api: httpx.AsyncClient, platform: SimulatorProcess
) -> None:
    answer = await api.post("/adapters/works/try", json={"sample": True, "record": True})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    trial = found["trial"]
    assert (found["ok"], trial["outcome"]) == (True, "recalled"), found["text"]
    assert [call["call"] for call in trial["calls"]] == ["start", "health", "deliver", "lookup", "recall"]
    assert trial["assignment"]["title"].startswith("【测试】")
    assert (trial["assignment"]["unit"], sample_of(platform, trial)["state"]) == ("gas", "recalled")
    assert (await api.get("/cases")).json()["items"] == []
    assert (await api.get("/repairs")).json()["items"] == []
    assert trial["trace"]["spans"] >= 10
    assert SECRET not in answer.text
    assert Cassette.of_text(found["cassette"]).ticket == trial["ticket"]


async def test_every_try_is_shown_with_its_error_and_what_dispatch_would_do(
    api: httpx.AsyncClient, platform: SimulatorProcess
) -> None:
    await api.post("/adapters/works/try")
    platform.fault("error", count=20)
    found = (await api.post("/adapters/works/try", json={"sample": True})).json()
    assert found["ok"] is False
    deliveries = [call for call in found["trial"]["calls"] if call["call"] == "deliver"]
    assert [call["number"] for call in deliveries] == [1, 2, 3]
    problem = deliveries[-1]["problem"]
    assert (problem["error"], problem["disposition"], problem["status"]) == ("Unavailable", "retry", 500)
    assert (problem["next"]["what"], problem["next"]["after"]) == ("again", [0, 5])
    assert [exchange["answer"]["status"] for call in deliveries for exchange in call["exchanges"]] == [500, 500, 500]


async def test_a_sample_of_ones_own_is_marked_and_left_there_on_request(
    api: httpx.AsyncClient, platform: SimulatorProcess
) -> None:
    body = {"sample": {"title": "管道漏水", "unit": "water", "contact": {"phone": "13912345678"}}, "recall": False}
    answer = await api.post("/adapters/works/try", json=body)
    trial = answer.json()["trial"]
    assert (trial["outcome"], trial["assignment"]["title"]) == ("filed", "【测试】管道漏水")
    assert (sample_of(platform, trial)["state"], sample_of(platform, trial)["unit"]) == ("received", "water")
    assert "13912345678" not in answer.text


async def test_bad_input_names_the_field(api: httpx.AsyncClient) -> None:
    for body, field in (
        ({"sample": {"colour": "red"}}, "sample.colour"),
        ({"sample": {"severity": "odd"}}, "sample.severity"),
        ({"candidate": True}, "candidate"),
        ({"smaple": True}, "smaple"),
    ):
        answer = await api.post("/adapters/works/try", json=body)
        assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


async def test_only_those_who_run_the_whole_hub_may_try(api: httpx.AsyncClient) -> None:
    assert (await api.post("/adapters/nobody/try")).status_code == 404
    for role, area, allowed in (("devops", "320113", 200), ("clerk", "320113", 403), ("devops", "320113001", 403)):
        token = (await api.post("/tokens", json={"name": "x", "role": role, "area": area})).json()["token"]
        answer = await api.post("/adapters/works/try", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == allowed, role


async def test_the_command_shows_what_went_over_the_wire_and_records_it(
    served: Running, platform: SimulatorProcess, tmp_path: Path
) -> None:
    file = tmp_path / "cassettes" / "sample.cassette.json"
    shown = await hub(served, "adapter", "try", "works", "--sample", "default", "--record", str(file))
    assert shown.returncode == 0, shown.stderr
    for words in ("POST", "/work-orders", "idempotency-key", "201", "【测试】", "authorization: Bearer ***", "链路"):
        assert words in shown.stdout
    assert SECRET not in shown.stdout + file.read_text()
    assert len(Cassette.load(file).exchanges) == 5
    platform.fault("bad_credentials", count=20)
    refused = await hub(served, "adapter", "try", "works", "--json")
    assert (refused.returncode, json.loads(refused.stdout)["outcome"]) == (1, "unusable")
    assert refused.stderr.startswith("hub: tried: ")


async def test_a_plugin_is_tried_without_a_hub(platform: SimulatorProcess, tmp_path: Path) -> None:
    sample = tmp_path / "sample.json"
    sample.write_text(json.dumps({"unit": "heat", "title": "暖气不热"}), encoding="utf-8")
    command = [
        sys.executable,
        "-c",
        "import sys; from hub.surfaces.cli import main; main()",
        "adapter",
        "try",
        "--plugin",
        "utilities",
    ]
    command += ["--set", f"url={platform.url}", "--secret-env", "secret=WORKS", "--sample", str(sample), "--json"]
    tried = await run(command, WORKS=SECRET)
    assert tried.returncode == 0, tried.stderr
    trial = json.loads(tried.stdout)
    assert (trial["outcome"], sample_of(platform, trial)["unit"]) == ("recalled", "heat")
    wrong = await run(command, WORKS="not the secret")
    assert (wrong.returncode, json.loads(wrong.stdout)["calls"][1]["problem"]["code"]) == (1, "credentials_rejected")
    missing = await run([*command, "--set", "page_size:=0"], WORKS=SECRET)
    assert (missing.returncode, "settings.page_size" in missing.stderr) == (1, True)


async def test_a_fault_of_the_simulator_meets_the_sample_and_not_the_health(platform: SimulatorProcess) -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; from hub.surfaces.cli import main; main()",
        "adapter",
        "try",
        "--plugin",
        "utilities",
    ]
    command += [
        "--set",
        f"url={platform.url}",
        "--secret-env",
        "secret=WORKS",
        "--json",
        "--sample",
        "default",
        "--unit",
        "gas",
    ]
    tried = await run([*command, "--fault", "error"], WORKS=SECRET)
    assert tried.returncode == 0, tried.stderr
    calls = [(call["call"], (call["problem"] or {}).get("code")) for call in json.loads(tried.stdout)["calls"]]
    assert calls[1:4] == [("health", None), ("deliver", "unavailable"), ("deliver", None)]
    unknown = await run([*command, "--fault", "earthquake"], WORKS=SECRET)
    assert (unknown.returncode, "earthquake" in unknown.stderr) == (1, True)


async def test_an_instance_that_refuses_the_sample_takes_no_traffic(api: httpx.AsyncClient, platform: SimulatorProcess) -> None:
    settings = {**adapter_settings(platform.url, SECRET), "companies": {"water": "water"}}
    body = {"name": "gasworks", "plugin": "utilities", "set": {"settings": settings, "units": ["gas"]}, "sample": True}
    refused = await api.post("/adapters", json=body)
    assert refused.status_code == 422
    assert "拒收" in refused.text
    before = len(platform.tickets())
    body["set"]["settings"]["companies"]["gas"] = "gas"
    assert (await api.post("/adapters", json=body)).status_code == 201
    assert [ticket["state"] for ticket in platform.tickets()[before:]] == ["recalled"]


async def test_what_a_department_says_about_a_sample_is_dropped(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {"police": scripted("police", Department())}) as hub_:
        key = "000000000000000-abcdefgh23456789.a1"
        report = Feedback(id="e1", kind=FeedbackKind.ACCEPTED, key=key, ticket="T-1")
        assert await hub_.reportback.take("police", report) is None
        assert await hub_.bus.all_of("WAITING", "waiting.>") == []
