"""Adapters come, change, are tried on a part, rolled back and go while the hub runs; nothing is lost or done twice."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from hub.app import Hub
from hub.contract import (
    Adapter,
    AdapterSettings,
    Assignment,
    CallbackRejected,
    CallbackRequest,
    Capability,
    Feedback,
    Health,
    IncomingCase,
    Manifest,
    Placement,
    Receipt,
)
from hub.errors import InvalidInput, LedgerConflict, NotAllowed
from hub.model.actors import SYSTEM
from hub.model.assignments.state import AssignmentState
from hub.platform.instances.book import Canary, Change, switch
from hub.platform.instances.registration import By, Patch
from hub.settings import Settings
from hub.testing.kit import eventually
from tests.system.department import CONFIG, Department, report_gas, running_hub, scripted
from tests.system.matters import case_of

BY = By(actor=SYSTEM, note="test")
SECRET = "s3cret-of-the-department"


class Desk:
    """What all versions of the adapter under test share."""

    delivered: ClassVar[list[tuple[str, str]]] = []
    release: ClassVar[asyncio.Event]
    healthy: ClassVar[bool] = True
    built: ClassVar[list[str]] = []
    stopped: ClassVar[list[str]] = []


class DeskSettings(AdapterSettings):
    url: str
    secret: SecretStr


class DeskAdapter(Adapter):
    """Notes under which settings it delivered; waits while a url says so."""

    manifest = Manifest(
        name="desk", department="窗口", version="1", capabilities=frozenset({Capability.IDEMPOTENT, Capability.CALLBACK})
    )
    Settings = DeskSettings
    settings: DeskSettings

    async def start(self) -> None:
        Desk.built.append(self.settings.url)

    async def stop(self) -> None:
        Desk.stopped.append(self.settings.url)

    async def deliver(self, assignment: Assignment) -> Receipt:
        if self.settings.url == "slow":
            await Desk.release.wait()
        Desk.delivered.append((self.settings.url, assignment.key))
        return Receipt(ticket=f"{self.settings.url}-{assignment.key}")

    async def parse_callback(self, request: CallbackRequest) -> list[Feedback | IncomingCase]:
        if request.headers.get("secret") != self.settings.secret.get_secret_value():
            raise CallbackRejected("wrong secret")
        return []

    async def health(self) -> Health:
        return Health(ok=self.settings.url != "down", detail="no such host")


@pytest.fixture(autouse=True)
def fresh() -> None:
    Desk.delivered, Desk.built, Desk.stopped = [], [], []
    Desk.release = asyncio.Event()


def settings(url: str, **more: Any) -> Patch:
    return Patch(settings={"url": url, "secret": SECRET, **more}, units=("gas",))


def hub_of(path: Path) -> Any:
    departments = {name: scripted(name, Department()) for name in ("police", "property")}
    return running_hub(path, departments, extra=[DeskAdapter])


def holding(path: Path, text: str) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


async def deliveries(hub: Hub, count: int) -> None:
    await eventually(lambda: len(Desk.delivered) >= count)


async def test_an_instance_added_while_the_hub_runs_takes_the_next_case(tmp_path: Path) -> None:
    async with hub_of(tmp_path) as hub:
        await hub.registration.add("gasworks", "desk", settings("a"), BY)
        outcome = await report_gas(hub)
        await deliveries(hub, 1)
        assert Desk.delivered[0][0] == "a"
        own = next(item for item in outcome.state.assignments if item.unit == "gas")
        assert own.adapter == "gasworks"


async def test_what_was_added_is_there_after_a_restart_and_its_secret_is_nowhere_in_the_clear(tmp_path: Path) -> None:
    async with hub_of(tmp_path) as hub:
        await hub.registration.add("gasworks", "desk", settings("a"), BY)
    assert not holding(tmp_path, SECRET)
    async with hub_of(tmp_path) as hub:
        assert (await hub.statuses.of("gasworks")).state == "running"
        request = CallbackRequest(method="POST", path="", headers={"secret": SECRET}, query={}, body=b"")
        assert await hub.reportback.callback("gasworks", request) == 0
        history = await hub.registration.history("gasworks")
        assert [(record.version, record.action, record.note) for record in history] == [(1, "add", "test")]
        assert hub.registration.shown_settings(history[0].stable)["secret"] == "***"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("patch", "subject"),
    [
        (Patch(settings={"url": "a"}), "settings.secret"),
        (Patch(settings={"url": "a", "secret": "x", "colour": 1}), "settings.colour"),
        (Patch(settings={"url": "down", "secret": "x"}), "settings"),
        (Patch(settings={"url": "a", "secret": "x"}, units=("nobody",)), "units"),
        (Patch(settings={"url": "a", "secret": "x"}, areas=("999999",)), "areas"),
        (Patch(settings={"url": "a", "secret": "x"}, percent=101), "percent"),
        (Patch(settings={"url": "a", "secret": {"$secret": "0" * 32}}), "settings.secret"),
        (Patch(settings={"url": "a", "secret": "x"}, statuses={"DONE": "finished"}), "statuses[...]"),
    ],
)
async def test_a_wrong_instance_is_refused_naming_the_field_and_nothing_is_stored(patch: Patch, subject: str, hub: Hub) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await hub.registration.add("gasworks", "desk", patch, BY)
    assert refusal.value.subject == subject
    with pytest.raises(NotAllowed):
        hub.adapters.record("gasworks")


@pytest.fixture
async def hub(tmp_path: Path) -> Any:
    async with hub_of(tmp_path) as hub:
        yield hub


async def test_unknown_plugins_and_taken_names_are_refused(hub: Hub) -> None:
    with pytest.raises(InvalidInput, match="no plugin named nix"):
        await hub.registration.add("x", "nix", Patch(), BY)
    with pytest.raises(InvalidInput, match="exists"):
        await hub.registration.add("police", "desk", settings("a"), BY)
    with pytest.raises(InvalidInput, match="letters"):
        await hub.registration.add("a.b", "desk", settings("a"), BY)


async def test_a_change_swaps_the_plugin_and_what_is_in_flight_ends_as_it_began(hub: Hub) -> None:
    await hub.registration.add("gasworks", "desk", settings("slow"), BY)
    await report_gas(hub)
    await eventually(lambda: hub.adapters.running()[-1].active > 0 or bool(Desk.delivered))
    await hub.registration.change("gasworks", Patch(settings={"url": "b"}), BY)
    await report_gas(hub, text="四单元也有燃气味，请来看看。")
    await deliveries(hub, 1)
    assert Desk.delivered[0][0] == "b"
    assert Desk.stopped == ["slow", "b"]  # each was tried before it took traffic
    Desk.release.set()
    await deliveries(hub, 2)
    assert Desk.delivered[1][0] == "slow"
    await eventually(lambda: Desk.stopped == ["slow", "b", "slow"])


async def test_a_candidate_serves_its_part_until_it_is_promoted_or_rolled_back(hub: Hub) -> None:
    await hub.registration.add("gasworks", "desk", settings("a"), BY)
    canary = Canary(areas=("320113001001",))
    await hub.registration.change("gasworks", Patch(settings={"url": "b"}), BY, canary=canary)
    await report_gas(hub)
    await report_gas(hub, area="320113002", text="另一个街道的燃气味。")
    await deliveries(hub, 2)
    assert {url for url, key in Desk.delivered if key.startswith("320113001001")} == {"b"}
    assert {url for url, key in Desk.delivered if key.startswith("320113002")} == {"a"}
    status = await hub.statuses.of("gasworks")
    assert (status.candidate_version, status.canary) == (2, canary)
    await hub.registration.promote("gasworks", BY)
    await report_gas(hub, area="320113002", text="又有燃气味了。")
    await deliveries(hub, 3)
    assert Desk.delivered[2][0] == "b"
    await hub.registration.roll_back("gasworks", BY)
    await report_gas(hub, area="320113002", text="还是有燃气味。")
    await deliveries(hub, 4)
    assert Desk.delivered[3][0] == "a"
    actions = [record.action for record in await hub.registration.history("gasworks")]
    assert actions == ["add", "canary", "promote", "rollback"]


async def test_callbacks_signed_with_the_new_secret_are_read_while_it_is_on_trial(hub: Hub) -> None:
    await hub.registration.add("gasworks", "desk", settings("a"), BY)
    await hub.registration.change("gasworks", Patch(settings={"secret": "another"}), BY, canary=Canary(percent=1))
    for secret in (SECRET, "another"):
        request = CallbackRequest(method="POST", path="", headers={"secret": secret}, query={}, body=b"")
        assert await hub.reportback.callback("gasworks", request) == 0
    wrong = CallbackRequest(method="POST", path="", headers={"secret": "wrong"}, query={}, body=b"")
    with pytest.raises(CallbackRejected):
        await hub.reportback.callback("gasworks", wrong)


async def test_a_disabled_instance_keeps_its_queue_and_goes_on_with_it(hub: Hub) -> None:
    await hub.registration.add("gasworks", "desk", settings("a"), BY)
    await hub.registration.disable("gasworks", BY)
    with pytest.raises(NotAllowed):
        await hub.reportback.callback("gasworks", CallbackRequest(method="POST", path="", headers={}, query={}, body=b""))
    outcome = await report_gas(hub)
    own = next(item for item in outcome.state.assignments if item.unit == "gas")
    assert own.adapter != "gasworks"  # nothing is bound to it while it is off
    await hub.registration.enable("gasworks", BY)
    await report_gas(hub, text="再次报告燃气味。")
    await deliveries(hub, 1)


async def test_a_draining_instance_ends_what_it_has_and_takes_nothing_new(hub: Hub) -> None:
    await hub.registration.add("gasworks", "desk", settings("slow"), BY)
    first = await report_gas(hub)
    await eventually(lambda: any(one.active for one in hub.adapters.running()))
    await hub.registration.drain("gasworks", BY)
    await report_gas(hub, text="排空期间的燃气味。")
    assert (await hub.statuses.of("gasworks")).state == "draining"
    Desk.release.set()
    await deliveries(hub, 1)

    async def drained() -> bool:
        return (await hub.statuses.of("gasworks")).state == "drained"

    await eventually(drained)
    assert len(Desk.delivered) == 1
    case = await case_of(hub, first.state.id)
    assert case is not None
    assert next(item for item in case.assignments if item.unit == "gas").state is AssignmentState.DELIVERED
    await hub.registration.enable("gasworks", BY)
    await deliveries(hub, 2)


async def test_a_removed_instance_leaves_its_history_and_no_secret(hub: Hub) -> None:
    await hub.registration.add("gasworks", "desk", settings("a"), BY)
    with pytest.raises(InvalidInput, match="disable it first"):
        await hub.registration.remove("gasworks", BY)
    await hub.registration.disable("gasworks", BY)
    await hub.registration.remove("gasworks", BY)
    with pytest.raises(NotAllowed):
        hub.adapters.record("gasworks")
    assert [r.action for r in await hub.registry.history("gasworks")] == ["add", "disable", "remove"]
    await hub.registration.disable("police", BY)
    with pytest.raises(InvalidInput, match=r"config/adapters\.yaml"):
        await hub.registration.remove("police", BY)
    again = await hub.registration.add("gasworks", "desk", settings("b"), BY)
    assert again.version == 4


async def test_an_instance_of_the_files_is_changed_in_the_ledger_and_goes_back_to_the_file(hub: Hub) -> None:
    assert (await hub.statuses.of("police")).origin == "file"
    await hub.registration.change("police", Patch(concurrency=3), BY)
    status = await hub.statuses.of("police")
    assert (status.origin, status.settings_version) == ("ledger", 1)
    assert hub.adapters.get("police").instance.concurrency == 3
    await hub.registration.roll_back("police", BY)
    assert (await hub.statuses.of("police")).origin == "file"
    assert hub.adapters.get("police").instance.concurrency == 8


async def test_two_changes_on_one_state_are_one_change_and_one_conflict(hub: Hub) -> None:
    await hub.registration.add("gasworks", "desk", settings("a"), BY)
    results = await asyncio.gather(
        *(hub.registration.change("gasworks", Patch(concurrency=n), BY) for n in (2, 3)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["InstanceRecord", LedgerConflict.__name__]


async def test_what_another_process_changes_between_this_ones_start_and_its_stages_is_in_force(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {"police": scripted("police", Department())}, stages=False) as hub:
        change = Change(at=datetime.now(UTC), actor=SYSTEM)
        await hub.registry.append(switch(hub.adapters.record("police"), change, enabled=False))
        version = await hub.ledger.publish_policy(hub.rulebook.rules().sources, SYSTEM)
        async with hub.running():
            await eventually(lambda: not hub.adapters.record("police").enabled)
            await eventually(lambda: hub.rulebook.rules().version == version)


async def test_an_instance_whose_plugin_is_gone_is_shown_as_failed_and_the_hub_serves(tmp_path: Path) -> None:
    async with hub_of(tmp_path) as hub:
        await hub.registration.add("gasworks", "desk", settings("a"), BY)
    settings_ = Settings(data=tmp_path, config=CONFIG)
    settings_ = settings_.model_copy(update={"nats": settings_.nats.model_copy(update={"port": 0})})
    async with Hub.open(settings_, instances=[]) as hub, hub.running():
        status = await hub.statuses.of("gasworks")
        assert status.state == "failed"
        assert "no plugin named desk" in status.detail


async def test_a_worker_process_is_refused_where_there_can_be_none(hub: Hub) -> None:
    hub.adapters.workers = False
    with pytest.raises(InvalidInput, match="embedded server") as refusal:
        await hub.registration.add("gasworks", "desk", Patch(placement=Placement.PROCESS), BY)
    assert refusal.value.subject == "placement"


async def test_a_kept_secret_goes_to_no_other_host(hub: Hub) -> None:
    await hub.registration.add("gasworks", "desk", settings("https://a.example.cn/in"), BY)
    await hub.registration.change("gasworks", Patch(settings={"url": "https://a.example.cn/other"}), BY)
    with pytest.raises(InvalidInput, match="give the secret again") as refusal:
        await hub.registration.change("gasworks", Patch(settings={"url": "https://b.example.cn/in"}), BY)
    assert refusal.value.subject == "settings.secret"
    await hub.registration.change("gasworks", Patch(settings={"url": "https://b.example.cn/in", "secret": "known"}), BY)
