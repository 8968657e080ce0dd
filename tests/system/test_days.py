"""The year's days off against a serving hub: missed, read from the announcement, published, and what they change."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from hub.config.days import DAYS
from hub.serving import Running, serve
from hub.settings import Settings
from hub.testing.kit import PATIENCE
from tests.system.department import CONFIG

NOTICE = Path(__file__).parents[1] / "unit" / "days" / "2031.txt"
JANUARY = datetime(2031, 1, 10, 2, 0, tzinfo=UTC)
BEFORE_THE_FESTIVAL = "2031-01-21T17:00:00+08:00"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


@pytest.fixture
async def served(tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A hub in January 2031, without departments."""
    monkeypatch.setattr("hub.surfaces.api.lookups.utc_now", lambda: JANUARY)
    settings = Settings(data=tmp_path / "data", config=config)
    nats = settings.nats.model_copy(update={"port": 0})
    settings = settings.model_copy(update={"nats": nats, "api": settings.api.model_copy(update={"port": 0})})
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def started(running: Running) -> None:
        ready.set_result(running)
        await stop.wait()

    task = asyncio.create_task(serve(settings, adapters=[], any_port=True, started=started, stop=stop))
    done, _ = await asyncio.wait({ready, task}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    assert ready in done, task
    yield ready.result()
    stop.set()
    await task


async def hub(*arguments: str, served: Running | None = None) -> subprocess.CompletedProcess[str]:
    where = () if served is None else ("--url", served.api_url, "--token", served.admin_token)
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", "from hub.surfaces.cli import main; main()", *arguments, *where],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )


async def test_an_announcement_goes_from_its_text_into_the_limits(served: Running, config: Path) -> None:
    headers = {"Authorization": f"Bearer {served.admin_token}"}
    async with httpx.AsyncClient(base_url=f"{served.api_url}/api/v1", headers=headers, trust_env=False) as api:

        async def due() -> str:
            body = {"text": "路灯不亮三天了", "at": BEFORE_THE_FESTIVAL, "channel": "patrol"}
            found = (await api.post("/policy/explain", json=body)).json()
            return next(str(at) for limit, at in found["limits"] if limit["kind"] == "accept")

        assert (await api.get("/summary")).json()["missing_years"] == [2031]
        assert re.search("放假安排未录入 +2031 *\n", (await hub("status", served=served)).stdout)
        old = (await api.get("/policy")).json()["sources"]
        assert DAYS not in old
        before = await due()
        assert before.startswith("2031-01-22")

        written = await hub("policy", "days", str(NOTICE), "--write", "--config", str(config))
        assert written.returncode == 0, written.stderr
        published = await hub("policy", "publish", "--config", str(config), served=served)
        assert published.returncode == 0, published.stderr

        assert (await api.get("/summary")).json()["missing_years"] == []
        assert "放假安排" not in (await hub("status", served=served)).stdout
        assert (await api.get("/policy")).json()["sources"][DAYS] == (config / DAYS).read_text(encoding="utf-8")
        assert (await due()).startswith("2031-01-30")

        broken = {**old, DAYS: "years:\n  2031:\n    announcement: a\n    days_off: {元旦: 2031-13-01}\n"}
        refused = await api.post("/policy", json={"sources": broken})
        assert refused.status_code == 422, refused.text
        assert DAYS in refused.text
        assert "2031-13-01" in refused.text

        assert (await api.post("/policy", json={"sources": old})).status_code == 201  # a policy from before there was the file
        assert (await api.get("/summary")).json()["missing_years"] == [2031]
        assert await due() == before
        assert json.loads((await hub("status", "--json", served=served)).stdout)["missing_years"] == [2031]
