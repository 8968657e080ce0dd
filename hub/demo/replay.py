"""Puts requests in, each by its channel: the hotline's by its own system, which calls the hub; the others through the interface.

Idempotent: the keys come from the file's content and the request's id, so a replay that was killed and begun again puts
nothing in twice. Called by `hub.demo.run`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from hub.config.requests import Request
from hub.demo.client import Problem
from hub.demo.crew import Badges
from hub.model.case.state import Channel
from hub.model.policy.district import District

REPORTERS = {Channel.RESIDENT: "clerk", Channel.PATROL: "grid_worker", Channel.DEVICE: "operator"}
"""Who hands a report of a channel in: the street's counter, a grid worker, the centre's sensor gateway."""

MOST_WAITING = 100
"""Orders of the hotline the hub may be behind before the replay waits."""


@dataclass
class Replayed:
    """How far the replay is."""

    total: int
    put_in: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Requests the hub did not take, by id, with its reason."""


class Replay:
    """One replay of a list of requests.

    `key` stands for the file, `began_at` is the time of requests without one, `position` where a reporter's own device says
    they are (an area code; None leaves it to the hub to find a place in the text).
    """

    def __init__(
        self,
        badges: Badges,
        hotline: httpx.AsyncClient,
        *,
        key: str,
        district: str,
        position: Callable[[Request], str | None],
        began_at: datetime,
        concurrency: int = 8,
    ) -> None:
        self._badges = badges
        self._hotline = hotline
        self._key = key
        self._district = district
        self._position = position
        self._began_at = began_at
        self._concurrency = concurrency
        self._room = asyncio.Event()
        self._room.set()

    async def run(self, requests: Sequence[Request], *, rate: float | None, state: Replayed) -> None:
        """Put all requests in, at most `rate` a second; `state` is kept up to date."""
        queue = iter(requests)
        clock = asyncio.get_running_loop().time
        began = clock()
        started = 0

        async def one_after_the_other() -> None:
            nonlocal started
            for request in queue:
                if rate is not None:
                    due = began + started / rate
                    started += 1
                    await asyncio.sleep(max(0.0, due - clock()))
                try:
                    await self._put_in(request)
                except Problem as problem:
                    state.refused[request.id] = str(problem)
                state.put_in += 1

        watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(one_after_the_other())
        finally:
            watching.cancel()

    async def waiting(self) -> int:
        """How many callbacks of the hotline the hub has not confirmed yet."""
        answer = await self._hotline.get("/_sim/state")
        answer.raise_for_status()
        return int(answer.json()["unsent_callbacks"])

    async def _watch(self) -> None:
        """Hold the hotline's orders back while the hub has enough of them to take."""
        while True:
            try:
                behind = await self.waiting()
            except httpx.HTTPError:
                behind = MOST_WAITING + 1
            if behind > MOST_WAITING:
                self._room.clear()
            else:
                self._room.set()
            await asyncio.sleep(0.1)

    async def _put_in(self, request: Request) -> None:
        reported_at = (request.created_at or self._began_at).astimezone(UTC).isoformat()
        if request.channel is Channel.HOTLINE:
            await self._room.wait()
            order = {
                "ref": f"GD{self._key}-{request.id}",
                "title": request.title,
                "text": request.text,
                "reported_at": reported_at,
            }
            await self._order(order)
            return
        body: dict[str, object] = {
            "channel": request.channel.value,
            "title": request.title,
            "text": request.text,
            "reported_at": reported_at,
        }
        position = self._position(request)
        if position is not None:
            body["area"] = position
        role = REPORTERS[request.channel]
        await self._badges.post(role, self._district, "/cases", body, key=f"demo:{self._key}:{request.id}")

    async def _order(self, order: dict[str, str], *, tries: int = 40) -> None:
        """A caller's order; again while the hotline's system is away (its simulator may be starting again)."""
        while True:
            tries -= 1
            try:
                answer = await self._hotline.post("/_sim/orders", json=order)
                answer.raise_for_status()
                return
            except httpx.HTTPError:
                if not tries:
                    raise
                await asyncio.sleep(0.25)


def position_of(request: Request, district: District) -> str | None:
    """Where the reporter's device says they are: a grid at the place the text names; a fixed draw from the request's id.

    Patrols and sensors always have a position; residents only if they name a place; the hotline's callers have none.
    """
    if request.channel is Channel.HOTLINE:
        return None
    area = district.locate(f"{request.title} {request.text}")
    if area is None:
        if request.channel is Channel.RESIDENT:
            return None
        area = district.code
    draw = int.from_bytes(hashlib.sha256(f"position:{request.id}".encode()).digest()[:8])
    while children := district.areas.children(area):
        area = children[draw % len(children)].code
        draw //= max(2, len(children))
    return area
