"""Answers of the routes for keys of adapters that run elsewhere."""

from __future__ import annotations

from datetime import datetime

from hub.platform.remote.credentials_file import CredentialsFile
from hub.surfaces.api.models import Answer


class CredentialsAnswer(Answer, frozen=True, kw_only=True):
    """A key: who may connect, never the secret half."""

    adapter: str
    user: str
    issued_at: datetime
    issued_by: str
    note: str


class CredentialsList(Answer, frozen=True, kw_only=True):
    """The keys of an instance, and their lines for the configuration of an operator's own server (empty: none needed)."""

    items: list[CredentialsAnswer]
    server_configuration: str


class IssuedCredentials(Answer, frozen=True, kw_only=True):
    """The credentials file, this once, and its lines for the configuration of an operator's own server (empty: none)."""

    file: CredentialsFile
    server_configuration: str


class RevokedCredentials(Answer, frozen=True, kw_only=True):
    """How many keys ended; with a server of one's own its configuration has to follow."""

    revoked: int
    server_configuration: str
