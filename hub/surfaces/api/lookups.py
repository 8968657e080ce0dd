"""Routes for looking things up: areas, units, the summary, the policy and why it decides as it does, who one is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hub.errors import InvalidInput, LedgerConflict
from hub.model.case.state import Channel
from hub.model.district.areas import AreaCode, Level, UnitKind, within
from hub.model.policy.policy import Explanation
from hub.model.policy.rules import Matter
from hub.privacy.masks import mask_text
from hub.surfaces.api.answers import Fresh, answer, settle, utc_now
from hub.surfaces.api.bodies import ExplainBody, PolicyBody, read_body
from hub.surfaces.api.cases.present import Presenter
from hub.surfaces.api.models import (
    AreaAnswer,
    AreaList,
    LatencyAnswer,
    Myself,
    PolicyAnswer,
    PolicyVersion,
    Published,
    SummaryAnswer,
    UnitAnswer,
    UnitList,
    UnitSummary,
)
from hub.surfaces.api.openapi import gives, takes
from hub.surfaces.api.people.auth import ADMINS, POLICY_READERS, CallerHere, ServicesHere
from hub.surfaces.api.problems import Failure, FieldError
from hub.views.queries import Scope
from hub.views.summary import Latency

router = APIRouter(tags=["lookups"])

LevelWord = Annotated[str | None, Query(pattern="^(grid|community|street|district)$")]
AreaQuery = Annotated[str | None, Query(pattern=r"^\d{6,15}$", description="Area code: at and below it")]


@router.get("/me", summary="Who am I", responses=gives(Myself))
async def me(services: ServicesHere, caller: CallerHere) -> Response:
    """The token's name, role and scope, and what it may do."""
    district = services.district()
    unit = caller.unit
    return answer(
        Myself(
            name=caller.token.name,
            role=caller.token.role.value,
            area=caller.token.area,
            unit=None if unit is None else unit.code,
            unit_name=None if unit is None else unit.name,
            level=None if unit is None or unit.level is None else unit.level.word,
            commands=caller.commands(services.kinds),
            scopes=sorted(caller.rights),
            district=district.name,
            zone=district.zone.key,
        )
    )


@router.get("/areas", summary="Areas", responses=gives(AreaList))
async def areas(
    services: ServicesHere,
    _: CallerHere,
    level: LevelWord = None,
    parent: AreaQuery = None,
    area: AreaQuery = None,
) -> Response:
    """The areas of the district, by code."""
    tree = services.district().areas
    chosen = [
        found
        for found in tree
        if (level is None or found.level is Level.parse(level))
        and (parent is None or found.parent == parent)
        and (area is None or within(found.code, area))
    ]
    items = [
        AreaAnswer(
            code=found.code,
            name=found.name,
            level=found.level.word,
            path=list(tree.path(found.code)),
            parent=found.parent,
            grid_kind=None if found.grid_kind is None else found.grid_kind.value,
            households=found.households,
        )
        for found in sorted(chosen, key=lambda found: found.code)
    ]
    return answer(AreaList(items=items))


@router.get("/units", summary="Units", responses=gives(UnitList))
async def units(
    services: ServicesHere,
    _: CallerHere,
    kind: UnitKind | None = None,
    serves: Annotated[str | None, Query(pattern=r"^\d{6,15}$", description="Area code that the unit serves")] = None,
) -> Response:
    """Who acts: each level's own units and the departments."""
    items = [
        UnitAnswer(
            code=unit.code,
            name=unit.name,
            kind=unit.kind.value,
            areas=list(unit.areas),
            level=None if unit.level is None else unit.level.word,
            adapter=unit.adapter,
        )
        for unit in services.district().directory
        if (kind is None or unit.kind is kind) and (serves is None or unit.serves(serves))
    ]
    return answer(UnitList(items=items))


