"""The desk: the only way to change a case. Load, decide, append; on a conflict reload and decide again.

Called by intake, report-back, deadlines, dispatch and the API; holds the cache of folded cases. Refuses what the lifecycle
refuses, and never says done before the ledger has acknowledged.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from hub import telemetry
from hub.errors import BusUnavailable, InvalidInput, LedgerConflict, NotAllowed
from hub.ledger_codec import command_digest, digest
from hub.marks import plain, reworded
from hub.model.commands import AnyCommand, Command, Report
from hub.model.events import AnyEvent, Commit
from hub.model.lifecycle import decide, fold, wake_at

if TYPE_CHECKING:
    from hub.ledger import Ledger
    from hub.metrics import Metrics
    from hub.model.cases import Actor, Case, CaseId
    from hub.model.rules import Rules

log = structlog.get_logger("hub.desk")

C = TypeVar("C", bound=Command)

_TRIES = 12
"""Conflicts in a row before the caller is told; each means that somebody else's commit succeeded."""


def utc_now() -> datetime:
    """The hub's clock."""
    return datetime.now(UTC)


Hiding = Callable[["Case"], Awaitable[Callable[[str], str] | None]]
"""What masks in texts of a case what is known of its reporter; None when nothing is known (`hub.privacy.Vault.hiding`)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command came to. `repeated`: it was committed before and nothing was done now. `attached`: a report joined `case`."""

    case: Case
    sequence: int
    events: tuple[AnyEvent, ...] = ()
    repeated: bool = False
    attached: bool = False


class _Alone:
    """One command at a time per case within this process, so that conflicts only come from other processes."""

    __slots__ = ("_case", "_entry", "_locks")

    def __init__(self, locks: dict[CaseId, list[Any]], case: CaseId) -> None:
        self._locks = locks
        self._case = case
        entry = locks.get(case)
        if entry is None:
            entry = locks[case] = [asyncio.Lock(), 0]
        entry[1] += 1
        self._entry = entry

    async def __aenter__(self) -> None:
        try:
            await self._entry[0].acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._entry[0].release()
        self._leave()

    def _leave(self) -> None:
        self._entry[1] -= 1
        if self._entry[1] == 0:
            del self._locks[self._case]


class Desk:
    """Executes commands on cases."""

    def __init__(
        self,
        ledger: Ledger,
        rules: Callable[[], Rules],
        *,
        clock: Callable[[], datetime] = utc_now,
        cache: int = 20_000,
        metrics: Metrics | None = None,
        hiding: Hiding | None = None,
    ) -> None:
        self._ledger = ledger
        self._rules = rules
        self._clock = clock
        self._cache: OrderedDict[CaseId, Case] = OrderedDict()
        self._most = cache
        self._metrics = metrics
        self._hiding = hiding
        self._locks: dict[CaseId, list[Any]] = {}

    async def load(self, case: CaseId, *, number: int = 0) -> Case | None:
        """The case as this process knows it, at least up to its commit `number`.

        Another process may be ahead; `execute` finds out by the expected sequence.
        """
        found = self._cache.get(case)
        if found is not None and found.number >= number:
            self._cache.move_to_end(case)
            return found
        return await self._reload(case)

    async def execute(
        self,
        case: CaseId,
        command: AnyCommand,
        *,
        actor: Actor,
        command_id: str | None = None,
        cause: str | None = None,
        strict: bool = True,
    ) -> Outcome:
        """Do one command; returns when its commit is acknowledged.

        `command_id` makes it idempotent per case; with `strict` the same id with another content is refused, else it counts as the
        same (departments repeat a report with a fresh time). Raises TransitionRefused/InvalidInput (nothing changed), NotAllowed
        when there is no such case, BusUnavailable when it is not known to be stored, LedgerConflict after many lost races.
        """
        identity = command_id or f"{random.getrandbits(64):016x}"
        async with _Alone(self._locks, case):
            state = self._cache.get(case)
            if state is None and not isinstance(command, Report):
                state = await self._reload(case)
            command = await self.worded(command, state)
            content = command_digest(command)
            for _ in range(_TRIES):
                if state is not None and (earlier := state.commands.get(identity)) is not None:
                    if strict and earlier.digest != content:
                        raise InvalidInput("the same key came with another content", subject="Idempotency-Key")
                    return Outcome(state, state.sequence, repeated=True)
                if state is None and not isinstance(command, Report):
                    raise NotAllowed("no such case", subject=case)
                try:
                    return await self._commit(case, state, command, actor, identity, content, cause)
                except LedgerConflict:
                    self._cache.pop(case, None)
                    state = await self._reload(case)
                except BusUnavailable:
                    # The message may be stored all the same: look before saying that it is not.
                    self._cache.pop(case, None)
                    state = await self._reload(case)
                    if state is None or identity not in state.commands:
                        raise
            raise LedgerConflict(f"{_TRIES} other commits came first", subject=case)

    async def worded(self, command: C, state: Case | None) -> C:
        """The command with its texts as they may be stored: no reporter's name in them, whoever wrote it, and nothing but text.

        `execute` does it; to be called before only by who takes away what the name would be known by (an erasure).
        """
        hide = await self._hiding(state) if self._hiding is not None and state is not None else None
        return reworded(command, plain if hide is None else lambda text: hide(plain(text)))

    async def _commit(
        self,
        case: CaseId,
        before: Case | None,
        command: AnyCommand,
        actor: Actor,
        identity: str,
        content: str,
        cause: str | None,
    ) -> Outcome:
        rules = self._rules()
        now = self._clock()
        name = command.__struct_config__.tag
        events = decide(before, command, actor=actor, rules=rules, now=now, new_id=case)
        if not events:
            assert before is not None
            return Outcome(before, before.sequence)
        with telemetry.span(
            "send ledger.case",
            kind="producer",
            case=case,
            links=[cause] if cause else (),
            attributes={
                "hub.command": str(name),
                "hub.actor": actor.kind.value,
                "hub.level": actor.level.word if actor.level else "",
            },
        ) as span:
            draft = Commit(
                case=case,
                number=1 if before is None else before.number + 1,
                at=now,
                command=str(name),
                command_id=identity,
                command_digest=content,
                actor=actor,
                policy=rules.version,
                events=events,
                previous="" if before is None else before.digest,
                traceparent=span.traceparent,
                cause=cause,
            )
            after = fold(before, draft, digest="", sequence=0)
            wake = wake_at(before, after, now)
            commit = draft if wake is None else msgspec.structs.replace(draft, wake_at=wake)
            started = time.perf_counter()
            sequence, raw = await self._ledger.append(commit, after=0 if before is None else before.sequence)
            if self._metrics is not None:
                self._metrics.sent("ledger.case", time.perf_counter() - started)
            after = msgspec.structs.replace(
                after, digest=digest(raw), sequence=sequence, wake_at=after.wake_at if wake is None else wake
            )
            span.set("hub.commit", commit.number)
        self._keep(case, after)
        return Outcome(after, sequence, events)

    async def _reload(self, case: CaseId) -> Case | None:
        found = await self._ledger.load(case)
        if found is not None:
            self._keep(case, found)
        return found

    def _keep(self, case: CaseId, state: Case) -> None:
        known = self._cache.get(case)
        if known is not None and known.sequence > state.sequence:
            return
        self._cache[case] = state
        self._cache.move_to_end(case)
        if len(self._cache) > self._most:
            self._cache.popitem(last=False)
