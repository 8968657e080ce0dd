"""What a client's user says about a request, by FixMyStreet's servicerequestupdates.

It is a comment; REOPEN and FIXED count as the reporter's word where the hub takes one. Done once for the client's update_id.
"""

from __future__ import annotations

from hub import Solved, TransitionRefused, Visitor
from hub_open311.server.asking import Asked
from hub_open311.server.errors import Open311Error

STATES = frozenset(
    (
        "OPEN",
        "CLOSED",
        "FIXED",
        "IN_PROGRESS",
        "PLANNED",
        "ACTION_SCHEDULED",
        "INVESTIGATING",
        "DUPLICATE",
        "NOT_COUNCILS_RESPONSIBILITY",
        "NO_FURTHER_ACTION",
        "INTERNAL_REFERRAL",
        "REOPEN",
        "FOR_TRIAGE",
    )
)
"""The states FixMyStreet knows; taken in any case of letters."""

_JUDGEMENTS = {"FIXED": Solved.YES, "REOPEN": Solved.NO}
"""States by which the reporter says whether it is solved."""
MOST_DESCRIPTION = 2000


async def update(visitor: Visitor, case: str, asked: Asked) -> str:
    """Take one update; returns its id. Raises Open311Error(400), and what the visitor's methods raise."""
    id = asked.get("update_id") or asked.get("update_id_ext")
    status = (asked.get("status") or "").upper()
    text = asked.get("description", most=MOST_DESCRIPTION) or "（无文字）"
    missing = [f"{name} was not provided" for name, value in (("update_id", id), ("status", status)) if not value]
    if missing or id is None:
        raise Open311Error(400, *missing)
    if status not in STATES:
        raise Open311Error(400, f"status has to be one of {', '.join(sorted(STATES))}")
    solved = _JUDGEMENTS.get(status)
    try:
        if solved is not None and await visitor.judge(case, id, solved=solved, note=text):
            return id
    except TransitionRefused:
        text = f"{text}（对方状态：{status}）"
    await visitor.comment(case, id, f"诉求人补充（Open311）：{text}")
    return id
