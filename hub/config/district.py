"""Reads a configuration directory and gives one district: areas, units, policy, places, adapters.

Owns all file reading of configuration: where the files lie, and the forms of areas.csv, places.csv, units.yaml and district.yaml;
what the policy's files mean is `hub.config.policy`'s, and adapters.yaml `hub.config.adapters_file`'s. Refuses a directory with any mistake:
the error names file, line and key. Called by the composition root and the CLI, at start only.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hub.config.adapters_file import OutsideValue, read_adapters
from hub.config.days import DAYS
from hub.config.documents import Document, Form, Row, read_rows
from hub.config.fields import AdapterName, AreaName, Known, LevelWord, Several, Text, matching
from hub.config.geography import OUTLINES, PlaneForm, read_outlines
from hub.config.policy import DISTRICT, OPTIONAL, SOURCES, DistrictForm, policy_from_sources, raise_first, read_policy
from hub.contract import AdapterInstance
from hub.errors import ConfigError
from hub.model.district.areas import Area, AreaCode, GridKind, Level, Unit, UnitCode, UnitKind
from hub.model.district.areatree import AreaRow, AreaTree, check_areas
from hub.model.district.outlines import Outlines
from hub.model.district.places import Places
from hub.model.district.units import Directory
from hub.model.policy.district import District

__all__ = [
    "Checked",
    "Configured",
    "OutsideValue",
    "areas_csv",
    "check_district",
    "load",
    "load_areas",
    "load_district",
    "policy_from_sources",
    "read_areas",
    "read_places",
]

AREAS = "areas.csv"
PLACES = "places.csv"
UNITS = "units.yaml"
ADAPTERS = "adapters.yaml"
FILES = (AREAS, ADAPTERS, UNITS, PLACES, *SOURCES)


class _AreaRow(Row):
    columns = ("code", "name", "level", "parent")

    code: AreaCode
    name: str = ""
    level: LevelWord
    parent: AreaCode | None = None
    grid_kind: GridKind | None = None
    households: int | None = None


class _PlaceRow(Row):
    columns = ("name", "area")

    name: str
    area: AreaCode | None = None


class _Department(Form):
    name: Text
    adapter: AdapterName | None = None
    areas: Annotated[Several[AreaName], Field(min_length=1)] | None = None


class _Units(Form):
    departments: dict[
        Annotated[UnitCode, matching(r"[a-z_][a-z0-9_]*", "a department's code (a lower-case word of letters, digits, _)")],
        _Department,
    ]


@dataclass(frozen=True, kw_only=True)
class Configured:
    """What a directory describes: a district, and the adapter instances it starts with."""

    district: District
    adapters: tuple[AdapterInstance, ...]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check of a directory found: what it describes when it can be used, all problems, and warnings that stop nothing."""

    configured: Configured | None
    problems: tuple[ConfigError, ...]
    warnings: tuple[str, ...]


def load(directory: Path, environ: Mapping[str, str] | None = None) -> Configured:
    """What a directory describes; `environ` (default: the process's) fills `{env: NAME}` settings.

    Raises ConfigError for the first mistake, with the count of all.
    """
    checked = check_district(directory, environ)
    raise_first(list(checked.problems))
    if checked.configured is None:
        raise ConfigError("the directory holds no usable district", file=str(directory))
    return checked.configured


def load_district(directory: Path, environ: Mapping[str, str] | None = None) -> District:
    """The district a directory describes, as `load` reads it."""
    return load(directory, environ).district


def check_district(directory: Path, environ: Mapping[str, str] | None = None, *, today: date | None = None) -> Checked:
    """Read everything and collect every mistake; with `today` also warn of years whose days off should be known."""
    problems: list[ConfigError] = []
    texts = {name: text for name in FILES if (text := _text(directory, name, problems)) is not None}
    rows = read_areas(texts.get(AREAS), AREAS, problems)
    tree_problems = check_areas(rows, AREAS) if rows else []
    problems += tree_problems
    if tree_problems or not rows:
        return Checked(configured=None, problems=tuple(problems), warnings=())
    tree = AreaTree(row.area for row in rows)
    instances, departments = (Document(texts.get(name), name, problems) for name in (ADAPTERS, UNITS))
    identity = _identity(Document(texts.get(DISTRICT), DISTRICT, problems), tree)
    adapters = read_adapters(instances, os.environ if environ is None else environ)
    units = Directory(tree, _departments(departments, tree, Known(areas=tree, adapters=instances.keys("adapters"))))
    known = Known(
        areas=tree,
        units=departments.keys("departments").union(unit.code for unit in units),
        zone=identity.zone if identity is not None else Known.zone,
    )
    places = read_places(texts.get(PLACES), PLACES, tree, problems)
    policy = read_policy(texts, tree, units, known, problems)
    outlines = Outlines()
    if (directory / OUTLINES).exists() and (drawn := _text(directory, OUTLINES, problems)) is not None:
        outlines = read_outlines(drawn, OUTLINES, tree, problems)
    if problems or policy is None or identity is None:
        return Checked(configured=None, problems=tuple(problems), warnings=())
    district = District(
        code=tree.district.code,
        name=tree.district.name,
        areas=tree,
        directory=units,
        policy=policy,
        places=Places(tree, places),
        zone=identity.zone,
        planes={name: (form or PlaneForm()).plane() for name, form in identity.planes.items()},
        outlines=outlines,
    )
    configured = Configured(district=district, adapters=adapters)
    return Checked(configured=configured, problems=(), warnings=tuple(_warnings(configured, today)))


