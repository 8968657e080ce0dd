"""The desk: the only way to change a matter. Load, decide, append; on a conflict reload and decide again.

One desk for each kind of matter; called by intake, report-back, deadlines, dispatch, reactions and the API. It caches folded matters. Other
processes change the same matters, so a cached one may be old. It is used only where the ledger would notice that, and never served as
fresh. The desk refuses whatever the aggregate refuses. It never says done before the ledger has acknowledged.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec
import structlog

from hub.errors import BusUnavailable, InvalidInput, LedgerConflict, NotAllowed, Undecided
from hub.model.aggregate import IDS_KEPT, Aggregate, Aggregates, Command, Commit, Event, Folded, MatterId, command_id_of, tag_of
from hub.model.effects import React
from hub.model.texts import reworded
from hub.observing import telemetry
from hub.privacy.marks import plain
from hub.privacy.masks import mask_text
from hub.spine.ledger.codec import command_digest, digest

if TYPE_CHECKING:
    from hub.model.actors import Actor
    from hub.model.policy.rules import Rules
    from hub.model.records import Source
    from hub.observing.metrics import Metrics

log = structlog.get_logger("hub.desk")

S = TypeVar("S")
C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)
X = TypeVar("X", bound=Command)

_TRIES = 12
"""Conflicts in a row before the caller gets the error. Each one means that another commit succeeded."""


ANSWER_WITHIN = 10.0
"""Seconds to wait for another matter's answer. While the bus is there, it takes milliseconds."""
_LOOK_AGAIN = 0.05


def utc_now() -> datetime:
    """The hub's clock."""
    return datetime.now(UTC)


Hiding = Callable[[Sequence[MatterId]], Awaitable[Callable[[str], str] | None]]
"""Gives what masks all that is known of these matters' reporters in a text; None: nothing is (`hub.privacy.vault.Vault.hiding`)."""


class Commits(Protocol):
    """What the desk needs of the ledger."""

    async def append(self, commit: Commit[Any], *, after: int) -> tuple[int, bytes]:
        """Store one commit behind the one at sequence `after`; (sequence, bytes). Raises LedgerConflict, BusUnavailable."""
        ...

    async def load(self, id: MatterId) -> Folded[Any] | None:
        """Fold a matter from its commits."""
        ...

    async def newer(self, known: Folded[Any]) -> Folded[Any] | None:
        """The matter as it is now; None when it has not changed since."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome(Generic[S]):
    """What a command came to. `repeated`: it was committed before and nothing was done now. `attached`: a report joined a matter."""

    folded: Folded[S]
    commit: Commit[Any] | None = None
    repeated: bool = False
    attached: bool = False

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened; empty when nothing was to be done."""
        return () if self.commit is None else self.commit.events

    @property
    def state(self) -> S:
        """The matter after it."""
        return self.folded.state

    @property
    def sequence(self) -> int:
        """The ledger sequence the answer is as of."""
        return self.folded.sequence


class _Alone:
    """One command at a time per matter within this process, so that conflicts only come from other processes."""

    __slots__ = ("_entry", "_id", "_locks")

    def __init__(self, locks: dict[MatterId, list[Any]], id: MatterId) -> None:
        self._locks = locks
        self._id = id
        entry = locks.get(id)
        if entry is None:
            entry = locks[id] = [asyncio.Lock(), 0]
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
            del self._locks[self._id]


