"""A department with nothing but an Excel list: assignments are rows of a list in a shared folder, reports are tables dropped there.

Called by the hub only; see README.md. All file work runs in one thread of this instance, bounded in time.
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import ClassVar, TypeVar, cast
from zoneinfo import ZoneInfo

from hub import (
    Adapter,
    AdapterFault,
    AdapterSettings,
    Assignment,
    Audit,
    Capability,
    CredentialsRejected,
    Crosswalk,
    Health,
    Manifest,
    OutcomeUnknown,
    Poll,
    Receipt,
    Refused,
    ReportedFile,
    Severity,
    Standing,
    Unavailable,
)
from hub_table import sheets
from hub_table.cells import is_key, positioned, safe, shown, ticket_of
from hub_table.folder import Folder, Found, digest_of
from hub_table.journal import EntryState, Journal
from hub_table.returns import Form, Returned, RowError, read_back
from hub_table.settings import STATUSES, TableSettings
from hub_table.standings import Reading, categories, standings
from hub_table.worklists import Worklists

_T = TypeVar("_T")
_Page = tuple[int, int, str, str, str]
"""A page of the audit: step, when the table was changed, folder, table, what is looked for; pages are in this order."""
_SEVERITY = {Severity.MINOR: "轻微", Severity.ORDINARY: "一般", Severity.MAJOR: "较大", Severity.URGENT: "紧急"}
_ATTACHMENT_MOST = 10 * 2**20


class TableAdapter(Adapter):
    """Work lists out, filled-in tables in."""

    manifest = Manifest(
        name="table",
        department="表格单位",
        version="0.1.0",
        owner="City Hub maintainers",
        capabilities=frozenset(
            {
                Capability.LOOKUP,
                Capability.RECALL,
                Capability.URGE,
                Capability.POLL,
                Capability.IDEMPOTENT,
                Capability.AUDIT,
                Capability.CATALOGUE,
            }
        ),
        poll_every=timedelta(seconds=10),
        attempt_timeout=timedelta(seconds=60),
        concurrency=16,
        crosswalk=Crosswalk(version=1, statuses=STATUSES),
    )
    Settings: ClassVar[type[AdapterSettings]] = TableSettings

    async def start(self) -> None:
        """Make ready; the folder need not be there."""
        settings = self._settings
        self._zone = ZoneInfo(settings.zone)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="table")
        self._down = False
        self._swept = False
        self._seen: dict[str, tuple[Found, float]] = {}
        self._folder = Folder(settings.folder, out=settings.out, inbox=settings.inbox, archive=settings.archive)
        self._journal = Journal(self.store)
        self._lists = Worklists(settings, self._folder, self._journal, self._in_thread, lambda: datetime.now(self._zone))
        crosswalk = getattr(self.words, "crosswalk", None)
        mapped = crosswalk.statuses if isinstance(crosswalk, Crosswalk) else {}
        self._form = Form(
            columns=settings.columns,
            case_columns=settings.case_columns,
            statuses={**STATUSES, **mapped, **settings.statuses},
            new_cases=settings.new_cases,
            channel=settings.channel,
            zone=self._zone,
        )

    async def stop(self) -> None:
        """End the thread; one that hangs in a dead share is left to the system."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def health(self) -> Health:
        """Whether the three folders are there and may be used; raises what is wrong."""
        await self._in_thread(self._folder.check)
        return Health(ok=True)

    async def diagnostics(self) -> Mapping[str, object]:
        """Where the folder is, whether it can be used, and what waits until it doesn't change any more."""
        return {"folder": str(self._settings.folder), "down": self._down, "waiting": sorted(self._seen)}

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Put an assignment into the work list; the same key is listed once."""
        self._check(assignment)
        receipt = await self.lookup(assignment)
        if receipt is None:
            await self._lists.add(self._cells("派单", assignment), key=assignment.key)
            receipt = Receipt(ticket=ticket_of(assignment.key))
        return receipt

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Whether it is in a list: by the journal, after a crash by what became of the prepared list, without a journal by the lists."""
        key = assignment.key
        entry = await self._journal.of(key)
        if entry is None:
            listed = is_key(key) and await self._lists.holds(key)
            return Receipt(ticket=ticket_of(key)) if listed else None
        if entry.state is EntryState.BEGUN:
            if await self._in_thread(lambda: self._folder.is_prepared(entry.temporary)):
                await self._in_thread(lambda: self._folder.drop(entry.temporary))
                await self._journal.forget(key)
                return None
            await self._journal.note(key, entry.model_copy(update={"state": EntryState.LISTED}))
        return Receipt(ticket=ticket_of(key))

    async def recall(self, assignment: Assignment, reason: str) -> None:
        """List that it is taken back, once; nothing when it was never listed."""
        if await self.lookup(assignment) is None:
            return
        entry = await self._journal.of(assignment.key)
        if entry is not None and entry.state is EntryState.RECALLED:
            return
        await self._lists.add(self._cells("撤回", assignment, reason))
        if entry is not None:
            await self._journal.note(assignment.key, entry.model_copy(update={"state": EntryState.RECALLED}))

    async def urge(self, assignment: Assignment, message: str) -> None:
        """List a reminder."""
        self._check(assignment)
        await self._lists.add(self._cells("催办", assignment, message))

    async def poll(self, cursor: str | None) -> Poll:
        """Read the next table that was dropped; the cursor says which and how far.

        A table goes to the archive at the poll after its last rows were committed, so a crash between loses none.
        """
        name, digest, position = _parse_cursor(cursor)
        if not self._swept:
            await self._in_thread(self._folder.sweep)
            self._swept = True
        if name and position < 0:
            await self._archive(name, digest)
        put_back = await self._lists.mend()
        if put_back:
            self.log.warning("table_rows_put_back", keys=put_back[:20], count=len(put_back))
        ready = await self._ready()
        if name and position >= 0:
            ready = [item for item in ready if item.name == name] + [item for item in ready if item.name != name]
        for found in ready:
            content = await self._content(found)
            if content is None:
                continue
            start = position if (found.name, digest_of(content)) == (name, digest) and position >= 0 else 0
            return await self._table(found.name, content, start)
        return Poll(items=[], cursor=cursor)

    async def audit(self, cursor: str | None) -> Audit:
        """How assignments stand by the tables in the folder: one table a page, the last page that names a ticket counts."""
        page = _parse_page(cursor)
        pages = await self._in_thread(self._audit_pages)
        later = [item for item in pages if cursor is None or item >= page]
        if not later:
            return Audit(items=())
        _, _, folder, name, reading = later[0]

        def look() -> tuple[Standing, ...]:
            try:
                content = self._folder.read_any(folder, name, most=self._settings.file_max_bytes + 1) or b""
                return standings(sheets.read(name, content, rows_max=self._settings.rows_max), self._form, Reading(reading))
            except (sheets.Unreadable, ValueError):
                return ()

        items = await self._in_thread(look)
        return Audit(items=items, cursor=json.dumps(later[1], ensure_ascii=False) if len(later) > 1 else None)

    async def catalogue(self) -> Mapping[str, str]:
        """The department's categories by its own table; empty when it keeps none. Raises Refused when the table can't be read."""
        name = self._settings.categories_file

        def look() -> dict[str, str]:
            try:
                content = self._folder.read_any("", name, most=self._settings.file_max_bytes)
                return {} if content is None else categories(sheets.read(name, content, rows_max=10_000), self._form)
            except (sheets.Unreadable, ValueError) as problem:
                raise Refused(f"{name} 无法读取：{problem}") from problem

        return await self._in_thread(look)

    def _audit_pages(self) -> list[_Page]:
        """In the thread: every table, in the order in which they are read."""
        settings = self._settings
        order = (
            (settings.out, Reading.FILED),
            (settings.archive, Reading.ACCEPTED),
            (settings.inbox, Reading.ACCEPTED),
            (settings.archive, Reading.ENDED),
            (settings.inbox, Reading.ENDED),
            (settings.out, Reading.RECALLED),
        )
        return [
            (step, changed, folder, name, reading.value)
            for step, (folder, reading) in enumerate(order)
            for changed, name in self._folder.tables_by_age(folder)
        ]

    async def _table(self, name: str, content: bytes, start: int) -> Poll:
        """Rows of one table from `start`; its errors are written beside it when it is begun."""
        returned = await self._in_thread(lambda: self._read(name, content))
        if start == 0:
            await self._in_thread(lambda: self._folder.write_errors(name, self._error_table(returned.errors)))
            if returned.errors:
                self.log.warning("table_rows_not_taken", file=name, count=len(returned.errors))
            for status, about in returned.unmapped.items():
                self.words.kind(status, about=about)  # so that a repair item says it has to be mapped
        end = start + self._settings.rows_per_poll
        position = end if end < len(returned.items) else -1
        cursor = json.dumps([name, digest_of(content), position], ensure_ascii=False)
        return Poll(items=list(returned.items[start:end]), cursor=cursor, more=True)

    def _read(self, name: str, content: bytes) -> Returned:
        """In the thread."""
        try:
            if len(content) > self._settings.file_max_bytes:
                raise sheets.Unreadable(f"文件超过{self._settings.file_max_bytes // 2**20}MB")
            rows = sheets.read(name, content, rows_max=self._settings.rows_max)
        except sheets.Unreadable as problem:
            return Returned(items=(), errors=(RowError(0, "", str(problem)),))
        return read_back(rows, self._form, self._attachment, datetime.now(UTC))

    def _attachment(self, name: str) -> ReportedFile:
        content = self._folder.read_dropped(name, most=_ATTACHMENT_MOST)
        if content is None:
            raise ValueError(f"附件不在反馈文件夹中：{name[:80]}")
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return ReportedFile(name=name[:200], media_type=media_type, content=content)

    def _error_table(self, errors: tuple[RowError, ...]) -> bytes | None:
        if not errors:
            return None
        rows = [[str(error.row) if error.row else "整个文件", safe(error.column), safe(error.reason)] for error in errors]
        return sheets.new_csv(["行号", "列名", "原因"], rows)

    async def _ready(self) -> list[Found]:
        """Tables that nobody is writing any more."""
        settings = self._settings
        marked = settings.ready == "marker"
        dropped = await self._in_thread(lambda: self._folder.dropped(marked=marked))
        if marked:
            return dropped
        now = asyncio.get_running_loop().time()
        self._seen = {
            item.name: (item, self._seen[item.name][1] if item.name in self._seen and self._seen[item.name][0] == item else now)
            for item in dropped
        }
        return [item for item in dropped if now - self._seen[item.name][1] >= settings.stable_seconds]

    async def _content(self, found: Found) -> bytes | None:
        """A table, one byte above the limit at most; None when it is gone or no plain file any more."""
        try:
            return await self._in_thread(lambda: self._folder.read_table(found.name, most=self._settings.file_max_bytes + 1))
        except ValueError:
            self.log.warning("table_file_refused", file=found.name)
            return None

    async def _archive(self, name: str, digest: str) -> None:
        """Move a table whose rows are committed, its marker and its attachments to the archive; not one that was changed since."""
        content = await self._content(Found(name, 0, 0))
        if content is None or digest_of(content) != digest:
            return
        returned = await self._in_thread(lambda: self._read(name, content))
        stamp = f"{datetime.now(self._zone):%Y%m%d-%H%M%S}"
        names = [*sorted(returned.attached), f"{name}.done", name]
        await self._in_thread(lambda: self._folder.store_away(names, stamp))
        self._seen.pop(name, None)

    def _cells(self, kind: str, assignment: Assignment, message: str = "") -> dict[str, str]:
        settings = self._settings
        return {
            "kind": kind,
            "ticket": ticket_of(assignment.key),
            "unit": settings.unit_names.get(assignment.unit, assignment.unit),
            "title": assignment.title,
            "category": assignment.category_name,
            "severity": _SEVERITY[assignment.severity],
            "area": " ".join(assignment.area_path),
            "place": assignment.place or "",
            **positioned(assignment.position),
            "text": assignment.text,
            "task": assignment.task or "",
            "reported_at": shown(assignment.reported_at, self._zone),
            "accept_by": shown(assignment.accept_by, self._zone),
            "finish_by": shown(assignment.finish_by, self._zone),
            "message": message,
            "key": assignment.key,
        }

    def _check(self, assignment: Assignment) -> None:
        """Raises Refused for a unit that isn't served, AdapterFault for a made-up key."""
        if not is_key(assignment.key):
            raise AdapterFault("a delivery key of another form can't be matched again", subject=assignment.key[:100])
        if self._settings.units and assignment.unit not in self._settings.units:
            raise Refused(f"表格文件夹不受理单位 {assignment.unit} 的派单", subject=assignment.key)

    async def _in_thread(self, work: Callable[[], _T], *, changes: bool = False) -> _T:
        """Run what blocks; log once when the folder can't be used any more, and once when it can again."""
        try:
            answer = await self._bounded(asyncio.get_running_loop().run_in_executor(self._thread, work), changes)
        except (Unavailable, CredentialsRejected, OutcomeUnknown) as problem:
            if not self._down:
                self._down = True
                self.log.warning("table_folder_down", error=problem.message)
            raise
        if self._down:
            self._down = False
            self.log.info("table_folder_back")
        return answer

    async def _bounded(self, running: Awaitable[_T], changes: bool) -> _T:
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await running
        except TimeoutError as problem:
            lost = OutcomeUnknown if changes else Unavailable
            raise lost("the shared folder does not answer in time") from problem

    @property
    def _settings(self) -> TableSettings:
        return cast(TableSettings, self.settings)


def _parse_cursor(cursor: str | None) -> tuple[str, str, int]:
    """Name, digest and position (-1: finished) of the table last handed over; empty for none. Raises AdapterFault."""
    if cursor is None:
        return "", "", 0
    try:
        name, digest, position = json.loads(cursor)
        if not (isinstance(name, str) and isinstance(digest, str) and isinstance(position, int)):
            raise TypeError
    except (ValueError, TypeError) as problem:
        raise AdapterFault(f"not a cursor of the table: {cursor[:100]!r}") from problem
    return name, digest, position


def _parse_page(cursor: str | None) -> _Page:
    """The page of the audit a cursor names; raises AdapterFault."""
    try:
        step, changed, folder, name, reading = json.loads(cursor or '[0, 0, "", "", ""]')
        return int(step), int(changed), str(folder), str(name), str(reading)
    except (ValueError, TypeError) as problem:
        raise AdapterFault(f"not a cursor of the table's audit: {str(cursor)[:100]!r}") from problem
