"""Which team gets an order: the one that names the assignment's unit, then the longest area; else the fallback. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from pydantic import ConfigDict, Field, field_validator

from hub_page.messages import Team


class TeamEntry(Team):
    """A team, the units whose orders it takes, and the areas it looks after (codes with all below).

    With units only: the whole district. With areas only: any unit. With neither it gets nothing by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    units: tuple[str, ...] = Field(default=(), description="Unit codes of config/units.yaml.")
    areas: tuple[str, ...] = Field(default=(), description="Area codes, 6 to 15 digits.")

    @field_validator("areas", mode="before")
    @classmethod
    def _digits(cls, value: object) -> object:
        """YAML reads bare codes as numbers; take them as text."""
        return [str(item) for item in value] if isinstance(value, list | tuple) else value

    @field_validator("areas")
    @classmethod
    def _codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for code in value:
            if not (code.isascii() and code.isdigit() and len(code) in (6, 9, 12, 15)):
                raise ValueError(f"not an area code: {code}")
        return value

    def fit(self, unit: str, area: str) -> tuple[int, int]:
        """How well it fits: (1 when it names the unit, digits of the area it names); (0, 0): not at all."""
        if self.units and unit not in self.units:
            return 0, 0
        longest = max((len(code) for code in self.areas if area.startswith(code)), default=0)
        if self.areas and not longest:
            return 0, 0
        return int(bool(self.units)), longest


def team_of(unit: str, area: str, teams: Sequence[TeamEntry], fallback: Team) -> Team:
    """The team that fits best; `fallback` when none does. Which one stands first makes no difference (see `doubled`)."""
    best = max(teams, key=lambda team: team.fit(unit, area), default=None)
    if best is None or best.fit(unit, area) == (0, 0):
        return fallback
    return Team(id=best.id, name=best.name)


def doubled(teams: Sequence[TeamEntry]) -> str | None:
    """What two entries claim: a team's id, a unit, an area, or a unit in an area; None when all is clear."""
    ids: set[str] = set()
    claims: set[tuple[str, str]] = set()
    for team in teams:
        if team.id in ids:
            return team.id
        ids.add(team.id)
        for claim in product(team.units or ("",), team.areas or ("",)):
            if claim == ("", ""):
                continue
            if claim in claims:
                return " ".join(filter(None, claim))
            claims.add(claim)
    return None
