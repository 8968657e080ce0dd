"""Open311 GeoReport v2 at /open311: any client of that standard reports to the hub and follows its case.

settings: what is set as `routes.open311`; errors, formats: how it speaks; asking: how it reads; catalogue: services and their questions;
reporting and updating: what changes a case; showing: what is given out; app: the routes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub import Mount, Reception
from hub_open311.server.errors import written
from hub_open311.server.formats import form_of
from hub_open311.server.settings import ServerSettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

NAME = "open311"


def build(reception: Reception, settings: ServerSettings) -> ASGIApp:
    """The application; its modules are read only where it is served, not by every command."""
    from hub_open311.server.app import Open311

    return Open311(reception, settings).app()


def refusal(path: str, status: int, detail: str) -> tuple[str, bytes]:
    """What the hub refuses before a request gets here (size, rate), in the words of the standard."""
    form = form_of(path)
    return form.media_type, written(status, (detail,), form)


SERVER = Mount(name=NAME, build=build, settings=ServerSettings, refusal=refusal)
