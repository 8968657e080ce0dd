"""What a webhook carries: the envelope `{type, timestamp, data}`, an id that stays over retries, and a size that is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

MOST_PAYLOAD: Final = 20_000
"""Bytes. Standard Webhooks 1.0.0, "Payload": keep it below 20 kB."""
_CUT: Final = "……（全文请在指挥中心查看）"


class PayloadTooLarge(ValueError):
    """A body is above 20 kB whatever is shortened."""


def event_id(key: str, kind: str) -> str:
    """The message's id: the same for all attempts at one thing; `key` is the delivery key, `kind` what happens to it."""
    return f"{key}.{kind}"


def envelope(kind: str, at: datetime, data: Mapping[str, object]) -> bytes:
    """The default body: type, when it happened (aware), and the data, as compact JSON in UTF-8."""
    body = {"type": kind, "timestamp": at.isoformat(), "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def fitted(render: Callable[[Mapping[str, object]], bytes], data: Mapping[str, object], *, field: str = "text") -> bytes:
    """The body that `render` makes of `data`; above 20 kB, of `data` with as little as possible cut off `field`, which says so.

    Raises PayloadTooLarge.
    """
    body = render(data)
    if len(body) <= MOST_PAYLOAD:
        return body
    text = data.get(field)
    fits: bytes | None = None
    if isinstance(text, str):
        least, most = 0, len(text)  # the body grows with what is kept, however often a template repeats it
        while least <= most:
            kept = (least + most) // 2
            body = render({**data, field: text[:kept] + _CUT})
            if len(body) <= MOST_PAYLOAD:
                fits, least = body, kept + 1
            else:
                most = kept - 1
    if fits is None:
        raise PayloadTooLarge(f"the payload is above {MOST_PAYLOAD} bytes whatever is cut off its {field}")
    return fits
