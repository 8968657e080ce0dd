"""servicerequestupdates, FixMyStreet's extension, both ways: what happened to cases, and what a client's user says about one.

Out: public events as sentences, with FixMyStreet's extended states. In: a comment; REOPEN and FIXED count as the reporter's word where
the lifecycle allows (the callback visit of a resolved case, reopening of a closed one), idempotent by the client's update_id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hub.errors import InvalidInput, TransitionRefused
from hub.model.actors import Actor, ActorKind
from hub.model.aggregate import Folded
from hub.model.case.commands import Command, Comment, Reopen, Visit
from hub.model.case.state import Case, Stage
from hub.model.words import NOTICES
from hub.open311.asking import Asked
from hub.open311.errors import Open311Error
from hub.open311.formats import Value
from hub.open311.reading import SOURCE, Happened
from hub.open311.showing import Shower
from hub.privacy.masks import mask_text
from hub.surfaces.api.answers import told_on

if TYPE_CHECKING:
    from hub.surfaces.api.services import Services

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

_SAYINGS = {
    "assignment.made": ("action_scheduled", "已派单至承办单位。"),
    "assignment.accepted": ("in_progress", "承办单位已签收。"),
    "assignment.progressed": ("in_progress", "承办单位正在办理。"),
    "clock.suspended": ("action_scheduled", "因故暂缓办理。"),
    "clock.resumed": ("in_progress", "恢复办理。"),
    "case.resolved": ("fixed", NOTICES["resolved"]),
    "case.closed": ("closed", NOTICES["closed"]),
    "case.reopened": ("open", NOTICES["reopened"]),
    "case.voided": ("no_further_action", NOTICES["void"]),
    "case.merged": ("duplicate", NOTICES["merged"]),
}
_NOTED = frozenset(("assignment.progressed", "case.resolved"))
"""Events whose note is given to clients that may read the case: what was done."""
_CLOSED = frozenset(("fixed", "closed", "no_further_action", "duplicate"))
MOST_DESCRIPTION = 2000


def updates_of(happened: Sequence[Happened], shower: Shower, *, extended: bool, reads: Callable[[Case], bool]) -> list[Value]:
    """Public events as updates, one for each kind in a commit. `extended`: FixMyStreet's states, else open and closed only.

    `reads` says whether the client may know what units wrote about a case.
    """
    results: dict[tuple[str, int], list[str]] = {}
    for item in happened:
        note = item.body.get("note")
        if item.event == "assignment.resolved" and isinstance(note, str) and note:
            results.setdefault((item.case.id, item.number), []).append(note)
    shown: list[Value] = []
    told: set[tuple[str, int, str]] = set()
    for item in happened:
        saying = _saying(item)
        same = (item.case.id, item.number, item.event)
        if saying is None or same in told:
            continue
        told.add(same)
        status, text = saying
        if item.event in _NOTED and reads(item.case):
            own = item.body.get("note")
            said = [own] if isinstance(own, str) and own else results.get((item.case.id, item.number), [])
            text = "；".join(said) or text
        shown.append(shower.update(item, status if extended else ("closed" if status in _CLOSED else "open"), text))
    return shown


def _saying(item: Happened) -> tuple[str, str] | None:
    if item.event == "case.held":
        return ("investigating", "您反映的事项已受理，正在核查。") if item.body.get("cause") == "triage" else None
    return _SAYINGS.get(item.event)


class Updater:
    """Takes what clients' users say."""

    def __init__(self, services: Services, client: str, name: str) -> None:
        self._services = services
        self._client = client
        self._actor = Actor(kind=ActorKind.SYSTEM, name=f"open311 {name}")
        self.sequence = 0

    async def update(self, folded: Folded[Case], asked: Asked) -> str:
        """Take one update; returns its id. Raises Open311Error(400), and what the desk raises."""
        case = folded.state
        update = asked.get("update_id") or asked.get("update_id_ext")
        status = (asked.get("status") or "").upper()
        description = asked.get("description", most=MOST_DESCRIPTION)
        missing = [f"{name} was not provided" for name, value in (("update_id", update), ("status", status)) if not value]
        if missing or update is None:
            raise Open311Error(400, *missing)
        if status not in STATES:
            raise Open311Error(400, f"status has to be one of {', '.join(sorted(STATES))}")
        identity = hashlib.sha256(f"{self._client}\n{case.id}\n{update}".encode()).hexdigest()[:32]
        text = mask_text(description or "（无文字）")
        if identity in folded.commands:
            return update
        command = _word_of(case, status, text) if self._reported(case) else None
        if command is not None:
            try:
                await self._do(folded, command, identity)
                return update
            except TransitionRefused:
                text = f"{text}（对方状态：{status}）"
        await self._do(folded, Comment(text=f"诉求人补充（Open311）：{text}"), identity)
        return update

    def _reported(self, case: Case) -> bool:
        """Whether this client brought the case in: only it speaks for the reporter."""
        own = f"{self._client}/"
        return case.source is not None and case.source.adapter == SOURCE and case.source.ref.startswith(own)

    async def _do(self, folded: Folded[Case], command: Command, identity: str) -> None:
        try:
            outcome = await self._services.desk.execute(
                folded.id, command, actor=self._actor, command_id=identity, cause=folded.last_trace
            )
        except InvalidInput as problem:
            if problem.subject != "Idempotency-Key":
                raise  # two at once with one update_id are not an error: the first is in
            return
        self.sequence = outcome.sequence
        await told_on(self._services, outcome)


def _word_of(case: Case, status: str, text: str) -> Command | None:
    """The command that a status asks for in the case's stage; None: it is only a remark."""
    match case.stage, status:
        case Stage.RESOLVED, "FIXED":
            return Visit(reached=True, solved=True, satisfied=True, note=text)
        case Stage.RESOLVED, "REOPEN":
            return Visit(reached=True, solved=False, satisfied=False, note=text)
        case Stage.CLOSED, "REOPEN":
            return Reopen(reason=text)
    return None


def updated(update: str) -> Value:
    """The answer to a POST."""
    return [{"update_id": update}]
