"""What this instance has put into work lists, in its own durable store; the rename of a prepared list decides whether it is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, TypeAdapter, ValidationError

from hub import AdapterFault

_OTHER = re.compile(r"[^A-Za-z0-9_.-]")
_KEYS = TypeAdapter(list[str])


class Store(Protocol):
    """What the hub gives an adapter to remember by."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""

    async def put(self, key: str, value: bytes) -> None:
        """Store; durable when it returns."""

    async def delete(self, key: str) -> None:
        """Forget; no error when absent."""


class EntryState(StrEnum):
    """BEGUN: a list with it is prepared. LISTED: it is in a list. RECALLED: and a later row takes it back."""

    BEGUN = "begun"
    LISTED = "listed"
    RECALLED = "recalled"


class Entry(BaseModel):
    """One assignment: which list, prepared under which name, with which cells."""

    state: EntryState
    file: str
    temporary: str
    cells: list[str]


class Journal:
    """Entries by delivery key, and the keys of the list of the day."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, key: str) -> Entry | None:
        """The entry; raises AdapterFault when it can't be read."""
        value = await self._store.get(f"row.{_name(key)}")
        if value is None:
            return None
        try:
            return Entry.model_validate_json(value)
        except ValidationError as problem:
            raise AdapterFault(f"the journal's entry of {key} is damaged") from problem

    async def note(self, key: str, entry: Entry) -> None:
        """Keep it; durable when it returns."""
        await self._store.put(f"row.{_name(key)}", entry.model_dump_json().encode())

    async def forget(self, key: str) -> None:
        """It is in no list."""
        await self._store.delete(f"row.{_name(key)}")

    async def listed(self, file: str) -> list[str]:
        """Keys of the list `file`."""
        value = await self._store.get(f"list.{_name(file)}")
        try:
            return [] if value is None else _KEYS.validate_json(value)
        except ValidationError as problem:
            raise AdapterFault(f"the journal's keys of {file} are damaged") from problem

    async def note_listed(self, file: str, keys: Sequence[str]) -> None:
        """Keep the keys of the list `file`."""
        await self._store.put(f"list.{_name(file)}", _KEYS.dump_json(list(keys)))


def _name(text: str) -> str:
    return _OTHER.sub(lambda match: f"_{ord(match[0]):x}", text)[:190]
