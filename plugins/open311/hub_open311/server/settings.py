"""What is set as `routes.open311`: who may report and read, which services there are and what each asks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hub import MountSettings


class Choice(BaseModel):
    """One choice of a list attribute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    name: str


class Question(BaseModel):
    """One question of a service definition (GeoReport v2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str = Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")
    description: str
    datatype: Literal["string", "number", "datetime", "text", "singlevaluelist", "multivaluelist"] = "string"
    required: bool = False
    variable: bool = True
    datatype_description: str = ""
    values: tuple[Choice, ...] = ()


class ServerSettings(MountSettings):
    """The Open311 GeoReport v2 server at /open311."""

    jurisdiction_id: str | None = Field(
        None, description="Name of the jurisdiction besides the district's code, e.g. `city.gov`."
    )
    anonymous: bool = Field(
        False, description="Take reports without an api_key, at most `anonymous_per_minute` from an address."
    )
    anonymous_per_minute: int = Field(5, ge=1, description="Reports without an api_key that one address may send in a minute.")
    publish: Literal["open311", "all"] = Field(
        "open311", description="Which cases anybody may read: those that came by Open311, or all that are not `sensitive`."
    )
    sensitive: tuple[str, ...] = Field(
        ("H",),
        description="Beginnings of category codes whose cases are not listed and never show text or place without a key.",
    )
    services: tuple[str, ...] = Field((), description="Beginnings of category codes that are offered; empty: all.")
    contact: str = Field("", description="Discovery: how to reach who runs this; empty: the district's name.")
    key_service: str = Field("", description="Discovery: how to get an api_key; empty: ask the contact.")
    attributes: dict[str, tuple[Question, ...]] = Field(
        {}, description="Questions by beginning of category code (`*`: every service) instead of the built-in ones."
    )
