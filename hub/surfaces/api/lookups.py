"""Routes for looking things up: areas, units, the summary, the policy and its reasons, the caller."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from hub.errors import InvalidInput, LedgerConflict
from hub.model.district.areas import AreaCode, Level, UnitKind, within
from hub.model.policy.policy import Explanation
from hub.model.policy.rules import Matter
from hub.privacy.masks import mask_text
from hub.surfaces.api.answers import Answered, Fresh, alike, answer, settle, utc_now
from hub.surfaces.api.bodies import ExplainBody, PolicyBody, reads
from hub.surfaces.api.cases.present import Presenter
from hub.surfaces.api.lookup_models import (
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
from hub.surfaces.api.openapi import refuses
from hub.surfaces.api.people.auth import CallerHere, DistrictAdmin, PolicyReader, ServicesHere
from hub.surfaces.api.problems import Failure, FieldError
from hub.views.queries import Scope

router = APIRouter(tags=["lookups"])

LevelWord = Annotated[str | None, Query(pattern="^(grid|community|street|district)$")]
AreaQuery = Annotated[str | None, Query(pattern=r"^\d{6,15}$", description="Area code: at and below it")]


@router.get("/me", summary="Who am I")
async def me(services: ServicesHere, caller: CallerHere) -> Answered[Myself]:
    """The token's name, role, scope and rights."""
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


@router.get("/areas", summary="Areas")
async def areas(
    services: ServicesHere,
    _: CallerHere,
    level: LevelWord = None,
    parent: AreaQuery = None,
    area: AreaQuery = None,
) -> Answered[AreaList]:
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
        alike(AreaAnswer, found, level=found.level.word, path=list(tree.path(found.code)))
        for found in sorted(chosen, key=lambda found: found.code)
    ]
    return answer(AreaList(items=items))


@router.get("/units", summary="Units")
async def units(
    services: ServicesHere,
    _: CallerHere,
    kind: UnitKind | None = None,
    serves: Annotated[str | None, Query(pattern=r"^\d{6,15}$", description="Area code that the unit serves")] = None,
) -> Answered[UnitList]:
    """Who acts: each level's own units and the departments."""
    items = [
        alike(UnitAnswer, unit, level=None if unit.level is None else unit.level.word)
        for unit in services.district().directory
        if (kind is None or unit.kind is kind) and (serves is None or unit.serves(serves))
    ]
    return answer(UnitList(items=items))


@router.get("/summary", summary="Figures")
async def summary(
    request: Request, services: ServicesHere, caller: CallerHere, area: AreaQuery = None, fresh: Fresh = False
) -> Answered[SummaryAnswer]:
    """Cases by stage, late cases, cases that need attention, and every unit's deliveries, in the token's scope."""
    await settle(request, caller, fresh=fresh)
    scope = caller.scope
    if area is not None:
        if scope.area is not None and not within(area, scope.area):
            raise InvalidInput("lies outside the token's area", subject="area")
        scope = Scope(area=area, unit=scope.unit)
    found = await services.views.summary(scope)
    district, now = services.district(), utc_now()
    shown = Presenter(district, caller, now)
    units = [
        alike(
            UnitSummary,
            unit,
            unit_name=shown.unit_name(unit.unit) or unit.unit,
            dispatch_ms=alike(LatencyAnswer, unit.latency),
        )
        for unit in found.units
    ]
    rules = services.district().policy.answers
    return answer(
        alike(
            SummaryAnswer,
            found,
            at=now,
            resolution_rate=rules.resolution.share(found.answers["solved"]),
            satisfaction_rate=rules.satisfaction.share(found.answers["satisfied"]),
            dispatch_ms=alike(LatencyAnswer, found.latency),
            units=units,
            missing_years=list(district.missing_years(now)),
        )
    )


@router.get("/policy", summary="The policy in force")
async def policy(services: ServicesHere, caller: PolicyReader) -> Answered[PolicyAnswer]:
    """Its number and files, and every version ever published."""
    current = services.district().policy
    published = [
        PolicyVersion(version=record.version, at=record.at, by=record.actor.name) for record in await services.ledger.policies()
    ]
    return answer(PolicyAnswer(version=current.version, sources=dict(current.sources), published=published))


@router.post(
    "/policy",
    status_code=201,
    summary="Publish a policy",
    responses=refuses(409),
)
async def publish(
    services: ServicesHere, caller: DistrictAdmin, body: Annotated[PolicyBody, reads(PolicyBody)]
) -> Answered[Published]:
    """Check the files against areas and units, store them under the next number and put them in force."""
    try:
        version = await services.publish_policy(dict(body.sources), caller.actor)
    except LedgerConflict as problem:
        raise Failure(409, "conflict", "Another policy was published at the same moment; look at it first.") from problem
    return answer(Published(version=version), 201)


@router.post(
    "/policy/explain",
    summary="Why this unit",
)
async def explain(
    services: ServicesHere,
    caller: PolicyReader,
    body: Annotated[ExplainBody, reads(ExplainBody)],
) -> Answered[Explanation]:
    """What the policy in force would do with a matter: the rule and line that decide, the units and the limits. Opens nothing."""
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
