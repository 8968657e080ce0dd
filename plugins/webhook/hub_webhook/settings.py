"""Settings of one webhook: where to, proved how, what is sent, how answers and callbacks are read."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, SecretStr, field_validator, model_validator

from hub import AdapterSettings, Channel, StandingState
from hub.webhooks import AddressForbidden, AddressGuard, check_secret
from hub_webhook.pointers import Pointer
from hub_webhook.templates import BodyTemplate, BodyWrong

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset(
    {
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "te",
        "upgrade",
        "idempotency-key",
        "traceparent",
    }
)
_MEDIA = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+(; ?charset=utf-8)?")
Pointers = tuple[Pointer, ...]


def _usable(secret: SecretStr) -> SecretStr:
    check_secret(secret.get_secret_value())
    return secret


Secret = Annotated[SecretStr, AfterValidator(_usable)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Events(_Part):
    """Types of the events sent; empty: that event is not sent, and the hub's people are told to call instead."""

    made: str = Field("assignment.made", min_length=1, description="An assignment.")
    recalled: str | None = Field("assignment.recalled", description="An assignment is taken back.")
    urged: str | None = Field("assignment.urged", description="A reminder.")
    informed: str | None = Field("case.informed", description="How a case stands that this system brought in.")


class Bodies(_Part):
    """Templates (Jinja2) of the bodies; empty: `{type, timestamp, data}`."""

    made: str | None = Field(None, description="For an assignment.")
    recalled: str | None = Field(None, description="For taking back; `message` is the reason.")
    urged: str | None = Field(None, description="For a reminder; `message` is its text.")
    informed: str | None = Field(None, description="For how a case stands: case, ref, stage, text, at.")


class Answers(_Part):
    """How the department's answers are read."""

    ticket: Pointers = Field(
        ("/ticket", "/data/ticket"), description="Where its own number is; the first that leads to something."
    )
    ticket_required: bool = Field(False, description="An answer without a number is a fault; else our key stands for it.")
    refused_statuses: frozenset[int] = Field(frozenset({422}), description="Statuses that are a no, not a failure.")
    refused_when: dict[Pointer, frozenset[str]] = Field({}, description="Pointer → values that are a no in an answer of 2xx.")
    reason: Pointers = Field(("/reason", "/message", "/detail"), description="Where the reason of a no is.")

    @field_validator("refused_statuses")
    @classmethod
    def _sensible(cls, value: frozenset[int]) -> frozenset[int]:
        odd = sorted(status for status in value if not 400 <= status < 500 or status in (401, 403, 410, 429))
        if odd:
            raise ValueError(f"{odd[0]} has a meaning of its own; a no is one of 400, 404, 409, 422 …")
        return value


class Callbacks(_Part):
    """How the department's callbacks are read; each field's pointers are tried in turn."""

    secret: Secret | None = Field(None, description="Secret of callbacks; empty: the same as outwards.")
    previous_secret: Secret | None = Field(None, description="The former one while they are rotated.")
    type: Pointers = Field(("/type",), description="What happened; the crosswalk says what it means.")
    id: Pointers = Field((), description="The report's own number; empty: the webhook-id.")
    key: Pointers = Field(("/key", "/data/key"), description="Our key.")
    ticket: Pointers = Field(("/ticket", "/data/ticket"), description="Their number.")
    at: Pointers = Field(("/at", "/data/at", "/timestamp"), description="When: ISO 8601, or seconds since 1970.")
    note: Pointers = Field(("/note", "/data/note"), description="Progress, result or reason.")
    by: Pointers = Field(("/by", "/data/by"), description="Who there: a team, no names.")
    files: Pointers = Field(("/files", "/data/files"), description="List of {name, media_type, content or url, sha256}.")
    ignore: frozenset[str] = Field(frozenset({"ping", "test", "webhook.test"}), description="Types that mean nothing.")
    cases: frozenset[str] = Field(frozenset(), description="Types that bring a case in, e.g. case.reported.")
    channel: Channel = Field(Channel.DEPARTMENT, description="Channel of the cases it brings in.")


class AuditRules(_Part):
    """Where the department lists how all our tickets stand, for the nightly comparison."""

    url: str = Field(description="Asked by GET; {cursor} is filled in, empty at first.")
    items: Pointer = Field("/items", description="The list.")
    next: Pointer = Field("/next", description="The cursor of the next page; nothing there: the last one.")
    ticket: Pointers = Field(("/ticket",), description="In an item: their number.")
    key: Pointers = Field(("/key",), description="In an item: our key.")
    state: Pointers = Field(("/state",), description="In an item: the state.")
    at: Pointers = Field(("/at",), description="In an item: since when, ISO 8601.")
    states: dict[str, StandingState] = Field(
        {state.value: state for state in StandingState},
        description="Their states → filed, accepted, resolved, returned, recalled.",
    )


