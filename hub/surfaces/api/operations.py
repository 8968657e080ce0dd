"""Routes of running the hub: adapters, deliveries that wait for an operator, tokens."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from hub.errors import InvalidInput, NotAllowed
from hub.model.assignments.commands import Drop, Replay
from hub.model.assignments.state import AssignmentState, parse_delivery_key
from hub.model.district.areas import UnitKind, within
from hub.privacy.masks import mask_text
from hub.surfaces.api.answers import KeyHeader, answer, settle, utc_now
from hub.surfaces.api.auth import ADMINS, RUNNERS, Caller, CallerHere, ServicesHere
from hub.surfaces.api.bodies import ReasonBody, TokenBody, read_body
from hub.surfaces.api.case_kind import CASE_KIND
from hub.surfaces.api.kinds import command_answer, execute
from hub.surfaces.api.models import (
    AdapterAnswer,
    AdapterList,
    CommandAnswer,
    DeadLetterAnswer,
    DeadLetterList,
    IssuedToken,
    TokenAnswer,
    TokenList,
)
from hub.surfaces.api.openapi import gives, refuses, takes
from hub.surfaces.api.present import Presenter
from hub.surfaces.api.scopes import parsed
from hub.surfaces.api.services import Services
from hub.surfaces.api.tokens import Token
from hub.views import DeadDelivery

router = APIRouter()

NamePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Instance name of config/adapters.yaml")]
DeadKey = Annotated[
    str,
    Path(
        pattern=r"^\d{15}-[0-9a-hjkmnp-tv-z]{10,26}\.a\d{1,4}$",
        description="Delivery key: case id and assignment",
        examples=["320113001001001-01jd8x2m9qk3v5wz.a1"],
    ),
]
_PAUSE = takes(ReasonBody, {"reason": "对方系统升级"})
_REPLAY = takes(ReasonBody, {"reason": "对方系统已恢复"})


@router.get("/adapters", tags=["adapters"], summary="Adapters", responses=gives(AdapterList, 403))
async def adapters(services: ServicesHere, caller: CallerHere) -> Response:
    """How every adapter instance stands: state, breaker, queue."""
    caller.require(RUNNERS)
    return answer(AdapterList(items=await _statuses(services)))


@router.post(
    "/adapters/{name}/pause",
    tags=["adapters"],
    summary="Pause an adapter",
    responses=gives(AdapterAnswer, 400, 403, 413, 415),
    openapi_extra=_PAUSE,
)
async def pause(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Take nothing from its queue until resumed; what is in flight ends. Outlives a restart."""
    caller.require(RUNNERS)
    caller.require_everywhere()
    body = await read_body(request, ReasonBody)
    await services.adapters.pause(name, f"{caller.token.name}: {mask_text(body.reason)}")
    return answer(await _status(services, name))


