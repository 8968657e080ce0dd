"""What the adapter remembers of its own requests: our key, the server's number, how it stood last.

Kept in the instance's store in 256 pages by hash of the key, so that a delivery rewrites little and a poll knows what to ask for.
Requests that ended are forgotten after a while. One adapter instance uses one book.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from hub import AdapterStore

PAGES = 256
KEEP = 40 * 86400.0
"""Seconds an ended request is remembered."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One request of ours."""

    key: str
    ticket: str
    """What the hub was given as the ticket: the number, or `token:…` where the server first gave a token."""
    id: str | None
    """The server's number; None while only its token is known."""
    at: float
    """When it was noted last, Unix seconds."""
    status: str = ""
    """open or closed, as last reported; empty: nothing reported yet."""
    round: int = 0
    """How often it had been reopened."""
    resolved_by: str | None = None
    """The update that said it is done, so that a later `closed` does not say it again."""


class Book:
    """The entries of one instance."""

    def __init__(self, store: AdapterStore) -> None:
        self._store = store
        self._pages: dict[int, dict[str, Entry]] = {}
        self._by_id: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def of_key(self, key: str) -> Entry | None:
        """The entry of one of our keys."""
        return (await self._page(_number(key))).get(key)

    async def of_id(self, id: str) -> Entry | None:
        """The entry of a server's number; None for somebody else's request."""
        await self.load()
        key = self._by_id.get(id)
        return None if key is None else await self.of_key(key)

    async def entries(self) -> list[Entry]:
        """All entries, by key."""
        await self.load()
        return sorted((entry for page in self._pages.values() for entry in page.values()), key=lambda entry: entry.key)

    async def load(self) -> None:
        """Read every page that was not read yet."""
        for number in range(PAGES):
            await self._page(number)

    async def note(self, entry: Entry) -> None:
        """Store an entry in place of an earlier one; durable when it returns."""
        await self.note_all((entry,))

    async def note_all(self, entries: tuple[Entry, ...]) -> None:
        """Store several, each page once."""
        async with self._lock:
            touched: dict[int, dict[str, Entry]] = {}
            for entry in entries:
                number = _number(entry.key)
                page = touched.get(number)
                if page is None:
                    page = touched[number] = dict(await self._read(number))
                page[entry.key] = replace(entry, at=time.time())
            for number, page in touched.items():
                kept = dict(_remembered(page))
                raw = json.dumps([asdict(entry) for entry in kept.values()], ensure_ascii=False).encode()
                await self._store.put(f"page.{number:02x}", raw)
                self._keep(number, kept)

    async def _page(self, number: int) -> dict[str, Entry]:
        if number in self._pages:
            return self._pages[number]
        async with self._lock:
            return await self._read(number)

    async def _read(self, number: int) -> dict[str, Entry]:
        if number not in self._pages:
            raw = await self._store.get(f"page.{number:02x}")
            self._keep(number, {entry.key: entry for entry in (Entry(**item) for item in json.loads(raw or b"[]"))})
        return self._pages[number]

    def _keep(self, number: int, page: dict[str, Entry]) -> None:
        self._pages[number] = page
        self._by_id |= {entry.id: entry.key for entry in page.values() if entry.id is not None}


def _remembered(page: dict[str, Entry]) -> Iterator[tuple[str, Entry]]:
    now = time.time()
    for key, entry in page.items():
        if entry.status != "closed" or now - entry.at < KEEP:
            yield key, entry


def _number(key: str) -> int:
    return hashlib.sha256(key.encode()).digest()[0]
