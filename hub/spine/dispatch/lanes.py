"""Dispatch: one lane per adapter instance takes tasks from its own durable queue and carries them out at the departmental system.

Owns the lanes and the breaker's gate. A paused or unreachable adapter stops nobody else and costs no attempt. Lanes come and go with the
roster while the hub runs; a lane that goes finishes its work in hand. Each task is looked up in the ledger before anything is sent:
recalled and finished assignments are dropped.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import ACK_WAIT, DISPATCH, ensure_consumer
from hub.errors import (
    BusUnavailable,
    InvalidInput,
    NotAllowed,
)
from hub.model.effects import Task, Verb, decode_task
from hub.observing import telemetry
from hub.privacy.marks import known_here
from hub.spine.aside.put_aside import Note, read_or_put_aside
from hub.spine.departments import Department, Departments
from hub.spine.dispatch.afar import Afar, Orders
from hub.spine.dispatch.carrying_out import CarryingOut
from hub.spine.dispatch.effects import LedgerTelling
from hub.spine.dispatch.handing import LedgerAttempts
from hub.spine.dispatch.means import Means
from hub.spine.handover import awaits_delivery
from hub.spine.ledger.desk import Hiding

if TYPE_CHECKING:
    from hub.observing.metrics import Metrics

log = structlog.get_logger("hub.dispatch")

ENDING_WITHIN = 60.0
"""Seconds in which a removed lane may finish its work in hand."""
HUB_BUSY_DELAY = 2.0
"""Seconds until a task comes again when the hub itself could not commit."""


def durable_of(adapter: str) -> str:
    """The durable consumer of an adapter's queue."""
    return f"adapter-{adapter}"


