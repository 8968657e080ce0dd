"""What two hubs could both do is done once: nightly reconciliation, alerts, deliveries."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hub.app import Hub
from hub.bus.streams import TIMERS
from hub.bus.timers import set_audit
from hub.errors import Refused
from hub.platform.instances.registration import Patch
from hub.platform.upkeep.reconciliation import Due
from hub.platform.upkeep.run_log import Run, RunState
from hub.testing.kit import eventually
from tests.system.audited import NAME, Office, audited
from tests.system.department import Department, report_gas, scripted
from tests.system.hubs import two_hubs
from tests.system.test_plugin_kinds import BY, Group


async def runs(hub: Hub) -> list[Run]:
    return await hub.upkeep.reconciliation.runs(NAME)


async def test_a_night_and_every_run_somebody_asks_for_is_done_by_one_hub(tmp_path: Path) -> None:
    office = Office()
    async with two_hubs(tmp_path, {NAME: audited(office)}) as (a, b):
        await eventually(lambda: a.bus.last(TIMERS, f"timer.audit.set.{NAME}"))
        due = msgspec.json.encode(Due(adapter=NAME, run="2026-11-22"))
        await set_audit(a.bus, NAME, "2026-11-22", datetime.now(UTC), due)
        asked = {await hub.upkeep.reconciliation.ask(NAME, "李工") for hub in (a, b) * 3}

        async def all_ended() -> bool:
            return [run.state for run in await runs(b)] == [RunState.DONE] * 7

        await eventually(all_ended)
        assert {run.run for run in await runs(a)} == asked | {"2026-11-22"}
        assert office.audits == 7
        await eventually(lambda: a.bus.last(TIMERS, f"timer.audit.set.{NAME}"))  # the next night


async def test_people_are_told_once_of_what_two_hubs_follow(tmp_path: Path) -> None:
    Group.told, Group.trouble = [], 0
    police = Department(script=deque([Refused("没有警力")] * 3))
    async with two_hubs(tmp_path, {"police": scripted("police", police)}, extra=[Group]) as (a, b):
        await a.registration.add("group", "group", Patch(), BY)
        await eventually(lambda: b.adapters.serves("group"))
        cases = [(await report_gas(hub, text=f"{number}号楼有燃气味")).state.id for number, hub in enumerate((a, b, a))]
        await eventually(lambda: len(Group.told) >= 3)
        await eventually(lambda: _all_told(a))
        assert sorted(alert.case or "" for alert in Group.told) == sorted(cases)


async def _all_told(hub: Hub) -> bool:
    """Every commit was looked at for alerts, and no alert waits."""
    ledger = await hub.bus.api("CONSUMER.INFO.LEDGER.alerts")
    queue = await hub.bus.api("CONSUMER.INFO.ALERTS.notifier-group")
    return not any(info[kind] for info in (ledger, queue) for kind in ("num_pending", "num_ack_pending"))


async def test_deliveries_are_shared_and_each_is_made_once(tmp_path: Path) -> None:
    department = Department()
    async with two_hubs(tmp_path, {"police": scripted("police", department)}) as (a, b):
        cases = [(await report_gas(hub, text=f"{number}号楼有燃气味")).state.id for number, hub in enumerate((a, b) * 20)]
        await eventually(lambda: len(department.filed) >= 40)
        assert sorted(department.filed) == sorted(f"{case}.a2" for case in cases)
