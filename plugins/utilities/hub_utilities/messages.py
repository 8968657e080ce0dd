"""What the utilities' platform says, as typed messages, and how its words become the hub's.

Read from answers by the adapter. Unknown fields are ignored: the platform may add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from hub import Channel, Feedback, FeedbackKind, IncomingCase, Severity, Standing, StandingState, Words

Kind = Literal["water", "drainage", "power", "gas", "heat"]
"""What a company supplies."""
STOPPED: Mapping[str, str] = {"water": "停水", "drainage": "停止排水", "power": "停电", "gas": "停气", "heat": "停暖"}
COMPANY_NAMES: Mapping[str, str] = {
    "water": "供水公司",
    "drainage": "排水公司",
    "power": "供电公司",
    "gas": "燃气公司",
    "heat": "供热公司",
}
STATUSES: Mapping[str, FeedbackKind] = {
    "accepted": FeedbackKind.ACCEPTED,
    "crew_sent": FeedbackKind.PROGRESS,
    "working": FeedbackKind.PROGRESS,
    "completed": FeedbackKind.RESOLVED,
    "rejected": FeedbackKind.RETURNED,
}
"""Every status that is a change of a work order."""
_STANDINGS: Mapping[str, StandingState] = {
    "filed": StandingState.FILED,
    "completed": StandingState.RESOLVED,
    "rejected": StandingState.RETURNED,
    "recalled": StandingState.RECALLED,
}
_LENGTHS = (15, 12, 9, 6)

AreaDigits = Annotated[str, StringConstraints(pattern=r"^\d{6}(\d{3}){0,3}$")]
"""An area code: district, street, community or grid."""


class WorkOrder(BaseModel):
    """A work order as the platform has it."""

    number: str = Field(min_length=1, max_length=200)
    status: str
    reference: str | None = None

    def standing(self) -> Standing:
        """How it stands; whatever is neither new nor ended is in the company's hands."""
        return Standing(ticket=self.number, key=self.reference, state=_STANDINGS.get(self.status, StandingState.ACCEPTED))


class WorkOrders(BaseModel):
    """Answer of a search."""

    items: list[WorkOrder]


class Change(BaseModel):
    """One thing that happened to a work order; `id` stays the same however often it comes."""

    id: str = Field(min_length=1)
    number: str
    reference: str | None = None
    status: str
    at: AwareDatetime
    team: str | None = None
    note: str | None = None

    def report(self, words: Words) -> Feedback:
        """The same in the hub's words."""
        return Feedback(
            id=self.id,
            kind=words.kind(self.status, about=self.number),
            key=self.reference,
            ticket=self.number,
            at=self.at,
            by=self.team,
            note=self.note,
        )


class Changes(BaseModel):
    """A page of changes; `next` is where the following page begins."""

    items: list[Change]
    next: int = Field(ge=0)
    more: bool = False


class Standings(BaseModel):
    """A page of all work orders; `next` is None after the last."""

    items: list[WorkOrder]
    next: str | None = None


class Service(BaseModel):
    """A kind of work order the companies take."""

    code: str = Field(min_length=1, max_length=100)
    name: str = Field(min_length=1, max_length=200)


class Services(BaseModel):
    """The platform's catalogue."""

    items: list[Service]


class Outage(BaseModel):
    """A notice that supply will be off for the areas named, or is."""

    ref: str = Field(min_length=1, max_length=100)
    kind: Kind
    areas: list[AreaDigits] = Field(min_length=1, max_length=200)
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    published_at: AwareDatetime
    reason: str = Field("", max_length=500)
    planned: bool = True

    def case(self, category: str | None, zone: tzinfo) -> IncomingCase:
        """The case that stands for the outage before anybody complains; times in the text are local to `zone`.

        Planned work is ordinary, an outage nobody planned is major.
        """
        what = f"{'计划' if self.planned else '故障'}{STOPPED[self.kind]}"
        reason = self.reason.strip()
        text = f"{COMPANY_NAMES[self.kind]}通知：{_local(self.starts_at, zone)}至{_local(self.ends_at, zone)}{what}"
        return IncomingCase(
            ref=self.ref,
            channel=Channel.DEPARTMENT,
            title=f"{what}：{reason}" if reason else what,
            text=f"{text}，原因：{reason}。" if reason else f"{text}。",
            reported_at=self.published_at,
            area=common_area(self.areas),
            category=category,
            severity=Severity.ORDINARY if self.planned else Severity.MAJOR,
            covers=tuple(dict.fromkeys(self.areas)),
            covers_until=self.ends_at,
        )


class Outages(BaseModel):
    """A page of notices."""

    items: list[Outage]
    next: int = Field(ge=0)
    more: bool = False


def common_area(areas: list[str]) -> str | None:
    """The smallest area that holds all of `areas`; None when not even the district is the same."""
    first = areas[0]
    return next((first[:length] for length in _LENGTHS if all(code[:length] == first[:length] for code in areas)), None)


def _local(at: datetime, zone: tzinfo) -> str:
    local = at.astimezone(zone)
    return f"{local.month}月{local.day}日{local:%H:%M}"
