"""Areas and units: the four-level tree and its acting units. Vocabulary and checks, no I/O.

Code make-up: 6 digits district (GB/T 2260), +3 street, +3 community, +3 grid (sequence within the community); a child's code starts with
its parent's. Called by policy, intake and the views.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NewType

import msgspec

AreaCode = NewType("AreaCode", str)
UnitCode = NewType("UnitCode", str)


class Level(IntEnum):
    """The four levels 四级, ordered from the bottom: `Level.GRID < Level.DISTRICT`."""

    GRID = 1
    COMMUNITY = 2
    STREET = 3
    DISTRICT = 4

    @property
    def code_length(self) -> int:
        """Number of digits of an area code of this level (15, 12, 9, 6)."""
        return {1: 15, 2: 12, 3: 9, 4: 6}[int(self)]

    @property
    def word(self) -> str:
        """The lower-case English word used in files and on the API: `grid` … `district`."""
        return self.name.lower()

    @classmethod
    def parse(cls, word: str) -> Level:
        """Read `grid`, `community`, `street` or `district`; raises ValueError otherwise."""
        try:
            return cls[word.strip().upper()]
        except KeyError:
            raise ValueError(f"not a level: {word!r} (grid, community, street or district)") from None


class GridKind(StrEnum):
    """N+X: N residential grids and X commercial grids in a community."""

    RESIDENTIAL = "residential"
    COMMERCIAL = "commercial"


class Area(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A node 区划 of the tree. `households` is given for grids (about 300 each, the N+X rule)."""

    code: AreaCode
    name: str
    level: Level
    parent: AreaCode | None = None
    grid_kind: GridKind | None = None
    households: int | None = None


class UnitKind(StrEnum):
    """Who a unit is: one of the four levels' own, or a department."""

    CENTRE = "centre"
    STREET = "street"
    COMMUNITY = "community"
    GRID = "grid"
    DEPARTMENT = "department"


class Unit(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An acting unit 单位.

    The code of a level's own unit is its area's code (the street office of 320113001 is unit `320113001`). The code of a department is a
    word (`landscaping`). `areas` are the area codes it serves (a prefix serves all below it). `adapter` names the adapter instance that
    reaches its system, None when it works in the hub itself.
    """

    code: UnitCode
    name: str
    kind: UnitKind
    level: Level | None = None
    areas: tuple[AreaCode, ...] = ()
    adapter: str | None = None

    def serves(self, area: str) -> bool:
        """Whether `area` lies in one of the areas served."""
        return any(area.startswith(served) for served in self.areas)


def within(area: str, scope: str) -> bool:
    """Whether `area` is `scope` or lies below it (codes are prefixes of each other)."""
    return area.startswith(scope)
