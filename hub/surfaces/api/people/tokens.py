"""Tokens: who may use the HTTP interface. Owns their making, finding and revoking. Stores only their SHA-256.

A token is 256 random bits, so a plain hash is enough. Every hub of a bus follows the tokens. So a token made or revoked through another hub
counts here at once, and a revoked one's streams end. The time of last use is kept to the hour, so that reading costs no writes. Called by
the API and, for the first token, by the composition root.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol
from weakref import WeakValueDictionary

import msgspec
import structlog

from hub.errors import BusUnavailable, InvalidInput, LedgerConflict, NotAllowed
from hub.model.rights import Role

log = structlog.get_logger("hub.api")

PREFIX = "hub_"
REMEMBERED = 10.0
"""Seconds that known tokens still count while the bus, and with it any revocation, can't be heard."""
_ID = re.compile(r"[0-9a-f]{16}")
USED_WITHIN = timedelta(hours=1)
"""How coarse `last_used_at` is."""


class Token(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A token without its secret. `id` names it in lists. It sees the area `area` and below. `unit` acts with it.

    `scopes`: its part of its role's rights (see scopes); None for all of them. `issued_by`: the id of the token it was made with.
    """

    id: str
    name: str
    role: Role
    area: str
    issued_at: datetime
    unit: str | None = None
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    issued_by: str | None = None
    last_used_at: datetime | None = None
    """To the hour."""

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now


class StoredValue(Protocol):
    """A value in a bucket."""

    @property
    def value(self) -> bytes:
        """The bytes stored."""

    @property
    def revision(self) -> int:
        """Which writing of the key it is."""


class Change(Protocol):
    """What a key holds from a revision on; no bytes: it was removed."""

    @property
    def key(self) -> str:
        """The key."""

    @property
    def value(self) -> bytes:
        """The bytes stored."""

    @property
    def revision(self) -> int:
        """Which writing it is."""


class Bucket(Protocol):
    """The part of `hub.bus.Bucket` tokens use."""

    async def get(self, key: str) -> StoredValue | None:
        """The value, or None."""

    async def put(self, key: str, value: bytes) -> int:
        """Store."""

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Store over that revision only; raises LedgerConflict."""

    async def purge(self, key: str) -> None:
        """Remove."""

    async def entries(self, pattern: str = ">") -> Mapping[str, StoredValue]:
        """Every value with a fitting key."""

    def changes(self, keys: str, *, after: int = 0, live: bool = True) -> AsyncIterator[Change]:
        """What the keys of a pattern hold, then every change, behind a revision."""


class Tokens:
    """The tokens of a bus, in a bucket by the hash of their secret. `connected`: whether this hub hears others' changes right now."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        connected: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bucket = bucket
        self._connected = connected
        self._clock = clock
        self._now = now
        self._known: dict[str, tuple[Token, int]] = {}
        self._revoked: set[str] = set()
        self._seen = 0
        self._following = False
        self._heard_at = 0.0
        self._ends: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    async def run(self) -> None:
        """Keep up with what every hub changes, for ever."""
        try:
            async for change in self._bucket.changes(">", after=self._seen, live=False):
                self._hear(change)
            self._following = True
            async for change in self._bucket.changes(">", after=self._seen):
                self._hear(change)
        finally:
            self._following = False

    def _hear(self, change: Change) -> None:
        self._seen = change.revision
        if not change.value:
            self._forget(change.key)
        elif change.key not in self._revoked:
            try:
                self._known[change.key] = msgspec.json.decode(change.value, type=Token), change.revision
            except msgspec.DecodeError:
                log.error("not a token", id=_id_of(change.key))

    def _forget(self, key: str) -> None:
        self._known.pop(key, None)
        ends = self._ends.get(_id_of(key))
        if ends is not None:
            ends.set()

    def _remembered(self, key: str) -> tuple[Token, int] | None:
        """The token as remembered, while a revocation would certainly have been heard."""
        now = self._clock()
        if self._connected():
            self._heard_at = now
        return self._known.get(key) if self._following and now - self._heard_at < REMEMBERED else None

    def end_of(self, id: str) -> asyncio.Event:
        """An event that is set when any hub revokes the token. It lives as long as somebody holds it."""
        found = self._ends.get(id)
        if found is None:
            found = self._ends[id] = asyncio.Event()
        return found

    async def issue(
        self,
        *,
        name: str,
        role: str,
        unit: str | None,
        area: str,
        scopes: tuple[str, ...] | None = None,
        expires_at: datetime | None = None,
        issued_by: str | None = None,
    ) -> tuple[str, Token]:
        """Make a token; returns its secret (shown this once, never stored) and its record. Raises InvalidInput."""
        try:
            kind = Role(role)
        except ValueError:
            raise InvalidInput(f"no such role: {role} ({', '.join(Role)})", subject="role") from None
        if kind is Role.DEPARTMENT and unit is None:
            raise InvalidInput("a department's token needs its unit", subject="unit")
        if expires_at is not None and expires_at <= self._now():
            raise InvalidInput("must lie in the future", subject="expires_at")
        secret = PREFIX + secrets.token_urlsafe(32)
        key = _key(secret)
        token = Token(
            id=_id_of(key),
            name=name,
            role=kind,
            area=area,
            unit=unit,
            issued_at=self._now(),
            scopes=scopes,
            expires_at=None if expires_at is None else expires_at.astimezone(UTC),
            issued_by=issued_by,
        )
        await self._bucket.put(key, msgspec.json.encode(token))
        return secret, token

    async def find(self, secret: str) -> Token | None:
        """The record of a secret; None when there is no such token, or its time is over."""
        if not secret.startswith(PREFIX):
            return None
        key = _key(secret)
        known = self._remembered(key) or await self._stored(key)
        if known is None:
            return None
        token, revision = known
        await self._note_use(key, token, revision)
        return self._alive(token)

    async def _stored(self, key: str) -> tuple[Token, int] | None:
        """What the bucket has: nobody's, or one that was not heard of yet (made through another hub just now)."""
        stored = await self._bucket.get(key)
        if stored is None or not stored.value:
            return None
        return msgspec.json.decode(stored.value, type=Token), stored.revision

    def _alive(self, token: Token | None) -> Token | None:
        return None if token is None or token.expired(self._now()) else token

    async def _note_use(self, key: str, token: Token, revision: int) -> None:
        """Bring `last_used_at` up, at most once an hour. Writes only over the revision it read, so a revocation meanwhile stands."""
        now = self._now()
        if token.expired(now) or (token.last_used_at is not None and now - token.last_used_at < USED_WITHIN):
            return
        used = msgspec.structs.replace(token, last_used_at=now)
        # Another process wrote it, or the bus is busy: the next request has another chance.
        with contextlib.suppress(LedgerConflict, BusUnavailable):
            noted = await self._bucket.update(key, msgspec.json.encode(used), revision)
            if self._known.get(key, (token, 0))[1] == revision:
                self._known[key] = used, noted

    async def holds(self, id: str) -> bool:
        """Whether an earlier found token is still valid."""
        for key in [key for key in self._known if _id_of(key) == id] or await self._bucket.entries(f"{id}.*"):
            known = self._remembered(key) or await self._stored(key)
            if known is not None:
                return self._alive(known[0]) is not None
        return False

    async def list(self) -> list[Token]:
        """Every token, oldest first."""
        found = (await self._bucket.entries()).values()
        tokens = [msgspec.json.decode(stored.value, type=Token) for stored in found]
        return sorted(tokens, key=lambda token: (token.issued_at, token.id))

    async def revoke(self, id: str) -> None:
        """Make a token useless from now on; raises NotAllowed when there is no such token."""
        keys = await self._bucket.entries(f"{id}.*") if _ID.fullmatch(id) else ()
        if not keys:
            raise NotAllowed("no such token", subject=id)
        for key in keys:
            await self._bucket.purge(key)
            self._revoked.add(key)  # an earlier writing of it may be heard after this
            self._forget(key)


def _key(secret: str) -> str:
    """Where a secret's record lies: the token's id, then the rest of the hash."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return f"{digest[:16]}.{digest[16:]}"


def _id_of(key: str) -> str:
    """The id of the token whose record lies there."""
    return key.partition(".")[0]
