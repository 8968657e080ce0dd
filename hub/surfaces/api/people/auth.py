"""The caller, what they may see and what they may do. Owns the roles' rights; the lifecycle's own rules come after.

A matter outside a scope is not found (404). An action beyond a role is forbidden (403). Called by every route.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from hub.errors import InvalidInput, NotAllowed
from hub.model.actors import Actor, ActorKind
from hub.model.aggregate import Folded
from hub.model.case.state import Case
from hub.model.district.areas import Level, Unit, UnitCode, within
from hub.model.rights import RUNNERS, WORKERS, KeyScope, Role
from hub.surfaces.api.limits import CALLER_KEY
from hub.surfaces.api.people.scopes import refusal, rights_of
from hub.surfaces.api.people.tokens import Token
from hub.surfaces.api.problems import Failure
from hub.surfaces.api.services import Services
from hub.views.queries import Hands, Scope

if TYPE_CHECKING:
    from hub.model.policy.district import District
    from hub.surfaces.api.matters.kinds import Kind

REPORTERS = ATTACHERS = CONTACT_READERS = WORKERS
POLICY_READERS = frozenset((Role.ADMIN, Role.OPERATOR, Role.CLERK, Role.DEVOPS))
ADMINS = frozenset((Role.ADMIN,))
DELIVERY_READERS = RUNNERS | {Role.DEPARTMENT}
"""Who may look into the delivery log (a department: into its own part) and have something sent again."""
KEY_KEEPERS = frozenset((Role.ADMIN, Role.DEPARTMENT))
"""Who may issue departments' keys; a department only its own."""


class Scoped(Protocol):
    """What of a matter's state decides who sees it."""

    @property
    def area(self) -> str:
        """Where it lies."""
        ...

    @property
    def units(self) -> Collection[str]:
        """The units that have or had a part in it."""
        ...


V = TypeVar("V", bound=Scoped)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a valid token."""

    token: Token
    unit: Unit | None
    scope: Scope

    @property
    def actor(self) -> Actor:
        """Who the ledger says it was."""
        if self.token.role is Role.DEPARTMENT:
            return Actor(kind=ActorKind.DEPARTMENT, name=self.token.name, unit=self._unit_code)
        level = self.unit.level if self.unit is not None else None
        return Actor(kind=ActorKind.PERSON, name=self.token.name, unit=self._unit_code, level=level)

    @property
    def _unit_code(self) -> UnitCode | None:
        return self.unit.code if self.unit is not None else None

    @property
    def rights(self) -> frozenset[KeyScope]:
        """What the token may do, in scopes."""
        return rights_of(self.token)

    def commands(self, kinds: Iterable[Kind[Any]]) -> list[str]:
        """The commands the token may give, by name."""
        return sorted(
            {
                name
                for kind in kinds
                for name, form in kind.forms.items()
                if self.token.role in form.roles and refusal(self.token, "POST", f"/api/v1/{kind.path}/x/{name}", kinds) is None
            }
        )

    def expiry(self, wanted: datetime | None) -> datetime | None:
        """When a token issued with this one ends: not after it; raises InvalidInput."""
        limit = self.token.expires_at
        if limit is None:
            return wanted
        if wanted is not None and wanted > limit:
            raise InvalidInput("later than your own token's expiry", subject="expires_at")
        return wanted or limit

    def require(self, roles: frozenset[Role]) -> None:
        """Raises Failure(403) unless the role is one of them."""
        if self.token.role not in roles:
            raise Failure(403, "forbidden", f"The role {self.token.role.value} may not do this.")

    def require_everywhere(self) -> None:
        """Raises Failure(403) for a token limited to a part of the district, because the action touches all of it."""
        if self.scope.area is not None:
            raise Failure(403, "forbidden", "This concerns the whole district; the token is limited to a part of it.")

    def may_command(self, kind: Kind[Any], command: str) -> None:
        """Raises Failure(403) unless the role may give the command."""
        if command not in kind.forms or self.token.role not in kind.forms[command].roles:
            raise Failure(403, "forbidden", f"The role {self.token.role.value} may not {command}.")

    def sees(self, state: Scoped) -> bool:
        """Whether a matter lies in the scope."""
        if self.scope.area is not None and not within(state.area, self.scope.area):
            return False
        return self.scope.unit is None or self.scope.unit in state.units

    def must_see(self, folded: Folded[V] | None) -> Folded[V]:
        """The matter; raises NotAllowed when there is none or it lies outside the scope."""
        if folded is None or not self.sees(folded.state):
            raise NotAllowed("no such matter")
        return folded

    def handles(self, case: Case) -> bool:
        """Whether the caller works on the case: its unit holds it, owes an assignment, or stands above it in the tree.

        `hub.views.queries.handled` says the same in SQL.
        """
        if self.token.role in (Role.VIEWER, Role.DEVOPS) or self.unit is None:
            return False
        if any(item.unit == self.unit.code and item.state.open for item in case.assignments):
            return True
        if self.unit.level is None:
            return False
        return case.holder == self.unit.code or (
            within(case.area, self.unit.code) and self.unit.level >= (case.level or Level.GRID)
        )


def services_of(request: Request) -> Services:
    """The app's services."""
    return cast("Services", request.app.state.services)


