"""The numbers by which a mail is known: Message-ID, ticket, and the tag in the subject; made from the delivery key alone. Pure.

`Numbers` is keyed: without the key kept in the adapter's store nobody makes up a Message-ID that counts as ours, so a forged
bounce gives no case back. The ticket is what people say on the telephone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

_KEY = re.compile(r"\d{15}-[0-9a-hjkmnp-tv-z]{10,26}\.a\d{1,4}")
_IN_SUBJECT = re.compile(r"(?<![0-9A-Za-z])(\d{15}-[0-9a-hjkmnp-tv-z]{10,26}\.a\d{1,4})(?![0-9A-Za-z])")
_TICKET = re.compile(r"(?<![0-9A-Za-z])(YJ[0-9A-HJKMNP-TV-Z]{12})(?![0-9A-Za-z])", re.IGNORECASE)
_ID = re.compile(r"<(\d{15}-[0-9a-hjkmnp-tv-z]{10,26}\.a\d{1,4})\.([a-z]+(?:-[0-9a-f]{8})?)\.([0-9a-f]{16})@[^<>@\s]{1,255}>")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def is_key(text: str) -> bool:
    """Whether it has the form of a delivery key; nothing else may get into a header."""
    return _KEY.fullmatch(text) is not None


def ticket_of(key: str) -> str:
    """The department's number for a key: YJ and 12 characters (60 bits of its SHA-256)."""
    bits = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 4
    digits = []
    for _ in range(12):
        bits, digit = divmod(bits, 32)
        digits.append(_CROCKFORD[digit])
    return "YJ" + "".join(reversed(digits))


class Numbers:
    """Makes and knows again the Message-IDs of one instance."""

    def __init__(self, secret: bytes, domain: str) -> None:
        self._secret = secret
        self._domain = domain

    def message_id(self, key: str, verb: str, detail: str = "") -> str:
        """The Message-ID of a mail about `key`; the same for the same key, verb and detail. Raises ValueError for a made-up key."""
        if not is_key(key):
            raise ValueError(f"not a delivery key: {key!r}")
        what = f"{verb}-{hashlib.sha256(detail.encode()).hexdigest()[:8]}" if detail else verb
        return f"<{key}.{what}.{self._mark(key, what)}@{self._domain}>"

    def key_of_reference(self, references: Iterable[str], *, genuine: bool = False) -> str | None:
        """The key in the first Message-ID of ours among `references`; with `genuine` only one that carries our mark."""
        for text in references:
            for key, what, mark in _ID.findall(text):
                if not genuine or hmac.compare_digest(mark, self._mark(key, what)):
                    return str(key)
        return None

    def own(self, message_id: str) -> tuple[str, str] | None:
        """Key and verb of a Message-ID we made, None for any other."""
        found = _ID.search(message_id)
        if found is None or not hmac.compare_digest(found[3], self._mark(found[1], found[2])):
            return None
        return found[1], found[2].partition("-")[0]

    def _mark(self, key: str, what: str) -> str:
        return hmac.new(self._secret, f"{key}.{what}".encode(), hashlib.sha256).hexdigest()[:16]


def key_in_subject(subject: str) -> str | None:
    """The delivery key in a subject, or None."""
    found = _IN_SUBJECT.search(subject)
    return found[1] if found else None


def ticket_in_subject(subject: str) -> str | None:
    """The ticket number in a subject, or None."""
    found = _TICKET.search(subject)
    return found[1].upper() if found else None
