"""The ledger: append, load and follow commits; the checkpoint outside the store; published policies.

The ledger is the only truth. It refuses to serve when the stream is behind its checkpoint, has holes or a broken chain. Called by the desk
(load, append), linkage and views (follow), and the composition root (check).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog

from hub.bus.cancellation import raise_if_cancelled
from hub.bus.connection import Bus, WrongSequence
from hub.bus.streams import LEDGER, consumer_floors, stream_state
from hub.errors import BusUnavailable, LedgerDamaged
from hub.model.actors import Actor
from hub.model.aggregate import MATTERS, Aggregates, Commit, Folded, MatterId
from hub.spine.ledger.codec import Codecs, digest

log = structlog.get_logger("hub.ledger")

POLICY = "ledger.policy"

RESTORE = (
    "Stop the hub, keep the damaged store aside, restore the latest backup of the data directory (see docs/devops.md, "
    "'Restore the ledger'), and start again. To go on with what is left, knowing that commits are lost: `hub ledger accept-loss`."
)


class PolicyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A published policy: its files by name, who published it and when; the hash of the one before."""

    version: int
    at: datetime
    actor: Actor
    sources: dict[str, str]
    previous: str = ""


decode_policy = msgspec.json.Decoder(PolicyRecord).decode


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The stream's last sequence and that message's hash at some moment; `at` is when."""

    sequence: int
    digest: str
    at: str


class CheckpointFile:
    """The checkpoint on disk, outside the store. Written atomically and flushed; any thread may write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._alone = threading.Lock()  # a cancelled write goes on in its thread, beside the last one at the end

    def read(self) -> Checkpoint | None:
        """The last checkpoint, None when there is none yet. Raises LedgerDamaged when the file can't be read."""
        try:
            values = json.loads(self._path.read_bytes())
            return Checkpoint(int(values["sequence"]), str(values["digest"]), str(values["at"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as problem:
            raise LedgerDamaged(f"the checkpoint {self._path} can't be read: {problem}. {RESTORE}") from problem

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with self._alone:
            with fresh.open("w") as file:
                json.dump({"sequence": checkpoint.sequence, "digest": checkpoint.digest, "at": checkpoint.at}, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)


class Ledger:
    """Commits on JetStream."""

    def __init__(self, bus: Bus, checkpoint: CheckpointFile, aggregates: Aggregates, *, source: str = "hub") -> None:
        self._bus = bus
        self._checkpoint = checkpoint
        self._aggregates = aggregates
        self._codecs = Codecs(aggregates)
        self._source = source
        self._marked: Checkpoint | None = None

    async def append(self, commit: Commit[Any], *, after: int) -> tuple[int, bytes]:
        """Store one commit behind the matter's commit at sequence `after` (0: the first); returns its sequence and bytes.

        Raises WrongSequence when another commit came first, BusUnavailable when nothing was confirmed.
        """
        kind = self._aggregates.of(commit.id)
        raw = self._codecs.of(kind.name).encode(commit)
        headers = {
            "ce-specversion": "1.0",
            "ce-id": f"{commit.id}:{commit.number}",
            "ce-type": f"hub.{kind.name}.{commit.command}",
            "ce-source": self._source,
        }
        if commit.traceparent is not None:
            headers["traceparent"] = commit.traceparent
        return await self._bus.publish(kind.subject(commit.id), raw, headers=headers, expect=after), raw

    async def load(self, id: MatterId, *, until: int | None = None) -> Folded[Any] | None:
        """Fold a matter from its commits (up to a stream sequence), its chain checked; None when there is none.

        Raises LedgerDamaged, ValueError for an id of no kind.
        """
        kind = self._aggregates.of(id)
        decode, fold = self._codecs.of(kind.name).decode, kind.fold
        folded: Folded[Any] | None = None
        for message in await self._bus.all_of(LEDGER, kind.subject(id), until=until):
            folded = fold(folded, decode(message.data), digest=digest(message.data), sequence=message.sequence)
        return folded

    async def newer(self, known: Folded[Any]) -> Folded[Any] | None:
        """The matter as it is now, None when it has not changed since `known`. One small question where little has changed."""
        kind = self._aggregates.of(known.id)
        last = await self._bus.last(LEDGER, kind.subject(known.id))
        if last is None or last.sequence == known.sequence:
            return None
        commit = self._codecs.of(kind.name).decode(last.data)
        if commit.number == known.number + 1:
            return kind.fold(known, commit, digest=digest(last.data), sequence=last.sequence)
        return await self.load(known.id)

    async def commits(self, id: MatterId) -> list[tuple[int, Commit[Any]]]:
        """All commits of a matter with their stream sequences."""
        kind = self._aggregates.of(id)
        decode = self._codecs.of(kind.name).decode
        return [(message.sequence, decode(message.data)) for message in await self._bus.all_of(LEDGER, kind.subject(id))]

    def read(self, subject: str, raw: bytes) -> Commit[Any]:
        """A ledger message as a commit; for those that have a consumer of their own. Raises LedgerDamaged."""
        return self._codecs.decode(subject, raw)

    async def follow(
        self, after: int, *, subject: str = MATTERS, live: bool = True
    ) -> AsyncIterator[tuple[int, Commit[Any], str]]:
        """Every commit behind sequence `after` under a subject (all matters): (sequence, commit, its hash). For ever, or to the
        present end."""
        async for batch in self.follow_batches(after, subject=subject, live=live):
            for item in batch:
                yield item

    async def follow_batches(
        self, after: int, *, subject: str = MATTERS, live: bool = True
    ) -> AsyncIterator[list[tuple[int, Commit[Any], str]]]:
        """The same in lists of what arrived together."""
        decode = self._codecs.decode
        async for messages in self._bus.follow(LEDGER, subject, after, live=live):
            yield [(message.sequence, decode(message.subject, message.data), digest(message.data)) for message in messages]

    async def last_sequence(self) -> int:
        """The sequence of the last commit; 0 when there is none. What readers of matters have to reach to be up to date."""
        last = await self._bus.last(LEDGER, MATTERS)
        return 0 if last is None else last.sequence

    async def publish_policy(self, sources: Mapping[str, str], actor: Actor) -> int:
        """Store a policy under the next number; returns the number. Raises LedgerConflict when another came first."""
        last = await self._bus.last(LEDGER, POLICY)
        previous = decode_policy(last.data) if last is not None else None
        record = PolicyRecord(
            version=1 if previous is None else previous.version + 1,
            at=datetime.now(UTC),
            actor=actor,
            sources=dict(sources),
            previous="" if last is None else digest(last.data),
        )
        await self._bus.publish(POLICY, msgspec.json.encode(record), expect=0 if last is None else last.sequence)
        return record.version

    async def policy(self) -> PolicyRecord | None:
        """The policy in force."""
        last = await self._bus.last(LEDGER, POLICY)
        return None if last is None else decode_policy(last.data)

    async def policies(self) -> list[PolicyRecord]:
        """Every policy ever published, oldest first."""
        return [decode_policy(m.data) for m in await self._bus.all_of(LEDGER, POLICY)]

    async def check(self, *, positions: Mapping[str, int] | None = None) -> None:
        """Refuse with LedgerDamaged when the store lost acknowledged commits.

        Checks the checkpoint, holes, consumers and `positions` (readers' own last sequences by name).
        """
        state = await stream_state(self._bus, LEDGER)
        mark = await asyncio.to_thread(self._checkpoint.read)
        if mark is not None:
            if state.last < mark.sequence:
                raise LedgerDamaged(
                    f"the ledger ends at {state.last} but had reached {mark.sequence} at {mark.at}: "
                    f"{mark.sequence - state.last} acknowledged messages are gone. {RESTORE}"
                )
            found = await self._bus.at(LEDGER, mark.sequence)
            if found is None or digest(found.data) != mark.digest:
                raise LedgerDamaged(f"ledger message {mark.sequence} is not the one acknowledged at {mark.at}. {RESTORE}")
        if state.messages and (state.first != 1 or state.messages != state.last):
            raise LedgerDamaged(
                f"the ledger has {state.messages} messages but ends at {state.last}: some in between are gone. {RESTORE}"
            )
        for name, floor in {**await consumer_floors(self._bus, LEDGER), **(positions or {})}.items():
            if floor > state.last:
                raise LedgerDamaged(f"{name} has read up to {floor} but the ledger ends at {state.last}. {RESTORE}")
        self._marked = mark

    async def checkpoint(self) -> Checkpoint | None:
        """Write a checkpoint of the present end; raises LedgerDamaged when the stream is shorter than at the last one."""
        state = await stream_state(self._bus, LEDGER)
        before = self._marked
        if before is not None and state.last < before.sequence:
            raise LedgerDamaged(f"the ledger fell from {before.sequence} to {state.last} while serving. {RESTORE}")
        if state.last == 0 or (before is not None and state.last == before.sequence):
            return before
        message = await self._bus.at(LEDGER, state.last)
        if message is None:
            raise LedgerDamaged(f"ledger message {state.last} can't be read. {RESTORE}")
        mark = Checkpoint(state.last, digest(message.data), datetime.now(UTC).isoformat(timespec="milliseconds"))
        await asyncio.to_thread(self._checkpoint.write, mark)
        self._marked = mark
        return mark

    async def keep_checkpoints(self, every: float, damaged: Callable[[LedgerDamaged], None]) -> None:
        """Write checkpoints every `every` seconds until cancelled; the last one at the end. `damaged` is called at most once."""
        try:
            while True:
                raise_if_cancelled()
                await asyncio.sleep(every)
                with contextlib.suppress(BusUnavailable):
                    await self.checkpoint()
        except LedgerDamaged as problem:
            log.critical("ledger damaged", reason=problem.message)
            damaged(problem)

    async def verify(self, progress: Callable[[int], None] | None = None) -> tuple[int, str]:
        """Walk the whole ledger and check every chain; returns (commits, rolling hash). Raises LedgerDamaged."""
        await self.check()
        heads: dict[MatterId, tuple[int, str]] = {}
        rolling = hashlib.sha256()
        count = 0
        async for batch in self.follow_batches(0, live=False):
            for sequence, commit, own in batch:
                number, before = heads.get(commit.id, (0, ""))
                if commit.number != number + 1 or commit.previous != before:
                    raise LedgerDamaged(
                        f"the chain of {commit.aggregate} {commit.id} is broken at commit {commit.number} (sequence {sequence}). {RESTORE}"
                    )
                heads[commit.id] = (commit.number, own)
                rolling.update(own.encode())
                count += 1
            if progress is not None:
                progress(count)
        return count, rolling.hexdigest()

    async def accept_loss(self) -> Checkpoint:
        """Forget the checkpoint and mark the commits that are left. Only for an operator who knows that commits are lost."""
        state = await stream_state(self._bus, LEDGER)
        message = await self._bus.at(LEDGER, state.last)
        mark = Checkpoint(
            state.last, digest(message.data) if message else "", datetime.now(UTC).isoformat(timespec="milliseconds")
        )
        await asyncio.to_thread(self._checkpoint.write, mark)
        self._marked = mark
        return mark


__all__ = ["Checkpoint", "CheckpointFile", "Ledger", "PolicyRecord", "WrongSequence", "decode_policy"]
