"""A plugin for tests, and the process that runs it: its department is a SQLite file, so that it outlives every kill.

`python -m tests.system.remote_office STEP NAME …`: kills itself (SIGKILL) when it comes to STEP for the first time; `-`: never.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from datetime import timedelta
from typing import ClassVar

import structlog

from hub.contract import (
    Adapter,
    AdapterSettings,
    Assignment,
    CallbackRejected,
    CallbackRequest,
    Capability,
    Feedback,
    FeedbackKind,
    Health,
    IncomingCase,
    Manifest,
    Poll,
    Receipt,
)
from hub.errors import OutcomeUnknown, Refused, Unavailable

log = structlog.get_logger("office")


class OfficeSettings(AdapterSettings):
    books: str = ""
    eats_mib: int = 0
    """Memory that a delivery takes and keeps."""
    spins: bool = False
    """A delivery never gives the loop back."""


class OfficeAdapter(Adapter):
    """Files a second ticket when the same key comes again: only a lookup keeps it from doing so."""

    manifest = Manifest(
        name="office",
        department="测试部门",
        version="3",
        capabilities=frozenset(
            {
                Capability.LOOKUP,
                Capability.RECALL,
                Capability.URGE,
                Capability.POLL,
                Capability.CALLBACK,
                Capability.NEEDS_CONTACT,
            }
        ),
        poll_every=timedelta(seconds=0.05),
        attempt_timeout=timedelta(seconds=5),
    )
    Settings: ClassVar[type[AdapterSettings]] = OfficeSettings
    names: ClassVar[dict[str, str | None]] = {}

    def _log(self, what: str, assignment: Assignment) -> None:
        """Name the reporter, as a careless plugin does: in later calls too, which bring no contact."""
        if assignment.contact is not None:
            self.names[assignment.key] = assignment.contact.name
        log.info(what, reporter=self.names.get(assignment.key))

    def _do(self, query: str, *values: object) -> list[tuple[object, ...]]:
        assert isinstance(self.settings, OfficeSettings)
        with sqlite3.connect(self.settings.books, timeout=10) as db:
            return db.execute(query, values).fetchall()

    async def deliver(self, assignment: Assignment) -> Receipt:
        self._log("deliver", assignment)
        assert isinstance(self.settings, OfficeSettings)
        if self.settings.eats_mib:
            self.eaten = bytearray(self.settings.eats_mib * 1024 * 1024)
        while self.settings.spins:
            pass
        script = self._do("DELETE FROM script WHERE number = (SELECT min(number) FROM script) RETURNING step")
        if script and script[0][0] == "refused":
            raise Refused("不属于本单位职责")
        if script and script[0][0] == "unavailable":
            raise Unavailable("closed", retry_after=timedelta(milliseconds=20))
        contact = assignment.contact.phone if assignment.contact is not None else None
        self._do("INSERT INTO filed (key, contact) VALUES (?, ?)", assignment.key, contact)
        step("filed there")
        if script and script[0][0] == "no answer":
            log.error("no answer", exc_info=RuntimeError(f"of {self.names.get(assignment.key)}"))
            raise OutcomeUnknown("no answer")
        found = await self.lookup(assignment)
        assert found is not None
        return found

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        self._log("lookup", assignment)
        found = self._do("SELECT max(number) FROM filed WHERE key = ?", assignment.key)
        return None if found[0][0] is None else Receipt(ticket=f"T-{found[0][0]}")

    async def recall(self, assignment: Assignment, reason: str) -> None:
        self._log("recall", assignment)
        self._do("INSERT INTO heard (what) VALUES (?)", f"recall {assignment.key} {assignment.ticket}")

    async def urge(self, assignment: Assignment, message: str) -> None:
        self._log("urge", assignment)
        self._do("INSERT INTO heard (what) VALUES (?)", f"urge {assignment.key} {message}")

    async def poll(self, cursor: str | None) -> Poll:
        rows = self._do("SELECT number, key, kind FROM said WHERE number > ? ORDER BY number", int(cursor or 0))
        if rows:
            self._do("INSERT INTO heard (what) VALUES (?)", f"polled {len(rows)}")
        items: list[Feedback | IncomingCase] = [
            Feedback(id=f"S-{number}", key=str(key), kind=FeedbackKind(str(kind)), note="已到场") for number, key, kind in rows
        ]
        return Poll(items=items, cursor=str(rows[-1][0]) if rows else cursor)

    async def parse_callback(self, request: CallbackRequest) -> list[Feedback | IncomingCase]:
        if request.headers.get("x-secret") != "open":
            raise CallbackRejected("wrong secret")
        key, kind = request.body.decode().split()
        return [Feedback(id=f"C-{key}-{kind}", key=key, kind=FeedbackKind(kind), note="回调")]

    async def health(self) -> Health:
        return Health(ok=bool(self._do("SELECT 1")))


_DIE_AT = ""


def step(name: str) -> None:
    """Kill this process, as the kernel's out-of-memory killer would, when it comes to the step it is to die at."""
    if name == _DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    import tests.system.remote_office as this

    this._DIE_AT = sys.argv.pop(1)
    from hub.platform.remote.far import __main__ as entry
    from hub.platform.remote.far.program import run

    entry.run = lambda options: run(options, plugins=(this.OfficeAdapter,), step=this.step)  # type: ignore[assignment]
    sys.exit(entry.main())
