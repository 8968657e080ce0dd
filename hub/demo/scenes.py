"""What the stories are played with: acting as somebody, waiting until something is so, checking that it came out right.

A scene uses the public interface and the simulators' own controls, nothing else. Called by the stories.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from hub.demo.client import HubClient
from hub.demo.crew import Badges, Crew

Case = Mapping[str, Any]


class SceneFailed(Exception):
    """A scene did not get where it should; the message says what was waited for."""


@dataclass
class Scene:
    """One story as it is played: its cases, and what was checked."""

    name: str
    title: str
    cases: list[str] = field(default_factory=list)
    checks: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def came_out(self) -> bool:
        """Whether everything checked was so."""
        return bool(self.checks) and all(ok for _, ok in self.checks)


class Theatre:
    """Everything a scene can reach. `say` prints one line; `pace` is about how many seconds a person takes."""

    def __init__(
        self,
        hub: HubClient,
        badges: Badges,
        crew: Crew,
        simulators: Mapping[str, httpx.AsyncClient],
        *,
        say: Callable[[str], None],
        pace: float,
        run: str,
    ) -> None:
        self.hub = hub
        self.simulators = simulators
        self.admin = badges.admin
        self.run = run
        """Eight characters that stand for this playing of the scenes; part of every key."""
        self._badges = badges
        self._crew = crew
        self._say = say
        self._pace = pace
        self._given = 0

    def begin(self, name: str, title: str) -> Scene:
        """Open a scene."""
        self._say("")
        self._say(f"── {title}")
        return Scene(name=name, title=title)

    def tell(self, text: str) -> None:
        """One step, for whoever watches."""
        self._say(f"   {text}")

    def check(self, scene: Scene, text: str, holds: bool) -> None:
        """Something that has to be so."""
        scene.checks.append((text, holds))
        self._say(f"   {'✓' if holds else '✗'} {text}")

    def end(self, scene: Scene) -> None:
        """Say where to look."""
        for case in scene.cases:
            self._say(f"   → hub trace {case}")

    async def breathe(self, steps: float = 1.0) -> None:
        """The time a person takes for `steps` steps."""
        await asyncio.sleep(self._pace * steps)

    async def report(self, scene: Scene, *, role: str, unit: str, body: Mapping[str, object]) -> str:
        """Open a case; returns its id."""
        key = f"scene:{self.run}:{scene.name}:{len(scene.cases)}"
        answer = await self._badges.post(role, unit, "/cases", body, key=key)
        case = str(answer["case"]["id"])
        scene.cases.append(case)
        return case

    async def act(self, case: str, role: str, unit: str, command: str, **body: object) -> Case:
        """Give a command as somebody, after the time it takes them."""
        await self.breathe()
        self._given += 1
        answer = await self._crew.command(case, role, unit, command, body, key=f"scene:{self.run}:{case}:{self._given}")
        after: Case = answer["case"]
        return after

    async def case(self, case: str) -> Case:
        """One case as it is now."""
        found: Case = await self.hub.get(f"/cases/{case}", token=self._badges.admin, fresh=True)
        return found

    async def story(self, case: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Everything that happened to a case, oldest first: the event's name and its fields."""
        found = await self.hub.get(f"/cases/{case}/timeline", token=self.admin, fresh=True)
        return [(str(item["event"]), item["body"]) for item in found["items"]]

    async def until(self, case: str, holds: Callable[[Case], bool], what: str, *, within: float = 60.0) -> Case:
        """Wait until a case is as it should be; raises SceneFailed with `what` and where it stands."""
        give_up = asyncio.get_running_loop().time() + within
        while True:
            found = await self.case(case)
            if holds(found):
                return found
            if asyncio.get_running_loop().time() > give_up:
                parts = ", ".join(f"{part['unit']} {part['state']}" for part in found["assignments"])
                raise SceneFailed(f"{what}: not within {within:.0f} s; {case} is {found['stage']} ({parts})")
            await asyncio.sleep(0.1)

    async def adapter(self, name: str) -> Mapping[str, Any]:
        """How an adapter stands."""
        answer = await self.hub.get("/adapters", token=self._badges.admin)
        found: Mapping[str, Any] = next(item for item in answer["items"] if item["name"] == name)
        return found

    async def fault(self, simulator: str, kind: str, **how: float) -> None:
        """Let a departmental system fail in a certain way."""
        answer = await self.simulators[simulator].post("/_sim/faults", json={"kind": kind, **how})
        answer.raise_for_status()

    async def tickets(self, simulator: str, key: str) -> list[str]:
        """The tickets a departmental system has under one of our keys."""
        answer = await self.simulators[simulator].get("/_sim/tickets")
        answer.raise_for_status()
        return [str(item["ticket"]) for item in answer.json()["tickets"] if item["key"] == key]

    async def call(self, scene: Scene, body: Mapping[str, object]) -> str:
        """Somebody calls the hotline; returns the order's number there."""
        ref = f"GD{self.run}-{scene.name}-{len(scene.checks)}{self._given}"
        self._given += 1
        answer = await self.simulators["hotline"].post("/_sim/orders", json={"ref": ref, **body})
        answer.raise_for_status()
        return str(answer.json()["order"])

    async def order(self, number: str) -> Mapping[str, Any]:
        """How an order stands at the hotline."""
        answer = await self.simulators["hotline"].get("/_sim/orders")
        answer.raise_for_status()
        found: Mapping[str, Any] = next(item for item in answer.json()["orders"] if item["order"] == number)
        return found

    async def until_order(
        self, number: str, holds: Callable[[Mapping[str, Any]], bool], what: str, *, within: float = 60.0
    ) -> Mapping[str, Any]:
        """Wait until an order of the hotline is as it should be; raises SceneFailed."""
        give_up = asyncio.get_running_loop().time() + within
        while not holds(found := await self.order(number)):
            if asyncio.get_running_loop().time() > give_up:
                raise SceneFailed(f"{what}: not within {within:.0f} s; order {number} is {found['state']}")
            await asyncio.sleep(0.1)
        return found


def part_of(case: Case, unit: str) -> Mapping[str, Any]:
    """The newest assignment of a unit in a case; raises SceneFailed when there is none."""
    found = [part for part in case["assignments"] if part["unit"] == unit]
    if not found:
        raise SceneFailed(f"{case['id']} has no assignment of {unit}")
    newest: Mapping[str, Any] = found[-1]
    return newest


def states(case: Case) -> dict[str, str]:
    """State of the newest assignment of each unit."""
    return {part["unit"]: part["state"] for part in case["assignments"]}


def outcomes(part: Mapping[str, Any]) -> Sequence[str]:
    """How the attempts of an assignment ended, in order."""
    return [str(attempt["outcome"]) for attempt in part.get("attempts") or ()]
