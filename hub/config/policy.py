"""From the policy's texts to a `Policy`, with every mistake named by file, line and key.

Owns which files make a policy, which of them may be missing, and how they are put together; each file's form is its reader's. Reads no
files: texts come from `hub.config.district` or out of the ledger (a published version). Refuses unknown keys, units, categories and
areas, rules nothing can reach, duplicates and gaps (every severity, every channel). Called by `hub.config.district` and by whoever loads
a published policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from hub.config.categories import read_categories
from hub.config.days import DAYS, read_days
from hub.config.documents import Document, Form
from hub.config.fields import Known, Text, matching, parsed
from hub.config.geography import PlaneForm, PlaneName
from hub.config.limits import read_ladder, read_limits
from hub.config.routing import read_routing
from hub.errors import ConfigError
from hub.model.district.areatree import AreaTree
from hub.model.district.units import Directory
from hub.model.policy.policy import Policy
from hub.model.policy.routing import RoutingTable
from hub.model.positions import PLANE_NAME

DISTRICT = "district.yaml"
CATEGORIES = "policy/categories.yaml"
ROUTING = "policy/routing.yaml"
LIMITS = "policy/limits.yaml"
LADDER = "policy/ladder.yaml"
NEEDED = (DISTRICT, CATEGORIES, ROUTING, LIMITS, LADDER)
OPTIONAL = (DAYS,)
SOURCES = (*NEEDED, *OPTIONAL)
"""The files a policy is made of, relative to the configuration directory; it is whole without those of `OPTIONAL`."""


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("not a time zone's name (such as Asia/Shanghai)") from None


class DistrictForm(Form):
    """What district.yaml says."""

    code: Text
    name: Text
    zone: Annotated[ZoneInfo, parsed(_zone)]
    planes: dict[Annotated[PlaneName, matching(PLANE_NAME, "a plane's name (a lower-case word)")], PlaneForm | None] = Field(
        default_factory=dict
    )


def raise_first(problems: list[ConfigError]) -> None:
    """Raise the first problem, with the number of the others in its text; nothing when there is none."""
    if not problems:
        return
    first = problems[0]
    more = f" (and {len(problems) - 1} more; `hub policy check` lists them)" if len(problems) > 1 else ""
    raise ConfigError(f"{first.reason}{more}", file=first.file, line=first.line, key=first.key)


def policy_from_sources(
    sources: Mapping[str, str], areas: AreaTree, directory: Directory, version: int = 0, *, zone: ZoneInfo | None = None
) -> Policy:
    """Build a policy from its texts (`Policy.sources`); `zone` is used instead of district.yaml's.

    Raises ConfigError for the first mistake, with the count of all.
    """
    problems = [ConfigError("the file is missing", file=name) for name in NEEDED if name not in sources]
    if zone is None:
        form = Document(sources.get(DISTRICT), DISTRICT, problems).form(DistrictForm)
        zone = form.zone if form is not None else Known.zone
    known = Known(areas=areas, units=directory, zone=zone)
    policy = read_policy(sources, areas, directory, known, problems, version=version)
    raise_first(problems)
    if policy is None:
        raise ConfigError("the policy can't be read")
    return policy


def read_policy(
    sources: Mapping[str, str],
    areas: AreaTree,
    directory: Directory,
    known: Known,
    problems: list[ConfigError],
    *,
    version: int = 0,
) -> Policy | None:
    """Build a policy, collecting all mistakes in `problems`; None when there are any or a file is missing."""
    before = len(problems)
    documents = {name: Document(sources.get(name), name, problems) for name in SOURCES[1:]}
    known = replace(known, categories=documents[CATEGORIES].keys("classes", "*", "minor"))
    categories = read_categories(documents[CATEGORIES], known)
    routing = read_routing(documents[ROUTING], known, categories)
    calendar = read_days(documents[DAYS])
    limits = read_limits(documents[LIMITS], known, calendar)
    ladder = read_ladder(documents[LADDER])
    if len(problems) > before or DISTRICT not in sources or not (categories and routing and limits and ladder):
        return None
    rules, entries = routing
    steps, authorities = ladder
    return Policy(
        areas=areas,
        directory=directory,
        categories=categories,
        book=RoutingTable(rules, [category.code for category in categories]),
        entries=entries,
        limits=limits.table,
        category_limits=limits.overrides,
        visits=limits.visits,
        answers=limits.answers,
        steps=steps,
        authorities=authorities,
        hours=limits.hours,
        calendar=calendar,
        sources={name: sources[name] for name in SOURCES if name in sources},
        version=version,
    )
