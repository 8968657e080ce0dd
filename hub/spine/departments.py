"""The spine's needs of departments: who they are, whether they take anything now, and the calls that reach them.

The platform implements it: its roster is `Departments`, its instances are `Department`s. Nothing here knows plugins.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from hub.contract import (
    AdapterInstance,
    Assignment,
    CallbackRequest,
    Capability,
    Feedback,
    IncomingCase,
    Manifest,
    Notice,
    Receipt,
)
from hub.errors import HubError
from hub.model.effects import Verb


class CircuitBreaker(Protocol):
    """Holds calls back while a department's system fails."""

    @property
    def wait(self) -> float:
        """Seconds until it may be tried again; 0: now."""
        ...

    def admit(self) -> bool:
        """Whether a call may be made. The caller tells the breaker how every admitted call ended."""
        ...

    def succeeded(self) -> None:
        """The system answered."""
        ...

    def failed(self) -> None:
        """The system did not answer, or not as it should."""
        ...

    def undecided(self) -> None:
        """Nothing can be said of the system."""
        ...


class ReportPace(Protocol):
    """How much a department may bring in at once."""

    def wait(self, count: int = 1) -> float:
        """Seconds until so many more may come."""
        ...

    def admit(self, count: int = 1) -> float:
        """Count so many in; else the seconds until they may come."""
        ...


class Department(Protocol):
    """An adapter instance, wherever its code runs."""

    @property
    def name(self) -> str:
        """The instance's name."""
        ...

    @property
    def instance(self) -> AdapterInstance:
        """Its settings and limits."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What its plugin says of itself."""
        ...

    @property
    def breaker(self) -> CircuitBreaker:
        """Its breaker."""
        ...

    @property
    def reports(self) -> ReportPace:
        """How much it may bring in."""
        ...

    @property
    def pause(self) -> object | None:
        """Why it takes nothing; None: it takes what comes."""
        ...

    @property
    def stirred(self) -> asyncio.Event:
        """Set when its lane should look again."""
        ...

    @property
    def here(self) -> DepartmentHere | None:
        """Itself, if its code runs in this process."""
        ...

    def can(self, capability: Capability) -> bool:
        """Whether its plugin declares it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What a poll or callback brought: what can be taken, and what can't with the reason."""

    items: Sequence[Feedback | IncomingCase]
    rejected: Sequence[tuple[str, str]] = ()
    """Pairs of the item's id, as far as it has one, and its fault."""
    cursor: str | None = None
    more: bool = False


class DepartmentHere(Department, Protocol):
    """An instance whose code runs in this process. Every call is bounded and every answer checked. Calls raise delivery errors only."""

    @property
    def cursor_name(self) -> str:
        """Name of its poll's cursor."""
        ...

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Hand an assignment over; a time-out is an unknown outcome."""
        ...

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Ask what became of an assignment; None: the department does not know it."""
        ...

    async def tell(self, verb: Verb, about: Assignment | Notice, message: str = "") -> None:
        """Say anything else: call the plugin's method by the verb's name. `message` goes along with an assignment."""
        ...

    async def poll(self, cursor: str | None) -> Brought:
        """Fetch everything new since `cursor`."""
        ...

    async def parse_callback(self, request: CallbackRequest) -> Brought:
        """Verify and read a callback; raises CallbackRejected."""
        ...


class Departments(Protocol):
    """All instances of this process."""

    def changes(self) -> AsyncIterator[None]:
        """Once at first, then whenever they changed; for ever."""
        ...

    def lanes(self) -> Sequence[Department]:
        """Those that a queue is worked for."""
        ...

    def get(self, name: str) -> Department:
        """The instance. Raises NotAllowed when no enabled one has the name."""
        ...

    def pick(self, name: str, case: str, area: str) -> Department:
        """The version of the instance that takes this matter; raises NotAllowed."""
        ...

    def polled(self) -> Sequence[DepartmentHere]:
        """The instances that the hub polls."""
        ...

    def versions_here(self, name: str) -> Sequence[DepartmentHere]:
        """All versions of an instance that run here, the one with most of the traffic first; raises NotAllowed."""
        ...

    async def shut_out(self, name: str, problem: HubError) -> None:
        """Pause an instance whose credentials were refused."""
        ...

    async def try_resume(self, name: str) -> bool:
        """Ask a paused instance whether it can go on; whether it does. Raises NotAllowed."""
        ...
