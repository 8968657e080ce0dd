"""An adapter at work beside its department: orders in, answers out, polls, callbacks, signs of life, however long the hub is away.

Owns this process's work at hand. The journal owns whatever must not be lost. Run by `hub.platform.remote.far.program` and by tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus
from hub.bus.exchange import ask
from hub.bus.permissions import durable_of, inbox_of
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import ORDERS
from hub.contract import AdapterInstance, CallbackRejected, CallbackRequest, Capability, Contact, Plugin
from hub.errors import BusUnavailable, CredentialsRejected, HubError, InvalidInput, Withdrawn
from hub.observing import telemetry
from hub.platform.adapters.running import Running, build
from hub.platform.remote.credentials_file import CredentialsFile
from hub.platform.remote.far.handing import Beside, Handing, nowhere
from hub.platform.remote.far.journal import Journal, Out
from hub.platform.remote.far.saying import Saying
from hub.platform.remote.messages import Answer, Beat, Question, Terms
from hub.platform.remote.orders import ACK_WAIT
from hub.platform.remote.protocol import Event, decode_order, read
from hub.spine.aside.put_aside import unreadable
from hub.spine.departments import Brought

log = structlog.get_logger("hub.remote")

BEAT_EVERY = 10.0
HEALTH_EVERY = timedelta(seconds=30)
TROUBLE_DELAY = 5.0
"""Seconds until an order comes again that could not be begun because the hub did not answer."""
MOST_UNSENT = 10_000
"""Reports that may wait here; polls and callbacks pause beyond."""
SEND_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The process's input at start."""

    credentials: CredentialsFile
    instance: AdapterInstance
    kind: type[Plugin]
    data: Path
    callback_url: str = ""


def utc_now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)


