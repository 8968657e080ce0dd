"""Marks: how the hub knows a reporter's own name, telephone or address again without keeping it in the open. Pure.

A mark has three parts: a keyed hash of one value, its length, and the text to show instead. The hash ignores case, width, spaces and, for
numbers, punctuation. The key is derived from the case's own key in the vault. Once that key is destroyed, marks say nothing. Then later
texts are not masked by them. Nor is the same person's name in other cases. Made and kept (encrypted) by `hub.privacy.Vault`, used by the
desk on every later text of the case.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_MARKS: Final = 24
"""Marks of one contact."""
_LEAST: Final = {"word": 2, "exact": 4, "number": 5}
_BYTES: Final = 16
_IGNORED: Final = frozenset(("Zs", "Zl", "Zp", "Cf", "Cc"))
_DOTS: Final = frozenset("·•・'’-")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_here: ContextVar[tuple[Callable[[str], str], ...]] = ContextVar("known_here", default=())


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """One value. `form`: word (spaces don't count), exact or number (punctuation neither). `lead`: its first letter, if `shown` has it."""

    form: str
    length: int
    digest: bytes
    shown: str
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """A value in the clear, to be marked."""

    value: str
    shown: str
    form: str


class Marks:
    """The marks of one reporter."""

    __slots__ = ("_key", "_marks")

    def __init__(self, key: bytes, marks: Iterable[Mark]) -> None:
        self._key = key
        self._marks = tuple(marks)

    def __bool__(self) -> bool:
        return bool(self._marks)

    def hide(self, text: str) -> str:
        """The text with every known value replaced by the text to show instead."""
        if not self._marks or not text:
            return text
        found: list[tuple[int, int, str]] = []
        forms = {form: _letters(text, form) for form in {mark.form for mark in self._marks}}
        for mark in self._marks:
            letters, where = forms[mark.form]
            for start in range(len(letters) - mark.length + 1):
                if mark.lead and letters[start] != mark.lead:
                    continue
                piece = letters[start : start + mark.length]
                if mark.form == "number" and _within_digits(letters, where, start, start + mark.length):
                    continue
                if hmac.compare_digest(_digest(self._key, mark.form, piece), mark.digest):
                    found.append((where[start], where[start + mark.length - 1] + 1, mark.shown))
        return _replaced(text, found)


def key_of(secret: bytes) -> bytes:
    """The key of a case's marks, from the case's key in the vault."""
    return hashlib.blake2b(b"hub marks 1", key=secret, digest_size=32).digest()


def marks_of(known: Iterable[Known], key: bytes) -> tuple[Mark, ...]:
    """The marks of some values. Too short values, and values shown anyway, get none."""
    made: dict[tuple[str, bytes], Mark] = {}
    for one in known:
        letters, _ = _letters(one.value, one.form)
        if len(letters) < _LEAST[one.form] or one.value == one.shown:
            continue
        shown, _ = _letters(one.shown[:1], one.form)
        lead = letters[0] if shown == letters[0] else ""
        mark = Mark(one.form, len(letters), _digest(key, one.form, letters), one.shown, lead)
        made.setdefault((mark.form, mark.digest), mark)
    return tuple(sorted(made.values(), key=lambda mark: -mark.length))[:MOST_MARKS]


def plain(text: str) -> str:
    """The text with what no store takes (NUL, halves of surrogate pairs) as a question mark."""
    return _UNSTORABLE.sub("?", text) if _UNSTORABLE.search(text) else text


@contextmanager
def known_here(*hide: Callable[[str], str]) -> Iterator[None]:
    """While inside (tasks begun here included), log lines go through these functions too."""
    token = _here.set((*_here.get(), *hide))
    try:
        yield
    finally:
        _here.reset(token)


def hide_known(text: str) -> str:
    """The text with this context's known values masked; for logs."""
    for hide in _here.get():
        text = hide(text)
    return text


def _letters(text: str, form: str) -> tuple[str, list[int]]:
    """What of a text is compared, and where each letter stood."""
    letters: list[str] = []
    where: list[int] = []
    for place, letter in enumerate(text):
        for folded in unicodedata.normalize("NFKC", letter).lower():
            bare = unicodedata.category(folded) not in _IGNORED and folded not in _DOTS
            if bare if form == "word" else folded.isalnum():
                letters.append(folded)
                where.append(place)
    return "".join(letters), where


def _within_digits(letters: str, where: list[int], start: int, stop: int) -> bool:
    """Whether a number is only a part of a longer one, written without a gap."""
    longer_before = start > 0 and letters[start - 1 : start + 1].isdigit() and where[start] - where[start - 1] == 1
    longer_after = stop < len(letters) and letters[stop - 1 : stop + 1].isdigit() and where[stop] - where[stop - 1] == 1
    return longer_before or longer_after


def _digest(key: bytes, form: str, letters: str) -> bytes:
    return hashlib.blake2b(f"{form}\n{letters}".encode(errors="replace"), key=key, digest_size=_BYTES).digest()


def _replaced(text: str, found: list[tuple[int, int, str]]) -> str:
    """The text with pieces replaced; of those that overlap the earlier and longer one counts."""
    if not found:
        return text
    parts, end = [], 0
    for start, stop, shown in sorted(found, key=lambda one: (one[0], -one[1])):
        if start >= end:
            parts += [text[end:start], shown]
            end = stop
    return "".join((*parts, text[end:]))
