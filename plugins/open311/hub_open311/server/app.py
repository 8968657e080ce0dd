"""The routes of GeoReport v2 and of service discovery, as an application of its own: nothing in it answers but in Open311's words.

Addresses end in .json or .xml; without, the Accept header decides, XML by default.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub import (
    BusUnavailable,
    HubError,
    InvalidInput,
    LedgerConflict,
    NotAllowed,
    Publishing,
    Reception,
    ShownCase,
    Unavailable,
    Visitor,
)
from hub_open311.server.asking import MOST, Asked, flag, page, read, span
from hub_open311.server.catalogue import Catalogue
from hub_open311.server.errors import Open311Error, written
from hub_open311.server.formats import Value, form_of, write
from hub_open311.server.reporting import reference, refused, report
from hub_open311.server.settings import ServerSettings
from hub_open311.server.showing import CLOSED, OPEN, Shower
from hub_open311.server.updating import update

log = structlog.get_logger("hub_open311.server")

SPECIFICATION = "http://wiki.open311.org/GeoReport_v2"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_Handler = Callable[[Request, "Call"], Awaitable[tuple[str, Value]]]


@dataclass(frozen=True)
class Call:
    """One request, read: what was asked, by whom, about which `id`; `reference`: the client's own for what it reported."""

    asked: Asked
    visitor: Visitor
    id: str
    address: str
    reference: str | None


