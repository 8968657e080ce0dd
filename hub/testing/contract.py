"""The contract every adapter must pass, run against its own simulator as a real process.

A plugin subclasses `AdapterContract` once and gives the adapter class, the simulator's module and its `adapter_settings`:

    class TestHotlineContract(AdapterContract):
        adapter_class = HotlineAdapter
        simulator_module = "hub_hotline.simulator"
        adapter_settings = staticmethod(adapter_settings)

Undeclared capabilities are not tested; everything else is. Needs pytest with pytest-asyncio in auto mode. The simulator must refuse the
`refused_assignment` (by default a title with 不予受理) and mark recalled tickets `recalled`. It names its `statuses`, and attaches files by
`attach`. Rubbish, kills and leaks are in hub.testing.poisoned.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence, Set
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from hub.contract import (
    Adapter,
    Assignment,
    CallbackRejected,
    Capability,
    Feedback,
    FeedbackKind,
    How,
    Position,
    Receipt,
    Standing,
    StandingState,
)
from hub.errors import CredentialsRejected, OutcomeUnknown, Refused, Unavailable
from hub.testing.kit import PATIENCE, Inbox, open_inbox, running_adapter, sample_assignment
from hub.testing.poisoned import SECRET, Poisoned, tickets_of
from hub.testing.process import SimulatorProcess
from hub.testing.simulator import Simulator

_QUICK, _SLOW = "0.03", "600"
_METHODS = {
    Capability.LOOKUP: "lookup",
    Capability.RECALL: "recall",
    Capability.URGE: "urge",
    Capability.INFORM: "inform",
    Capability.POLL: "poll",
    Capability.CALLBACK: "parse_callback",
    Capability.AUDIT: "audit",
    Capability.CATALOGUE: "catalogue",
}


class AdapterContract(Poisoned):
    """Subclass as `Test…`; override the class variables, and `assignment` or `refused_assignment` where needed."""

    adapter_class: ClassVar[type[Adapter]]
    simulator_module: ClassVar[str]
    adapter_settings: ClassVar[staticmethod[[str, str], Mapping[str, object]]]
    simulator_options: ClassVar[Sequence[str]] = ()
    unit: ClassVar[str] = "dept.sample"
    """A unit the adapter serves."""
    patience: ClassVar[float] = PATIENCE
    """Seconds within which what the department does has to be heard of."""

    def assignment(self, **changes: Any) -> Assignment:
        """An assignment the department takes."""
        return sample_assignment(unit=self.unit, **changes)

    def refused_assignment(self) -> Assignment:
        """An assignment the department refuses."""
        return self.assignment(title="不予受理的事项")

    # fixtures

    @pytest.fixture(scope="class")
    @classmethod
    def quick_department(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
        """A department whose people are done in a moment."""
        with cls._simulator(tmp_path_factory.mktemp("quick"), _QUICK) as process:
            yield process

    @pytest.fixture(scope="class")
    @classmethod
    def slow_department(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
        """A department whose people do nothing while the test looks."""
        with cls._simulator(tmp_path_factory.mktemp("slow"), _SLOW) as process:
            yield process

    @classmethod
    def _simulator(cls, data: Path, pace: str) -> SimulatorProcess:
        options = ("--pace", pace, *cls.simulator_options)
        return SimulatorProcess(cls.simulator_module, data, secret=SECRET, options=options)

    @pytest.fixture
    def department(self, slow_department: SimulatorProcess) -> SimulatorProcess:
        """The slow department without faults."""
        slow_department.clear_faults()
        return slow_department

    @pytest.fixture
    async def adapter(self, department: SimulatorProcess) -> AsyncIterator[Adapter]:
        """The adapter, connected to `department`."""
        async with running_adapter(self.adapter_class, type(self).adapter_settings(department.url, SECRET)) as adapter:
            yield adapter

    @pytest.fixture
    async def inbox(self, quick_department: SimulatorProcess) -> AsyncIterator[Inbox]:
        """Where the quick department calls back; its adapter is connected."""
        quick_department.clear_faults()
        async with open_inbox() as inbox:
            quick_department.call_back_to(inbox.url)
            settings = type(self).adapter_settings(quick_department.url, SECRET)
            async with running_adapter(self.adapter_class, settings, timeout=5.0, callback_url=inbox.url) as adapter:
                inbox.adapter = adapter
                yield inbox

    def declares(self, *capabilities: Capability) -> bool:
        """Whether the adapter declares all of them."""
        return self.adapter_class.manifest.capabilities.issuperset(capabilities)

    # declared

    def test_declared_capabilities_are_defined(self) -> None:
        """What the manifest declares, the class defines; a way to hear back and a way out of a lost answer exist."""
        for capability, method in _METHODS.items():
            if self.declares(capability):
                assert getattr(self.adapter_class, method) is not getattr(Adapter, method), f"{capability} without {method}()"
        assert self.adapter_class.deliver is not Adapter.deliver, "deliver is not defined"
        assert self.declares(Capability.POLL) or self.declares(Capability.CALLBACK), "no way to give feedback"
        assert self.declares(Capability.LOOKUP) or self.declares(Capability.IDEMPOTENT), "no way out of a lost answer"

    def test_every_documented_status_is_in_the_crosswalk(self) -> None:
        """What the department's interface can say, the manifest's crosswalk maps: nothing is taken as progress by accident."""
        crosswalk = self.adapter_class.manifest.crosswalk.statuses
        for name, found in vars(importlib.import_module(self.simulator_module)).items():
            if isinstance(found, type) and issubclass(found, Simulator):
                missing = set(found.statuses) - set(crosswalk)
                assert not missing, f"{name} documents statuses that the crosswalk does not have: {sorted(missing)}"

    # handing over

    async def test_assignment_handed_over_has_the_departments_ticket(
        self, adapter: Adapter, department: SimulatorProcess
    ) -> None:
        """Deliver returns the number under which the department has it."""
        assignment = self.assignment()
        receipt = await adapter.deliver(assignment)
        assert tickets_of(department, assignment) == [receipt.ticket]

    async def test_assignment_with_a_position_is_handed_over(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """A position in any system is handed over or left out. Nobody refuses an assignment for it, even when it has no WGS-84."""
        position = Position(longitude=128_400.25, latitude=145_120.5, system="local", accuracy_m=5, how=How.PERSON)
        assignment = replace(self.assignment(), position=position)
        receipt = await adapter.deliver(assignment)
        assert tickets_of(department, assignment) == [receipt.ticket]

    async def test_assignment_the_department_does_not_want_is_refused(
        self, adapter: Adapter, department: SimulatorProcess
    ) -> None:
        """A no of the department is Refused with its reason, and files nothing."""
        if not self.over_http:
            return
        assignment = self.refused_assignment()
        with pytest.raises(Refused) as refusal:
            await adapter.deliver(assignment)
        assert str(refusal.value), "a refusal gives the department's reason"
        assert tickets_of(department, assignment) == []

    async def test_same_key_gives_the_same_ticket(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """Delivered again under the same key, nothing new is filed."""
        if not self.declares(Capability.IDEMPOTENT):
            return
        assignment = self.assignment()
        first = await adapter.deliver(assignment)
        assert await adapter.deliver(assignment) == first
        assert tickets_of(department, assignment) == [first.ticket]

    async def test_lost_answer_leads_to_one_ticket(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """The department took it and never answered: the outcome is unknown, asking by key finds it, nothing is filed twice."""
        if not self.over_http:
            return
        await adapter.health()  # so that a login isn't what gets lost
        assignment = self.assignment()
        department.fault("timeout_after_accept", count=1)
        with pytest.raises(OutcomeUnknown):
            await adapter.deliver(assignment)
        found: Receipt | None
        if self.declares(Capability.LOOKUP):
            found = await adapter.lookup(assignment)
        else:
            found = await adapter.deliver(assignment)
        assert found is not None, "the department has it and the adapter does not find it"
        assert tickets_of(department, assignment) == [found.ticket]

    async def test_lookup_of_what_was_never_sent_finds_nothing(self, adapter: Adapter) -> None:
        """None only when the department certainly has not got it."""
        if self.declares(Capability.LOOKUP):
            assert await adapter.lookup(self.assignment()) is None

    async def test_ticket_outlives_the_death_of_the_departments_system(
        self, adapter: Adapter, department: SimulatorProcess
    ) -> None:
        """Killed right after its answer, the department still has the ticket."""
        assignment = self.assignment()
        receipt = await adapter.deliver(assignment)
        department.kill()
        department.start()
        assert tickets_of(department, assignment) == [receipt.ticket]
        if self.declares(Capability.LOOKUP):
            assert await adapter.lookup(assignment) == receipt

    # trouble

    @pytest.mark.parametrize("fault", ["error", "unavailable"])
    async def test_failing_department_is_unavailable(self, fault: str, adapter: Adapter, department: SimulatorProcess) -> None:
        """500 and 503 mean: try again; nothing was filed."""
        if not self.over_http:
            return
        assignment = self.assignment()
        department.fault(fault, seconds=30)
        with pytest.raises(Unavailable):
            await adapter.deliver(assignment)
        assert tickets_of(department, assignment) == []

    async def test_rate_limit_is_unavailable_until_the_stated_time(
        self, adapter: Adapter, department: SimulatorProcess
    ) -> None:
        """429 with Retry-After says how long to wait."""
        if not self.over_http:
            return
        department.fault("rate_limit", seconds=30)
        with pytest.raises(Unavailable) as limited:
            await adapter.deliver(self.assignment())
        assert limited.value.retry_after == timedelta(seconds=1)

    async def test_department_that_is_down_is_unavailable(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """Nothing listens: try again; healthy again once it is back."""
        if not self.over_http:
            return
        department.kill()
        try:
            with pytest.raises(Unavailable):
                await adapter.deliver(self.assignment())
        finally:
            department.start()
        assert (await adapter.health()).ok

    async def test_rejected_credentials_are_told_apart(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """401 pauses the adapter instead of spending attempts."""
        if not self.over_http:
            return
        department.fault("bad_credentials", seconds=30)
        with pytest.raises(CredentialsRejected):
            await adapter.deliver(self.assignment())

    async def test_wrong_secret_is_rejected_by_the_department(self, department: SimulatorProcess) -> None:
        """The department really checks who calls."""
        if not self.over_http:
            return
        settings = type(self).adapter_settings(department.url, "not-the-secret")
        async with running_adapter(self.adapter_class, settings) as stranger:
            with pytest.raises(CredentialsRejected):
                await stranger.deliver(self.assignment())

    async def test_health_tells_up_from_down(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """Health answers ok, and during an outage not ok (or raises Unavailable)."""
        if not self.over_http:
            return
        assert (await adapter.health()).ok
        department.fault("outage", seconds=30)
        try:
            healthy = (await adapter.health()).ok
        except Unavailable:
            healthy = False
        assert not healthy

    # afterwards

    async def test_recall_takes_it_back_and_may_be_repeated(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """After a recall the department has stopped. A second recall, or one of an unknown assignment, is no error."""
        if not self.declares(Capability.RECALL):
            return
        assignment = self.assignment()
        receipt = await adapter.deliver(assignment)
        known = replace(assignment, ticket=receipt.ticket)
        await adapter.recall(known, "重复派单")
        assert [t["state"] for t in department.tickets() if t["key"] == assignment.key] == ["recalled"]
        await adapter.recall(known, "重复派单")
        await adapter.recall(self.assignment(), "从未送达")

    async def test_urging_reaches_the_department(self, adapter: Adapter) -> None:
        """A reminder for a ticket it has is taken."""
        if self.declares(Capability.URGE):
            assignment = self.assignment()
            receipt = await adapter.deliver(assignment)
            await adapter.urge(replace(assignment, ticket=receipt.ticket), "请尽快处理")

    async def test_audit_shows_how_tickets_stand(self, adapter: Adapter) -> None:
        """A ticket is on one of the pages, and says when it was recalled."""
        if not self.declares(Capability.AUDIT):
            return
        assignment = self.assignment()
        receipt = await adapter.deliver(assignment)
        standing = (await audited(adapter))[receipt.ticket]
        assert standing.state in (StandingState.FILED, StandingState.ACCEPTED)
        assert standing.key in (None, assignment.key)
        if self.declares(Capability.RECALL):
            await adapter.recall(replace(assignment, ticket=receipt.ticket), "重复派单")
            after = (await audited(adapter)).get(receipt.ticket)
            assert after is None or after.state is StandingState.RECALLED

    async def test_catalogue_names_every_category(self, adapter: Adapter) -> None:
        """Codes and names, the same when asked again."""
        if not self.declares(Capability.CATALOGUE):
            return
        found = await adapter.catalogue()
        assert found, "a catalogue with nothing in it: don't declare it"
        assert all(isinstance(code, str) and isinstance(name, str) and code and name for code, name in found.items())
        assert await adapter.catalogue() == found

    # reporting back

    async def test_reports_accepted_and_resolved_in_the_end(self, inbox: Inbox) -> None:
        """Acceptance and resolution come by poll or callback. Both can be matched to the assignment."""
        adapter = _adapter(inbox)
        assignment = self.assignment()
        receipt = await adapter.deliver(assignment)
        reports = await self.heard(inbox, assignment, receipt, {FeedbackKind.ACCEPTED, FeedbackKind.RESOLVED})
        assert all(report.at is None or report.at.tzinfo is not None for report in reports), "times must be aware"

    async def test_attached_files_come_whole(self, inbox: Inbox, quick_department: SimulatorProcess) -> None:
        """Every file that the department's people attached comes with feedback, with the checksum it had there."""
        adapter = _adapter(inbox)
        assignment = self.assignment()
        receipt = await adapter.deliver(assignment)
        await self.heard(inbox, assignment, receipt, {FeedbackKind.RESOLVED})
        attached = {file["sha256"] for file in quick_department.files() if file["ticket"] == receipt.ticket}
        # What is attached after the resolution comes after it: all of it has to come, not all of it at once.
        await self.heard(inbox, assignment, receipt, {FeedbackKind.RESOLVED}, files=attached)

    async def test_repeated_and_out_of_order_reports_keep_their_ids(
        self, inbox: Inbox, quick_department: SimulatorProcess
    ) -> None:
        """Whatever comes twice carries the same id twice; whatever comes late still comes."""
        adapter = _adapter(inbox)
        quick_department.fault("duplicate_callback", share=1)
        quick_department.fault("reorder_callbacks", share=0.5)
        assignment = self.assignment()
        receipt = await adapter.deliver(assignment)
        reports = await self.heard(inbox, assignment, receipt, {FeedbackKind.ACCEPTED, FeedbackKind.RESOLVED})
        said: dict[str, tuple[object, ...]] = {}
        for report in reports:
            content = (report.kind, report.note, report.at)
            assert said.setdefault(report.id, content) == content, "one id, two contents"
        for kind in (FeedbackKind.ACCEPTED, FeedbackKind.RESOLVED):
            assert len({report.id for report in reports if report.kind is kind}) == 1, f"{kind} has several ids"

    async def test_poll_goes_on_where_it_was(self, inbox: Inbox) -> None:
        """The cursor brings no feedback again once everything was fetched."""
        if not self.declares(Capability.POLL):
            return
        adapter = _adapter(inbox)
        assignment = self.assignment()
        receipt = await adapter.deliver(assignment)
        await self.heard(inbox, assignment, receipt, {FeedbackKind.RESOLVED})
        poll = await adapter.poll(None)
        while poll.more:
            poll = await adapter.poll(poll.cursor)
        again = await adapter.poll(poll.cursor)
        assert [item for item in again.items if isinstance(item, Feedback) and _about(item, assignment, receipt)] == []

    async def test_tampered_callback_is_rejected(self, inbox: Inbox) -> None:
        """Another body, no signature, or an old time stamp: 401."""
        if not self.declares(Capability.CALLBACK):
            return
        adapter = _adapter(inbox)
        assignment = self.assignment()
        receipt = await adapter.deliver(assignment)
        await self.heard(inbox, assignment, receipt, {FeedbackKind.ACCEPTED}, polling=False)
        genuine = inbox.requests[-1]
        assert await adapter.parse_callback(genuine), "the genuine callback is taken, again too"
        unsigned = {name: genuine.headers[name] for name in ("content-type", "content-length")}
        stale = {name: str(int(time.time()) - 3600) if value.isdigit() and len(value) == 10 else value
                 for name, value in genuine.headers.items()}  # fmt: skip
        for forged in (
            replace(genuine, body=genuine.body.replace(b"{", b"{ ", 1)),
            replace(genuine, headers=unsigned),
            replace(genuine, headers=stale),
        ):
            with pytest.raises(CallbackRejected) as rejection:
                await adapter.parse_callback(forged)
            assert rejection.value.status == 401

    async def heard(
        self,
        inbox: Inbox,
        assignment: Assignment,
        receipt: Receipt,
        kinds: set[FeedbackKind],
        *,
        files: Set[str] = frozenset(),
        polling: bool = True,
    ) -> list[Feedback]:
        """Wait for feedback of all `kinds` and with all `files` (SHA-256, hex) on the assignment. Returns all feedback on it so far."""
        adapter = _adapter(inbox)
        polled: list[Feedback] = []
        cursor: str | None = None
        give_up = time.monotonic() + self.patience
        while time.monotonic() < give_up:
            if polling and self.declares(Capability.POLL):
                poll = await adapter.poll(cursor)
                cursor = poll.cursor
                polled += [item for item in poll.items if isinstance(item, Feedback)]
            called = [item for item in inbox.items if isinstance(item, Feedback)]
            reports = [report for report in called + polled if _about(report, assignment, receipt)]
            came = {hashlib.sha256(file.content).hexdigest() for report in reports for file in report.files}
            if kinds <= {report.kind for report in reports} and files <= came:
                return reports
            await asyncio.sleep(0.05)
        raise AssertionError(
            f"no {kinds} with {len(files)} files within {self.patience} s;"
            f" rejected callbacks: {[str(r) for r in inbox.rejections]}"
        )


async def audited(adapter: Adapter) -> dict[str, Standing]:
    """All pages, by ticket."""
    found: dict[str, Standing] = {}
    cursor: str | None = None
    for _ in range(1000):
        page = await adapter.audit(cursor)
        found |= {standing.ticket: standing for standing in page.items}
        cursor = page.cursor
        if cursor is None:
            return found
    raise AssertionError("the audit has no end")


def _about(report: Feedback, assignment: Assignment, receipt: Receipt) -> bool:
    return report.key == assignment.key if report.key is not None else report.ticket == receipt.ticket


def _adapter(inbox: Inbox) -> Adapter:
    assert inbox.adapter is not None, "the inbox fixture connects an adapter"
    return inbox.adapter
