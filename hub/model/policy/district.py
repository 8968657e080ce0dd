"""A district: its areas, units and places, and the policy in force in it. Pure; `hub.config` reads it from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from hub.model.district.areas import AreaCode
from hub.model.district.areatree import AreaTree
from hub.model.district.outlines import Outlines
from hub.model.district.places import Places
from hub.model.district.units import Directory
from hub.model.policy.policy import Policy
from hub.model.positions import Plane


@dataclass(frozen=True, kw_only=True)
class District:
    """One district."""

    code: AreaCode
    name: str
    areas: AreaTree
    directory: Directory
    policy: Policy
    places: Places
    zone: ZoneInfo
    planes: Mapping[str, Plane] = field(default_factory=dict)
    """Local planes in which positions may be given, by name."""
    outlines: Outlines = field(default_factory=Outlines)

    def locate(self, text: str) -> AreaCode | None:
        """The most specific area a text names (`Places.locate`)."""
        return self.places.locate(text)

    def missing_years(self, now: datetime) -> tuple[int, ...]:
        """The years whose days off should be known by now and are not (`Calendar.missing_years`); `now` is aware."""
        return self.policy.calendar.missing_years(now.astimezone(self.zone).date())

    def with_policy(self, policy: Policy) -> District:
        """The same district under another (published) policy."""
        return replace(self, policy=policy)
