"""Place names: from people's words to the area they mean.

Owns the finder that turns a text into the most specific area it names. Knows the district's own names (street, community and village, with
and without 街道/社区居委会/村委会) and the names of config/places.csv. Pure; called by intake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hub.model.district.areas import Area, AreaCode, Level
from hub.model.district.areatree import AreaTree
from hub.model.district.lexicon import Lexicon

_SUFFIXES = ("居民委员会", "居委会", "村民委员会", "村委会")
_GRID = re.compile(r"第\s*(\d{1,3})\s*网格")
_SHORTEST_BARE = 3


def _own_names(area: Area) -> Iterator[str]:
    """The names an area of the tree goes by. Bare community names of two characters are too often ordinary words."""
    name = area.name
    yield name
    if area.level is Level.STREET:
        bare = name.removesuffix("街道").removesuffix("镇")
        if bare != name and len(bare) >= 2:
            yield bare
            yield f"{bare}街办"
        return
    if area.level is not Level.COMMUNITY:
        return
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            name = name.removesuffix(suffix)
            if name.endswith("村") and suffix.startswith("村") and name.endswith("村村"):
                name = name[:-1]
            break
    if len(name) >= _SHORTEST_BARE:
        yield name
    bare = name.removesuffix("社区")
    if bare != name and len(bare) >= _SHORTEST_BARE:
        yield bare


class Places(Mapping[str, AreaCode]):
    """Place names of a district. As a mapping: each name that means one area. `locate` finds them in texts.

    `given` are the configured names; they come before the tree's own. The code None says: this word is no place, so that a
    longer word hides a shorter name inside it (十字街头 is not the community 十字街).
    """

    def __init__(self, tree: AreaTree, given: Mapping[str, AreaCode | None]) -> None:
        self._tree = tree
        meanings: dict[str, set[AreaCode]] = {}
        for area in tree:
            if area.level is not Level.GRID:
                for name in _own_names(area):
                    meanings.setdefault(name, set()).add(area.code)
        streets = {name for name, codes in meanings.items() if any(len(code) <= 9 for code in codes)}
        for name in streets:  # a street's name shared with a community means the street
            meanings[name] = {code for code in meanings[name] if len(code) <= 9}
        for name, code in given.items():
            meanings[name] = {code} if code is not None else set()
        self._meanings = {name: tuple(sorted(codes)) for name, codes in meanings.items()}
        self._single = {name: codes[0] for name, codes in self._meanings.items() if len(codes) == 1}
        self._lexicon = Lexicon(self._meanings)

    def __getitem__(self, name: str) -> AreaCode:
        return self._single[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._single)

    def __len__(self) -> int:
        return len(self._single)

    def locate(self, text: str) -> AreaCode | None:
        """The most specific area that the text names; of equals the first named; None when it names none.

        A name of two areas counts for the one whose street the text names too, else for the area that both lie in. `第3网格` after a
        community's name means that grid.
        """
        named: list[tuple[AreaCode, ...]] = []
        skip = 0
        for start, word in self._lexicon.find(text):
            if start < skip:
                continue
            skip = start + len(word)
            if codes := self._meanings[word]:
                named.append(codes)
        if not named:
            return None
        streets = {code for codes in named if len(codes) == 1 for code in codes if len(code) == Level.STREET.code_length}
        best: AreaCode | None = None
        for codes in named:
            code = codes[0] if len(codes) == 1 else self._settle(codes, streets)
            if best is None or len(code) > len(best):
                best = code
        if best is not None and len(best) == Level.COMMUNITY.code_length and (match := _GRID.search(text)):
            grid = AreaCode(f"{best}{int(match[1]):03d}")
            if grid in self._tree:
                return grid
        return best

    def _settle(self, codes: tuple[AreaCode, ...], streets: set[AreaCode]) -> AreaCode:
        """Which of several areas of one name is meant."""
        fitting = [code for code in codes if code[: Level.STREET.code_length] in streets]
        if len(fitting) == 1:
            return fitting[0]
        shared = codes[0]
        while not all(code.startswith(shared) for code in codes):
            above = self._tree.parent(shared)
            if above is None:
                break
            shared = above.code
        return shared
