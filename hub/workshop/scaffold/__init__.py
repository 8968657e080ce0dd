"""Writes a new plugin from the template: a package that passes its own tests at once.

Owns the template and the rules of names and directories; refuses to write over anything. Needs neither git nor the network and asks
nothing. Called by `hub plugin new`.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from hub.errors import InvalidInput
from hub.hookspecs import API_VERSION, PROJECT

TEMPLATE: Final = Path(__file__).parent / "template"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,23}")
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f\"\\{}]*")
_MOST: Final = {"department": 20, "owner": 60}


class Kind(StrEnum):
    """What a new plugin starts as."""

    HTTP = "http"
    """JSON over HTTP with signed callbacks."""
    SOAP = "soap"
    """XML over SOAP, receipts fetched."""
    POLLING = "polling"
    """JSON over HTTP; nothing calls us, we ask."""
    PAGE = "page"
    """A unit without a system: a small page of its own."""
    TABLE = "table"
    """CSV files in a shared folder, both ways."""


_LAYER: Final = {Kind.HTTP: "json", Kind.POLLING: "json", Kind.PAGE: "json", Kind.SOAP: "soap", Kind.TABLE: "table"}


@dataclass(frozen=True, kw_only=True)
class NewPlugin:
    """What is asked for. `department` is the Chinese name of the kind of department, `owner` who answers for the plugin."""

    name: str
    kind: Kind = Kind.HTTP
    department: str = "某部门"
    owner: str = ""
    into: Path | None = None
    """Where to write; None: `hub-<name>` here."""

    @property
    def package(self) -> str:
        """The Python package."""
        return f"hub_{self.name}"

    @property
    def directory(self) -> Path:
        """Where it is written."""
        return self.into if self.into is not None else Path(f"hub-{self.name.replace('_', '-')}")


def write(plugin: NewPlugin) -> Path:
    """Write the package and return its directory; raises InvalidInput naming what is wrong, then nothing was written."""
    _check(plugin)
    from copier import Settings, run_copy

    answers = {
        "name": plugin.name,
        "kind": plugin.kind.value,
        "department": plugin.department,
        "owner": plugin.owner,
        "package": plugin.package,
        "prefix": "".join(part.capitalize() for part in plugin.name.split("_")),
        "module": "desk" if plugin.kind is Kind.PAGE else "simulator",
        "api": API_VERSION,
    }
    for layer in ("common", _LAYER[plugin.kind]):
        run_copy(
            str(TEMPLATE),
            plugin.directory,
            {**answers, "layer": layer},
            defaults=True,
            overwrite=True,
            quiet=True,
            settings=Settings(),
        )
    return plugin.directory


def _check(plugin: NewPlugin) -> None:
    name = plugin.name
    if not _NAME.fullmatch(name) or name.endswith("_") or "__" in name or keyword.iskeyword(name):
        raise InvalidInput(
            f"{name!r} is no plugin name: at most 24 lower-case letters, digits and single _, a letter first", subject="name"
        )
    if name in {entry.name for entry in entry_points(group=PROJECT)}:
        raise InvalidInput(f"a plugin named {name} is installed already", subject="name")
    if find_spec(plugin.package) is not None:
        raise InvalidInput(f"a Python package named {plugin.package} is installed already", subject="name")
    for field, most in _MOST.items():
        text = getattr(plugin, field)
        if len(text) > most or not _LINE.fullmatch(text):
            raise InvalidInput(f'{field}: one line of at most {most} characters without ", \\ and braces', subject=field)
    if not plugin.department.strip():
        raise InvalidInput("the department needs a name", subject="department")
    directory = plugin.directory
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InvalidInput(f"{directory} is there already and not empty", subject="into")
