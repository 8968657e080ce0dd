"""The bus and everything on it, in memory, for tests that need no server. Nothing here survives the process.

They behave like the real ones, and give way to the loop where those wait for the server. One suite runs over both
(tests/contract/test_stores.py). The ledger is the real one, on a bus of lists.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hub.bus.buckets import Change, Entry, KeyExists, checked_key, checked_pattern
from hub.bus.connection import Bus, Message, WrongSequence
from hub.bus.streams import LEDGER, stream_configs
from hub.errors import BusUnavailable, LedgerConflict
from hub.model.aggregate import MATTERS
from hub.spine.ledger.store import CheckpointFile, Ledger

if TYPE_CHECKING:
    from hub.model.aggregate import Aggregates, Commit


class MemoryBus:
    """The hub's streams as lists. What is in a queue stays there, and no timer fires."""

    def __init__(self) -> None:
        self._streams = {config["name"]: _Stream(config) for config in stream_configs(replicas=1, ledger_bytes=-1)}

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        expect: int | None = None,
        message_id: str | None = None,
    ) -> int:
        """Store a message; its stream sequence. Raises WrongSequence, and BusUnavailable when no stream takes the subject."""
        await asyncio.sleep(0)
        stream = next((stream for stream in self._streams.values() if stream.takes(subject)), None)
        if stream is None:
            raise BusUnavailable(f"the bus refused {subject}: no stream takes this subject", subject=subject)
        if message_id in stream.ids:
            return stream.ids[message_id]
        last = stream.last(subject)
        if expect is not None and expect != (0 if last is None else last.sequence):
            raise WrongSequence(f"another message came first on {subject}", subject=subject)
        sequence = stream.keep(subject, data, dict(headers or {}))
        if message_id is not None:
            stream.ids[message_id] = sequence
        return sequence

    async def last(self, stream: str, subject: str) -> Message | None:
        """The last message of a subject (wildcards allowed), or None."""
        await asyncio.sleep(0)
        return self._named(stream).last(subject)

    async def all_of(self, stream: str, subject: str, *, until: int | None = None) -> list[Message]:
        """All messages of a subject in order (up to sequence `until`)."""
        await asyncio.sleep(0)
        return [m for m in self._named(stream).of(subject) if until is None or m.sequence <= until]

    async def follow(
        self, stream: str, subject: str, after: int, *, batch: int = 512, live: bool = True
    ) -> AsyncIterator[list[Message]]:
        """Lists of messages in stream order after a sequence; for ever, or to the present end when not `live`."""
        async for found in self._named(stream).follow(subject, after, live=live):
            for start in range(0, len(found), batch):
                yield found[start : start + batch]

    async def api(self, call: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Removes a stream's messages under a subject (`STREAM.PURGE`). Knows no other call of a server."""
        asked, _, stream = call.rpartition(".")
        if asked != "STREAM.PURGE":
            raise NotImplementedError(call)
        await asyncio.sleep(0)
        return {"purged": self._named(stream).remove(request["filter"])}

    def _named(self, stream: str) -> _Stream:
        found = self._streams.get(stream)
        if found is None:
            raise BusUnavailable(f"no answer from the bus for {stream}", subject=stream)
        return found


class _Stream:
    """The messages of one stream; of a subject only as many as it keeps."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._subjects = [_fits(subject) for subject in config["subjects"]]
        self._most = config.get("max_msgs_per_subject")
        self._messages: dict[int, Message] = {}
        self._by_subject: dict[str, list[Message]] = {}
        self._last = 0
        self._grown = asyncio.Event()
        self.ids: dict[str | None, int] = {}

    def takes(self, subject: str) -> bool:
        return any(fits(subject) for fits in self._subjects)

    def keep(self, subject: str, data: bytes, headers: Mapping[str, str]) -> int:
        self._last += 1
        message = self._messages[self._last] = Message(subject, data, self._last, dict(headers))
        kept = self._by_subject.setdefault(subject, [])
        kept.append(message)
        if self._most is not None and len(kept) > self._most:
            del self._messages[kept.pop(0).sequence]
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        return self._last

    def last(self, subject: str) -> Message | None:
        if _is_one(subject):
            return next(iter(self._by_subject.get(subject, ())[-1:]), None)
        fits = _fits(subject)
        return next((m for m in reversed(self._messages.values()) if fits(m.subject)), None)

    def of(self, subject: str, after: int = 0) -> list[Message]:
        if _is_one(subject):
            return [m for m in self._by_subject.get(subject, ()) if m.sequence > after]
        fits, behind = _fits(subject), range(after + 1, self._last + 1)
        return [m for n in behind if (m := self._messages.get(n)) is not None and fits(m.subject)]

    def remove(self, subject: str) -> int:
        removed = self.of(subject)
        for message in removed:
            del self._messages[message.sequence]
            self._by_subject[message.subject].remove(message)
        return len(removed)

    async def follow(self, subject: str, after: int, *, live: bool) -> AsyncIterator[list[Message]]:
        while True:
            grown, found = self._grown, self.of(subject, after)
            if found:
                after = found[-1].sequence
                yield found
            if not live:
                return
            await grown.wait()


def _is_one(subject: str) -> bool:
    return "*" not in subject and ">" not in subject


@cache
def _fits(pattern: str) -> Callable[[str], object]:
    """Whether a subject or a key fits a pattern: `*` stands for any one part, `>` for all that follow."""
    return re.compile(re.escape(pattern).replace(r"\*", r"[^.]+").replace(">", ".+")).fullmatch


class MemoryLedger(Ledger):
    """The ledger on a bus in memory (`bus`). Has no checkpoint, and so neither checks nor marks."""

    def __init__(self, aggregates: Aggregates, bus: MemoryBus | None = None) -> None:
        self.bus = bus or MemoryBus()
        super().__init__(cast("Bus", self.bus), CheckpointFile(Path(os.devnull)), aggregates)

    @property
    def stored(self) -> list[tuple[str, bytes]]:
        """(subject, bytes) of every commit."""
        return [(message.subject, message.data) for message in self.bus._named(LEDGER).of(MATTERS)]

    def all(self) -> list[Commit[Any]]:
        """Every commit, in order."""
        return [self.read(subject, raw) for subject, raw in self.stored]


class MemoryBucket:
    """Keys and values with revisions; of a removed key a marker stays."""

    def __init__(self) -> None:
        self._stream = _Stream({"subjects": [], "max_msgs_per_subject": 1})

    async def get(self, key: str) -> Entry | None:
        """The entry, or None."""
        found = await self._last(key)
        return None if found is None or found.headers else Entry(found.data, found.sequence)

    async def put(self, key: str, value: bytes) -> int:
        """Store whatever was there; returns the revision."""
        await self._last(key)
        return self._stream.keep(key, value, {})

    async def create(self, key: str, value: bytes) -> int:
        """Store only if there is none; raises KeyExists."""
        if await self.get(key) is not None:
            raise KeyExists(f"key exists: {key}", subject=key)
        return self._stream.keep(key, value, {})

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Store only over `revision`; raises LedgerConflict."""
        found = await self._last(key)
        if (0 if found is None else found.sequence) != revision:
            raise LedgerConflict(f"key {key} was changed by another", subject=key)
        return self._stream.keep(key, value, {})

    async def delete(self, key: str) -> None:
        """Mark as deleted; no error when absent."""
        await self._last(key)
        self._stream.keep(key, b"", {"KV-Operation": "DEL"})

    async def purge(self, key: str) -> None:
        """Remove the value and all its history."""
        await self.delete(key)

    async def entries(self, pattern: str = ">") -> dict[str, Entry]:
        """Every value whose key fits, by key."""
        checked_pattern(pattern)
        await asyncio.sleep(0)
        return {m.subject: Entry(m.data, m.sequence) for m in self._stream.of(pattern) if not m.headers}

    async def changes(self, keys: str, *, after: int = 0, live: bool = True) -> AsyncIterator[Change]:
        """What the keys of a pattern hold, then every change, behind a revision; no bytes: the key was removed."""
        async for found in self._stream.follow(keys, after, live=live):
            for message in found:
                yield Change(message.subject, message.data, message.sequence)

    async def _last(self, key: str) -> Message | None:
        checked_key(key)
        await asyncio.sleep(0)
        return self._stream.last(key)


__all__ = ["MemoryBucket", "MemoryBus", "MemoryLedger"]
