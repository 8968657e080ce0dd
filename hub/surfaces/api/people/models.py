"""Answers about tokens and keys; a secret is shown once."""

from __future__ import annotations

from datetime import datetime

from hub.surfaces.api.models import Answer


class TokenAnswer(Answer, frozen=True, kw_only=True):
    """A token without its secret. `scopes`: null for all its role may; `last_used_at`: to the hour; `issued_by`: another token's id."""

    id: str
    name: str
    role: str
    area: str
    issued_at: datetime
    unit: str | None = None
    scopes: list[str] | None = None
    expires_at: datetime | None = None
    issued_by: str | None = None
    last_used_at: datetime | None = None


class IssuedToken(TokenAnswer, frozen=True, kw_only=True):
    """A new token; `token` is shown only this once."""

    token: str


class TokenList(Answer, frozen=True, kw_only=True):
    """Tokens, oldest first."""

    items: list[TokenAnswer]
