"""What GeoReport v2 (wiki.open311.org/GeoReport_v2) promises of its answers, as types: reading an answer by them refuses any other.

Strict where the specification leaves room: a field it does not name is refused, an identifier is not empty, a place lies on the earth.
What it does not require may be null.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T")

Id = Annotated[str, Meta(min_length=1)]
Time = Annotated[datetime, Meta(tz=True)]
"""With its offset, as the W3C note has it."""
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Url = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+([/?#]\S*)?$")]

LISTS = ("singlevaluelist", "multivaluelist")


class Service(Struct, forbid_unknown_fields=True):
    """A kind of request that is taken. `type`: whether its number is there at once, later for a token, or never."""

    service_code: Id
    service_name: Id
    type: Literal["realtime", "batch", "blackbox"]
    metadata: bool
    description: str | None = None
    keywords: str | None = None
    group: str | None = None


class Choice(Struct, forbid_unknown_fields=True):
    """One value of a list to choose from."""

    key: Id
    name: str


class Question(Struct, forbid_unknown_fields=True):
    """What is asked of the reporter beside the usual; with `variable` false it is only shown."""

    variable: bool
    code: Id
    datatype: Literal["string", "number", "datetime", "text", "singlevaluelist", "multivaluelist"]
    required: bool
    order: int | None = None
    description: str | None = None
    datatype_description: str | None = None
    values: list[Choice] | None = None

    def __post_init__(self) -> None:
        if bool(self.values) != (self.datatype in LISTS):
            raise ValueError("there is something to choose from in a list and nowhere else")


class Definition(Struct, forbid_unknown_fields=True):
    """What a service asks."""

    service_code: Id
    attributes: list[Question]


class Request(Struct, forbid_unknown_fields=True):
    """A request and how it stands."""

    service_request_id: Id
    status: Literal["open", "closed"]
    service_code: str
    requested_datetime: Time
    updated_datetime: Time | None = None
    expected_datetime: Time | None = None
    status_notes: str | None = None
    service_name: str | None = None
    description: str | None = None
    agency_responsible: str | None = None
    service_notice: str | None = None
    address: str | None = None
    address_id: str | None = None
    zipcode: str | None = None
    lat: Latitude | None = None
    long: Longitude | None = None
    media_url: Url | None = None


class Filed(Struct, forbid_unknown_fields=True):
    """The answer to a report: its number, or a token to ask for it with."""

    service_request_id: Id | None = None
    token: Id | None = None
    service_notice: str | None = None
    account_id: str | None = None

    def __post_init__(self) -> None:
        if (self.service_request_id is None) == (self.token is None):
            raise ValueError("either a number or a token")


class Numbered(Struct, forbid_unknown_fields=True):
    """Which number a token stands for."""

    service_request_id: Id
    token: Id


def read(kind: type[T], answer: bytes) -> T:
    """An answer as JSON by the specification. Raises msgspec.ValidationError naming the field."""
    return msgspec.json.decode(answer, type=kind)


def deviations() -> list[tuple[Any, object]]:
    """Answers that are not the specification's: (kind, answer)."""
    service = {"service_code": "1", "service_name": "a", "type": "realtime", "metadata": False}
    question = {"variable": True, "code": "1", "datatype": "text", "required": False}
    request = {
        "service_request_id": "1",
        "status": "open",
        "service_code": "1",
        "requested_datetime": "2026-03-02T10:00:00+08:00",
    }
    return [
        (Service, service | {"type": "immediate"}),
        (Service, service | {"metadata": "false"}),
        (Service, service | {"colour": "red"}),
        (Service, service | {"service_code": 1}),
        (Service, {name: value for name, value in service.items() if name != "service_name"}),
        (Definition, {"service_code": "1"}),
        (Definition, {"service_code": "1", "attributes": [question | {"datatype": "colour"}]}),
        (Definition, {"service_code": "1", "attributes": [question | {"required": "true"}]}),
        (Definition, {"service_code": "1", "attributes": [question | {"datatype": "singlevaluelist"}]}),
        (Definition, {"service_code": "1", "attributes": [question | {"values": [{"key": "a", "name": "b"}]}]}),
        (Request, request | {"status": "done"}),
        (Request, request | {"status": None}),
        (Request, request | {"service_request_id": ""}),
        (Request, request | {"requested_datetime": "2026-03-02T10:00:00"}),
        (Request, request | {"requested_datetime": None}),
        (Request, request | {"updated_datetime": "yesterday"}),
        (Request, request | {"lat": "32.1"}),
        (Request, request | {"lat": 132.1}),
        (Request, request | {"long": 181}),
        (Request, request | {"media_url": "1.jpg"}),
        (Request, request | {"zipcode": 210000}),
        (Filed, {"service_notice": "thanks"}),
        (Filed, {"service_request_id": "1", "token": "1"}),
        (Numbered, {"token": "1"}),
    ]
