"""Simulated people: they open their team's page, press its buttons and fill its forms, as anybody with a phone does.

When one acts is read from the desk's store (so a killed simulator goes on where it was); what one does goes through the pages only.
Part of the simulator.
"""

from __future__ import annotations

import asyncio
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

import httpx

from hub_page.desk.links import Links
from hub_page.desk.orders import OrderState
from hub_page.desk.store import DeskStore

_STEPS = {OrderState.RECEIVED: 1.0, OrderState.ACCEPTED: 1.5, OrderState.IN_PROGRESS: 2.5}
_URGENT_WITHIN = 3.0
_AT_ONCE = 4
_BATCH = 200
_PROGRESS = ("人员已到场查看", "已联系班组，正在处理", "已到现场，正在核实情况", "已安排人员，今天内完成")
_RESULTS = ("已处理完毕，现场恢复正常", "已处理完毕，并告知反映人", "已清理干净并加强巡查", "已整改到位，复查正常")
_RETURNS = ("0", "1", "2")


@dataclass
class Form:
    """A form of a page: where it goes and what it carries by itself."""

    action: str
    hidden: dict[str, str] = field(default_factory=dict)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(Form(named.get("action", "")))
            self._inside = True
        elif tag == "input" and self._inside and named.get("type") == "hidden":
            self.found[-1].hidden[named.get("name", "")] = named.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def forms_of(page: str) -> list[Form]:
    """Every form of an HTML page."""
    parser = _Forms()
    parser.feed(page)
    return parser.found


class PageChanged(Exception):
    """What a person wanted to press is not on the page (any more)."""


class People:
    """The people of all teams. `pace` is about how many seconds one takes for a step, `returns` the share of 退单."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        store: DeskStore,
        links: Links,
        *,
        pace: float,
        returns: float,
        chance: Callable[..., random.Random],
        away: Callable[[], bool],
    ) -> None:
        self._client = client
        self._store = store
        self._links = links
        self._pace = pace
        self._returns = returns
        self._chance = chance
        self._away = away
        self._photos = [scene(seed) for seed in range(4)]
        self._tick = min(0.5, max(0.02, pace / 10))

    async def run(self) -> None:
        """Work until cancelled; while the department is away nobody does."""
        places = asyncio.Semaphore(_AT_ONCE)
        while True:
            if not self._away():
                async with asyncio.TaskGroup() as group:
                    for team, ticket, state in self.due(time.time()):
                        group.create_task(self._work(places, team, ticket, state))
            await asyncio.sleep(self._tick)

    def due(self, now: float) -> Iterator[tuple[str, str, OrderState]]:
        """(team, ticket, state) of orders whose person is ready for the next step; the longest waiting first."""
        rows = self._store.db.execute(
            "SELECT team, ticket, state, rank, changed_at FROM orders WHERE open = 1 AND changed_at <= ?"
            " ORDER BY changed_at LIMIT ?",
            (now - min(0.7 * self._pace, _URGENT_WITHIN / 2), _BATCH * 10),
        ).fetchall()
        found = 0
        for row in rows:
            state = OrderState(row["state"])
            wait = _STEPS[state] * self._pace * self._chance(row["ticket"], state.value).uniform(0.7, 1.3)
            if row["rank"] == 0 and state is OrderState.RECEIVED:
                wait = min(wait, _URGENT_WITHIN)
            if row["changed_at"] + wait <= now and found < _BATCH:
                found += 1
                yield row["team"], row["ticket"], state

    async def _work(self, places: asyncio.Semaphore, team: str, ticket: str, state: OrderState) -> None:
        async with places:
            found = self._store.team(team)
            if found is None:
                return
            page = f"{self._links.path(team, found[1])}/orders/{ticket}"
            try:
                await self.step(page, ticket, state)
            except PageChanged:  # recalled while the person was reading; the next round sees how it stands
                return

    async def step(self, page: str, ticket: str, state: OrderState) -> None:
        """Do what comes next on an order's page; raises PageChanged."""
        chance = self._chance(ticket, f"{state.value} words")
        match state:
            case OrderState.RECEIVED:
                await self._press(page, "/accept", {})
            case OrderState.ACCEPTED if chance.random() < self._returns:
                await self._press(page, "/return", {"reason": chance.choice(_RETURNS)})
            case OrderState.ACCEPTED:
                await self._press(page, "/progress", {"note": chance.choice(_PROGRESS)})
            case OrderState.IN_PROGRESS:
                await self._press(page, "/photos", {}, photo=chance.choice(self._photos))
                asked = await self._press(page, "/resolve", {"note": chance.choice(_RESULTS)})
                await self._submit(asked, "/resolve", {"confirm": "yes"})

    async def _press(self, page: str, button: str, typed: dict[str, str], *, photo: bytes | None = None) -> httpx.Response:
        return await self._submit(await self._client.get(page), button, typed, photo=photo)

    async def _submit(
        self, shown: httpx.Response, button: str, typed: dict[str, str], *, photo: bytes | None = None
    ) -> httpx.Response:
        """Fill in and send the form of `shown` whose action ends with `button`."""
        form = next((form for form in forms_of(shown.text) if urlsplit(form.action).path.endswith(button)), None)
        if shown.status_code != 200 or form is None:
            raise PageChanged(button)
        files = {"photo": ("IMG_0001.png", photo, "image/png")} if photo is not None else None
        answer = await self._client.post(form.action, data={**form.hidden, **typed}, files=files)
        if answer.status_code not in (200, 303):
            raise PageChanged(button)
        return answer


def scene(seed: int, *, width: int = 240, height: int = 180) -> bytes:
    """A small PNG that looks a little like a photo: sky, wall, ground with a puddle."""
    chance = random.Random(f"scene:{seed}")  # noqa: S311 - a picture
    sky, wall, ground = (
        tuple(chance.randint(low, low + 60) for low in lows) for lows in ((130, 150, 180), (120, 110, 90), (70, 70, 70))
    )
    horizon, edge = height * chance.randint(45, 60) // 100, width * chance.randint(30, 70) // 100
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        shade = 1 - 0.25 * y / height
        for x in range(width):
            puddle = (x - width / 2) ** 2 / (width / 3) ** 2 + (y - height * 0.82) ** 2 / (height / 9) ** 2 < 1
            colour = (110, 130, 150) if puddle else ground if y > horizon else wall if x < edge else sky
            rows.extend(int(part * shade) for part in colour)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(rows), 6)) + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
