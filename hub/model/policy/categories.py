"""Categories 事项分类: the coded tree, each category's requirements, and the category of a text.

Owns classification by keywords. Always the same answer for the same text and policy; no learning, no weights but length. Pure; called by
the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import msgspec

from hub.model.case.state import Severity
from hub.model.district.areas import Level
from hub.model.district.lexicon import Lexicon

TITLE_WEIGHT = 3
"""A keyword in the title counts this many times one in the text: people put the matter in the title."""
TEXT_LOOKED_AT = 600
"""Only so many characters of the text count. The rest of a long letter is mostly about other grievances."""

_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Category(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A minor category 小类 with its major 大类. `keywords` are groups of words that must all occur."""

    code: str
    name: str
    major: str
    major_name: str
    severity: Severity
    settle: Level | None = None
    top: Level | None = None
    duplicates: timedelta | None = None
    covers: bool = False
    keywords: tuple[tuple[str, ...], ...] = ()
    line: int = 0

    @property
    def path(self) -> tuple[str, str]:
        """Names from the major down, e.g. `("公用设施", "路灯故障")`."""
        return (self.major_name, self.name)


class Raise(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Words that make a matter at least `to`, if its category is one of `categories` (codes or beginnings; empty: any).

    `unless`: words in which one of them means nothing (着火 in 打不着火).
    """

    to: Severity
    words: tuple[str, ...]
    title_only: bool = True
    categories: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    line: int = 0


class Standing(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The lowest level that may settle and the highest a person may escalate to."""

    settle: Level
    top: Level


class Guess(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The category a text seems to be about, the words that say so and their score (0: nothing found, the default)."""

    category: Category
    words: tuple[str, ...]
    score: int


class CategoryTree:
    """The categories of one policy, in file order. `default` is the code for texts without any keyword."""

    def __init__(
        self,
        categories: Sequence[Category],
        *,
        default: str,
        standing: dict[Severity, Standing],
        raises: Sequence[Raise] = (),
    ) -> None:
        self._by_code = {category.code: category for category in categories}
        self._default = self._by_code[default]
        self._standing = standing
        self._raises = tuple(raises)
        singles: dict[str, list[int]] = {}
        groups: dict[str, list[int]] = {}
        self._categories = tuple(categories)
        self._groups: list[tuple[int, tuple[str, ...]]] = []
        for index, category in enumerate(self._categories):
            for words in category.keywords:
                if len(words) == 1:
                    singles.setdefault(words[0], []).append(index)
                else:
                    groups.setdefault(words[0], []).append(len(self._groups))
                    self._groups.append((index, words))
        self._singles = {word: tuple(found) for word, found in singles.items()}
        self._groups_by_first = {word: tuple(found) for word, found in groups.items()}
        self._lexicon = Lexicon(singles)
        self._firsts = Lexicon(groups)

    def __iter__(self) -> Iterator[Category]:
        return iter(self._categories)

    def __len__(self) -> int:
        return len(self._categories)

    def find(self, code: str) -> Category | None:
        """The category with that code, or None."""
        return self._by_code.get(code)

    def known(self, beginning: str) -> bool:
        """Whether any category's code is `beginning` or starts with it."""
        return any(code.startswith(beginning) for code in self._by_code)

    def classify(self, title: str, text: str) -> Guess:
        """The category whose keywords have the most letters in title and text. Of equals the first in the file."""
        text = text[:TEXT_LOOKED_AT]
        scores: dict[int, int] = {}
        words: dict[int, list[str]] = {}
        for source, weight in ((title, TITLE_WEIGHT), (text, 1)):
            for word in self._lexicon.words_in(source):
                for index in self._singles[word]:
                    scores[index] = scores.get(index, 0) + weight * len(word)
                    words.setdefault(index, []).append(word)
        whole = f"{title}\n{text}"
        for first in self._firsts.words_in(whole):
            for number in self._groups_by_first[first]:
                index, group = self._groups[number]
                if all(word in whole for word in group):
                    weight = TITLE_WEIGHT if all(word in title for word in group) else 1
                    scores[index] = scores.get(index, 0) + weight * sum(map(len, group))
                    words.setdefault(index, []).append("+".join(group))
        if not scores:
            return Guess(category=self._default, words=(), score=0)
        best = max(scores, key=lambda index: (scores[index], -index))
        return Guess(category=self._categories[best], words=tuple(dict.fromkeys(words[best])), score=scores[best])

    def severity(self, category: Category, title: str, text: str) -> tuple[Severity, str | None, int]:
        """How urgent such a matter is: the category's own severity or what a word raises it to, that word and the line."""
        for entry in self._raises:
            if entry.categories and not category.code.startswith(entry.categories):
                continue
            if _RANK[entry.to] <= _RANK[category.severity]:
                continue
            source = title if entry.title_only else f"{title}\n{text[:TEXT_LOOKED_AT]}"
            for harmless in entry.unless:
                source = source.replace(harmless, " ")
            for word in entry.words:
                if word in source:
                    return entry.to, word, entry.line
        return category.severity, None, category.line

    def settle(self, code: str, severity: Severity) -> Level:
        """The lowest level that may settle it."""
        category = self._by_code.get(code)
        return category.settle if category is not None and category.settle is not None else self._standing[severity].settle

    def top(self, code: str, severity: Severity) -> Level:
        """The highest level a person may escalate it to."""
        category = self._by_code.get(code)
        return category.top if category is not None and category.top is not None else self._standing[severity].top
