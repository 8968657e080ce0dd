"""Puts plugins' mounts beside the API. Refuses a taken path. Lets each mount word refusals in its own way.

Called by `create_app`. The limits and traces of the hub hold for mounts, too.
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
    """Mount the plugins' routes. Returns their own ways to refuse, by name, also of mounts that are off.

    `paths` are the hub's own. Raises PluginError for a mount that would hide one.
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
    """Leaves a mount's way to refuse in the ASGI scope, for refusals before a request gets there (size, rate)."""

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
