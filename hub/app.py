"""The composition root: it alone constructs the hub's parts, starts them in order and stops them in the other.

`Hub` is everything between the bus and the HTTP interface; `serve` adds the interface and runs until told to stop. Refuses to
serve on a damaged ledger. Called by the CLI, the demo, the bench and the system tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from hub.bus import Bucket, Bus, EmbeddedServer, Objects, ensure_streams
from hub.bus.cancellation import raise_if_cancelled
from hub.bus.streams import DISPATCH, consumer_backlog
from hub.config.district import load, policy_from_sources
from hub.data_lock import alone_in
from hub.errors import BusUnavailable, LedgerConflict, LedgerDamaged
from hub.model.actors import Actor
from hub.model.aggregate import Aggregates
from hub.model.case import CASE
from hub.model.case.effects import ERASURE
from hub.model.case.state import Case
from hub.observing import telemetry
from hub.observing.metrics import Metrics
from hub.observing.store import SpanStore
from hub.platform.adapters import Adapters, Plugins
from hub.platform.adapters.watchdog import Watchdog
from hub.platform.instances.isolation import Isolation
from hub.platform.instances.registration import Registration
from hub.platform.instances.registry import Registry
from hub.platform.instances.sealing import Sealing
from hub.platform.instances.statuses import Statuses
from hub.platform.notifying import Alerts
from hub.platform.remote.answers import Answers
from hub.platform.remote.contacts import Contacts
from hub.platform.remote.credentials import Credentials, access_of
from hub.platform.remote.orders import Orders
from hub.platform.remote.outcomes import Outcomes
from hub.platform.remote.seen import known_of
from hub.platform.remote.worker import Workers
from hub.platform.trial.sample import is_sample
from hub.platform.trial.trials import Trials
from hub.platform.upkeep.auditing import Auditing, Corrections
from hub.platform.upkeep.catalogues import Catalogues
from hub.platform.upkeep.comparison import Comparison
from hub.platform.upkeep.crosswalk import Crosswalks
from hub.platform.upkeep.heard_words import HeardWords
from hub.platform.upkeep.reconciliation import Reconciliation
from hub.platform.upkeep.repairs import Repairs
from hub.platform.upkeep.run_log import RunLog
from hub.privacy.vault import Vault
from hub.spine.dispatch import Dispatch, durable_of
from hub.spine.dispatch.means import Means
from hub.spine.effects.erasure import Erasure
from hub.spine.effects.linkage import Linkage
from hub.spine.effects.reactions import Reactions
from hub.spine.handover import Handovers, of_case
from hub.spine.ledger.codec import Codecs
from hub.spine.ledger.desk import Desk, Desks, Outcome, utc_now
from hub.spine.ledger.policies import Policies
from hub.spine.ledger.rulebook import Rulebook
from hub.spine.ledger.store import CheckpointFile, Ledger
from hub.spine.ways_in.classification import Classification
from hub.spine.ways_in.deadlines import Deadlines
from hub.spine.ways_in.intake import Intake, entry_of
from hub.spine.ways_in.reportback import ReportBack
from hub.spine.ways_in.taking import Taking
from hub.surfaces.api.cases.kind import CASE_KIND
from hub.surfaces.api.matters.kinds import Kind
from hub.surfaces.api.people.tokens import Tokens
from hub.surfaces.api.services import Upkeep
from hub.views.projector import Projector
from hub.views.views import Views
from hub.workshop.grading import tier_of

if TYPE_CHECKING:
    from hub.contract import AdapterInstance, IncomingCase, Plugin
    from hub.settings import Settings

log = structlog.get_logger("hub.app")

STOP_WITHIN = 15.0
"""Seconds the stages get to stop; what is unfinished then comes again after the next start."""

GAVE_UP = 70
"""Exit code when a plugin held the process up for good: a service manager starts the hub again (EX_SOFTWARE of sysexits.h)."""
HELD_UP = "held-up"
"""File in the data directory that names the plugin the process was ended for."""

CHECKPOINT_EVERY = 1.0
"""Seconds between checkpoints outside the store."""


class Hub:
    """All parts of one hub process. Use `Hub.open`."""

    def __init__(
        self, settings: Settings, rulebook: Rulebook, clock: Callable[[], datetime], kinds: Sequence[Kind[Any]]
    ) -> None:
        self.settings = settings
        self.kinds = tuple(kinds)
        self.aggregates = Aggregates(*(kind.aggregate for kind in kinds))
        self._clock = clock
        self.rulebook = rulebook
        self.fatal: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.bus: Bus
        self.metrics: Metrics
        self.ledger: Ledger
        self.policies: Policies
        self.desk: Desk[Case, Any, Any]
        self.desks: Desks
        self.reactions: Reactions
        self.vault: Vault
        self.objects: Objects
        self.tokens: Tokens
        self.repairs: Repairs
        self.adapters: Adapters
        self.sealing: Sealing
        self.registry: Registry
        self.registration: Registration
        self.isolation: Isolation
        self.statuses: Statuses
        self.intake: Intake
        self.linkage: Linkage
        self.dispatch: Dispatch
        self.reportback: ReportBack
        self.deadlines: Deadlines
        self.alerts: Alerts
        self.words: HeardWords
        self.upkeep: Upkeep
        self.views: Views
        self.projector: Projector
        self.credentials: Credentials
        self.orders: Orders
        self.answers: Answers
        self.workers: Workers
        self._server: EmbeddedServer | None = None
        self.spans: SpanStore | None = None
        self.damaged: LedgerDamaged | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        instances: Sequence[AdapterInstance] | None = None,
        plugins: Sequence[type[Plugin]] = (),
        public_url: str | None = None,
        clock: Callable[[], datetime] = utc_now,
        kinds: Sequence[Kind[Any]] = (CASE_KIND,),
        check: bool = True,
    ) -> AsyncIterator[Hub]:
        """Build everything and check the ledger; nothing runs yet. `instances` replaces config/adapters.yaml; `kinds` are the kinds of
        matters, the case among them; without `check` a damaged ledger and secrets under another key are opened all the same (to mend
        them, never to serve).

        Raises ConfigError, PluginError, BusUnavailable, LedgerDamaged.
        """
        configured = await asyncio.to_thread(load, settings.config)
        data = settings.data
        data.mkdir(mode=0o700, parents=True, exist_ok=True)  # what people report concerns nobody else on this machine
        hub = cls(settings, Rulebook(configured.district, policy_from_sources), clock, kinds)
        async with contextlib.AsyncExitStack() as stack:
            lock = stack.enter_context(alone_in(data))
            hub.spans = SpanStore(data / "spans.db") if settings.tracing else None
            if hub.spans is not None:
                stack.callback(hub.spans.close)
            tracer = telemetry.setup(settings, service="hub", store=hub.spans)
            stack.callback(tracer.close)
            hub.metrics = Metrics()
            stack.callback(hub.metrics.close)
            url, tls = settings.nats.url, None
            if url is None:
                server = hub._server = EmbeddedServer.of(data / "nats", settings.nats, hub.fail)
                url, tls = await server.start(), server.tls
                stack.push_async_callback(server.stop)
            credentials = str(settings.nats.credentials) if settings.nats.credentials else None
            hub.bus = await Bus.connect(url, credentials=credentials, tls=tls, fatal=hub.fail)
            hub.bus.run, hub.bus.former = lock.id, lock.former
            stack.push_async_callback(hub.bus.close)
            await hub._build(instances if instances is not None else configured.adapters, plugins, public_url, check=check)
            stack.callback(hub.views.close)
            stack.push_async_callback(hub.repairs.close)
            stack.push_async_callback(hub.words.close)
            if check:
                await hub.ledger.check(positions={"views": await asyncio.to_thread(hub.views.position)})
                await hub.policies.adopt()
            await hub.adapters.start()
            stack.push_async_callback(hub.adapters.stop)
            yield hub

    async def _build(
        self,
        instances: Sequence[AdapterInstance],
        plugins: Sequence[type[Plugin]],
        public_url: str | None,
        *,
        check: bool,
    ) -> None:
        settings, bus, replicas = self.settings, self.bus, self.settings.nats.replicas
        root = public_url or settings.api.public_url or f"http://{settings.api.host}:{settings.api.port}"
        await ensure_streams(bus, replicas=replicas, ledger_bytes=settings.nats.max_bytes)
        buckets = {name: await Bucket.open(bus, name, replicas=replicas) for name in _BUCKETS}
        district = self.rulebook.district
        self.objects = Objects(bus)
        self.ledger = Ledger(
            bus, CheckpointFile(settings.data / "checkpoint.json"), self.aggregates, source=f"/district/{district().code}"
        )
        self.policies = Policies(bus, self.ledger, self.rulebook, self._clock)
        self.vault = Vault(buckets["PERSONAL"], buckets["VAULT_KEYS"])
        made = {
            kind.aggregate.name: Desk(
                kind.aggregate,
                self.ledger,
                lambda: self.rulebook.rules().rules,
                clock=self._clock,
                cache=settings.cache_cases,
                metrics=self.metrics,
                hiding=self.vault.hiding,
            )
            for kind in self.kinds
        }
        self.desk = made[CASE.name]
        self.desks = Desks(*made.values())
        self.tokens = Tokens(buckets["TOKENS"], connected=lambda: bus.connected)
        classify = Classification(lambda: self.adapters.classifiers(), district)
        self.intake = Intake(self.desk, bus, district, self.vault, self.objects, clock=self._clock, classify=classify)

        self.repairs = Repairs(buckets["REPAIRS"])
        self.words = HeardWords(buckets["RECONCILIATION"])
        given = settings.secrets_key.get_secret_value() if settings.secrets_key is not None else None
        self.sealing = await Sealing.start(buckets["SECRETS"], settings.data / "secrets.key", given, check=check)
        self.registry = Registry(bus, self.sealing)
        self.adapters = Adapters(
            await asyncio.to_thread(Plugins, plugins),
            instances,
            self.registry,
            buckets["ADAPTERS"],
            public_url=root,
            bound=self.rulebook.bind,
            note=lambda *found: self.alerts.noted(*found),
            heard=self.words.heard,
            workers=self._server is not None,
        )
        self.trials = Trials(self.adapters, district, public_url=root, clock=self._clock)
        self.registration = Registration(self.adapters, self.registry, district, self.trials.before_traffic, clock=self._clock)
        self.views = Views(
            settings.views.url or f"sqlite:///{settings.data / 'views.db'}",
            projections=[kind.projection for kind in self.kinds],
        )
        self.projector = Projector(self.views, self.ledger)
        self.linkage = Linkage(bus, self.ledger, self.desks)
        self.orders = Orders(bus, clock=self._clock)
        means = Means(
            desks=self.desks,
            district=district,
            handover=Handovers({Case: of_case}),
            open_contact=self.vault.open,
            clock=self._clock,
        )
        self.dispatch = Dispatch(
            bus,
            self.adapters,
            means,
            hiding=self.vault.hiding,
            note=self.repairs.note,
            orders=self.orders,
            metrics=self.metrics,
        )

        async def incoming(adapter: str, item: IncomingCase, actor: Actor, cause: str | None) -> Outcome[Case]:
            return await self.intake.report(entry_of(adapter, item), actor=actor, cause=cause)

        taking = Taking(bus, self.desks, self.views, self.objects, self.repairs.note, dropped=is_sample)
        self.reportback = ReportBack(bus, self.adapters, taking, incoming, buckets["CURSORS"])
        self.answers = Answers(
            bus,
            self.adapters,
            self.orders,
            Outcomes(self.desks),
            Contacts(self.desks, self.adapters, self.vault.open),
            self.reportback,
            self.repairs.note,
            clock=self._clock,
            replicas=replicas,
        )
        outside, local = access_of(self._server, settings.nats)
        self.credentials = Credentials(buckets["REMOTES"], self._server, outside, local=local, clock=self._clock)
        await self.credentials.start()
        self.workers = Workers(self.adapters, self.credentials, settings.data, public_url=root, clock=self._clock)
        self.alerts = Alerts(bus, self.ledger, self.adapters, self.repairs, clock=self._clock)
        self.isolation = Isolation(self.adapters, self.registration, self.alerts.noted)
        self.statuses = Statuses(
            self.adapters,
            lambda name: consumer_backlog(bus, DISPATCH, durable_of(name)),
            in_hand=self.dispatch.in_hand,
            tier=tier_of,
            elsewhere=lambda name: known_of(name, self.answers, self.workers, self._clock),
        )
        self.deadlines = Deadlines(bus, self.desks, self.repairs.note)
        erasure = Erasure(self.desk, self.ledger, self.vault, self.objects)
        self.reactions = Reactions(bus, self.desks, Codecs(self.aggregates), {ERASURE: erasure}, self.repairs.note)
        self.upkeep = self._upkeep(buckets["RECONCILIATION"])

    def _upkeep(self, bucket: Bucket) -> Upkeep:
        """What keeps the departments' systems and the ledger the same."""
        district = self.rulebook.district
        crosswalks = Crosswalks(self.adapters, self.words, self.views, self.repairs, district)
        catalogues = Catalogues(bucket, self.repairs, crosswalks.in_force)
        comparison = Comparison(self.adapters.names, self.ledger, self.views)
        audit = Auditing(self.adapters, comparison, self.repairs, catalogues)
        return Upkeep(
            repairs=self.repairs,
            reconciliation=Reconciliation(self.bus, self.adapters, audit, RunLog(bucket), district),
            corrections=Corrections(comparison, self.reportback.take),
            catalogues=catalogues,
            crosswalks=crosswalks,
        )

    def fail(self, reason: str) -> None:
        """Stop serving: something happened that the hub must not go on after."""
        if not self.fatal.done():
            log.critical("the hub stops", reason=reason)
            self.fatal.set_result(reason)

    def _found_damaged(self, problem: LedgerDamaged) -> None:
        self.damaged = problem
        self.fail(problem.message)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all stages while inside; a plugin that ended the process before this one is out before anything is dispatched."""
        await self._after_a_give_up()
        stages: dict[str, Callable[[], Awaitable[None]]] = {
            "views": self.projector.run,
            "linkage": self.linkage.run,
            "dispatch": self.dispatch.run,
            "reactions": self.reactions.run,
            "report-back": self.reportback.run,
            "deadlines": self.deadlines.run,
            "alerts": self.alerts.run,
            "answers": self.answers.run,
            "workers": self.workers.run,
            "reconciliation": self.upkeep.reconciliation.run,
            "policy": self.policies.follow,
            "days off": self.policies.remind,
            "adapters": self.adapters.follow,
            "tokens": self.tokens.run,
            "checkpoint": lambda: self.ledger.keep_checkpoints(CHECKPOINT_EVERY, self._found_damaged),
        }
        tasks = [asyncio.create_task(self._stage(name, run), name=name) for name, run in stages.items()]
        held_up: set[asyncio.Task[None]] = set()

        def noted(name: str, seconds: float) -> None:
            held_up.add(task := asyncio.create_task(self.isolation.held_up(name, seconds)))
            task.add_done_callback(held_up.discard)

        watchdog = Watchdog(asyncio.get_running_loop(), noted, self._give_up)
        watchdog.start()
        try:
            yield
        finally:
            await asyncio.to_thread(watchdog.stop)
            for task in tasks:
                task.cancel()
            _, stuck = await asyncio.wait(tasks, timeout=STOP_WITHIN)
            if stuck:
                log.error("stages did not stop", stages=[task.get_name() for task in stuck])
            if self.damaged is None:
                with contextlib.suppress(BusUnavailable):
                    await self.ledger.checkpoint()

    def _give_up(self, adapter: str) -> None:
        """A plugin keeps the loop for good: end the process; the next one starts without that plugin."""
        log.critical("a plugin holds the hub up for good; the hub ends", adapter=adapter)
        try:
            (self.settings.data / HELD_UP).write_text(adapter, encoding="utf-8")
        finally:
            os._exit(GAVE_UP)

    async def _after_a_give_up(self) -> None:
        """Keep the plugin out that the process before this one had to be ended for."""
        marker = self.settings.data / HELD_UP
        if await asyncio.to_thread(marker.exists):
            await self.isolation.quarantine((await asyncio.to_thread(marker.read_text, encoding="utf-8")).strip())
            await asyncio.to_thread(marker.unlink, missing_ok=True)

    async def _stage(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Keep a stage going: it is started again when the bus failed it; anything else stops the hub (crash, don't limp)."""
        while not self.fatal.done():
            raise_if_cancelled()
            try:
                await run()
                if not self.fatal.done():
                    log.error("stage ended by itself, it starts again", stage=name)
            except* (BusUnavailable, LedgerConflict) as group:
                log.warning("stage starts again", stage=name, reason=str(group.exceptions[0]))
            except* Exception as group:  # the process boundary: said, then the hub stops
                log.critical("stage failed", stage=name, exc_info=group)
                self.fail(f"{name}: {group.exceptions[0]!r}")
            await asyncio.sleep(1.0)


_BUCKETS = ("ADAPTERS", "REMOTES", "REPAIRS", "RECONCILIATION", "SECRETS", "PERSONAL", "VAULT_KEYS", "TOKENS", "CURSORS")
