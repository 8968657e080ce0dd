"""Key-value buckets and the store of attachments, on JetStream."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import nats.errors
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import (
    BucketNotFoundError,
    KeyDeletedError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
)
from nats.js.kv import KeyValue

from hub.bus.connection import Bus, WrongSequence
from hub.bus.streams import FILES
from hub.errors import BusUnavailable, HubError, InvalidInput, LedgerConflict

_KEY = re.compile(r"[-_=A-Za-z0-9]+(\.[-_=A-Za-z0-9]+)*")
_PATTERN = re.compile(r"((\*|[-_=A-Za-z0-9]+)\.)*(\*|>|[-_=A-Za-z0-9]+)")
_TRIES = 12
_OPERATION = "KV-Operation"
"""Header of the marker that stands in place of a deleted value."""


class KeyExists(HubError):
    """`create` found the key already there."""

    code = "key_exists"


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and its revision."""

    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """What a key holds from a revision on; no bytes: it was removed."""

    key: str
    value: bytes
    revision: int


class Bucket:
    """A durable key-value bucket with optimistic concurrency. Keys: letters, digits, `-_=`, parts joined by dots."""

    def __init__(self, kv: KeyValue, bus: Bus, name: str) -> None:
        self._kv = kv
        self._bus = bus
        self._name = name

    @classmethod
    async def open(cls, bus: Bus, name: str, *, replicas: int = 1) -> Bucket:
        """Open a bucket, created when it is missing."""
        try:
            return cls(await bus.js.key_value(name), bus, name)
        except BucketNotFoundError:
            config = KeyValueConfig(bucket=name, history=1, storage=StorageType.FILE, replicas=replicas, direct=True)
            return cls(await bus.js.create_key_value(config), bus, name)

    async def get(self, key: str) -> Entry | None:
        """The entry, or None."""
        try:
            entry = await self._kv.get(checked_key(key))
        except (KeyNotFoundError, KeyDeletedError):
            return None
        except (TimeoutError, nats.errors.Error) as problem:
            raise BusUnavailable(f"no answer for key {key}", subject=key) from problem
        return Entry(entry.value or b"", entry.revision or 0)

    async def put(self, key: str, value: bytes) -> int:
        """Store whatever was there; returns the revision."""
        try:
            return await self._kv.put(checked_key(key), value)
        except (TimeoutError, nats.errors.Error) as problem:
            raise BusUnavailable(f"key {key} not stored", subject=key) from problem

    async def create(self, key: str, value: bytes) -> int:
        """Store only if there is none; raises KeyExists."""
        try:
            return await self._kv.create(checked_key(key), value)
        except KeyWrongLastSequenceError as problem:
            raise KeyExists(f"key exists: {key}", subject=key) from problem
        except (TimeoutError, nats.errors.Error) as problem:
            raise BusUnavailable(f"key {key} not stored", subject=key) from problem

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Store only over `revision`; raises LedgerConflict."""
        try:
            return await self._kv.update(checked_key(key), value, last=revision)
        except KeyWrongLastSequenceError as problem:
            raise LedgerConflict(f"key {key} was changed by another", subject=key) from problem
        except (TimeoutError, nats.errors.Error) as problem:
            raise BusUnavailable(f"key {key} not stored", subject=key) from problem

    async def delete(self, key: str) -> None:
        """Mark as deleted; no error when absent."""
        try:
            await self._kv.delete(checked_key(key))
        except (TimeoutError, nats.errors.Error) as problem:
            raise BusUnavailable(f"key {key} not deleted", subject=key) from problem

    async def purge(self, key: str) -> None:
        """Remove the value and all its history from disk."""
        try:
            await self._kv.purge(checked_key(key))
        except (TimeoutError, nats.errors.Error) as problem:
            raise BusUnavailable(f"key {key} not purged", subject=key) from problem

    async def entries(self, pattern: str = ">") -> dict[str, Entry]:
        """Every value whose key fits, by key. `*` stands for any one part, `>` at the end for all that follow.

        Complete, whoever writes meanwhile: it has every value that was there before the call and is not deleted. It reads by direct gets.
        nats-py's `keys()` ends too early now and then, with some keys or with none (nats-io/nats.py 842, 995), and leaves a consumer behind
        each time. Raises BusUnavailable.
        """
        checked_pattern(pattern)
        prefix = f"$KV.{self._name}."
        latest = {message.subject: message for message in await self._bus.all_of(f"KV_{self._name}", prefix + pattern)}
        return {
            subject.removeprefix(prefix): Entry(message.data, message.sequence)
            for subject, message in latest.items()
            if _OPERATION not in message.headers
        }

    async def changes(self, keys: str, *, after: int = 0, live: bool = True) -> AsyncIterator[Change]:
        """What the keys of a pattern (`*`: one part, `>`: the rest) hold, then every change by anybody, behind a revision.

        For ever and without gaps, or to the present end when not `live` (then it raises BusUnavailable).
        """
        prefix = f"$KV.{self._name}."
        async for messages in self._bus.follow(f"KV_{self._name}", prefix + keys, after, live=live):
            for message in messages:
                value = b"" if "KV-Operation" in message.headers else message.data
                yield Change(message.subject.removeprefix(prefix), value, message.sequence)


async def revise(bucket: Bucket, key: str, change: Callable[[bytes | None], bytes]) -> bytes:
    """Store the result of `change` on a key's value (None: there is none, or no bytes). Returns the result.

    `change` is called again as often as another writer was first. An unchanged value is not written. Exceptions of `change` are passed on.
    Raises BusUnavailable.
    """
    for attempt in range(_TRIES):
        if attempt:
            await asyncio.sleep(random.uniform(0, min(0.2, 0.01 * 2**attempt)))  # noqa: S311 - jitter
        stored = await bucket.get(key)
        before = stored.value or None if stored is not None else None
        value = change(before)
        try:
            if stored is None:
                await bucket.create(key, value)
            elif value != before:
                await bucket.update(key, value, stored.revision)
        except (KeyExists, LedgerConflict):
            continue
        return value
    raise BusUnavailable(f"key {key} not stored: others write it all the time", subject=key)


class AdapterBucketStore:
    """The small store of one adapter instance: a key prefix in a shared bucket. Implements `AdapterStore`."""

    def __init__(self, bucket: Bucket, instance: str) -> None:
        self._bucket = bucket
        self._prefix = f"{instance}.store."

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        entry = await self._bucket.get(self._prefix + key)
        return None if entry is None else entry.value

    async def put(self, key: str, value: bytes) -> None:
        """Store; durable when it returns."""
        await self._bucket.put(self._prefix + key, value)

    async def delete(self, key: str) -> None:
        """Forget; no error when absent."""
        await self._bucket.delete(self._prefix + key)


class Objects:
    """Files by their SHA-256, each one message of the stream FILES.

    What people and departments attach is shared: the same content is stored once and never destroyed. What came with a report is the
    case's own (`of`): it can be destroyed without a look at who else may have, or be storing, the same.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def put(self, content: bytes, *, of: str = "") -> str:
        """Store; returns the SHA-256 in hex. The same content is stored once for each `of`. Raises BusUnavailable."""
        digest = hashlib.sha256(content).hexdigest()
        with contextlib.suppress(WrongSequence):  # it is there
            await self._bus.publish(_subject(of, digest), content, expect=0)
        return digest

    async def get(self, sha256: str, *, of: str = "") -> bytes | None:
        """The content, or None. Raises BusUnavailable."""
        found = await self._bus.last(FILES, _subject(of, sha256))
        return None if found is None else found.data

    async def delete(self, sha256: str, *, of: str) -> None:
        """Destroy the content; no error when there is none. Raises BusUnavailable."""
        await self._bus.api(f"STREAM.PURGE.{FILES}", {"filter": _subject(of, sha256)})


def _subject(of: str, sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise InvalidInput("not a SHA-256 in hex", subject="sha256")
    return f"file.{checked_key(of) if of else 'shared'}.{sha256}"


def checked_key(key: str) -> str:
    """The key; raises InvalidInput for what can be none."""
    if not _KEY.fullmatch(key) or len(key) > 300:
        raise InvalidInput(f"not a key: {key!r}", subject="key")
    return key


def checked_pattern(pattern: str) -> str:
    """The pattern of keys; raises InvalidInput for what can be none."""
    if not _PATTERN.fullmatch(pattern):
        raise InvalidInput(f"not a pattern of keys: {pattern!r}", subject="key")
    return pattern
