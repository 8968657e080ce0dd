"""What hub and desk say to each other, as typed messages. Shared by the adapter and the desk.

Unknown fields are ignored on both sides, so that either may be upgraded first.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

MOST_PHOTO = 10 * 1024 * 1024
"""Most bytes of one photo."""
MOST_PHOTOS = 6
"""Most photos of one report."""
MOST_OF_PHOTOS = 20 * 1024 * 1024
"""Most bytes of one report's photos together; the hub has ten seconds to fetch them."""
PHOTO_PIECE = 4 * 1024 * 1024
"""Bytes of a photo fetched by one request; below the 5 MiB the hub reads of an answer."""

CompanyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
"""Code of a property company."""
MediaType = Literal["image/jpeg", "image/png", "image/webp"]
Severity = Literal["minor", "ordinary", "major", "urgent"]


class Company(BaseModel):
    """A property company."""

    model_config = ConfigDict(frozen=True)

    id: CompanyId
    name: str = Field(min_length=1, max_length=100)


class NewOrder(BaseModel):
    """`POST /api/v1/orders`: an assignment for one company. Nothing personal."""

    company: Company
    case: str = Field(max_length=100)
    title: str = Field(min_length=1, max_length=500)
    text: str = Field(max_length=20_000)
    category_name: str = Field("", max_length=200)
    severity: Severity = "ordinary"
    role: Literal["lead", "support"] = "lead"
    area_path: list[str] = Field(default=[], max_length=10)
    place: str | None = Field(None, max_length=500)
    task: str | None = Field(None, max_length=2000)
    reported_at: AwareDatetime
    accept_by: AwareDatetime | None = None
    finish_by: AwareDatetime | None = None


class OrderStanding(BaseModel):
    """How an order stands at the desk."""

    ticket: str = Field(min_length=1, max_length=200)
    state: str


class OrdersFound(BaseModel):
    """Answer of a search."""

    items: list[OrderStanding]


class PhotoNote(BaseModel):
    """A photo that can be fetched: `GET /api/v1/photos/<id>?offset=&length=`."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    media_type: MediaType
    size: int = Field(gt=0, le=MOST_PHOTO)
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class DeskEvent(BaseModel):
    """A callback: what a manager did with an order. `id` is the webhook's id."""

    id: str = Field(min_length=1, max_length=200)
    kind: Literal["accepted", "progress", "resolved", "returned"]
    ticket: str
    key: str
    at: AwareDatetime
    by: str
    note: str | None = None
    photos: list[PhotoNote] = Field(default=[], max_length=MOST_PHOTOS)
