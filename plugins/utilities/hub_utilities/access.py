"""Access to the platform: OAuth2 tokens (RFC 6749, client credentials) and its request budget (RateLimit headers).

Holds no secrets beyond what it is given; tokens live in memory only and are fetched again after a restart.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta

import httpx
from pydantic import BaseModel, Field, SecretStr, ValidationError

from hub import AdapterFault, CredentialsRejected, OutcomeUnknown, Unavailable

_MARGIN = 30.0
_MARGIN_SHARE = 0.2
_LONGEST_WAIT = 1.0
_PARAMETER = re.compile(r";\s*(r|t)=(\d{1,9})")


class _Granted(BaseModel):
    access_token: str = Field(min_length=1)
    token_type: str
    expires_in: float = Field(3600.0, gt=0)


class TokenSource:
    """Gives a token that is still good for a while; fetches one at a time, however many ask.

    A token is renewed when 30 s, or a fifth of its life if that is less, are left. `clock` counts seconds.
    """

    def __init__(
        self, http: httpx.AsyncClient, *, url: str, client_id: str, secret: SecretStr, clock: Callable[[], float]
    ) -> None:
        self._http = http
        self._url = url
        self._client_id = client_id
        self._secret = secret
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token: str | None = None
        self._renew_at = 0.0

    async def token(self, *, rejected: str | None = None) -> str:
        """A token; never `rejected`, the one the platform has just refused.

        Raises CredentialsRejected (client id or secret wrong), Unavailable, AdapterFault (no OAuth2 answer).
        """
        async with self._lock:
            if self._token is None or self._token == rejected or self._clock() >= self._renew_at:
                self._token = None
                granted = await self._fetch()
                margin = min(_MARGIN, granted.expires_in * _MARGIN_SHARE)
                self._renew_at = self._clock() + granted.expires_in - margin
                self._token = granted.access_token
            return self._token

    async def _fetch(self) -> _Granted:
        try:
            answer = await self._http.post(
                self._url,
                data={"grant_type": "client_credentials"},
                auth=httpx.BasicAuth(self._client_id, self._secret.get_secret_value()),
            )
        except OutcomeUnknown as error:  # asking for a token files nothing: simply ask again
            raise Unavailable("the token endpoint did not answer") from error
        if answer.status_code == 400:  # RFC 6749, 5.2: invalid_client, unauthorized_client … may come with 400
            raise CredentialsRejected("the token endpoint rejects our client")
        if answer.status_code != 200:
            raise AdapterFault(f"the token endpoint answered {answer.status_code}")
        try:
            granted = _Granted.model_validate_json(answer.content)
        except ValidationError as error:
            raise AdapterFault("the token endpoint gave no token") from error
        if granted.token_type.lower() != "bearer":
            raise AdapterFault("the token endpoint gave a token that is no bearer token")
        return granted


class Budget:
    """When the platform lets us ask again: after Retry-After, or when its RateLimit header says nothing remains."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._closed_until = 0.0

    async def wait(self) -> None:
        """Return when a request may go out; raises Unavailable when that is more than a second away."""
        left = self._closed_until - self._clock()
        if left > _LONGEST_WAIT:
            raise Unavailable("the platform asked us to wait", retry_after=timedelta(seconds=round(left, 3)))
        if left > 0:
            await asyncio.sleep(left)

    def close_for(self, time: timedelta) -> None:
        """Nothing goes out for `time`."""
        self._closed_until = max(self._closed_until, self._clock() + time.total_seconds())

    def note(self, headers: httpx.Headers) -> None:
        """Read `RateLimit: "name";r=<remaining>;t=<seconds>` (draft-ietf-httpapi-ratelimit-headers-09)."""
        said = {name: int(value) for name, value in _PARAMETER.findall(headers.get("ratelimit", ""))}
        if said.get("r") == 0 and "t" in said:
            self.close_for(timedelta(seconds=said["t"]))
