"""A second kind of matter runs through every part of the hub, and no part knows it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import typer
from typer.testing import CliRunner

from hub.app import Hub
from hub.settings import Settings
from hub.surfaces.api.cases.kind import CASE_KIND
from hub.surfaces.cli.generated import add_commands
from hub.testing.kit import eventually
from tests.system.department import CONFIG, GRID, report_gas
from tests.system.errands import ERRAND, ERRAND_KIND
from tests.system.hubs import api_of


async def opened(client: httpx.AsyncClient, key: str, what: str, within_ms: int = 3_600_000) -> dict[str, Any]:
    answer = await client.post(
        "/errands", json={"what": what, "area": GRID, "within_ms": within_ms}, headers={"Idempotency-Key": key}
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_second_kind_runs_through_every_part_without_a_line_added(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", config=CONFIG, nats={"sync_always": False, "port": 0})
    async with (
        Hub.open(settings, instances=[], kinds=(CASE_KIND, ERRAND_KIND)) as hub,
        hub.running(),
        api_of(hub) as client,
    ):
        secret, _ = await hub.tokens.issue(name="centre", role="operator", unit=None, area=hub.rulebook.district().code)
        client.headers["Authorization"] = f"Bearer {secret}"
        case = await report_gas(hub)

        # routes, desk, ledger: opened once for each key
        ladder = (await opened(client, "k1", "梯子"))["matter"]
        assert (await opened(client, "k1", "梯子"))["repeated"] is True
        assert ladder["id"].startswith(f"{GRID}-e-")
        lamp = (await opened(client, "k2", "灯泡", within_ms=300))["matter"]

        # limits and timers: the ladder of the part urges by itself
        async def errand(id: str) -> dict[str, Any]:
            found: dict[str, Any] = (await client.get(f"/errands/{id}", params={"fresh": True})).json()
            return found

        async def urged() -> bool:
            return (await errand(lamp["id"]))["urged"] == 1

        await eventually(urged)

        # reactions: one errand tells the other
        done = await client.post(f"/errands/{ladder['id']}/done", json={"into": lamp["id"]})
        assert done.json()["events"] == ["errand.done"]

        async def told() -> bool:
            return (await errand(lamp["id"]))["remarks"] == 1

        await eventually(told)

        # the command line sends what the routes take
        app = typer.Typer()
        app.callback()(lambda: None)
        add_commands(app, ERRAND, "errands")
        url = str(client.base_url).removesuffix("/api/v1/")
        words = ["remark", lamp["id"], "--text", "60 瓦", "--url", url, "--token", secret, "--json"]
        said = await asyncio.to_thread(CliRunner().invoke, app, words)
        assert said.exit_code == 0, said.output
        assert json.loads(said.stdout)["matter"]["remarks"] == 2

        # projections: list, timeline, one; and the case beside it
        items = (await client.get("/errands", params={"fresh": True})).json()["items"]
        assert {(item["what"], item["done"]) for item in items} == {("梯子", True), ("灯泡", False)}
        story = (await client.get(f"/errands/{lamp['id']}/timeline", params={"fresh": True})).json()["items"]
        assert [item["event"] for item in story] == [
            "errand.opened",
            "limit.set",
            "limit.breached",
            "work.urged",
            "errand.remarked",
            "errand.remarked",
        ]
        assert (await client.get(f"/cases/{case.state.id}")).status_code == 200
        assert (await client.get(f"/cases/{lamp['id']}")).status_code == 422
        assert (await client.get(f"/errands/{case.state.id}")).status_code == 422

        # trace
        async def traced() -> bool:
            tree = (await client.get(f"/errands/{lamp['id']}/trace")).json()
            return "send ledger.errand" in json.dumps(tree) and "process react.command" in json.dumps(tree)

        await eventually(traced)

        # change stream
        changes = []
        async with client.stream("GET", "/changes", params={"after": 0}) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    changes.append(json.loads(line[6:]))
                    if len(changes) == await hub.ledger.last_sequence() - 1:
                        break
        of_errands = [change for change in changes if change["aggregate"] == "errand"]
        assert {change["matter"] for change in of_errands} == {ladder["id"], lamp["id"]}
        assert of_errands[-1]["what"] == "灯泡"
        assert any(change["aggregate"] == "case" for change in changes)

        count, _ = await hub.ledger.verify()
        assert count == len(changes)
        assert [kind.name for kind in hub.aggregates] == ["case", "errand"]
        assert hub.views.position() >= count
        assert not (await client.get("/repairs")).json()["items"]
