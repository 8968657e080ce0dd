"""The contract suite's tests about a department that answers rubbish, and about a plugin's leftovers.

Mixed into `hub.testing.contract.AdapterContract`; a plugin's test never names it.
"""

from __future__ import annotations

import asyncio
import os
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog

from hub.contract import Adapter, AdapterInstance, Assignment, Capability, Context, Receipt
from hub.errors import AdapterFault, DeliveryError, HubError, OutcomeUnknown, Unavailable
from hub.platform.adapters.outbound import departmental_client
from hub.platform.adapters.running import Running, build
from hub.testing.callbacks import webhook_secret
from hub.testing.durable import FileStore, start_handing
from hub.testing.kit import MemoryStore, eventually, running_adapter
from hub.testing.process import SimulatorProcess

SECRET = "contract-suite-secret"  # noqa: S105 - shared with a simulator of this test run
ATTEMPT = 1.5
"""Seconds an attempt may take where a test waits for its end."""
ROOM = 24 * 1024 * 1024
"""Bytes an answer of 50 MB may cost at most."""
_LOUD = frozenset({"warning", "error", "critical", "exception"})


class Poisoned:
    """Rubbish, hangs, kills, leaks. The fixtures and class variables are those of `AdapterContract`."""

    adapter_class: ClassVar[type[Adapter]]
    adapter_settings: ClassVar[staticmethod[[str, str], Mapping[str, object]]]
    over_http: ClassVar[bool] = True
    """False: their system answers no requests (files, mail); what can only go wrong on the wire is not tested."""

    def assignment(self, **changes: Any) -> Assignment:
        """An assignment the department takes."""
        raise NotImplementedError

    def declares(self, *capabilities: Capability) -> bool:
        """Whether the adapter declares all of them."""
        raise NotImplementedError

    @asynccontextmanager
    async def bounded(self, department: SimulatorProcess) -> AsyncIterator[Running]:
        """The adapter as the hub runs it, with `ATTEMPT` seconds for each attempt."""
        manifest = replace(self.adapter_class.manifest, attempt_timeout=timedelta(seconds=ATTEMPT))
        hurried = type(self.adapter_class.__name__, (self.adapter_class,), {"manifest": manifest})
        instance = AdapterInstance(
            name=manifest.name, plugin=manifest.name, settings=type(self).adapter_settings(department.url, SECRET)
        )
        running = build(hurried, instance, store=MemoryStore(), callback_url="http://127.0.0.1:9/hooks/test")
        await running.start()
        try:
            yield running
        finally:
            await running.stop()

    async def settled(self, adapter: Adapter, assignment: Assignment) -> Receipt | None:
        """What becomes of an assignment whose outcome is unknown: asked for by key, else handed over again."""
        if self.declares(Capability.LOOKUP):
            found = await adapter.lookup(assignment)
            if found is not None:
                return found
        return await adapter.deliver(assignment)

    # rubbish

    async def test_garbage_is_a_fault_and_never_a_second_ticket(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """200 with bytes that mean nothing: AdapterFault, or OutcomeUnknown where the same key would file another."""
        if not self.over_http:
            return
        await adapter.health()
        assignment = self.assignment()
        department.script("garbage")
        with pytest.raises((AdapterFault, OutcomeUnknown)) as trouble:
            await adapter.deliver(assignment)
        if not self.declares(Capability.IDEMPOTENT):
            assert isinstance(trouble.value, OutcomeUnknown), "it may have been filed: sent again it would be filed twice"
        department.clear_faults()
        receipt = await self.settled(adapter, assignment)
        assert receipt is not None
        assert tickets_of(department, assignment) == [receipt.ticket]

    async def test_garbage_instead_of_news_is_a_fault(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """A poll, a list and a lookup that bring rubbish say so instead of bringing nothing."""
        if not self.over_http:
            return
        asked: Mapping[Capability, Callable[[], Awaitable[object]]] = {
            Capability.POLL: lambda: adapter.poll(None),
            Capability.LOOKUP: lambda: adapter.lookup(self.assignment()),
            Capability.AUDIT: lambda: adapter.audit(None),
            Capability.CATALOGUE: adapter.catalogue,
        }
        for capability, ask in asked.items():
            if self.declares(capability):
                department.fault("garbage", seconds=30)
                with pytest.raises(DeliveryError):
                    await ask()
                department.clear_faults()

    async def test_huge_answer_is_refused_without_eating_memory(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """50 MB of answer are cut off: nothing but the client of the hub may read from the network."""
        if not self.over_http:
            return
        await adapter.health()
        assignment = self.assignment()
        department.script("huge(50MB)")
        tracemalloc.start()
        try:
            with pytest.raises((AdapterFault, OutcomeUnknown)):
                await adapter.deliver(assignment)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < ROOM, f"{peak} bytes for one answer"
        department.clear_faults()
        receipt = await self.settled(adapter, assignment)
        assert receipt is not None
        assert tickets_of(department, assignment) == [receipt.ticket]

    @pytest.mark.parametrize("step", ["hang(20s)", "drip(20s)"])
    async def test_attempt_ends_in_time_whatever_the_department_does(self, step: str, department: SimulatorProcess) -> None:
        """No answer, or one byte after the other: the attempt is over when its time is, and nothing goes on behind it."""
        if not self.over_http:
            return
        async with self.bounded(department) as running:
            await running.health()
            assignment = self.assignment()
            department.script(step)
            began = time.monotonic()
            with pytest.raises((OutcomeUnknown, Unavailable)):
                await running.deliver(assignment)
            assert time.monotonic() - began < ATTEMPT + 2
            assert running.strays == 0, "a call that was given up goes on"

    async def test_broken_connection_leads_to_one_ticket(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """Reset after the request was carried out: the outcome is unknown, and settled without a second ticket."""
        if not self.over_http:
            return
        await adapter.health()
        assignment = self.assignment()
        department.script("close")
        with pytest.raises(OutcomeUnknown):
            await adapter.deliver(assignment)
        receipt = await self.settled(adapter, assignment)
        assert receipt is not None
        assert tickets_of(department, assignment) == [receipt.ticket]

    async def test_killed_between_sending_and_answer_leads_to_one_ticket(
        self, department: SimulatorProcess, tmp_path: Path
    ) -> None:
        """SIGKILL of the process the adapter runs in: another one finds out what became of it."""
        if not self.over_http or "<locals>" in self.adapter_class.__qualname__:
            return
        settings = type(self).adapter_settings(department.url, SECRET)
        assignment = self.assignment()
        department.script("hang(60s)")
        child = start_handing(self.adapter_class, settings, assignment, tmp_path / "store")
        try:
            await eventually(lambda: bool(tickets_of(department, assignment)) or child.poll() is not None, within=30)
            assert child.poll() is None, "it ended before it could be killed"
        finally:
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        department.clear_faults()
        async with running_adapter(self.adapter_class, settings, store=FileStore(tmp_path / "store")) as another:
            receipt = await self.settled(another, assignment)
        assert receipt is not None
        assert tickets_of(department, assignment) == [receipt.ticket]

    # what it leaves behind

    async def test_stop_leaves_nothing_behind(self, department: SimulatorProcess) -> None:
        """No task, no connection: a plugin is taken out of a hub that goes on."""
        before = (asyncio.all_tasks(), _connections())
        settings = type(self).adapter_settings(department.url, SECRET)
        async with running_adapter(self.adapter_class, settings) as adapter:
            await adapter.health()
            await adapter.deliver(self.assignment())
            if self.declares(Capability.POLL):
                await adapter.poll(None)
        await asyncio.sleep(0)  # what was cancelled ends in the next turn
        left = {task for task in asyncio.all_tasks() - before[0] if not task.done()}
        assert not left, f"tasks go on: {left}"
        assert _connections() <= before[1], "connections stay open"

    async def test_department_that_is_down_is_logged_once(self, department: SimulatorProcess) -> None:
        """The hub says that a department is down. A plugin that says so too, says it once, not at every call."""
        log = structlog.testing.LogCapture()
        async with self._told(department, log) as adapter:
            await adapter.deliver(self.assignment())
            department.fault("outage", seconds=30)
            asked: tuple[Callable[[], Awaitable[object]], ...] = (
                lambda: adapter.deliver(self.assignment()),
                adapter.health,
                lambda: self._polled(adapter),
            )
            for _ in range(5):
                for ask in asked:
                    try:
                        await ask()
                    except DeliveryError:
                        continue
        loud = [entry["event"] for entry in log.entries if entry["log_level"] in _LOUD]
        assert all(loud.count(event) == 1 for event in loud), f"said again and again: {loud}"

    async def test_secrets_never_show(self, department: SimulatorProcess, caplog: pytest.LogCaptureFixture) -> None:
        """Not in logs, not in errors or what caused them, not in repr or diagnostics."""
        if not self.over_http:
            return
        caplog.set_level("DEBUG")
        log = structlog.testing.LogCapture()
        shown: list[object] = []
        async with self._told(department, log) as adapter:
            await adapter.deliver(self.assignment())
            shown += [repr(adapter), repr(adapter.settings), str(adapter.settings), await adapter.diagnostics()]
            for fault in ("bad_credentials", "error", "garbage"):
                department.fault(fault, seconds=30)
                try:
                    await adapter.deliver(self.assignment())
                except DeliveryError as error:
                    shown += _chain(error)
                department.clear_faults()
        text = "\n".join(map(str, (*shown, log.entries, caplog.text)))
        for secret in (SECRET, webhook_secret(SECRET), webhook_secret(SECRET).removeprefix("whsec_")):
            assert secret not in text, "a secret shows"

    @asynccontextmanager
    async def _told(self, department: SimulatorProcess, log: structlog.testing.LogCapture) -> AsyncIterator[Adapter]:
        """The adapter with a log that is kept."""
        kind, name = self.adapter_class, self.adapter_class.manifest.name
        bound: Any = structlog.wrap_logger(None, processors=[log], wrapper_class=structlog.stdlib.BoundLogger)
        async with departmental_client(name, timeout=1.0) as http:
            context = Context(
                instance=name, http=http, store=MemoryStore(), log=bound, callback_url="http://127.0.0.1:9/hooks/test"
            )
            settings = type(self).adapter_settings(department.url, SECRET)
            adapter = kind(kind.Settings.model_validate(dict(settings)), context)
            await adapter.start()
            try:
                yield adapter
            finally:
                await adapter.stop()

    async def _polled(self, adapter: Adapter) -> object:
        return await adapter.poll(None) if self.declares(Capability.POLL) else None


def tickets_of(department: SimulatorProcess, assignment: Assignment) -> list[str]:
    """What the department filed for it."""
    return [ticket["ticket"] for ticket in department.tickets() if ticket["key"] == assignment.key]


def _connections() -> frozenset[str]:
    """The sockets of this process, as Linux shows them; none elsewhere."""
    found = []
    root = Path("/proc/self/fd")
    for entry in root.iterdir() if root.is_dir() else ():
        try:
            target = os.readlink(entry)
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:"):
            found.append(target)
    return frozenset(found)


def _chain(error: BaseException | None) -> Sequence[object]:
    """An error and everything it shows of what caused it."""
    shown: list[object] = []
    while error is not None:
        shown += [repr(error), str(error), vars(error) if isinstance(error, HubError) else ""]
        error = error.__cause__
    return shown
