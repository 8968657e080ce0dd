"""The interface the hub files orders with: JSON over HTTP, bearer secret, Idempotency-Key.

Errors are `{"code", "reason"}`. See README.md for the protocol.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opentelemetry import trace
from pydantic import BaseModel, Field

from hub_page.desk.orders import Order, OrderState
from hub_page.desk.outbox import Outbox
from hub_page.desk.store import DeskStore, KeyReused, StepRefused, TeamClosed
from hub_page.messages import PHOTO_PIECE, NewOrder

Refuses = Callable[[NewOrder], str | None]
"""Why an order is not taken, None when it is."""


class Denied(Exception):
    """Answered as `{"code", "reason"}` with `status`."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason


class Remark(BaseModel):
    """Why an order is taken back, or a reminder."""

    reason: str = Field("", max_length=2000)
    message: str = Field("", max_length=2000)


async def answer_denied(request: Request, error: Exception) -> Response:
    """The answer of a Denied."""
    if not isinstance(error, Denied):
        raise error
    return JSONResponse({"code": error.code, "reason": error.reason}, status_code=error.status)


async def answer_invalid(request: Request, error: Exception) -> Response:
    """The answer to a body that is not what it should be: where it is wrong, not its values."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return JSONResponse({"code": "invalid", "reason": f"{where}: {first['type']}"}, status_code=422)


def api_routes(store: DeskStore, secrets: Sequence[str], refuses: Refuses) -> APIRouter:
    """The routes under /api/v1; each of `secrets` opens them."""
    expected = [f"Bearer {secret}".encode() for secret in secrets]
    outbox = Outbox(store)

    async def known(authorization: Annotated[str, Header()] = "") -> None:
        given = authorization.encode("utf-8", "replace")
        if not any(hmac.compare_digest(given, one) for one in expected):
            raise Denied(401, "unauthorized", "身份校验失败")

    router = APIRouter(prefix="/api/v1", dependencies=[Depends(known)])

    @router.get("/status")
    async def status() -> dict[str, Any]:
        """The desk is there and knows the caller."""
        return {"status": "ok", "waiting": outbox.count(), "given_up": outbox.count("given_up")}

    @router.post("/orders", status_code=201)
    async def file(
        order: NewOrder,
        response: Response,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
        traceparent: Annotated[str | None, Header(max_length=200)] = None,
    ) -> dict[str, Any]:
        """File an order; the same key with the same content gives the number it already has."""
        _note_case(order.case)
        if not idempotency_key:
            raise Denied(400, "idempotency_key_missing", "缺少 Idempotency-Key")
        reason = refuses(order)
        if reason is not None:
            raise Denied(422, "refused", reason)
        try:
            filed, new = store.file(idempotency_key, order, trace=traceparent)
        except KeyReused as error:
            raise Denied(422, "idempotency_key_reused", "同一 Idempotency-Key 内容不同") from error
        except TeamClosed as error:
            raise Denied(422, "team_closed", f"{order.team.name}已停止接单") from error
        response.status_code = 201 if new else 200
        return _standing(store, filed)

    @router.get("/orders")
    async def find(
        ref: str | None = None, after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=500)] = 200
    ) -> dict[str, Any]:
        """Search by the hub's reference; without one: all orders behind a place, in the order they came."""
        if ref is None:
            listed = store.orders_after(after, limit=limit)
            items = [_standing(store, order) for _, order in listed]
            return {"items": items, "next": listed[-1][0] if len(listed) == limit else None}
        _note_case(ref.partition(".")[0])
        found = store.order_of_key(ref)
        return {"items": [] if found is None else [_standing(store, found)]}

    @router.get("/reports")
    async def reports(
        taken: Annotated[str, Query(max_length=4000)] = "", limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> dict[str, Any]:
        """What the hub has not got by callback, oldest first; `taken` names (with commas) what it has fetched and stored since."""
        done = [id for id in taken.split(",") if id]
        if done:
            outbox.taken(done)
        found = outbox.missed(store.clock(), limit=limit)
        return {"items": [json.loads(body) for body in found], "more": len(found) == limit}

    @router.post("/orders/{ticket}/recall")
    async def recall(ticket: str, remark: Remark) -> dict[str, Any]:
        """The hub takes an order back."""
        _known_order(store, ticket)
        try:
            store.recall(ticket, remark.reason)
        except StepRefused as error:
            raise Denied(409, "finished", "对方已办结，不能撤回") from error
        return _standing(store, _known_order(store, ticket))

    @router.post("/orders/{ticket}/urge")
    async def urge(ticket: str, remark: Remark) -> dict[str, Any]:
        """A reminder: a red mark on the page."""
        _known_order(store, ticket)
        try:
            store.urge(ticket, remark.message)
        except StepRefused as error:
            raise Denied(409, "finished", "工单已结束，无需催办") from error
        return _standing(store, _known_order(store, ticket))

    @router.get("/teams")
    async def teams() -> dict[str, Any]:
        """Every team the desk knows."""
        return {"items": [team.model_dump() for team in store.all_teams()]}

    @router.get("/photos/{id}")
    async def photo(
        id: str, offset: Annotated[int, Query(ge=0)] = 0, length: Annotated[int, Query(ge=1, le=PHOTO_PIECE)] = PHOTO_PIECE
    ) -> Response:
        """A piece of a photo."""
        ticket, found = store.ticket_of_photo(id), store.photo_content(id)
        if ticket is None or found is None:
            raise Denied(404, "not_found", "照片不存在")
        _known_order(store, ticket)
        return Response(found[1][offset : offset + length], media_type="application/octet-stream")

    return router


def _known_order(store: DeskStore, ticket: str) -> Order:
    found = store.order(ticket)
    if found is None:
        raise Denied(404, "not_found", "工单不存在")
    _note_case(str(found.body["case"]))
    return found


def _standing(store: DeskStore, order: Order) -> dict[str, Any]:
    """How an order stands as far as the hub may know: what can still be undone has not happened."""
    state = OrderState.IN_PROGRESS if store.undo_until(order) is not None else order.state
    changed_at = datetime.fromtimestamp(order.changed_at, UTC).isoformat()
    return {"ticket": order.ticket, "ref": order.key, "state": state.value, "team": order.team, "changed_at": changed_at}


def _note_case(case: str) -> None:
    """Name the case on the span of this request, where there is one."""
    trace.get_current_span().set_attribute("messaging.message.conversation_id", case)
