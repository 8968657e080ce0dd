"""Puts rows into work lists: those that come together go in together, by one rename that happens wholly or not.

A list is written aside first, then the journal is told under which name, then it is renamed into place. After a crash that name tells
what happened: it is still there: no row is listed; it is gone: all are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from hub import DeliveryError, OutcomeUnknown, Unavailable
from hub_table import sheets
from hub_table.cells import safe
from hub_table.folder import Folder
from hub_table.journal import Entry, EntryState, Journal
from hub_table.settings import TableSettings

_T = TypeVar("_T")


class InThread(Protocol):
    """Runs what blocks off the event loop, bounded in time."""

    def __call__(self, work: Callable[[], _T], *, changes: bool = False) -> Awaitable[_T]:
        """`changes`: a time-out leaves open whether it happened."""


@dataclass
class _Wish:
    """Cells that want to be in a list. `key`: the assignment they are, None for a reminder or recall."""

    key: str | None
    cells: list[str]
    done: bool = False
    problem: DeliveryError | None = None


class Worklists:
    """The lists of one instance."""

    def __init__(
        self, settings: TableSettings, folder: Folder, journal: Journal, in_thread: InThread, clock: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._journal = journal
        self._in_thread = in_thread
        self._clock = clock
        self._turn = asyncio.Lock()
        self._wishes: list[_Wish] = []
        self._number = 0
        self._own_change: tuple[str, int | None] = ("", None)

    @property
    def header(self) -> list[str]:
        """The columns of a list."""
        return list(self._settings.columns.values())

    async def add(self, cells: Mapping[str, str], *, key: str | None = None) -> None:
        """Put a row into a list; durable when it returns. Raises the delivery errors."""
        wish = _Wish(key, [safe(cells.get(name, "")) for name in self._settings.columns])
        self._wishes.append(wish)
        try:
            async with self._turn:
                if not wish.done:
                    if self._settings.lists == "batch":
                        await asyncio.sleep(self._settings.batch_seconds)
                    await self._write()
        finally:
            if not wish.done:  # cancelled before its turn: nobody writes it any more
                with contextlib.suppress(ValueError):
                    self._wishes.remove(wish)
        if wish.problem is not None:
            raise wish.problem

    async def mend(self) -> list[str]:
        """Put rows of the day's list back that a person's saved copy has pushed out; returns their keys.

        A list that is gone was taken away on purpose.
        """
        if self._settings.lists != "day":
            return []
        async with self._turn:
            name = self._name()
            changed = await self._in_thread(lambda: self._folder.changed_ns(name))
            if changed is None or self._own_change == (name, changed):
                return []
            present = await self._keys_in(name)
            lost: dict[str, list[str]] = {}
            for key in await self._journal.listed(name):
                entry = None if key in present else await self._journal.of(key)
                if entry is not None and entry.file == name and entry.state is EntryState.LISTED:
                    lost[key] = entry.cells
            if lost:
                await self._publish(name, list(lost.values()), [])
            else:
                self._own_change = (name, changed)
            return list(lost)

    async def holds(self, key: str) -> bool:
        """Whether any list in the folder holds a row of the key."""
        for name in await self._in_thread(self._folder.lists):
            if key in await self._keys_in(name):
                return True
        return False

    async def _write(self) -> None:
        """Write what everybody who waits wants; each learns what became of it."""
        wishes, self._wishes = self._wishes, []
        problem: DeliveryError | None = OutcomeUnknown("writing the work list was interrupted")
        try:
            await self._publish(
                self._name(), [wish.cells for wish in wishes], [wish for wish in wishes if wish.key is not None]
            )
            problem = None
        except DeliveryError as said:
            problem = said
        finally:
            for wish in wishes:
                wish.done = True
                wish.problem = problem

    async def _publish(self, name: str, rows: Sequence[Sequence[str]], wishes: Sequence[_Wish]) -> None:
        temporary = await self._in_thread(lambda: self._prepare(name, rows))
        keys = [wish.key for wish in wishes if wish.key is not None]
        try:
            for wish in wishes:
                entry = Entry(state=EntryState.BEGUN, file=name, temporary=temporary, cells=wish.cells)
                await self._journal.note(wish.key or "", entry)
            if keys and self._settings.lists == "day":
                await self._journal.note_listed(name, [*await self._journal.listed(name), *keys])
            await self._in_thread(lambda: self._folder.publish(temporary, name), changes=True)
        except Unavailable:
            await self._in_thread(lambda: self._folder.drop(temporary))
            for key in keys:
                await self._journal.forget(key)
            raise
        for wish in wishes:
            entry = Entry(state=EntryState.LISTED, file=name, temporary=temporary, cells=wish.cells)
            await self._journal.note(wish.key or "", entry)
        self._own_change = (name, await self._in_thread(lambda: self._folder.changed_ns(name)))

    def _prepare(self, name: str, rows: Sequence[Sequence[str]]) -> str:
        """In the thread: the list as it is now, with the rows, written aside."""
        now = self._folder.read_list(name)
        xlsx = self._settings.format == "xlsx"
        try:
            if not now:
                content = (sheets.new_xlsx if xlsx else sheets.new_csv)(self.header, rows)
            else:
                content = (sheets.longer_xlsx if xlsx else sheets.longer_csv)(now, rows)
        except sheets.Unreadable as problem:
            raise Unavailable(f"the work list {name} is damaged and can't be added to; move it away") from problem
        return self._folder.prepare(content)

    async def _keys_in(self, name: str) -> frozenset[str]:
        """The delivery keys in a list; none in one that can't be read."""

        def look() -> frozenset[str]:
            content = self._folder.read_list(name) or b""
            try:
                rows = sheets.read(name, content, rows_max=self._settings.rows_max) if content else []
            except sheets.Unreadable:
                return frozenset()
            return frozenset(str(cell) for row in rows for cell in row.cells if isinstance(cell, str))

        return await self._in_thread(look)

    def _name(self) -> str:
        """The list that rows go into now."""
        now = self._clock()
        if self._settings.lists == "day":
            return f"派单-{now:%Y-%m-%d}.{self._settings.format}"
        self._number = (self._number + 1) % 1000
        return f"派单-{now:%Y-%m-%d-%H%M%S}-{now.microsecond // 1000:03d}{self._number:03d}.{self._settings.format}"
