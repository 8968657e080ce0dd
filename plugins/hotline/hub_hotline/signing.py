"""How the hotline's system and the hub prove to each other who speaks: HMAC-SHA256 with a time stamp. Pure.

Requests to the hotline sign method, target, time, nonce and body; its callbacks sign event id, time and body. A signature
older or newer than the window is worthless; a repetition inside it is harmless, since every event has an id.
"""

from __future__ import annotations

import hashlib
import hmac

WINDOW = 300
"""Seconds a time stamp may be off, either way."""

TIMESTAMP = "x-hotline-timestamp"
NONCE = "x-hotline-nonce"
EVENT = "x-hotline-event"
SIGNATURE = "x-hotline-signature"


def request_signature(secret: str, method: str, target: str, timestamp: int, nonce: str, body: bytes) -> str:
    """Signature of a request; `target` is path and query as sent."""
    text = "\n".join((method, target, str(timestamp), nonce, hashlib.sha256(body).hexdigest()))
    return _hmac(secret, text.encode())


def callback_signature(secret: str, event: str, timestamp: int, body: bytes) -> str:
    """Signature of a callback."""
    return _hmac(secret, f"{timestamp}.{event}.".encode() + body)


def matches(expected: str, given: str) -> bool:
    """Compare in constant time, whatever characters were sent."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))


def fresh(timestamp: str, now: float) -> bool:
    """Whether a time stamp (Unix seconds, as sent) is inside the window."""
    return timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 13 and abs(int(timestamp) - now) <= WINDOW


def _hmac(secret: str, message: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
