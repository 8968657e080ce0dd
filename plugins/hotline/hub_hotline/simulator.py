"""A 12345 work-order system for tests and demos: `python -m hub_hotline.simulator --port 0 --data DIR`.

`POST /_sim/orders` puts a caller's order in; the hub is called back. Told "resolved", its people ask the caller after a
while and send the rating; told "closed", the order closes. It refuses a consultation whose title contains 不予受理.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, ClassVar, Literal

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from hub.testing.callbacks import Sign
from hub.testing.simulator import Simulator, Step, Ticket, iso
from hub.testing.tracing import note_case
from hub_hotline.messages import Caller, Spot
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

_UNIT = "order"
_MOST_VISITS = 3
_RATINGS = {"满意": (4, 5), "基本满意": (3, 4), "不满意": (1, 2)}
_COMMENTS = {
    "满意": "来电人表示满意",
    "基本满意": "来电人表示基本满意",
    "不满意": "来电人表示问题仍然存在，要求继续处理",
    "未评价": "来电人未作评价",
}


def adapter_settings(url: str, secret: str) -> dict[str, object]:
    """Adapter settings that match a running simulator."""
    return {"url": url, "secret": secret}


class NewOrder(BaseModel):
    """What a caller told the hotline. `satisfied` scripts the answers of the first visits (满意, 基本满意, 不满意, 未评价), `solved` beside

    it what is said of the matter; after that the share decides.
    """

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1)
    text: str = Field(min_length=1)
    reported_at: AwareDatetime | None = None
    ref: str | None = None
    area: str | None = None
    place_name: str | None = None
    place: str | None = None
    spot: Spot | None = None
    urgency: str | None = None
    contact: Caller | None = None
    satisfied: list[Literal["满意", "基本满意", "不满意", "未评价"]] = []
    solved: list[Literal["已解决", "部分解决", "未解决", "未询问"]] = []


class Standing(BaseModel):
    """How an order stands, as the hub says."""

    case: str
    stage: str
    text: str
    at: AwareDatetime
    reply: str | None = None


class Question(BaseModel):
    """A consultation asked for by the hub."""

    model_config = ConfigDict(extra="allow")

    ref: str = Field(min_length=1)
    unit: str
    title: str
    text: str


class Remark(BaseModel):
    """A reason or a reminder."""

    reason: str = ""
    message: str = ""


TOPICS: Mapping[str, str] = {
    "01": "城乡建设",
    "02": "环境保护",
    "03": "交通运输",
    "04": "劳动和社会保障",
    "05": "教育文体",
    "06": "商贸旅游",
    "07": "卫生健康",
}
"""What the hotline calls the kinds of matters."""


class HotlineSimulator(Simulator):
    """Simulated 12345 work-order system."""

    department: ClassVar[str] = "hotline"
    prefix: ClassVar[str] = "ZX"
    statuses: ClassVar[Sequence[str]] = (
        "consultation.accepted",
        "consultation.progress",
        "consultation.answered",
        "consultation.returned",
    )

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Its own options."""
        parser.add_argument("--satisfied", type=float, default=0.9, help="share of callers content with a result")
        parser.add_argument("--reached", type=float, default=0.97, help="share of visits that reach the caller")
        parser.add_argument("--returned", type=float, default=0.0, help="share of consultations given back")

    def signer(self, secret: str) -> Sign:
        """Callbacks carry the hotline's own signature."""

        def sign(id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
            signature = callback_signature(secret, id, timestamp, body)
            return {EVENT: id, TIMESTAMP: str(timestamp), SIGNATURE: signature}

        return sign

    def routes(self, app: FastAPI) -> None:
        """The interface the adapter speaks, and where orders are put in."""
        app.get("/api/v1/ping")(self.ping)
        app.post("/api/v1/consultations", status_code=201)(self.consult)
        app.get("/api/v1/consultations")(self.find)
        app.get("/api/v1/consultations/standings")(self.standings)
        app.get("/api/v1/topics")(self.topics)
        app.post("/api/v1/consultations/{ticket}/withdrawal")(self.withdraw)
        app.post("/api/v1/consultations/{ticket}/reminders")(self.remind)
        app.put("/api/v1/orders/{order}/standing")(self.set_standing)
        app.get("/api/v1/changes")(self.changes)
        app.post("/_sim/orders", status_code=201)(self.put_in)
        app.get("/_sim/orders")(self.orders)

    # callers

    async def put_in(self, order: NewOrder) -> dict[str, Any]:
        """A caller's order; the same `ref` is taken once."""
        number = order.ref or f"GD{self.store.count('order'):010d}"
        if self.store.ticket(number) is None:
            body = order.model_dump(mode="json") | {"visits": 0, "said": []}
            with self.store.change():
                filed = self.store.add_ticket(number, key=None, unit=_UNIT, state="open", body=body)
                self._say_order(filed)
            await self.store.durable()
        return {"order": number}

    async def orders(self) -> dict[str, Any]:
        """Every order and how it stands."""
        return {
            "orders": [
                {
                    "order": item.ticket,
                    "state": item.state,
                    "visits": item.body["visits"],
                    "case": item.body.get("case"),
                    "reply": item.body.get("reply"),
                }
                for item in self.store.tickets()
                if item.unit == _UNIT
            ]
        }

    def _say_order(self, order: Ticket) -> None:
        fields = ("title", "text", "area", "place_name", "place", "spot", "urgency", "contact")
        event = {name: order.body[name] for name in fields if order.body[name] is not None}
        event["reported_at"] = order.body["reported_at"] or iso(order.created_at)
        self._say(f"{order.ticket}-new", {"event": "order.created", "order": order.ticket, **event}, order)

    async def set_standing(self, order: str, request: Request) -> Response:
        """The hub says how an order stands; the same word twice changes nothing."""
        standing = await self._read(request, Standing)
        note_case(standing.case)
        found = self.store.ticket(order)
        if found is None or found.unit != _UNIT:
            return JSONResponse({"reason": "工单不存在"}, status_code=404)
        word = f"{standing.stage}@{standing.at.astimezone(UTC).isoformat()}"
        if word not in found.body["said"]:
            self._stand(found, standing, word)
        await self.store.durable()
        return JSONResponse({"order": order, "state": standing.stage})

    def _stand(self, order: Ticket, standing: Standing, word: str) -> None:
        """Take a word on an order; one older than the last changes nothing, an ended order can only be reopened."""
        at = standing.at.astimezone(UTC).isoformat()
        body = order.body | {"case": standing.case, "said": [*order.body["said"], word]}
        ended = order.state in ("closed", "void") and standing.stage != "reopened"
        if ended or at < body.get("stood_at", ""):
            self.store.set_ticket(order.ticket, body=body)
            return
        body |= {"answer": standing.text, "reply": standing.reply, "stood_at": at}
        with self.store.change():
            self.store.set_ticket(order.ticket, state=standing.stage, body=body)
            self.store.cancel_steps(order.ticket)
            if standing.stage == "resolved":
                self.after(2, f"visit{body['visits'] + 1}", order.ticket)

    def _visit(self, order: Ticket) -> None:
        """Ask the caller; an unreached one is asked again later."""
        number = order.body["visits"] + 1
        chance = self.random(order.ticket, "visit", str(number))
        scripted = order.body["satisfied"][number - 1 : number]
        reached = bool(scripted) or chance.random() < self.arguments.reached
        event: dict[str, Any] = {
            "event": "order.visited",
            "order": order.ticket,
            "at": iso(time.time()),
            "result": "接通" if reached else "未接通",
            "tries": 1,
        }
        if reached:
            content = chance.random() < self.arguments.satisfied
            satisfied = scripted[0] if scripted else chance.choice(("满意", "满意", "基本满意")) if content else "不满意"
            solved = chance.choice(("部分解决", "未解决")) if satisfied == "不满意" else "已解决"
            said = order.body["solved"][number - 1 : number]
            event |= {"satisfied": satisfied, "solved": said[0] if said else solved, "comment": _COMMENTS[satisfied]}
            if satisfied in _RATINGS:
                event["rating"] = chance.choice(_RATINGS[satisfied])
        else:
            event["comment"] = "拨打未接通"
        self.store.set_ticket(order.ticket, body=order.body | {"visits": number})
        self._say(f"{order.ticket}-visit-{number}", event, order)
        if not reached and number < _MOST_VISITS:
            self.after(2, f"visit{number + 1}", order.ticket)

    # consultations

    async def ping(self, request: Request) -> dict[str, str]:
        """Whether the system is there and knows the caller."""
        await self._authorised(request)
        return {"status": "ok"}

    async def consult(self, request: Request) -> Response:
        """A consultation; the same reference gives the ticket it already has."""
        question = await self._read(request, Question)
        if "不予受理" in question.title:
            return JSONResponse({"reason": "不属于热线受理范围"}, status_code=422)
        ticket = self.file(key=question.ref, unit=question.unit, body=question.model_dump())
        await self.store.durable()
        return JSONResponse({"ticket": ticket.ticket, "state": ticket.state}, status_code=201)

    async def find(self, request: Request, ref: str) -> dict[str, Any]:
        """Search by the asker's reference."""
        await self._authorised(request)
        note_case(ref.partition(".")[0])
        found = self.store.ticket_of_key(ref)
        return {"items": [] if found is None else [{"ticket": found.ticket, "ref": ref, "state": found.state}]}

    async def standings(self, request: Request, after: str = "", limit: int = 100) -> dict[str, Any]:
        """How every consultation stands, by number."""
        await self._authorised(request)
        size = min(max(limit, 1), 500)
        later = [item for item in self.store.tickets() if item.key is not None and item.ticket > after]
        later.sort(key=lambda item: item.ticket)
        page = [{"ticket": item.ticket, "ref": item.key, "state": item.state} for item in later[:size]]
        return {"items": page, "next": page[-1]["ticket"] if len(later) > size else None}

    async def topics(self, request: Request) -> dict[str, Any]:
        """The hotline's own kinds of matters."""
        await self._authorised(request)
        return {"items": [{"code": code, "name": name} for code, name in TOPICS.items()]}

    async def withdraw(self, ticket: str, request: Request) -> Response:
        """The asker takes a consultation back."""
        remark = await self._read(request, Remark)
        found = self.store.ticket(ticket)
        if found is None or found.key is None or found.state == "returned":
            return JSONResponse({"reason": "咨询单不存在"}, status_code=404)
        note_case(found.key.partition(".")[0])
        if found.state == "answered":
            return JSONResponse({"reason": "咨询单已办结，不能撤回"}, status_code=409)
        with self.store.change():
            self.store.cancel_steps(ticket)
            self.store.set_ticket(ticket, state="recalled", body=found.body | {"recalled": remark.reason})
        await self.store.durable()
        return JSONResponse({"ticket": ticket, "state": "recalled"})

    async def remind(self, ticket: str, request: Request) -> Response:
        """A reminder."""
        remark = await self._read(request, Remark)
        found = self.store.ticket(ticket)
        if found is None or found.key is None:
            return JSONResponse({"reason": "咨询单不存在"}, status_code=404)
        note_case(found.key.partition(".")[0])
        self.store.set_ticket(ticket, body=found.body | {"reminders": [*found.body.get("reminders", []), remark.message]})
        await self.store.durable()
        return JSONResponse({"ticket": ticket, "state": found.state})

    def planned(self, ticket: Ticket) -> None:
        """Somebody of the hotline will take it."""
        self.after(1, "accept", ticket.ticket)

    def step(self, step: Step) -> None:
        """People at work."""
        ticket = self.store.ticket(step.ticket)
        if ticket is None:
            return
        if step.kind.startswith("visit"):
            self._visit(ticket)
        elif step.kind == "accept":
            self._report(ticket, "accepted", "话务班长已签收")
            returned = self.random(ticket.ticket, "returned").random() < self.arguments.returned
            self.after(3, "return" if returned else "answer", ticket.ticket)
        elif step.kind == "answer":
            self._report(ticket, "answered", "已与来电人核实并答复")
        elif step.kind == "return":
            self._report(ticket, "returned", "不属于热线职责，建议转主管部门")

    def _report(self, ticket: Ticket, state: str, note: str) -> None:
        self.store.set_ticket(ticket.ticket, state=state)
        event = {
            "event": f"consultation.{state}",
            "ticket": ticket.ticket,
            "ref": ticket.key,
            "at": iso(time.time()),
            "note": note,
        }
        self._say(f"{ticket.ticket}-{state}", event, ticket)

    # saying it, by callback and in the list of changes

    def _say(self, id: str, event: dict[str, Any], ticket: Ticket) -> None:
        said = {**event, "event_id": id}
        self.store.feed(event["event"], ticket.ticket, said)
        self.call_back(id, said, ticket=ticket, case=ticket.body.get("case"))

    async def changes(self, request: Request, after: int = 0, limit: int = 100, pending: bool = False) -> dict[str, Any]:
        """Events after `after`; `pending`: only those whose callback nobody confirmed."""
        await self._authorised(request)
        page = self.store.feed_since(after, min(max(limit, 1), 500))
        confirmed = self._confirmed([item.body["event_id"] for item in page]) if pending else set()
        items = [{"seq": item.seq, "event": item.body} for item in page if item.body["event_id"] not in confirmed]
        return {"items": items, "next": page[-1].seq if page else after, "more": len(page) == min(max(limit, 1), 500)}

    def _confirmed(self, ids: list[str]) -> set[str]:
        marks = ",".join("?" * len(ids))
        rows = self.store.db.execute(f"SELECT id FROM outbox WHERE done = 1 AND id IN ({marks})", ids)  # noqa: S608 - only marks
        return {row["id"] for row in rows}

    # who asks

    async def _authorised(self, request: Request) -> bytes:
        """The body of a request whose signature holds; 401 else."""
        body = await request.body()
        timestamp = request.headers.get(TIMESTAMP, "")
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if fresh(timestamp, time.time()):
            nonce = request.headers.get(NONCE, "")
            expected = request_signature(self.secret, request.method, target, int(timestamp), nonce, body)
            if matches(expected, request.headers.get(SIGNATURE, "")):
                return body
        raise HTTPException(401, "签名无效")

    async def _read(self, request: Request, kind: type[Any]) -> Any:
        """A signed body of the given kind; 401 or 422 else."""
        body = await self._authorised(request)
        try:
            return kind.model_validate(json.loads(body))
        except (ValidationError, ValueError) as error:
            raise HTTPException(422, "请求内容无效") from error


if __name__ == "__main__":
    HotlineSimulator.main()
