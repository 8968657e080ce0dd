"""From the policy's texts to a `Policy`, with every mistake named by file, line and key.

Owns which files make a policy and how they are put together; each file's form is its reader's. Reads no files: texts come from
`hub.config.district` or out of the ledger (a published version). Refuses unknown keys, units, categories and areas, rules nothing can
reach, duplicates and gaps (every severity, every channel). Called by `hub.config.district` and by whoever loads a published policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hub.config.categories import CategoryReader
from hub.config.limits import LimitsReader, read_ladder
from hub.config.nodes import YamlNode, read_yaml
from hub.config.routing import RoutingReader
from hub.errors import ConfigError
from hub.model.district.areatree import AreaTree
from hub.model.district.units import Directory
from hub.model.policy.policy import Policy
from hub.model.policy.routing import RoutingTable

DISTRICT = "district.yaml"
CATEGORIES = "policy/categories.yaml"
ROUTING = "policy/routing.yaml"
LIMITS = "policy/limits.yaml"
LADDER = "policy/ladder.yaml"
SOURCES = (DISTRICT, CATEGORIES, ROUTING, LIMITS, LADDER)
"""The files a policy is made of, relative to the configuration directory."""


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
    problems: list[ConfigError] = []
    policy = read_policy(sources, areas, directory, problems, version=version, zone=zone)
    raise_first(problems)
    if policy is None:
        raise ConfigError("the policy can't be read")
    return policy


def read_policy(
    sources: Mapping[str, str],
    areas: AreaTree,
    directory: Directory,
    problems: list[ConfigError],
    *,
    version: int = 0,
    zone: ZoneInfo | None = None,
) -> Policy | None:
    """Build a policy, collecting all mistakes in `problems`; None when there are any."""
    before = len(problems)
    roots: dict[str, YamlNode] = {}
    for name in SOURCES:
        if name not in sources:
            problems.append(ConfigError("the file is missing", file=name))
        elif (root := read_yaml(sources[name], name, problems)) is not None:
            roots[name] = root
    if len(roots) < len(SOURCES):
        return None
    zone = zone or read_zone(roots[DISTRICT])
    categories = CategoryReader(roots[CATEGORIES]).read()
    if categories is None or zone is None:
        return None
    rules, entries = RoutingReader(roots[ROUTING], categories, areas, directory).read()
    limits = LimitsReader(roots[LIMITS], categories, areas, zone).read()
    steps, authorities = read_ladder(roots[LADDER])
    if len(problems) > before or limits is None:
        return None
    return Policy(
        areas=areas,
        directory=directory,
        categories=categories,
        book=RoutingTable(rules, [category.code for category in categories]),
        entries=entries,
        limits=limits.table,
        category_limits=limits.overrides,
        visits=limits.visits,
        steps=steps,
        authorities=authorities,
        hours=limits.hours,
        sources={name: sources[name] for name in SOURCES},
        version=version,
    )


def read_zone(root: YamlNode) -> ZoneInfo | None:
    """The district's zone out of district.yaml."""
    node = root.entries().get("zone")
    if node is None:
        root.complain("key 'zone' is missing")
        return None
    try:
        return ZoneInfo(node.text())
    except (ZoneInfoNotFoundError, ValueError):
        node.complain("not a time zone's name (such as Asia/Shanghai)")
        return None
