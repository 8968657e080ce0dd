"""Errors as GeoReport v2 has them: an array of code and description, in the format that was asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hub import HubError
from hub_open311.server.formats import Form, Value, write


class Open311Error(HubError):
    """A refusal with its status; several descriptions are several errors of one answer (missing arguments, say)."""

    code = "open311_error"

    def __init__(self, status: int, *descriptions: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__("; ".join(descriptions))
        self.status = status
        self.descriptions = descriptions
        self.headers = dict(headers or {})


def written(status: int, descriptions: Sequence[str], form: Form) -> bytes:
    """The body of a refusal."""
    errors: list[Value] = [{"code": status, "description": description} for description in descriptions]
    return write("errors", errors, form)
