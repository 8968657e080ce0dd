"""What a webhook carries: the envelope `{type, timestamp, data}`, an id that stays over retries, and a size that is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

MOST_PAYLOAD: Final = 20_000
"""Bytes. Standard Webhooks 1.0.0, "Payload": keep it below 20 kB."""
_CUT: Final = "……（全文请在指挥中心查看）"
_LEAST_TEXT: Final = 60


class PayloadTooLarge(ValueError):
    """A body is above 20 kB whatever is shortened."""


def event_id(key: str, kind: str) -> str:
    """The message's id: the same for all attempts at one thing; `key` is the delivery key, `kind` what happens to it."""
    return f"{key}.{kind}"


def envelope(kind: str, at: datetime, data: Mapping[str, object]) -> bytes:
    """The default body: type, when it happened (aware), and the data, as compact JSON in UTF-8."""
    body = {"type": kind, "timestamp": at.isoformat(), "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def fitted(data: Mapping[str, object], excess: int, *, field: str = "text") -> dict[str, object]:
    """`data` with `field` shortened by at least `excess` bytes of UTF-8, saying so in it. Raises PayloadTooLarge."""
    text = data.get(field)
    if not isinstance(text, str):
        raise PayloadTooLarge(f"the payload is above {MOST_PAYLOAD} bytes and has no {field} to shorten")
    room = len(text.encode()) - excess - len(_CUT.encode())
    if room < _LEAST_TEXT:
        raise PayloadTooLarge(f"the payload is above {MOST_PAYLOAD} bytes even without its {field}")
    return {**data, field: text.encode()[:room].decode(errors="ignore") + _CUT}
