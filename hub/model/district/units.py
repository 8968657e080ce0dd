"""Who acts: each level's own unit, derived from the tree of areas, and the departments.

Owns the directory of units and how the levels' units are called. Pure; `hub.config.district` brings the departments. Called by the policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hub.errors import ConfigError
from hub.model.district.areas import Area, Level, Unit, UnitCode, UnitKind
from hub.model.district.areatree import AreaTree

_KINDS = {
    Level.DISTRICT: UnitKind.CENTRE,
    Level.STREET: UnitKind.STREET,
    Level.COMMUNITY: UnitKind.COMMUNITY,
    Level.GRID: UnitKind.GRID,
}


def unit_name(area: Area, parent: Area | None) -> str:
    """What an area's own unit is called: 栖霞区指挥中心, 尧化街道办事处, 尧化社区居委会, 尧化社区第3网格."""
    match area.level:
        case Level.DISTRICT:
            return f"{area.name}指挥中心"
        case Level.STREET:
            if area.name.endswith("街道"):
                return f"{area.name}办事处"
            return f"{area.name}人民政府" if area.name.endswith(("镇", "乡")) else f"{area.name}管理办公室"
        case Level.COMMUNITY:
            return area.name
        case Level.GRID:
            above = parent.name if parent is not None else ""
            for suffix in ("居民委员会", "居委会", "村民委员会"):
                above = above.removesuffix(suffix)
            return f"{above.removesuffix('村委会')}{area.name}"


class Directory:
    """All units of a district by code. Raises ConfigError when two have one code."""

    def __init__(self, tree: AreaTree, departments: Iterable[Unit]) -> None:
        self._tree = tree
        self._units: dict[str, Unit] = {}
        for area in tree:
            self._units[area.code] = Unit(
                code=UnitCode(area.code),
                name=unit_name(area, tree.find(area.parent) if area.parent else None),
                kind=_KINDS[area.level],
                level=area.level,
                areas=(area.code,),
            )
        listed = tuple(departments)
        for unit in listed:
            if unit.code in self._units:
                raise ConfigError(f"unit {unit.code} is given twice", key=unit.code)
            self._units[unit.code] = unit
        self.departments = listed
        """The departments, in file order."""

    def __len__(self) -> int:
        return len(self._units)

    def __iter__(self) -> Iterator[Unit]:
        return iter(self._units.values())

    def __contains__(self, code: object) -> bool:
        return code in self._units

    def get(self, code: str) -> Unit | None:
        """The unit with that code, or None."""
        return self._units.get(code)

    def at(self, level: Level, area: str) -> Unit | None:
        """The level's own unit responsible for `area`; None when the area is unknown or not located that deep."""
        found = self._tree.at(level, area)
        return self._units.get(found.code) if found is not None else None

    def nearest(self, level: Level, area: str) -> Unit:
        """The own unit of `level` for `area`. Without one, that of the lowest level above around the area; at last the centre."""
        for candidate in Level:
            if candidate >= level and (unit := self.at(candidate, area)) is not None:
                return unit
        return self._units[self._tree.district.code]
