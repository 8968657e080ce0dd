"""The tree of areas: district, streets, communities and grids, checked once and asked often.

Owns the tree's rules: unique codes, level by length, a child's code starts with its parent's, no orphan, one district, every node named.
Reads nothing; `hub.config.district` brings the rows. Called by the policy, intake and the views.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from hub.errors import ConfigError
from hub.model.district.areas import Area, AreaCode, Level


class AreaRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An area as one row of a file says it, with the row's line (1 is the header)."""

    area: Area
    line: int


def check_areas(rows: Sequence[AreaRow], file: str) -> list[ConfigError]:
    """Every violation of the tree's rules, in file order; empty when the rows make a tree."""
    problems: list[ConfigError] = []
    lines: dict[str, int] = {}
    for row in rows:
        if row.area.code in lines:
            problems.append(
                ConfigError(
                    f"area {row.area.code} is given twice (first on line {lines[row.area.code]})",
                    file=file,
                    line=row.line,
                    key="code",
                )
            )
        else:
            lines[row.area.code] = row.line
    for row in rows:
        problems.extend(
            ConfigError(message, file=file, line=row.line, key=key) for key, message in _violations(row.area, lines)
        )
    districts = [row for row in rows if row.area.level is Level.DISTRICT]
    if not districts:
        problems.append(ConfigError("there is no district", file=file, line=1, key="level"))
    problems.extend(
        ConfigError("a second district; one directory holds one district", file=file, line=row.line, key="level")
        for row in districts[1:]
    )
    return sorted(problems, key=lambda problem: problem.line or 0)


def _violations(area: Area, known: dict[str, int]) -> Iterator[tuple[str, str]]:
    if not (area.code.isascii() and area.code.isdigit()):
        yield "code", f"area code {area.code!r} must be digits"
        return
    if len(area.code) != area.level.code_length:
        yield "code", f"area code {area.code} has {len(area.code)} digits; a {area.level.word} has {area.level.code_length}"
        return
    if not area.name.strip():
        yield "name", f"area {area.code} has no name"
    if area.level is Level.DISTRICT:
        if area.parent:
            yield "parent", "a district has no parent"
        return
    above = Level(area.level + 1)
    if not area.parent:
        yield "parent", f"area {area.code} has no parent"
    elif not area.code.startswith(area.parent) or len(area.parent) != above.code_length:
        yield "parent", f"parent {area.parent} is not the {above.word} that {area.code} belongs to"
    elif area.parent not in known:
        yield "parent", f"area {area.code} is an orphan: its parent {area.parent} is not in the file"
    if area.grid_kind is not None and area.level is not Level.GRID:
        yield "grid_kind", "only grids have a kind"
    if area.households is not None and area.households < 0:
        yield "households", "households can't be negative"


class AreaTree:
    """The areas of one district by code. Build it from checked areas only (`check_areas`)."""

    def __init__(self, areas: Iterable[Area]) -> None:
        self._areas: dict[str, Area] = {}
        self._children: dict[str, list[Area]] = {}
        district: Area | None = None
        for area in areas:
            self._areas[area.code] = area
            if area.level is Level.DISTRICT:
                district = area
            if area.parent:
                self._children.setdefault(area.parent, []).append(area)
        if district is None:
            raise ConfigError("there is no district", key="level")
        for children in self._children.values():
            children.sort(key=lambda child: child.code)
        self.district = district

    def __len__(self) -> int:
        return len(self._areas)

    def __iter__(self) -> Iterator[Area]:
        return iter(self._areas.values())

    def __contains__(self, code: object) -> bool:
        return code in self._areas

    def find(self, code: str) -> Area | None:
        """The area with exactly that code, or None."""
        return self._areas.get(code)

    def resolve(self, code: str) -> Area | None:
        """The area a code means: exact, or zero-filled to any length (`320113001000000` is the street); None when unknown."""
        found = self._areas.get(code)
        if found is not None:
            return found
        for length in (12, 9, 6):
            if len(code) > length and not code[length:].strip("0"):
                found = self._areas.get(code[:length])
                if found is not None:
                    return found
        return None

    def parent(self, code: str) -> Area | None:
        """The area one level up; None for the district and for unknown codes."""
        area = self.resolve(code)
        return self._areas.get(area.parent) if area is not None and area.parent else None

    def children(self, code: str) -> tuple[Area, ...]:
        """The areas one level down, by code."""
        area = self.resolve(code)
        return tuple(self._children.get(area.code, ())) if area is not None else ()

    def ancestors(self, code: str) -> tuple[Area, ...]:
        """The area and everything above it, from the district down; empty for unknown codes."""
        area = self.resolve(code)
        line: list[Area] = []
        while area is not None:
            line.append(area)
            area = self._areas.get(area.parent) if area.parent else None
        return tuple(reversed(line))

    def path(self, code: str) -> tuple[str, ...]:
        """Names from the district down, e.g. `("栖霞区", "尧化街道", "尧化社区居委会", "第3网格")`."""
        return tuple(area.name for area in self.ancestors(code))

    def at_level(self, level: Level) -> tuple[Area, ...]:
        """All areas of one level, in file order."""
        return tuple(area for area in self._areas.values() if area.level is level)

    def at(self, level: Level, code: str) -> Area | None:
        """The area of `level` that `code` lies in; None when `code` is unknown or above that level."""
        area = self.resolve(code)
        if area is None or area.level > level:
            return None
        return self._areas.get(area.code[: level.code_length])

    def below(self, code: AreaCode) -> Iterator[Area]:
        """Every area below `code`, depth first."""
        for child in self._children.get(code, ()):
            yield child
            yield from self.below(child.code)
