"""What the people of the demo do with a case they see: one next step, from what the public interface shows and nothing else.

Pure: the same case, seed and history give the same step. Grid workers settle small matters or hand them up; clerks of
communities and streets dispatch to the units the policy names; the centre's operators take what nobody is clearly responsible
for, deal with what needs attention, and ask reporters back; departments that work in the hub accept and resolve there.
Called by the crew, which gives the step as a command.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LEVELS = ("grid", "community", "street", "district")
ROLE_OF_LEVEL = {"grid": "grid_worker", "community": "clerk", "street": "clerk", "district": "operator"}

ASKED_BACK_ELSEWHERE = ("hotline",)
"""Channels whose own system makes the callback visit."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """An assignment as a person sees it."""

    id: str
    unit: str
    state: str
    adapter: str | None


@dataclass(frozen=True, kw_only=True)
class Work:
    """A case as a person sees it on the work list."""

    id: str
    number: int
    """How many commits it has: tells whether anything changed since last looked at."""
    stage: str
    channel: str
    level: str | None
    holder: str | None
    district: str
    responded: bool
    severity: str | None
    reopened: int
    suspended: bool
    attention: tuple[str, ...]
    parts: tuple[Part, ...]

    @classmethod
    def read(cls, case: Mapping[str, Any]) -> Work:
        """From one case as the interface gives it."""
        return cls(
            id=str(case["id"]),
            number=int(case["number"]),
            stage=str(case["stage"]),
            channel=str(case["channel"]),
            level=case.get("level"),
            holder=case.get("holder"),
            district=str(case["id"])[:6],
            responded=case.get("first_response_at") is not None,
            severity=case.get("severity"),
            reopened=int(case.get("reopened") or 0),
            suspended=case.get("suspended_at") is not None,
            attention=tuple(case.get("attention") or ()),
            parts=tuple(
                Part(id=part["id"], unit=part["unit"], state=part["state"], adapter=part.get("adapter"))
                for part in case.get("assignments") or ()
            ),
        )

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done."""
        return self.stage in ("closed", "void", "merged")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command by one person: `role` at `unit`; on the case, or on the delivery of the assignment `part`."""

    role: str
    unit: str
    command: str
    body: Mapping[str, object] = field(default_factory=dict)
    part: str = ""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How people decide where a person would have a choice; shares between 0 and 1."""

    settled_at_grid: float = 0.55
    settled_at_community: float = 0.25
    content: float = 0.93
    returned: float = 0.03
    """Of a department's assignments so many are given back once: not ours."""


USUAL = Habits()


def next_step(work: Work, *, seed: int, done: Counter[str], habits: Habits = USUAL) -> Step | None:
    """What somebody does with the case now; None when nobody has anything to do.

    `done` counts what was tried on the case so far: `settle`, `refused:settle`, `resend:a1` …
    """
    if work.ended or work.suspended:
        return None
    for step in (
        _attended(work, done),
        _worked(work, seed, done, habits),
        _visited(work, seed, habits),
        _moved(work, seed, done, habits),
    ):
        if step is not None:
            return step
    return None


def _draw(seed: int, work: Work, what: str) -> float:
    return random.Random(f"{seed}:{work.id[-16:]}:{what}:{work.reopened}").random()  # noqa: S311 - behaviour, not secrets


def _attended(work: Work, done: Counter[str]) -> Step | None:
    """The operator looks at what went wrong: once more for what is dead, uncertain or refused; then it is given back."""
    for note in work.attention:
        kind, _, id = note.partition(":")
        part = next((part for part in work.parts if part.id == id), None)
        if part is None or part.state not in ("dead", "uncertain", "refused"):
            continue
        if kind in ("dead", "uncertain") and not done[f"resend:{id}"]:
            reason = "系统已恢复，重新投递"
            return Step(role="operator", unit=work.district, command="resend", body={"reason": reason}, part=id)
        if kind in ("uncertain", "refused") and not done[f"drop:{id}"]:
            reason = "电话核实，另行安排"
            return Step(role="operator", unit=work.district, command="drop", body={"reason": reason}, part=id)
    return None


def _worked(work: Work, seed: int, done: Counter[str], habits: Habits) -> Step | None:
    """A department that works in the hub goes on with its part."""
    if work.stage != "dispatched":
        return None
    for part in work.parts:
        if part.adapter is not None:
            continue
        if part.state == "delivered":
            if (
                _draw(seed, work, f"return:{part.unit}") < habits.returned
                and not done[f"return:{part.id}"]
                and len(work.parts) < 3
            ):
                reason = "经核实不属于本单位职责，建议另派"
                return Step(role="department", unit=part.unit, command="return", body={"assignment": part.id, "reason": reason})
            return Step(
                role="department",
                unit=part.unit,
                command="accept",
                body={"assignment": part.id, "note": "已签收，安排人员到场"},
            )
        if part.state in ("accepted", "in_progress"):
            return Step(
                role="department", unit=part.unit, command="resolve", body={"assignment": part.id, "note": "已现场办理完毕"}
            )
    return None


def _visited(work: Work, seed: int, habits: Habits) -> Step | None:
    """The centre asks the reporter back, where the source's own system does not."""
    if work.stage != "resolved" or work.channel in ASKED_BACK_ELSEWHERE:
        return None
    content = work.reopened > 0 or _draw(seed, work, "content") < habits.content
    solved, satisfied, rating = ("yes", "yes", 5) if content else ("no", "no", 2)
    if content and _draw(seed, work, "mostly") < 0.2:
        satisfied, rating = "mostly", 4
    body: dict[str, object] = {"reached": "yes", "solved": solved, "satisfied": satisfied, "rating": rating}
    if not content:
        body["note"] = "反映人表示问题仍然存在"
    return Step(role="operator", unit=work.district, command="visit", body=body)


def _moved(work: Work, seed: int, done: Counter[str], habits: Habits) -> Step | None:
    """Whoever holds the case takes it up, settles it, dispatches it or hands it up."""
    if work.stage not in ("reported", "held") or work.holder is None or work.level not in LEVELS:
        return None
    role, unit = ROLE_OF_LEVEL[work.level], work.holder

    def by_holder(command: str, **body: object) -> Step:
        return Step(role=role, unit=unit, command=command, body=body)

    def untried(command: str) -> bool:
        return not done[f"refused:{command}:{work.level}"]

    if not work.responded and untried("claim"):
        return by_holder("claim", note="已受理，正在核实")
    returned = sum(part.state in ("returned", "refused", "dropped") for part in work.parts)
    if work.level == "grid":
        if untried("settle") and _draw(seed, work, "grid") < habits.settled_at_grid:
            return by_holder("settle", note="网格员现场处置完毕")
        if untried("escalate"):
            return by_holder("escalate", reason="网格内无法解决，需社区协调")
    if work.level == "community" and untried("settle") and _draw(seed, work, "community") < habits.settled_at_community:
        return by_holder("settle", note="社区组织协调，已解决")
    if returned < 2 and untried("dispatch"):
        return by_holder("dispatch")
    if untried("settle") and (work.level != "grid"):
        return by_holder("settle", note="已协调相关方面办理并答复反映人")
    if work.level != "district" and untried("escalate"):
        return by_holder("escalate", reason="需上级协调")
    if untried("settle"):
        return by_holder("settle", note="已办理并答复反映人")
    return None
