"""How one kind of matter stands in the HTTP interface, and the routes that every kind has.

`Kind` gives the path, the rights to commands, and a matter's presentation. The routes here are made from it: one matter, its timeline, its
trace, and one route for each command. Routes of a single kind (lists with filters, reports) stand beside these. Called by `create_app`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, cast

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from hub.errors import InvalidInput, NotAllowed
from hub.model.aggregate import Aggregate, Command, Folded, suffix_of, tag_of
from hub.model.district.areas import within
from hub.model.forms import Form
from hub.observing import telemetry
from hub.observing.case_trace import Tree, assemble
from hub.spine.ledger.desk import Outcome
from hub.surfaces.api.answers import (
    REPLAYED,
    SEQUENCE,
    Answered,
    Fresh,
    KeyHeader,
    answer,
    command_id,
    needed,
    settle,
    utc_now,
    wrote,
)
from hub.surfaces.api.bodies import body_of, command_from, reads
from hub.surfaces.api.matters.models import MatterList, Result, Timeline
from hub.surfaces.api.people.auth import Caller, CallerHere, Having, Scoped, ServicesHere
from hub.surfaces.api.problems import Failure

if TYPE_CHECKING:
    from hub.model.policy.district import District
    from hub.surfaces.api.matters.models import TimelineItem
    from hub.surfaces.api.services import Services
    from hub.views.projection import Projection
    from hub.views.queries import TimelineEntry

V = TypeVar("V", bound=Scoped)
F = TypeVar("F", bound=Callable[..., Awaitable[object]])

MOST_IN_LIST = 200


@dataclass(frozen=True)
class Showing:
    """The reader and the time for which a matter is shown."""

    district: District
    caller: Caller
    now: datetime


async def _nothing_before(_services: Services, _caller: Caller, _command: Command) -> None:
    return None


async def _nothing_after(_services: Services, _command: Command, outcome: Outcome[Any]) -> Outcome[Any]:
    return outcome


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind(Generic[V]):
    """One kind of matter in the interface. `path` is the word in its paths (`cases`), `title` what people read.

    Who may give which command, and how its body looks, the commands say themselves (`hub.model.forms`).
    """

    aggregate: Aggregate[V, Any, Any]
    projection: Projection[V]
    path: str
    title: str
    answer: type[msgspec.Struct]
    show: Callable[[Showing, Folded[V], datetime | None], msgspec.Struct]
    """One matter's presentation to a caller; with the time of its last change when it comes from the read models."""
    tell: Callable[[Showing, Folded[V], tuple[TimelineEntry, ...]], list[TimelineItem]]
    """Its story as far as the caller may know it."""
    change: Callable[[V, Caller], dict[str, object]]
    """What a stream of changes tells of the matter beside the commit itself."""
    before: Callable[[Services, Caller, Command], Awaitable[None]] = _nothing_before
    """Checks a command's references to anything outside the matter. Raises InvalidInput."""
    after: Callable[[Services, Command, Outcome[V]], Awaitable[Outcome[V]]] = _nothing_after
    """Waits for the effects of a command on other matters that the caller wants to know. Raises TransitionRefused."""
    result: Callable[[Showing, Outcome[V]], msgspec.Struct] | None = None
    """The answer to a command, where it says more than `Result` does."""
    result_type: type[msgspec.Struct] | None = None
    lists_itself: bool = True
    """Whether it has the plain list; the case has one with filters of its own."""

    @cached_property
    def forms(self) -> Mapping[str, Form]:
        """The form of every command people may give to such a matter, by the command's name."""
        return {tag_of(command): form_of(command) for command in self.aggregate.given}


def form_of(command: type[Command]) -> Form:
    """The form of a command that people may give."""
    assert command.form is not None
    return command.form


def _typed(route: F, **types: Any) -> F:
    """The route with what only a kind knows of its parameters and answer, for checks and for the document."""
    route.__annotations__.update(types)
    return route


def _id_of(kind: Kind[Any]) -> Any:
    return Annotated[str, Path(pattern=f"^{kind.aggregate.id_pattern}$", description=f"{kind.title} id")]


