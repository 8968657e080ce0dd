"""The calls of a trial, in dispatch's order, and the record of everything that happened meanwhile.

First health. With a sample also deliver (with the retries inside one attempt), lookup, recall. After an unknown outcome dispatch's steps
(ask by key, the same key again) follow at once, not later. The plugin is built as the hub builds it, with a store that forgets.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import msgspec
import structlog
from msgspec.structs import replace

from hub.contract import AdapterInstance, Assignment, Capability, Plugin, Receipt
from hub.errors import AdapterFault, DeliveryError, Disposition, HubError, PluginError, Unavailable, disposition_of
from hub.model.effects import Verb
from hub.observing import case_trace as trace
from hub.observing import telemetry
from hub.observing.store import SpanRecord
from hub.platform.adapters.outbound import Exchange as Wired
from hub.platform.adapters.outbound import departmental_client
from hub.platform.adapters.running import Running, build, check_settings, rate_of, secrets_of
from hub.platform.trial.blotting import Blotter
from hub.platform.trial.memory_store import MemoryStore
from hub.platform.trial.outcome import outcome_of
from hub.platform.trial.sample import RECALL_REASON
from hub.platform.trial.values import Answer, Call, Exchange, LogLine, Problem, Request, Trial
from hub.platform.trial.verdict import next_step
from hub.privacy.marks import known_here
from hub.privacy.masks import hider
from hub.spine.dispatch.follow_up import within_attempt

T = TypeVar("T")

MOST_EXCHANGES = 60
MOST_LINES = 200
MOST_SPANS = 500
MOST_KEPT = 8 * 1024 * 1024
"""Bytes of bodies that are kept."""
NOWHERE = "http://127.0.0.1:9/hooks/trial"
"""Where a department would call back when nobody says: nobody listens there."""


class _Observed:
    """Everything that happens during a trial, raw."""

    def __init__(self) -> None:
        self.exchanges: list[Wired] = []
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.unmapped: dict[str, None] = {}
        self.spans: list[SpanRecord] = []
        self.left_out = 0
        self._bytes = 0

    def exchange(self, one: Wired) -> None:
        """Called by the client."""
        size = len(one.body) + len(one.answer or b"")
        if len(self.exchanges) >= MOST_EXCHANGES or self._bytes + size > MOST_KEPT:
            self.left_out += 1
            return
        self._bytes += size
        self.exchanges.append(one)

    def add(self, row: telemetry.Row) -> None:
        """Called for every span that ended."""
        if len(self.spans) < MOST_SPANS:
            self.spans.append(msgspec.convert(dict(zip(SpanRecord.__struct_fields__, (*row, "hub"), strict=True)), SpanRecord))

    def line(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Called for each log line of the plugin. The line goes no further."""
        if len(self.lines) >= MOST_LINES:
            self.left_out += 1
        else:
            fields = {key: value for key, value in event.items() if key != "event"}
            thrown = fields.pop("exc_info", None)
            if thrown:
                given = thrown if isinstance(thrown, BaseException) else sys.exc_info()[1]
                fields["thrown"] = "".join(traceback.format_exception_only(given)).strip()
            self.lines.append((method, str(event.get("event", "")), fields))
        raise structlog.DropEvent

    def word(self, table: str, word: str, about: str | None) -> None:
        """Called for a word that is in no crosswalk."""
        self.unmapped[f"{table}: {word}"] = None


class _Made:
    """One made call, raw."""

    def __init__(self, call: str, number: int) -> None:
        self.call = call
        self.number = number
        self.at = datetime.now(UTC)
        self.ms = 0.0
        self.result: dict[str, Any] | None = None
        self.problem: HubError | None = None
        self.exchanges: list[Wired] = []

    @property
    def well(self) -> bool:
        """Whether it ended as it should."""
        return self.problem is None and (self.result or {}).get("ok") is not False


class _Calls:
    """Makes calls and remembers them."""

    def __init__(self, observed: _Observed, instance: str) -> None:
        self.made: list[_Made] = []
        self._observed = observed
        self._instance = instance

    async def make(self, call: str, work: Callable[[], Awaitable[T]], told: Callable[[T], dict[str, Any]]) -> T:
        """One call; raises its hub error once it is noted."""
        made = _Made(call, sum(one.call == call for one in self.made) + 1)
        self.made.append(made)
        before, began = len(self._observed.exchanges), time.monotonic()
        attributes: dict[str, str | int | bool] = {telemetry.ADAPTER: self._instance, telemetry.ATTEMPT: made.number}
        try:
            with telemetry.span(f"try {call}", attributes=attributes):
                found = await work()
            made.result = told(found)
            return found
        except HubError as problem:
            made.problem = problem
            raise
        finally:
            made.ms = (time.monotonic() - began) * 1000
            made.exchanges = self._observed.exchanges[before:]


