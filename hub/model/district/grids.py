"""Grids by the N+X rule: N residential grids of about 300 households and X commercial ones in each community.

Owns the generator that fills a division file with grids until a district has drawn its own. The division codes carry no household figures.
So the generator estimates them, deterministically, from the community's code alone: a residents' committee 1,200–3,600 households, a
village 450–1,350, a virtual community (industrial park, campus) none. Replace the result by the district's own grids as soon as it has
them; nothing else depends on the estimate. Pure.

Source of the rule: district implementation plans for grid management (about 300 households a grid, N+X, one worker a grid); of the code: 15
digits = community + 3-digit sequence.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from hub.model.district.areas import Area, AreaCode, GridKind, Level

HOUSEHOLDS_PER_GRID = 300
"""Households of one residential grid, about."""


def estimate_households(community: Area) -> int:
    """An estimate of a community's households from its code and kind. The same code always gives the same."""
    if "虚拟" in community.name:
        return 0
    spread = crc32(community.code.encode()) % 1000
    if community.name.endswith("村委会"):
        return 450 + spread * 900 // 1000
    return 1200 + spread * 2400 // 1000


def commercial_grids(community: Area) -> int:
    """X: how many commercial grids a community gets (1 in villages, 1–2 in residential communities, 2 in virtual ones)."""
    if "虚拟" in community.name:
        return 2
    if community.name.endswith("村委会"):
        return 1
    return 1 + crc32(community.code[::-1].encode()) % 2


def generate_grids(areas: Iterable[Area], *, per_grid: int = HOUSEHOLDS_PER_GRID) -> tuple[Area, ...]:
    """Grids for every community that has none yet, numbered 001… with the residential ones first.

    Households are spread evenly over the N residential grids; commercial grids have 0.
    Raises ValueError when a community would need more than 999 grids or `per_grid` is not positive.
    """
    if per_grid < 1:
        raise ValueError("per_grid must be positive")
    listed = tuple(areas)
    divided = {area.parent for area in listed if area.level is Level.GRID}
    grids: list[Area] = []
    for community in listed:
        if community.level is not Level.COMMUNITY or community.code in divided:
            continue
        households = estimate_households(community)
        residential = max(1, round(households / per_grid)) if households else 0
        total = residential + commercial_grids(community)
        if total > 999:
            raise ValueError(f"{community.code} would need {total} grids; a sequence has three digits")
        for number in range(1, total + 1):
            lives = number <= residential
            share = households // residential + (number <= households % residential) if lives else 0
            grids.append(
                Area(
                    code=AreaCode(f"{community.code}{number:03d}"),
                    name=f"第{number}网格" if lives else f"第{number}网格（商业）",
                    level=Level.GRID,
                    parent=community.code,
                    grid_kind=GridKind.RESIDENTIAL if lives else GridKind.COMMERCIAL,
                    households=share,
                )
            )
    return tuple(grids)
