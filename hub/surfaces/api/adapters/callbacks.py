"""Doors without a token: departments' callbacks (their adapter checks the signature), spans from this machine, probes."""

from __future__ import annotations

import asyncio
import ipaddress
import math
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from hub.contract import CallbackRejected, CallbackRequest
from hub.errors import BusUnavailable, NotAllowed
from hub.surfaces.api.answers import Answered, answer
from hub.surfaces.api.limits import Allowance, address_of
from hub.surfaces.api.models import Answer
from hub.surfaces.api.openapi import refuses
from hub.surfaces.api.people.auth import ServicesHere
from hub.surfaces.api.problems import Failure


class Ready(Answer, frozen=True, kw_only=True):
    """Whether the hub serves. `lag`: commits the read models are behind."""

    ready: bool
    bus: bool
    lag: int | None


class Alive(Answer, frozen=True, kw_only=True):
    """The process lives."""

    status: str = "ok"


class Taken(Answer, frozen=True, kw_only=True):
    """How many items a callback held, all of them stored."""

    taken: int


MOST_LAG = 5_000
"""Commits the read models may be behind while the hub calls itself ready."""
FAILED_PER_MINUTE = 30
"""Refused callbacks of one address for one adapter that are answered one by one."""
_NOT_THEIR_FAULT = (429, 503)
"""The hub is busy, or the adapter is starting: the department has to come again."""
MOST_SPANS = 16 * 1024 * 1024

router = APIRouter()
NamePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Adapter instance")]


@router.post("/hooks/{adapter}", include_in_schema=False)
@router.api_route(
    "/hooks/{adapter}/{path:path}",
    methods=["POST"],
    tags=["hooks"],
    summary="A department's callback",
    operation_id="callback",
    responses=refuses(400, 401, 404, 413, 422, 429, 503),
)
async def callback(request: Request, services: ServicesHere, adapter: NamePath, path: str = "") -> Answered[Taken]:
    """The adapter reads it and checks the signature. 2xx only once everything in it is stored.

    After many refusals of one address its next refusals are 429. A rightly signed callback is always taken, so nobody can shut a department
    out by sending rubbish in its name.
    """
    sent = CallbackRequest(
        method=request.method,
        path=path,
        headers={name.lower(): value for name, value in request.headers.items()},
        query=dict(request.query_params),
        body=await request.body(),
    )
    try:
        return answer(Taken(taken=await services.callback(adapter, sent)))
    except (CallbackRejected, NotAllowed) as problem:
        if isinstance(problem, CallbackRejected) and problem.status in _NOT_THEIR_FAULT:
            raise
        allowance: Allowance = request.app.state.failed_callbacks
        wait = allowance.take(f"{address_of(request.scope)} {adapter}")
        if wait > 0:
            headers = {"Retry-After": str(math.ceil(wait))}
            raise Failure(429, "rate_limited", "Too many callbacks that were refused.", headers=headers) from problem
        raise


@router.post("/v1/traces", include_in_schema=False)
async def spans(request: Request, services: ServicesHere) -> Response:
    """OTLP over HTTP from this machine only: the simulators' spans for the embedded store."""
    if services.spans is None or not _local(request):
        raise NotAllowed("no such door")
    await asyncio.to_thread(
        services.spans.ingest_otlp,
        await request.body(),
        request.headers.get("content-type", ""),
        content_encoding=request.headers.get("content-encoding"),
        max_bytes=MOST_SPANS,
    )
    return Response(b"", 200, media_type="application/x-protobuf")


def _local(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


@router.get("/healthz", tags=["probes"], summary="The process lives")
async def healthz() -> Answered[Alive]:
    """Says nothing about the bus; see /readyz."""
    return answer(Alive())


@router.get("/readyz", tags=["probes"], summary="The hub serves", responses={503: {"description": "It does not"}})
async def readyz(services: ServicesHere) -> Answered[Ready]:
    """503 while the bus is away or the read models are far behind."""
    lag: int | None = None
    bus = services.connected()
    if bus:
        try:
            last = await services.ledger.last_sequence()
            lag = max(0, last - await asyncio.to_thread(services.views.position))
        except BusUnavailable:
            bus = False
    ready = bus and lag is not None and lag < MOST_LAG
    return answer(Ready(ready=ready, bus=bus, lag=lag), 200 if ready else 503)
