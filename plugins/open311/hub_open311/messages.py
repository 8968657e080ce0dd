"""GeoReport v2 answers in JSON and XML, read strictly into values; errors in the server's own words. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import httpx
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from hub import AdapterFault

T = TypeVar("T", bound="_Item")
_XML_ERRORS = (ElementTree.ParseError, DefusedXmlException)


class _Item(BaseModel):
    """One item of a list; numbers count as text, empty texts as missing, unknown fields are kept out."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value


class Filed(_Item):
    """What a server says of a new request: its number, or a token to ask for it."""

    service_request_id: str | None = None
    token: str | None = None


class Request(_Item):
    """How a request stands."""

    service_request_id: str = Field(min_length=1)
    status: str
    status_notes: str | None = None
    description: str | None = None
    updated_datetime: AwareDatetime | None = None


class Update(_Item):
    """What happened to a request (FixMyStreet's extension)."""

    update_id: str = Field(min_length=1)
    service_request_id: str = Field(min_length=1)
    status: str
    updated_datetime: AwareDatetime
    description: str | None = None


class Service(_Item):
    """A service a server offers."""

    service_code: str = Field(min_length=1)
    service_name: str | None = None


def items(answer: httpx.Response) -> list[Mapping[str, object]]:
    """The items of a list answer, as JSON or XML whatever was asked for; raises AdapterFault for anything else."""
    if "json" in answer.headers.get("content-type", "") or answer.content.lstrip()[:1] in (b"[", b"{"):
        return _from_json(answer)
    try:
        root = ElementTree.fromstring(answer.content)
    except _XML_ERRORS as problem:
        raise AdapterFault(f"the server's answer is neither JSON nor XML ({type(problem).__name__})") from problem
    return [{child.tag: child.text for child in item} for item in root]


def _from_json(answer: httpx.Response) -> list[Mapping[str, object]]:
    try:
        body = json.loads(answer.content)
    except ValueError as problem:
        raise AdapterFault("the server's answer is no JSON") from problem
    if isinstance(body, dict) and len(body) == 1:  # some servers keep the root that the Spark convention drops
        body = next(iter(body.values()))
    if isinstance(body, dict):
        body = [body]
    if not isinstance(body, list) or not all(isinstance(item, dict) for item in body):
        raise AdapterFault("the server's answer is no list")
    return body


def read(kind: type[T], answer: httpx.Response) -> list[T]:
    """The items as `kind`; raises AdapterFault when they are something else. Says where it is wrong, never the values."""
    if answer.status_code not in (200, 201):
        raise AdapterFault(f"the server answered {answer.status_code}")
    try:
        return [kind.model_validate(item) for item in items(answer)]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "item"
        raise AdapterFault(f"the server's answer can't be read: {where}: {first['type']}") from error


def reasons(answer: httpx.Response) -> Sequence[str]:
    """The descriptions of a server's errors; empty when it gave none."""
    try:
        found = items(answer)
    except AdapterFault:
        return ()
    return [str(item["description"])[:300] for item in found if item.get("description")]


def w3(at: datetime) -> str:
    """A time as the specification wants it."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


__all__ = ["Filed", "Request", "Service", "Update", "items", "read", "reasons", "w3"]