class Desk(Generic[S, C, E]):
    """Executes commands on the matters of one kind."""

    def __init__(
        self,
        aggregate: Aggregate[S, C, E],
        ledger: Commits,
        rules: Callable[[], Rules],
        *,
        clock: Callable[[], datetime] = utc_now,
        cache: int = 20_000,
        metrics: Metrics | None = None,
        hiding: Hiding | None = None,
    ) -> None:
        self.aggregate = aggregate
        self._ledger = ledger
        self._rules = rules
        self._clock = clock
        self._cache: OrderedDict[MatterId, Folded[S]] = OrderedDict()
        self._most = cache
        self._metrics = metrics
        self._hiding = hiding
        self._locks: dict[MatterId, list[Any]] = {}
        self._spans = f"send ledger.{aggregate.name}"

    async def load(self, id: MatterId) -> Folded[S] | None:
        """The matter as the ledger has it now, whoever changed it. None when there is none."""
        found = self._cache.get(id)
        return await self._reload(id) if found is None else await self._refreshed(found)

    async def known(self, id: MatterId, *, number: int = 1) -> Folded[S] | None:
        """The matter as this process knows it, at least up to its commit `number`. Another process may be ahead.

        For callers that act on a commit they have seen. The expected sequence checks their next command.
        """
        found = self._cache.get(id)
        if found is not None and found.number >= number:
            self._cache.move_to_end(id)
            return found
        return await self._reload(id)

    async def execute(
        self,
        id: MatterId,
        command: C,
        *,
        actor: Actor,
        command_id: str | None = None,
        cause: str | None = None,
        strict: bool = True,
    ) -> Outcome[S]:
        """Do one command; returns when its commit is acknowledged.

        `command_id` makes the command idempotent per matter. With `strict` the same id with other content is refused. Without, it counts as
        the same, because departments repeat feedback with a fresh time. Raises TransitionRefused or InvalidInput (nothing changed),
        NotAllowed (no such matter), BusUnavailable (nobody knows whether it is stored), LedgerConflict (too many lost races), Undecided (no
        answer of another matter within ten seconds).
        """
        give_up = time.monotonic() + ANSWER_WITHIN
        while True:
            try:
                return await self._execute(id, command, actor, command_id, cause, strict)
            except Undecided:
                if time.monotonic() > give_up:
                    raise
            await asyncio.sleep(_LOOK_AGAIN)

    async def _execute(
        self, id: MatterId, command: C, actor: Actor, command_id: str | None, cause: str | None, strict: bool
    ) -> Outcome[S]:
        identity = command_id or f"{random.getrandbits(64):016x}"
        async with _Alone(self._locks, id):
            before = self._cache.get(id)
            fresh = before is None
            if before is None and type(command) not in self.aggregate.opens:
                before = await self._reload(id)
            given, worded_for = command, before
            command = await self._worded(given, before)
            content = command_digest(command)
            for _ in range(_TRIES):
                if before is not worded_for:  # it was read anew: whose names may not stand in it may have changed
                    command, worded_for = await self._worded(given, before), before
                    content = command_digest(command)
                if before is not None and (earlier := before.commands.get(identity)) is not None:
                    if strict and earlier.digest != content:
                        raise InvalidInput("the same key came with another content", subject="Idempotency-Key")
                    return Outcome(before, repeated=True)
                if before is None and type(command) not in self.aggregate.opens:
                    raise NotAllowed(f"no such {self.aggregate.name}", subject=id)
                refusal: InvalidInput | Undecided | None = None
                events: tuple[E, ...] = ()
                rules, now = self._rules(), self._clock()
                try:
                    events = self.aggregate.decide(
                        None if before is None else before.state, command, actor=actor, rules=rules, now=now, id=id
                    )
                except (InvalidInput, Undecided) as problem:
                    refusal = problem
                if not events and not fresh and before is not None:
                    # Nothing is to be done as far as this process knows; another one may have changed the matter since.
                    newest = await self._refreshed(before)
                    fresh = True
                    if newest is not before:
                        before = newest
                        continue
                if refusal is not None:
                    raise refusal
                if not events and command_id is None:
                    assert before is not None
                    return Outcome(before)
                try:
                    return await self._commit(id, before, command, events, actor, identity, content, cause, rules, now)
                except LedgerConflict:
                    self._cache.pop(id, None)
                    before, fresh = await self._reload(id), True
                except BusUnavailable:
                    # The message may be stored all the same: look before saying that it is not.
                    self._cache.pop(id, None)
                    before, fresh = await self._reload(id), True
                    if before is None or identity not in before.commands:
                        raise
            raise LedgerConflict(f"{_TRIES} other commits came first", subject=id)

    async def _worded(self, command: X, before: Folded[S] | None) -> X:
        """The command with its texts as they may be stored: plain text only, and no reporter's name, whoever wrote it."""
        hide = None
        if self._hiding is not None and before is not None and (reporters := self.aggregate.contacts(before.state)):
            hide = await self._hiding(reporters)
        return reworded(command, _bare if hide is None else lambda text: hide(_bare(text)))

    async def _commit(
        self,
        id: MatterId,
        before: Folded[S] | None,
        command: C,
        events: tuple[E, ...],
        actor: Actor,
        identity: str,
        content: str,
        cause: str | None,
        rules: Rules,
        now: datetime,
    ) -> Outcome[S]:
        """Append the decided events. A commit without events only remembers the command's id."""
        kind = self.aggregate
        name = tag_of(command)
        with telemetry.span(
            self._spans,
            kind="producer",
            matter=id,
            links=[cause] if cause else (),
            attributes={
                telemetry.COMMAND: name,
                telemetry.ACTOR: actor.kind.value,
                telemetry.LEVEL: actor.level.word if actor.level else "",
            },
        ) as span:
            draft = Commit(
                aggregate=kind.name,
                id=id,
                number=1 if before is None else before.number + 1,
                at=now,
                command=name,
                command_id=identity,
                command_digest=content,
                actor=actor,
                policy=rules.version,
                events=events,
                previous="" if before is None else before.digest,
                traceparent=span.traceparent,
                cause=cause,
            )
            after = kind.fold(before, draft, digest="", sequence=0)
            wake = kind.wake_at(before, after.state, now)
            commit = draft if wake is None else msgspec.structs.replace(draft, wake_at=wake)
            started = time.perf_counter()
            sequence, raw = await self._ledger.append(commit, after=0 if before is None else before.sequence)
            if self._metrics is not None:
                self._metrics.sent(f"ledger.{kind.name}", time.perf_counter() - started)
            after = msgspec.structs.replace(after, digest=digest(raw), sequence=sequence)
            span.set(telemetry.COMMIT, commit.number)
        self._keep(after)
        return Outcome(after, commit)

    async def _refreshed(self, known: Folded[S]) -> Folded[S]:
        """The matter as it is now; the same object when nobody changed it."""
        newer = await self._ledger.newer(known)
        if newer is None:
            return known
        self._keep(newer)
        return newer

    async def _reload(self, id: MatterId) -> Folded[S] | None:
        if not self.aggregate.takes(id):  # there is no such matter of this kind
            return None
        found = await self._ledger.load(id)
        if found is not None:
            self._keep(found)
        return found

    def _keep(self, folded: Folded[S]) -> None:
        known = self._cache.get(folded.id)
        if known is not None and known.sequence > folded.sequence:
            return
        self._cache[folded.id] = folded
        self._cache.move_to_end(folded.id)
        if len(self._cache) > self._most:
            self._cache.popitem(last=False)


