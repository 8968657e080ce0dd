"""Hands orders to property companies through their phone page, and reads what their managers report: the adapter of `hub_page`.

One adapter for all companies: the area of the assignment decides which one gets it. Called by the hub only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self, cast

from hub_page.adapter import CAPABILITIES, CROSSWALK, POLL_EVERY, DeskSettings, PageAdapter
from hub_page.messages import Team
from hub_page.routing import TeamEntry, doubled
from pydantic import Field, model_validator

from hub import AdapterSettings, Manifest


class PropertySettings(DeskSettings):
    """Settings of one desk and the companies behind it."""

    companies: tuple[TeamEntry, ...] = Field((), description="Companies and the areas they look after.")
    fallback: Team = Field(
        default=Team(id="district", name="区物业管理中心"), description="Who gets orders from areas no company looks after."
    )

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        twice = doubled(self.companies)
        if twice is not None:
            raise ValueError(f"companies: {twice} is given twice")
        return self


class PropertyAdapter(PageAdapter):
    """All property companies of a district as one department."""

    manifest = Manifest(
        name="property",
        department="物业",
        version="0.2.0",
        owner="City Hub maintainers",
        poll_every=POLL_EVERY,
        concurrency=8,
        capabilities=CAPABILITIES,
        crosswalk=CROSSWALK,
    )
    Settings: ClassVar[type[AdapterSettings]] = PropertySettings

    def routing(self) -> tuple[Sequence[TeamEntry], Team]:
        """The companies, and who gets the rest."""
        settings = cast(PropertySettings, self.settings)
        return settings.companies, settings.fallback
