"""The case 事件, the first kind of matter: `CASE` is all that the core needs to know of it."""

from __future__ import annotations

from typing import get_args

from hub.model.aggregate import Aggregate, Command, Event
from hub.model.case import commands as c
from hub.model.case.commands import CaseCommand
from hub.model.case.decide import decide
from hub.model.case.effects import EFFECTFUL, effects
from hub.model.case.events import CaseEvent
from hub.model.case.evolve import evolve
from hub.model.case.merging import awaits
from hub.model.case.remarks import contact_access
from hub.model.case.state import Case

CASE: Aggregate[Case, Command, Event] = Aggregate(
    name="case",
    mark="",
    state=Case,
    commands=get_args(CaseCommand),
    events=get_args(CaseEvent),
    opens=(c.Report,),
    given=(
        c.Triage,
        c.Claim,
        c.Dispatch,
        c.Escalate,
        c.Delegate,
        c.Settle,
        c.Reassign,
        c.Recall,
        c.Accept,
        c.Progress,
        c.Resolve,
        c.Return,
        c.Visit,
        c.Close,
        c.Reopen,
        c.Ask,
        c.Approve,
        c.Decline,
        c.Suspend,
        c.Resume,
        c.Extend,
        c.Urge,
        c.Supervise,
        c.Comment,
        c.Void,
        c.Merge,
        c.Replay,
        c.Drop,
        c.EraseContact,
    ),
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