async def _services_here(request: Request) -> Services:
    """The same as a dependency; a coroutine, because plain functions are sent through a thread."""
    return services_of(request)


ServicesHere = Annotated[Services, Depends(_services_here)]

_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="`Authorization: Bearer hub_…`")


async def caller_of(
    request: Request,
    services: ServicesHere,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Who calls; raises Failure(401)."""
    token = await services.tokens.find(credentials.credentials) if credentials is not None else None
    if token is None:
        raise Failure(
            401, "unauthenticated", "Send `Authorization: Bearer hub_…`.", headers={"WWW-Authenticate": 'Bearer realm="hub"'}
        )
    request.scope[CALLER_KEY] = token.id
    refused = refusal(token, request.method, request.scope["path"], services.kinds)
    if refused is not None:
        raise Failure(403, "forbidden", refused)
    return caller_from(token, services.district())


def caller_from(token: Token, district: District) -> Caller:
    """The caller a token stands for: without a unit of its own, the unit of its area acts."""
    unit = district.directory.get(token.unit or token.area)
    area = None if token.area == district.code else token.area
    at_work = unit is not None and token.role not in (Role.VIEWER, Role.DEVOPS)
    return Caller(
        token,
        unit,
        Scope(
            area=area,
            unit=token.unit if token.role is Role.DEPARTMENT else None,
            hands=Hands(unit.code, unit.level) if at_work and unit is not None else None,
        ),
    )


CallerHere = Annotated[Caller, Depends(caller_of)]


@dataclass(frozen=True, slots=True)
class Having:
    """The dependency that lets callers with some roles through; `everywhere`: only with a token for the whole district."""

    roles: frozenset[Role]
    everywhere: bool = False

    async def __call__(self, caller: CallerHere) -> Caller:
        """The caller; raises Failure(403)."""
        caller.require(self.roles)
        if self.everywhere:
            caller.require_everywhere()
        return caller


Admin = Annotated[Caller, Depends(Having(ADMINS))]
DistrictAdmin = Annotated[Caller, Depends(Having(ADMINS, everywhere=True))]
Runner = Annotated[Caller, Depends(Having(RUNNERS))]
DistrictRunner = Annotated[Caller, Depends(Having(RUNNERS, everywhere=True))]
Worker = Annotated[Caller, Depends(Having(WORKERS))]
PolicyReader = Annotated[Caller, Depends(Having(POLICY_READERS))]
DeliveryReader = Annotated[Caller, Depends(Having(DELIVERY_READERS))]
KeyKeeper = Annotated[Caller, Depends(Having(KEY_KEEPERS))]
"""Callers with a role, for a route's signature. A caller with another role is refused before anything is read."""
