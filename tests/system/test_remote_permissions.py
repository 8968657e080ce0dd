"""What the key of a remote adapter opens, and what it does not: tried against a real server by a client that obeys no rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import nats
import nats.errors
import pytest
from nats.aio.client import Client

from hub.app import Hub
from hub.contract import Contact
from hub.errors import NotAllowed
from hub.model.assignments.state import AssignmentState
from hub.platform.remote.messages import Answer
from hub.spine.aside.repair_items import RepairFilter
from hub.testing.kit import eventually
from tests.system.department import Department, report_gas, scripted
from tests.system.matters import case_of
from tests.system.remote_world import assignment_of, away, hub_with, until

SILENCE_S = 0.7
"""How long a request that must not be answered is listened for."""


class Intruder:
    """A client with a remote adapter's key."""

    def __init__(self, client: Client, errors: list[str]) -> None:
        self.nc = client
        self.errors = errors

    async def asks(self, subject: str, data: object = b"") -> bytes | None:
        """The answer to a request; None when none came."""
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        try:
            return (await self.nc.request(subject, raw, timeout=SILENCE_S, old_style=True)).data
        except (TimeoutError, nats.errors.Error):
            return None

    async def is_answered(self, subject: str, data: object = b"") -> bytes:
        """The answer to a request that has one; asked again like an adapter does, for a server that reloads its accounts has none."""

        async def answered() -> tuple[bytes] | None:
            answer = await self.asks(subject, data)
            return None if answer is None else (answer,)

        (answer,) = await eventually(answered)
        return answer


@asynccontextmanager
async def intruder(hub: Hub, name: str) -> AsyncIterator[Intruder]:
    errors: list[str] = []

    async def note(error: Exception) -> None:
        errors.append(str(error))

    found = await hub.credentials.issue(name, "test")
    client = await nats.connect(
        found.urls[0],
        nkeys_seed_str=found.seed,
        inbox_prefix=f"_INBOX_{name}".encode(),
        error_cb=note,
        max_reconnect_attempts=2,
    )
    try:
        yield Intruder(client, errors)
    finally:
        if not client.is_closed:
            await client.close()


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with hub_with(tmp_path / "hub", away("police"), away("property")) as hub:
        yield hub


async def test_it_reads_its_own_orders_and_nobody_elses(hub: Hub) -> None:
    await report_gas(hub)
    for name in ("police", "property"):
        await eventually(lambda name=name: _backlog(hub, name))
    async with intruder(hub, "police") as police:
        request = {"batch": 1, "expires": 500_000_000}
        own = await police.is_answered("$JS.API.CONSUMER.MSG.NEXT.ORDERS.remote-police", request)
        assert json.loads(own)["type"] == "city-hub.order.deliver.v1"
        assert await police.asks("$JS.API.CONSUMER.MSG.NEXT.ORDERS.remote-property", request) is None
        assert "permissions violation" in police.errors[-1]


async def _backlog(hub: Hub, name: str) -> bool:
    return sum(await hub.orders.backlog(name)) > 0


SHUT: list[tuple[str, object]] = [
    ("$JS.API.STREAM.MSG.GET.LEDGER", {"seq": 1}),
    ("$JS.API.DIRECT.GET.LEDGER", {"seq": 1}),
    ("$JS.API.DIRECT.GET.LEDGER.ledger.policy", b""),
    ("$JS.API.STREAM.MSG.GET.ORDERS", {"seq": 1}),
    ("$JS.API.STREAM.INFO.LEDGER", b""),
    ("$JS.API.STREAM.NAMES", b""),
    ("$JS.API.CONSUMER.CREATE.ORDERS", {"stream_name": "ORDERS", "config": {"ack_policy": "none"}}),
    ("$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.remote-police", {"stream_name": "ORDERS", "config": {}}),
    ("$JS.API.STREAM.PURGE.ORDERS", b""),
    ("$JS.API.STREAM.DELETE.LEDGER", b""),
    ("$JS.API.DIRECT.GET.KV_PERSONAL", {"last_by_subj": "$KV.PERSONAL.>"}),
    ("$JS.API.DIRECT.GET.KV_TOKENS", {"last_by_subj": "$KV.TOKENS.>"}),
    ("$KV.TOKENS.mine", b"{}"),
    ("$JS.API.INFO", b""),
    ("ledger.case.x", b"{}"),
    ("order.police.deliver.x.a1", b"{}"),
    ("dispatch.police.x", b"{}"),
    ("timer.set.x", b"x"),
    ("answer.property.accepted", b"{}"),
    ("contact.property", b"{}"),
    ("beat.property", b"{}"),
    ("$SYS.REQ.SERVER.PING", b""),
]


