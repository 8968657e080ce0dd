"""Classification: asks classifier plugins for a report's category, when neither the reporter nor the district's own words give it.

Owns the order (by instance name), the time each gets and the least confidence. A classifier that fails, is slow or answers nonsense is
skipped: a report never waits for one. Called by intake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from hub.contract import CaseText, Suggestion
from hub.errors import HubError

if TYPE_CHECKING:
    from hub.model.policy.district import District

log = structlog.get_logger("hub.classification")

ENOUGH = 0.6
"""Least confidence of a suggestion that counts."""


class Classifier(Protocol):
    """A classifier at work."""

    @property
    def name(self) -> str:
        """The instance's name."""
        ...

    async def classify(self, case: CaseText) -> Suggestion | None:
        """What a report may be; raises HubError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Classified:
    """An accepted suggestion, and the classifier that made it."""

    by: str
    suggestion: Suggestion

    def words(self, name: str) -> str:
        """One line for the timeline; `name` is the category's."""
        because = f"：{self.suggestion.because}" if self.suggestion.because else ""
        return f"分类由 {self.by} 建议：{name}（置信度 {self.suggestion.confidence:.0%}）{because}"[:500]


class Classification:
    """Asks the classifiers."""

    def __init__(self, classifiers: Callable[[], Sequence[Classifier]], district: Callable[[], District]) -> None:
        self._classifiers = classifiers
        self._district = district

    def asks(self, case: CaseText) -> bool:
        """Whether to ask: there is a classifier, and the district's own words do not give the category."""
        return bool(self._classifiers()) and not self._district().policy.recognises(case.title, case.text)

    async def __call__(self, case: CaseText) -> Classified | None:
        """The first suggestion that is sure enough and names an existing category. None when there is none."""
        policy = self._district().policy
        for classifier in sorted(self._classifiers(), key=lambda one: one.name):
            try:
                found = await classifier.classify(case)
            except HubError as problem:
                log.warning("classifier passed over", adapter=classifier.name, reason=problem.message)
                continue
            if found is None:
                continue
            if not policy.is_category(found.category):
                log.warning("classifier names no category of ours", adapter=classifier.name, category=found.category[:50])
            elif found.confidence >= ENOUGH:
                return Classified(by=classifier.name, suggestion=found)
        return None
