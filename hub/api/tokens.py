"""Tokens: who may use the HTTP interface. Owns their making, finding and revoking; only their SHA-256 is stored.

A token is 256 random bits, so a plain hash is enough. Found tokens are remembered for a few seconds, which is how long a
revocation by another process takes to be seen here. When one was last used is kept to the hour, so that reading costs no writes.
Called by the API and, for the first token, by the composition root.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

import msgspec

from hub.errors import BusUnavailable, InvalidInput, LedgerConflict, NotAllowed

PREFIX = "hub_"
REMEMBERED = 10.0
"""Seconds."""
_MOST_REMEMBERED = 4096
_ID = re.compile(r"[0-9a-f]{16}")
USED_WITHIN = timedelta(hours=1)
"""How coarse `last_used_at` is."""


class Role(StrEnum):
    """What a token is for; what each may do is `hub.api.auth`'s."""

    ADMIN = "admin"
    OPERATOR = "operator"
    CLERK = "clerk"
    GRID_WORKER = "grid_worker"
    DEPARTMENT = "department"
    DEVOPS = "devops"
    VIEWER = "viewer"


class Token(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A token without its secret. `id` names it in lists; `area` is the code it may see at and below; `unit` who acts with it.

    `scopes`: what it may do of what its role may (hub.api.scopes), None for all of it; `issued_by`: the id of the token it was made with.
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
        """Every value whose key fits."""


class Tokens:
    """The tokens of a hub, in a bucket by the hash of their secret."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bucket = bucket
        self._clock = clock
        self._now = now
        self._remembered: OrderedDict[str, tuple[float, Token | None]] = OrderedDict()

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
            id=key[:16],
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
        self._remembered.pop(key, None)
        return secret, token

    async def find(self, secret: str) -> Token | None:
        """The record of a secret; None when there is no such token, or its time is over."""
        if not secret.startswith(PREFIX):
            return None
        key = _key(secret)
        known = self._remembered.get(key)
        now = self._clock()
        if known is not None and now - known[0] < REMEMBERED:
            return self._alive(known[1])
        stored = await self._bucket.get(key)
        token = msgspec.json.decode(stored.value, type=Token) if stored is not None and stored.value else None
        if stored is not None and token is not None:
            await self._note_use(key, token, stored.revision)
        self._remembered[key] = (now, token)
        self._remembered.move_to_end(key)
        while len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return self._alive(token)

    def _alive(self, token: Token | None) -> Token | None:
        return None if token is None or token.expired(self._now()) else token

    async def _note_use(self, key: str, token: Token, revision: int) -> None:
        """Bring `last_used_at` up, at most once an hour; over the revision that was read, so that one revoked meanwhile stays so."""
        now = self._now()
        if token.expired(now) or (token.last_used_at is not None and now - token.last_used_at < USED_WITHIN):
            return
        used = msgspec.structs.replace(token, last_used_at=now)
        # Another process wrote it, or the bus is busy: the next request has another chance.
        with contextlib.suppress(LedgerConflict, BusUnavailable):
            await self._bucket.update(key, msgspec.json.encode(used), revision)

    async def holds(self, id: str) -> bool:
        """Whether a token that was found earlier is still one."""
        found = (await self._bucket.entries(f"{id}.*")).values()
        return any(self._alive(msgspec.json.decode(stored.value, type=Token)) for stored in found)

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
            self._remembered.pop(key, None)


def _key(secret: str) -> str:
    """Where a secret's record lies: the token's id, then the rest of the hash."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return f"{digest[:16]}.{digest[16:]}"
