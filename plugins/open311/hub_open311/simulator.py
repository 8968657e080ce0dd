"""A GeoReport v2 server for tests and demos: `python -m hub_open311.simulator --port 0 --data DIR`.

JSON and XML, api_key needed to report, FixMyStreet's updates (`--no-updates`: a server of the bare standard), tokens first with
`--batch`. It is not idempotent: what is posted twice is two requests. It refuses a description that contains 不予受理.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl
from xml.etree.ElementTree import Element, SubElement, tostring

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from hub.testing.faults import FaultKind
from hub.testing.simulator import Simulator, Step, Ticket, iso
from hub.testing.tracing import note_case

SERVICES = {"001": "Street light out", "002": "Pothole", "003": "Blocked drain", "999": "Other"}
_ITEMS = {"services": "service", "service_requests": "request", "service_request_updates": "request_update", "errors": "error"}
_COPY = "#"
"""Parts our key from the number of a copy, when the same key was posted again."""
_NOTES = {
    "investigating": "The report was received and is being looked at.",
    "in_progress": "A crew is on its way.",
    "fixed": "Repaired.",
    "not_councils_responsibility": "不属于本单位管辖范围",
}


def adapter_settings(url: str, secret: str) -> dict[str, object]:
    """Adapter settings that match a running simulator."""
    return {"url": url, "api_key": secret, "jurisdiction_id": "city.example", "default_service": "999"}


class Denied(Exception):
    """Answered as GeoReport's errors."""

    def __init__(self, status: int, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.description = description


class Open311Simulator(Simulator):
    """Simulated server of a city."""

    department: ClassVar[str] = "open311"
    prefix: ClassVar[str] = "SR"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Its own options."""
        parser.add_argument("--no-updates", action="store_true", help="no servicerequestupdates: the bare standard")
        parser.add_argument("--batch", action="store_true", help="give a token first, the number a step later")
        parser.add_argument("--returns", type=float, default=0.0, help="share of requests that are not the city's 退单")

    def routes(self, app: FastAPI) -> None:
        """GeoReport v2 and servicerequestupdates."""

        async def denied(request: Request, error: Exception) -> Response:
            assert isinstance(error, Denied)
            errors = [{"code": error.status, "description": error.description}]
            return _answer(request, "errors", errors, error.status)

        app.add_exception_handler(Denied, denied)
        app.get("/services.{form}")(self.services)
        app.post("/requests.{form}")(self.new)
        app.get("/requests.{form}")(self.search)
        app.get("/requests/{number}.{form}")(self.one)
        app.get("/tokens/{token}.{form}")(self.token)
        if not self.arguments.no_updates:
            app.get("/servicerequestupdates.{form}")(self.updates)
            app.post("/servicerequestupdates.{form}")(self.comment)

    def files(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Only a new request files something."""
        return method == "POST" and path.startswith("/requests.")

    def listed(self) -> Sequence[Ticket]:
        """A request posted again under the same key is another one with the same key."""
        return [
            replace(ticket, key=ticket.key.partition(_COPY)[0]) if ticket.key is not None else ticket
            for ticket in self.store.tickets()
        ]

    # asked

    async def services(self, request: Request, form: str) -> Response:
        """What the city handles."""
        self._check_jurisdiction(request.query_params)
        return _answer(
            request,
            "services",
            [
                {"service_code": code, "service_name": name, "metadata": "false", "type": "realtime", "group": "streets"}
                for code, name in SERVICES.items()
            ],
        )

    async def new(self, request: Request, form: str) -> Response:
        """File a request."""
        sent = await _form(request)
        self._check_key(sent)
        self._check_jurisdiction(sent)
        if sent.get("service_code") not in SERVICES:
            raise Denied(404, "service_code was not found")
        if not (sent.get("address_string") or (sent.get("lat") and sent.get("long"))):
            raise Denied(400, "no location")
        if "不予受理" in sent.get("description", ""):
            raise Denied(400, "不属于受理范围，不予受理")
        own = sent.get("attribute[external_id]") or None
        if own is not None:
            note_case(own.partition(".")[0])
            copies = sum(ticket.key == own for ticket in self.listed())
            own = own if not copies else f"{own}{_COPY}{copies}"
        token = secrets.token_hex(8) if self.arguments.batch else None
        kept = {name: value for name, value in sent.items() if name != "api_key"} | {"token": token}
        filed = self.file(key=own, unit=sent["service_code"], body=kept, state="open")
        await self.store.durable()
        answer = {"service_request_id": filed.ticket} if token is None else {"token": token}
        return _answer(request, "service_requests", [{**answer, "service_notice": "", "account_id": ""}])

    async def search(self, request: Request, form: str) -> Response:
        """Requests by number, or those of a range, newest first."""
        asked = request.query_params
        self._check_jurisdiction(asked)
        ids = set(filter(None, asked.get("service_request_id", "").split(",")))
        if ids:
            found = [ticket for ticket in self.store.tickets() if ticket.ticket in ids]
        else:
            since, until = _seconds(asked.get("start_date"), 0.0), _seconds(asked.get("end_date"), time.time() + 1)
            found = [ticket for ticket in reversed(self.store.tickets()) if since <= ticket.created_at <= until]
        size, page = int(asked.get("page_size", 1000)), int(asked.get("page", 1))
        return _answer(request, "service_requests", [_standing(ticket) for ticket in found[(page - 1) * size : page * size]])

    async def one(self, request: Request, number: str, form: str) -> Response:
        """One request."""
        self._check_jurisdiction(request.query_params)
        return _answer(request, "service_requests", [_standing(self._request(number))])

    async def token(self, request: Request, token: str, form: str) -> Response:
        """The number of a token; none while the request has not been looked at."""
        self._check_jurisdiction(request.query_params)
        for ticket in self.store.tickets():
            if ticket.body.get("token") == token and ticket.body.get("looked_at"):
                return _answer(request, "service_requests", [{"service_request_id": ticket.ticket, "token": token}])
        raise Denied(404, "token was not found")

    async def updates(self, request: Request, form: str) -> Response:
        """Updates of a range; faults let items come twice or in reversed order."""
        asked = request.query_params
        self._check_jurisdiction(asked)
        since, until = _seconds(asked.get("start_date"), 0.0), _seconds(asked.get("end_date"), time.time() + 1)
        rows = self.store.db.execute("SELECT at, body FROM feed WHERE at BETWEEN ? AND ? ORDER BY seq", (int(since), until))
        items: list[dict[str, Any]] = []
        for body in [row["body"] for row in rows]:
            item = dict(_read(body))
            items.append(item)
            if self.faults.draw(FaultKind.DUPLICATE_CALLBACK):
                items.append(item)
        if len(items) > 1 and self.faults.draw(FaultKind.REORDER_CALLBACKS):
            items.reverse()
        return _answer(request, "service_request_updates", items)

    async def comment(self, request: Request, form: str) -> Response:
        """What a client's user says."""
        sent = await _form(request)
        self._check_key(sent)
        found = self._request(sent.get("service_request_id", ""))
        said = {**found.body.get("comments", {}), sent.get("update_id", ""): sent.get("description", "")}
        self.store.set_ticket(found.ticket, body={**found.body, "comments": said})
        await self.store.durable()
        return _answer(request, "service_request_updates", [{"update_id": sent.get("update_id", "")}])

    def _check_key(self, sent: Mapping[str, str]) -> None:
        if not secrets.compare_digest(sent.get("api_key", "").encode(), self.secret.encode()):
            raise Denied(403, "api_key is missing or wrong")

    @staticmethod
    def _check_jurisdiction(sent: Mapping[str, str]) -> None:
        if sent.get("jurisdiction_id") not in (None, "", "city.example"):
            raise Denied(404, "jurisdiction_id was not found")

    def _request(self, number: str) -> Ticket:
        found = self.store.ticket(number)
        if found is None:
            raise Denied(404, "service_request_id was not found")
        if found.key is not None:
            note_case(found.key.partition(".")[0])
        return found

    # people

    def planned(self, ticket: Ticket) -> None:
        """Somebody looks at it."""
        self.after(1, "investigating", ticket.ticket)

    def step(self, step: Step) -> None:
        """A crew at work; in the end the request is closed."""
        ticket = self.store.ticket(step.ticket)
        if ticket is None:
            return
        gives_back = self.random(ticket.ticket, "returns").random() < self.arguments.returns
        following = {
            "investigating": ("not_councils_responsibility" if gives_back else "in_progress", 1.5),
            "in_progress": ("fixed", 2.0),
        }
        done = step.kind not in following
        now = time.time()
        changed = ticket.body | {"looked_at": now, "changed_at": now, "note": _NOTES[step.kind]}
        self.store.set_ticket(ticket.ticket, state="closed" if done else "open", body=changed)
        update = f"{ticket.ticket}-{step.kind}"
        said = {"status": step.kind, "updated_datetime": iso(now), "description": _NOTES[step.kind], "media_url": ""}
        self.store.feed(step.kind, ticket.ticket, {"update_id": update, "service_request_id": ticket.ticket, **said})
        if not done:
            kind, steps = following[step.kind]
            self.after(steps, kind, ticket.ticket)


def _standing(ticket: Ticket) -> dict[str, Any]:
    return {
        "service_request_id": ticket.ticket,
        "status": ticket.state,
        "status_notes": ticket.body.get("note", ""),
        "service_code": ticket.unit,
        "service_name": SERVICES.get(ticket.unit, ""),
        "description": ticket.body.get("description", ""),
        "requested_datetime": iso(ticket.created_at),
        "updated_datetime": iso(ticket.body.get("changed_at", ticket.created_at)),
        "address": ticket.body.get("address_string", ""),
        "lat": ticket.body.get("lat", ""),
        "long": ticket.body.get("long", ""),
    }


def _answer(request: Request, root: str, items: list[dict[str, Any]], status: int = 200) -> Response:
    """A list in the format the address asks for."""
    if request.url.path.endswith(".json"):
        return JSONResponse(items, status)
    element = Element(root)
    for item in items:
        inner = SubElement(element, _ITEMS[root])
        for name, value in item.items():
            SubElement(inner, name).text = str(value)
    text = b'<?xml version="1.0" encoding="utf-8"?>\n' + tostring(element, encoding="utf-8")
    return Response(text, status, media_type="text/xml; charset=utf-8")


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode("utf-8"), keep_blank_values=True))


def _read(body: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)
    return found


def _seconds(text: str | None, default: float) -> float:
    """A W3C time as Unix seconds; 400 without an offset."""
    if not text:
        return default
    if not re.search(r"(Z|[+-]\d\d:\d\d)$", text):
        raise Denied(400, "a time needs a zone")
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    Open311Simulator.main()
