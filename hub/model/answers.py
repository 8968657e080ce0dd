"""What was answered when somebody was asked about a result: reached, solved, satisfied; what follows from it, and kinds of closing. Pure.

No answer is a yes or no alone: the field knows 部分解决, 基本满意, 未评价 and 拒访. The reporter, the checker and each unit have their own
`Verdict`; none overwrites another's. Which answers reopen a case and which count in a rate is policy (`AnswerRules`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from hub.model.texts import Code


class Reached(StrEnum):
    """Whether the reporter was reached 接通. REFUSED: reached, and does not want to be asked 拒访."""

    YES = "yes"
    NO = "no"
    REFUSED = "refused"


class Solved(StrEnum):
    """Whether the matter is solved 解决情况."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"
    NOT_ASKED = "not_asked"


class Satisfied(StrEnum):
    """Whether the reporter is content with how it was handled 满意度."""

    YES = "yes"
    MOSTLY = "mostly"
    NO = "no"
    NOT_RATED = "not_rated"


QUESTIONS: Final[Mapping[str, type[Reached | Solved | Satisfied]]] = {
    "reached": Reached,
    "solved": Solved,
    "satisfied": Satisfied,
}
"""What is asked, and what may be answered."""


class Closing(StrEnum):
    """How a case was closed 结案方式. NORMAL and LATE follow from its limit; FAULTY and SPECIAL are said, with a reason."""

    NORMAL = "normal"
    LATE = "late"
    FAULTY = "faulty"
    SPECIAL = "special"


class Ending(StrEnum):
    """What the reporter's word came to when the case was closed."""

    SATISFIED = "satisfied"
    UNSATISFIED = "unsatisfied"
    NOT_RATED = "not_rated"
    NOT_REACHED = "not_reached"
    REFUSED = "refused"
    NO_VISIT = "no_visit"


class Verdict(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What one party says of the result, and who said it when. `tries`: how often the reporter was tried for it."""

    at: datetime
    by: Code
    reached: Reached | None = None
    tries: int | None = None
    solved: Solved | None = None
    satisfied: Satisfied | None = None
    rating: int | None = None


def satisfied_by(rating: int | None) -> Satisfied:
    """What a rating of 1 to 5 alone says: 4 and 5 content, 3 mostly, below not."""
    if rating is None:
        return Satisfied.NOT_RATED
    if rating >= 4:
        return Satisfied.YES
    return Satisfied.MOSTLY if rating == 3 else Satisfied.NO


class Rate(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A rate over answers: `counted` ÷ `of`. An answer that is in neither is left out."""

    counted: frozenset[str]
    of: frozenset[str]

    def share(self, counts: Mapping[str, int]) -> float | None:
        """The rate of so many of each answer, 0 to 1; None when nothing is in it."""
        whole = sum(counts.get(answer, 0) for answer in self.of)
        return sum(counts.get(answer, 0) for answer in self.counted) / whole if whole else None


class AnswerRules(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What follows from the reporter's answers. By default «partly solved» reopens and «mostly satisfied» does not."""

    reopen_solved: frozenset[Solved] = frozenset({Solved.PARTLY, Solved.NO})
    reopen_satisfied: frozenset[Satisfied] = frozenset({Satisfied.NO})
    resolution: Rate = Rate(counted=frozenset({"yes"}), of=frozenset({"yes", "partly", "no"}))
    """Resolution rate 解决率: reported solved ÷ asked."""
    satisfaction: Rate = Rate(counted=frozenset({"yes", "mostly"}), of=frozenset({"yes", "mostly", "no"}))
    """Satisfaction rate 满意率: content ÷ rated."""

    def reopens(self, solved: Solved | None, satisfied: Satisfied | None) -> bool:
        """Whether such answers open a case again."""
        return solved in self.reopen_solved or satisfied in self.reopen_satisfied


__all__ = [
    "QUESTIONS",
    "AnswerRules",
    "Closing",
    "Ending",
    "Rate",
    "Reached",
    "Satisfied",
    "Solved",
    "Verdict",
    "satisfied_by",
]
