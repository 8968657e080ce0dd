"""The gate that every request to a simulator passes first: recording, a span that continues the caller's trace, latency, script, faults.

An ASGI wrapper; the chassis puts it round the department's application.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping
from typing import Any, Protocol

from opentelemetry.trace import Span, SpanKind
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.testing.faults import FaultKind, Faults
from hub.testing.recording import Exchange, Recorder, listening, speaking
from hub.testing.scripts import Script, Trouble
from hub.testing.tracing import SimulatorTracing, failed
from hub.testing.wire import play

_REFUSALS = (FaultKind.BAD_CREDENTIALS, FaultKind.RATE_LIMIT, FaultKind.UNAVAILABLE, FaultKind.ERROR)
"""Faults that answer before anything is carried out, in the order they are drawn."""
_ANSWERS = (FaultKind.GARBAGE, FaultKind.HUGE, FaultKind.HANG, FaultKind.DRIP, FaultKind.CLOSE)


class Policy(Protocol):
    """What the department says about its requests, and what is to go wrong with them."""

    script: Script
    recorder: Recorder

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
        exchange = self._policy.recorder.begin(scope)
        receive, recorded = listening(exchange, receive), speaking(exchange, send)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        with self._tracing.span(scope["method"], kind=SpanKind.SERVER, parent=headers.get("traceparent")) as span:
            span.set_attribute("http.request.method", scope["method"])

            async def observed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note_answer(span, message["status"])
                await recorded(message)

            if self._policy.faulty(scope["method"], scope["path"]):
                await self._troubled(scope, receive, observed, headers, exchange, span, send)
            else:
                await self._app(scope, receive, observed)
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)

    async def _troubled(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Mapping[str, str],
        exchange: Exchange,
        span: Span,
        connection: Send,
    ) -> None:
        low, high = self._latency
        if high > 0:
            await asyncio.sleep(self._random.uniform(low, high))
        trouble = self._trouble(filing=self._policy.files(scope["method"], scope["path"], headers))
        if trouble.kind is None:
            await self._app(scope, receive, send)
            return
        exchange.fault = trouble.kind.value
        answer = _refusal(trouble)
        if answer is not None:
            await answer(scope, receive, send)
            return
        failed(span, trouble.kind.value)
        await play(trouble, self._app, scope, receive, send, connection=connection)

    def _trouble(self, *, filing: bool) -> Trouble:
        """What hits this request: the script's next step, else a fault that is set."""
        if self._faults.outage:
            return Trouble(FaultKind.OUTAGE)
        scripted = self._policy.script.take(filing=filing)
        if scripted is not None:
            return scripted
        drawn = (*_REFUSALS, *((FaultKind.TIMEOUT_AFTER_ACCEPT,) if filing else ()), *_ANSWERS)
        return Trouble(next((kind for kind in drawn if self._faults.draw(kind)), None))


def _refusal(trouble: Trouble) -> JSONResponse | None:
    """The answer when nothing is carried out."""
    match trouble.kind:
        case FaultKind.OUTAGE:
            return _problem(503, "系统维护中", {"connection": "close"})
        case FaultKind.BAD_CREDENTIALS:
            return _problem(401, "身份校验失败")
        case FaultKind.RATE_LIMIT:
            return _problem(429, "请求过于频繁", {"retry-after": str(math.ceil(trouble.seconds or 1))})
        case FaultKind.UNAVAILABLE:
            return _problem(503, "服务暂不可用")
        case FaultKind.ERROR:
            return _problem(500, "系统内部错误")
        case _:
            return None


def _problem(status: int, detail: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    return JSONResponse({"code": status, "message": detail}, status_code=status, headers=headers)


def _note_answer(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        failed(span, str(status))
