"""The protocol between the hub and adapters that run elsewhere: CloudEvents 1.0 in structured JSON. Pure.

Owns the codec; the data is `messages`'. Decoding is strict: an error names the field. Both sides of the hub's own use it,
and a department's program in any language can (docs/protocol/).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hub.contract.values import Moment
from hub.errors import InvalidInput
from hub.platform.remote.messages import ANSWERS, ORDERS, VERSION

MEDIA_TYPE = "application/cloudevents+json"
PREFIX = "city-hub"
MOST_BYTES = 15 * 1024 * 1024
"""Most bytes of one message."""


class Event(Struct, frozen=True, kw_only=True):
    """A CloudEvent with its data read."""

    id: str
    kind: str
    source: str
    data: Any
    time: datetime | None = None
    traceparent: str | None = None


class _Envelope(Struct, frozen=True, kw_only=True):
    specversion: Annotated[str, Meta(pattern=r"^1\.0$")]
    id: Annotated[str, Meta(min_length=1, max_length=500)]
    source: Annotated[str, Meta(min_length=1, max_length=500)]
    type: Annotated[str, Meta(max_length=100)]
    data: msgspec.Raw
    time: Moment | UnsetType = UNSET
    datacontenttype: Annotated[str, Meta(pattern="^application/json")] | UnsetType = UNSET
    dataschema: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    traceparent: Annotated[str, Meta(pattern="^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")] | UnsetType = UNSET


_FIELD = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def type_of(family: str, kind: str) -> str:
    """The type of an event: `city-hub.order.deliver.v1`."""
    return f"{PREFIX}.{family}.{kind}.v{VERSION}"


def encode(
    family: str,
    kind: str,
    data: Struct,
    *,
    id: str,
    source: str,
    at: datetime,
    subject: str | None = None,
    traceparent: str | None = None,
) -> bytes:
    """An event as CloudEvents JSON."""
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": type_of(family, kind),
        "time": at,
        "datacontenttype": "application/json",
    }
    if subject:
        event["subject"] = subject
    if traceparent:
        event["traceparent"] = traceparent
    return msgspec.json.encode({**event, "data": data})


def decode_order(raw: bytes) -> Event:
    """An order; raises InvalidInput naming the field."""
    return _decode(raw, "order", {kind.value: model for kind, model in ORDERS.items()})


def decode_answer(raw: bytes, kind: str) -> Event:
    """An answer on `answer.<adapter>.<kind>`. Raises InvalidInput naming the field."""
    event = _decode(raw, "answer", {name.value: model for name, model in ANSWERS.items()})
    if event.kind != kind:
        raise InvalidInput(f"type: {event.kind} came on the subject of {kind}", subject="type")
    return event


def _decode(raw: bytes, family: str, models: Mapping[str, type[Struct]]) -> Event:
    if len(raw) > MOST_BYTES:
        raise InvalidInput(f"{len(raw)} bytes, at most {MOST_BYTES} are taken", subject="")
    envelope = read(raw, _Envelope)
    match = re.fullmatch(rf"{PREFIX}\.{family}\.([a-z]+)\.v(\d+)", envelope.type)
    model = models.get(match[1]) if match else None
    if match is None or model is None:
        raise InvalidInput(f"type: {envelope.type[:100]} is no {family} of this protocol", subject="type")
    if int(match[2]) != VERSION:
        raise InvalidInput(f"type: version {match[2]} is spoken, {VERSION} is understood", subject="type")
    return Event(
        id=envelope.id,
        kind=match[1],
        source=envelope.source,
        data=read(bytes(envelope.data), model, within="data"),
        time=envelope.time if envelope.time is not UNSET else None,
        traceparent=envelope.traceparent if envelope.traceparent is not UNSET else None,
    )


def read(raw: bytes, model: type[Any], *, within: str = "") -> Any:
    """A message read strictly; raises InvalidInput naming the field."""
    try:
        return msgspec.json.decode(raw, type=model)
    except msgspec.ValidationError as problem:
        text = str(problem)
        found = _FIELD.search(text)
        field = ".".join(part for part in (within, found["path"] if found else "") if part)
        raise InvalidInput(f"{field or 'message'}: {_FIELD.sub('', text)}", subject=field) from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidInput(f"{within or 'message'}: not JSON ({problem})", subject=within) from problem
