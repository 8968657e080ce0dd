"""The crosswalk 对照表: the department's words against the hub's, as versioned data instead of code.

A plugin ships one in its manifest; an instance may put entries before it. A status in neither table is not lost: it counts as progress, and
a repair item asks for the word to be mapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, TypeVar

from hub.contract.values import FeedbackKind
from hub.model.answers import QUESTIONS, Reached, Satisfied, Solved
from hub.model.words import ANSWERS

A = TypeVar("A", bound=StrEnum)

_OURS: Final[Mapping[str, Mapping[str, str]]] = {
    question: {word: answer for answer, word in words.items()} | dict(zip(words, words, strict=True))
    for question, words in ANSWERS.items()
}
"""The hub's own words for answers, and their stored values: nobody has to map 满意."""


@dataclass(frozen=True, kw_only=True)
class Crosswalk:
    """Its tables and their version."""

    version: int = 0
    statuses: Mapping[str, FeedbackKind] = field(default_factory=dict)
    """The department's status → the kind of feedback it means. Complete: every status its interface documents."""
    categories: Mapping[str, str] = field(default_factory=dict)
    """Our category code (or a prefix of it that ends the code's level) → theirs."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Our field of an assignment → the name of theirs."""
    reached: Mapping[str, Reached] = field(default_factory=dict)
    """The department's words for whether the reporter was reached; the hub's own (接通, 未接通, 拒访) need no entry."""
    solved: Mapping[str, Solved] = field(default_factory=dict)
    """Its words for whether it is solved; the hub's own: 已解决, 部分解决, 未解决, 未询问."""
    satisfied: Mapping[str, Satisfied] = field(default_factory=dict)
    """Its words for whether the reporter is content; the hub's own: 满意, 基本满意, 不满意, 未评价."""

    def over(self, other: Crosswalk) -> Crosswalk:
        """This one's entries before `other`'s."""
        return Crosswalk(
            version=self.version,
            statuses={**other.statuses, **self.statuses},
            categories={**other.categories, **self.categories},
            fields={**other.fields, **self.fields},
            reached={**other.reached, **self.reached},
            solved={**other.solved, **self.solved},
            satisfied={**other.satisfied, **self.satisfied},
        )


TABLES: Final = ("statuses", "categories", "fields", *QUESTIONS)
"""The tables by name."""


class Words(Protocol):
    """What an adapter asks its crosswalk by (`self.words`)."""

    def kind(self, status: str, *, about: str | None = None) -> FeedbackKind:
        """The kind of feedback that a department's status means. Not mapped: PROGRESS and a repair item. `about`: key or ticket."""
        ...

    def category(self, code: str) -> str | None:
        """Their code of our category, by the longest mapped prefix of `code`. None and a repair item when no prefix is mapped."""
        ...

    def name(self, field: str) -> str:
        """Their name of a field of ours; our own name when it is not mapped."""
        ...

    def reached(self, word: str, *, about: str | None = None) -> Reached | None:
        """What a word of theirs says of whether the reporter was reached; None and a repair item when nobody knows it."""
        ...

    def solved(self, word: str, *, about: str | None = None) -> Solved | None:
        """What a word of theirs says of whether it is solved; None and a repair item when nobody knows it."""
        ...

    def satisfied(self, word: str, *, about: str | None = None) -> Satisfied | None:
        """What a word of theirs says of how content the reporter is; None and a repair item when nobody knows it."""
        ...


class Unmapped(Protocol):
    """Hears of a word that is in no table: `table` is statuses, categories, reached, solved or satisfied."""

    def __call__(self, table: str, word: str, about: str | None) -> None:
        """Note it; must not raise."""
        ...


class Heard(Protocol):
    """Told of every status word an adapter asks for, mapped or not."""

    def __call__(self, word: str, result: FeedbackKind | None, about: str | None) -> None:
        """Count it; must not raise. `result` None: no table has it."""
        ...


def _silent(table: str, word: str, about: str | None) -> None:
    """Tells nobody (in tests of a plugin)."""


def _unheard(word: str, result: FeedbackKind | None, about: str | None) -> None:
    """Nobody counts."""


class WordTable:
    """`Words` by one crosswalk."""

    def __init__(self, crosswalk: Crosswalk, unmapped: Unmapped | None = None, heard: Heard | None = None) -> None:
        self.crosswalk = crosswalk
        self._unmapped = unmapped or _silent
        self._heard = heard or _unheard

    def kind(self, status: str, *, about: str | None = None) -> FeedbackKind:
        """The kind of feedback that a department's status means. Not mapped: PROGRESS and a repair item."""
        found = self.crosswalk.statuses.get(status)
        self._heard(status, found, about)
        if found is None:
            self._unmapped("statuses", status, about)
            return FeedbackKind.PROGRESS
        return found

    def category(self, code: str) -> str | None:
        """Their code of our category: the longest mapped prefix of `code`; None and a repair item when none is."""
        for length in range(len(code), 0, -1):
            found = self.crosswalk.categories.get(code[:length])
            if found is not None:
                return found
        self._unmapped("categories", code, None)
        return None

    def name(self, field: str) -> str:
        """Their name of a field of ours; our own name when it is not mapped."""
        return self.crosswalk.fields.get(field, field)

    def reached(self, word: str, *, about: str | None = None) -> Reached | None:
        """What a word of theirs says of whether the reporter was reached; None and a repair item when nobody knows it."""
        return self._answer("reached", self.crosswalk.reached, Reached, word, about)

    def solved(self, word: str, *, about: str | None = None) -> Solved | None:
        """What a word of theirs says of whether it is solved; None and a repair item when nobody knows it."""
        return self._answer("solved", self.crosswalk.solved, Solved, word, about)

    def satisfied(self, word: str, *, about: str | None = None) -> Satisfied | None:
        """What a word of theirs says of how content the reporter is; None and a repair item when nobody knows it."""
        return self._answer("satisfied", self.crosswalk.satisfied, Satisfied, word, about)

    def _answer(self, question: str, table: Mapping[str, A], values: type[A], word: str, about: str | None) -> A | None:
        found = table.get(word)
        if found is None and (ours := _OURS[question].get(word)) is not None:
            found = values(ours)
        if found is None:
            self._unmapped(question, word, about)
        return found
