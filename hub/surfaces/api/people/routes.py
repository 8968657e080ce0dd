"""Routes of tokens: issued, listed and revoked by administrators, never further than the administrator's own reaches."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from hub.errors import InvalidInput, NotAllowed
from hub.model.district.areas import UnitKind, within
from hub.surfaces.api.answers import Answered, answer
from hub.surfaces.api.bodies import TokenBody, reads
from hub.surfaces.api.openapi import refuses
from hub.surfaces.api.people.auth import Admin, Caller, ServicesHere
from hub.surfaces.api.people.models import IssuedToken, TokenAnswer, TokenList
from hub.surfaces.api.people.scopes import parsed
from hub.surfaces.api.people.tokens import Token

router = APIRouter(tags=["tokens"])


@router.get("/tokens", summary="Tokens")
async def tokens(services: ServicesHere, caller: Admin) -> Answered[TokenList]:
    """Every token of the caller's area, without its secret."""
    found = [token for token in await services.tokens.list() if _owns(caller, token)]
    return answer(TokenList(items=[TokenAnswer(**token_fields(token)) for token in found]))


@router.post(
    "/tokens",
    status_code=201,
    summary="Issue a token",
)
async def issue(
    services: ServicesHere,
    caller: Admin,
    body: Annotated[
        TokenBody, reads(TokenBody, {"name": "尧化街道 李", "role": "clerk", "area": "320113001", "unit": "320113001"})
    ],
) -> Answered[IssuedToken]:
    """The secret is in this answer and nowhere else."""
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
    status_code=204,
    summary="Revoke a token",
    responses=refuses(403) | {204: {"description": "It is useless now"}},
)
async def revoke(services: ServicesHere, caller: Admin, id: Annotated[str, Path(pattern="^[0-9a-f]{16}$")]) -> Response:
    """Counts in every hub of the bus at once, and ends the token's streams."""
    if caller.scope.area is not None and not any(
        token.id == id and _owns(caller, token) for token in await services.tokens.list()
    ):
        raise NotAllowed("no such token", subject=id)
    await services.tokens.revoke(id)
    return Response(status_code=204)


def token_fields(token: Token) -> dict[str, Any]:
    """A token for display: everything but its secret."""
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
