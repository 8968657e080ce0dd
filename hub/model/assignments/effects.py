"""What departments hear because of a commit's events about assignments. Pure. Called by the aggregates' `effects`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hub.model.aggregate import Event
from hub.model.assignments.events import AssignmentMade, AssignmentRecalled, DeliveryResent
from hub.model.assignments.state import Assigned
from hub.model.effects import Tell, Verb
from hub.model.limits.events import Supervised, Urged

EFFECTFUL: tuple[type[Event], ...] = (AssignmentMade, AssignmentRecalled, DeliveryResent, Supervised, Urged)
"""The events that can have such effects."""


def told_departments(events: Sequence[Event], state: Assigned) -> Iterator[Tell]:
    """What adapter instances have to do; `state` is the matter at the commit or later."""
    for place, event in enumerate(events):
        match event:
            case AssignmentMade(assignment=id, adapter=str() as adapter):
                yield Tell(verb=Verb.DELIVER, event=place, adapter=adapter, assignment=id)
            case DeliveryResent(assignment=id, reason=text):
                yield from _tell(state, Verb.DELIVER, place, id, text)
            case AssignmentRecalled(assignment=id, reason=text, tell=True):
                yield from _tell(state, Verb.RECALL, place, id, text)
            case Urged(assignment=str() as id, message=text) | Supervised(assignment=str() as id, message=text):
                yield from _tell(state, Verb.URGE, place, id, text, while_open=True)


def _tell(state: Assigned, verb: Verb, place: int, id: str, text: str, *, while_open: bool = False) -> Iterator[Tell]:
    found = state.assignment(id)
    if found is not None and found.adapter is not None:
        yield Tell(verb=verb, event=place, adapter=found.adapter, assignment=id, text=text, while_open=while_open)
