"""Signs and checks webhooks exactly as Standard Webhooks 1.0.0 says, with one secret or two while they are rotated.

The HMAC is the `standardwebhooks` library's. The checks around it are ours: the library takes no clock, no second secret, accepts
fractions of seconds (which it then does not sign) and answers malformed headers with ValueError instead of a refusal.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from standardwebhooks import Webhook

PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24
MOST_BYTES: Final = 64
"""Length of a secret, specification 1.0.0, "Signature scheme": between 24 and 64 bytes."""
TOLERANCE: Final = timedelta(minutes=5)
"""How far a time stamp may be off, either way."""
ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
MOST_SIGNATURES: Final = 16
"""Signatures of one message that are looked at; a sender has two while it rotates."""
_MOST_ID: Final = 256
_VERSION: Final = "v1"


class SecretUnusable(ValueError):
    """A secret is not `whsec_` and base64 of 24 to 64 bytes; the text never holds it."""


class SignatureRejected(Exception):
    """A message is not proved to come from who has the secret (HTTP 401); `reason` is fit for the answer and the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def new_secret() -> str:
    """A fresh secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_secret(secret: str) -> str:
    """The secret itself when it is one; raises SecretUnusable."""
    if not secret.startswith(PREFIX):
        raise SecretUnusable(f"a webhook secret starts with {PREFIX}")
    coded = secret.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SecretUnusable(f"what follows {PREFIX} is not base64") from None
    if not LEAST_BYTES <= len(raw) <= MOST_BYTES:
        raise SecretUnusable(f"a webhook secret has {LEAST_BYTES} to {MOST_BYTES} bytes, this one {len(raw)}")
    return secret


class Signer:
    """Signs with every one of its secrets, so that a receiver who knows the old or the new one is content."""

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise SecretUnusable("at least one webhook secret is needed")
        self._keys = [Webhook(check_secret(secret)) for secret in secrets]

    def headers(self, id: str, body: bytes, *, now: float) -> dict[str, str]:
        """The three headers of one attempt: `id` is the same over retries, `now` (Unix seconds) is that of the attempt.

        Raises ValueError when the body is not UTF-8 or the id is not 1 to 256 visible ASCII characters.
        """
        if not _is_id(id):
            raise ValueError("a webhook id is 1 to 256 visible ASCII characters")
        timestamp = int(now)
        text = body.decode()
        signatures = [_sign(key, id, timestamp, text) for key in self._keys]
        return {ID: id, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}


class Verifier:
    """Checks messages against one secret or, while they are rotated, against each of several."""

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise SecretUnusable("at least one webhook secret is needed")
        self._keys = [Webhook(check_secret(secret)) for secret in secrets]

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: float) -> str:
        """The message's id; the same id again means the same message. `headers` have lower-case names.

        Raises SignatureRejected.
        """
        id, stamp, given = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
        if not (id and stamp and given):
            raise SignatureRejected(f"{ID}, {TIMESTAMP} and {SIGNATURE} are needed")
        if not _is_id(id):
            raise SignatureRejected(f"{ID} is malformed")
        timestamp = _seconds(stamp)
        if timestamp < now - TOLERANCE.total_seconds():
            raise SignatureRejected(f"{TIMESTAMP} is too old")
        if timestamp > now + TOLERANCE.total_seconds():
            raise SignatureRejected(f"{TIMESTAMP} is too far ahead")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise SignatureRejected("the body is not UTF-8") from None
        candidates = _signatures(given)
        expected = [_sign(key, id, timestamp, text).partition(",")[2].encode() for key in self._keys]
        # Every pair is compared, so that the time taken does not tell which secret or which signature was nearly right.
        matches = [hmac.compare_digest(own, candidate) for own in expected for candidate in candidates]
        if not any(matches):
            raise SignatureRejected("no signature matches")
        return id


def _sign(key: Webhook, id: str, timestamp: int, text: str) -> str:
    signature: str = key.sign(id, datetime.fromtimestamp(timestamp, UTC), text)
    return signature


def _is_id(id: str) -> bool:
    return 0 < len(id) <= _MOST_ID and id.isascii() and id.isprintable() and " " not in id


def _seconds(stamp: str) -> int:
    """Integer seconds as the specification says; what is signed is exactly what was sent."""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 11 and (stamp == "0" or stamp[0] != "0")):
        raise SignatureRejected(f"{TIMESTAMP} is not in whole seconds")
    return int(stamp)


def _signatures(given: str) -> list[bytes]:
    """The symmetric signatures of a header, re-encoded canonically; other versions are passed over. Raises SignatureRejected."""
    entries = given.split(" ")
    if len(entries) > MOST_SIGNATURES:
        raise SignatureRejected(f"{SIGNATURE} has more than {MOST_SIGNATURES} signatures")
    found: list[bytes] = []
    for entry in entries:
        version, comma, coded = entry.partition(",")
        if not comma:
            raise SignatureRejected(f"{SIGNATURE} is malformed")
        if version != _VERSION:
            continue
        try:
            found.append(base64.b64encode(base64.b64decode(coded, validate=True)))
        except (binascii.Error, ValueError):
            raise SignatureRejected(f"{SIGNATURE} is malformed") from None
    if not found:
        raise SignatureRejected(f"{SIGNATURE} has no {_VERSION} signature")
    return found
