"""The routes of GeoReport v2 and of service discovery, as an application of its own: nothing in it answers but in Open311's words.

Mounted at /open311 by hub/surfaces/api/app.py. Addresses end in .json or .xml; without, the Accept header decides, XML by default.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.errors import BusUnavailable, HubError, InvalidInput, LedgerConflict, NotAllowed
from hub.model.case.state import CaseId
from hub.model.rights import KeyScope
from hub.open311.asking import MOST, Asked, flag, page, read, span
from hub.open311.catalogue import Catalogue
from hub.open311.errors import PREFIX, Open311Error, refusal
from hub.open311.formats import Form, Value, form_of, write
from hub.open311.pace import Pace
from hub.open311.reading import CLOSED, OPEN, SOURCE, Known, Published, Reader
from hub.open311.reporting import Reporter, reference, refused
from hub.open311.showing import Shower
from hub.open311.updating import Updater, updated, updates_of
from hub.surfaces.api.limits import CALLER_KEY
from hub.surfaces.api.people.auth import caller_from

if TYPE_CHECKING:
    from hub.model.case.state import Case
    from hub.surfaces.api.people.auth import Caller
    from hub.surfaces.api.services import Services

log = structlog.get_logger("hub.open311")

SPECIFICATION = "http://wiki.open311.org/GeoReport_v2"
ANONYMOUS = "anonymous"
"""What clients without a key are called in the source of a case."""
WAIT = 2.0
"""The most seconds a read waits for the read models to hold what was written here."""
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_CASE = re.compile(r"\d{15}-[0-9a-hjkmnp-tv-z]{10,26}")
_Handler = Callable[[Request, "Call"], Awaitable[tuple[str, Value]]]


class Call:
    """One request, read: what was asked, by whom, in which format, about which `id`."""

    def __init__(self, asked: Asked, caller: Caller | None, id: str, address: str, idempotency_key: str | None) -> None:
        self.asked = asked
        self.caller = caller
        self.id = id
        self.address = address
        self.client = caller.token.id if caller is not None else ANONYMOUS
        self.reference = reference(
            asked, idempotency_key, self.client, "" if caller is not None else asked.get("device_id") or address
        )
        keyed = caller is not None and KeyScope.CASES_READ in caller.rights
        self.reader = Reader(self.client, caller.scope if caller is not None and keyed else None)

    def brought(self, case: Case) -> bool:
        """Whether the case was reported with this very key."""
        mine = case.source is not None and case.source.adapter == SOURCE and case.source.ref.startswith(f"{self.client}/")
        return mine and self.caller is not None

    def reads(self, case: Case) -> bool:
        """Whether everything written about the case is for this client: it brought the case in, or its key may see it."""
        return self.brought(case) or (self.caller is not None and self.reader.scope is not None and self.caller.sees(case))

    def locates(self, case: Case) -> bool:
        """Whether the exact place is for this client: it brought the case in, or its key's unit handles it."""
        return self.brought(case) or (self.caller is not None and self.reads(case) and self.caller.handles(case))


