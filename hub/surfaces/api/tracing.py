"""One outside stimulus is one trace: a SERVER span around every request, continuing the caller's traceparent if there is one.

Plain ASGI, outermost, so that refusals are seen too. Probes and the spans' own door make none. Names hold the route's
template, never an id.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.observing import telemetry
from hub.surfaces.api.problems import TRACE_KEY

UNTRACED = ("/healthz", "/readyz", "/v1/traces", "/api/v1/changes")
"""Probes, the spans' own door, and the stream of changes (it would be a span for days)."""
_VARIABLE = re.compile(r"(?<=/)(?:\d{15}-[0-9a-z]+(?:\.a\d+)?|[0-9a-f]{64}|[0-9a-f]{16})(?=/|$)")

_WORD = re.compile(r"[a-z][a-z0-9._-]{0,40}|v\d|\{id\}|")
"""A segment that may stand in a name: small Latin letters first."""


def name_of(method: str, path: str) -> str:
    """The span's name: ids in the path become `{id}`, and whatever else is no word of the interface `{}`.

    What a caller makes up (a telephone number where an id belongs) must not get into the traces.
    """
    known = _VARIABLE.sub("{id}", path)[:100]
    return f"{method[:16]} {'/'.join(part if _WORD.fullmatch(part) else '{}' for part in known.split('/'))}"


class Tracing:
    """Makes the root span of a request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request inside its span."""
        if scope["type"] != "http" or scope["path"].startswith(UNTRACED):
            await self._app(scope, receive, send)
            return
        parent = telemetry.valid_traceparent(Headers(scope=scope).get("traceparent"))
        method = scope["method"]
        attributes: dict[str, telemetry.Value] = {telemetry.HTTP_METHOD: method}
        with telemetry.span(
            name_of(method, scope["path"]), kind="server", parent=parent, root=parent is None, attributes=attributes
        ) as span:
            if span.traceparent is not None:
                scope[TRACE_KEY] = span.traceparent[3:35]

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = int(message["status"])
                    span.set(telemetry.HTTP_STATUS, status)
                    if status >= 500:
                        span.fail(str(status))
                await send(message)

            await self._app(scope, receive, watched)
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                span.set(telemetry.HTTP_ROUTE, route)
