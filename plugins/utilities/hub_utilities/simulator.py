"""A platform of five utilities for tests and demos: `python -m hub_utilities.simulator --port 0 --data DIR`.

Short-lived OAuth2 tokens, work orders of water, drainage, power, gas and heat, crews that take, drive and repair, a request
limit, and planned outages (`POST /_sim/outages`). It refuses a work order whose title contains 不予受理.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import math
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from fastapi import Depends, FastAPI, Form, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hub.testing.faults import FaultKind
from hub.testing.simulator import Simulator, Step, Ticket, iso
from hub.testing.store import FeedItem
from hub.testing.tracing import note_case
from hub_utilities.messages import COMPANY_NAMES, AreaDigits, Kind

CLIENT_ID = "city-hub"
_OUTAGE = "outage"
_URGENT_WITHIN = 2.0
_NOTES = {
    "accepted": "已受理，正在安排抢修班组",
    "crew_sent": "抢修人员已出发",
    "working": "现场抢修中",
    "completed": "已修复，恢复正常",
    "rejected": "不属于本公司管网范围",
}


def adapter_settings(url: str, secret: str) -> dict[str, object]:
    """Adapter settings that match a running simulator."""
    return {"url": url, "secret": secret}


SERVICES: Mapping[str, str] = {
    "W01": "供水管道抢修",
    "D01": "排水管道疏通",
    "P01": "供电线路抢修",
    "G01": "燃气泄漏处置",
    "H01": "供热管网抢修",
}
"""What the platform calls the kinds of work orders."""


class NewWorkOrder(BaseModel):
    """A work order as the hub files it; what else it says is kept."""

    model_config = ConfigDict(extra="allow")

    reference: str = Field(min_length=1, max_length=200)
    company: Kind
    title: str = Field(min_length=1)
    text: str
    severity: str = "ordinary"


class Remark(BaseModel):
    """A reason or a reminder."""

    reason: str = ""
    message: str = ""


class NewOutage(BaseModel):
    """A notice to publish. Times default to now and in six hours; the same `ref` is published once."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    areas: list[AreaDigits] = Field(min_length=1)
    ref: str | None = None
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    reason: str = ""
    planned: bool = True