class Desks:
    """The desks of all kinds. A matter's id says which desk is its own."""

    def __init__(self, *desks: Desk[Any, Any, Any]) -> None:
        self._kinds = Aggregates(*(desk.aggregate for desk in desks))
        self._by_name = {desk.aggregate.name: desk for desk in desks}
        self.of = lru_cache(maxsize=IDS_KEPT)(self._of)
        """The desk of a matter; raises ValueError for an id of no kind."""

    def _of(self, id: str) -> Desk[Any, Any, Any]:
        return self._by_name[self._kinds.of(id).name]

    async def load(self, id: str) -> Folded[Any] | None:
        """The matter as it is in the ledger now."""
        return await self.of(id).load(MatterId(id))

    async def known(self, id: str, *, number: int = 1) -> Folded[Any] | None:
        """The matter as this process knows it, at least up to its commit `number`."""
        return await self.of(id).known(MatterId(id), number=number)

    async def execute(
        self,
        id: str,
        command: Command,
        *,
        actor: Actor,
        command_id: str | None = None,
        cause: str | None = None,
        strict: bool = True,
    ) -> Outcome[Any]:
        """Do one command at the desk of that kind; see `Desk.execute`."""
        return await self.of(id).execute(MatterId(id), command, actor=actor, command_id=command_id, cause=cause, strict=strict)

    async def followed(self, outcome: Outcome[Any], within: float) -> int:
        """Wait until the other matters have got the commands that this outcome sets off. Returns the last sequence of all.

        After `within` seconds it returns the outcome's own sequence. The commands are given all the same.
        """
        commit, sequence = outcome.commit, outcome.sequence
        if commit is None:
            return sequence
        give_up = time.monotonic() + within
        for effect in self.of(commit.id).aggregate.effects(commit, outcome.state):
            if not isinstance(effect, React):
                continue
            id = command_id_of(commit, effect)
            while (other := await self.load(effect.to)) is None or id not in other.commands:
                if time.monotonic() > give_up:
                    return outcome.sequence
                await asyncio.sleep(_LOOK_AGAIN)
            sequence = max(sequence, other.sequence)
        return sequence

    async def listeners(self, folded: Folded[Any]) -> list[Source]:
        """Every outside record that waits for word on a matter: its own, and those of all that went on in it, over any number of
        steps."""
        found: dict[Source, None] = {}
        seen: set[MatterId] = set()
        waiting = [folded]
        while waiting:
            one = waiting.pop()
            seen.add(one.id)
            sources, joined = self.of(one.id).aggregate.listeners(one.state)
            found |= dict.fromkeys(sources)
            others = [await self.load(id) for id in joined if id not in seen]
            waiting.extend(other for other in others if other is not None)
        return list(found)


def _bare(text: str) -> str:
    """What may stand in a ledger that nothing is deleted from: text only, and nothing personal that the masks know."""
    return mask_text(plain(text))
