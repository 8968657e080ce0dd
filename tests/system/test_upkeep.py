"""Repairs, reconciliations, catalogues and crosswalks as people use them: HTTP and the command line against a running hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from typer.testing import CliRunner, Result

from hub.contract import Capability, Crosswalk, FeedbackKind, StandingState
from hub.model.assignments.state import AssignmentState
from hub.platform.upkeep.repairs import Repair, RepairKind
from hub.serving import services_of
from hub.surfaces.api.app import create_app
from hub.surfaces.cli import app as hub_command
from hub.testing.kit import QuietServer, eventually
from tests.system.audited import NAME, Bench, Office, bench

CODES = {"RQ01": "燃气泄漏", "RQ02": "燃气停供"}
OWN = Crosswalk(statuses={"处理中": FeedbackKind.PROGRESS}, categories={"E04": "RQ01"})
LOGGED = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[\w+ *\] .*\n", re.MULTILINE)
"""What the hub, which runs in the same process here, logs meanwhile."""


@dataclass
class Desk:
    """A hub with its interface, and somebody's hands on it."""

    made: Bench
    url: str
    tokens: dict[str, str]

    async def ask(self, method: str, path: str, who: str = "operator", **body: Any) -> httpx.Response:
        """One request."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        async with httpx.AsyncClient(base_url=f"{self.url}/api/v1", headers=headers) as client:
            return await client.request(method, path, json=body or None)

    async def hub(self, *words: str, who: str = "operator", code: int = 0) -> str:
        """One command; what it printed."""
        environment = {"HUB_URL": self.url, "HUB_TOKEN": self.tokens[who], "COLUMNS": "240"}
        result: Result = await asyncio.to_thread(CliRunner().invoke, hub_command, list(words), env=environment)
        assert result.exit_code == code, result.output
        return LOGGED.sub("", result.output)


@contextlib.asynccontextmanager
async def desk(data: Path, office: Office, *capabilities: Capability) -> AsyncIterator[Desk]:
    async with bench(data, office, *capabilities, crosswalk=OWN) as made:
        tokens = {}
        district = made.hub.rulebook.district().code
        for name, role, unit, area in (
            ("operator", "operator", None, district),
            ("devops", "devops", None, district),
            ("clerk", "clerk", "320113001", "320113001"),
            ("street operator", "operator", "320113001", "320113001"),
            ("gas", "department", None, district),
            ("police", "department", "police", district),
        ):
            if name == "gas":
                unit = next(unit.code for unit in made.hub.rulebook.district().directory if unit.adapter == NAME)
            tokens[name], _ = await made.hub.tokens.issue(name=name, role=role, unit=unit, area=area)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(services_of(made.hub)), lifespan="off", log_level="warning", access_log=False)
        config.timeout_graceful_shutdown = 1
        server = QuietServer(config)
        serving = asyncio.create_task(server.serve([listener]))
        try:
            await eventually(lambda: server.started)
            yield Desk(made, f"http://127.0.0.1:{listener.getsockname()[1]}", tokens)
        finally:
            server.should_exit = True
            await serving


async def test_a_missed_report_is_found_shown_and_taken_over(tmp_path: Path) -> None:
    office = Office()
    async with desk(tmp_path, office) as d:
        case, _ = await d.made.delivered()
        office.stands("T-1", StandingState.RESOLVED)
        run = json.loads(await d.hub("adapter", "reconcile", NAME, "--json"))
        assert (run["state"], run["found"], run["by"]) == ("done", {"ended_there": 1}, "operator")
        assert "部门已办结或退回 1" in await d.hub("adapter", "reconcile", NAME, "--list")
        (row,) = json.loads(await d.hub("repair", "list", "--json"))["items"]
        assert (row["case"], row["count"]) == (case.id, 1)
        assert "对账不一致" in await d.hub("repair", "list", "--case", case.id)
        assert "是（--apply）" in await d.hub("repair", "show", row["id"])
        assert "Say --yes" in await d.hub("repair", "resolve", row["id"], "--reason", "已核实", "--apply", "--json", code=1)
        shown = await d.hub("repair", "resolve", row["id"], "--reason", "已核实", "--apply", "--yes")
        assert "已解决" in shown
        assert (await d.made.assignment(case.id))[1] is AssignmentState.RESOLVED
        assert json.loads(await d.hub("repair", "list", "--json"))["items"] == []
        assert len(json.loads(await d.hub("repair", "list", "--state", "resolved", "--json"))["items"]) == 1


async def test_a_department_sees_the_repairs_of_its_own_adapters_and_changes_none(tmp_path: Path) -> None:
    async with desk(tmp_path, Office()) as d:
        own = Repair(kind=RepairKind.UNMAPPED_STATUS, adapter=NAME, subject="已转派", text="对照表中没有状态“已转派”")
        others = Repair(kind=RepairKind.DISAGREEMENT, adapter=NAME, subject="x", text="他单位派单", unit="elsewhere")
        for repair in (own, others, Repair(kind=own.kind, adapter="sewers", subject="已转派", text="…")):
            await d.made.repairs.note(repair)
        assert [row["id"] for row in (await d.ask("GET", "/repairs", "gas")).json()["items"]] == [own.id]
        assert (await d.ask("GET", "/repairs?adapter=sewers", "gas")).json()["items"] == []
        assert (await d.ask("GET", "/repairs", "police")).json()["items"] == []
        assert len((await d.ask("GET", "/repairs", "devops")).json()["items"]) == 3
        assert (await d.ask("GET", f"/repairs/{own.id}", "gas")).status_code == 200
        assert (await d.ask("GET", f"/repairs/{others.id}", "gas")).status_code == 404
        assert (await d.ask("GET", f"/repairs/{own.id}", "police")).status_code == 404
        for who in ("gas", "clerk", "street operator"):
            refused = await d.ask("POST", f"/repairs/{own.id}/dismiss", who, reason="无需处理")
            assert refused.status_code == 403, who
        for who in ("clerk", "street operator"):
            assert (await d.ask("GET", "/repairs", who)).status_code == 403
        for path in ("reconciliations", "catalogue", "crosswalk"):
            assert (await d.ask("GET", f"/adapters/{NAME}/{path}", "gas")).status_code == 403


async def test_dismissing_keeps_who_and_why(tmp_path: Path) -> None:
    async with desk(tmp_path, Office()) as d:
        repair = Repair(kind=RepairKind.PUT_ASIDE, adapter=NAME, subject="r1", text="反馈无法使用")
        await d.made.repairs.note(repair)
        assert "已忽略" in await d.hub("repair", "dismiss", repair.id, "--reason", "对方测试数据", who="devops")
        row = (await d.ask("GET", f"/repairs/{repair.id}")).json()
        assert (row["state"], row["ended_by"], row["why"]) == ("dismissed", "devops", "对方测试数据")
        assert (await d.ask("POST", f"/repairs/{repair.id}/resolve", reason="x", apply=True)).status_code == 422
        assert (await d.ask("GET", "/repairs/0000000000000000")).status_code == 404


async def test_catalogue_drift_is_shown_and_accepted(tmp_path: Path) -> None:
    office = Office(codes=dict(CODES))
    async with desk(tmp_path, office, Capability.CATALOGUE) as d:
        await d.hub("adapter", "reconcile", NAME)
        office.codes = {"RQ02": "燃气中断"}
        assert "changed" in await d.hub("adapter", "reconcile", NAME)
        shown = await d.hub("adapter", "catalogue", NAME)
        for words in ("取消", "改名", "燃气中断", "对照表指向已无的编码"):
            assert words in shown
        stale = await d.ask("POST", f"/adapters/{NAME}/catalogue/accept", seen="0" * 16)
        assert stale.status_code == 409
        assert "已采纳为第 2 版" in await d.hub("adapter", "catalogue", NAME, "--accept", "--yes")
        answer = (await d.ask("GET", f"/adapters/{NAME}/catalogue")).json()
        assert (answer["accepted"]["version"], answer["accepted"]["by"], answer["changed"]) == (2, "operator", False)


async def test_crosswalk_is_tried_dry_changed_and_taken_back(tmp_path: Path) -> None:
    async with desk(tmp_path, Office()) as d:
        _, key = await d.made.delivered()
        (running,) = d.made.hub.adapters.versions_here(NAME)
        await running.health()
        file = tmp_path / "crosswalk.yaml"
        file.write_text("statuses:\n  已转派: accepted\ncategories:\n  E0401: RQ02\nsolved:\n  是: yes\n", encoding="utf-8")
        dry = json.loads(await d.hub("adapter", "crosswalk", NAME, str(file), "--dry-run", "--json"))
        assert [(row["word"], row["before"], row["after"]) for row in dry["words"]] == [("已转派", None, "accepted")]
        assert dry["words"][0]["concerned"][0]["key"] == key
        assert dry["categories"][0] | {"name": ""} == {
            "code": "E0401",
            "name": "",
            "count": 1,
            "open": 1,
            "before": "RQ01",
            "after": "RQ02",
            "changed": True,
        }
        drawn = await d.hub("adapter", "crosswalk", NAME, str(file), "--dry-run")
        assert "未对照（按进展）" in drawn
        assert "试算，未作任何更改" in drawn
        assert "accepted" not in (await d.ask("GET", f"/adapters/{NAME}/crosswalk")).json()["statuses"].values()
        await eventually(lambda: has_open(d))
        assert "签收" in await d.hub("adapter", "crosswalk", NAME, str(file), "--note", "对方新增状态")
        assert (await d.ask("GET", "/repairs?kind=unmapped_status")).json()["items"] == []
        assert (await d.ask("GET", f"/adapters/{NAME}/crosswalk")).json()["solved"] == {"是": "yes"}
        assert "已解决" in await d.hub("adapter", "crosswalk", NAME)
        history = json.loads(await d.hub("adapter", "history", NAME, "--json"))["items"]
        assert (history[-1]["note"], history[-1]["by"]) == ("对方新增状态", "operator")
        await d.hub("adapter", "rollback", NAME)
        assert (await d.ask("GET", f"/adapters/{NAME}/crosswalk")).json()["categories"] == {"E04": "RQ01"}


async def has_open(d: Desk) -> bool:
    return bool((await d.ask("GET", "/repairs?kind=unmapped_status")).json()["items"])


async def test_a_file_that_is_no_crosswalk_is_refused_in_one_line(tmp_path: Path) -> None:
    async with desk(tmp_path, Office()) as d:
        file = tmp_path / "crosswalk.yaml"
        for text, says in (
            ("- a\n", "only statuses, categories, fields, reached, solved, satisfied are expected"),
            ("words: {}\n", "only statuses, categories, fields, reached, solved, satisfied are expected"),
            ("statuses: [a]\n", "a table of words is expected"),
            ("statuses: {a: b\n", "can't be read"),
            ("statuses: {a: b}\n", "none of accepted"),
            ("solved: {是: true}\n", "none of yes, partly, no, not_asked"),
        ):
            file.write_text(text, encoding="utf-8")
            assert says in await d.hub("adapter", "crosswalk", NAME, str(file), code=1), text
        assert "needs a file" in await d.hub("adapter", "crosswalk", NAME, "--dry-run", code=1)
        assert "No such file" in await d.hub("adapter", "crosswalk", NAME, str(tmp_path / "x.yaml"), code=1)


async def test_reconciling_a_paused_adapter_says_so(tmp_path: Path) -> None:
    async with desk(tmp_path, Office()) as d:
        await d.made.hub.adapters.pause(NAME, "检修")
        assert "适配器已暂停" in await d.hub("adapter", "reconcile", NAME, code=1)
        listed = (await d.ask("GET", f"/adapters/{NAME}/reconciliations")).json()
        assert (listed["items"][0]["state"], listed["next_at"] is not None) == ("skipped", True)
        assert (await d.ask("GET", "/adapters/nobody/reconciliations")).status_code == 404
        assert (await d.ask("POST", "/adapters/nobody/reconciliations")).status_code == 404