class Open311:
    """The server over the hub's reception."""

    def __init__(self, reception: Reception, settings: ServerSettings) -> None:
        self._reception = reception
        self._settings = settings
        self._publishing = Publishing(everything=settings.publish == "all", sensitive=settings.sensitive)
        self._anonymous = reception.allowance(settings.anonymous_per_minute)
        self._changeset: tuple[int, str] = (-1, "")
        self._resources: Mapping[tuple[str, str, bool], _Handler] = {
            ("GET", "services", False): self._services_list,
            ("GET", "services", True): self._definition,
            ("GET", "requests", False): self._requests,
            ("GET", "requests", True): self._request,
            ("POST", "requests", False): self._report,
            ("GET", "tokens", True): self._token,
            ("GET", "servicerequestupdates", False): self._updates,
            ("POST", "servicerequestupdates", False): self._update,
            ("GET", "discovery", False): self._discovery,
        }

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[Route("/{path:path}", self._answer, methods=_METHODS)],
            exception_handlers={HubError: _refuse, HTTPException: _refuse, Exception: _fault},
        )

    async def _answer(self, request: Request) -> Response:
        form = form_of(request.url.path, request.headers.get("accept", ""))
        handler, id = self._resource(request.method, request.path_params["path"])
        try:
            asked = await read(request)
            call = await self._call(request, asked, id)
            if handler != self._discovery:
                self._check_jurisdiction(asked)
            root, value = await handler(request, call)
        finally:
            await request.close()
        return Response(write(root, value, form), 200, {"Cache-Control": "no-cache"}, form.media_type)

    def _resource(self, method: str, path: str) -> tuple[_Handler, str]:
        """The handler for an address; raises Open311Error(404, 405)."""
        within = path[3:] if path.startswith("v2/") else path
        name, slash, id = re.sub(r"\.(json|xml)$", "", within, flags=re.IGNORECASE).partition("/")
        in_place = path != within or name == "discovery"
        wanted = "GET" if method == "HEAD" else method
        if in_place and (handler := self._resources.get((wanted, name, bool(slash)))) is not None:
            return handler, id
        others = [m for m, n, has_id in self._resources if in_place and n == name and has_id == bool(slash)]
        if others:
            raise Open311Error(405, f"{name} takes {' and '.join(others)}", headers={"Allow": ", ".join(others)})
        raise Open311Error(404, "there is no such resource; see /open311/discovery.json")

    async def _call(self, request: Request, asked: Asked, id: str) -> Call:
        """Who calls, by api_key or `Authorization: Bearer`, and about what. Raises Open311Error(403) for a key that is invalid."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        key = asked.get("api_key", most=300) or (bearer.strip() if scheme.lower() == "bearer" else None)
        visitor = await self._reception.visitor(request.scope, key, self._publishing)
        if visitor is None:
            raise Open311Error(403, "the api_key is not valid")
        address = request.client.host if request.client else ""
        salt = "" if visitor.keyed else asked.get("device_id") or address
        return Call(asked, visitor, id, address, reference(asked, request.headers.get("idempotency-key"), salt))

    def _check_jurisdiction(self, asked: Asked) -> None:
        """This endpoint serves one jurisdiction: the argument is optional, but another one is not found."""
        wanted = asked.get("jurisdiction_id")
        if wanted is not None and wanted not in (self._settings.jurisdiction_id, self._reception.district().code):
            raise Open311Error(404, f"jurisdiction_id {wanted[:80]} was not found")

    def _reporter_key(self, call: Call, *, anonymous: bool) -> None:
        """Raises Open311Error: 403 without a key that may report, 429 when somebody without one reports too often."""
        if call.visitor.keyed:
            if not call.visitor.may("cases:report"):
                raise Open311Error(403, "the api_key may not report")
            return
        if not anonymous:
            raise Open311Error(403, "an api_key is needed; see key_service in /open311/discovery.json")
        wait = self._anonymous(call.address)
        if wait > 0:
            raise Open311Error(429, "too many reports without an api_key", headers={"Retry-After": str(int(wait) + 1)})

    def _catalogue(self) -> Catalogue:
        return Catalogue(self._reception.district(), self._settings)

    def _shower(self) -> Shower:
        return Shower(self._reception.district(), self._catalogue())

    # services

    async def _services_list(self, request: Request, call: Call) -> tuple[str, Value]:
        return "services", self._catalogue().services()

    async def _definition(self, request: Request, call: Call) -> tuple[str, Value]:
        return "service_definition", self._catalogue().definition(call.id)

    # requests

    async def _report(self, request: Request, call: Call) -> tuple[str, Value]:
        self._reporter_key(call, anonymous=self._settings.anonymous)
        answer = await report(call.visitor, self._reception.district(), self._catalogue(), call.asked, call.reference)
        return "service_requests", [answer]

    async def _requests(self, request: Request, call: Call) -> tuple[str, Value]:
        asked, visitor = call.asked, call.visitor
        if call.reference is not None:
            case = await visitor.case_of(call.reference)
            return self._shown([] if case is None else await visitor.cases((case,)))
        if ids := asked.listed("service_request_id"):
            return self._shown(await visitor.cases(ids[:MOST]))
        since, until = span(asked, self._reception.district().zone, datetime.now(UTC))
        states = {status.lower() for status in asked.listed("status")}
        if unknown := states - {"open", "closed"}:
            raise Open311Error(400, f"status has to be open or closed, not {min(unknown)[:40]}")
        size, offset = page(asked)
        found = await visitor.search(
            since=since,
            until=until,
            stages=() if len(states) != 1 else OPEN if "open" in states else CLOSED,
            categories=asked.listed("service_code"),
            size=size,
            offset=offset,
        )
        return self._shown(found)

    async def _request(self, request: Request, call: Call) -> tuple[str, Value]:
        return self._shown(await self._known(call, call.id, "service_request_id"))

    async def _token(self, request: Request, call: Call) -> tuple[str, Value]:
        """Every service is realtime, so that no token is ever given; an id given in its place is its own token."""
        (case,) = await self._known(call, call.id, "token")
        return "service_requests", [{"service_request_id": case.id, "token": call.id}]

    async def _known(self, call: Call, id: str, what: str) -> list[ShownCase]:
        """The one case with that id; raises Open311Error(404)."""
        found = await call.visitor.cases((id,))
        if not found:
            raise Open311Error(404, f"{what} {id[:80]} was not found")
        return found

    def _shown(self, found: list[ShownCase]) -> tuple[str, Value]:
        return "service_requests", [self._shower().request(case) for case in found]

    # updates

    async def _updates(self, request: Request, call: Call) -> tuple[str, Value]:
        since, until = span(call.asked, self._reception.district().zone, datetime.now(UTC))
        size, offset = page(call.asked)
        news = await call.visitor.news(since=since, until=until, size=size, offset=offset)
        return "service_request_updates", self._shower().updates(news, extended=flag(call.asked, "extended") is not False)

    async def _update(self, request: Request, call: Call) -> tuple[str, Value]:
        self._reporter_key(call, anonymous=False)
        id = call.asked.get("service_request_id") or ""
        if not id:
            raise Open311Error(400, "service_request_id was not provided")
        await self._known(call, id, "service_request_id")
        return "service_request_updates", [{"update_id": await update(call.visitor, id, call.asked)}]

    # discovery

    async def _discovery(self, request: Request, call: Call) -> tuple[str, Value]:
        district = self._reception.district()
        root = self._reception.public_url or f"{request.url.scheme}://{request.url.netloc}"
        changeset = await self._changed()
        endpoint: Value = {
            "specification": SPECIFICATION,
            "url": f"{root.rstrip('/')}/open311/v2",
            "changeset": changeset,
            "type": "production",
            "formats": ["text/xml", "application/json"],
        }
        contact = self._settings.contact or f"{district.name}指挥中心"
        return "discovery", {
            "changeset": changeset,
            "contact": contact,
            "key_service": self._settings.key_service or f"请联系{contact}申请 api_key",
            "endpoints": [endpoint],
        }

    async def _changed(self) -> str:
        """When services or their definitions last changed: the policy in force was published."""
        district = self._reception.district()
        if self._changeset[0] != district.version:
            at = (await self._reception.rules_since()).astimezone(district.zone)
            self._changeset = (district.version, at.isoformat(timespec="seconds"))
        return self._changeset[1]


async def _refuse(request: Request, error: Exception) -> Response:
    """Every refusal in Open311's words."""
    match error:
        case InvalidInput():
            known: Open311Error = refused(error)
        case Open311Error():
            known = error
        case NotAllowed():
            known = Open311Error(404, "there is no such thing")
        case BusUnavailable() | LedgerConflict():
            known = Open311Error(503, "can't be taken now; try again", headers={"Retry-After": "1"})
        case Unavailable():
            known = Open311Error(503, error.message, headers={"Retry-After": "1"})
        case HTTPException():
            known = Open311Error(error.status_code, str(error.detail))
        case _:
            return await _fault(request, error)
    return _answered(request, known.status, known.descriptions, known.headers)


async def _fault(request: Request, error: Exception) -> Response:
    """A bug: the log has it, the client is told that it is ours ("General Service Error")."""
    log.error("request failed", method=request.method, error=type(error).__name__, exc_info=error)
    return _answered(request, 500, ("general service error: the hub made a mistake and has logged it",), {})


def _answered(request: Request, status: int, descriptions: tuple[str, ...], headers: dict[str, str]) -> Response:
    form = form_of(request.url.path, request.headers.get("accept", ""))
    return Response(written(status, descriptions, form), status, headers, form.media_type)
