"""Commits into cases: checks the chain, evolves by every event, keeps the envelope. Pure.

Refuses a commit that does not follow the one before. Called for every commit by the desk, the ledger and the projector: keep it fast.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from hub.errors import LedgerDamaged
from hub.model.cases import Case, CommandRecord
from hub.model.events import CaseReported, Commit
from hub.model.lifecycle.evolve import EVOLVES
from hub.model.lifecycle.evolve_case import opened


def fold(case: Case | None, commit: Commit, *, digest: str, sequence: int) -> Case:
    """The case after `commit`; `digest` is the SHA-256 (hex) of its stored bytes, `sequence` its place in the stream.

    Raises LedgerDamaged when the commit is another case's, is not the next one, or its events don't fit the state.
    """
    number = commit.number
    at = commit.at
    events = commit.events
    if case is None:
        first = events[0] if events else None
        if number != 1 or commit.previous or not isinstance(first, CaseReported):
            raise LedgerDamaged(f"commit {number} of case {commit.case} comes first but does not open it", subject=commit.case)
        state = opened(first, commit.case)
        events = events[1:]
    else:
        if commit.case != case.id:
            raise LedgerDamaged(f"commit {number} of case {commit.case} was folded into {case.id}", subject=case.id)
        if number != case.number + 1:
            raise LedgerDamaged(f"case {case.id}: commit {number} follows commit {case.number}", subject=case.id)
        if commit.previous != case.digest:
            raise LedgerDamaged(f"case {case.id}: commit {number} does not carry the hash of the one before", subject=case.id)
        state = case
    for event in events:
        state = EVOLVES[type(event)](state, event, at)
    trace = commit.traceparent
    return replace(
        state,
        number=number,
        digest=digest,
        sequence=sequence,
        wake_at=state.wake_at if commit.wake_at is None else commit.wake_at,
        commands={**state.commands, commit.command_id: CommandRecord(number, commit.command_digest)},
        opening_trace=trace if case is None else state.opening_trace,
        last_trace=state.last_trace if trace is None else trace,
    )


def wake_at(before: Case | None, after: Case, now: datetime) -> datetime | None:
    """What the commit between `before` and `after` has to say about the case's timer; None: leave the timer as it is.

    A timer that is set too early does no harm (the case is asked and answers with nothing), one that is missing does.
    """
    due = after.next_due
    if due is None:
        return None
    if before is None or before.wake_at is None or before.wake_at <= now or due < before.wake_at:
        return due
    return None
