"""A plugin's mounts when the hub starts: their settings read, their applications made. What goes wrong names the plugin's routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from hub.contract import Mount, MountSettings, Reception
from hub.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

log = structlog.get_logger("hub.plugins")

_MEDIA_TYPE = re.compile(r"[\x20-\x7e]{1,200}")
"""What may go into a header."""


@dataclass(frozen=True)
class Mounted:
    """A mount with its settings."""

    mount: Mount[Any]
    settings: MountSettings


def configured(mounts: Sequence[Mount[Any]], given: Mapping[str, object]) -> tuple[Mounted, ...]:
    """The mounts with their settings. Raises ConfigError naming the setting, or routes that no plugin brings."""
    known = {mount.name: mount for mount in mounts}
    for name in given:
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"no plugin brings such routes (installed: {there})", key=f"routes.{name}")
    found = []
    for name, mount in known.items():
        try:
            settings = mount.settings.model_validate(given.get(name, {}))
        except ValidationError as problem:
            first = problem.errors(include_input=False, include_url=False)[0]
            key = ".".join(("routes", name, *(str(part) for part in first["loc"])))
            raise ConfigError(first["msg"], key=key) from problem
        except Exception as problem:  # a validator is the plugin's code
            reason = f"the settings of the routes {name} can't be read: {type(problem).__name__}: {problem}"
            raise PluginError(reason, subject=name) from problem
        found.append(Mounted(mount, settings))
    return tuple(found)


def application(mounted: Mounted, reception: Reception) -> ASGIApp:
    """The mount's application; raises PluginError when the plugin does not make one."""
    name = mounted.mount.name
    try:
        app = mounted.mount.build(reception, mounted.settings)
    except Exception as problem:
        raise PluginError(f"the routes {name} can't be built: {type(problem).__name__}: {problem}", subject=name) from problem
    if not callable(app):
        raise PluginError(f"the routes {name} are a {type(app).__name__}, an ASGI application is expected", subject=name)
    return app


def refusal_of(mount: Mount[Any]) -> Callable[[str, int, str], tuple[str, bytes] | None] | None:
    """The mount's way to word a refusal; None when it has none. The function gives None, too, when the plugin's own fails."""
    own = mount.refusal
    if own is None:
        return None

    def said(path: str, status: int, detail: str) -> tuple[str, bytes] | None:
        try:
            media_type, body = own(path, status, detail)
            if not isinstance(body, bytes) or not _MEDIA_TYPE.fullmatch(media_type):
                raise TypeError("a media type and bytes are expected")
            return media_type, body
        except Exception as problem:
            log.error("refusal failed", routes=mount.name, error=type(problem).__name__, exc_info=problem)
            return None

    return said
