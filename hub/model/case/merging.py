"""Merging: one case goes on in another, decided by both. Pure. Called by `decide`.

The case that ends takes the request (`MergeAsked`). The case that goes on answers (`CaseAbsorbed` or a refusal). The first one finishes
(`CaseMerged`, `MergeRefused`). Each step is a commit of one case; reactions carry it to the other. A refusal changes nothing there.

A stamp orders merges. A case that waits for an answer takes only cases that asked before it did. A case that took another asks later than
that one. So no chain of merges closes to a ring, whatever the timing, and an open case is always left.

While a case waits, nothing is decided on it that depends on the answer: whether it ends by itself, is merged into yet another one, or who
hears what is said on it (`must_be_settled`). The answer always comes: it waits in a durable queue.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from hub.errors import InvalidInput
from hub.model.aggregate import Command
from hub.model.assignments.work import recall_open
from hub.model.bykind import ByKind
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case.deciding import CaseDeciding
from hub.model.case.state import MERGE_SEEN, Case, parse_case_id

DECIDES: Final[ByKind[Command]] = ByKind()
"""Which rule decides each command here."""

_TICK = timedelta(microseconds=1)


@DECIDES.on(c.Merge)
def merge(d: CaseDeciding, command: c.Merge) -> None:
    """Ask to go on in another case."""
    case = d.state
    if case.merged_into == command.into:
        return
    d.live()
    d.needs_authority("merge")
    _check_other(d, command.into, "into")
    if case.merging is not None and case.merging.into == command.into:
        return
    d.must_be_settled()
    if command.into in case.absorbed:
        d.refuse(f"{command.into} was merged into this case")
    stamp = d.now if case.latest_stamp is None else max(d.now, case.latest_stamp + _TICK)
    d.emit(e.MergeAsked(into=command.into, stamp=stamp, reason=command.reason))


@DECIDES.on(c.Absorb)
def absorb(d: CaseDeciding, command: c.Absorb) -> None:
    """Answer: take the other case, or refuse."""
    case = d.state
    d.needs_hub()
    _check_other(d, command.other, "other")
    if command.other in case.absorbed:
        return
    d.live()
    waits = case.merging
    if waits is not None and (command.stamp, command.other) >= (waits.stamp, case.id):
        d.refuse(f"it is being merged into {waits.into} itself")
    d.emit(e.CaseAbsorbed(other=command.other, stamp=command.stamp, others=command.others))


@DECIDES.on(c.FinishMerge)
def finish(d: CaseDeciding, command: c.FinishMerge) -> None:
    """The other case has taken this one. Open assignments are recalled."""
    case = d.state
    d.needs_hub()
    if case.ended or case.merging is None or case.merging.into != command.into:
        return
    reason = case.merging.reason
    recall_open(d, reason or f"merged into {command.into}")
    d.emit(e.CaseMerged(into=command.into, reason=reason))


@DECIDES.on(c.RefuseMerge)
def refuse(d: CaseDeciding, command: c.RefuseMerge) -> None:
    """The other case could not take this one."""
    waits = d.state.merging
    d.needs_hub()
    if waits is not None and waits.into == command.into:
        d.emit(e.MergeRefused(into=command.into, reason=command.reason or "refused"))


def awaits(case: Case, command: Command) -> bool:
    """Whether a case still waits for the answer to its merge."""
    if isinstance(command, c.Absorb):
        return not case.ended and case.merging is not None and case.merging.stamp == command.stamp
    return True


def must_have_seen(d: CaseDeciding) -> None:
    """Refuse for a moment after another case came in: whoever voids this one may not know that it carries the other."""
    case = d.state
    if case.absorbed_at is not None and d.now < case.absorbed_at + MERGE_SEEN:
        d.refuse(f"{case.absorbed[-1]} was merged into it a moment ago; look at it again first")


def pass_on(d: CaseDeciding) -> None:
    """A remark on a merged case goes to the case that goes on, and so to its holder. While the case merges, the remark waits."""
    d.must_be_settled()
    into = d.state.merged_into
    if into is not None:
        d.emit(e.PassedOn(to=into))


def _check_other(d: CaseDeciding, other: str, field: str) -> None:
    try:
        parse_case_id(other)
    except ValueError as problem:
        raise InvalidInput(str(problem), subject=field) from problem
    if other == d.id:
        raise InvalidInput("a case can't be merged into itself", subject=field)
