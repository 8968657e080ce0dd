"""The OpenAPI document: schemas from the same structs that read and write, an example for every body.

Routes say what they take and give by `takes` and `gives`; `describe` puts the schemas into the document. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hub.model.policy.policy import Explanation
from hub.observing.case_trace import Tree
from hub.surfaces.api import bodies, models
from hub.surfaces.api.adapters import credential_models as remote_models
from hub.surfaces.api.adapters import models as instance_models
from hub.surfaces.api.adapters import trial_models
from hub.surfaces.api.problems import MEDIA_TYPE, TITLES, Problem
from hub.surfaces.api.upkeep import models as upkeep_models

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
ALWAYS = (401, 404, 422, 429, 503)
"""What any route with a token may answer."""


def gives(
    kind: type[msgspec.Struct], *refusals: int, status: int = 200, also: int | None = None
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with `kind` (with `also` as a second status) or refuses."""
    content = {"application/json": {"schema": {"$ref": _REF.format(name=kind.__name__)}}}
    what = {"description": (kind.__doc__ or "").partition("\n")[0], "content": content}
    answers: dict[int | str, dict[str, Any]] = {status: what}
    if also is not None:
        answers[also] = what
    return answers | refuses(*refusals)


def refuses(*refusals: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of refusals."""
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}
    return {status: {"description": TITLES[_SAID[status]], "content": content} for status in sorted({*ALWAYS, *refusals})}


def takes(kind: type[msgspec.Struct], example: object, *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads `kind`."""
    schema = {"$ref": _REF.format(name=kind.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema, "example": example}}}}


def describe(
    app: FastAPI, commands: Mapping[str, type[msgspec.Struct]], answers: Sequence[type[msgspec.Struct]]
) -> dict[str, Any]:
    """The document of an app; `commands` are the bodies by command, `answers` how each kind of matter looks."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    kinds = [*_structs(models, models.Answer), *commands.values(), *answers, Problem, Tree, Explanation]
    kinds += [
        bodies.ReportBody,
        bodies.ReasonBody,
        bodies.TokenBody,
        bodies.KeyBody,
        bodies.ResendBody,
        bodies.ExplainBody,
        bodies.PolicyBody,
    ]
    kinds += [*_structs(instance_models, msgspec.Struct), *_structs(upkeep_models, msgspec.Struct)]
    kinds += _structs(trial_models, msgspec.Struct)
    kinds += _structs(remote_models, models.Answer)
    _, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for name, schema in components.items():
        schemas[name] = _plain(schema)
    return document


def _structs(module: Any, base: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    return [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, base) and kind is not base]


def _plain(schema: Any) -> Any:
    """Schemas as others read them best: times are always `date-time`, docstrings without line breaks in the source."""
    if isinstance(schema, dict):
        return {
            key: " ".join(value.split()) if key == "description" and isinstance(value, str) else _plain(value)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    return schema
