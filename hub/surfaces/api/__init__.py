"""The HTTP interface: REST under /api/v1, a stream of changes, departments' callbacks. See `app.create_app`."""

from hub.surfaces.api.app import create_app
from hub.surfaces.api.services import Services

__all__ = ["Services", "create_app"]
