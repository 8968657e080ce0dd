"""The case 事件, the first kind of matter: `CASE` is all that the core needs to know of it."""

from __future__ import annotations

from hub.model.aggregate import Aggregate, Command, Event
from hub.model.case import commands as c
from hub.model.case.decide import DECIDES, decide
from hub.model.case.effects import EFFECTFUL, effects
from hub.model.case.evolve import EVOLVES, evolve
from hub.model.case.merging import awaits
from hub.model.case.remarks import contact_access
from hub.model.case.state import Case

CASE: Aggregate[Case, Command, Event] = Aggregate(
    name="case",
    mark="",
    state=Case,
    commands=tuple(DECIDES),
    events=tuple(EVOLVES),
    opens=(c.Report,),
    decide=decide,
    evolve=evolve,
    next_due=lambda case: case.next_due,
    wake=c.CheckDeadlines(),
    effects=effects,
    effectful=EFFECTFUL,
    contacts=lambda case: case.reporters,
    contact_access=contact_access,
    listeners=lambda case: (case.sources, case.absorbed),
    awaits=awaits,
)

__all__ = ["CASE"]
