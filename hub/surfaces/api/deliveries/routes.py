"""The delivery log: every hand-over to a department's system with all its attempts; sending again, or giving up.

A department sees its own unit's deliveries only, operators their area's. It shows the ledger's record (docs/plugins/webhooks.md).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from msgspec.structs import replace

from hub.contract import Capability
from hub.errors import NotAllowed, TransitionRefused
from hub.model.aggregate import Folded
from hub.model.assignments.commands import Drop, Resend
from hub.model.assignments.state import KEY_PATTERN, STOPPED, Assignment, AssignmentState, parse_delivery_key
from hub.model.case.state import Case
from hub.model.rights import Role
from hub.privacy.masks import mask_text
from hub.surfaces.api.answers import Answered, Fresh, KeyHeader, alike, answer, settle, utc_now
from hub.surfaces.api.bodies import ReasonBody, ResendBody, reads
from hub.surfaces.api.cases.kind import CASE_KIND
from hub.surfaces.api.cases.models import CommandAnswer
from hub.surfaces.api.cases.present import Presenter, attempt_answer
from hub.surfaces.api.deliveries.models import DeliveryAnswer, DeliveryList
from hub.surfaces.api.matters.kinds import command_answer, execute
from hub.surfaces.api.people.auth import Caller, DeliveryReader, Runner, ServicesHere
from hub.surfaces.api.services import Services
from hub.views.deliveries import SeenDelivery
from hub.views.filters import DeliveryFilter

router = APIRouter(prefix="/deliveries", tags=["deliveries"])

DeliveryKey = Annotated[
    str,
    Path(
        pattern=f"^{KEY_PATTERN}$",
        description="Delivery key: case id and assignment",
        examples=["320113001001001-01jd8x2m9qk3v5wz.a1"],
    ),
]


@router.get("", summary="The delivery log")
async def deliveries(
    request: Request,
    services: ServicesHere,
    caller: DeliveryReader,
    wanted: Annotated[DeliveryFilter, Query()],
    fresh: Fresh = False,
) -> Answered[DeliveryList]:
    """Latest attempt first, every attempt with how it ended; a department's token sees its own unit's."""
    await settle(request, caller, fresh=fresh)
    page = await services.views.deliveries(wanted, caller.scope)
    shown = Presenter(services.district(), caller, utc_now())
    return answer(DeliveryList(items=[_shown(item, shown) for item in page.items], cursor=page.cursor))


@router.get("/{key}", summary="One delivery")
async def delivery(
    request: Request, services: ServicesHere, caller: DeliveryReader, key: DeliveryKey, fresh: Fresh = False
) -> Answered[DeliveryAnswer]:
    """Every attempt: when, how long, how it ended."""
    await settle(request, caller, fresh=fresh)
    found = await services.views.delivery(*parse_delivery_key(key), scope=caller.scope)
    if found is None:
        raise NotAllowed("no such delivery")
    return answer(_shown(found, Presenter(services.district(), caller, utc_now())))


@router.post(
    "/{key}/resend",
    summary="Send it again",
)
async def resend(
    request: Request,
    services: ServicesHere,
    caller: DeliveryReader,
    key: DeliveryKey,
    body: Annotated[ResendBody, reads(ResendBody)],
    once: KeyHeader = None,
) -> Answered[CommandAnswer]:
    """Sends a dead, refused or uncertain delivery again. The delivery key stays the same, so that nothing is filed twice.

    A delivery that the department's system has only if the department itself asks with `again: true` and takes the same key once.
    """
    folded, found = await _its_own(services, caller, key)
    if body.again and found.state not in STOPPED:
        why = await _not_again(services, caller.token.role, found.adapter)
        if why is not None:
            raise TransitionRefused(state=found.state.value, command="resend", rule=why, subject=found.id)
    command = Resend(assignment=found.id, reason=body.reason, again=body.again)
    outcome = await execute(services, CASE_KIND, caller, folded, command, once)
    return command_answer(request, services, CASE_KIND, caller, outcome)


@router.post(
    "/{key}/drop",
    summary="Give it up",
)
async def drop(
    request: Request,
    services: ServicesHere,
    caller: Runner,
    key: DeliveryKey,
    body: Annotated[ReasonBody, reads(ReasonBody, {"reason": "改由电话通知"})],
    once: KeyHeader = None,
) -> Answered[CommandAnswer]:
    """A dead, refused or uncertain delivery is not tried any more; its case is with the holder again."""
    folded, found = await _its_own(services, caller, key)
    command = Drop(assignment=found.id, reason=body.reason)
    outcome = await execute(services, CASE_KIND, caller, folded, command, once)
    return command_answer(request, services, CASE_KIND, caller, outcome)


async def _its_own(services: Services, caller: Caller, key: str) -> tuple[Folded[Case], Assignment]:
    """The delivery as the ledger has it, in the caller's scope; raises NotAllowed."""
    case, assignment = parse_delivery_key(key)
    folded = caller.must_see(await services.desk.load(case))
    found = folded.state.assignment(assignment)
    if found is None or found.adapter is None or caller.scope.unit not in (None, found.unit):
        raise NotAllowed("no such delivery")
    return folded, found


async def _not_again(services: Services, role: Role, adapter: str | None) -> str | None:
    """The reason against sending a delivery again that the department's system has. None when it may be sent."""
    if role is not Role.DEPARTMENT:
        return "only the department itself may ask for what its system has already"
    for status in await services.statuses.all():
        if status.name == adapter and Capability.IDEMPOTENT.value in status.capabilities:
            return None
    return "its system would file the same key twice; look for it there by the ticket or the key"


def _shown(item: SeenDelivery, shown: Presenter) -> DeliveryAnswer:
    part = item.assignment
    letter = part.letter if part.state in (AssignmentState.DEAD, AssignmentState.DROPPED) else None
    resend = "yes" if part.state in STOPPED else "again" if part.state is AssignmentState.DELIVERED else "no"
    return alike(
        DeliveryAnswer,
        part,
        key=item.key,
        case=item.case,
        assignment=part.id,
        title=item.title,
        area=item.area,
        unit_name=shown.unit_name(part.unit) or part.unit,
        resend=resend,
        tried_at=item.tried_at,
        outcome=part.attempts[-1].outcome if part.attempts else None,
        delivered_at=item.delivered_at,
        attempts=[attempt_answer(attempt) for attempt in part.attempts],
        letter=letter and replace(letter, reason=mask_text(letter.reason)),
    )
