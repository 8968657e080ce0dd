"""Standard Webhooks (standardwebhooks.com, specification 1.0.0): what the hub and its plugins need to send and take webhooks.

signing: headers, secrets, rotation, verification; schedule: the published delays; messages: the envelope and its size;
addresses: which addresses may be called. Pure but for the resolver of `addresses`. Beside `hub` and `hub.testing` the one module plugins
may import.
"""

from hub.platform.adapters.outbound import parse_retry_after
from hub.webhooks.addresses import AddressForbidden, AddressGuard, NameUnknown, Target, forbidden
from hub.webhooks.messages import MOST_PAYLOAD, PayloadTooLarge, envelope, event_id, fitted
from hub.webhooks.schedule import ATTEMPTS, RETRY_DELAYS, SCHEDULE
from hub.webhooks.signing import (
    TOLERANCE,
    SecretUnusable,
    SignatureRejected,
    Signer,
    Verifier,
    check_secret,
    new_secret,
)

__all__ = [
    "ATTEMPTS",
    "MOST_PAYLOAD",
    "RETRY_DELAYS",
    "SCHEDULE",
    "TOLERANCE",
    "AddressForbidden",
    "AddressGuard",
    "NameUnknown",
    "PayloadTooLarge",
    "SecretUnusable",
    "SignatureRejected",
    "Signer",
    "Target",
    "Verifier",
    "check_secret",
    "envelope",
    "event_id",
    "fitted",
    "forbidden",
    "new_secret",
    "parse_retry_after",
]
