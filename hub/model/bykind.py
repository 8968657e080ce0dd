"""A table from a kind of command or event to the function for it, filled where the function stands. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

K = TypeVar("K", bound=msgspec.Struct)
F = TypeVar("F", bound=Callable[..., Any])


class ByKind(dict[type[K], Callable[..., Any]], Generic[K]):
    """`@table.on(Kind)` above a function enters it. One kind has one function, unless `over` replaces a part's."""

    def on(self, *kinds: type[K], over: bool = False) -> Callable[[F], F]:
        """Enter a function for some kinds. Raises ValueError when a kind is there already, or is to be replaced and isn't."""

        def enter(function: F) -> F:
            for kind in kinds:
                if (kind in self) is not over:
                    raise ValueError(f"{kind.__name__} {'has no function yet' if over else 'has a function already'}")
                self[kind] = function
            return function

        return enter
