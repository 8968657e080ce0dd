"""Messages that can't be read, in every queue: each is put aside as a repair, and the queue goes on with the next."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from hub.app import Hub
from hub.bus import Bus, PullConsumer
from hub.bus.streams import DISPATCH, ensure_answer_stream, ensure_consumer, stream_state
from hub.contract import Alert, AlertKind
from hub.errors import BusUnavailable
from hub.model.assignments.state import AssignmentState
from hub.platform.instances.registration import Patch
from hub.platform.upkeep.repairs import Repair, RepairFilter, RepairItem, RepairKind
from hub.spine.aside.put_aside import read_or_put_aside
from hub.testing.kit import eventually
from tests.system.department import Department, accepted, report_gas, running_hub, scripted
from tests.system.remote_world import Office, away, credentials_for, hub_with, process, until
from tests.system.test_plugin_kinds import BY, Group

POISON = (b"{}", b"\xff", b'{"x":' + b"[" * 100_000)
NO_OFFSET = b"2026-03-02T10:00:00"
"""A time that is well-formed and says nothing."""


async def put_aside(hub: Hub, number: int = len(POISON)) -> list[RepairItem]:
    """The repairs of what was put aside, once there are so many."""

    async def found() -> list[RepairItem]:
        page = await hub.repairs.list(RepairFilter(kind=RepairKind.PUT_ASIDE))
        return sorted(page.items, key=lambda item: item.details.get("sequence", "")) if len(page.items) >= number else []

    items: list[RepairItem] = await eventually(found)
    return items


def check(items: list[RepairItem], stream: str, subject: str, adapter: str) -> None:
    assert [item.details["bytes"] for item in items] == [str(len(raw)) for raw in POISON]
    assert [item.details["sha256"] for item in items] == [hashlib.sha256(raw).hexdigest() for raw in POISON]
    assert [item.details["begins"][:6] for item in items] == ["{}", "\\xff", '{"x":[']
    for item in items:
        assert (item.adapter, item.details["stream"], item.details["subject"]) == (adapter, stream, subject)


@pytest.fixture
def police() -> Department:
    return Department()


async def test_a_dispatch_queue_goes_on_and_its_only_slot_is_free(tmp_path: Path, police: Department) -> None:
    async with running_hub(tmp_path, {"police": scripted("police", police)}, concurrency=1) as hub:
        for raw in POISON:
            await hub.bus.publish("dispatch.police.x", raw)
        outcome = await report_gas(hub)
        await until(hub, outcome, "police", AssignmentState.DELIVERED)
        check(await put_aside(hub), "DISPATCH", "dispatch.police.x", "police")
        await eventually(lambda: hub.dispatch.in_hand("police") == 0)
        assert (await hub.statuses.of("police")).in_flight == 0


@pytest.mark.parametrize(("subject", "adapter"), [("waiting.police.accepted", "police"), ("waiting.数.x", "hub")])
async def test_reports_that_wait_for_their_case_go_on(tmp_path: Path, police: Department, subject: str, adapter: str) -> None:
    async with running_hub(tmp_path, {"police": scripted("police", police)}) as hub:
        for raw in POISON:
            await hub.bus.publish(subject, raw)
        check(await put_aside(hub), "WAITING", subject, adapter)
        outcome = await report_gas(hub)
        delivered = await until(hub, outcome, "police", AssignmentState.DELIVERED)
        early = replace(accepted("x"), key=None, ticket=delivered.ticket)
        await hub.reportback.take("police", early)
        await until(hub, outcome, "police", AssignmentState.ACCEPTED)


async def test_a_notifiers_queue_goes_on(tmp_path: Path) -> None:
    Group.told, Group.trouble = [], 0
    async with running_hub(tmp_path, {}, extra=[Group]) as hub:
        await hub.registration.add("group", "group", Patch(), BY)
        for raw in POISON:
            await hub.bus.publish("alert.group", raw)
        await hub.bus.publish("alert.group", b'{"id":"x","kind":"overdue","text":"x","at":"%b"}' % NO_OFFSET)
        await hub.alerts.tell(Alert(id="a", kind=AlertKind.OVERDUE, text="已超时", at=datetime.now(UTC)))
        await eventually(lambda: [alert.id for alert in Group.told] == ["a"])
        *unreadable, senseless = await put_aside(hub, len(POISON) + 1)
        check(unreadable, "ALERTS", "alert.group", "group")
        assert "offset" in senseless.text


async def test_what_an_adapter_elsewhere_reports_is_counted_once_a_kind_and_its_queue_goes_on(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        await ensure_answer_stream(hub.bus, "police")
        for raw in POISON:
            await hub.bus.publish("answer.police.accepted", raw)
        (item,) = await put_aside(hub, 1)
        assert (item.adapter, item.subject, item.details["stream"]) == ("police", "accepted: unreadable", "ANSWERS-police")
        async with process("police", creds, office, tmp_path / "remote"):
            outcome = await report_gas(hub)
            await until(hub, outcome, "police", AssignmentState.DELIVERED)


@pytest.mark.parametrize(
    ("subject", "raw"),
    [
        ("waiting.police.accepted", b'{"adapter":"police","id":"x","kind":"accepted","since":"%b"}' % NO_OFFSET),
        (
            "dispatch.police.x",
            b'{"id":"x","kind":"deliver","matter":"nonsense","number":1,"at":"%bZ","adapter":"police","effect":"x"}'
            % NO_OFFSET,
        ),
        ("timer.due.nonsense", b""),
    ],
)
async def test_what_is_well_formed_and_makes_no_sense_is_put_aside_too(
    tmp_path: Path, police: Department, subject: str, raw: bytes
) -> None:
    async with running_hub(tmp_path, {"police": scripted("police", police)}, concurrency=1) as hub:
        await hub.bus.publish(subject, raw)
        (item,) = await put_aside(hub, 1)
        assert item.details["subject"] == subject
        outcome = await report_gas(hub)
        await until(hub, outcome, "police", AssignmentState.DELIVERED)
        assert not hub.fatal.done()


async def test_orders_that_can_not_be_read_elsewhere_come_back_as_repairs(tmp_path: Path) -> None:
    office = Office(tmp_path / "office.db")
    async with hub_with(tmp_path / "hub", away("police", concurrency=1)) as hub:
        creds = await credentials_for(hub, "police", tmp_path)
        for raw in POISON:
            await hub.bus.publish("order.police.deliver.x.a1", raw)
        async with process("police", creds, office, tmp_path / "remote"):
            outcome = await report_gas(hub)
            await until(hub, outcome, "police", AssignmentState.DELIVERED)
            items = await put_aside(hub)
        texts = "\n".join(item.text for item in items)
        for raw in POISON:
            assert hashlib.sha256(raw).hexdigest() in texts
        assert {item.subject for item in items} == {"order:1", "order:2", "order:3"}


async def test_message_comes_again_while_its_repair_can_not_be_stored(bus: Bus) -> None:
    await ensure_consumer(bus, DISPATCH, "adapter-x", subject="dispatch.x.>", most_pending=10, ack_wait=1.0)
    await bus.publish("dispatch.x.y", b"{}")

    async def away_now(repair: Repair) -> None:
        raise BusUnavailable("away")

    kept: list[Repair] = []

    async def note(repair: Repair) -> None:
        kept.append(repair)

    async with PullConsumer(bus, DISPATCH, "adapter-x", capacity=1, ack_wait=1.0) as consumer:
        delivery = await consumer.next()
        assert await read_or_put_aside(delivery, _never, away_now, adapter="x") is None
        assert not delivery.held
        again = await consumer.next()
        assert (again.sequence, again.deliveries) == (delivery.sequence, 2)
        assert await read_or_put_aside(again, _never, note, adapter="x") is None
    assert [repair.subject for repair in kept] == ["DISPATCH 1"]

    async def empty() -> bool:
        return (await stream_state(bus, DISPATCH)).messages == 0

    await eventually(empty)


def _never(raw: bytes) -> None:
    raise ValueError("not this")
