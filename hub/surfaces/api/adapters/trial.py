"""Route of a trial: one instance asked for its health, and a marked sample handed over, with everything that went over the wire.

For those who run the hub. Touches no case. See hub/platform/trial/.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from hub.errors import InvalidInput, NotAllowed, PluginError
from hub.model.rights import RUNNERS
from hub.platform.trial.cassette import Cassette
from hub.surfaces.api.adapters.routes import NamePath
from hub.surfaces.api.adapters.trial_models import TrialAnswer, TryBody
from hub.surfaces.api.answers import answer
from hub.surfaces.api.bodies import read_body
from hub.surfaces.api.openapi import gives, takes
from hub.surfaces.api.people.auth import CallerHere, ServicesHere

router = APIRouter(tags=["adapters"])


@router.post(
    "/adapters/{name}/try",
    summary="Try an adapter",
    responses=gives(TrialAnswer, 400, 403, 409, 413, 415),
    openapi_extra=takes(TryBody, {"sample": True}, required=False),
)
async def try_one(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Health, and with `sample` one assignment marked 【测试】, taken back afterwards. People at the department will see it.

    200 also when the department refuses or can't be reached: `ok` says how it went.
    """
    caller.require(RUNNERS)
    caller.require_everywhere()
    if services.instances is None or services.instances.trials is None:
        raise NotAllowed("no instances to try here")
    body = await read_body(request, TryBody, optional=True)
    try:
        found = await services.instances.trials.of(name, sample=body.sample, recall=body.recall, candidate=body.candidate)
    except PluginError as problem:
        raise InvalidInput(problem.message, subject=problem.subject or "settings") from problem
    cassette = Cassette.of(found).text() if body.record else None
    return answer(TrialAnswer(ok=found.ok, text=found.text, trial=found.to_json(), cassette=cassette))
