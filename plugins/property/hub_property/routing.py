"""Which property company gets an order: the longest area prefix of the table, else the fallback. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict, Field, field_validator

from hub_property.messages import Company


class CompanyEntry(Company):
    """A company and the areas it looks after, as codes of communities (or grids, streets) with all below."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


def company_of(area: str, companies: Sequence[CompanyEntry], fallback: Company) -> Company:
    """The company of an area: of those whose codes are a prefix of `area` the one with the longest; else `fallback`."""
    best, length = fallback, 0
    for company in companies:
        for code in company.areas:
            if len(code) > length and area.startswith(code):
                best, length = Company(id=company.id, name=company.name), len(code)
    return best


def doubled(companies: Sequence[CompanyEntry]) -> str | None:
    """The first area code or company id that two entries claim, None when there is none."""
    seen: set[str] = set()
    for company in companies:
        for word in (company.id, *company.areas):
            if word in seen:
                return word
            seen.add(word)
    return None
