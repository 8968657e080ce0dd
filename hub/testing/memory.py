"""Stores in memory that behave like the real ones, for tests that need no server: ledger, bucket, objects.

They keep what they are given, check expected sequences and revisions, and forget what is purged; the same contract suite runs over
them and over the real ones. Nothing here survives the process: never a stand-in for durable state outside tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from hub.bus.buckets import Change, Entry, KeyExists
from hub.bus.connection import WrongSequence
from hub.errors import LedgerConflict
from hub.ledger import PolicyRecord
from hub.ledger_codec import Codecs, digest
from hub.model.aggregate import MATTERS, Aggregates, Commit, Folded, MatterId

if TYPE_CHECKING:
    from hub.model.actors import Actor


class MemoryLedger:
    """Commits in a list; sequence n is place n-1."""

    def __init__(self, aggregates: Aggregates) -> None:
        self._aggregates = aggregates
        self._codecs = Codecs(aggregates)
        self.stored: list[tuple[str, bytes]] = []
        """(subject, bytes) of every commit."""
        self._last: dict[str, int] = {}
        self._policies: list[PolicyRecord] = []
        self._grown = asyncio.Event()

    async def append(self, commit: Commit[Any], *, after: int) -> tuple[int, bytes]:
        """Store one commit behind the matter's at sequence `after`; raises WrongSequence."""
        subject = self._aggregates.of(commit.id).subject(commit.id)
        if self._last.get(subject, 0) != after:
            raise WrongSequence(f"another message came first on {subject}", subject=subject)
        return self.push(commit)

    def push(self, commit: Commit[Any]) -> tuple[int, bytes]:
        """Store a commit whatever came before it."""
        kind = self._aggregates.of(commit.id)
        raw = self._codecs.of(kind.name).encode(commit)
        subject = kind.subject(commit.id)
        self.stored.append((subject, raw))
        self._last[subject] = len(self.stored)
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        return len(self.stored), raw

    async def load(self, id: MatterId, *, until: int | None = None) -> Folded[Any] | None:
        """Fold a matter from its commits."""
        kind = self._aggregates.of(id)
        folded: Folded[Any] | None = None
        for sequence, commit, own in self._of(kind.subject(id), 0):
            if until is None or sequence <= until:
                folded = kind.fold(folded, commit, digest=own, sequence=sequence)
        return folded

    async def newer(self, known: Folded[Any]) -> Folded[Any] | None:
        """The matter as it is now; None when it has not changed since `known`."""
        last = self._last.get(self._aggregates.of(known.id).subject(known.id), 0)
        return None if last == known.sequence else await self.load(known.id)

    async def commits(self, id: MatterId) -> list[tuple[int, Commit[Any]]]:
        """All commits of a matter with their sequences."""
        return [(sequence, commit) for sequence, commit, _ in self._of(self._aggregates.of(id).subject(id), 0)]

    async def follow_batches(
        self, after: int, *, subject: str = MATTERS, live: bool = True, most: int = 512
    ) -> AsyncIterator[list[tuple[int, Commit[Any], str]]]:
        """Every commit behind a sequence under a subject, in lists."""
        while True:
            grown = self._grown
            end = len(self.stored)
            found = self._of(subject, after)
            after = max(after, end)
            for start in range(0, len(found), most):
                yield found[start : start + most]
            if not live:
                return
            if len(self.stored) == end:
                await grown.wait()

    async def follow(
        self, after: int, *, subject: str = MATTERS, live: bool = True
    ) -> AsyncIterator[tuple[int, Commit[Any], str]]:
        """The same one by one."""
        async for batch in self.follow_batches(after, subject=subject, live=live):
            for item in batch:
                yield item

    def all(self) -> list[Commit[Any]]:
        """Every commit, in order."""
        return [commit for _, commit, _ in self._of(MATTERS, 0)]

    async def last_sequence(self) -> int:
        """The last sequence."""
        return len(self.stored)

    async def publish_policy(self, sources: Mapping[str, str], actor: Actor) -> int:
        """Store a policy under the next number."""
        number = len(self._policies) + 1
        self._policies.append(PolicyRecord(version=number, at=datetime.now(UTC), actor=actor, sources=dict(sources)))
        return number

    async def policies(self) -> Sequence[PolicyRecord]:
        """Every policy ever published."""
        return self._policies

    def _of(self, subject: str, after: int) -> list[tuple[int, Commit[Any], str]]:
        return [
            (sequence, self._codecs.decode(own, raw), digest(raw))
            for sequence, (own, raw) in enumerate(self.stored[after:], after + 1)
            if own == subject or fnmatchcase(own, subject)
        ]


class MemoryBucket:
    """Keys and values with revisions."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._revision = 0
        self._story: list[Change] = []
        self._changed = asyncio.Event()

    async def get(self, key: str) -> Entry | None:
        """The entry, or None."""
        return self._entries.get(key)

    async def put(self, key: str, value: bytes) -> int:
        """Store whatever was there; returns the revision."""
        self._entries[key] = Entry(value, self._happened(key, value))
        return self._revision

    async def create(self, key: str, value: bytes) -> int:
        """Store only if there is none; raises KeyExists."""
        if key in self._entries:
            raise KeyExists(f"key exists: {key}", subject=key)
        return await self.put(key, value)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Store only over `revision`; raises LedgerConflict."""
        found = self._entries.get(key)
        if found is None or found.revision != revision:
            raise LedgerConflict(f"key {key} was changed by another", subject=key)
        return await self.put(key, value)

    async def delete(self, key: str) -> None:
        """Forget it; no error when absent."""
        self._entries.pop(key, None)
        self._happened(key, b"")

    async def purge(self, key: str) -> None:
        """Forget it with all its history."""
        await self.delete(key)

    def _happened(self, key: str, value: bytes) -> int:
        self._revision += 1
        self._story = [*(change for change in self._story if change.key != key), Change(key, value, self._revision)]
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return self._revision

    async def changes(self, keys: str, *, after: int = 0, live: bool = True) -> AsyncIterator[Change]:
        """What the keys of a pattern hold, then every change, behind a revision; no bytes: the key was removed."""
        fits = _fits(keys)
        while True:
            changed = self._changed
            for change in self._story:
                if change.revision > after and fits(change.key):
                    yield change
            after = max((change.revision for change in self._story), default=after)
            if not live:
                return
            await changed.wait()

    async def entries(self, pattern: str = ">") -> dict[str, Entry]:
        """All entries whose key fits a pattern (`*` for one part, `>` for the rest)."""
        fits = _fits(pattern)
        return {key: entry for key, entry in sorted(self._entries.items()) if fits(key)}


def _fits(pattern: str) -> Callable[[str], object]:
    """Whether a key fits a pattern of the bus."""
    return re.compile(re.escape(pattern).replace(r"\*", r"[^.]+").replace(">", ".+")).fullmatch


class MemoryObjects:
    """Files by their SHA-256."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def put(self, content: bytes) -> str:
        """Store; returns the SHA-256 in hex."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.files[sha256] = content
        return sha256

    async def get(self, sha256: str) -> bytes | None:
        """The content, or None."""
        return self.files.get(sha256)

    async def delete(self, sha256: str) -> None:
        """Destroy the content; no error when there is none."""
        self.files.pop(sha256, None)


__all__ = ["MemoryBucket", "MemoryLedger", "MemoryObjects"]