class Denied(Exception):
    """Answered as `{"code", "reason"}` with `status`."""

    def __init__(self, status: int, code: str, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.headers = dict(headers or {})


class UtilitiesSimulator(Simulator):
    """Simulated platform of the utilities."""

    department: ClassVar[str] = "utilities"
    prefix: ClassVar[str] = "GY"
    statuses: ClassVar[Sequence[str]] = ("accepted", "crew_sent", "working", "completed", "rejected")

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._tokens: dict[str, float] = {}
        self._window = 0
        self._used = 0
        super().__init__(arguments)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Its own options."""
        parser.add_argument("--token-seconds", type=float, default=60.0, help="life of an access token")
        parser.add_argument("--rate", type=int, default=300, help="requests allowed in a second")
        parser.add_argument("--returns", type=float, default=0.0, help="share of work orders given back 退单")

    def files(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Only a new work order files something."""
        return method == "POST" and path == "/work-orders"

    def routes(self, app: FastAPI) -> None:
        """The interface the adapter speaks, and where outages are published."""

        async def denied(request: Request, error: Exception) -> Response:
            assert isinstance(error, Denied)
            return JSONResponse({"code": error.code, "reason": error.reason}, status_code=error.status, headers=error.headers)

        app.add_exception_handler(Denied, denied)
        app.post("/oauth/token")(self.grant)
        checked = [Depends(self.check)]
        app.get("/status", dependencies=checked)(self.status)
        app.get("/services", dependencies=checked)(self.services)
        app.get("/work-orders/changes", dependencies=checked)(self.changes)
        app.get("/work-orders/standings", dependencies=checked)(self.standings)
        app.post("/work-orders", dependencies=checked, status_code=201)(self.new)
        app.get("/work-orders", dependencies=checked)(self.search)
        app.post("/work-orders/{number}/cancel", dependencies=checked)(self.cancel)
        app.post("/work-orders/{number}/urge", dependencies=checked)(self.urge)
        app.get("/outages", dependencies=checked)(self.outages)
        app.post("/_sim/outages", status_code=201)(self.publish)
        app.delete("/_sim/tokens")(self.forget_tokens)

    # who asks, and how often

    async def grant(self, request: Request, grant_type: Annotated[str, Form()] = "") -> dict[str, Any]:
        """A token for the right client (HTTP Basic); RFC 6749, 4.4."""
        self._spend()
        if grant_type != "client_credentials":
            raise Denied(400, "unsupported_grant_type", "只支持 client_credentials")
        if not _is_client(request.headers.get("authorization", ""), self.secret):
            raise Denied(401, "invalid_client", "客户端身份校验失败", {"WWW-Authenticate": "Basic"})
        now, life = time.time(), float(self.arguments.token_seconds)
        self._tokens = {token: until for token, until in self._tokens.items() if until > now}
        token = secrets.token_urlsafe(24)
        self._tokens[token] = now + life
        return {"access_token": token, "token_type": "Bearer", "expires_in": life}

    async def check(self, request: Request, response: Response) -> None:
        """A token that is still good, and a request within the limit."""
        left, resets_in = self._spend()
        response.headers["RateLimit-Policy"] = f'"default";q={self.arguments.rate};w=1'
        response.headers["RateLimit"] = f'"default";r={left};t={resets_in}'
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or self._tokens.get(token, 0.0) <= time.time():
            raise Denied(401, "invalid_token", "令牌无效或已过期", {"WWW-Authenticate": 'Bearer error="invalid_token"'})

    async def forget_tokens(self) -> dict[str, Any]:
        """All tokens given so far are worth nothing from now on."""
        self._tokens.clear()
        return {"tokens": 0}

    def _spend(self) -> tuple[int, int]:
        """Use one request of this second; (what is left, seconds until the next window). 429 when none was left."""
        now = time.time()
        if int(now) != self._window:
            self._window, self._used = int(now), 0
        resets_in = max(1, math.ceil(self._window + 1 - now))
        if self._used >= self.arguments.rate:
            headers = {"Retry-After": str(resets_in), "RateLimit": f'"default";r=0;t={resets_in}'}
            raise Denied(429, "rate_limited", "请求过于频繁", headers)
        self._used += 1
        return self.arguments.rate - self._used, resets_in

    # work orders

    async def status(self) -> dict[str, str]:
        """The platform is there."""
        return {"status": "ok"}

    async def new(
        self, order: NewWorkOrder, response: Response, idempotency_key: Annotated[str | None, Header()] = None
    ) -> dict[str, Any]:
        """File a work order; the same key with the same content gives the number it already has."""
        if not idempotency_key:
            raise Denied(400, "idempotency_key_missing", "缺少 Idempotency-Key")
        body = order.model_dump()
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        found = self.store.ticket_of_key(idempotency_key)
        if found is not None:
            note_case(idempotency_key.partition(".")[0])
            if found.body["digest"] != digest:
                raise Denied(422, "idempotency_key_reused", "同一 Idempotency-Key 内容不同")
            response.status_code = 200
            return _standing(found)
        if "不予受理" in order.title:
            raise Denied(422, "not_accepted", f"不属于{COMPANY_NAMES[order.company]}受理范围")
        filed = self.file(key=idempotency_key, unit=order.company, body={**body, "digest": digest})
        await self.store.durable()
        return _standing(filed)

    async def search(self, reference: str) -> dict[str, Any]:
        """Work orders filed under a reference."""
        note_case(reference.partition(".")[0])
        found = self.store.ticket_of_key(reference)
        return {"items": [] if found is None else [_standing(found)]}

    async def standings(self, after: str = "", limit: int = 100) -> dict[str, Any]:
        """How every work order stands, by number."""
        size = min(max(limit, 1), 500)
        later = sorted((item for item in self.store.tickets() if item.key is not None and item.ticket > after), key=_number)
        page = later[:size]
        return {"items": [_standing(item) for item in page], "next": page[-1].ticket if len(later) > size else None}

    async def services(self) -> dict[str, Any]:
        """The kinds of work orders the companies take."""
        return {"items": [{"code": code, "name": name} for code, name in SERVICES.items()]}

    async def cancel(self, number: str, remark: Remark) -> dict[str, Any]:
        """Take a work order back; no longer once it is done."""
        found = self._order(number)
        if found.state in ("completed", "rejected"):
            raise Denied(409, "finished", "工单已办结，不能撤回")
        with self.store.change():
            self.store.cancel_steps(number)
            self.store.set_ticket(number, state="recalled", body=found.body | {"recalled": remark.reason})
        await self.store.durable()
        return {"number": number, "status": "recalled"}

    async def urge(self, number: str, remark: Remark) -> dict[str, Any]:
        """A reminder."""
        found = self._order(number)
        self.store.set_ticket(number, body=found.body | {"urged": [*found.body.get("urged", []), remark.message]})
        await self.store.durable()
        return _standing(found)

    def _order(self, number: str) -> Ticket:
        found = self.store.ticket(number)
        if found is None or found.key is None:
            raise Denied(404, "not_found", "工单不存在")
        note_case(found.key.partition(".")[0])
        return found

    # what is new

    async def changes(self, after: int = 0, limit: int = 100) -> dict[str, Any]:
        """Changes of work orders after `after`; faults let items come twice or in reversed order."""
        page, more = self._page("kind != ?", after, limit)
        items: list[dict[str, Any]] = []
        for entry in page:
            items.append(entry.body)
            if self.faults.draw(FaultKind.DUPLICATE_CALLBACK):
                items.append(entry.body)
        if len(items) > 1 and self.faults.draw(FaultKind.REORDER_CALLBACKS):
            items.reverse()
        return {"items": items, "next": page[-1].seq if page else after, "more": more}

    async def outages(self, after: int = 0, limit: int = 100) -> dict[str, Any]:
        """Notices published after `after`."""
        page, more = self._page("kind = ?", after, limit)
        return {"items": [entry.body for entry in page], "next": page[-1].seq if page else after, "more": more}

    def _page(self, which: str, after: int, limit: int) -> tuple[list[FeedItem], bool]:
        size = min(max(limit, 1), 500)
        rows = self.store.db.execute(
            f"SELECT * FROM feed WHERE seq > ? AND {which} ORDER BY seq LIMIT ?",  # noqa: S608 - our own two conditions
            (after, _OUTAGE, size + 1),
        ).fetchall()
        found = [
            FeedItem(seq=row["seq"], at=row["at"], kind=row["kind"], ticket=row["ticket"], body=json.loads(row["body"]))
            for row in rows
        ]
        return found[:size], len(found) > size

    async def publish(self, notice: NewOutage) -> dict[str, Any]:
        """Publish an outage; the same `ref` once."""
        now = time.time()
        starts_at = notice.starts_at.timestamp() if notice.starts_at else now
        ends_at = notice.ends_at.timestamp() if notice.ends_at else starts_at + 6 * 3600
        ref = notice.ref or f"TG{self.store.count('outage'):08d}"
        if self.store.note(f"outage.{ref}") is None:
            with self.store.change():
                self.store.set_note(f"outage.{ref}", "published")
                self.store.feed(
                    _OUTAGE,
                    ref,
                    {
                        "ref": ref,
                        "kind": notice.kind,
                        "areas": notice.areas,
                        "starts_at": iso(starts_at),
                        "ends_at": iso(ends_at),
                        "published_at": iso(now),
                        "reason": notice.reason,
                        "planned": notice.planned,
                    },
                )
            await self.store.durable()
        return {"ref": ref}

    # crews

    def planned(self, ticket: Ticket) -> None:
        """Urgent ones are taken within two seconds, whatever the pace."""
        urgent = ticket.body["severity"] == "urgent"
        self.after(0.3 if urgent else 1, "accepted", ticket.ticket, most=_URGENT_WITHIN if urgent else None)

    def step(self, step: Step) -> None:
        """A crew at work."""
        ticket = self.store.ticket(step.ticket)
        if ticket is None:
            return
        self._change(ticket, step.kind)
        following = {"accepted": ("crew_sent", 1.0), "crew_sent": ("working", 1.5), "working": ("completed", 2.0)}
        if step.kind == "accepted" and self.random(ticket.ticket, "returns").random() < self.arguments.returns:
            self.after(1, "rejected", ticket.ticket)
        elif step.kind in following:
            kind, steps = following[step.kind]
            self.after(steps, kind, ticket.ticket)

    def _change(self, ticket: Ticket, status: str) -> None:
        team = f"{COMPANY_NAMES[ticket.unit]}抢修{self.random(ticket.ticket, 'team').choice('一二三四')}班"
        self.store.set_ticket(ticket.ticket, state=status)
        self.store.feed(
            status,
            ticket.ticket,
            {
                "id": f"{ticket.ticket}-{status}",
                "number": ticket.ticket,
                "reference": ticket.key,
                "status": status,
                "at": iso(time.time()),
                "team": team,
                "note": _NOTES[status],
            },
        )


def _number(ticket: Ticket) -> str:
    return ticket.ticket


def _standing(ticket: Ticket) -> dict[str, Any]:
    return {"number": ticket.ticket, "reference": ticket.key, "status": ticket.state}


def _is_client(header: str, secret: str) -> bool:
    """Whether an Authorization header is that of our one client."""
    scheme, _, coded = header.partition(" ")
    try:
        given = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and secrets.compare_digest(given, f"{CLIENT_ID}:{secret}".encode())


if __name__ == "__main__":
    UtilitiesSimulator.main()
