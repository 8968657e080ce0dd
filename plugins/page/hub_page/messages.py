"""What hub and desk say to each other, as typed messages. Shared by the adapter and the desk.

Unknown fields are ignored on both sides, so that either may be upgraded first.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

MOST_PHOTO = 10 * 1024 * 1024
"""Most bytes of one photo."""
MOST_PHOTOS = 6
"""Most photos of one report."""
MOST_OF_PHOTOS = 20 * 1024 * 1024
"""Most bytes of one report's photos together; the hub has ten seconds to fetch them."""
PHOTO_PIECE = 4 * 1024 * 1024
"""Bytes of a photo fetched by one request; below the 5 MiB the hub reads of an answer."""

TeamId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
"""Code of a team."""
MediaType = Literal["image/jpeg", "image/png", "image/webp"]
Severity = Literal["minor", "ordinary", "major", "urgent"]


class Team(BaseModel):
    """Who gets orders on a page of its own: a crew, a company, an office, one person."""

    model_config = ConfigDict(frozen=True)

    id: TeamId
    name: str = Field(min_length=1, max_length=100)


class TeamStanding(Team):
    """A team the desk knows, and whether it takes orders."""

    closed: bool = False


class TeamsFound(BaseModel):
    """`GET /api/v1/teams`."""

    items: list[TeamStanding]


class Spot(BaseModel):
    """Where the matter is: the numbers as they were given, in the system they were given in."""

    longitude: float
    latitude: float
    system: str = Field(max_length=40)


class Degrees(BaseModel):
    """The same on WGS-84."""

    longitude: float = Field(ge=-180, le=180)
    latitude: float = Field(ge=-90, le=90)


class NewOrder(BaseModel):
    """`POST /api/v1/orders`: an assignment for one team. Nothing personal."""

    team: Team = Field(validation_alias=AliasChoices("team", "company"))
    """`company` is what hubs before version 0.2 of the property plugin said."""
    case: str = Field(max_length=100)
    title: str = Field(min_length=1, max_length=500)
    text: str = Field(max_length=20_000)
    category_name: str = Field("", max_length=200)
    severity: Severity = "ordinary"
    role: Literal["lead", "support"] = "lead"
    area_path: list[str] = Field(default=[], max_length=10)
    place: str | None = Field(None, max_length=500)
    position: Spot | None = None
    wgs84: Degrees | None = None
    task: str | None = Field(None, max_length=2000)
    reported_at: AwareDatetime
    accept_by: AwareDatetime | None = None
    finish_by: AwareDatetime | None = None


class OrderStanding(BaseModel):
    """How an order stands at the desk."""

    ticket: str = Field(min_length=1, max_length=200)
    state: str
    ref: str | None = None
    changed_at: AwareDatetime | None = None


class OrdersFound(BaseModel):
    """Answer of a search, or (with `next`) one page of the list of all orders."""

    items: list[OrderStanding]
    next: int | None = None
    """What to ask the next page with; None: this was the last."""


class DeskStatus(BaseModel):
    """`GET /api/v1/status`: the desk is there and knows the caller."""

    status: str
    waiting: int = 0
    """Reports that wait for the hub."""
    given_up: int = 0
    """Reports that were given up; `resend` brings them back."""


class PhotoNote(BaseModel):
    """A photo that can be fetched: `GET /api/v1/photos/<id>?offset=&length=`."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    media_type: MediaType
    size: int = Field(gt=0, le=MOST_PHOTO)
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class DeskEvent(BaseModel):
    """What somebody did with an order, as a callback or in a poll. `id` is the webhook's id."""

    id: str = Field(min_length=1, max_length=200)
    kind: str = Field(min_length=1, max_length=40)
    """accepted, progress, resolved or returned; a word of a newer desk goes through the crosswalk."""
    ticket: str
    key: str
    at: AwareDatetime
    by: str
    note: str | None = None
    photos: list[PhotoNote] = Field(default=[], max_length=MOST_PHOTOS)


class DeskEvents(BaseModel):
    """`GET /api/v1/reports?taken=`: what the hub has not got by callback, oldest first."""

    items: list[DeskEvent]
    more: bool = False
