"""What the hotline's system sends, validated: events by callback or poll, and their translation. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Discriminator, Field, Tag

from hub import Channel, Contact, Feedback, FeedbackKind, How, IncomingCase, Position, Severity, Standing, StandingState, Words

_URGENCY = {"特急": Severity.URGENT, "紧急": Severity.MAJOR}
STATUSES = {
    "consultation.accepted": FeedbackKind.ACCEPTED,
    "consultation.progress": FeedbackKind.PROGRESS,
    "consultation.answered": FeedbackKind.RESOLVED,
    "consultation.returned": FeedbackKind.RETURNED,
}
"""Every event about a consultation that the interface documents."""
_STANDINGS = {
    "filed": StandingState.FILED,
    "answered": StandingState.RESOLVED,
    "returned": StandingState.RETURNED,
    "recalled": StandingState.RECALLED,
}


class _Message(BaseModel):
    """Unknown fields are left aside: the hotline may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Caller(_Message):
    """Who called; personal."""

    name: str | None = None
    phone: str | None = None
    address: str | None = None


class Spot(_Message):
    """Where the caller's matter is, as the hotline's map has it."""

    longitude: float = Field(ge=-180, le=180)
    latitude: float = Field(ge=-90, le=90)
    system: Literal["wgs84", "cgcs2000", "gcj02", "bd09"]
    geocoded: bool = False
    """Looked up from the address, not pointed at."""

    def position(self) -> Position:
        """As the hub takes it."""
        how = How.GEOCODED if self.geocoded else How.PERSON
        return Position(longitude=self.longitude, latitude=self.latitude, system=self.system, how=how)


class OrderCreated(_Message):
    """A new work order."""

    event: Literal["order.created"]
    event_id: str = Field(min_length=1, max_length=100)
    order: str = Field(min_length=1, max_length=100)
    title: str
    text: str
    reported_at: AwareDatetime
    area: str | None = None
    place_name: str | None = None
    place: str | None = None
    spot: Spot | None = None
    urgency: str | None = None
    contact: Caller | None = None

    def item(self, words: Words) -> IncomingCase:
        """As the hub takes it; the urgency is only passed on when it is above the ordinary."""
        contact = None if self.contact is None else Contact(**self.contact.model_dump())
        return IncomingCase(
            ref=self.order,
            channel=Channel.HOTLINE,
            title=self.title,
            text=self.text,
            reported_at=self.reported_at,
            area=self.area,
            place_name=self.place_name,
            place=self.place,
            position=None if self.spot is None else self.spot.position(),
            severity=_URGENCY.get(self.urgency or ""),
            contact=contact,
        )


class OrderVisited(_Message):
    """The hotline asked the caller whether it was done and well done."""

    event: Literal["order.visited"]
    event_id: str = Field(min_length=1, max_length=100)
    order: str = Field(min_length=1, max_length=100)
    at: AwareDatetime
    result: str = Field(max_length=50)
    """接通, 未接通 or 拒访."""
    tries: int | None = Field(None, ge=1, le=100)
    solved: str | None = Field(None, max_length=50)
    """已解决, 部分解决, 未解决 or 未询问."""
    satisfied: str | None = Field(None, max_length=50)
    """满意, 基本满意, 不满意 or 未评价."""
    rating: int | None = Field(None, ge=1, le=5)
    comment: str | None = None

    def item(self, words: Words) -> Feedback:
        """The caller's answers in our words; `ticket` is the hotline's own order number, by which the hub finds the case."""
        return Feedback(
            id=self.event_id,
            kind=FeedbackKind.VISITED,
            ticket=self.order,
            at=self.at,
            by="12345回访专员",
            note=self.comment,
            reached=words.reached(self.result, about=self.order),
            tries=self.tries,
            solved=None if self.solved is None else words.solved(self.solved, about=self.order),
            satisfied=None if self.satisfied is None else words.satisfied(self.satisfied, about=self.order),
            rating=self.rating,
        )


class Consulted(_Message):
    """The hotline says something about a consultation it was asked for."""

    event: str = Field(pattern=r"^consultation\.[a-z_.]{1,60}$")
    event_id: str = Field(min_length=1, max_length=100)
    ticket: str = Field(min_length=1, max_length=100)
    ref: str | None = None
    at: AwareDatetime
    note: str | None = None

    def item(self, words: Words) -> Feedback:
        """A report under our key, which the hotline keeps as `ref`."""
        return Feedback(
            id=self.event_id,
            kind=words.kind(self.event, about=self.ticket),
            key=self.ref,
            ticket=self.ticket,
            at=self.at,
            by="12345热线",
            note=self.note,
        )


def _which(said: object) -> str:
    """By which of them an event is read; whatever happens to a consultation, words that come later too, is `Consulted`."""
    event = said.get("event") if isinstance(said, Mapping) else getattr(said, "event", None)
    return "consultation" if str(event).startswith("consultation.") else str(event)


Event = Annotated[
    Annotated[OrderCreated, Tag("order.created")]
    | Annotated[OrderVisited, Tag("order.visited")]
    | Annotated[Consulted, Tag("consultation")],
    Discriminator(_which),
]


class Change(_Message):
    """One entry of the change list."""

    seq: int
    event: Event


class Changes(_Message):
    """One page of the change list; `next` is where to go on."""

    items: list[Change]
    next: int
    more: bool


class Consultation(_Message):
    """A consultation the hotline has."""

    ticket: str
    ref: str
    state: str
    created_at: datetime | None = None

    def standing(self) -> Standing:
        """How it stands; whatever is neither new nor ended is in the hotline's hands."""
        return Standing(ticket=self.ticket, key=self.ref, state=_STANDINGS.get(self.state, StandingState.ACCEPTED))


class Consultations(_Message):
    """Answer of the search by our reference."""

    items: list[Consultation]


class Standings(_Message):
    """A page of all consultations; `next` None: the last one."""

    items: list[Consultation]
    next: str | None = None


class Topic(_Message):
    """A kind of matter 诉求类别 in the hotline's own words."""

    code: str = Field(min_length=1, max_length=100)
    name: str = Field(min_length=1, max_length=200)


class Topics(_Message):
    """The hotline's catalogue."""

    items: list[Topic]
