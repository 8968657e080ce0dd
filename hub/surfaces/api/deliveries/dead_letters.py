"""Routes of dead letters: deliveries that wait for an operator, because their tries are used up or nobody knows what became of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from hub.errors import NotAllowed
from hub.model.assignments.commands import Drop, Replay
from hub.model.assignments.state import AssignmentState, parse_delivery_key
from hub.model.rights import RUNNERS
from hub.privacy.masks import mask_text
from hub.surfaces.api.answers import KeyHeader, answer, settle, utc_now
from hub.surfaces.api.bodies import ReasonBody, read_body
from hub.surfaces.api.cases.kind import CASE_KIND
from hub.surfaces.api.cases.present import Presenter
from hub.surfaces.api.matters.kinds import command_answer, execute
from hub.surfaces.api.models import (
    CommandAnswer,
    DeadLetterAnswer,
    DeadLetterList,
)
from hub.surfaces.api.openapi import gives, takes
from hub.surfaces.api.people.auth import CallerHere, ServicesHere
from hub.views import DeadDelivery

router = APIRouter(tags=["dead letters"])

DeadKey = Annotated[
    str,
    Path(
        pattern=r"^\d{15}-[0-9a-hjkmnp-tv-z]{10,26}\.a\d{1,4}$",
        description="Delivery key: case id and assignment",
        examples=["320113001001001-01jd8x2m9qk3v5wz.a1"],
    ),
]
_REPLAY = takes(ReasonBody, {"reason": "对方系统已恢复"})


@router.get("/dead-letters", summary="Dead letters", responses=gives(DeadLetterList, 403))
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


@router.get("/dead-letters/{key}", summary="One dead letter", responses=gives(DeadLetterAnswer, 403))
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