async def test_nothing_else_answers(hub: Hub) -> None:
    async with intruder(hub, "police") as police:
        answers = await asyncio.gather(*(police.asks(subject, data) for subject, data in SHUT))
        assert {subject: answer for (subject, _), answer in zip(SHUT, answers, strict=True) if answer is not None} == {}
        refused = " ".join(police.errors)
        assert [subject for subject, _ in SHUT if f'"{subject.lower()}"' not in refused] == []


async def test_it_hears_nothing_but_answers_to_its_own_questions(hub: Hub) -> None:
    async with intruder(hub, "police") as police:
        heard: list[Any] = []

        async def hear(message: Any) -> None:
            heard.append(message)

        subjects = (">", "ledger.>", "order.>", "answer.>", "contact.*", "_INBOX.>", "_INBOX_property.>", "$KV.>")
        for subject in subjects:
            await police.nc.subscribe(subject, cb=hear)
        await police.nc.flush()
        await eventually(lambda: len([error for error in police.errors if "subscription" in error]) == len(subjects))
        await report_gas(hub)
        assert heard == []


async def test_answers_can_not_be_sent_to_where_they_would_be_stored(hub: Hub) -> None:
    """The server checks what a client publishes to, not what it names as the reply; only the account of its own holds this off."""
    outcome = await report_gas(hub)
    await eventually(lambda: _backlog(hub, "police"))
    before = {stream: await _stored(hub, stream) for stream in ("LEDGER", "ORDERS", "DISPATCH", "ANSWERS-property")}
    async with intruder(hub, "police") as police:
        for target in (
            f"ledger.case.320113.{outcome.state.id}",
            "order.property.deliver.x.a1",
            "answer.property.accepted",
            "dispatch.property.x",
            "contact.property",
            "$JS.API.STREAM.DELETE.LEDGER",
            "$JS.ACK.ORDERS.remote-property.1.1.1.1.0",
        ):
            await police.nc.publish("answer.police.accepted", b"{}", reply=target)
            await police.nc.publish("$JS.API.CONSUMER.MSG.NEXT.ORDERS.remote-police", b"", reply=target)
            await police.nc.publish("contact.police", b"{}", reply=target)
            await police.nc.publish("beat.police", b"{}", reply=target)
        await police.nc.flush()
        await police.is_answered("answer.police.accepted", b"{}")  # everything before it has been worked on
    await hub.bus.api("STREAM.INFO.LEDGER")
    assert before == {stream: await _stored(hub, stream) for stream in before}


async def _stored(hub: Hub, stream: str) -> int:
    return int((await hub.bus.api(f"STREAM.INFO.{stream}"))["state"]["last_seq"])


async def test_a_contact_is_given_for_an_open_assignment_of_its_own_only(hub: Hub) -> None:
    outcome = await report_gas(hub, contact=Contact(name="李雷", phone="13900001111"))
    keys = {}
    for name in ("police", "property"):
        assignment = await until(hub, outcome, name, AssignmentState.SENDING)
        keys[name] = f"{outcome.state.id}.{assignment.id}"
    async with intruder(hub, "police") as police:
        answer = _answer(await police.is_answered("contact.police", {"key": keys["police"]}))
        assert answer.contact is not None
        assert answer.contact.phone == "13900001111"
        case = await case_of(hub, outcome.state.id)
        assert case is not None
        for wrong in (keys["property"], f"{outcome.state.id}.a99", "x", ""):
            refused = _answer(await police.is_answered("contact.police", {"key": wrong}))
            assert refused.contact is None
            assert refused.error
    commits = [commit for _, commit, _ in [found async for found in hub.ledger.follow(0, live=False)]]
    read = [event for commit in commits for event in commit.events if type(event).__name__ == "ContactAccessed"]
    assert [event.by for event in read] == ["police"]