async def try_plugin(
    kind: type[Plugin],
    instance: AdapterInstance,
    *,
    assignment: Assignment | None = None,
    recall: bool = True,
    callback_url: str = NOWHERE,
    transport: httpx.AsyncBaseTransport | None = None,
    before_sample: Callable[[], Awaitable[None]] | None = None,
) -> Trial:
    """Try one instance; raises PluginError when it can't be built.

    Without `assignment` the trial asks only for health. Without `recall` the sample stays with the department. `before_sample` is awaited
    before the sample is handed over (to set a fault of a simulator). `transport` replaces the network.
    """
    observed = _Observed()
    settings = check_settings(kind, instance)
    client = departmental_client(
        instance.name,
        timeout=kind.manifest.attempt_timeout.total_seconds(),
        rate=rate_of(kind, instance),
        record=observed.exchange,
        transport=transport,
    )
    logger: Any = structlog.wrap_logger(None, processors=[observed.line], wrapper_class=structlog.stdlib.BoundLogger)
    try:
        running = build(
            kind,
            instance,
            store=MemoryStore(),
            callback_url=callback_url,
            unmapped=observed.word,
            client=client,
            log=logger,
        )
    except PluginError:
        await client.aclose()
        raise
    calls = _Calls(observed, instance.name)
    at, began = datetime.now(UTC), time.monotonic()
    attributes: dict[str, str | int | bool] = {telemetry.ADAPTER: instance.name}
    with (
        telemetry.watching(observed),
        telemetry.span(f"try {instance.name}", root=True, attributes=attributes) as root,
        known_here(hider(assignment.contact if assignment is not None else None)),  # a fault may name its reporter
    ):
        try:
            ticket = await _made(calls, running, assignment, recall=recall, before_sample=before_sample)
        finally:
            await running.stop()
        if not all(made.well for made in calls.made):
            root.fail("troubled")
    ms = (time.monotonic() - began) * 1000
    return _told(kind, running, settings, observed, calls.made, at, ms, assignment, ticket, recall=recall)


async def _made(
    calls: _Calls,
    running: Running,
    assignment: Assignment | None,
    *,
    recall: bool,
    before_sample: Callable[[], Awaitable[None]] | None,
) -> str | None:
    """Make the calls; the ticket of the sample if it was filed."""
    try:
        await calls.make("start", running.start, lambda _: {"ok": True})
    except HubError:
        return None
    await _health(calls, running)
    if assignment is None:
        return None
    if before_sample is not None:
        await before_sample()
    ticket = await _handed(calls, running, assignment)
    if ticket is not None:
        await _checked(calls, running, replace(assignment, ticket=ticket), recall=recall)
    return ticket


async def _health(calls: _Calls, running: Running) -> None:
    with suppress(HubError):
        await calls.make("health", running.ask_health, lambda health: {"ok": bool(health.ok), "detail": str(health.detail)})


async def _handed(calls: _Calls, running: Running, assignment: Assignment) -> str | None:
    """Hand the sample over as dispatch would, without the pauses between attempts; its ticket if it was filed."""
    for last in (False, True):
        try:
            receipt = await within_attempt(
                lambda: calls.make("deliver", lambda: running.deliver(assignment), lambda given: {"ticket": given.ticket})
            )
        except HubError as problem:
            doubt = disposition_of(problem) in (Disposition.UNKNOWN, Disposition.FAULT)
            if not doubt:
                return None
            asked, found = await _asked(calls, running, assignment)
            if found is not None:
                return found.ticket
            if last or not asked:
                return None
        else:
            return receipt.ticket
    return None


async def _asked(calls: _Calls, running: Running, assignment: Assignment) -> tuple[bool, Receipt | None]:
    """What became of it: whether it may be handed over again, and the receipt if the department has it."""
    if not running.can(Capability.LOOKUP):
        return running.can(Capability.IDEMPOTENT), None
    try:
        return True, await within_attempt(lambda: _lookup(calls, running, assignment))
    except HubError:
        return False, None


async def _lookup(calls: _Calls, running: Running, assignment: Assignment) -> Receipt | None:
    return await calls.make(
        "lookup",
        lambda: running.lookup(assignment),
        lambda found: {"found": found is not None} | ({} if found is None else {"ticket": found.ticket}),
    )


