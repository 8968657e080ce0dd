"""Departments' own keys. A department issues, lists and revokes keys of its own unit, never wider than its own token.

A key is a token of the role department with scopes. Administrators do the same for every department of their area.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from hub.errors import InvalidInput, NotAllowed
from hub.model.district.areas import UnitKind, within
from hub.model.rights import KeyScope, Role
from hub.surfaces.api.answers import Answered, answer
from hub.surfaces.api.bodies import KeyBody, reads
from hub.surfaces.api.openapi import refuses
from hub.surfaces.api.people.auth import Caller, KeyKeeper, ServicesHere
from hub.surfaces.api.people.models import IssuedToken, TokenAnswer, TokenList
from hub.surfaces.api.people.routes import token_fields
from hub.surfaces.api.people.scopes import parsed, rights_of
from hub.surfaces.api.people.tokens import Token
from hub.surfaces.api.services import Services

MOST_KEYS = 50
"""Keys of one unit."""

router = APIRouter(prefix="/keys", tags=["keys"])


@router.get("", summary="Keys")
async def keys(
    services: ServicesHere,
    caller: KeyKeeper,
    unit: Annotated[str | None, Query(max_length=64, description="Whose keys")] = None,
) -> Answered[TokenList]:
    """The tokens and keys of the own unit (an administrator: of every department), without their secrets."""
    items = [token for token in await _mine(services, caller) if unit is None or token.unit == unit]
    return answer(TokenList(items=[TokenAnswer(**token_fields(token)) for token in items]))


@router.post(
    "",
    status_code=201,
    summary="Issue a key",
)
async def issue(
    services: ServicesHere,
    caller: KeyKeeper,
    body: Annotated[KeyBody, reads(KeyBody, {"name": "工单系统只读", "scopes": ["cases:read", "deliveries:read"]})],
) -> Answered[IssuedToken]:
    """The secret is in this answer and nowhere else. Scopes and expiry reach no further than those of the token that asks."""
    scopes = parsed(body.scopes)
    wider = [scope.value for scope in scopes if scope not in caller.rights]
    if wider:
        raise InvalidInput(f"wider than your own token: {', '.join(wider)}", subject="scopes")
    unit = _unit(services, caller, body.unit)
    expires_at = caller.expiry(body.expires_at)
    if sum(token.unit == unit for token in await _mine(services, caller)) >= MOST_KEYS:
        raise InvalidInput(f"{unit} has {MOST_KEYS} keys; revoke some first", subject="unit")
    secret, token = await services.tokens.issue(
        name=body.name.strip(),
        role=Role.DEPARTMENT,
        unit=unit,
        area=caller.token.area,
        scopes=tuple(scope.value for scope in scopes),
        expires_at=expires_at,
        issued_by=caller.token.id,
    )
    return answer(IssuedToken(**token_fields(token), token=secret), 201, {"Cache-Control": "no-store"})


@router.delete(
    "/{id}",
    status_code=204,
    summary="Revoke a key",
    responses=refuses(403) | {204: {"description": "It is useless now"}},
)
async def revoke(
    services: ServicesHere,
    caller: KeyKeeper,
    id: Annotated[str, Path(pattern="^[0-9a-f]{16}$")],
    issued: Annotated[bool, Query(description="Also every key that was issued with it, and with those")] = False,
) -> Response:
    """Counts in every hub of the bus at once. A key wider than the one that asks can't be revoked with it."""
    mine = await _mine(services, caller)
    found = next((token for token in mine if token.id == id), None)
    if found is None or not rights_of(found) <= caller.rights:
        raise NotAllowed("no such key", subject=id)
    for one in (*_issued_with(found, mine), found) if issued else (found,):
        await services.tokens.revoke(one.id)
    return Response(status_code=204)


async def _mine(services: Services, caller: Caller) -> list[Token]:
    """The departments' tokens the caller answers for: a department's own, an administrator's area's."""
    return [
        token
        for token in await services.tokens.list()
        if token.role is Role.DEPARTMENT
        and (caller.token.role is not Role.DEPARTMENT or token.unit == caller.token.unit)
        and (caller.scope.area is None or within(token.area, caller.scope.area))
    ]


def _issued_with(token: Token, among: list[Token]) -> list[Token]:
    """Every token that descends from `token`, the youngest generation first."""
    found: list[Token] = []
    for child in (other for other in among if other.issued_by == token.id and other.id != token.id):
        found += [*_issued_with(child, among), child]
    return found


def _unit(services: Services, caller: Caller, wanted: str | None) -> str:
    if caller.token.role is Role.DEPARTMENT:
        own = caller.token.unit or ""
        if wanted not in (None, own):
            raise InvalidInput("a department issues keys for its own unit only", subject="unit")
        return own
    if wanted is None:
        raise InvalidInput("say for which department", subject="unit")
    unit = services.district().directory.get(wanted)
    if unit is None or unit.kind is not UnitKind.DEPARTMENT:
        raise InvalidInput(f"{wanted} is no department", subject="unit")
    return unit.code


__all__ = ["MOST_KEYS", "KeyScope", "router"]
