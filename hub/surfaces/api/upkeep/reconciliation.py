"""Routes for an adapter instance's reconciliation, catalogue and crosswalk: look, ask for a run, accept, try dry, change.

For those who run the hub. See hub/platform/upkeep/reconciliation.py, hub/platform/upkeep/catalogues.py, hub/platform/upkeep/crosswalk.py.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter

from hub.contract.crosswalk import TABLES
from hub.errors import LedgerConflict, NotAllowed, TransitionRefused
from hub.platform.instances.registration import By, Patch
from hub.platform.upkeep.crosswalk import Tables
from hub.platform.upkeep.run_log import Run
from hub.privacy.masks import mask_text
from hub.surfaces.api.adapters.routes import NamePath
from hub.surfaces.api.answers import Answered, alike, answer
from hub.surfaces.api.bodies import reads
from hub.surfaces.api.people.auth import DistrictRunner, ServicesHere
from hub.surfaces.api.services import Services, Upkeep
from hub.surfaces.api.upkeep.models import (
    AcceptCatalogueBody,
    AcceptedAnswer,
    CatalogueAnswer,
    CrosswalkAnswer,
    CrosswalkBody,
    DryRunAnswer,
    RunList,
)

router = APIRouter(prefix="/adapters/{name}", tags=["adapters"])


@router.get("/reconciliations", summary="Reconciliations of an adapter")
async def runs(services: ServicesHere, caller: DistrictRunner, name: NamePath) -> Answered[RunList]:
    """The last runs: what they compared, the disagreements, the duration; and the time of the next one."""
    upkeep = _of(services)
    return answer(RunList(items=await upkeep.reconciliation.runs(name), next_at=upkeep.reconciliation.next_at(name)))


@router.post(
    "/reconciliations",
    status_code=202,
    summary="Reconcile now",
)
async def reconcile(services: ServicesHere, caller: DistrictRunner, name: NamePath) -> Answered[Run]:
    """Done by whichever hub process takes it; look for its `run` among the reconciliations. What disagrees becomes repairs."""
    upkeep = _of(services)
    asked = await upkeep.reconciliation.ask(name, caller.token.name)
    run = next(run for run in await upkeep.reconciliation.runs(name) if run.run == asked)
    return answer(run, 202)


@router.get("/catalogue", summary="The department's categories")
async def catalogue(services: ServicesHere, caller: DistrictRunner, name: NamePath) -> Answered[CatalogueAnswer]:
    """The accepted categories, and those added, removed and renamed since. Every reconciliation reads them anew."""
    return answer(await _catalogue(_of(services), name))


@router.post(
    "/catalogue/accept",
    summary="Accept the department's categories",
)
async def accept(
    services: ServicesHere,
    caller: DistrictRunner,
    name: NamePath,
    body: Annotated[AcceptCatalogueBody, reads(AcceptCatalogueBody)],
) -> Answered[CatalogueAnswer]:
    """Accept the last seen catalogue as the next version. The crosswalk stays as it is."""
    upkeep = _of(services)
    try:
        await upkeep.catalogues.accept(name, caller.token.name, digest=body.seen)
    except LedgerConflict as problem:
        raise TransitionRefused(state="changed", command="accept", rule=problem.message, subject=name) from problem
    return answer(await _catalogue(upkeep, name))


@router.get("/crosswalk", summary="The crosswalk of an adapter")
async def crosswalk(services: ServicesHere, caller: DistrictRunner, name: NamePath) -> Answered[CrosswalkAnswer]:
    """The meaning of the department's words and of our categories, and how often each word was heard."""
    found = await _of(services).crosswalks.show(name)
    return answer(alike(CrosswalkAnswer, found))


@router.post(
    "/crosswalk/dry-run",
    summary="Try a crosswalk dry",
)
async def dry_run(
    services: ServicesHere,
    caller: DistrictRunner,
    name: NamePath,
    body: Annotated[CrosswalkBody, reads(CrosswalkBody)],
) -> Answered[DryRunAnswer]:
    """What the words heard and the cases handled so far would have become. Changes nothing."""
    upkeep = _of(services)
    found = await upkeep.crosswalks.dry_run(name, _tables(body))
    return answer(alike(DryRunAnswer, found))


@router.post(
    "/crosswalk",
    summary="Change the crosswalk of an adapter",
)
async def change(
    services: ServicesHere,
    caller: DistrictRunner,
    name: NamePath,
    body: Annotated[CrosswalkBody, reads(CrosswalkBody)],
) -> Answered[CrosswalkAnswer]:
    """A change of the instance, with version, who and why. `rollback` takes it back. Repairs of words mapped by it are resolved."""
    upkeep = _of(services)
    if services.instances is None:
        raise NotAllowed("no instances to change here")
    await upkeep.crosswalks.dry_run(name, _tables(body))  # refuses unreadable tables before anything changes
    patch = Patch(**_given(body))
    by = By(actor=caller.actor, note=mask_text(body.note), untried=body.untried)
    await services.instances.registration.change(name, patch, by)
    await upkeep.crosswalks.settle(name)
    return await crosswalk(services, caller, name)


def _of(services: Services) -> Upkeep:
    if services.upkeep is None:
        raise NotAllowed("nothing is reconciled here")
    return services.upkeep


def _tables(body: CrosswalkBody) -> Tables:
    return Tables(**_given(body))


def _given(body: CrosswalkBody) -> dict[str, Any]:
    return {table: getattr(body, table) for table in TABLES}


async def _catalogue(upkeep: Upkeep, name: str) -> CatalogueAnswer:
    view = await upkeep.catalogues.show(name)
    return CatalogueAnswer(
        adapter=name,
        accepted=alike(AcceptedAnswer, view.accepted),
        seen=view.seen.digest,
        seen_at=view.seen.at,
        changed=view.drift.changed,
        drift=view.drift,
    )
