"""A plugin's own routes beside the hub's interface: its mounts, and their rights in the hub.

The hub limits requests, traces them, checks keys and hides from a visitor what is not theirs. A mount only speaks its clients' protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from hub.contract.values import IncomingCase, ReportedFile
from hub.model.answers import Satisfied, Solved
from hub.model.case.state import Stage
from hub.model.policy.categories import Category
from hub.model.positions import Point

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

    from hub.model.policy.district import District


class MountSettings(BaseModel):
    """Base of a mount's settings. They are set as `routes.<name>`, beside the hub's own settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    enabled: bool = Field(True, description="Serve it.")


S = TypeVar("S", bound=MountSettings)


@dataclass(frozen=True, kw_only=True)
class Mount(Generic[S]):
    """An ASGI application of a plugin under a path of its own. The hub limits size and rate and traces the requests."""

    name: str
    """Lower-case letters, digits and `_`. The mount answers under `/<name>`. Its cases have the source `~<name>`."""
    build: Callable[[Reception, S], ASGIApp]
    """Makes the application, once, when the hub starts. The hub answers a HubError from it as in its own interface."""
    settings: type[S]
    refusal: Callable[[str, int, str], tuple[str, bytes]] | None = None
    """Words a refusal by the hub in this mount's format: path, status and reason in English → media type and body. None: problem+json."""


@dataclass(frozen=True, kw_only=True)
class Publishing:
    """Which cases everybody may read at a mount: those that came in by it, and more or less than that."""

    everything: bool = False
    """Also those that came in elsewhere."""
    sensitive: tuple[str, ...] = ()
    """Prefixes of category codes. Their cases are in no list, and without text and place, but for visitors who may read them anyway."""


@dataclass(frozen=True, kw_only=True)
class ShownCase:
    """A case as far as a visitor may know it; nothing personal, no departmental internals."""

    id: str
    stage: Stage
    said: str
    """How it stands, as a Chinese sentence."""
    category: str | None
    area: str
    area_path: tuple[str, ...]
    """Names from district down."""
    text: str | None
    """None: not for this visitor, and neither is the place."""
    place: str | None
    wgs84: Point | None
    """Where it is. The hub rounds it to about a kilometre for who does not handle the case."""
    exact: bool
    """Whether you may show the place as it is. Otherwise give it by `mask_address`."""
    agency: str | None
    """Name of the unit that works on it."""
    reported_at: datetime
    changed_at: datetime
    """When the case was resolved or closed; for others the time of the last change."""
    due_at: datetime | None
    """By when it has to be resolved; None once it is."""


@dataclass(frozen=True, kw_only=True)
class News:
    """Something that happened to a case and that everybody may know who may know of the case."""

    id: str
    kind: str
    """Name of the event, e.g. `case.resolved`."""
    case: str
    at: datetime
    text: str
    """Chinese sentence. Where the visitor may read it, the unit's own text stands instead."""


@dataclass(frozen=True, kw_only=True)
class Filed:
    """What became of a report: the case it is, or was `attached` to (a notice that covers its area)."""

    case: str
    attached: bool


class Visitor(Protocol):
    """The sender of a request, by the key that came with it, with everything they may do. All methods may raise BusUnavailable."""

    @property
    def id(self) -> str:
        """The key's own id; `anonymous` without a key."""
        ...

    @property
    def keyed(self) -> bool:
        """Whether there is a key."""
        ...

    @property
    def area(self) -> str | None:
        """Code of the part of the district the key is limited to; None: all of it."""
        ...

    def may(self, right: str) -> bool:
        """Whether the key has a scope: `cases:report`, `cases:read`. False without a key."""
        ...

    def covers(self, area: str) -> bool:
        """Whether an area lies where the key is for."""
        ...

    async def report(self, case: IncomingCase, files: Sequence[ReportedFile] = ()) -> Filed:
        """Open one case for a `ref`, however often it comes; visitors share no refs. The mount decides whether a visitor without a key may.
        Raises NotAllowed for a key without the right, InvalidInput naming the field for unusable content.
        """
        ...

    async def case_of(self, ref: str) -> str | None:
        """The case that a report under this `ref` became or joined."""
        ...

    async def cases(self, ids: Sequence[str]) -> list[ShownCase]:
        """Those of these cases that the visitor may ask for, in this order. Everything written at this mount is included. Raises
        Unavailable while it can't be shown yet.
        """
        ...

    async def search(
        self,
        *,
        since: datetime,
        until: datetime,
        stages: Sequence[Stage] = (),
        categories: Sequence[str] = (),
        size: int,
        offset: int = 0,
    ) -> list[ShownCase]:
        """The cases reported in a range that this visitor may list, newest first. Raises Unavailable as `cases` does."""
        ...

    async def news(self, *, since: datetime, until: datetime, size: int, offset: int = 0) -> list[News]:
        """What happened in a range, oldest first; one for each kind of event in a commit. Raises Unavailable as `cases` does."""
        ...

    async def comment(self, case: str, key: str, text: str) -> None:
        """Put a remark on a case, once for each `key` of the visitor. NotAllowed without `cases:report`, or if `cases` does not show it."""
        ...

    async def judge(self, case: str, key: str, *, solved: Solved, satisfied: Satisfied | None = None, note: str) -> bool:
        """Record the reporter's judgement: as a visit of a resolved case, or as the reopening of a closed one, where the policy says that
        such an answer reopens.

        Done once for each `key`. False: this key did not report the case, or the case is in no state for a judgement. Raises
        TransitionRefused when the lifecycle refuses, NotAllowed as `comment` does.
        """
        ...


class Reception(Protocol):
    """The hub as a mount sees it."""

    @property
    def public_url(self) -> str | None:
        """Where the hub is reached from outside, if that was set."""
        ...

    def district(self) -> DistrictFacts:
        """The district under the rules in force now."""
        ...

    async def rules_since(self) -> datetime:
        """When the rules in force were published."""
        ...

    async def visitor(self, scope: Scope, key: str | None, publishing: Publishing) -> Visitor | None:
        """Who sends the request of an ASGI scope; None when the key is not valid. The hub's rate then counts for the key."""
        ...

    def allowance(self, per_minute: int) -> Callable[[str], float]:
        """A bucket for each name, filled by `per_minute`. A call takes one and returns 0; else the seconds until there is one."""
        ...


class DistrictFacts:
    """The district as far as a mount may know it: names, categories, and the areas that words mean."""

    def __init__(self, district: District) -> None:
        self._district = district
        self.code: str = district.code
        self.name: str = district.name
        self.zone: ZoneInfo = district.zone

    @property
    def version(self) -> int:
        """Number of the rules in force."""
        return self._district.policy.version

    @property
    def categories(self) -> Iterable[Category]:
        """The minor categories, in the order of the rules."""
        return self._district.policy.categories

    def category(self, code: str) -> Category | None:
        """The category with that code."""
        return self._district.policy.category(code)

    def is_area(self, code: str) -> bool:
        """Whether there is such an area code."""
        return self._district.policy.is_area(code)

    @property
    def places(self) -> Mapping[str, str]:
        """Area codes by the names of places (config/places.csv) and areas."""
        return self._district.places

    def locate(self, text: str) -> str | None:
        """Code of the most specific area a text names."""
        return self._district.locate(text)
