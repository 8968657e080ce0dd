"""What a command does: `decide` answers with events or raises a refusal. Total over all commands; pure and deterministic.

Called by the desk alone. The rules are in `course`, `work`, `delivery`, `clock` and `remarks`.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from hub.errors import InvalidInput
from hub.model import commands as c
from hub.model.cases import Actor, Case, CaseId
from hub.model.events import AnyEvent
from hub.model.lifecycle import clock, course, delivery, remarks, work
from hub.model.lifecycle.deciding import Deciding
from hub.model.rules import Rules


def decide(
    case: Case | None,
    command: c.AnyCommand,
    *,
    actor: Actor,
    rules: Rules,
    now: datetime,
    new_id: CaseId | None = None,
) -> tuple[AnyEvent, ...]:
    """The events of `command` on `case` (None: not reported yet, `new_id` will be its id); none when there is nothing to do.

    `now` is aware. Raises TransitionRefused (names state, command and rule) or InvalidInput (names the field); then nothing happens.
    """
    if now.utcoffset() is None:
        raise InvalidInput("a time needs an offset", subject="now")
    if case is not None:
        id = case.id
    elif new_id is not None:
        id = new_id
    else:
        raise InvalidInput("a new case needs an id", subject="new_id")
    decision = Deciding(case, id, command, actor=actor, rules=rules, now=now)
    _decide(decision, command)
    return tuple(decision.events)


def _decide(d: Deciding, command: c.AnyCommand) -> None:
    match command:
        case c.RecordDelivered():
            delivery.delivered(d, command)
        case c.StartDelivery():
            delivery.start(d, command)
        case c.Resolve():
            work.resolve(d, command)
        case c.Accept():
            work.accept(d, command)
        case c.Report():
            course.report(d, command)
        case c.Visit():
            course.visit(d, command)
        case c.Progress():
            work.progress(d, command)
        case c.Return():
            work.give_back(d, command)
        case c.CheckDeadlines():
            clock.check_deadlines(d)
        case c.RecordFailed():
            delivery.failed(d, command)
        case c.RecordRefused():
            delivery.refused(d, command)
        case c.RecordUncertain():
            delivery.uncertain(d, command)
        case c.RecordDead():
            delivery.dead(d, command)
        case c.RecordEffect():
            delivery.effect(d, command)
        case c.Replay():
            delivery.replay(d, command)
        case c.Resend():
            delivery.resend(d, command)
        case c.Drop():
            delivery.drop(d, command)
        case c.Triage():
            course.triage(d, command)
        case c.Claim():
            course.claim(d, command)
        case c.Dispatch():
            work.dispatch(d, command)
        case c.Escalate():
            course.escalate(d, command)
        case c.Delegate():
            course.delegate(d, command)
        case c.Settle():
            course.settle(d, command)
        case c.Reassign():
            work.reassign(d, command)
        case c.Recall():
            work.recall(d, command)
        case c.Close():
            course.close(d, command)
        case c.Reopen():
            course.reopen(d, command)
        case c.Ask():
            clock.ask(d, command)
        case c.Approve():
            clock.approve(d, command)
        case c.Decline():
            clock.decline(d, command)
        case c.Suspend():
            clock.suspend(d, command)
        case c.Resume():
            clock.resume(d, command)
        case c.Extend():
            clock.extend(d, command)
        case c.Urge():
            remarks.urge(d, command)
        case c.Supervise():
            remarks.supervise(d, command)
        case c.Comment():
            remarks.comment(d, command)
        case c.Attach():
            remarks.attach(d, command)
        case c.AttachReport():
            course.attach_report(d, command)
        case c.Void():
            course.void(d, command)
        case c.Merge():
            course.merge(d, command)
        case c.Absorb():
            course.absorb(d, command)
        case c.AccessContact():
            remarks.access_contact(d, command)
        case c.EraseContact():
            remarks.erase_contact(d, command)
        case _:
            assert_never(command)
