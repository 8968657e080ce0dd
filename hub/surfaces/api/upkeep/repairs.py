"""Routes of repairs: everything that needs a person, by adapter, kind and state. Put right or dismissed, with who and why.

Operators and devops see all of them, a department those of its own unit's adapters. See hub/platform/upkeep/repairs.py.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from hub.errors import NotAllowed
from hub.model.rights import Role
from hub.platform.upkeep.repairs import RepairFilter, RepairItem, RepairKind, RepairState
from hub.surfaces.api.answers import Answered, answer
from hub.surfaces.api.bodies import ReasonBody, reads
from hub.surfaces.api.people.auth import DELIVERY_READERS, Caller, CallerHere, DistrictRunner, ServicesHere
from hub.surfaces.api.services import Services, Upkeep
from hub.surfaces.api.upkeep.models import EndRepairBody, RepairList

router = APIRouter(prefix="/repairs", tags=["repairs"])

RepairId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The repair's id")]


@router.get("", summary="What needs repair")
async def repairs(
    services: ServicesHere,
    caller: CallerHere,
    adapter: Annotated[str | None, Query(max_length=64, description="Adapter instance")] = None,
    kind: Annotated[RepairKind | None, Query(description="What sort of thing is wrong")] = None,
    state: Annotated[str, Query(pattern="^(open|resolved|dismissed|all)$")] = "open",
    case: Annotated[str | None, Query(max_length=42, description="Only what names this case")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Answered[RepairList]:
    """The latest first. The same fault again counts up; it is not listed again."""
    upkeep = _of(services)
    own = _own(services, caller)
    adapters = own if adapter is None else frozenset({adapter}) if own is None else own & {adapter}
    page = await upkeep.repairs.list(
        RepairFilter(
            adapters=adapters,
            kind=kind,
            state=None if state == "all" else RepairState(state),
            case=case,
            unit=caller.scope.unit,
            limit=limit,
            cursor=cursor,
        )
    )
    return answer(RepairList(items=list(page.items), cursor=page.cursor))


@router.get("/{id}", summary="One repair")
async def repair(services: ServicesHere, caller: CallerHere, id: RepairId) -> Answered[RepairItem]:
    """What it is about, how often it happened, and who ended it."""
    own = _own(services, caller)
    return answer(_seen(await _of(services).repairs.get(id), own, caller))


@router.post(
    "/{id}/resolve",
    summary="Put right",
)
async def resolve(
    services: ServicesHere, caller: DistrictRunner, id: RepairId, body: Annotated[EndRepairBody, reads(EndRepairBody)]
) -> Answered[RepairItem]:
    """Opens again when the fault happens again. With `apply` the department's state is first taken as the missed feedback."""
    upkeep = _of(services)
    if body.apply:
        await upkeep.corrections.take_over(await upkeep.repairs.get(id), caller.token.name)
    return answer(await upkeep.repairs.resolve(id, caller.token.name, body.reason))


@router.post(
    "/{id}/dismiss",
    summary="Leave it so",
)
async def dismiss(
    services: ServicesHere,
    caller: DistrictRunner,
    id: RepairId,
    body: Annotated[ReasonBody, reads(ReasonBody, {"reason": "对方测试数据，无需处理"})],
) -> Answered[RepairItem]:
    """Stays so however often it happens, until its facts change or it had gone in between."""
    return answer(await _of(services).repairs.dismiss(id, caller.token.name, body.reason))


def _of(services: Services) -> Upkeep:
    if services.upkeep is None:
        raise NotAllowed("no repairs here")
    return services.upkeep


def _own(services: Services, caller: Caller) -> frozenset[str] | None:
    """The adapters whose repairs the caller may see. None: all of them. Raises Failure(403)."""
    caller.require(DELIVERY_READERS)
    if caller.token.role is not Role.DEPARTMENT:
        caller.require_everywhere()
        return None
    unit = caller.scope.unit or ""
    district = services.district()
    known = district.directory.get(unit)
    bound = {binding.adapter for binding in district.policy.bindings if unit in binding.units}
    return frozenset(bound | ({known.adapter} if known is not None and known.adapter is not None else set()))


def _seen(item: RepairItem, own: frozenset[str] | None, caller: Caller) -> RepairItem:
    if own is not None and (item.adapter not in own or item.unit not in (None, caller.scope.unit)):
        raise NotAllowed("no such repair", subject=item.id)
    return item