async def _checked(calls: _Calls, running: Running, assignment: Assignment, *, recall: bool) -> None:
    """Ask for it by key, then take it back, as far as the plugin can."""
    with suppress(HubError):
        if running.can(Capability.LOOKUP) and calls.made[-1].call != "lookup":
            await within_attempt(lambda: _lookup(calls, running, replace(assignment, ticket=None)))
    if not recall or not running.can(Capability.RECALL):
        return

    async def recalled() -> None:
        await calls.make("recall", lambda: running.tell(Verb.RECALL, assignment, RECALL_REASON), lambda _: {"ok": True})

    with suppress(HubError):
        await within_attempt(recalled)


def _told(
    kind: type[Plugin],
    running: Running,
    settings: Any,
    observed: _Observed,
    made: Sequence[_Made],
    at: datetime,
    ms: float,
    assignment: Assignment | None,
    ticket: str | None,
    *,
    recall: bool,
) -> Trial:
    """The trial as it may be shown."""
    blotter = Blotter(secrets_of(settings))
    contact = assignment.contact if assignment is not None else None
    if contact is not None:
        blotter.add(value for value in (contact.name, contact.phone, contact.address) if value)
    for one in observed.exchanges:
        blotter.learn_url(one.url)
        blotter.learn_headers((*one.headers, *one.answer_headers))
        blotter.learn_body(one.body, _media_type(one.headers))
        blotter.learn_body(one.answer or b"", _media_type(one.answer_headers))
    calls = [_call(blotter, running, one) for one in made]
    outcome = outcome_of(
        calls, handed=assignment is not None, ticket=ticket, can_recall=running.can(Capability.RECALL), recall=recall
    )
    tree = trace.assemble(running.name, (), observed.spans).to_json()
    return Trial(
        instance=running.name,
        plugin=kind.manifest.name,
        plugin_version=kind.manifest.version,
        settings_version=running.instance.version,
        at=at,
        ms=round(ms, 1),
        ok=outcome.ok,
        outcome=outcome.word,
        text=blotter.text(outcome.text),
        settings=blotter.value(settings.model_dump(mode="json")),
        calls=calls,
        assignment=None if assignment is None else blotter.value(assignment.summary()),
        ticket=None if ticket is None else blotter.struck(ticket),
        unmapped=[blotter.text(word) for word in observed.unmapped],
        logs=[
            LogLine(level=level, event=blotter.text(event), fields=blotter.value(fields))
            for level, event, fields in observed.lines
        ],
        left_out=observed.left_out,
        trace=blotter.value(tree),
    )


def _call(blotter: Blotter, running: Running, made: _Made) -> Call:
    return Call(
        call=made.call,
        number=made.number,
        at=made.at,
        ms=round(made.ms, 1),
        result=None if made.result is None else {name: _result(blotter, value) for name, value in made.result.items()},
        problem=None if made.problem is None else _problem(blotter, running, made.call, made.problem),
        exchanges=[_exchange(blotter, one) for one in made.exchanges],
    )


def _result(blotter: Blotter, value: Any) -> Any:
    return blotter.struck(value) if isinstance(value, str) else value


def _problem(blotter: Blotter, running: Running, call: str, problem: HubError) -> Problem:
    asked = problem.retry_after if isinstance(problem, Unavailable) else None
    return Problem(
        error=type(problem).__name__,
        code=problem.code,
        disposition=disposition_of(problem).value,
        message=blotter.text(problem.message),
        next=next_step(running.instance, running.manifest, call, problem),
        status=problem.status if isinstance(problem, DeliveryError) else None,
        retry_after=None if asked is None else round(asked.total_seconds(), 1),
        traceback=[blotter.text(line) for line in _traceback(problem)] if isinstance(problem, AdapterFault) else [],
    )


def _traceback(problem: AdapterFault) -> Iterable[str]:
    """The innermost frames of the plugin's exception."""
    if problem.__cause__ is None:
        return []
    cause = problem.__cause__
    frames = traceback.extract_tb(cause.__traceback__)[-5:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}: {frame.line or ''}" for frame in frames]


def _exchange(blotter: Blotter, one: Wired) -> Exchange:
    answer = None
    if one.status is not None:
        body = None if one.answer is None else blotter.body(one.answer, _media_type(one.answer_headers))
        answer = Answer(status=one.status, headers=blotter.headers(one.answer_headers), body=body)
    return Exchange(
        at=one.at,
        ms=round(one.seconds * 1000, 1),
        waited_ms=round(one.waited * 1000, 1),
        request=Request(
            method=one.method,
            url=blotter.url(one.url),
            headers=blotter.headers(one.headers),
            body=blotter.body(one.body, _media_type(one.headers)),
        ),
        answer=answer,
        error=None if one.error is None else one.error.code,
    )


def _media_type(headers: Iterable[tuple[str, str]]) -> str:
    return next((value for name, value in headers if name.lower() == "content-type"), "")
