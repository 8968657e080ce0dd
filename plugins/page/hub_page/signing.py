"""Standard Webhooks between desk and hub: one place that signs, one that checks.

Used by the desk's courier and by the adapter.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

_PREFIX = "whsec_"


class SignatureWrong(Exception):
    """The signature is missing, malformed, wrong or too old; the text says which, never the secret."""


def webhook(secret: str) -> Webhook:
    """The signer and verifier of a shared secret: `whsec_<base64>`, or any other text, taken as its UTF-8 bytes.

    Raises ValueError for what starts like the former and isn't.
    """
    if secret.startswith(_PREFIX):
        return Webhook(secret)
    return Webhook(f"{_PREFIX}{base64.b64encode(secret.encode()).decode()}")


def signed_headers(signer: Webhook, id: str, body: bytes, *, now: float) -> dict[str, str]:
    """The three headers of one attempt; `id` stays the same over retries, `now` (Unix seconds) does not."""
    timestamp = int(now)
    signature: str = signer.sign(id, datetime.fromtimestamp(timestamp, UTC), body.decode())
    return {"webhook-id": id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def check_signature(verifiers: Sequence[Webhook], headers: Mapping[str, str], body: bytes) -> str:
    """The webhook's id when the signature holds by one of the secrets in force; raises SignatureWrong."""
    problem = SignatureWrong("no secret is in force")
    for verifier in verifiers:
        try:
            return _checked(verifier, headers, body)
        except SignatureWrong as error:
            problem = error
    raise problem


def _checked(verifier: Webhook, headers: Mapping[str, str], body: bytes) -> str:
    """The library raises ValueError (UnicodeDecodeError and binascii.Error among them) on malformed headers and bodies."""
    try:
        verifier.verify(body, dict(headers), json_parse=False)
    except WebhookVerificationError as error:
        raise SignatureWrong(str(error)) from error
    except (ValueError, binascii.Error) as error:
        raise SignatureWrong("the signature headers or the body are malformed") from error
    return headers["webhook-id"]
