"""The person's personal link and the forms' tokens: made from the desk's own key, compared in constant time. Pure.

Who has the link has the team's page; a new generation makes the old link worthless. A form's token is bound to team, order
and version, so no other site can make one up and an old page can't act on an order that has moved on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac


class Links:
    """Makes and checks tokens with `key`, which never leaves the desk."""

    def __init__(self, key: str) -> None:
        self._key = bytes.fromhex(key)

    def path(self, team: str, generation: int) -> str:
        """The path of a team's page: `/p/<team>/<token>`."""
        return f"/p/{team}/{self._token('link', team, str(generation))}"

    def opens(self, token: str, team: str, generation: int) -> bool:
        """Whether `token` is that of the team's present link."""
        return _same(token, self._token("link", team, str(generation)))

    def form(self, team: str, ticket: str, version: int) -> str:
        """What a form on an order's page carries."""
        return f"{version}.{self._token('form', team, ticket, str(version))}"

    def form_version(self, text: str, team: str, ticket: str) -> int | None:
        """The version a form was made for; None when it was not made here for this order."""
        version, _, token = text.partition(".")
        if not (version.isascii() and version.isdigit() and len(version) <= 9):
            return None
        return int(version) if _same(token, self._token("form", team, ticket, version)) else None

    def _token(self, *words: str) -> str:
        digest = hmac.new(self._key, "\0".join(words).encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:24]).decode()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
