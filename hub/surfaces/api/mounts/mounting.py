"""Puts plugins' mounts beside the API: refuses a path that is taken, and lets each mount say refusals in its own words.

Called by `create_app`. What is mounted lies behind the same limits and traces as everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.errors import PluginError
from hub.platform.adapters.mounts import application, refusal_of
from hub.surfaces.api.mounts.reception import MountReception
from hub.surfaces.api.problems import REFUSAL_KEY, Refusal
from hub.surfaces.api.services import Services


def mount_all(app: FastAPI, services: Services, paths: Iterable[str]) -> Mapping[str, Refusal]:
    """Mount what the plugins bring; their own ways to refuse, by name, also of those that are off.

    `paths` are the hub's own: raises PluginError for a mount that would hide one.
    """
    own = {_first(path) for path in paths}
    refusals: dict[str, Refusal] = {}
    for mounted in services.mounts:
        name = mounted.mount.name
        if name in own:
            raise PluginError(f"a plugin's routes can't be at /{name}: the hub answers there itself", subject=name)
        if mounted.settings.enabled:
            app.mount(f"/{name}", application(mounted, MountReception(services, name)))
        if (refusal := refusal_of(mounted.mount)) is not None:
            refusals[name] = refusal
    return refusals


class OwnRefusals:
    """Leaves a mount's way to refuse in the ASGI scope, for what is refused before a request gets there (size, rate)."""

    def __init__(self, app: ASGIApp, refusals: Mapping[str, Refusal]) -> None:
        self._app = app
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        if scope["type"] == "http" and (refusal := self._refusals.get(_first(scope["path"]))) is not None:
            scope[REFUSAL_KEY] = refusal
        await self._app(scope, receive, send)


def _first(path: str) -> str:
    return path.removeprefix("/").partition("/")[0]