@router.get("/summary", summary="Figures", responses=gives(SummaryAnswer))
async def summary(
    request: Request, services: ServicesHere, caller: CallerHere, area: AreaQuery = None, fresh: Fresh = False
) -> Response:
    """Cases by stage, what is late and what asks for attention, and every unit's deliveries, in the token's scope."""
    await settle(request, caller, fresh=fresh)
    scope = caller.scope
    if area is not None:
        if scope.area is not None and not within(area, scope.area):
            raise InvalidInput("lies outside the token's area", subject="area")
        scope = Scope(area=area, unit=scope.unit)
    found = await services.views.summary(scope)
    shown = Presenter(services.district(), caller, utc_now())
    return answer(
        SummaryAnswer(
            at=utc_now(),
            sequence=found.sequence,
            cases=found.cases,
            open=found.open,
            dead=found.dead,
            closed=found.closed,
            void=found.void,
            merged=found.merged,
            stages=found.stages,
            late=found.late,
            attention=found.attention,
            assignments=found.assignments,
            retries=found.retries,
            dispatch_ms=_latency(found.latency),
            units=[
                UnitSummary(
                    unit=unit.unit,
                    unit_name=shown.unit_name(unit.unit) or unit.unit,
                    adapter=unit.adapter,
                    assignments=unit.assignments,
                    open=unit.open,
                    delivered=unit.delivered,
                    resolved=unit.resolved,
                    returned=unit.returned,
                    refused=unit.refused,
                    dead=unit.dead,
                    late=unit.late,
                    retries=unit.retries,
                    dispatch_ms=_latency(unit.latency),
                )
                for unit in found.units
            ],
        )
    )


def _latency(found: Latency) -> LatencyAnswer:
    return LatencyAnswer(p50=found.p50, p99=found.p99)


@router.get("/policy", summary="The policy in force", responses=gives(PolicyAnswer, 403))
async def policy(services: ServicesHere, caller: CallerHere) -> Response:
    """Its number and files, and every version ever published."""
    caller.require(POLICY_READERS)
    current = services.district().policy
    published = [
        PolicyVersion(version=record.version, at=record.at, by=record.actor.name) for record in await services.ledger.policies()
    ]
    return answer(PolicyAnswer(version=current.version, sources=dict(current.sources), published=published))


@router.post(
    "/policy",
    status_code=201,
    summary="Publish a policy",
    responses=gives(Published, 400, 403, 409, 413, 415, status=201),
    openapi_extra=takes(PolicyBody, {"sources": {"routing.yaml": "…"}}),
)
async def publish(request: Request, services: ServicesHere, caller: CallerHere) -> Response:
    """Check the files against areas and units, store them under the next number and put them in force."""
    caller.require(ADMINS)
    caller.require_everywhere()
    body = await read_body(request, PolicyBody)
    try:
        version = await services.publish_policy(dict(body.sources), caller.actor)
    except LedgerConflict as problem:
        raise Failure(409, "conflict", "Another policy was published at the same moment; look at it first.") from problem
    return answer(Published(version=version), 201)


@router.post(
    "/policy/explain",
    summary="Why this unit",
    responses=gives(Explanation, 400, 403, 413, 415),
    openapi_extra=takes(ExplainBody, {"text": "楼下烧烤店深夜噪声扰民", "area": "320113", "channel": Channel.HOTLINE.value}),
)
async def explain(request: Request, services: ServicesHere, caller: CallerHere) -> Response:
    """What the policy in force would do with a matter: the rule and line that decide, the units and the limits. Opens nothing."""
    caller.require(POLICY_READERS)
    body = await read_body(request, ExplainBody)
    district = services.district()
    if body.area is not None and not district.policy.is_area(body.area):
        raise InvalidInput(f"no such area: {body.area}", subject="area")
    if body.category is not None and not district.policy.is_category(body.category):
        raise InvalidInput(f"no such category: {body.category}", subject="category")
    if not body.text.strip() and not body.title.strip():
        message = "a text or a title is needed"
        raise Failure(422, "invalid_input", message, errors=(FieldError(field="text", message=message),))
    area = AreaCode(body.area) if body.area is not None else district.locate(f"{body.title} {body.text}") or district.code
    matter = Matter(
        channel=body.channel,
        title=mask_text(body.title),
        text=mask_text(body.text),
        area=area,
        category=body.category,
        severity=body.severity,
    )
    return answer(district.policy.explain(matter, body.at or utc_now()))