class Open311:
    """The server over the hub's services."""

    def __init__(self, services: Services, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._settings = services.open311
        self._published = Published(services.views, services.open311)
        self._anonymous = Pace(services.open311.anonymous_per_minute, clock)
        self._written = 0
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
            address = request.client.host if request.client else ""
            call = Call(asked, await self._caller(request, asked), id, address, request.headers.get("idempotency-key"))
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

    async def _caller(self, request: Request, asked: Asked) -> Caller | None:
        """Who calls, by api_key or `Authorization: Bearer`; None without a key. Raises Open311Error(403) for one that is invalid."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        key = asked.get("api_key", most=300) or (bearer.strip() if scheme.lower() == "bearer" else None)
        if not key:
            return None
        token = await self._services.tokens.find(key)
        if token is None:
            raise Open311Error(403, "the api_key is not valid")
        request.scope[CALLER_KEY] = token.id
        return caller_from(token, self._services.district())

    def _check_jurisdiction(self, asked: Asked) -> None:
        """This endpoint serves one jurisdiction: the argument is optional, but another one is not found."""
        wanted = asked.get("jurisdiction_id")
        if wanted is not None and wanted not in (self._settings.jurisdiction_id, self._services.district().code):
            raise Open311Error(404, f"jurisdiction_id {wanted[:80]} was not found")

    def _reporter_key(self, call: Call, *, anonymous: bool) -> None:
        """Raises Open311Error: 403 without a key that may report, 429 when somebody without one reports too often."""
        if call.caller is not None:
            if KeyScope.CASES_REPORT not in call.caller.rights:
                raise Open311Error(403, "the api_key may not report")
            return
        if not anonymous:
            raise Open311Error(403, "an api_key is needed; see key_service in /open311/discovery.json")
        wait = self._anonymous.take(call.address)
        if wait > 0:
            raise Open311Error(429, "too many reports without an api_key", headers={"Retry-After": str(int(wait) + 1)})

    def _catalogue(self) -> Catalogue:
        return Catalogue(self._services.district(), self._settings)

    def _shower(self, call: Call) -> Shower:
        return Shower(self._services.district(), self._catalogue(), call.locates)

    def _wrote(self, sequence: int) -> None:
        self._written = max(self._written, sequence)

    async def _settle(self) -> None:
        """What was written here is seen here; raises Open311Error(503) when it can't be shown yet."""
        if self._written and not await self._services.views.wait_for(self._written, WAIT):
            raise Open311Error(503, "what was reported last can't be shown yet", headers={"Retry-After": "1"})

    # services

    async def _services_list(self, request: Request, call: Call) -> tuple[str, Value]:
        return "services", self._catalogue().services()

    async def _definition(self, request: Request, call: Call) -> tuple[str, Value]:
        return "service_definition", self._catalogue().definition(call.id)

    # requests

    async def _report(self, request: Request, call: Call) -> tuple[str, Value]:
        self._reporter_key(call, anonymous=self._settings.anonymous)
        reporter = Reporter(self._services, self._catalogue(), call.caller)
        ref = call.reference or f"{call.client}/{secrets.token_hex(16)}"
        outcome, answer = await reporter.report(call.asked, ref)
        self._wrote(outcome.sequence)
        return "service_requests", [answer]

    async def _requests(self, request: Request, call: Call) -> tuple[str, Value]:
        await self._settle()
        asked, district = call.asked, self._services.district()
        if call.reference is not None:
            case = await self._published.of_reference(call.reference)
            return self._shown(call, [] if case is None else await self._published.several((case,)))
        if ids := asked.listed("service_request_id"):
            known = tuple(id for id in ids if _CASE.fullmatch(id))[:MOST]
            return self._shown(call, await self._published.several(known))
        since, until = span(asked, district.zone, datetime.now(UTC))
        states = {status.lower() for status in asked.listed("status")}
        if unknown := states - {"open", "closed"}:
            raise Open311Error(400, f"status has to be open or closed, not {min(unknown)[:40]}")
        size, offset = page(asked)
        found = await self._published.search(
            call.reader,
            since=since,
            until=until,
            stages=() if len(states) != 1 else OPEN if "open" in states else CLOSED,
            services=asked.listed("service_code"),
            size=size,
            offset=offset,
        )
        return self._shown(call, found)

    async def _request(self, request: Request, call: Call) -> tuple[str, Value]:
        return self._shown(call, [await self._known(call, call.id, "service_request_id")])

    async def _token(self, request: Request, call: Call) -> tuple[str, Value]:
        """Every service is realtime, so that no token is ever given; an id given in its place is its own token."""
        known = await self._known(call, call.id, "token")
        return "service_requests", [{"service_request_id": known.case.id, "token": call.id}]

    async def _known(self, call: Call, id: str, what: str) -> Known:
        await self._settle()
        found = await self._published.one(id) if _CASE.fullmatch(id) else None
        if found is None:
            raise Open311Error(404, f"{what} {id[:80]} was not found")
        return found

    def _shown(self, call: Call, found: list[Known]) -> tuple[str, Value]:
        shower = self._shower(call)
        return "service_requests", [shower.request(known, withheld=self._withheld(call, known)) for known in found]

    def _withheld(self, call: Call, known: Known) -> bool:
        """Text and place of sensitive cases, and of cases that were reported elsewhere, are not for everybody."""
        if call.reads(known.case):
            return False
        return self._published.sensitive(known.case) or not (known.ours or self._settings.publish == "all")

    # updates

    async def _updates(self, request: Request, call: Call) -> tuple[str, Value]:
        await self._settle()
        since, until = span(call.asked, self._services.district().zone, datetime.now(UTC))
        size, offset = page(call.asked)
        happened = await self._published.happened(since=since, until=until, size=size, offset=offset)
        extended = flag(call.asked, "extended") is not False
        shown = updates_of(happened, self._shower(call), extended=extended, reads=call.reads)
        return "service_request_updates", shown

    async def _update(self, request: Request, call: Call) -> tuple[str, Value]:
        self._reporter_key(call, anonymous=False)
        id = call.asked.get("service_request_id") or ""
        if not id:
            raise Open311Error(400, "service_request_id was not provided")
        known = await self._known(call, id, "service_request_id")
        case = await self._services.desk.load(CaseId(known.case.id))
        if case is None:
            raise Open311Error(404, f"service_request_id {id} was not found")
        updater = Updater(self._services, call.client, call.caller.token.name if call.caller else "anonymous")
        update = await updater.update(case, call.asked)
        self._wrote(updater.sequence)
        return "service_request_updates", updated(update)

    # discovery

    async def _discovery(self, request: Request, call: Call) -> tuple[str, Value]:
        district = self._services.district()
        root = self._services.settings.public_url or f"{request.url.scheme}://{request.url.netloc}"
        changeset = await self._changed()
        endpoint: Value = {
            "specification": SPECIFICATION,
            "url": f"{root.rstrip('/')}{PREFIX}/v2",
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
        district = self._services.district()
        version = district.policy.version
        if self._changeset[0] != version:
            published = [record.at for record in await self._services.ledger.policies() if record.version == version]
            at = published[-1] if published else datetime.now(UTC)
            self._changeset = (version, at.astimezone(district.zone).isoformat(timespec="seconds"))
        return self._changeset[1]


async def _refuse(request: Request, error: Exception) -> Response:
    """Every refusal in Open311's words."""
    form = form_of(request.url.path, request.headers.get("accept", ""))
    match error:
        case InvalidInput():
            known: Open311Error = refused(error)
        case Open311Error():
            known = error
        case NotAllowed():
            known = Open311Error(404, "there is no such thing")
        case BusUnavailable() | LedgerConflict():
            known = Open311Error(503, "can't be taken now; try again", headers={"Retry-After": "1"})
        case HTTPException():
            known = Open311Error(error.status_code, str(error.detail))
        case _:
            return await _fault(request, error)
    return refusal(known.status, known.descriptions or (known.message,), form, known.headers)


async def _fault(request: Request, error: Exception) -> Response:
    """A bug: the log has it, the client is told that it is ours ("General Service Error")."""
    log.error("request failed", method=request.method, error=type(error).__name__, exc_info=error)
    return refusal(500, ("general service error: the hub made a mistake and has logged it",), _form(request))


def _form(request: Request) -> Form:
    return form_of(request.url.path, request.headers.get("accept", ""))