async def test_an_adapter_whose_plugin_does_not_ask_for_contacts_gets_none(tmp_path: Path) -> None:
    plain = scripted("plain", Department())
    without = replace(away("police"), plugin=plain.manifest.name)
    async with hub_with(tmp_path / "hub", without, plugins=[plain]) as hub:
        outcome = await report_gas(hub, contact=Contact(name="李雷", phone="13900001111"))
        await until(hub, outcome, "police", AssignmentState.SENDING)
        key = f"{outcome.state.id}.{(await assignment_of(hub, outcome, 'police')).id}"
        async with intruder(hub, "police") as police:
            assert _answer(await police.is_answered("contact.police", {"key": key})) == Answer(error="no such contact")


async def _aside(hub: Hub) -> list[Any]:
    page = await hub.repairs.list(RepairFilter(adapters=frozenset({"police"})))
    return list(page.items)


def _answer(raw: bytes) -> Answer:
    return msgspec.json.decode(raw, type=Answer)


async def test_a_revoked_key_is_cut_off_at_once_and_the_others_go_on(hub: Hub) -> None:
    async with intruder(hub, "police") as police, intruder(hub, "police") as second, intruder(hub, "property") as other:
        (first, *_), connected = await hub.credentials.list("police"), hub.bus.nc.stats["reconnects"]
        assert await hub.credentials.revoke("police", first.key) == 1
        await eventually(lambda: not police.nc.is_connected)
        assert await second.is_answered("answer.police.accepted", b"{}")
        assert await other.is_answered("answer.property.accepted", b"{}")
        assert hub.bus.nc.stats["reconnects"] == connected
        with pytest.raises(NotAllowed):
            await hub.credentials.revoke("police", first.key)
        assert [grant.adapter for grant in await hub.credentials.list()] == ["police", "property"]


async def test_keys_outlive_the_hub(tmp_path: Path) -> None:
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        found = await hub.credentials.issue("police", "test")
    async with hub_with(tmp_path / "hub", away("police")) as hub:
        url = hub.credentials._outside.urls[0]
        client = await nats.connect(url, nkeys_seed_str=found.seed, inbox_prefix=b"_INBOX_police")
        await client.close()


async def test_garbage_is_put_aside_and_a_flood_of_it_delays_nobody_else(hub: Hub) -> None:
    outcome = await report_gas(hub)
    assignment = await until(hub, outcome, "property", AssignmentState.SENDING)
    async with intruder(hub, "police") as police, intruder(hub, "property") as other:
        key = f"{outcome.state.id}.{assignment.id}"
        event = {"specversion": "1.0", "id": "r1", "source": "x", "type": "city-hub.answer.receipt.v1"}
        foreign = {**event, "id": "r2", "data": {"key": key, "ticket": "X-1"}}
        assert await police.asks("answer.police.receipt", foreign) is not None
        for number in range(2000):
            await police.nc.publish("answer.police.accepted", f"garbage {number} ".encode() * 100)
        await police.nc.flush()
        await other.asks("answer.property.receipt", {**event, "data": {"key": key, "ticket": "P-1", "attempt": 1}})
        await until(hub, outcome, "property", AssignmentState.DELIVERED)

        async def both() -> bool:
            return len(await _aside(hub)) >= 2

        await eventually(both)
        # one for the foreign key, one for all the garbage
        assert sorted(item.subject for item in await _aside(hub)) == ["accepted: unreadable", "r2"]
    assert (await assignment_of(hub, outcome, "property")).ticket == "P-1"
