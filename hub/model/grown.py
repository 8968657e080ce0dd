"""A map that only grows, shared by all its earlier versions: adding costs the same however large it is. Pure.

A folded matter is immutable, and some of them have twenty thousand commands or attached reports: copying a dict for each would
make folding quadratic. Here versions share one dict and remember how much of it is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Grown(Generic[K, V]):
    """Immutable; `with_` gives a new version. The first value of a key stays."""

    __slots__ = ("_length", "_shared")

    def __init__(self) -> None:
        self._shared: dict[K, tuple[int, V]] = {}
        self._length = 0

    def with_(self, key: K, value: V) -> Grown[K, V]:
        """This map and one entry more; the same object when the key is there."""
        if key in self:
            return self
        shared = self._shared
        if len(shared) != self._length or not shared:
            # Another version has gone on from here (or this is the shared empty one): this branch gets a dict of its own.
            shared = {own: shared[own] for own in self}
        shared[key] = (self._length, value)
        fresh: Grown[K, V] = Grown.__new__(Grown)
        fresh._shared = shared
        fresh._length = self._length + 1
        return fresh

    def get(self, key: K) -> V | None:
        """The value, or None."""
        found = self._shared.get(key)
        return found[1] if found is not None and found[0] < self._length else None

    def __contains__(self, key: K) -> bool:
        found = self._shared.get(key)
        return found is not None and found[0] < self._length

    def __iter__(self) -> Iterator[K]:
        """The keys, oldest first."""
        return iter(list(islice(self._shared, self._length)))

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grown):
            return NotImplemented
        return len(self) == len(other) and all(key in other and other.get(key) == self.get(key) for key in self)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Grown({list(self)!r})"
