"""Report-back: takes the feedback of departments' systems, and the cases they bring in, by callback or poll.

Owns the poll loops, one hub's at a time, with their durable cursors. Feedback goes to `Taking`, new matters go to intake. Called by the
API; started by the composition root.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Protocol

import structlog

from hub.bus.buckets import Bucket, Entry
from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.lease import Lease
from hub.contract import CallbackRejected, CallbackRequest, Capability, Feedback, IncomingCase
from hub.errors import (
    CredentialsRejected,
    HubError,
    InvalidInput,
    LedgerConflict,
    NotAllowed,
    Withdrawn,
)
from hub.model.actors import Actor, ActorKind
from hub.observing import telemetry
from hub.spine.departments import Brought, DepartmentHere, Departments
from hub.spine.ledger.desk import Outcome
from hub.spine.ways_in.taking import Taking

log = structlog.get_logger("hub.reportback")


class Incoming(Protocol):
    """Report-back's need of intake: open a case that a department's system brings in."""

    async def __call__(self, adapter: str, item: IncomingCase, actor: Actor, cause: str | None) -> Outcome[Any]:
        """Open or find the case."""
        ...


class ReportBack:
    """Asks and hears departments' systems."""

    def __init__(self, bus: Bus, departments: Departments, taking: Taking, incoming: Incoming, cursors: Bucket) -> None:
        self._bus = bus
        self._departments = departments
        self._taking = taking
        self._incoming = incoming
        self._cursors = cursors

    async def run(self) -> None:
        """Poll every adapter with polls, and work the queue of waiting feedback, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._taking.run(), name="waiting reports")
            polls: dict[DepartmentHere, asyncio.Task[None]] = {}
            async for _ in self._departments.changes():
                raise_if_cancelled()
                wanted = set(self._departments.polled())
                for gone in polls.keys() - wanted:
                    polls.pop(gone).cancel()
                for fresh in wanted - polls.keys():
                    polls[fresh] = group.create_task(self._poll(fresh), name=f"poll {fresh.name}")

    async def callback(self, adapter: str, request: CallbackRequest) -> int:
        """Verify, read and take a callback. Returns the number of its items; all of them are stored.

        Raises CallbackRejected, NotAllowed (no such adapter), BusUnavailable (the department has to send it again).
        """
        rejection: CallbackRejected | None = None
        for department in self._departments.versions_here(adapter):
            if not department.can(Capability.CALLBACK):
                continue
            try:
                brought = await department.parse_callback(request)
            except CallbackRejected as problem:
                rejection = rejection or problem  # a version on trial may have another secret
                continue
            wait = department.reports.admit(len(brought.items))
            if wait > 0:
                raise CallbackRejected(f"too many reports, come back in {wait:.0f} s", status=429)
            await self._take_all(department, brought)
            return len(brought.items)
        if rejection is not None:
            raise rejection
        raise NotAllowed("no such callback", subject=adapter)

    async def _take_all(self, department: DepartmentHere, brought: Brought) -> None:
        for id, reason in brought.rejected:
            await self._taking.put_aside(department.name, id, reason)
        for item in brought.items:
            if isinstance(item, IncomingCase):
                await self._take_case(department, item)
            else:
                await self.take(department.name, item)

    async def take(self, adapter: str, report: Feedback) -> Outcome[Any] | None:
        """Take one report, see `Taking.take`. Raises BusUnavailable, and NotAllowed when there is no such adapter."""
        return await self._taking.take(adapter, report, self._departments.get(adapter).manifest.department)

    async def bring(self, adapter: str, item: IncomingCase) -> None:
        """Open or find the case that a department's system brings in. Raises InvalidInput, BusUnavailable."""
        await self._incoming(adapter, item, Actor(kind=ActorKind.SYSTEM, name=adapter), telemetry.traceparent())

    async def _take_case(self, department: DepartmentHere, item: IncomingCase) -> None:
        with telemetry.span(
            f"receive feedback.{department.name}",
            kind="consumer",
            attributes={telemetry.ADAPTER: department.name, telemetry.FEEDBACK: "case"},
        ):
            try:
                await self.bring(department.name, item)
            except InvalidInput as problem:
                # Sending it again would not help: it is put aside with its reason, for an operator.
                await self._taking.put_aside(department.name, f"case:{item.ref}", problem.message)

    async def _poll(self, department: DepartmentHere) -> None:
        """Poll for ever, while no other hub of the bus does. A source has one cursor, so only one may read it."""
        key = f"{department.name}.{department.cursor_name}"
        lease = Lease(self._bus, f"poll.{key}")
        await lease.keep(lambda: self._poll_alone(department, key))

    async def _poll_alone(self, department: DepartmentHere, key: str) -> None:
        """Poll for ever; the cursor moves only when everything a poll brought is stored."""
        every = department.manifest.poll_every.total_seconds()
        troubles = 0
        cursor: Entry | None = None
        while True:
            raise_if_cancelled()
            if department.pause is not None:
                await asyncio.sleep(every)
                continue
            more = False
            try:
                cursor = cursor or await self._cursor(key)
                found = await department.poll(cursor.value.decode() or None)
                if found.items or found.rejected:
                    with telemetry.span(f"poll {department.name}", root=True, attributes={telemetry.ADAPTER: department.name}):
                        await self._take_slowly(department, found)
                if found.cursor is not None and found.cursor.encode() != cursor.value:
                    value = found.cursor.encode()
                    cursor = Entry(value, await self._cursors.update(key, value, cursor.revision))
                more = found.more
                troubles = 0
            except (CredentialsRejected, Withdrawn) as problem:
                await self._departments.shut_out(department.name, problem)
            except HubError as problem:
                if isinstance(problem, LedgerConflict):
                    cursor = None  # another hub moved it, or a write is stored whose answer was lost
                troubles += 1
                if troubles == 1:
                    log.warning("poll failed", adapter=department.name, reason=problem.message)
            if not more:
                await asyncio.sleep(min(60.0, every * 2.0 ** min(troubles, 5)))

    async def _cursor(self, key: str) -> Entry:
        """The cursor, written anew: from now on whoever polled before this hub can't move it any more."""
        stored = await self._cursors.get(key)
        value = b"" if stored is None else stored.value
        if stored is None:
            return Entry(value, await self._cursors.create(key, value))
        return Entry(value, await self._cursors.update(key, value, stored.revision))

    async def _take_slowly(self, department: DepartmentHere, found: Brought) -> None:
        """Take a poll's items no faster than the instance's rate, so that a flood starves nobody."""
        await self._take_all(department, replace(found, items=()))
        for item in found.items:
            raise_if_cancelled()
            if (wait := department.reports.wait()) > 0:
                await asyncio.sleep(wait)
            await self._take_all(department, Brought(items=(item,)))


__all__ = ["Incoming", "ReportBack"]