def _warnings(configured: Configured, today: date | None) -> Iterator[str]:
    district = configured.district
    calendar = district.policy.calendar
    if today is not None:
        for year in calendar.missing_years(today):
            yield (
                f"the days off of {year} are not known; Monday to Friday count as working days "
                f"(`hub policy days FILE --write` reads the announcement into {DAYS}; or update chinesecalendar)"
            )
    for announced in calendar.years.values():
        for line, oddity in announced.oddities():
            yield f"{DAYS}:{line}: {oddity}"
    if not district.areas.at_level(Level.GRID):
        yield "areas.csv has no grids; `hub area generate` makes them by the N+X rule"
    used = {unit.adapter for unit in district.directory.departments if unit.adapter}
    for instance in configured.adapters:
        if instance.name not in used:
            yield f"adapter {instance.name} reaches no unit (units.yaml)"


def _text(directory: Path, name: str, problems: list[ConfigError]) -> str | None:
    """A file's text; None and a problem when it can't be read; None alone when it may be missing and is."""
    try:
        return (directory / name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if name in OPTIONAL:
            return None
        problems.append(ConfigError(f"the file is missing in {directory}", file=name))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(ConfigError(f"not readable: {error}", file=name))
    return None


def read_areas(text: str | None, file: str, problems: list[ConfigError]) -> list[AreaRow]:
    """The rows of a division file `code,name,level,parent[,grid_kind,households]`; the tree's rules are `check_areas`'s."""
    return [AreaRow(area=Area(**row.__dict__), line=line) for line, row in read_rows(text, file, _AreaRow, problems)]


def load_areas(path: Path) -> AreaTree:
    """The tree of one division file. Raises ConfigError for the first mistake, with the count of all."""
    problems: list[ConfigError] = []
    rows = read_areas(_text(path.parent, path.name, problems), path.name, problems)
    raise_first(problems or check_areas(rows, path.name))
    return AreaTree(row.area for row in rows)


def areas_csv(tree: AreaTree) -> str:
    """A tree as the text of an areas.csv, each area followed by what lies below it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_AreaRow.model_fields)
    for area in (tree.district, *tree.below(tree.district.code)):
        households = "" if area.households is None else area.households
        writer.writerow((area.code, area.name, area.level.word, area.parent or "", area.grid_kind or "", households))
    return out.getvalue()


def read_places(text: str | None, file: str, tree: AreaTree, problems: list[ConfigError]) -> dict[str, AreaCode | None]:
    """Place names of `name,area`; an empty area says the name is no place."""
    found: dict[str, AreaCode | None] = {}
    lines: dict[str, int] = {}
    for line, row in read_rows(text, file, _PlaceRow, problems):
        if row.name in lines:
            reason = f"place {row.name} is given twice (first on line {lines[row.name]})"
            problems.append(ConfigError(reason, file=file, line=line, key="name"))
        elif row.area and row.area not in tree:
            problems.append(ConfigError(f"no area has the code {row.area!r}", file=file, line=line, key="area"))
        else:
            lines[row.name] = line
            found[row.name] = row.area
    return found


def _departments(document: Document, tree: AreaTree, known: Known) -> tuple[Unit, ...]:
    form = document.form(_Units, known)
    return tuple(
        Unit(code=code, name=one.name, kind=UnitKind.DEPARTMENT, areas=one.areas or (tree.district.code,), adapter=one.adapter)
        for code, one in (form.departments.items() if form is not None else ())
    )


def _identity(document: Document, tree: AreaTree) -> DistrictForm | None:
    """What district.yaml says, checked against the tree."""
    form = document.form(DistrictForm)
    if form is not None and form.code != tree.district.code:
        document.complain(("code",), f"areas.csv describes district {tree.district.code}")
    if form is not None and form.name != tree.district.name:
        document.complain(("name",), f"areas.csv calls the district {tree.district.name}")
    return form
