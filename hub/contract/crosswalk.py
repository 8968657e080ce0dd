"""The crosswalk 对照表: the department's words against the hub's, as versioned data instead of code.

A plugin ships one in its manifest; an instance may put entries before it. A status in neither table is not lost: it counts as progress, and
a repair item asks for the word to be mapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hub.contract.values import FeedbackKind


@dataclass(frozen=True, kw_only=True)
class Crosswalk:
    """Three tables and their version."""

    version: int = 0
    statuses: Mapping[str, FeedbackKind] = field(default_factory=dict)
    """The department's status → the kind of feedback it means. Complete: every status its interface documents."""
    categories: Mapping[str, str] = field(default_factory=dict)
    """Our category code (or a prefix of it that ends the code's level) → theirs."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Our field of an assignment → the name of theirs."""

    def over(self, other: Crosswalk) -> Crosswalk:
        """This one's entries before `other`'s."""
        return Crosswalk(
            version=self.version,
            statuses={**other.statuses, **self.statuses},
            categories={**other.categories, **self.categories},
            fields={**other.fields, **self.fields},
        )


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


class Unmapped(Protocol):
    """Hears of a word that is in no table: `table` is statuses or categories."""

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
