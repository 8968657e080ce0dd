"""Errors as GeoReport v2 has them: an array of code and description, in the format that was asked for. Pure.

Raised by this package; `hub.surfaces.api.problems` uses `refusal` for what is refused before a request gets here (size, rate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.responses import Response

from hub.errors import HubError
from hub.open311.formats import Form, Value, write

PREFIX = "/open311"


class Open311Error(HubError):
    """A refusal with its status; several descriptions are several errors of one answer (missing arguments, say)."""

    code = "open311_error"

    def __init__(self, status: int, *descriptions: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__("; ".join(descriptions))
        self.status = status
        self.descriptions = descriptions
        self.headers = dict(headers or {})


def refusal(status: int, descriptions: Sequence[str], form: Form, headers: Mapping[str, str] | None = None) -> Response:
    """The answer of a refusal."""
    errors: list[Value] = [{"code": status, "description": description} for description in descriptions]
    return Response(write("errors", errors, form), status, dict(headers or {}), form.media_type)


def asks_here(path: object) -> bool:
    """Whether a path belongs to this interface."""
    return isinstance(path, str) and (path == PREFIX or path.startswith(f"{PREFIX}/"))
