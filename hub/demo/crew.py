"""The crew: plays all the people of the demo at once. Looks where something changed, asks `people.next_step`, gives the command.

Every person has a token of their own, issued through the interface for that role and unit. A refused command is remembered and
something else is tried. Knows nothing but what the interface says. Called by `hub.demo.run`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import structlog

from hub.demo.client import HubClient, Problem
from hub.demo.people import USUAL, Habits, Step, Work, next_step

log = structlog.get_logger("hub.demo")

PAGE = 200
LOOK_AROUND = 5.0
"""Seconds without news after which the crew looks through the work list again."""


class Badges:
    """Tokens of the demo's people, one per role and unit, made when first needed and kept over restarts."""

    def __init__(self, hub: HubClient, admin: str, kept: dict[str, str], keep: Callable[[], None]) -> None:
        self.admin = admin
        self._hub = hub
        self._kept = kept
        self._keep = keep
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def token(self, role: str, unit: str) -> str:
        """The token of a person of `role` at `unit`; raises Problem when the hub issues none."""
        name = f"{role}:{unit}"
        async with self._locks[name]:
            if name not in self._kept:
                body: dict[str, object] = {"name": f"demo {role} {unit}", "role": role, "unit": unit}
                if unit.isdigit():
                    body["area"] = unit
                answer = await self._hub.post("/tokens", body, token=self.admin, key=f"demo-token:{uuid4()}")
                self._kept[name] = str(answer["token"])
                self._keep()
            return self._kept[name]

    async def post(self, role: str, unit: str, path: str, body: Mapping[str, object], *, key: str) -> Any:
        """Do something as a person of `role` at `unit`; raises Problem. A kept token the hub no longer takes is replaced."""
        token = await self.token(role, unit)
        try:
            return await self._hub.post(path, body, token=token, key=key)
        except Problem as problem:
            if problem.status != 401:
                raise
        if self._kept.get(f"{role}:{unit}") == token:
            del self._kept[f"{role}:{unit}"]
        return await self._hub.post(path, body, token=await self.token(role, unit), key=key)


class Crew:
    """Works cases off until cancelled. `pace` is about how many seconds a person takes for one step."""

    def __init__(
        self, hub: HubClient, badges: Badges, *, seed: int, pace: float, habits: Habits = USUAL, workers: int = 12
    ) -> None:
        self.commands: Counter[str] = Counter()
        """Commands given, by name."""
        self.refused: Counter[str] = Counter()
        """Commands the hub refused, by name."""
        self.errors: Counter[str] = Counter()
        """Refusals a person can't do anything about, by their text; none in a healthy demo."""
        self.hands_off: set[str] = set()
        """Cases a scene plays itself."""
        self._hub = hub
        self._badges = badges
        self._seed = seed
        self._pace = pace
        self._habits = habits
        self._workers = workers
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._seen: dict[str, int] = {}
        self._done: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._news = asyncio.Event()
        self._random = random.Random(f"{seed}:pace")  # noqa: S311 - behaviour, not secrets

    @property
    def idle(self) -> bool:
        """Whether nobody has anything in hand or waiting."""
        return not self._waiting and not self._busy

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._look_around())
            for _ in range(self._workers):
                group.create_task(self._work())

    def notice(self, case: str) -> None:
        """Something changed on a case: somebody will look at it."""
        if case in self._busy:
            self._again.add(case)
        elif case not in self._waiting:
            self._waiting.add(case)
            delay = self._pace * self._random.uniform(0.3, 1.2)
            asyncio.get_running_loop().call_later(delay, self._due.put_nowait, case)

    async def _listen(self) -> None:
        async for change in self._hub.changes(token=self._badges.admin):
            case = change.values.get("matter")
            if isinstance(case, str) and concerns_people(change.values):
                self._news.set()
                self.notice(case)

    async def _look_around(self) -> None:
        """Go through the work list at the start, and whenever there was no news for a while."""
        while True:
            for stage in ("reported", "held", "dispatched", "resolved"):
                await self._look_through(stage)
            while True:
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), LOOK_AROUND)
                except TimeoutError:
                    break

    async def _look_through(self, stage: str) -> None:
        cursor: str | None = None
        while True:
            page = await self._hub.get("/cases", token=self._badges.admin, stage=stage, limit=PAGE, cursor=cursor)
            for row in page["items"]:
                if self._seen.get(row["id"]) != row["number"]:
                    self.notice(row["id"])
            cursor = page.get("cursor")
            if not cursor:
                return

    async def _work(self) -> None:
        while True:
            case = await self._due.get()
            self._waiting.discard(case)
            if case in self.hands_off:
                continue
            self._busy.add(case)
            try:
                await self._look_at(case)
            finally:
                self._busy.discard(case)
            if case in self._again:
                self._again.discard(case)
                self.notice(case)

    async def _look_at(self, case: str) -> None:
        work = Work.read(await self._hub.get(f"/cases/{case}", token=self._badges.admin, fresh=True))
        self._seen[case] = work.number
        if work.ended:
            self._done.pop(case, None)
            return
        done = self._done[case]
        step = next_step(work, seed=self._seed, done=done, habits=self._habits)
        if step is not None:
            await self._do(work, step, done)

    async def _do(self, work: Work, step: Step, done: Counter[str]) -> None:
        part = step.part or step.body.get("assignment", "")
        key = f"demo:{work.id}:{work.number}:{step.command}{part}"
        try:
            await self.command(work.id, step.role, step.unit, step.command, step.body, part=step.part, key=key)
        except Problem as problem:
            self.refused[step.command] += 1
            done[f"refused:{step.command}:{work.level}"] += 1
            if problem.status not in (404, 409, 422):
                self.errors[str(problem)] += 1
                return
            # Somebody else may have been quicker, or it is not this level's to do: look again.
            if done[f"refused:{step.command}:{work.level}"] < 4:
                self._again.add(work.id)
            else:
                self.errors[str(problem)] += 1
        else:
            done[f"{step.command}:{part}" if part else step.command] += 1
            self._again.add(work.id)

    async def command(
        self,
        case: str,
        role: str,
        unit: str,
        command: str,
        body: Mapping[str, object] | None = None,
        *,
        part: str = "",
        key: str,
    ) -> Any:
        """Give one command as a person of `role` at `unit`: on the case, or on its delivery `part`; raises Problem."""
        path = f"/deliveries/{case}.{part}/{command}" if part else f"/cases/{case}/{command}"
        answer = await self._badges.post(role, unit, path, body or {}, key=key)
        self.commands[command] += 1
        return answer


def concerns_people(change: Mapping[str, Any]) -> bool:
    """Whether a change can give somebody something to do; most (attempts, receipts, results) can't."""
    if change.get("stage") in ("reported", "held", "resolved") or change.get("attention"):
        return True
    return change.get("stage") == "dispatched" and any(
        event.get("type") in _TO_BE_WORKED for event in change.get("events") or ()
    )


_TO_BE_WORKED = ("assignment.made",)
