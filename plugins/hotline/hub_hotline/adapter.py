"""Speaks the protocol of a 12345 work-order system: JSON over HTTP, signed both ways.

Brings work orders in (callback, and a poll as backup for callbacks that were lost), hands consultations over, tells the
hotline how its orders stand, and takes ratings. Called by the hub only; see README.md for the protocol.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import httpx
from pydantic import BaseModel, Field, HttpUrl, SecretStr, TypeAdapter, ValidationError

from hub import (
    Adapter,
    AdapterFault,
    AdapterSettings,
    Assignment,
    Audit,
    CallbackRejected,
    CallbackRequest,
    Capability,
    Crosswalk,
    Feedback,
    Health,
    IncomingCase,
    Manifest,
    Notice,
    Poll,
    Receipt,
    Refused,
)
from hub_hotline.messages import (
    STATUSES,
    Changes,
    Consultations,
    Consulted,
    Event,
    OrderCreated,
    OrderVisited,
    Standings,
    Topics,
)
from hub_hotline.signing import (
    EVENT,
    NONCE,
    SIGNATURE,
    TIMESTAMP,
    callback_signature,
    fresh,
    matches,
    request_signature,
)

_Answer = TypeVar("_Answer", bound=BaseModel)
_EVENT: TypeAdapter[OrderCreated | OrderVisited | Consulted] = TypeAdapter(Event)


class HotlineSettings(AdapterSettings):
    """Settings of one hotline system."""

    url: HttpUrl = Field(description="Base address of the work-order system, e.g. https://12345.example.gov.cn")
    app: str = Field("city-hub", description="Name under which the hotline knows the hub.")
    secret: SecretStr = Field(description="Shared secret; signs requests and callbacks.")
    page_size: int = Field(100, ge=1, le=500, description="Changes fetched by one poll.")


class HotlineAdapter(Adapter):
    """The hotline as a source of cases, a department for consultation, and the one that asks callers back."""

    manifest = Manifest(
        name="hotline",
        department="12345热线",
        version="0.2.0",
        owner="City Hub maintainers",
        capabilities=frozenset(
            {
                Capability.LOOKUP,
                Capability.RECALL,
                Capability.URGE,
                Capability.INFORM,
                Capability.POLL,
                Capability.CALLBACK,
                Capability.IDEMPOTENT,
                Capability.AUDIT,
                Capability.CATALOGUE,
            }
        ),
        poll_every=timedelta(seconds=15),
        concurrency=8,
        crosswalk=Crosswalk(statuses=STATUSES),
    )
    Settings: ClassVar[type[AdapterSettings]] = HotlineSettings

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Ask the hotline for a consultation; the same key files nothing new."""
        answer = await self._send("POST", "/api/v1/consultations", {"ref": assignment.key, **assignment.summary()})
        if answer.status_code in (409, 422):
            raise Refused(_reason(answer), subject=assignment.key)
        return Receipt(ticket=str(_json(answer, 200, 201)["ticket"]))

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Search by our reference; an empty list means the hotline has not got it."""
        answer = await self._send("GET", f"/api/v1/consultations?{urlencode({'ref': assignment.key})}")
        found = _read(Consultations, _json(answer, 200)).items
        return Receipt(ticket=found[0].ticket) if found else None

    async def recall(self, assignment: Assignment, reason: str) -> None:
        """Withdraw a consultation; Refused when it has been answered already."""
        ticket = await self._ticket(assignment)
        if ticket is None:
            return
        answer = await self._send("POST", f"/api/v1/consultations/{quote(ticket, safe='')}/withdrawal", {"reason": reason})
        if answer.status_code == 409:
            raise Refused(_reason(answer), subject=assignment.key)
        if answer.status_code != 404:
            _json(answer, 200)

    async def urge(self, assignment: Assignment, message: str) -> None:
        """Leave a reminder on a consultation."""
        ticket = await self._ticket(assignment)
        if ticket is None:
            raise Refused("热线系统没有该工单", subject=assignment.key)
        answer = await self._send("POST", f"/api/v1/consultations/{quote(ticket, safe='')}/reminders", {"message": message})
        if answer.status_code in (404, 409):
            raise Refused(_reason(answer), subject=assignment.key)
        _json(answer, 200)

    async def inform(self, notice: Notice) -> None:
        """Set the standing of the order the case came from; saying the same twice changes nothing there."""
        body = {"case": notice.case, "stage": notice.stage, "text": notice.text, "at": notice.at.isoformat()}
        if notice.reply is not None:
            body["reply"] = notice.reply
        answer = await self._send("PUT", f"/api/v1/orders/{quote(notice.ref, safe='')}/standing", body)
        if answer.status_code in (404, 409, 422):
            raise Refused(_reason(answer), subject=notice.case)
        _json(answer, 200)

    async def poll(self, cursor: str | None) -> Poll:
        """Fetch events whose callback the hub has not confirmed."""
        after = int(cursor) if cursor is not None else 0
        query = urlencode({"after": after, "limit": self._settings.page_size, "pending": "true"})
        answer = await self._send("GET", f"/api/v1/changes?{query}")
        changes = _read(Changes, _json(answer, 200))
        return Poll(
            items=[change.event.item(self.words) for change in changes.items], cursor=str(changes.next), more=changes.more
        )

    async def parse_callback(self, request: CallbackRequest) -> Sequence[Feedback | IncomingCase]:
        """Check signature and time, read one event."""
        timestamp, event = request.headers.get(TIMESTAMP, ""), request.headers.get(EVENT, "")
        if not fresh(timestamp, time.time()):
            raise CallbackRejected("callback time stamp is missing or outside the window")
        expected = callback_signature(self._settings.secret.get_secret_value(), event, int(timestamp), request.body)
        if not matches(expected, request.headers.get(SIGNATURE, "")):
            raise CallbackRejected("callback signature does not match")
        try:
            said = _EVENT.validate_json(request.body)
        except ValidationError as error:
            raise CallbackRejected(f"callback body can't be read: {_first_problem(error)}", status=400) from error
        if said.event_id != event:
            raise CallbackRejected("callback body and header name different events", status=400)
        return (said.item(self.words),)

    async def audit(self, cursor: str | None) -> Audit:
        """A page of all consultations; the cursor is the last number of the page before."""
        query = urlencode({"after": cursor or "", "limit": self._settings.page_size})
        page = _read(Standings, _json(await self._send("GET", f"/api/v1/consultations/standings?{query}"), 200))
        return Audit(items=[consultation.standing() for consultation in page.items], cursor=page.next)

    async def catalogue(self) -> Mapping[str, str]:
        """The hotline's own kinds of matters."""
        found = _read(Topics, _json(await self._send("GET", "/api/v1/topics"), 200))
        return {topic.code: topic.name for topic in found.items}

    async def health(self) -> Health:
        """Ask the hotline's system whether it is there and knows us."""
        answer = await self._send("GET", "/api/v1/ping")
        return Health(ok=answer.status_code == 200, detail="" if answer.status_code == 200 else f"HTTP {answer.status_code}")

    @property
    def _settings(self) -> HotlineSettings:
        return cast(HotlineSettings, self.settings)

    async def _ticket(self, assignment: Assignment) -> str | None:
        if assignment.ticket is not None:
            return assignment.ticket
        receipt = await self.lookup(assignment)
        return None if receipt is None else receipt.ticket

    async def _send(self, method: str, target: str, body: Mapping[str, object] | None = None) -> httpx.Response:
        """One signed request; `target` is path and query below the base address."""
        content = b"" if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        url = str(self._settings.url).rstrip("/") + target
        parts = urlsplit(url)
        signed_target = parts.path + (f"?{parts.query}" if parts.query else "")
        timestamp, nonce = int(time.time()), secrets.token_hex(8)
        secret = self._settings.secret.get_secret_value()
        headers = {
            "content-type": "application/json",
            "x-hotline-app": self._settings.app,
            TIMESTAMP: str(timestamp),
            NONCE: nonce,
            SIGNATURE: request_signature(secret, method, signed_target, timestamp, nonce, content),
        }
        return await self.http.request(method, url, content=content, headers=headers)


def _json(answer: httpx.Response, *expected: int) -> dict[str, Any]:
    """The answer's object; raises AdapterFault when it is none or the status was not expected."""
    if answer.status_code not in expected:
        raise AdapterFault(f"the hotline's system answered {answer.status_code}")
    try:
        body = answer.json()
    except ValueError as error:
        raise AdapterFault("the hotline's system did not answer with JSON") from error
    if not isinstance(body, dict):
        raise AdapterFault("the hotline's system did not answer with a JSON object")
    return body


def _reason(answer: httpx.Response) -> str:
    """The reason of a refusal, in the hotline's words."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    reason = body.get("reason") if isinstance(body, dict) else None
    return str(reason)[:500] if reason else f"热线系统不予受理（{answer.status_code}）"


def _read(kind: type[_Answer], body: object) -> _Answer:
    """The answer as `kind`; raises AdapterFault when it is something else."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise AdapterFault(f"the hotline's answer can't be read: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    """Where a body is wrong, without its values: they may be personal."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['type']}"