def matter_router(kind: Kind[Any]) -> APIRouter:
    """The routes that every kind has: one matter, its story, its traces, and each command."""
    router = APIRouter(prefix=f"/{kind.path}", tags=[kind.path])
    name = kind.aggregate.name
    one, timeline, trace = _readers(kind)
    router.add_api_route("/{id}", one, methods=["GET"], summary=f"One {name}", operation_id=f"{name}_one")
    router.add_api_route("/{id}/timeline", timeline, methods=["GET"], summary="Its story", operation_id=f"{name}_timeline")
    router.add_api_route("/{id}/trace", trace, methods=["GET"], summary="Its traces as one tree", operation_id=f"{name}_trace")
    for command in kind.aggregate.given:
        tag = tag_of(command)
        router.add_api_route(
            f"/{{id}}/{tag}",
            _endpoint(kind, command, tag),
            methods=["POST"],
            tags=["commands"],
            name=tag,
            summary=(command.__doc__ or tag).partition("\n")[0],
            operation_id=f"command_{tag}" if name == "case" else f"{name}_command_{tag}",
        )
    return router


def list_router(kind: Kind[Any]) -> APIRouter:
    """The plain list of a kind that has no list with filters of its own."""
    router = APIRouter(prefix=f"/{kind.path}", tags=[kind.path])

    async def listed(
        request: Request,
        services: ServicesHere,
        caller: CallerHere,
        limit: Annotated[int, Query(ge=1, le=MOST_IN_LIST)] = 50,
        cursor: Annotated[int | None, Query(ge=1)] = None,
        fresh: Fresh = False,
    ) -> Answered[MatterList]:
        await settle(request, caller, fresh=fresh)
        found = await services.views.matters(kind.projection, caller.scope.area, limit=limit, before=cursor)
        here = Showing(services.district(), caller, utc_now())
        items = [kind.show(here, seen.folded, seen.updated_at) for seen in found if caller.sees(seen.folded.state)]
        following = str(found[-1].opened) if len(found) == limit else None
        return answer(MatterList(items=items, cursor=following))

    router.add_api_route("", listed, methods=["GET"], summary=f"List {kind.path}")
    return router


def opening_router(kind: Kind[Any], command: type[Command]) -> APIRouter:
    """`POST /<path>`: opens a matter by a command with a field `area`. Once for each Idempotency-Key: the id is derived from the key."""
    router = APIRouter(prefix=f"/{kind.path}", tags=[kind.path])

    async def opened(
        request: Request, services: ServicesHere, caller: Caller, body: msgspec.Struct, key: KeyHeader = None
    ) -> Response:
        identity = command_id(caller, needed(key))
        assert identity is not None
        wanted: Any = command_from(command, body)
        if not services.district().policy.is_area(wanted.area):
            raise InvalidInput(f"no such area: {wanted.area}", subject="area")
        if caller.scope.area is not None and not within(wanted.area, caller.scope.area):
            raise InvalidInput("lies outside the token's area", subject="area")
        id = kind.aggregate.new_id(wanted.area, suffix_of(int(identity, 16)))
        outcome = await services.desks.execute(id, wanted, actor=caller.actor, command_id=identity)
        return command_answer(request, services, kind, caller, outcome, status=201)

    opened.__doc__ = command.__doc__
    name = kind.aggregate.name
    router.add_api_route(
        "",
        _typed(
            opened,
            caller=Annotated[Caller, Depends(Having(form_of(command).roles))],
            body=Annotated[msgspec.Struct, reads(body_of(command), form_of(command).example)],
            **{"return": Answered.of(kind.result_type or Result)},
        ),
        methods=["POST"],
        status_code=201,
        summary=f"Open a {name}",
        operation_id=f"{name}_open",
    )
    return router


