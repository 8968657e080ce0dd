"""What every request to a simulator passes first: a span that continues the caller's trace, latency, and the faults set.

An ASGI wrapper; the chassis puts it round the department's application.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any, Protocol

from opentelemetry.trace import Span, SpanKind
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.testing.faults import FaultKind, Faults
from hub.testing.tracing import SimulatorTracing, failed

_GIVE_UP = 120.0
"""Seconds after which a request left unanswered is dropped even if the caller still waits."""


class Policy(Protocol):
    """What the department says about its requests."""

    def files(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Whether the request files something."""

    def faulty(self, method: str, path: str) -> bool:
        """Whether faults and latency apply."""


class Gate:
    """Wraps the application. Control routes (/_sim) pass untouched."""

    def __init__(
        self,
        app: ASGIApp,
        faults: Faults,
        tracing: SimulatorTracing,
        policy: Policy,
        *,
        latency: tuple[float, float],
        seed: int,
    ) -> None:
        self._app = app
        self._faults = faults
        self._tracing = tracing
        self._policy = policy
        self._latency = latency
        self._random = random.Random(f"latency:{seed}")  # noqa: S311 - latency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http" or scope["path"].startswith("/_sim"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        with self._tracing.span(scope["method"], kind=SpanKind.SERVER, parent=headers.get("traceparent")) as span:
            span.set_attribute("http.request.method", scope["method"])

            async def observed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note_answer(span, message["status"])
                await send(message)

            if self._policy.faulty(scope["method"], scope["path"]):
                await self._troubled(scope, receive, observed, span, headers)
            else:
                await self._app(scope, receive, observed)
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)

    async def _troubled(self, scope: Scope, receive: Receive, send: Send, span: Span, headers: Mapping[str, str]) -> None:
        low, high = self._latency
        if high > 0:
            await asyncio.sleep(self._random.uniform(low, high))
        answer = self._fault_answer()
        if answer is not None:
            await answer(scope, receive, send)
        elif self._policy.files(scope["method"], scope["path"], headers) and self._faults.draw(FaultKind.TIMEOUT_AFTER_ACCEPT):
            failed(span, "never_answered")
            await self._never_answer(scope, receive)
        else:
            await self._app(scope, receive, send)

    def _fault_answer(self) -> JSONResponse | None:
        """The answer of the fault that hits this request, None when none does."""
        if self._faults.outage:
            return _problem(503, "系统维护中", {"connection": "close"})
        if self._faults.draw(FaultKind.BAD_CREDENTIALS):
            return _problem(401, "身份校验失败")
        if self._faults.draw(FaultKind.RATE_LIMIT):
            return _problem(429, "请求过于频繁", {"retry-after": "1"})
        if self._faults.draw(FaultKind.UNAVAILABLE):
            return _problem(503, "服务暂不可用")
        if self._faults.draw(FaultKind.ERROR):
            return _problem(500, "系统内部错误")
        return None

    async def _never_answer(self, scope: Scope, receive: Receive) -> None:
        """Carry the request out, swallow the answer, wait until the caller has given up."""

        async def swallow(message: Message) -> None:
            return

        await self._app(scope, receive, swallow)
        try:
            async with asyncio.timeout(_GIVE_UP):
                while (await receive())["type"] != "http.disconnect":
                    continue
        except TimeoutError:
            return


def _problem(status: int, detail: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    return JSONResponse({"code": status, "message": detail}, status_code=status, headers=headers)


def _note_answer(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        failed(span, str(status))
