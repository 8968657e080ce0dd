"""Reads a configuration directory and gives one district: areas, units, policy, places, adapters.

Owns all file reading of configuration: where the files lie, and the forms of areas.csv, places.csv, units.yaml and district.yaml;
what the policy's files mean is `hub.config.policy`'s, and adapters.yaml `hub.config.adapters_file`'s. Refuses a directory with any mistake:
the error names file, line and key. Called by the composition root and the CLI, at start only.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from hub.config.adapters_file import OutsideValue, read_adapters
from hub.config.nodes import YamlNode, read_yaml
from hub.config.policy import DISTRICT, SOURCES, policy_from_sources, raise_first, read_policy, read_zone
from hub.contract import AdapterInstance
from hub.errors import ConfigError
from hub.model.district.areas import Area, AreaCode, GridKind, Level, Unit, UnitCode, UnitKind
from hub.model.district.areatree import AreaRow, AreaTree, check_areas
from hub.model.district.places import Places
from hub.model.district.units import Directory
from hub.model.limits.calendar import knows_year
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
    "read_adapters",
    "read_areas",
    "read_departments",
    "read_places",
]

AREAS = "areas.csv"
PLACES = "places.csv"
UNITS = "units.yaml"
ADAPTERS = "adapters.yaml"
_AREA_COLUMNS = ("code", "name", "level", "parent")
_AREA_EXTRAS = ("grid_kind", "households")


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
    """Read everything and collect every mistake; with `today` also warn of years whose holidays are not known yet."""
    problems: list[ConfigError] = []
    files = _Files(directory, problems)
    rows = read_areas(files.text(AREAS) or "", AREAS, problems)
    tree_problems = check_areas(rows, AREAS) if rows else []
    problems.extend(tree_problems)
    if tree_problems or not rows:
        return Checked(configured=None, problems=tuple(problems), warnings=())
    tree = AreaTree(row.area for row in rows)
    root = files.yaml(DISTRICT)
    zone = _check_identity(root, tree) if root is not None else None
    adapters_root = files.yaml(ADAPTERS)
    adapters = read_adapters(adapters_root, os.environ if environ is None else environ) if adapters_root is not None else ()
    units_root = files.yaml(UNITS)
    departments = read_departments(units_root, tree, {item.name for item in adapters}) if units_root is not None else ()
    given = read_places(files.text(PLACES) or "", PLACES, tree, problems)
    units = Directory(tree, departments)
    sources = {name: text for name in SOURCES if (text := files.text(name)) is not None}
    policy = read_policy(sources, tree, units, problems) if len(sources) == len(SOURCES) else None
    unique = tuple({str(problem): problem for problem in problems}.values())
    if unique or policy is None or zone is None:
        return Checked(configured=None, problems=unique, warnings=())
    district = District(
        code=tree.district.code,
        name=tree.district.name,
        areas=tree,
        directory=units,
        policy=policy,
        places=Places(tree, given),
        zone=zone,
    )
    configured = Configured(district=district, adapters=adapters)
    return Checked(configured=configured, problems=(), warnings=tuple(_warnings(configured, today)))


def _warnings(configured: Configured, today: date | None) -> Iterator[str]:
    if today is not None:
        for year in (today.year, today.year + 1):
            if not knows_year(year):
                yield f"the holidays of {year} are not known yet; Monday to Friday count as working days (update chinesecalendar)"
    district = configured.district
    if not district.areas.at_level(Level.GRID):
        yield "areas.csv has no grids; `hub area generate` makes them by the N+X rule"
    used = {unit.adapter for unit in district.directory.departments if unit.adapter}
    for instance in configured.adapters:
        if instance.name not in used:
            yield f"adapter {instance.name} reaches no unit (units.yaml)"


class _Files:
    """The texts of a directory, each read once."""

    def __init__(self, directory: Path, problems: list[ConfigError]) -> None:
        self._directory = directory
        self._problems = problems
        self._texts: dict[str, str | None] = {}

    def text(self, name: str) -> str | None:
        """A file's text; None and a problem when it can't be read."""
        if name not in self._texts:
            try:
                self._texts[name] = (self._directory / name).read_text(encoding="utf-8-sig")
            except FileNotFoundError:
                self._texts[name] = None
                self._problems.append(ConfigError(f"the file is missing in {self._directory}", file=name))
            except (OSError, UnicodeDecodeError) as error:
                self._texts[name] = None
                self._problems.append(ConfigError(f"not readable: {error}", file=name))
        return self._texts[name]

    def yaml(self, name: str) -> YamlNode | None:
        """A file's YAML document, or None and a problem."""
        text = self.text(name)
        return read_yaml(text, name, self._problems) if text is not None else None


