"""A department whose stack is not Python: a Node program that knows nothing but docs/protocol takes, accepts and resolves assignments."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hub.contract import Contact
from hub.model.assignments.state import AssignmentState
from hub.testing.kit import PATIENCE
from tests.node.prepare import HERE, prepared
from tests.system.department import report_gas
from tests.system.remote_world import away, credentials_for, hub_with, until

DOCUMENTS = HERE.parents[1] / "docs" / "protocol"


def test_the_client_imports_nothing_of_ours() -> None:
    source = (HERE / "client.mjs").read_text(encoding="utf-8")
    imported = set(re.findall(r'^import .* from "([^"]+)";$|import\("([^"]+)"\)', source, re.MULTILINE))
    imported = {static or dynamic for static, dynamic in imported}
    allowed = {"node:fs", "node:path", "@nats-io/transport-node", "ajv/dist/2020.js", "ajv-formats"}
    assert imported == allowed
    lock = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))
    assert not any("resolved" in package for package in lock["packages"].values())


@asynccontextmanager
async def client(creds: Path, documents: Path, journal: Path) -> AsyncIterator[list[dict[str, Any]]]:
    node = await asyncio.to_thread(prepared)
    child = await asyncio.create_subprocess_exec(
        str(node), str(HERE / "client.mjs"), str(creds), str(documents), str(journal), stdout=asyncio.subprocess.PIPE
    )
    lines: list[dict[str, Any]] = []

    async def read() -> None:
        assert child.stdout is not None
        while line := await child.stdout.readline():
            lines.append(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        yield lines
    finally:
        if child.returncode is None:
            child.terminate()
        assert await asyncio.wait_for(child.wait(), timeout=PATIENCE) == 0
        await reading


async def test_a_node_program_takes_accepts_and_resolves_assignments(tmp_path: Path) -> None:
    documents = shutil.copytree(DOCUMENTS, tmp_path / "documents")  # all that a department is given, beside its credentials
    own = replace(away("police"), plugin="node-client", settings={"needs_contact": True})
    async with hub_with(tmp_path / "hub", own) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        async with client(creds, documents, tmp_path / "journal.json") as lines:
            outcomes = [
                await report_gas(hub, text=f"{number}号楼楼道有燃气味", contact=Contact(name="李雷", phone="13900001111"))
                for number in range(3)
            ]
            for outcome in outcomes:
                assignment = await until(hub, outcome, "police", AssignmentState.RESOLVED)
                assert assignment.ticket is not None
                assert assignment.ticket.startswith("N-")
            assert len([line for line in lines if "took" in line]) == 3
            assert {line["contact"] for line in lines if "took" in line} == {"13900001111"}
            assert not [line for line in lines if "waits" in line]
            seen = hub.answers.seen("police")
            assert seen is not None
            assert seen.beat.plugin == "node-client"
