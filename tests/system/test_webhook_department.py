"""A department over webhooks behind a real hub: sent again on request, a door that is shut, callbacks that come twice."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hub_webhook import WebhookAdapter
from hub_webhook.simulator import adapter_settings

from hub.app import Hub
from hub.contract import CallbackRejected, CallbackRequest, Capability
from hub.errors import Withdrawn
from hub.model.actors import SYSTEM
from hub.model.assignments.commands import Resend
from hub.model.assignments.state import Assignment, AssignmentState, AttemptOutcome
from hub.spine.ledger.desk import Outcome
from hub.testing.kit import eventually
from hub.testing.process import SimulatorProcess
from hub.webhooks import Signer, new_secret
from tests.system.department import Department, report_gas, running_hub, scripted
from tests.system.test_dispatch import assignment_of, until

IDEMPOTENT = (Capability.IDEMPOTENT,)


async def again(hub: Hub, outcome: Outcome, adapter: str, tries: int) -> Assignment:
    """The assignment once it is delivered with so many attempts."""

    async def reached() -> bool:
        found = await assignment_of(hub, outcome, adapter)
        return found.state is AssignmentState.DELIVERED and len(found.attempts) == tries

    await eventually(reached)
    return await assignment_of(hub, outcome, adapter)


async def test_what_the_department_asks_for_again_is_sent_once_more_under_its_key(tmp_path: Path) -> None:
    with SimulatorProcess("hub_webhook.simulator", tmp_path / "sim", secret="s3cret", options=("--pace", "600")) as simulator:
        settings = adapter_settings(simulator.url, "s3cret")
        async with running_hub(tmp_path / "hub", {"police": webhook(settings)}, settings=settings) as hub:
            outcome = await report_gas(hub)
            first = await until(hub, outcome, "police", AssignmentState.DELIVERED)
            await hub.desk.execute(outcome.state.id, Resend(assignment=first.id, reason="库已重建", again=True), actor=SYSTEM)
            second = await again(hub, outcome, "police", 2)
            assert second.ticket == first.ticket
            assert [attempt.outcome for attempt in second.attempts] == [AttemptOutcome.DELIVERED] * 2
            tickets = await asyncio.to_thread(simulator.tickets)
            assert [ticket["ticket"] for ticket in tickets] == [first.ticket]


async def test_callback_that_comes_twice_is_answered_alike_and_done_once(tmp_path: Path) -> None:
    secret = new_secret()
    settings = {"url": "http://127.0.0.1:9/in", "secret": secret, "plain_http": True, "private_networks": ["127.0.0.0/8"]}
    async with running_hub(tmp_path, {"police": webhook(settings)}, settings=settings) as hub:
        outcome = await report_gas(hub)
        part = (await assignment_of(hub, outcome, "police")).id
        body = f'{{"type":"assignment.accepted","key":"{outcome.state.id}.{part}"}}'.encode()

        async def call(secret: str, id: str = "evt-1") -> int:
            headers = Signer([secret]).headers(id, body, now=datetime.now(UTC).timestamp())
            return await hub.reportback.callback(
                "police", CallbackRequest(method="POST", path="", headers=headers, query={}, body=body)
            )

        assert [await call(secret), await call(secret)] == [1, 1]
        assert (await assignment_of(hub, outcome, "police")).state is AssignmentState.ACCEPTED
        commits = [commit async for _, commit, _ in hub.ledger.follow(0, live=False) if commit.id == outcome.state.id]
        assert [commit.command for commit in commits].count("accept") == 1
        with pytest.raises(CallbackRejected):
            await call(new_secret(), "evt-2")


async def test_shut_door_pauses_until_an_operator_resumes_and_costs_no_attempt(tmp_path: Path) -> None:
    department = Department(script=deque([Withdrawn("410")]))
    async with running_hub(tmp_path, {"police": scripted("police", department, IDEMPOTENT)}) as hub:
        outcome = await report_gas(hub)

        async def paused() -> bool:
            return any(status.name == "police" and status.state == "paused" for status in await hub.statuses.all())

        await eventually(paused)
        found = await assignment_of(hub, outcome, "police")
        assert (found.state, found.tries, found.attempts[-1].error) == (AssignmentState.SENDING, 0, "withdrawn")
        assert len(department.calls) == 1
        await hub.adapters.resume("police")
        await until(hub, outcome, "police", AssignmentState.DELIVERED)


def webhook(settings: dict[str, object]) -> type[WebhookAdapter]:
    """The adapter under the name the test district's instance asks for."""

    class Named(WebhookAdapter):
        manifest = replace(WebhookAdapter.manifest, name="scripted-police")

    return Named
