"""The smaller kinds of plugins in a running hub, and plugins that do what they must not."""

import time
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hub.app import Hub
from hub.contract import (
    Alert,
    AlertKind,
    CallbackRejected,
    CallbackRequest,
    Capability,
    CaseText,
    Classifier,
    Feedback,
    FeedbackKind,
    IncomingCase,
    IntakeChannel,
    Manifest,
    Notifier,
    Plugin,
    Poll,
    Suggestion,
)
from hub.errors import Refused, Unavailable
from hub.model.actors import SYSTEM
from hub.model.case.state import Channel, Severity
from hub.platform.instances.registration import By, Patch
from hub.platform.upkeep.repairs import RepairFilter
from hub.testing.kit import eventually
from tests.system.department import GRID, Department, report_gas, running_hub, scripted

BY = By(actor=SYSTEM)


class Group(Notifier):
    """A chat group that is down at first."""

    manifest = Manifest(name="group", department="", version="1")
    told: ClassVar[list[Alert]] = []
    trouble: ClassVar[int] = 0

    async def notify(self, alert: Alert) -> None:
        if Group.trouble:
            Group.trouble -= 1
            raise Unavailable("down")
        Group.told.append(alert)


class Guess(Classifier):
    manifest = Manifest(name="guess", department="", version="1")
    answer: ClassVar[Any] = None
    asked: ClassVar[list[CaseText]] = []

    async def classify(self, case: CaseText) -> Suggestion | None:
        Guess.asked.append(case)
        if isinstance(Guess.answer, BaseException):
            raise Guess.answer
        return Guess.answer  # type: ignore[no-any-return]


class Sensors(IntakeChannel):
    manifest = Manifest(
        name="sensors",
        department="物联感知",
        version="1",
        capabilities=frozenset({Capability.POLL}),
        poll_every=timedelta(seconds=0.05),
    )
    items: ClassVar[list[Any]] = []

    async def poll(self, cursor: str | None) -> Poll:
        start = int(cursor or 0)
        return Poll(items=Sensors.items[start:], cursor=str(len(Sensors.items)))


class Doorbell(IntakeChannel):
    manifest = Manifest(name="doorbell", department="", version="1", capabilities=frozenset({Capability.CALLBACK}))

    async def parse_callback(self, request: CallbackRequest) -> list[Feedback | IncomingCase]:
        return [Feedback(id="R", kind=FeedbackKind.ACCEPTED, key="320113001001001-0000000000000000.a1")]


class Blocking(Notifier):
    """Blocks the whole loop, as a plugin must not."""

    manifest = Manifest(name="blocking", department="", version="1")
    seconds: ClassVar[float] = 0.0

    async def notify(self, alert: Alert) -> None:
        until = time.monotonic() + Blocking.seconds
        while time.monotonic() < until:
            pass


KINDS: list[type[Plugin]] = [Group, Guess, Sensors, Doorbell, Blocking]


@pytest.fixture
async def hub(tmp_path: Path) -> Any:
    Group.told, Group.trouble, Guess.answer, Guess.asked, Sensors.items = [], 0, None, [], []
    departments = {name: scripted(name, Department()) for name in ("property", "utilities")}
    police = Department(script=deque([Refused("没有警力")]))
    async with running_hub(tmp_path, {"police": scripted("police", police), **departments}, extra=KINDS) as hub:
        yield hub


async def unknown(hub: Hub, **changes: Any) -> Any:
    return await report_gas(
        hub, **{"title": "说不清的事", "text": "一些难以名状的事情", "category": None, "severity": None} | changes
    )


async def test_people_are_told_of_what_waits_for_them_also_when_the_group_was_down(hub: Hub) -> None:
    await hub.registration.add("group", "group", Patch(), BY)
    Group.trouble = 1
    outcome = await report_gas(hub)
    await eventually(lambda: Group.told)
    assert (Group.told[0].kind, Group.told[0].case) == (AlertKind.REFUSED, outcome.state.id)
    assert "没有警力" not in Group.told[0].text


async def test_a_classifier_is_asked_only_when_no_word_says_what_it_is(hub: Hub) -> None:
    await hub.registration.add("guess", "guess", Patch(), BY)
    Guess.answer = Suggestion(category="E0401", confidence=0.9, severity=Severity.MAJOR, because="像是燃气")
    outcome = await unknown(hub)
    assert (outcome.state.category, outcome.state.severity) == ("E0401", Severity.MAJOR)
    assert len(Guess.asked) == 1
    commits = await hub.ledger.commits(outcome.state.id)
    assert any("guess" in str(event) and "像是燃气" in str(event) for _, commit in commits for event in commit.events)
    known = await report_gas(hub, category=None, text="楼道里燃气泄漏，气味很大", title="燃气泄漏")
    assert known.state.category == "E0401"
    assert len(Guess.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "E0401",
        RuntimeError("bug"),
        SystemExit(1),
        Suggestion(category="NONE", confidence=1.0),
        Suggestion(category="E0401", confidence=0.2),
    ],
    ids=str,
)
async def test_a_report_never_waits_for_a_classifier_that_is_no_use(answer: Any, hub: Hub) -> None:
    await hub.registration.add("guess", "guess", Patch(), BY)
    Guess.answer = answer
    outcome = await unknown(hub)
    assert outcome.state.category is not None
    assert outcome.state.category != "E0401"


async def test_a_channel_brings_cases_in_and_rubbish_among_them_is_put_aside(hub: Hub) -> None:
    now = datetime.now(UTC)
    good = IncomingCase(ref="S-1", channel=Channel.DEVICE, title="水位超限", text="三号井水位超限", reported_at=now, area=GRID)
    late = IncomingCase(ref="S-2", channel=Channel.DEVICE, title="x", text="y", reported_at=now + timedelta(days=30), area=GRID)
    foreign = Feedback(id="R-1", kind=FeedbackKind.ACCEPTED, key="320113001001001-0000000000000000.a1", at=now)
    Sensors.items = [good, "rubbish", late, foreign]
    await hub.registration.add("sensors", "sensors", Patch(), BY)

    async def case() -> Any:
        return await hub.views.case_of_source("sensors", "S-1")

    await eventually(case)

    async def aside() -> bool:
        found = await hub.repairs.list(RepairFilter())
        return {item.subject for item in found.items} == {"#1", "S-2"}

    await eventually(aside)


async def test_a_plugin_that_spins_is_named_and_isolated(hub: Hub) -> None:
    Blocking.seconds = 3.5
    await hub.registration.add("blocking", "blocking", Patch(), BY)
    await report_gas(hub)

    async def isolated() -> bool:
        status = await hub.statuses.of("blocking")
        return status.state == "paused" or status.placement == "process"

    await eventually(isolated)
    found = await hub.repairs.list(RepairFilter())
    assert any(item.kind == "blocked_loop" and item.adapter == "blocking" for item in found.items)


async def test_a_flood_of_callbacks_is_told_to_come_later(hub: Hub) -> None:
    await hub.registration.add("doorbell", "doorbell", Patch(items_per_second=1.0), BY)
    request = CallbackRequest(method="POST", path="", headers={}, query={}, body=b"")
    for _ in range(5):
        assert await hub.reportback.callback("doorbell", request) == 1
    with pytest.raises(CallbackRejected) as rejection:
        await hub.reportback.callback("doorbell", request)
    assert rejection.value.status == 429
