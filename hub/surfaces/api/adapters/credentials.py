"""Keys of adapters that run elsewhere: issued, listed, revoked by administrators; see hub/platform/remote/credentials.py."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from hub.errors import NotAllowed
from hub.platform.remote.credentials import Credentials
from hub.privacy.masks import mask_text
from hub.surfaces.api.adapters.credential_models import (
    CredentialsAnswer,
    CredentialsList,
    IssuedCredentials,
    RevokedCredentials,
)
from hub.surfaces.api.adapters.models import WhyBody
from hub.surfaces.api.answers import Answered, answer
from hub.surfaces.api.bodies import reads
from hub.surfaces.api.people.auth import DistrictAdmin, ServicesHere
from hub.surfaces.api.services import Services

router = APIRouter(prefix="/adapters/{name}/credentials", tags=["adapters"])

NamePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Name of the adapter instance")]


@router.get("", summary="Keys of an adapter")
async def listed(services: ServicesHere, caller: DistrictAdmin, name: NamePath) -> Answered[CredentialsList]:
    """Who may connect in the name of an adapter that runs elsewhere."""
    credentials = _of(services)
    items = [
        CredentialsAnswer(adapter=grant.adapter, user=grant.key, issued_at=grant.at, issued_by=grant.by, note=grant.note)
        for grant in await credentials.list(name)
    ]
    return answer(CredentialsList(items=items, server_configuration=await _configuration(credentials)))


@router.post(
    "",
    status_code=201,
    summary="Issue a key for an adapter",
)
async def issue(
    services: ServicesHere, caller: DistrictAdmin, name: NamePath, body: Annotated[WhyBody, reads(WhyBody, optional=True)]
) -> Answered[IssuedCredentials]:
    """The secret half is in this answer and nowhere else. Keys there are go on working: rotate by issuing, exchanging, revoking."""
    credentials = _of(services)
    if services.instances is None or name not in services.instances.roster.names():
        raise NotAllowed("no such adapter", subject=name)
    found = await credentials.issue(name, caller.token.name, note=(mask_text(body.note) or "")[:500])
    return answer(IssuedCredentials(file=found, server_configuration=await _configuration(credentials)), 201)


@router.delete("", summary="Revoke keys of an adapter")
async def revoke(
    services: ServicesHere,
    caller: DistrictAdmin,
    name: NamePath,
    user: Annotated[str | None, Query(pattern="^U[A-Z2-7]{55}$", description="Only this key")] = None,
) -> Answered[RevokedCredentials]:
    """Whoever uses them is cut off at once (embedded server)."""
    credentials = _of(services)
    revoked = await credentials.revoke(name, user)
    return answer(RevokedCredentials(revoked=revoked, server_configuration=await _configuration(credentials)))


async def _configuration(credentials: Credentials) -> str:
    return "" if credentials.embedded else await credentials.account()


def _of(services: Services) -> Credentials:
    if services.credentials is None:
        raise NotAllowed("no adapters elsewhere", subject="credentials")
    return services.credentials
