"""`decide` answers a command on a case with events, or raises a refusal. Total over all commands; pure and deterministic.

Only the desk calls it, through the aggregate. The rules are in `course`, `merging` and `remarks`, those of the parts in `limits.clock`,
`assignments.work` and `assignments.delivery`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from hub.model.actors import Actor
from hub.model.aggregate import Command, Event, MatterId
from hub.model.assignments import delivery, work
from hub.model.bykind import ByKind
from hub.model.case import course, merging, remarks
from hub.model.case.deciding import CaseDeciding
from hub.model.case.state import Case
from hub.model.limits import clock
from hub.model.policy.rules import Rules


def decide(
    case: Case | None, command: Command, *, actor: Actor, rules: Rules, now: datetime, id: MatterId
) -> tuple[Event, ...]:
    """The events of `command` on `case` (None: not reported yet, `id` will be its id); none when there is nothing to do.

    `now` is aware. Raises TransitionRefused (names state, command and rule) or InvalidInput (names the field); then nothing happens.
    """
    decision = CaseDeciding(case, id, command, actor=actor, rules=rules, now=now)
    DECIDES[type(command)](decision, command)
    return tuple(decision.events)


DECIDES: Final[ByKind[Command]] = ByKind(
    {**course.DECIDES, **merging.DECIDES, **remarks.DECIDES, **work.DECIDES, **clock.DECIDES, **delivery.DECIDES}
)
"""Which rule decides each command; these are the commands a case takes."""
