"""The OpenAPI document, derived from the routes. A route's signature states what it reads and answers; nothing else does.

A parameter made by `reads` is the body, with its example. The return type `Answered[X]` is the answer. A route that needs a caller lists
the refusals of callers; a route that reads a body, the refusals of bodies. Parameters and paths are FastAPI's own work. Pure.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from hub.surfaces.api.bodies import Reads
from hub.surfaces.api.people.auth import caller_of
from hub.surfaces.api.problems import MEDIA_TYPE, TITLES, Problem

_JSON = "application/json"
_REF = "#/components/schemas/{name}"
_SAID = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    409: "transition_refused",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_input",
    429: "rate_limited",
    503: "unavailable",
}
_AS_CALLER = (401, 403, 404, 422, 429, 503)
_AS_SENDER = (400, 413, 415)
_AS_GIVER = (400, 409)
"""A command's key may be missing, and the matter's state may be against it."""
_KEY = "Idempotency-Key"


def refuses(*refusals: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of refusals that a route's signature does not tell."""
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name=Problem.__name__)}}}
    return {status: {"description": TITLES[_SAID[status]], "content": content} for status in sorted(refusals)}


def describe(app: FastAPI, parts: Iterable[tuple[str, APIRouter]]) -> dict[str, Any]:
    """The document of an app made of routers, each under its prefix."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    kinds: list[Any] = [Problem]
    for prefix, router in parts:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                for method in route.methods or ():
                    kinds += _describe(route, document["paths"][f"{prefix}{route.path_format}"][method.lower()])
    _, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.update({name: _plain(schema) for name, schema in components.items()})
    return document


def _describe(route: APIRoute, operation: dict[str, Any]) -> Iterator[Any]:
    """Put a route's body, answers and refusals into its operation. Yields their types."""
    calls = list(_calls(route.dependant))
    body = next((call for call in calls if isinstance(call, Reads)), None)
    responses = operation["responses"]
    refusals = {*(_AS_CALLER if caller_of in calls else ())}
    if body is not None:
        yield body.kind
        content = {"schema": {"$ref": _REF.format(name=body.kind.__name__)}, "example": body.example}
        operation["requestBody"] = {"required": not body.optional, "content": {_JSON: content}}
    if operation.get("requestBody"):
        refusals.update(_AS_SENDER)
    if any(parameter["name"] == _KEY for parameter in operation.get("parameters", ())):
        refusals.update(_AS_GIVER)
    kind = getattr(typing.get_type_hints(route.endpoint).get("return"), "kind", None)
    if kind is not None:
        yield kind
        for status, said in responses.items():
            if status.startswith("2") or MEDIA_TYPE not in said.get("content", ()):
                said["content"] = {_JSON: {"schema": {"$ref": _REF.format(name=kind.__name__)}}}
                if said["description"] == "Successful Response":
                    said["description"] = (kind.__doc__ or "").partition("\n")[0]
    for status, said in refuses(*refusals).items():
        responses[str(status)] = responses.get(str(status), said) if str(status) != "422" else said


def _calls(dependant: Dependant) -> Iterator[Any]:
    for needed in dependant.dependencies:
        yield needed.call
        yield from _calls(needed)


def _plain(schema: Any) -> Any:
    """Schemas as others read them best: docstrings without the line breaks of the source."""
    if isinstance(schema, Mapping):
        return {
            key: " ".join(value.split()) if key == "description" and isinstance(value, str) else _plain(value)
            for key, value in schema.items()
        }
    return [_plain(item) for item in schema] if isinstance(schema, list) else schema