class Runner:
    """One instance beside its department. Use `opened`, then `run`."""

    def __init__(
        self,
        setup: Setup,
        journal: Journal,
        *,
        clock: Callable[[], datetime] = utc_now,
        draw: Callable[[], float] = random.random,
        step: Callable[[str], None] = nowhere,
        beat_every: float = BEAT_EVERY,
    ) -> None:
        self._setup = setup
        self.name = setup.instance.name
        self._journal = journal
        self._clock = clock
        self._beat_every = beat_every
        self._step = step
        self._saying = Saying(self.name, clock)
        beside = Beside(journal=journal, saying=self._saying, contact=self._contact, clock=clock, step=step)
        self._handing = Handing(beside, shut_out=self._shut_out, draw=draw)
        self._running: Running
        self._bus: Bus | None = None
        self._terms = Terms(concurrency=setup.instance.concurrency, items_per_second=setup.instance.items_per_second)
        self._shut: CredentialsRejected | Withdrawn | None = None
        self._shut_known = False
        self._draining = False
        self._health = (datetime.min.replace(tzinfo=UTC), True, "")
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._unsent = asyncio.Event()
        self._working: set[asyncio.Task[None]] = set()
        self._consumer: PullConsumer | None = None

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        setup: Setup,
        *,
        clock: Callable[[], datetime] = utc_now,
        draw: Callable[[], float] = random.random,
        step: Callable[[str], None] = nowhere,
        beat_every: float = BEAT_EVERY,
    ) -> AsyncIterator[Runner]:
        """The journal open, the plugin built and started. Raises ConfigError, PluginError."""
        journal = await asyncio.to_thread(Journal, setup.data / "journal.db")
        try:
            runner = cls(setup, journal, clock=clock, draw=draw, step=step, beat_every=beat_every)
            stored = await journal.fact("terms")
            if stored is not None:
                runner._terms = read(stored, Terms)
            runner._running = runner._build()
            await runner._running.start()
            try:
                yield runner
            finally:
                for task in runner._working:
                    task.cancel()
                await asyncio.gather(*runner._working, return_exceptions=True)
                await runner._running.stop()
                if runner._bus is not None:
                    await runner._bus.close()
        finally:
            journal.close()

    def _build(self) -> Running:
        setup, own = self._setup, self._terms.crosswalk
        instance = replace(setup.instance, items_per_second=self._terms.items_per_second)
        if own is not None:
            instance = replace(instance, crosswalk=own)
        return build(setup.kind, instance, store=self._journal, callback_url=setup.callback_url, unmapped=self._unmapped)

    async def run(self) -> None:
        """Work until cancelled. Raises PluginError when a changed crosswalk can't be used, sqlite3.Error when the journal fails."""
        async with asyncio.TaskGroup() as group:
            if self._running.can(Capability.POLL):
                group.create_task(self._poll(), name="poll")
            group.create_task(self._watch_health(), name="health")
            self._bus = await self._connect()
            group.create_task(self._send(), name="answers")
            group.create_task(self._beat(), name="beats")
            group.create_task(self._take(), name="orders")

    async def _connect(self) -> Bus:
        """Connect, for ever."""
        credentials, pause = self._setup.credentials, 0.5
        while True:
            raise_if_cancelled()
            for url in credentials.urls:
                try:
                    return await Bus.connect(
                        url,
                        seed=credentials.seed,
                        inbox=inbox_of(self.name),
                        tls=credentials.tls(),
                        name=f"adapter {self.name}",
                    )
                except BusUnavailable as problem:
                    log.warning("the hub's bus is away", url=url, reason=problem.message)
            await asyncio.sleep(pause)
            pause = min(30.0, pause * 2)

    # --- orders ---

    async def _take(self) -> None:
        """Take orders, as many at once as the hub's terms allow. Take none while the department lets nobody in."""
        assert self._bus is not None
        durable = durable_of(self.name)
        capacity = self._terms.concurrency
        async with (
            PullConsumer(self._bus, ORDERS, durable, capacity=capacity, ack_wait=ACK_WAIT) as consumer,
            asyncio.TaskGroup() as group,
        ):
            self._consumer = consumer
            while True:
                raise_if_cancelled()
                await self._until_open(consumer)
                group.create_task(self._one(await consumer.next()), name="order")

    async def drain(self, within: float = 6.0) -> None:
        """Take nothing new, finish the work in hand, hand over the answers, as far as `within` seconds allow."""
        self._draining = True
        if self._consumer is None:
            return
        self._consumer.pause()
        try:
            async with asyncio.timeout(within):
                while self._consumer.in_hand or await self._journal.waiting():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            log.warning("stopped with work in hand; it comes again", in_hand=self._consumer.in_hand)

    async def _until_open(self, consumer: PullConsumer) -> None:
        while self._closed or self._running.breaker.wait > 0:
            raise_if_cancelled()
            consumer.pause()
            await asyncio.sleep(max(0.1, min(1.0, self._running.breaker.wait)))
        consumer.resume()

    @property
    def _closed(self) -> bool:
        return self._shut is not None or self._terms.paused or self._draining

    async def _one(self, delivery: Delivery) -> None:
        """Carry one order out. Whatever happens, it comes again unless it is done."""
        self._step("fetched")
        try:
            event = decode_order(delivery.data)
        except InvalidInput as problem:
            found = unreadable(delivery, problem.message, adapter=self.name)
            log.error("an order that can't be read", reason=problem.message, **found.details)
            words = "；".join((found.text, *(f"{name} {value}" for name, value in found.details.items())))
            await self._post([self._saying.aside(f"order:{delivery.sequence}", words)])
            await self._quietly(delivery.ack(confirmed=True))
            return
        key = str(getattr(event.data, "key", None) or event.data.case)
        async with self._alone(key):
            with telemetry.span(
                f"process order.{self.name}",
                kind="consumer",
                parent=event.traceparent,
                matter=event.data.case,
                attributes={
                    telemetry.ADAPTER: self.name,
                    telemetry.MESSAGE_ID: event.id,
                    "messaging.delivery_count": delivery.deliveries,
                },
            ):
                await self._carry_out(event, delivery)
        self._unsent.set()

    async def _carry_out(self, event: Event, delivery: Delivery) -> None:
        running = self._running
        try:
            if self._closed or not running.breaker.admit():
                await delivery.retry(max(1.0, running.breaker.wait))
                return
            try:
                await self._handing.carry_out(running, event, delivery)
            except BaseException:
                running.breaker.undecided()
                raise
        except BusUnavailable as problem:
            log.warning("order comes again", order=event.id, reason=problem.message)
            if delivery.held:
                await self._quietly(delivery.retry(TROUBLE_DELAY))

    async def _quietly(self, answer: object) -> None:
        try:
            await answer  # type: ignore[misc]  # an awaitable of the delivery's
        except BusUnavailable as problem:
            log.warning("order comes again", reason=problem.message)

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        """One order of a key at a time."""
        lock, waiting = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[key]
            if waiting == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, waiting - 1

    async def _contact(self, key: str) -> Contact | None:
        """The contact for an assignment; raises BusUnavailable when the hub does not answer."""
        assert self._bus is not None
        raw = await ask(self._bus, f"contact.{self.name}", msgspec.json.encode(Question(key=key)), within=5.0)
        answer: Answer = read(raw, Answer)
        if answer.contact is None:
            log.warning("no contact", reason=answer.error)
        return answer.contact

    # --- answers ---

    async def _post(self, reports: Sequence[Out], *, cursor: tuple[str, str] | None = None) -> None:
        await self._journal.post(reports, cursor=cursor)
        self._unsent.set()

    async def _send(self) -> None:
        """Hand answers to the server in their order, for ever. Each stays here until the server has it."""
        assert self._bus is not None
        while True:
            raise_if_cancelled()
            self._unsent.clear()
            reports = await self._journal.unsent(SEND_AT_ONCE)
            if not reports:
                try:
                    async with asyncio.timeout(5.0):
                        await self._unsent.wait()
                except TimeoutError:
                    continue
                continue
            for report in reports:
                digest = hashlib.sha256(report.id.encode()).hexdigest()[:32]
                try:
                    await self._bus.publish(
                        f"answer.{self.name}.{report.kind}",
                        report.body,
                        message_id=f"{self.name}:{report.kind}:{digest}",
                        headers={"content-type": "application/cloudevents+json"},
                    )
                except BusUnavailable as problem:
                    log.warning("report waits", report=report.id, reason=problem.message)
                    await asyncio.sleep(1.0)
                    break
                self._step("stored")
                await self._journal.sent(report)
                self._step("sent")

    async def callback(self, request: CallbackRequest) -> int:
        """Read a callback of the department's; how many items it held, all of them kept. Raises CallbackRejected."""
        brought = await self._running.parse_callback(request)
        wait = self._running.reports.admit(len(brought.items))
        if wait > 0 or await self._journal.waiting() > MOST_UNSENT:
            raise CallbackRejected(f"too many reports, come back in {max(wait, 10):.0f} s", status=429)
        await self._post(self._outs(brought))
        return len(brought.items)

    def _outs(self, brought: Brought) -> list[Out]:
        aside = [self._saying.aside(item, reason) for item, reason in brought.rejected]
        return [*aside, *(self._saying.item(item) for item in brought.items)]

    async def _poll(self) -> None:
        """Poll for ever. The cursor is stored together with the poll's items."""
        troubles = 0
        while True:
            raise_if_cancelled()
            running = self._running
            every = running.manifest.poll_every.total_seconds()
            if self._closed or await self._journal.waiting() > MOST_UNSENT:
                await asyncio.sleep(every)
                continue
            more = False
            name = f"poll.{running.cursor_name}"
            try:
                stored = await self._journal.fact(name)
                cursor = stored.decode() if stored else None
                with telemetry.span(f"poll {self.name}", root=True, attributes={telemetry.ADAPTER: self.name}):
                    found = await running.poll(cursor)
                    if found.items or found.rejected or (found.cursor is not None and found.cursor != cursor):
                        if (wait := running.reports.wait(len(found.items))) > 0:
                            await asyncio.sleep(wait)
                        moved = (name, found.cursor) if found.cursor is not None else None
                        await self._post(self._outs(found), cursor=moved)
                more = found.more
                troubles = 0
            except (CredentialsRejected, Withdrawn) as problem:
                await self._shut_out(self.name, problem)
            except HubError as problem:
                troubles += 1
                if troubles == 1:
                    log.warning("poll failed", reason=problem.message)
            if not more:
                await asyncio.sleep(min(60.0, every * 2.0 ** min(troubles, 5)))

    def _unmapped(self, table: str, word: str, about: str | None) -> None:
        task = asyncio.create_task(self._post([self._saying.unmapped(table, word, about)]))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    # --- signs of life ---

    async def _shut_out(self, _name: str, problem: HubError) -> None:
        """The department does not let us in. Take nothing until it does, or until an operator resumes the instance."""
        if self._shut is None and isinstance(problem, CredentialsRejected | Withdrawn):
            log.error("the department does not let us in", reason=problem.message, error=problem.code)
            self._shut = problem
            self._shut_known = False

    async def _watch_health(self) -> None:
        while True:
            raise_if_cancelled()
            health = await self._running.health()
            self._health = (self._clock(), health.ok, health.detail)
            if health.ok and isinstance(self._shut, CredentialsRejected):
                log.info("the department lets us in again")
                self._shut = None
            await asyncio.sleep(15.0 if self._shut is not None else HEALTH_EVERY.total_seconds())

    async def beat(self) -> Beat:
        """How it stands."""
        manifest = self._running.manifest
        _, ok, detail = self._health
        return Beat(
            plugin=manifest.name,
            version=manifest.version,
            department=manifest.department,
            capabilities=tuple(sorted(manifest.capabilities)),
            ok=ok,
            detail=detail[:500],
            paused=f"{self._shut.code}: {self._shut.message}"[:300] if self._shut is not None else None,
            automatic=not isinstance(self._shut, Withdrawn),
            in_hand=self._consumer.in_hand if self._consumer is not None else 0,
            unsent=await self._journal.waiting(),
        )

    async def _beat(self) -> None:
        assert self._bus is not None
        while True:
            raise_if_cancelled()
            raw = msgspec.json.encode(await self.beat())
            try:
                await self._agree(read(await ask(self._bus, f"beat.{self.name}", raw, within=5.0), Terms))
            except (BusUnavailable, InvalidInput) as problem:
                log.debug("nobody hears the beat", reason=problem.message)
            await asyncio.sleep(self._beat_every)

    async def _agree(self, terms: Terms) -> None:
        """Work as the hub says."""
        if isinstance(self._shut, Withdrawn):
            if terms.paused:
                self._shut_known = True
            elif self._shut_known:
                log.info("resumed by an operator")
                self._shut = None
        if terms == self._terms:
            return
        before, self._terms = self._terms, terms
        await self._journal.remember("terms", msgspec.json.encode(terms))
        if self._consumer is not None and terms.concurrency != before.concurrency:
            self._consumer.resize(terms.concurrency)
        if (terms.crosswalk, terms.items_per_second) != (before.crosswalk, before.items_per_second):
            fresh = self._build()
            await fresh.start()
            old, self._running = self._running, fresh
            task = asyncio.create_task(old.retire())
            self._working.add(task)
            task.add_done_callback(self._working.discard)


__all__ = ["Runner", "Setup"]
