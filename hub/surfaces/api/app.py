"""Puts the HTTP interface together: routes, errors, limits, traces, document. Constructs no part of the hub.

Called by the composition root with the services, and by the generator of the OpenAPI document.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import Route

from hub.surfaces.api import lookups, pages, problems
from hub.surfaces.api.adapters import callbacks, credentials, trial
from hub.surfaces.api.adapters import routes as adapters
from hub.surfaces.api.answers import Writes
from hub.surfaces.api.cases import files
from hub.surfaces.api.cases import routes as cases
from hub.surfaces.api.deliveries import routes as deliveries
from hub.surfaces.api.limits import Allowance, BodyLimit, RateLimit
from hub.surfaces.api.matters import stream
from hub.surfaces.api.matters.kinds import Kind, list_router, matter_router, opening_router
from hub.surfaces.api.mounts.mounting import OwnRefusals, mount_all
from hub.surfaces.api.openapi import describe
from hub.surfaces.api.people import keys
from hub.surfaces.api.people import routes as tokens
from hub.surfaces.api.services import Services
from hub.surfaces.api.tracing import Tracing
from hub.surfaces.api.upkeep import reconciliation, repairs

ROOT = "/api/v1"
_ABOUT = """Cases go up four levels, assignments go out to departments, reports come back.

Every change is one command on one case. `Idempotency-Key` makes repeats safe. Errors are problem+json (RFC 9457). What lies
outside a token's scope is not found. Times are UTC."""


def create_app(services: Services, *, heartbeat: float = stream.HEARTBEAT) -> FastAPI:
    """The ASGI app over the services; `heartbeat` is the seconds of silence on a stream of changes.

    Raises PluginError for a mount that can't be built, or not where it wants to be.
    """
    app = FastAPI(
        title="City hub",
        version="1",
        description=_ABOUT,
        openapi_url=f"{ROOT}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.writes = Writes()
    app.state.streams = Counter()
    app.state.heartbeat = heartbeat
    app.state.failed_callbacks = Allowance(callbacks.FAILED_PER_MINUTE, time.monotonic)
    parts = interface(services.kinds)
    for prefix, router in parts:
        app.include_router(router, prefix=prefix)
    refusals = mount_all(app, services, (ROOT, *(route.path for route in callbacks.router.routes if isinstance(route, Route))))
    problems.install(app)
    app.add_middleware(BodyLimit, most=services.settings.max_body)
    app.add_middleware(RateLimit, per_minute=services.settings.rate_per_minute)
    app.add_middleware(OwnRefusals, refusals=refusals)
    app.add_middleware(Tracing)
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(describe(app, parts))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


@lru_cache(maxsize=4)
def interface(kinds: tuple[Kind[Any], ...]) -> tuple[tuple[str, APIRouter], ...]:
    """All routers over some kinds of matters, each with its prefix.

    Two hubs in one process share them. That works because routers hold no state: services come with the request. It pays because FastAPI
    inspects every route's signature, a quarter of a second for all.
    """
    matters: list[APIRouter] = []
    for kind in kinds:
        matters.append(matter_router(kind))
        if kind.lists_itself:
            matters.append(list_router(kind))
        if kind.aggregate.opening is not None:
            matters.append(opening_router(kind, kind.aggregate.opening))
    routers = (
        cases.router,
        *matters,
        files.router,
        lookups.router,
        adapters.router,
        adapters.changes_router(),
        tokens.router,
        trial.router,
        pages.router,
        credentials.router,
        reconciliation.router,
        repairs.router,
        deliveries.router,
        keys.router,
        stream.router,
    )
    return (*((ROOT, router) for router in routers), ("", callbacks.router))
