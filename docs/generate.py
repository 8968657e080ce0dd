"""Writes the generated parts of the documentation: `python docs/generate.py`. A test fails when a page is not up to date.

A generated part lies between `<!-- generated: NAME -->` and `<!-- end -->`; everything else on a page is written by hand.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

DOCS = Path(__file__).resolve().parent
_PART = re.compile(r"<!-- generated: (?P<name>[a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)


def settings_table() -> str:
    """Every setting: its environment variable, default and meaning."""
    from hub.settings import Settings

    return _settings_table(Settings)


def open311_settings() -> str:
    """Every setting of the Open311 server."""
    from hub_open311.server import SERVER

    return _settings_table(SERVER.settings, f"routes.{SERVER.name}.")


def _settings_table(model: type[BaseModel], prefix: str = "") -> str:
    rows = "\n".join(
        f"| `{name}` | `HUB_{variable}` | {default} | {help} |" for name, variable, default, help in _settings(model, prefix)
    )
    return f"| setting | environment | default | meaning |\n|---|---|---|---|\n{rows}"


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, f"{path}.")
            continue
        default = "required" if field.default is PydanticUndefined else _shown(field.default)
        yield path, path.replace(".", "__").upper(), default, field.description or ""


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def command_list() -> str:
    """Every command of `hub` with its arguments and first line of help."""
    import typer.main

    from hub.surfaces.cli import whole

    lines: list[str] = []
    _commands(typer.main.get_command(whole()), "hub", lines)
    return "| command | what |\n|---|---|\n" + "\n".join(lines)


def _commands(command: Any, path: str, lines: list[str]) -> None:
    if hasattr(command, "commands"):
        for name in sorted(command.commands):
            if not command.commands[name].hidden:
                _commands(command.commands[name], f"{path} {name}", lines)
        return
    words, options = [path], []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            word = (parameter.metavar or parameter.name).upper()
            words.append(word if parameter.required else f"[{word}]")
        elif not parameter.hidden and parameter.name not in _EVERYWHERE:
            options.append(f"`{max(parameter.opts, key=len)}`")
    first = (command.help or "").strip().split("\n")[0].replace("|", "\\|")
    listed = f" Options: {', '.join(options)}" if options else ""
    lines.append(f"| `{' '.join(words)}` | {first}{listed} |")


_EVERYWHERE = ("help", "url", "token", "data", "as_json")
"""Options said once for all commands."""


def _sibling(name: str) -> Any:
    """Another file of this directory, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def protocol_messages() -> str:
    """Every message of the protocol for adapters elsewhere."""
    from hub.platform.remote.documents import kinds_table

    return kinds_table()


def protocol_permissions() -> str:
    """What the key of an adapter elsewhere may do."""
    from hub.platform.remote.documents import permissions_table

    return permissions_table()


PARTS: dict[str, Callable[[], str]] = {
    "protocol-messages": protocol_messages,
    "protocol-permissions": protocol_permissions,
    "settings": settings_table,
    "georeport-settings": open311_settings,
    "commands": command_list,
    **_sibling("plugin_reference").parts(),
}


def rendered(text: str) -> str:
    """A page with its generated parts as they should be now."""

    def part(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- generated: {name} -->\n{PARTS[name]()}\n<!-- end -->"

    return _PART.sub(part, text)


def pages() -> list[Path]:
    """Every hand-written page of the documentation, the two READMEs included."""
    return sorted([*DOCS.rglob("*.md"), *DOCS.parent.glob("README*.md")])


def files() -> dict[Path, str]:
    """Every file that is generated as a whole, with its text as it should be now."""
    from hub.platform.remote.documents import documents

    return {DOCS / "protocol" / name: text for name, text in documents().items()}


def main() -> int:
    """Bring every page and file up to date; 0 always."""
    for file, text in files().items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{file.relative_to(DOCS.parent)}\n")
    for page in pages():
        text = page.read_text(encoding="utf-8")
        fresh = rendered(text)
        if fresh != text:
            page.write_text(fresh, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(DOCS.parent)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