@router.post("/adapters/{name}/resume", tags=["adapters"], summary="Resume an adapter", responses=gives(AdapterAnswer, 403))
async def resume(services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Go on with its queue."""
    caller.require(RUNNERS)
    caller.require_everywhere()
    await services.adapters.resume(name)
    return answer(await _status(services, name))


async def _statuses(services: Services) -> list[AdapterAnswer]:
    return [
        AdapterAnswer(
            name=status.name,
            plugin=status.plugin,
            department=status.department,
            version=status.version,
            state=status.state,
            detail=status.detail,
            breaker=status.breaker,
            queued=status.queued,
            in_flight=status.in_flight,
            capabilities=list(status.capabilities),
            kind=status.kind,
            settings_version=status.settings_version,
            candidate_version=status.candidate_version,
            origin=status.origin,
            placement=status.placement,
            units=list(status.units),
            areas=list(status.areas),
            tier=status.tier,
        )
        for status in await services.adapters.statuses()
    ]


async def _status(services: Services, name: str) -> AdapterAnswer:
    for status in await _statuses(services):
        if status.name == name:
            return status
    raise NotAllowed("no such adapter", subject=name)


@router.get("/dead-letters", tags=["dead letters"], summary="Dead letters", responses=gives(DeadLetterList, 403))
async def dead_letters(
    request: Request,
    services: ServicesHere,
    caller: CallerHere,
    state: Annotated[str, Query(pattern="^(dead|refused|uncertain|all)$")] = "dead",
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> Response:
    """Deliveries whose attempts are used up (or that were refused, or whose outcome nobody knows), newest first."""
    caller.require(RUNNERS)
    await settle(request, caller, fresh=False)
    states = (
        (AssignmentState.DEAD, AssignmentState.REFUSED, AssignmentState.UNCERTAIN)
        if state == "all"
        else (AssignmentState(state),)
    )
    found = await services.views.dead_letters(caller.scope, states=states, limit=limit)
    shown = Presenter(services.district(), caller, utc_now())
    return answer(DeadLetterList(items=[_letter(item, shown) for item in found]))


@router.get("/dead-letters/{key}", tags=["dead letters"], summary="One dead letter", responses=gives(DeadLetterAnswer, 403))
async def dead_letter(request: Request, services: ServicesHere, caller: CallerHere, key: DeadKey) -> Response:
    """What was tried, how often, and how it failed."""
    caller.require(RUNNERS)
    await settle(request, caller, fresh=False)
    found = await services.views.dead_letter(*parse_delivery_key(key), scope=caller.scope)
    if found is None:
        raise NotAllowed("no such dead letter")
    return answer(_letter(found, Presenter(services.district(), caller, utc_now())))


@router.post(
    "/dead-letters/{key}/replay",
    tags=["dead letters"],
    summary="Try it again",
    responses=gives(CommandAnswer, 400, 403, 409, 413, 415),
    openapi_extra=_REPLAY,
)
async def replay(
    request: Request, services: ServicesHere, caller: CallerHere, key: DeadKey, once: KeyHeader = None
) -> Response:
    """Deliver again under the same delivery key: the department files nothing twice."""
    caller.may_command(CASE_KIND, "replay")
    body = await read_body(request, ReasonBody)
    case, assignment = parse_delivery_key(key)
    known = caller.must_see(await services.desk.load(case))
    command = Replay(assignment=assignment, reason=mask_text(body.reason))
    return command_answer(
        request, services, CASE_KIND, caller, await execute(services, CASE_KIND, caller, known, command, once)
    )


@router.post(
    "/dead-letters/{key}/drop",
    tags=["dead letters"],
    summary="Give it up",
    responses=gives(CommandAnswer, 400, 403, 409, 413, 415),
    openapi_extra=takes(ReasonBody, {"reason": "改由电话通知"}),
)
async def drop(request: Request, services: ServicesHere, caller: CallerHere, key: DeadKey, once: KeyHeader = None) -> Response:
    """The case is with its holder again."""
    caller.may_command(CASE_KIND, "drop")
    body = await read_body(request, ReasonBody)
    case, assignment = parse_delivery_key(key)
    known = caller.must_see(await services.desk.load(case))
    command = Drop(assignment=assignment, reason=mask_text(body.reason))
    return command_answer(
        request, services, CASE_KIND, caller, await execute(services, CASE_KIND, caller, known, command, once)
    )


def _letter(item: DeadDelivery, shown: Presenter) -> DeadLetterAnswer:
    return DeadLetterAnswer(
        key=item.key,
        case=item.case,
        assignment=item.assignment,
        title=item.title,
        unit=item.unit,
        unit_name=shown.unit_name(item.unit) or item.unit,
        adapter=item.adapter,
        state=item.state,
        attempts=item.attempts,
        at=item.at,
        letter=item.letter,
    )


@router.get("/tokens", tags=["tokens"], summary="Tokens", responses=gives(TokenList, 403))
async def tokens(services: ServicesHere, caller: CallerHere) -> Response:
    """Every token of the caller's area, without its secret."""
    caller.require(ADMINS)
    found = [token for token in await services.tokens.list() if _owns(caller, token)]
    return answer(TokenList(items=[TokenAnswer(**token_fields(token)) for token in found]))


@router.post(
    "/tokens",
    tags=["tokens"],
    status_code=201,
    summary="Issue a token",
    responses=gives(IssuedToken, 400, 403, 413, 415, status=201),
    openapi_extra=takes(TokenBody, {"name": "尧化街道 李", "role": "clerk", "area": "320113001", "unit": "320113001"}),
)
async def issue(request: Request, services: ServicesHere, caller: CallerHere) -> Response:
    """The secret is in this answer and nowhere else."""
    caller.require(ADMINS)
    body = await read_body(request, TokenBody)
    district = services.district()
    unit = district.directory.get(body.unit) if body.unit is not None else None
    if body.unit is not None and unit is None:
        raise InvalidInput(f"no such unit: {body.unit}", subject="unit")
    own = unit.code if unit is not None and unit.level is not None else None  # the area that the unit is there for
    if own is not None:
        _within_own(caller, own, subject="unit")
    area = body.area or own or caller.token.area
    _within_own(caller, area)
    if not district.policy.is_area(area):
        raise InvalidInput(f"no such area: {area}", subject="area")
    if body.role == "department" and unit is not None and unit.kind is not UnitKind.DEPARTMENT:
        raise InvalidInput(f"{unit.code} is no department", subject="unit")
    secret, token = await services.tokens.issue(
        name=body.name.strip(),
        role=body.role,
        unit=body.unit,
        area=area,
        scopes=None if body.scopes is None else tuple(parsed(body.scopes)),
        expires_at=caller.expiry(body.expires_at),
        issued_by=caller.token.id,
    )
    return answer(IssuedToken(**token_fields(token), token=secret), 201, {"Cache-Control": "no-store"})


def _within_own(caller: Caller, area: str, subject: str = "area") -> None:
    if caller.scope.area is not None and not within(area, caller.scope.area):
        raise InvalidInput("lies outside the token's area", subject=subject)


def _owns(caller: Caller, token: Token) -> bool:
    """Whether an administrator may see and revoke a token: it reaches no further than the administrator's own."""
    return caller.scope.area is None or within(token.area, caller.scope.area)


@router.delete(
    "/tokens/{id}",
    tags=["tokens"],
    status_code=204,
    summary="Revoke a token",
    responses=refuses(403) | {204: {"description": "It is useless now"}},
)
async def revoke(services: ServicesHere, caller: CallerHere, id: Annotated[str, Path(pattern="^[0-9a-f]{16}$")]) -> Response:
    """Counts in every hub of the bus at once, and ends the token's streams."""
    caller.require(ADMINS)
    if caller.scope.area is not None and not any(
        token.id == id and _owns(caller, token) for token in await services.tokens.list()
    ):
        raise NotAllowed("no such token", subject=id)
    await services.tokens.revoke(id)
    return Response(status_code=204)


def token_fields(token: Token) -> dict[str, Any]:
    """What is shown of a token: everything but its secret."""
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role.value,
        "area": token.area,
        "issued_at": token.issued_at,
        "unit": token.unit,
        "scopes": None if token.scopes is None else list(token.scopes),
        "expires_at": token.expires_at,
        "issued_by": token.issued_by,
        "last_used_at": token.last_used_at,
    }
