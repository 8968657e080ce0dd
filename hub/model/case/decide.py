"""What a command does to a case: `decide` answers with events or raises a refusal. Total over all commands; pure and deterministic.

Called by the desk alone, through the aggregate. The rules are in `course`, `merging` and `remarks`, those of the parts in
`limits.clock`, `assignments.work` and `assignments.delivery`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from hub.model.actors import Actor
from hub.model.aggregate import Command, Event, MatterId
from hub.model.assignments import delivery, work
from hub.model.assignments.commands import Dispatch
from hub.model.case import commands as c
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


DECIDES: Mapping[type[Command], Callable[[Any, Any], None]] = {
    **clock.DECIDES,
    **work.DECIDES,
    **delivery.DECIDES,
    Dispatch: course.dispatch,
    c.Report: course.report,
    c.Triage: course.triage,
    c.Claim: course.claim,
    c.Escalate: course.escalate,
    c.Delegate: course.delegate,
    c.Settle: course.settle,
    c.Visit: course.visit,
    c.Close: course.close,
    c.Reopen: course.reopen,
    c.Void: course.void,
    c.AttachReport: course.attach_report,
    c.Merge: merging.merge,
    c.Absorb: merging.absorb,
    c.FinishMerge: merging.finish,
    c.RefuseMerge: merging.refuse,
    c.Comment: remarks.comment,
    c.Attach: remarks.attach,
    c.AccessContact: remarks.access_contact,
    c.EraseContact: remarks.erase_contact,
    c.RecordDestroyed: remarks.destroyed,
}
"""Which rule decides each command; a test holds it total over `CaseCommand`."""
