"""Reads adapters.yaml: which adapter instances there are, their settings and secrets, and how patient the hub is with each.

Owns the file's form and where secrets come from (the environment, or a file each). What a plugin's settings mean is the plugin's own
model's business. Called by `hub.config.district`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from hub.config.nodes import YamlNode
from hub.contract import AdapterInstance, Crosswalk, ReportKind


class OutsideValue(str):
    """A setting from the environment or a file of its own (mostly a secret): a plain text that does not show in `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def read_adapters(root: YamlNode, environ: Mapping[str, str]) -> tuple[AdapterInstance, ...]:
    """The instances of adapters.yaml; in settings `{env: NAME}` is filled from `environ`, `{file: PATH}` from that file.

    A variable that is not set, or a file that can't be read, is a mistake when the adapter is enabled; else the setting is left out.
    """
    fields = root.fields(("adapters",), required=("adapters",))
    found: list[AdapterInstance] = []
    for name, node in fields["adapters"].entries().items() if "adapters" in fields else ():
        parts = node.fields(
            ("plugin", "enabled", "settings", "concurrency", "attempts", "backoff", "schedule", "breaker", "crosswalk"),
            required=("plugin",),
        )
        if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            node.complain("an instance's name is made of letters, digits, - and _")
        if "plugin" not in parts:
            continue
        enabled = parts["enabled"].boolean() if "enabled" in parts else True
        default = AdapterInstance(name=name, plugin=parts["plugin"].text())
        backoff = parts["backoff"].fields(("base", "cap")) if "backoff" in parts else {}
        breaker = parts["breaker"].fields(("window", "minimum", "ratio", "open_for")) if "breaker" in parts else {}
        base = _duration(backoff.get("base"), default.backoff_base)
        cap = _duration(backoff.get("cap"), default.backoff_cap)
        if cap < base:
            parts["backoff"].complain("cap is below base")
        ratio = breaker["ratio"].number() if "ratio" in breaker else default.breaker_ratio
        if not 0 < ratio <= 1:
            breaker["ratio"].complain("a share above 0 and at most 1 is expected")
        steps = parts["schedule"].items() if "schedule" in parts else ()
        schedule = tuple(span for step in steps if (span := step.clock_span()) is not None)
        settings = _settings(parts["settings"], environ, enabled) if "settings" in parts else {}
        found.append(
            AdapterInstance(
                name=name,
                plugin=default.plugin,
                enabled=enabled,
                settings=settings,
                concurrency=_count(parts.get("concurrency"), default.concurrency),
                attempts=_count(parts.get("attempts"), len(schedule) + 1 if schedule else default.attempts),
                backoff_base=base,
                backoff_cap=cap,
                schedule=schedule,
                breaker_window=_count(breaker.get("window"), default.breaker_window),
                breaker_minimum=_count(breaker.get("minimum"), default.breaker_minimum),
                breaker_ratio=ratio,
                breaker_open_for=_duration(breaker.get("open_for"), default.breaker_open_for),
                crosswalk=_crosswalk(parts["crosswalk"]) if "crosswalk" in parts else None,
            )
        )
    return tuple(found)


def _count(node: YamlNode | None, default: int) -> int:
    return node.integer(least=1) if node is not None else default


def _duration(node: YamlNode | None, default: timedelta) -> timedelta:
    found = node.clock_span() if node is not None else None
    return found if found is not None else default


def _crosswalk(node: YamlNode) -> Crosswalk:
    """The department's words against ours: statuses, categories, fields."""
    tables = node.fields(("statuses", "categories", "fields"))
    entries = {name: table.entries() for name, table in tables.items()}
    statuses = {word: one.choice(ReportKind) for word, one in entries.get("statuses", {}).items()}
    return Crosswalk(
        statuses={word: kind for word, kind in statuses.items() if kind is not None},
        categories={code: one.text() for code, one in entries.get("categories", {}).items()},
        fields={name: one.text() for name, one in entries.get("fields", {}).items()},
    )


def _settings(node: YamlNode, environ: Mapping[str, str], enabled: bool) -> dict[str, object]:
    """A mapping of settings with its environment values filled in."""
    found: dict[str, object] = {}
    for name, child in node.entries().items():
        if not child.is_mapping:
            found[name] = child.plain()
            continue
        entries = child.entries()
        if set(entries) not in ({"env"}, {"file"}):
            found[name] = _settings(child, environ, enabled)
            continue
        (kind, mark_of_name) = next(iter(entries.items()))
        value, missing = _outside(kind, mark_of_name.text(), environ)
        if value:
            found[name] = OutsideValue(value)
        elif enabled:
            child.complain(f"{missing}, and the adapter is enabled")
    return found


def _outside(kind: str, name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The value of an environment variable or the text of a file, "" and why when there is none."""
    if kind == "env":
        return environ.get(name, ""), f"environment variable {name} is not set"
    try:
        return Path(name).read_text(encoding="utf-8").strip(), f"file {name} is empty"
    except (OSError, UnicodeDecodeError) as error:
        return "", f"file {name} can't be read ({type(error).__name__})"
