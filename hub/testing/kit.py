"""What a test needs to hold an adapter the way the hub does: an assignment, a store, a callback receiver, patience.

Used by the contract suite and by plugins' own tests.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog
import uvicorn
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hub.contract import Adapter, AdapterStore, Assignment, CallbackRejected, CallbackRequest, Context, Feedback, IncomingCase
from hub.model.assignments.state import Role, delivery_key
from hub.model.case.state import Severity, case_id
from hub.platform.adapters.outbound import departmental_client
from hub.platform.trial.memory_store import MemoryStore as MemoryStore

PATIENCE = 45.0
"""Seconds to wait for an expected thing. Long, because a slow machine is nobody's fault, and waiting costs nothing when all is well."""

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def sample_assignment(*, unit: str = "dept.sample", area: str = "320113001001001", **changes: Any) -> Assignment:
    """An ordinary assignment with a new key; any field can be given."""
    case = case_id(area, "".join(secrets.choice(_CROCKFORD) for _ in range(16)))
    now = datetime.now(UTC).replace(microsecond=0)
    assignment = Assignment(
        key=delivery_key(case, "a1"),
        case=case,
        unit=unit,
        role=Role.LEAD,
        title="小区门口下水道堵塞",
        text="雨后积水约二十厘米，污水外溢，影响居民出行，请尽快处理。",
        category="drainage.blocked",
        category_name="排水管道堵塞",
        severity=Severity.ORDINARY,
        area=area,
        area_path=("栖霞区", "尧化街道", "尧化社区居委会", "第1网格"),
        reported_at=now,
        place="尧佳路7号东门",
        task="疏通管道并清理现场",
        accept_by=now + timedelta(hours=2),
        finish_by=now + timedelta(hours=24),
    )
    return replace(assignment, **changes)


@asynccontextmanager
async def running_adapter(
    kind: type[Adapter],
    settings: Mapping[str, object],
    *,
    timeout: float = 1.0,
    callback_url: str = "http://127.0.0.1:9/hooks/test",
    store: AdapterStore | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Adapter]:
    """A started adapter with the hub's client; `timeout` in seconds is short so that lost answers are seen soon.

    `transport` replaces the network, e.g. `httpx.MockTransport` for answers a simulator never gives.
    """
    name = kind.manifest.name
    async with departmental_client(name, timeout=timeout, transport=transport) as http:
        context = Context(
            instance=name,
            http=http,
            store=store or MemoryStore(),
            log=structlog.get_logger(name),
            callback_url=callback_url,
        )
        adapter = kind(kind.Settings.model_validate(dict(settings)), context)
        await adapter.start()
        try:
            yield adapter
        finally:
            await adapter.stop()


@dataclass
class Inbox:
    """A callback receiver like the hub's `/hooks/<adapter>`. Keeps requests, the items read from them, and rejections."""

    url: str
    requests: list[CallbackRequest] = field(default_factory=list)
    items: list[Feedback | IncomingCase] = field(default_factory=list)
    rejections: list[CallbackRejected] = field(default_factory=list)
    adapter: Adapter | None = None
    """Reads the callbacks; until set the answer is 503, so the department tries again."""

    async def receive(self, request: Request) -> Response:
        """Take one callback."""
        if self.adapter is None:
            return PlainTextResponse("not ready", status_code=503)
        callback = CallbackRequest(
            method=request.method,
            path=request.path_params["path"].lstrip("/"),
            headers={name.lower(): value for name, value in request.headers.items()},
            query=dict(request.query_params),
            body=await request.body(),
        )
        try:
            items = await self.adapter.parse_callback(callback)
        except CallbackRejected as rejection:
            self.rejections.append(rejection)
            return PlainTextResponse(rejection.reason, status_code=rejection.status)
        self.requests.append(callback)
        self.items.extend(items)
        return Response(status_code=204)


class QuietServer(uvicorn.Server):
    """A server inside a test run."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The test run keeps its own signal handlers."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, and close what connected while it was stopping: uvicorn closes only what was there when it began to."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # an aborted connection is closed in the next turn


@asynccontextmanager
async def open_inbox() -> AsyncIterator[Inbox]:
    """Listen on a free port of 127.0.0.1 until left."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    inbox = Inbox(url=f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/test")
    app = Starlette(routes=[Route("/hooks/test{path:path}", inbox.receive, methods=["GET", "POST"])])
    server = QuietServer(
        uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    )
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await eventually(lambda: server.started)
        yield inbox
    finally:
        server.should_exit = True
        await serving
        listener.close()


async def eventually(holds: Callable[[], Any], *, within: float = PATIENCE, every: float = 0.02) -> Any:
    """The first true value of `holds` (a function, may be async); AssertionError after `within` seconds."""
    give_up = time.monotonic() + within
    while True:
        value = holds()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {within} s: {inspect.getsource(holds).strip()}")
        await asyncio.sleep(every)