class Dispatch:
    """Runs one lane per enabled adapter."""

    def __init__(
        self,
        bus: Bus,
        departments: Departments,
        means: Means,
        *,
        hiding: Hiding,
        note: Note,
        orders: Orders | None = None,
        draw: Callable[[], float] = random.random,
        metrics: Metrics | None = None,
    ) -> None:
        self._bus = bus
        self._desks = means.desks
        self._departments = departments
        self._in_work: set[str] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._hands: Counter[str] = Counter()
        self._means = means
        self._afar = Afar(self._means, orders) if orders is not None else None
        self._hiding = hiding
        self._note = note
        self._metrics = metrics
        self._carrying_out = CarryingOut(shut_out=departments.shut_out, draw=draw)

    async def run(self) -> None:
        """Keep one lane per instance going for ever; a lane's own trouble stops no other."""
        lanes: dict[str, tuple[int, asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as group:
            async for _ in self._departments.changes():
                raise_if_cancelled()
                wanted = {one.name: one.instance.concurrency for one in self._departments.lanes()}
                for name, (concurrency, task) in list(lanes.items()):
                    if wanted.get(name) != concurrency:
                        del lanes[name]
                        self._ending.add(task)
                        task.add_done_callback(self._ending.discard)
                        task.cancel()
                for name, concurrency in wanted.items():
                    if name not in lanes:
                        lanes[name] = concurrency, group.create_task(self._lane(name, concurrency), name=f"lane {name}")

    def in_hand(self, name: str) -> int:
        """How many tasks of an instance are being carried out in this process right now."""
        return self._hands[name]

    async def _lane(self, name: str, concurrency: int) -> None:
        """Work one queue until cancelled. A lane that goes while the hub stays finishes its work in hand first."""
        durable = durable_of(name)
        await ensure_consumer(self._bus, DISPATCH, durable, subject=f"dispatch.{name}.>", most_pending=100_000)
        working: set[asyncio.Task[None]] = set()
        own = asyncio.current_task()
        assert own is not None
        try:
            async with PullConsumer(self._bus, DISPATCH, durable, capacity=concurrency) as consumer:
                try:
                    while True:
                        raise_if_cancelled()
                        await self._until_open(name, consumer)
                        delivery = await consumer.next()
                        task = asyncio.create_task(self._one(name, delivery))
                        working.add(task)
                        task.add_done_callback(working.discard)
                        task.add_done_callback(_say_what_failed)
                except asyncio.CancelledError:
                    if own not in self._ending:
                        raise
                    own.uncancel()
                    await consumer.give_back()
                    if working:
                        await asyncio.wait(working, timeout=ENDING_WITHIN)
        except NotAllowed:
            return  # disabled while it waited
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _until_open(self, name: str, consumer: PullConsumer) -> None:
        """Ask for nothing while the adapter is paused or its breaker is open, so that no attempt is spent. Raises NotAllowed."""
        while True:
            department = self._departments.get(name)
            if department.pause is None and department.breaker.wait <= 0:
                break
            raise_if_cancelled()
            consumer.pause()
            department.stirred.clear()
            pause = department.breaker.wait if department.pause is None else 15.0
            try:
                async with asyncio.timeout(max(0.05, min(pause, 15.0))):
                    await department.stirred.wait()
            except TimeoutError:
                await self._departments.try_resume(name)
        consumer.resume()

    async def _one(self, name: str, delivery: Delivery) -> None:
        """Carry one task out and end its delivery in every case."""
        task = await read_or_put_aside(delivery, self._read, self._note, adapter=name)
        if task is None:
            return
        async with delivery.handling(lambda _: HUB_BUSY_DELAY):
            try:
                department = self._departments.pick(name, task.matter, task.matter[:15])
            except NotAllowed:  # disabled in this very moment: the queue keeps it
                await delivery.retry(HUB_BUSY_DELAY)
                return
            if task.id in self._in_work:
                # The task came again while this process still works on it: the loop was held up longer than the acknowledgement wait. A
                # second run would take the attempt under way for one that a crash left open.
                await delivery.retry(ACK_WAIT)
                return
            self._in_work.add(task.id)
            self._hands[name] += 1
            started = time.perf_counter()
            try:
                await self._work(department, task, delivery)
            finally:
                self._in_work.discard(task.id)
                self._hands[name] -= 1
                if self._metrics is not None:
                    self._metrics.processed(f"dispatch.{task.adapter}", time.perf_counter() - started)

    def _read(self, raw: bytes) -> Task:
        """A task from its queue; raises ValueError."""
        task = decode_task(raw)
        self._desks.of(task.matter)
        return task

    async def _work(self, department: Department, task: Task, delivery: Delivery) -> None:
        """Do one task in a span of its own. The task is dropped when the lifecycle no longer wants it (recalled meanwhile, ended)."""
        with telemetry.span(
            f"process dispatch.{task.adapter}",
            kind="consumer",
            parent=task.traceparent,
            links=(task.traceparent,),
            matter=task.matter,
            attributes={
                telemetry.ADAPTER: task.adapter,
                telemetry.DEPARTMENT: department.manifest.department,
                "hub.effect": task.effect,
                telemetry.MESSAGE_ID: task.id,
                "messaging.delivery_count": delivery.deliveries,
            },
        ):
            if department.pause is not None or not department.breaker.admit():
                await delivery.retry(max(1.0, department.breaker.wait))
                return
            try:
                await self._carry_out(department, task, delivery)
            except (InvalidInput, NotAllowed) as problem:
                department.breaker.undecided()
                log.info("task dropped", task=task.id, reason=problem.message)
                await delivery.stop()
            except BaseException:
                department.breaker.undecided()  # or an admitted probe would stay open for ever
                raise

    async def _carry_out(self, department: Department, task: Task, delivery: Delivery) -> None:
        folded = await self._desks.known(task.matter, number=task.number)
        if folded is None:
            raise NotAllowed("no such matter", subject=task.matter)
        matter = folded.state
        here = department.here
        if here is None:
            if self._afar is None:
                raise BusUnavailable(f"{department.name} runs elsewhere, and this hub has no queue for it")
            await self._afar.send(department, task, delivery, matter)
            return
        reporters = self._desks.of(task.matter).aggregate.contacts(matter)
        hide = await self._hiding(reporters) if reporters else None
        with known_here(*(() if hide is None else (hide,))):  # the plugin's logs and errors may name the reporter
            if task.verb is not Verb.DELIVER:
                await self._carrying_out.tell(here, LedgerTelling(self._means, task, matter), delivery)
                return
            assignment = matter.assignment(task.assignment or "")
            if assignment is None or not awaits_delivery(assignment):
                here.breaker.undecided()
                await delivery.ack(confirmed=True)
                return
            attempts = LedgerAttempts(self._means, here, task, delivery.data, matter, assignment)
            await self._carrying_out.deliver(here, attempts, delivery)


def _say_what_failed(task: asyncio.Task[None]) -> None:
    """A task that failed comes again after the acknowledgement wait. Log its error here, or nobody sees it."""
    if not task.cancelled() and (problem := task.exception()) is not None:
        log.error("task failed, it comes again", error=f"{type(problem).__name__}: {problem}"[:300], exc_info=problem)
