"""The public HTTP interface as the demo's people use it: one connection pool, a token per person, keys that make repeats safe.

A refusal is a `Problem` with what the hub said; a hub that is away or busy is asked again until `patience` is over.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx


class Problem(Exception):
    """The hub refused a request. `status` is the HTTP status, `title` and `detail` are those of problem+json."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Change:
    """One message of the change stream; `id` is the place to go on from."""

    id: str
    event: str
    values: Mapping[str, Any]


_AGAIN = (429, 502, 503, 504)


class HubClient:
    """Requests to one hub. `token` given per call: the demo plays many people over one pool of connections."""

    def __init__(self, url: str, *, connections: int = 32, patience: float = 120.0) -> None:
        self.url = url
        self._patience = patience
        self._http = httpx.AsyncClient(
            base_url=f"{url}/api/v1",
            timeout=httpx.Timeout(30.0, connect=5.0),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, *, token: str, **query: str | int | bool | None) -> Any:
        """Read something; raises Problem."""
        chosen = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
        return await self._ask("GET", path, token, params={name: value for name, value in chosen.items() if value is not None})

    async def post(self, path: str, body: Mapping[str, object], *, token: str, key: str) -> Any:
        """Do something, once however often it is asked under the same `key`; raises Problem."""
        return await self._ask("POST", path, token, json_body=dict(body), key=key)

    async def _ask(
        self,
        method: str,
        path: str,
        token: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json_body: object | None = None,
        key: str | None = None,
    ) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        clock = asyncio.get_running_loop().time
        give_up = clock() + self._patience
        pause = 0.05
        while True:
            wait = pause
            try:
                answer = await self._http.request(method, path, params=params, json=json_body, headers=headers)
                if answer.status_code not in _AGAIN:
                    break
                wait = max(pause, _seconds(answer.headers.get("Retry-After")))
                if clock() + wait > give_up:
                    break
            except httpx.TransportError:
                if clock() + wait > give_up:
                    raise
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(2.0, pause * 2)
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _problem(answer)

    async def changes(self, *, token: str, after: str | None = None) -> AsyncIterator[Change]:
        """The stream of changes, joined again where it broke off; ends only by cancellation. Raises Problem when refused."""
        while True:
            headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
            if after is not None:
                headers["Last-Event-ID"] = after
            try:
                async with self._http.stream(
                    "GET", "/changes", headers=headers, timeout=httpx.Timeout(60.0, read=None)
                ) as answer:
                    if not answer.is_success:
                        await answer.aread()
                        raise _problem(answer)
                    async for change in _messages(answer.aiter_lines()):
                        after = change.id or after
                        yield change
            except httpx.TransportError:
                await asyncio.sleep(0.2)


async def _messages(lines: AsyncIterator[str]) -> AsyncIterator[Change]:
    """Read server-sent events (HTML standard, 9.2): fields until a blank line; comments are left out."""
    id, event, content = "", "message", list[str]()
    async for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                id = value
            elif name == "event":
                event = value
            elif name == "data":
                content.append(value)
        elif content:
            yield Change(id=id, event=event, values=json.loads("\n".join(content)))
            event, content = "message", []


def _seconds(text: str | None) -> float:
    """Retry-After in seconds; 0 when it is missing or a date (then the own pause counts)."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _problem(answer: httpx.Response) -> Problem:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return Problem(answer.status_code, answer.reason_phrase, answer.text[:200])
    return Problem(answer.status_code, str(body.get("title", answer.reason_phrase)), str(body.get("detail", "")))
