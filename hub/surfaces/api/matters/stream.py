"""`GET /changes`: every commit in the token's scope as server-sent events, from the ledger.

The event id is the ledger sequence: a client that comes back with Last-Event-ID misses nothing and gets nothing twice. A comment
every few seconds keeps the line open; a revoked token's streams end at once. Refuses more streams than the hub can follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hub.errors import BusUnavailable
from hub.model.aggregate import Commit
from hub.surfaces.api.answers import encode
from hub.surfaces.api.cases.present import actor_answer, concerns
from hub.surfaces.api.matters.kinds import Kind
from hub.surfaces.api.models import ActorAnswer
from hub.surfaces.api.openapi import refuses
from hub.surfaces.api.people.auth import Caller, CallerHere, ServicesHere
from hub.surfaces.api.people.tokens import REMEMBERED
from hub.surfaces.api.problems import Failure
from hub.surfaces.api.services import Services

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent."""
MOST_STREAMS = 100
MOST_OF_ONE = 10
"""Streams one token may hold, so that nobody takes all of them."""
_AHEAD = 256
"""Changes read ahead of a slow client."""
_TOLD = ("assignment", "unit", "role", "level", "cause", "kind", "action", "attempt", "ticket", "effect", "error", "outcome")
"""Fields of events that a change tells; the rest is in the timeline."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One commit: its events, its `matter` of a kind (`aggregate`), and the state after it. Each kind adds fields of its own (a case its
    stage, title, category, severity, holder and attention).
    """

    sequence: int
    aggregate: str
    matter: str
    number: int
    at: datetime
    command: str
    actor: ActorAnswer
    events: list[dict[str, Any]]
    area: str


router = APIRouter(tags=["changes"])

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events named `change`; the id is the ledger sequence",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get("/changes", summary="Stream of changes", responses=_STREAM | refuses())
async def changes(
    request: Request,
    services: ServicesHere,
    caller: CallerHere,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", pattern=r"^\d{1,18}$")] = None,
    after: Annotated[int | None, Query(ge=0, lt=10**18, description="Ledger sequence to go on from; the header wins")] = None,
) -> Response:
    """Changes from now on, or from behind a sequence."""
    start = int(last_event_id) if last_event_id is not None else after
    if start is None:
        start = await services.ledger.last_sequence()
    # # No await from here until the stream is counted. Else many that come at once would pass the limit.
    streams: Counter[str] = request.app.state.streams
    if streams[caller.token.id] >= MOST_OF_ONE:
        raise Failure(429, "rate_limited", f"At most {MOST_OF_ONE} streams with one token.", headers={"Retry-After": "5"})
    if streams.total() >= MOST_STREAMS:
        raise Failure(503, "unavailable", "Too many streams are open.", headers={"Retry-After": "5"})
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return _Stream(_events(services, caller, start, request.app.state.heartbeat), headers, streams, caller.token.id)


class _Stream(StreamingResponse):
    """A counted stream that closes its generator itself. Left to the garbage collector, the generator would follow the ledger on."""

    def __init__(self, body: AsyncGenerator[bytes, None], headers: dict[str, str], streams: Counter[str], whose: str) -> None:
        super().__init__(body, 200, headers, "text/event-stream")
        self._body = body
        self._streams = streams
        self._whose = whose
        streams[whose] += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes away."""
        try:
            async with contextlib.aclosing(self._body):
                await super().__call__(scope, receive, send)
        finally:
            self._streams[self._whose] -= 1
            self._streams += Counter()  # forgets who has none left


async def _events(services: Services, caller: Caller, after: int, heartbeat: float) -> AsyncGenerator[bytes, None]:
    """The stream's bytes; the first line tells at once that it is open."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
    revoked = services.tokens.end_of(caller.token.id)
    checked = -math.inf  # it may have been revoked before anybody listened
    reader = asyncio.create_task(_read(services, caller, after, queue), name="changes")
    ended = asyncio.create_task(revoked.wait(), name="end of the token")
    getting = asyncio.create_task(queue.get(), name="next change")
    try:
        yield b"retry: 1000\n\n"
        while True:
            if time.monotonic() - checked >= min(heartbeat, REMEMBERED):
                checked = time.monotonic()
                if not await _still_valid(services, caller):
                    return
            await asyncio.wait((getting, ended), timeout=heartbeat, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return
            if not getting.done():
                yield b": still here\n\n"
                continue
            event = getting.result()
            if event is None:
                await reader
                return
            getting = asyncio.create_task(queue.get(), name="next change")
            yield event
    finally:
        for task in (reader, ended, getting):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader


async def _still_valid(services: Services, caller: Caller) -> bool:
    """Whether the stream's token is still valid. While the bus is away no stream ends."""
    try:
        return await services.tokens.holds(caller.token.id)
    except BusUnavailable:
        return True


async def _read(services: Services, caller: Caller, after: int, queue: asyncio.Queue[bytes | None]) -> None:
    """Put the changes that the caller may see into the queue; None at the end."""
    try:
        kinds = {kind.aggregate.name: kind for kind in services.kinds}
        async for sequence, commit, _ in services.ledger.follow(after):
            kind = kinds.get(commit.aggregate)
            if kind is None or not commit.events:
                continue
            folded = await services.desks.known(commit.id, number=commit.number)
            if folded is not None and caller.sees(folded.state):
                told = change_of(sequence, commit, kind, folded.state, caller)
                if told is None:
                    continue
                content = encode(told)
                await queue.put(b"id: %d\nevent: change\ndata: %s\n\n" % (sequence, content))
    finally:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            await queue.put(None)


def change_of(sequence: int, commit: Commit[Any], kind: Kind[Any], state: Any, caller: Caller) -> dict[str, object] | None:
    """What a stream tells of a commit; None for a department when all of it concerns others' assignments."""
    mine = None
    if caller.scope.unit is not None:
        mine = {item.id for item in getattr(state, "assignments", ()) if item.unit == caller.scope.unit}
    events = []
    for event in commit.events:
        fields = msgspec.to_builtins(event)
        if concerns(fields, mine):
            events.append({"type": fields["type"]} | {name: fields[name] for name in _TOLD if name in fields})
    if not events:
        return None
    told = Change(
        sequence=sequence,
        aggregate=commit.aggregate,
        matter=commit.id,
        number=commit.number,
        at=commit.at,
        command=commit.command,
        actor=actor_answer(msgspec.to_builtins(commit.actor)),
        events=events,
        area=state.area,
    )
    return {**msgspec.structs.asdict(told), **kind.change(state, caller)}