class CatalogueRules(_Part):
    """Where the department lists its own categories."""

    url: str = Field(description="Asked by GET.")
    items: Pointer = Field("/items", description="The list.")
    code: Pointers = Field(("/code",), description="In an item: the code.")
    name: Pointers = Field(("/name",), description="In an item: the name.")


class WebhookSettings(AdapterSettings):
    """One department's endpoint."""

    url: HttpUrl = Field(description="Where events are sent.")
    secret: Secret = Field(description="`whsec_…`, 24 to 64 bytes in base64.")
    previous_secret: Secret | None = Field(
        None, description="The former one while they are rotated: both sign, both are taken."
    )
    headers: dict[str, SecretStr] = Field({}, description="Further headers, e.g. an API key of a gateway.")
    media_type: str = Field("application/json", description="Content type of the bodies.")
    events: Events = Field(Events(), description="Types of the events.")
    bodies: Bodies = Field(Bodies(), description="Templates of the bodies.")
    answers: Answers = Field(Answers(), description="How answers are read.")
    callbacks: Callbacks = Field(Callbacks(), description="How callbacks are read.")
    lookup_url: str | None = Field(None, description="Asked by GET with {key} filled in; 404 means: not there.")
    health_url: HttpUrl | None = Field(None, description="Asked by GET whether the system is there; empty: HEAD of the url.")
    audit: AuditRules | None = Field(None, description="Where all tickets are listed; empty: no nightly comparison.")
    catalogue: CatalogueRules | None = Field(None, description="Where their categories are listed; empty: not watched.")
    translate_categories: bool = Field(False, description="Send the department's category codes of the crosswalk.")
    private_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Private networks the address may lie in, e.g. 10.20.0.0/16; nothing private else."
    )
    plain_http: bool = Field(False, description="Allow http: only on a network of one's own.")
    zone: str = Field("Asia/Shanghai", description="Zone of times in callbacks that name none.")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no such time zone: {value}") from error
        return value

    @field_validator("media_type")
    @classmethod
    def _media(cls, value: str) -> str:
        if not _MEDIA.fullmatch(value):
            raise ValueError("a content type is expected, e.g. application/json")
        return value

    @field_validator("headers")
    @classmethod
    def _harmless(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, content in value.items():
            if not _HEADER.fullmatch(name) or name.lower() in _OURS or name.lower().startswith("webhook-"):
                raise ValueError(f"{name} can't be set")
            if not content.get_secret_value().isascii() or not content.get_secret_value().isprintable():
                raise ValueError(f"the value of {name} is no header value")
        return value

    @field_validator("lookup_url")
    @classmethod
    def _has_key(cls, value: str | None) -> str | None:
        if value is not None and value.count("{key}") != 1:
            raise ValueError("it has to contain {key} once")
        if value is not None and "{key}" in urlsplit(value).netloc:
            raise ValueError("{key} belongs into the path or the query")
        return value

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        guard = AddressGuard(allowed=self.private_networks, plain_http=self.plain_http)
        given = {name: getattr(self, name) for name in ("url", "lookup_url", "health_url")}
        given |= {f"{part}.url": rules.url for part in ("audit", "catalogue") if (rules := getattr(self, part)) is not None}
        for name, address in given.items():
            try:
                if address is not None:
                    guard.check(str(address).replace("{key}", "x").replace("{cursor}", "x"))
            except AddressForbidden as error:
                raise ValueError(f"{name}: {error}") from None
        return self

    @model_validator(mode="after")
    def _templates(self) -> Self:
        for name in Bodies.model_fields:
            source = getattr(self.bodies, name)
            try:
                if source is not None:
                    BodyTemplate(source, as_json=self.as_json)
            except BodyWrong as error:
                raise ValueError(f"bodies.{name}: {error}") from None
        return self

    @property
    def signing(self) -> list[str]:
        """The secrets events are signed with, the newest first."""
        return [one.get_secret_value() for one in (self.secret, self.previous_secret) if one is not None]

    @property
    def verifying(self) -> list[str]:
        """The secrets callbacks are checked with."""
        own = (self.callbacks.secret, self.callbacks.previous_secret)
        return [one.get_secret_value() for one in own if one is not None] or self.signing

    @property
    def as_json(self) -> bool:
        """Whether bodies have to be JSON."""
        return self.media_type.partition(";")[0].endswith(("/json", "+json"))