def _readers(kind: Kind[Any]) -> tuple[Any, Any, Any]:
    async def one(request: Request, services: ServicesHere, caller: CallerHere, id: str, fresh: Fresh = False) -> Response:
        """The matter as it stands."""
        here = Showing(services.district(), caller, utc_now())
        if fresh:
            folded = caller.must_see(await services.desks.load(id))
            return answer(kind.show(here, folded, None), headers={SEQUENCE: str(folded.sequence)})
        folded, updated_at = await seen(request, services, caller, id, fresh=False)
        return answer(kind.show(here, folded, updated_at), headers={SEQUENCE: str(folded.sequence)})

    async def timeline(request: Request, services: ServicesHere, caller: CallerHere, id: str, fresh: Fresh = False) -> Response:
        """Every event, oldest first."""
        folded, _ = await seen(request, services, caller, id, fresh=fresh)
        here = Showing(services.district(), caller, utc_now())
        return answer(Timeline(case=id, items=kind.tell(here, folded, await services.views.timeline(id))))

    async def trace(request: Request, services: ServicesHere, caller: CallerHere, id: str) -> Response:
        """All traces, assembled: what came from outside, and every step it set off."""
        folded, _ = await seen(request, services, caller, id, fresh=False)
        if caller.scope.unit is not None:
            raise Failure(403, "forbidden", "Traces show other departments' steps.")
        here = Showing(services.district(), caller, utc_now())
        story = [
            {"at": item.at, "traceparent": item.traceparent, "event": {"type": item.event, **item.body}}
            for item in kind.tell(here, folded, await services.views.timeline(id))
        ]
        spans = await asyncio.to_thread(services.spans.of_matter, id) if services.spans is not None else []
        return answer(assemble(id, story, spans))

    async def seen(
        request: Request, services: Services, caller: Caller, id: str, *, fresh: bool
    ) -> tuple[Folded[Any], datetime]:
        """The matter as the read models know it, and when it changed last; raises NotAllowed."""
        await settle(request, caller, fresh=fresh)
        found = await services.views.matter(kind.projection, id, caller.scope.area)
        if found is None or not caller.sees(found.folded.state):
            raise NotAllowed(f"no such {kind.aggregate.name}")
        return found.folded, found.updated_at

    id_path = _id_of(kind)
    return (
        _typed(one, id=id_path, **{"return": Answered.of(kind.answer)}),
        _typed(timeline, id=id_path, **{"return": Answered.of(Timeline)}),
        _typed(trace, id=id_path, **{"return": Answered.of(Tree)}),
    )


def _endpoint(kind: Kind[Any], command: type[Command], name: str) -> Callable[..., Awaitable[Response]]:
    async def known(services: ServicesHere, caller: CallerHere, id: str) -> Folded[Any]:
        """The matter, for a caller who sees it and may give the command. Runs before the body is read, so others learn nothing of it."""
        folded = caller.must_see(await services.desks.load(id))
        file_under(id)
        caller.may_command(kind, name)
        return folded

    async def give(
        request: Request,
        services: ServicesHere,
        caller: CallerHere,
        folded: Folded[Any],
        body: msgspec.Struct,
        key: KeyHeader = None,
    ) -> Response:
        outcome = await execute(services, kind, caller, folded, command_from(command, body), key)
        return command_answer(request, services, kind, caller, outcome)

    give.__doc__ = command.__doc__
    form = body_of(command)
    optional = not any(field.required for field in msgspec.structs.fields(form))
    return _typed(
        give,
        folded=Annotated[Folded, Depends(_typed(known, id=_id_of(kind)))],
        body=Annotated[msgspec.Struct, reads(form, form_of(command).example, optional=optional)],
        **{"return": Answered.of(kind.result_type or Result)},
    )


async def execute(
    services: Services, kind: Kind[V], caller: Caller, folded: Folded[V], command: Command, key: str | None
) -> Outcome[V]:
    """Do a command. Wait for its effects on other matters where the kind says so."""
    await kind.before(services, caller, command)
    outcome = await services.desks.execute(
        folded.id, command, actor=caller.actor, command_id=command_id(caller, key), cause=folded.last_trace
    )
    return await kind.after(services, command, cast("Outcome[V]", outcome))


def command_answer(
    request: Request, services: Services, kind: Kind[V], caller: Caller, outcome: Outcome[V], *, status: int = 200
) -> Answered[Any]:
    """The answer to a command: the matter after it, even when it has just left the caller's scope."""
    wrote(request, caller, outcome.sequence)
    headers = {SEQUENCE: str(outcome.sequence)}
    if outcome.repeated:
        headers[REPLAYED] = "true"
    here = Showing(services.district(), caller, utc_now())
    if kind.result is not None:
        return answer(kind.result(here, outcome), status, headers)
    shown = Result(
        matter=kind.show(here, outcome.folded, None),
        sequence=outcome.sequence,
        events=[tag_of(event) for event in outcome.events],
        repeated=outcome.repeated,
    )
    return answer(shown, status, headers)


def file_under(id: str) -> None:
    """File the request's span under the matter."""
    span = telemetry.current()
    if span is not None:
        span.set(telemetry.CONVERSATION, id)
