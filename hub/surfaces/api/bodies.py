"""Request bodies: msgspec reads them strictly; the OpenAPI document describes them from the same structs.

A command's body is its struct without the fields that only the hub sets. Unknown fields are refused, texts limited in length and masked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_type_hints

import msgspec
from fastapi import Depends, Request

from hub.model.aggregate import Command
from hub.model.case.state import Channel, Severity
from hub.model.forms import AreaRef
from hub.model.positions import Position
from hub.model.texts import Moment, Prose, Word, filled_in, one_of
from hub.surfaces.api.problems import Failure, FieldError

T = TypeVar("T")


Example = Mapping[str, object]
"""A body as it stands in the document."""
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Between them lies every time a body may name: limits are reckoned from it and zones applied without leaving the calendar."""

_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all bodies. `example` stands in the document."""

    example: ClassVar[Example] = {}


class ContactBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reporter. Kept encrypted; only people who handle the case see it."""

    name: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    phone: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    address: Annotated[str, msgspec.Meta(max_length=300)] | None = None


class PositionBody(Position, frozen=True, gc=False, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Where the matter is, as it was measured; `system` says in which system. In a plane of the district: metres east and north."""


class ReportBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report. `area` (code) wins over `place_name`, that over `position`. Without any the hub looks for a place in the text."""

    example: ClassVar[Example] = {
        "title": "下水道堵塞",
        "text": "3栋楼下污水外溢两天了，气味很大。",
        "channel": "resident",
        "area": "320113",
        "place": "幸福家园3栋",
        "position": {"longitude": 118.9123, "latitude": 32.1031, "system": "gcj02", "accuracy_m": 15, "how": "device"},
        "contact": {"name": "张三", "phone": "13800001234"},
    }

    title: Annotated[str, msgspec.Meta(max_length=200)] = ""
    text: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    channel: Channel = Channel.RESIDENT
    reported_at: Moment | None = None
    area: AreaRef | None = None
    place_name: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    place: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    position: PositionBody | None = None
    category: Word | None = None
    severity: Severity | None = None
    contact: ContactBody | None = None
    covers: Annotated[tuple[AreaRef, ...], msgspec.Meta(max_length=200)] = ()
    covers_until: Moment | None = None


class ReasonBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    example: ClassVar[Example] = {"reason": "对方系统升级"}

    reason: Prose


class TokenBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made. `area`: the code it sees at and below (default: the district); `unit`: who acts with it."""

    example: ClassVar[Example] = {"name": "尧化街道 李", "role": "clerk", "area": "320113001", "unit": "320113001"}

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"\S")]
    role: str
    area: AreaRef | None = None
    unit: Word | None = None
    scopes: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1, max_length=20)] | None = None
    expires_at: Moment | None = None


class KeyBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A department's key to be made. `unit`: only an administrator says it; `expires_at`: not later than the own token's."""

    example: ClassVar[Example] = {"name": "工单系统只读", "scopes": ["cases:read", "deliveries:read"]}

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"\S")]
    scopes: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1, max_length=20)]
    expires_at: Moment | None = None
    unit: Word | None = None


class ResendBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why to send it again. `again`: also a delivery that the department's system has already, under the same key."""

    example: ClassVar[Example] = {"reason": "我方系统已恢复，请重新推送"}

    reason: Prose
    again: bool = False


class ExplainBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A matter to be routed without opening a case."""

    example: ClassVar[Example] = {"text": "楼下烧烤店深夜噪声扰民", "area": "320113", "channel": Channel.HOTLINE.value}

    text: Annotated[str, msgspec.Meta(max_length=20_000)]
    title: Annotated[str, msgspec.Meta(max_length=200)] = ""
    area: AreaRef | None = None
    channel: Channel = Channel.RESIDENT
    category: Word | None = None
    severity: Severity | None = None
    at: Moment | None = None


class PolicyBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy to be published: the text of every file by its name."""

    example: ClassVar[Example] = {"sources": {"routing.yaml": "…"}}

    sources: Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=50)]


def body_of(command: type[Command]) -> type[msgspec.Struct]:
    """The strict form of a command's body: its own fields without what only the hub says."""
    hints = get_type_hints(command, include_extras=True)
    fields = [
        (field.name, hints[field.name]) if field.required else (field.name, hints[field.name], field.default)
        for field in filled_in(command)
    ]
    return msgspec.defstruct(
        f"{command.__name__}Body",
        fields,
        namespace={"__doc__": command.__doc__},
        module=__name__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


def command_from(command: type[Command], body: msgspec.Struct) -> Command:
    """The command a body asks for; the desk masks what people wrote."""
    return command(**msgspec.structs.asdict(body))


class Reads(Generic[T]):
    """The dependency that reads a request's body into a struct. `read_body` names its refusals."""

    def __init__(self, kind: type[T], example: Mapping[str, object], *, optional: bool) -> None:
        self.kind = kind
        self.example = example
        self.optional = optional

    async def __call__(self, request: Request) -> T:
        """The body."""
        return await read_body(request, self.kind, optional=self.optional)


def reads(kind: type[Any], example: Mapping[str, object] | None = None, *, optional: bool = False) -> Any:
    """Marks a parameter as the request's body: `Annotated[ReasonBody, reads(ReasonBody)]`; the example is its own unless given."""
    return Depends(Reads(kind, kind.example if example is None else example, optional=optional))


async def read_body(request: Request, kind: type[T], *, optional: bool = False) -> T:
    """The request's JSON body; an empty one stands for `{}` when `optional`.

    Raises Failure: 415 for another content type, 400 when it is no JSON, 422 naming the field.
    """
    raw = await request.body()
    if not raw and optional:
        raw = b"{}"
    else:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json":
            raise Failure(415, "unsupported_media_type", "Send application/json.")
    return decode(raw, kind)


def decode(raw: bytes, kind: type[T]) -> T:
    """Read JSON into a struct; raises Failure 400 or 422."""
    try:
        body = msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as problem:
        text = str(problem)
        found = _PATH.search(text)
        message = text[: found.start()] if found else text
        field = found["path"] if found else ""
        message += one_of(kind, field)
        named = re.search(r"field `([^`]+)`", message)
        if named is not None:
            field = f"{field}.{named[1]}" if field else named[1]
        raise Failure(422, "invalid_input", text, errors=(FieldError(field=field or "body", message=message),)) from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise Failure(400, "malformed", "The body is no JSON in UTF-8.") from problem
    if isinstance(body, msgspec.Struct):
        for name in body.__struct_fields__:
            value = getattr(body, name)
            if isinstance(value, datetime) and not EARLIEST <= value < LATEST:
                message = f"a time from {EARLIEST.year} to {LATEST.year - 1}"
                raise Failure(422, "invalid_input", f"{name}: {message}", errors=(FieldError(field=name, message=message),))
    return body
