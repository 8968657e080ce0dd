"""A department with a shared folder and a clerk: he reads our work lists and drops tables with what became of the work.

The share is a real folder (`GET /_sim/folder`) under the simulator's own. He writes CSV in UTF-8 or GB18030, or XLSX, some rows in each.
A fault of the department (error, unavailable, outage, rate_limit) takes the share away until it is over.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import csv
import io
import time
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx
from fastapi import FastAPI
from openpyxl import Workbook

from hub.testing.faults import FaultOrder, Faults
from hub.testing.simulator import FaultKind, Simulator, Step, Ticket
from hub_table import sheets

_HEADER = ("派单编号", "系统编号", "办理状态", "办理情况", "办理时间", "附件")
_WORDS = {
    "accepted": ("受理", "已安排人员"),
    "working": ("处理中", "现场作业"),
    "resolved": ("办结", "已清理完毕"),
    "returned": ("退回", "不属于本单位职责范围"),
}
_PHOTO = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
_AWAY = (FaultKind.ERROR, FaultKind.UNAVAILABLE, FaultKind.OUTAGE, FaultKind.RATE_LIMIT)


class _ShareFaults(Faults):
    """Faults that take the share away at once, and give it back when they are over."""

    def __init__(self, seed: int, shares: dict[FaultKind, float] | None, share: Path) -> None:
        super().__init__(seed, shares)
        self._share = share
        self._away = share.with_name(share.name + ".away")
        self._until = 0.0

    def order(self, order: FaultOrder) -> None:
        """Set a fault."""
        super().order(order)
        if order.kind in _AWAY:
            self._until = time.monotonic() + (order.seconds or 1.0)
            if self._share.exists():
                self._share.rename(self._away)

    def clear(self) -> None:
        """No faults any more."""
        super().clear()
        self._until = 0.0
        self.come_back()

    def come_back(self) -> None:
        """The share is there again when its time is over."""
        if time.monotonic() >= self._until and self._away.exists():
            self._away.rename(self._share)


class TableSimulator(Simulator):
    """A shared folder and a clerk."""

    department: ClassVar[str] = "table"
    prefix: ClassVar[str] = "BG"
    statuses: ClassVar[Sequence[str]] = tuple(status for status, _ in _WORDS.values())

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(arguments)
        self.share: Path = arguments.data.resolve() / "share"
        faults = _ShareFaults(self.seed, arguments.faults, self.share)
        faults.come_back()
        for name in ("派单", "反馈", "归档"):
            (self.share / name).mkdir(parents=True, exist_ok=True)
        (self.share / "事项分类.csv").write_text("分类代码,分类名称\r\nHW01,道路保洁\r\nHW02,垃圾清运\r\n", "utf-8-sig")
        self.faults = faults
        self._known: dict[str, int] = {}

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """How often work is given back."""
        parser.add_argument("--returns", type=float, default=0.0, metavar="SHARE", help="share of assignments given back")

    def routes(self, app: FastAPI) -> None:
        """Where the share is."""
        app.get("/_sim/folder")(self._where)

    def background(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The clerk looks into the folder again and again."""
        return (self._look_again(),)

    def listed(self) -> Sequence[Ticket]:
        """What the clerk knows once he has looked."""
        self._look()
        return super().listed()

    def planned(self, ticket: Ticket) -> None:
        """A new row: he starts after one step."""
        returns = self.random(ticket.ticket, "returns").random() < self.arguments.returns
        self.after(1, "returned" if returns else "accepted", ticket.ticket)

    def step(self, step: Step) -> None:
        """Drop a table with one row, and plan the next step."""
        ticket = self.store.ticket(step.ticket)
        if ticket is None or ticket.state == "recalled":
            return
        if step.kind == "late":
            self._drop(step.body["name"], step.body["row"], step.ticket)
            return
        self.store.set_ticket(ticket.ticket, state=step.kind)
        status, note = _WORDS[step.kind]
        photo = ""
        if step.kind == "resolved":
            photo = f"{ticket.ticket}-现场.png"
            self.attach(ticket.ticket, photo, "image/png", _PHOTO)
            (self._place() / "反馈" / photo).write_bytes(_PHOTO)
        row = [ticket.ticket, ticket.key or "", status, note, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z", photo]
        name = f"{ticket.ticket}-{step.kind}"
        if self.faults.draw(FaultKind.REORDER_CALLBACKS):
            self.after(3, "late", ticket.ticket, {"name": name, "row": row}, most=1.0)
        else:
            self._drop(name, row, ticket.ticket)
        if self.faults.draw(FaultKind.DUPLICATE_CALLBACK):
            self._drop(f"{name}-again", row, ticket.ticket)
        follows = {"accepted": "working", "working": "resolved"}.get(step.kind)
        if follows is not None:
            self.after(1, follows, ticket.ticket)

    def _drop(self, name: str, row: Sequence[str], about: str) -> None:
        """Write a table as the clerk's program does: under another name first."""
        kind = self.random(about, "program").choice(["utf-8", "gb18030", "xlsx"])
        folder = self._place() / "反馈"
        if kind == "xlsx":
            book = Workbook()
            for cells in (_HEADER, row):
                book.worksheets[0].append(list(cells))
            out = io.BytesIO()
            book.save(out)
            content, suffix = out.getvalue(), ".xlsx"
        else:
            text = io.StringIO()
            csv.writer(text).writerows([_HEADER, row])
            content, suffix = text.getvalue().encode(kind), ".csv"
        unfinished = folder / f"{name}{suffix}.part"
        unfinished.write_bytes(content)
        unfinished.rename(folder / f"{name}{suffix}")

    def _place(self) -> Path:
        """Where the share is right now; the clerk sits at the server and always has it."""
        return self.share if self.share.exists() else self.share.with_name("share.away")

    def _look(self) -> None:
        """Read what is new in the work lists."""
        for path in sorted((self._place() / "派单").iterdir()):
            if path.name.startswith("."):
                continue
            changed = path.stat().st_mtime_ns
            if self._known.get(path.name) == changed:
                continue
            rows = sheets.read(path.name, path.read_bytes(), rows_max=200_000)
            header = [str(cell) for cell in rows[0].cells]
            for row in rows[1:]:
                self._take(dict(zip(header, (str(cell or "") for cell in row.cells), strict=False)))
            self._known[path.name] = changed

    def _take(self, cells: Mapping[str, str]) -> None:
        key, kind = cells["系统编号"], cells["类型"]
        ticket = self.store.ticket_of_key(key)
        if kind == "派单" and ticket is None:
            self.file(key=key, unit=cells["承办单位"], body={"title": cells["事项"]}, ticket=cells["派单编号"])
        elif kind == "撤回" and ticket is not None and ticket.state != "recalled":
            self.store.set_ticket(ticket.ticket, state="recalled")
            self.store.cancel_steps(ticket.ticket)

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, max(0.02, self.pace / 2)))
            if isinstance(self.faults, _ShareFaults):
                self.faults.come_back()
            self._look()
            await self.store.durable()

    async def _where(self) -> dict[str, str]:
        """Where the share is."""
        return {"folder": str(self.share)}


def adapter_settings(url: str, secret: str) -> dict[str, object]:
    """The adapter settings that fit a running simulator; a folder has no secret."""
    folder = httpx.get(f"{url}/_sim/folder", timeout=10, trust_env=False).json()["folder"]
    return {"folder": folder, "stable_seconds": 0.05, "timeout": 5.0}


if __name__ == "__main__":
    TableSimulator.main()
