"""Speaks the utilities' platform: water, drainage, power, gas and heat companies behind one REST interface.

OAuth2 client credentials, work orders under an idempotency key, changes and outage notices fetched page by page.
An outage notice opens a case before anybody complains 未诉先办. Called by the hub only; see README.md for the protocol.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
from pydantic import BaseModel, Field, HttpUrl, SecretStr, ValidationError, field_validator

from hub import (
    PASS_STATUSES,
    Adapter,
    AdapterFault,
    AdapterSettings,
    Assignment,
    Audit,
    Capability,
    CredentialsRejected,
    Crosswalk,
    Feedback,
    Health,
    IncomingCase,
    Manifest,
    Poll,
    Receipt,
    Refused,
    Unavailable,
)
from hub_utilities.access import Budget, TokenSource
from hub_utilities.messages import STATUSES, Changes, Kind, Outage, Outages, Services, Standings, WorkOrder, WorkOrders

_Answer = TypeVar("_Answer", bound=BaseModel)


class UtilitiesSettings(AdapterSettings):
    """Settings of one platform."""

    url: HttpUrl = Field(description="Base address of the platform.")
    token_url: HttpUrl | None = Field(None, description="OAuth2 token endpoint; empty: `<url>/oauth/token`.")
    client_id: str = Field("city-hub", description="OAuth2 client id.")
    secret: SecretStr = Field(description="OAuth2 client secret.")
    companies: dict[str, str] = Field(
        default={"water": "water", "drainage": "drainage", "power": "power", "gas": "gas", "heat": "heat"},
        description="Unit code → the platform's company.",
    )
    categories: dict[Kind, str] = Field(
        default={"water": "E0404", "power": "E0405", "gas": "E0406", "heat": "E0407"},
        description="Kind of outage → category code of the district; a kind left out is triaged by its text.",
    )
    outages: bool = Field(True, description="Open cases from outage notices.")
    page_size: int = Field(100, ge=1, le=500, description="Changes and notices fetched by one request.")
    zone: str = Field("Asia/Shanghai", description="Time zone of the times in notices' texts.")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no such time zone: {value}") from error
        return value


class UtilitiesAdapter(Adapter):
    """The utilities as departments and as a source of cases."""

    manifest = Manifest(
        name="utilities",
        department="水电气热",
        version="0.2.0",
        owner="City Hub maintainers",
        capabilities=frozenset(
            {
                Capability.LOOKUP,
                Capability.RECALL,
                Capability.URGE,
                Capability.POLL,
                Capability.IDEMPOTENT,
                Capability.AUDIT,
                Capability.CATALOGUE,
            }
        ),
        poll_every=timedelta(seconds=2),
        concurrency=4,
        crosswalk=Crosswalk(statuses=STATUSES),
    )
    Settings: ClassVar[type[AdapterSettings]] = UtilitiesSettings

    async def start(self) -> None:
        """Prepare access; asks nothing of the platform."""
        settings = self._settings
        self._base = str(settings.url).rstrip("/")
        self._zone = ZoneInfo(settings.zone)
        self._budget = Budget(time.monotonic)
        self._tokens = TokenSource(
            self.http,
            url=str(settings.token_url) if settings.token_url else f"{self._base}/oauth/token",
            client_id=settings.client_id,
            secret=settings.secret,
            clock=time.monotonic,
        )

    async def deliver(self, assignment: Assignment) -> Receipt:
        """File a work order with the company of the unit; the same key files nothing new."""
        company = self._settings.companies.get(assignment.unit)
        if company is None:
            raise Refused(f"水电气热平台没有与单位 {assignment.unit} 对应的公司", subject=assignment.key)
        body = {"reference": assignment.key, "company": company, **assignment.summary()}
        answer = await self._send("POST", "/work-orders", body=body, headers={"Idempotency-Key": assignment.key})
        if answer.status_code == 409:
            raise Unavailable("the same work order is just being filed", retry_after=timedelta(seconds=1))
        if answer.status_code == 422:
            return await self._refused_or_filed(assignment, answer)
        return Receipt(ticket=_read(WorkOrder, answer, 200, 201).number)

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Search by our reference; an empty list means the platform has not got it."""
        answer = await self._send("GET", "/work-orders", query={"reference": assignment.key})
        found = _read(WorkOrders, answer, 200).items
        return Receipt(ticket=found[0].number) if found else None

    async def recall(self, assignment: Assignment, reason: str) -> None:
        """Cancel a work order; Refused when the work is done already."""
        ticket = await self._ticket(assignment)
        if ticket is None:
            return
        answer = await self._send("POST", f"/work-orders/{quote(ticket, safe='')}/cancel", body={"reason": reason})
        if answer.status_code in (409, 422):
            raise Refused(_reason(answer), subject=assignment.key)
        if answer.status_code not in (404, 410):
            _read(WorkOrder, answer, 200)

    async def urge(self, assignment: Assignment, message: str) -> None:
        """Remind the company of a work order."""
        ticket = await self._ticket(assignment)
        if ticket is None:
            raise Refused("平台没有该工单", subject=assignment.key)
        answer = await self._send("POST", f"/work-orders/{quote(ticket, safe='')}/urge", body={"message": message})
        if answer.status_code in (404, 409, 410, 422):
            raise Refused(_reason(answer), subject=assignment.key)
        _read(WorkOrder, answer, 200)

    async def poll(self, cursor: str | None) -> Poll:
        """Fetch a page of changes and a page of outage notices; the cursor is `<changes>.<outages>`.

        A notice whose end has passed opens no case.
        """
        seen_changes, seen_outages = _parse_cursor(cursor)
        changes = await self._page(Changes, "/work-orders/changes", seen_changes)
        items: list[Feedback | IncomingCase] = [change.report(self.words) for change in changes.items]
        if not self._settings.outages:
            return Poll(items=items, cursor=f"{changes.next}.{seen_outages}", more=changes.more)
        outages = await self._page(Outages, "/outages", seen_outages)
        items += [case for outage in outages.items if (case := self._case(outage)) is not None]
        return Poll(items=items, cursor=f"{changes.next}.{outages.next}", more=changes.more or outages.more)

    async def audit(self, cursor: str | None) -> Audit:
        """A page of all work orders; the cursor is the last number of the page before."""
        query = {"after": cursor or "", "limit": str(self._settings.page_size)}
        page = _read(Standings, await self._send("GET", "/work-orders/standings", query=query), 200)
        return Audit(items=[order.standing() for order in page.items], cursor=page.next)

    async def catalogue(self) -> Mapping[str, str]:
        """The kinds of work orders the companies take."""
        found = _read(Services, await self._send("GET", "/services"), 200)
        return {service.code: service.name for service in found.items}

    async def health(self) -> Health:
        """Ask the platform whether it is there and knows us."""
        answer = await self._send("GET", "/status")
        return Health(ok=answer.status_code == 200, detail="" if answer.status_code == 200 else f"HTTP {answer.status_code}")

    @property
    def _settings(self) -> UtilitiesSettings:
        return cast(UtilitiesSettings, self.settings)

    def _case(self, outage: Outage) -> IncomingCase | None:
        if outage.ends_at <= datetime.now(UTC):
            self.log.info("outage is over, no case", ref=outage.ref, ended_at=outage.ends_at.isoformat())
            return None
        return outage.case(self._settings.categories.get(outage.kind), self._zone)

    async def _refused_or_filed(self, assignment: Assignment, answer: httpx.Response) -> Receipt:
        """422: a no; or the key was used with other content (the assignment was changed since), then it has a number."""
        if _field(answer, "code") == "idempotency_key_reused":
            receipt = await self.lookup(assignment)
            if receipt is not None:
                return receipt
        raise Refused(_reason(answer), subject=assignment.key)

    async def _ticket(self, assignment: Assignment) -> str | None:
        if assignment.ticket is not None:
            return assignment.ticket
        receipt = await self.lookup(assignment)
        return None if receipt is None else receipt.ticket

    async def _page(self, kind: type[_Answer], path: str, after: int) -> _Answer:
        query = {"after": str(after), "limit": str(self._settings.page_size)}
        return _read(kind, await self._send("GET", path, query=query), 200)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One request within the budget; a rejected token is renewed once, a second 401 is CredentialsRejected."""
        await self._budget.wait()
        try:
            rejected: str | None = None
            for _ in range(2):
                token = await self._tokens.token(rejected=rejected)
                answer = await self.http.request(
                    method,
                    self._base + path,
                    params=query,
                    json=body,
                    headers={**(headers or {}), "Authorization": f"Bearer {token}"},
                    extensions={PASS_STATUSES: {401}},
                )
                self._budget.note(answer.headers)
                if answer.status_code != 401:
                    return answer
                rejected = token
        except Unavailable as error:
            if error.retry_after is not None:
                self._budget.close_for(error.retry_after)
            raise
        raise CredentialsRejected("the platform rejects a token it has just given")


def _parse_cursor(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    changes, dot, outages = cursor.partition(".")
    if not (dot and changes.isdigit() and outages.isdigit()):
        raise AdapterFault(f"not a cursor of the utilities: {cursor!r}")
    return int(changes), int(outages)


def _read(kind: type[_Answer], answer: httpx.Response, *expected: int) -> _Answer:
    """The answer as `kind`; raises AdapterFault when it is something else. Says where it is wrong, never the values."""
    if answer.status_code not in expected:
        raise AdapterFault(f"the platform answered {answer.status_code}")
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise AdapterFault(f"the platform's answer can't be read: {where}: {first['type']}") from error


def _field(answer: httpx.Response, name: str) -> str | None:
    try:
        body: Any = answer.json()
    except ValueError:
        return None
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) and value else None


def _reason(answer: httpx.Response) -> str:
    """The reason of a refusal, in the platform's words."""
    return (_field(answer, "reason") or f"水电气热平台不予受理（{answer.status_code}）")[:500]
