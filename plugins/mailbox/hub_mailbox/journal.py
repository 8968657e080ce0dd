"""What this instance has sent, in its own durable store: so that the same key sends nothing new, also after a kill."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ValidationError

from hub import AdapterFault

_OTHER = re.compile(r"[^A-Za-z0-9_.-]")
_SECRET = "message-id-secret"  # noqa: S105 - a name


class Store(Protocol):
    """What the hub gives an adapter to remember by."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""

    async def put(self, key: str, value: bytes) -> None:
        """Store; durable when it returns."""

    async def delete(self, key: str) -> None:
        """Forget; no error when absent."""


class SentState(StrEnum):
    """BEGUN: perhaps the server has it. UNPROVABLE: so, and no copy will ever show it. TAKEN: it has. RECALLED: taken back since."""

    BEGUN = "begun"
    UNPROVABLE = "unprovable"
    TAKEN = "taken"
    RECALLED = "recalled"


class Sent(BaseModel):
    """One entry."""

    state: SentState
    at: datetime


class Journal:
    """Entries by delivery key."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def secret(self) -> bytes:
        """The key of our Message-IDs, made once."""
        known = await self._store.get(_SECRET)
        if known is None:
            known = secrets.token_bytes(32)
            await self._store.put(_SECRET, known)
        return known

    async def of(self, key: str) -> Sent | None:
        """The entry; raises AdapterFault when it can't be read."""
        value = await self._store.get(_name(key))
        if value is None:
            return None
        try:
            return Sent.model_validate_json(value)
        except ValidationError as problem:
            raise AdapterFault(f"the journal's entry of {key} is damaged") from problem

    async def note(self, key: str, state: SentState, at: datetime) -> None:
        """Keep it; durable when it returns."""
        await self._store.put(_name(key), Sent(state=state, at=at).model_dump_json().encode())

    async def forget(self, key: str) -> None:
        """The server certainly has not got it."""
        await self._store.delete(_name(key))


def _name(key: str) -> str:
    return "sent." + _OTHER.sub("_", key)[:190]
