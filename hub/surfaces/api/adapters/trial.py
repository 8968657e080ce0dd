"""Route of a trial: one instance asked for its health, and a marked sample handed over, with everything that went over the wire.

For those who run the hub. Touches no case. See hub/platform/trial/.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from hub.errors import InvalidInput, NotAllowed, PluginError
from hub.platform.trial.cassette import Cassette
from hub.surfaces.api.adapters.routes import NamePath
from hub.surfaces.api.adapters.trial_models import TrialAnswer, TryBody
from hub.surfaces.api.answers import Answered, answer
from hub.surfaces.api.bodies import reads
from hub.surfaces.api.people.auth import DistrictRunner, ServicesHere

router = APIRouter(tags=["adapters"])


@router.post(
    "/adapters/{name}/try",
    summary="Try an adapter",
)
async def try_one(
    services: ServicesHere, caller: DistrictRunner, name: NamePath, body: Annotated[TryBody, reads(TryBody, optional=True)]
) -> Answered[TrialAnswer]:
    """Health, and with `sample` one assignment marked 【测试】, taken back afterwards. People at the department will see it.

    200 also when the department refuses or can't be reached: `ok` says how it went.
    """
    if services.instances is None or services.instances.trials is None:
        raise NotAllowed("no instances to try here")
    try:
        found = await services.instances.trials.of(name, sample=body.sample, recall=body.recall, candidate=body.candidate)
    except PluginError as problem:
        raise InvalidInput(problem.message, subject=problem.subject or "settings") from problem
    cassette = Cassette.of(found).text() if body.record else None
    return answer(TrialAnswer(ok=found.ok, text=found.text, trial=found.to_json(), cassette=cassette))
