"""Two hubs speak Open311: one hub's adapter delivers to another hub's server and follows the case until it is closed."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hub_open311 import Open311Adapter

from hub.serving import Running, serve
from hub.settings import Settings
from hub.testing.kit import eventually

ROOT = Path(__file__).resolve().parents[3]
LAMP = "P0102"
DISTRICT = "320113"


class QuickOpen311(Open311Adapter):
    """The adapter with little patience between polls."""

    manifest = replace(Open311Adapter.manifest, name="quick_open311", poll_every=timedelta(seconds=0.2))


class Neighbour:
    """Another hub as a process of its own, `hub up`."""

    def __init__(self, data: Path) -> None:
        self._errors = (data.parent / "neighbour.log").open("ab")
        self._child = subprocess.Popen(
            [str(Path(sys.executable).with_name("hub")), "up", "--data", str(data), "--config", str(ROOT / "config")],
            cwd=ROOT,
            env={
                **os.environ,
                "HUB_API__PORT": "0",
                "HUB_NATS__PORT": "0",
                "HUB_ROUTES__OPEN311__JURISDICTION_ID": "north.gov.cn",
            },
            stdout=self._errors,
            stderr=self._errors,
        )
        self._data = data
        self.url = ""
        self.admin = httpx.Client(trust_env=False)

    def wait(self) -> None:
        """Until it serves."""
        runtime, give_up = self._data / "runtime.json", time.monotonic() + 60
        while not runtime.exists():
            assert self._child.poll() is None, (self._data.parent / "neighbour.log").read_text()
            assert time.monotonic() < give_up, "the neighbour does not serve"
            time.sleep(0.05)
        self.url = str(json.loads(runtime.read_text())["api"])
        self.admin.base_url = httpx.URL(self.url)
        self.admin.headers["Authorization"] = f"Bearer {(self._data / 'admin.token').read_text().strip()}"

    def key(self) -> str:
        """A key for a client that reports."""
        answer = self.admin.post("/api/v1/tokens", json={"name": "neighbour", "role": "clerk", "area": DISTRICT})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def do(self, case: str, command: str, **body: Any) -> None:
        """A command by its people."""
        answer = self.admin.post(f"/api/v1/cases/{case}/{command}", json=body)
        assert answer.status_code == 200, answer.text

    def stop(self) -> None:
        """End it."""
        self.admin.close()
        self._errors.close()
        self._child.send_signal(signal.SIGTERM)
        self._child.wait(30)


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[Neighbour]:
    hub = Neighbour(tmp_path / "neighbour")
    try:
        hub.wait()
        yield hub
    finally:
        hub.stop()


def configured(folder: Path, neighbour: Neighbour) -> Path:
    """Our district: city management is reached through the neighbour's Open311 server."""
    shutil.copytree(ROOT / "config", folder)
    units = folder / "units.yaml"
    units.write_text(
        units.read_text().replace("city_management: {name: 城管}", "city_management: {name: 城管, adapter: north}")
    )
    instance = {
        "north": {
            "plugin": "quick_open311",
            "enabled": True,
            "settings": {
                "url": f"{neighbour.url}/open311/v2",
                "api_key": neighbour.key(),
                "jurisdiction_id": "north.gov.cn",
                "services": {LAMP: LAMP},
            },
        }
    }
    adapters = folder / "adapters.yaml"
    block = json.dumps(instance["north"], ensure_ascii=False)
    adapters.write_text(adapters.read_text().replace("adapters:\n", f"adapters:\n  north: {block}\n", 1))
    return folder


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Our hub in this process."""
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def started(hub: Running) -> None:
        ready.set_result(hub)
        await stop.wait()

    serving = asyncio.create_task(serve(settings, plugins=(QuickOpen311,), started=started))
    try:
        await asyncio.wait({ready, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield ready.result()
    finally:
        stop.set()
        await serving


async def test_one_hub_delivers_to_another_and_follows_the_case_to_its_end(tmp_path: Path, neighbour: Neighbour) -> None:
    config = await asyncio.to_thread(configured, tmp_path / "config", neighbour)
    settings = Settings.model_validate(
        {"data": tmp_path / "ours", "config": config, "nats": {"port": 0, "sync_always": False}, "api": {"port": 0}}
    )
    async with running(settings) as ours, httpx.AsyncClient(base_url=ours.api_url, trust_env=False) as client:
        headers = {"Authorization": f"Bearer {ours.admin_token}", "Idempotency-Key": "k-1"}
        body = {
            "title": "路灯不亮",
            "text": "尧佳路路灯三天不亮",
            "channel": "hotline",
            "category": LAMP,
            "area": "320113001",
            "place": "尧佳路7号",
            "position": {"longitude": 118.91234, "latitude": 32.10312, "system": "cgcs2000", "how": "person"},
            "contact": {"name": "张三", "phone": "13800001234"},
        }
        answer = await client.post("/api/v1/cases", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        case = answer.json()["case"]["id"]

        async def assignment() -> dict[str, Any]:
            shown = await client.get(f"/api/v1/cases/{case}?fresh=true", headers=headers)
            (item,) = shown.json()["assignments"]
            found: dict[str, Any] = item
            return found

        async def stands(*states: str) -> bool:
            return (await assignment())["state"] in states

        await eventually(lambda: stands("accepted", "in_progress"))
        ticket = (await assignment())["ticket"]
        theirs = await asyncio.to_thread(lambda: neighbour.admin.get(f"/api/v1/cases/{ticket}?fresh=true").json())
        assert theirs["category"] == LAMP
        assert "13800001234" not in json.dumps(theirs, ensure_ascii=False), "the reporter stays here"
        assert theirs["has_contact"] is False
        assert theirs["wgs84"] == {"longitude": 118.91234, "latitude": 32.10312}
        assert theirs["position"] == {**theirs["wgs84"], "system": "wgs84", "how": "device"}
        assert f"{case}.a1" in theirs["text"]
        await asyncio.to_thread(neighbour.do, ticket, "comment", text="内部备注")
        await asyncio.to_thread(neighbour.do, ticket, "settle", note="更换灯泡两只")
        await eventually(lambda: stands("resolved"))
        assert (await assignment())["note"] == "更换灯泡两只"
        await asyncio.to_thread(neighbour.do, ticket, "visit", reached="yes", solved="yes", satisfied="yes")
        seen = f"{neighbour.url}/open311/v2/requests/{ticket}.json"
        (request,) = (await client.get(seen)).json()
        assert request["status"] == "closed"
        story = (await client.get(f"/api/v1/cases/{case}/timeline?fresh=true", headers=headers)).json()["items"]
        assert [item["event"] for item in story].count("assignment.resolved") == 1
        assert "assignment.feedback_conflicted" not in {item["event"] for item in story}
        assert "内部备注" not in json.dumps(story, ensure_ascii=False)


async def test_report_is_taken_once_joins_a_notice_and_waits_in_nobodys_queue(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"data": tmp_path / "ours", "config": ROOT / "config", "nats": {"port": 0, "sync_always": False}, "api": {"port": 0}}
    )
    async with running(settings) as ours, httpx.AsyncClient(base_url=ours.api_url, trust_env=False) as client:
        headers = {"Authorization": f"Bearer {ours.admin_token}", "Idempotency-Key": "k-1"}
        api_key = ours.admin_token

        async def file(**fields: str) -> dict[str, Any]:
            form = {"api_key": api_key, "description": "家里停水", "address_string": "尧化街道尧化社区", **fields}
            answer = await client.post("/open311/v2/requests.json", data=form)
            assert answer.status_code == 200, answer.text
            (filed,) = answer.json()
            found: dict[str, Any] = filed
            return found

        same = {"service_code": LAMP, "description": "路灯不亮", "attribute[external_id]": "7"}
        filed = await asyncio.gather(*(file(**same, email=f"{n}@example.org") for n in range(8)))
        assert len({item["service_request_id"] for item in filed}) == 1, "at the same time, and with other content"
        lamp = filed[0]["service_request_id"]
        notice = {
            "title": "计划停水",
            "text": "管网检修，计划停水六小时",
            "channel": "department",
            "category": "E0404",
            "area": "320113001",
            "covers": ["320113001"],
            "covers_until": "2100-01-01T00:00:00Z",
        }
        answer = await client.post("/api/v1/cases", json=notice, headers=headers)
        assert answer.status_code == 201, answer.text
        joined = await file(service_code="E0404")
        assert joined["service_request_id"] == answer.json()["case"]["id"]
        assert "并入" in joined["service_notice"]
        (shown,) = (await client.get(f"/open311/v2/requests/{joined['service_request_id']}.json")).json()
        assert shown["status"] == "open"
        assert "检修" not in shown["description"], "another's matter: how it stands, not what it says"
        settled = await client.post(f"/api/v1/cases/{lamp}/settle", json={"note": "已更换"}, headers=headers)
        assert settled.status_code == 200, settled.text
        updates = (await client.get("/open311/v2/servicerequestupdates.json")).json()
        assert [item["status"] for item in updates if item["service_request_id"] == lamp] == ["investigating", "fixed"]
        await eventually(lambda: ours.hub.linkage.sequence >= settled.json()["sequence"])
        for case in (lamp, joined["service_request_id"]):
            assert await ours.hub.bus.last("DISPATCH", f"dispatch.@open311.{case}") is None