def _rows(text: str, file: str, columns: Sequence[str], problems: list[ConfigError]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV text with their lines; complains about missing columns and rows of another length."""
    if not text.strip():
        return
    reader = csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(reader)]
    for column in columns:
        if column not in header:
            problems.append(ConfigError(f"column {column!r} is missing", file=file, line=1, key=column))
            return
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            problems.append(ConfigError(f"{len(cells)} columns instead of {len(header)}", file=file, line=reader.line_num))
            continue
        yield reader.line_num, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def read_areas(text: str, file: str, problems: list[ConfigError]) -> list[AreaRow]:
    """The rows of a division file `code,name,level,parent[,grid_kind,households]`; the tree's rules are `check_areas`'s."""
    found: list[AreaRow] = []
    for line, row in _rows(text, file, _AREA_COLUMNS, problems):
        try:
            level = Level.parse(row["level"])
        except ValueError as error:
            problems.append(ConfigError(str(error), file=file, line=line, key="level"))
            continue
        kind: GridKind | None = None
        households: int | None = None
        try:
            if row.get("grid_kind"):
                kind = GridKind(row["grid_kind"])
        except ValueError:
            problems.append(ConfigError("residential or commercial is expected", file=file, line=line, key="grid_kind"))
        try:
            if row.get("households"):
                households = int(row["households"])
        except ValueError:
            problems.append(ConfigError("a whole number is expected", file=file, line=line, key="households"))
        area = Area(
            code=AreaCode(row["code"]),
            name=row["name"],
            level=level,
            parent=AreaCode(row["parent"]) if row["parent"] else None,
            grid_kind=kind,
            households=households,
        )
        found.append(AreaRow(area=area, line=line))
    return found


def load_areas(path: Path) -> AreaTree:
    """The tree of one division file. Raises ConfigError for the first mistake, with the count of all."""
    problems: list[ConfigError] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"not readable: {error.strerror}", file=path.name) from error
    rows = read_areas(text, path.name, problems)
    raise_first(problems or check_areas(rows, path.name))
    return AreaTree(row.area for row in rows)


def areas_csv(tree: AreaTree) -> str:
    """A tree as the text of an areas.csv, each area followed by what lies below it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*_AREA_COLUMNS, *_AREA_EXTRAS))
    for area in (tree.district, *tree.below(tree.district.code)):
        households = "" if area.households is None else area.households
        writer.writerow((area.code, area.name, area.level.word, area.parent or "", area.grid_kind or "", households))
    return out.getvalue()


def read_places(text: str, file: str, tree: AreaTree, problems: list[ConfigError]) -> dict[str, AreaCode | None]:
    """Place names of `name,area`; an empty area says the name is no place."""
    found: dict[str, AreaCode | None] = {}
    lines: dict[str, int] = {}
    for line, row in _rows(text, file, ("name", "area"), problems):
        name, code = row["name"], row["area"]
        if not name:
            problems.append(ConfigError("a place without a name", file=file, line=line, key="name"))
        elif name in lines:
            message = f"place {name} is given twice (first on line {lines[name]})"
            problems.append(ConfigError(message, file=file, line=line, key="name"))
        elif code and code not in tree:
            problems.append(ConfigError(f"no area has the code {code!r}", file=file, line=line, key="area"))
        else:
            lines[name] = line
            found[name] = AreaCode(code) if code else None
    return found


def read_departments(root: YamlNode, tree: AreaTree, adapters: set[str]) -> tuple[Unit, ...]:
    """The departments of units.yaml; complains about unknown areas and adapters and codes that are an area's."""
    fields = root.fields(("departments",), required=("departments",))
    units: list[Unit] = []
    for code, node in fields["departments"].entries().items() if "departments" in fields else ():
        parts = node.fields(("name", "adapter", "areas"), required=("name",))
        if not code.replace("_", "").isalnum() or code[0].isdigit() or not code.isascii() or code != code.lower():
            node.complain("a department's code is a lower-case word (letters, digits, _)")
        areas = parts["areas"].words() if "areas" in parts else (tree.district.code,)
        for area in areas:
            if area not in tree:
                parts["areas"].complain(f"no area has the code {area!r}")
        if "areas" in parts and not areas:
            parts["areas"].complain("a department must serve at least one area")
        adapter = parts["adapter"].text() if "adapter" in parts else None
        if adapter is not None and adapter not in adapters:
            parts["adapter"].complain(f"no adapter instance has the name {adapter!r} (adapters.yaml)")
        units.append(
            Unit(
                code=UnitCode(code),
                name=parts["name"].text() if "name" in parts else code,
                kind=UnitKind.DEPARTMENT,
                areas=tuple(AreaCode(area) for area in areas),
                adapter=adapter,
            )
        )
    return tuple(units)


def _check_identity(root: YamlNode, tree: AreaTree) -> ZoneInfo | None:
    """Check district.yaml against the tree; its zone."""
    fields = root.fields(("code", "name", "zone"), required=("code", "name"))
    if "code" in fields and fields["code"].text() != tree.district.code:
        fields["code"].complain(f"areas.csv describes district {tree.district.code}")
    if "name" in fields and fields["name"].text() != tree.district.name:
        fields["name"].complain(f"areas.csv calls the district {tree.district.name}")
    return read_zone(root)
