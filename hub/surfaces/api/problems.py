"""Errors as problem+json (RFC 9457): every refusal of the HTTP interface has one form, a stable type and a trace id.

Never a stack trace, never what lies outside the caller's scope. `type` is `urn:hub:problem:<code>`; the title is fixed per type.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import cast

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hub.contract import CallbackRejected
from hub.errors import (
    BusUnavailable,
    ConfigError,
    DeliveryError,
    HubError,
    InvalidInput,
    LedgerConflict,
    NotAllowed,
    PluginError,
    TransitionRefused,
    Undecided,
)
from hub.observing import telemetry
from hub.privacy.marks import plain

log = structlog.get_logger("hub.api")

MEDIA_TYPE = "application/problem+json"
TRACE_KEY = "hub.trace_id"
"""Where the tracing middleware leaves the request's trace id in the ASGI scope."""
Refusal = Callable[[str, int, str], tuple[str, bytes] | None]
"""A mount's own words for a refusal: path, status, detail → media type and body; None: it has none for this."""
REFUSAL_KEY = "hub.refusal"
"""Where a mount's own words stand in the ASGI scope."""


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The fault of one field of the request. `field` is a path such as `contact.phone` or a parameter's name."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A refusal after RFC 9457. `state`, `command` and `rule` say why the lifecycle refused."""

    type: str
    title: str
    status: int
    detail: str
    trace_id: str
    errors: tuple[FieldError, ...] = ()
    state: str | None = None
    command: str | None = None
    rule: str | None = None


class Failure(HubError):
    """A refusal of the HTTP interface itself, with its status and headers."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        errors: tuple[FieldError, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.errors = errors
        self.headers = dict(headers or {})


TITLES: Mapping[str, str] = {
    "invalid_input": "The request can't be taken",
    "malformed": "The body can't be read",
    "key_missing": "The Idempotency-Key header is missing",
    "key_reused": "The Idempotency-Key was used for another request",
    "transition_refused": "The case's state does not allow this",
    "unauthenticated": "A valid token is needed",
    "forbidden": "The token does not allow this",
    "not_found": "There is no such thing",
    "method_not_allowed": "This address knows no such method",
    "too_large": "The request is too large",
    "too_slow": "The request takes too long to arrive",
    "unsupported_media_type": "This kind of content is not taken",
    "rate_limited": "Too many requests",
    "conflict": "Somebody else was first",
    "unavailable": "The hub can't take this now",
    "callback_rejected": "The callback was not taken",
    "config_error": "The configuration can't be used",
    "plugin_error": "A plugin breaks its contract",
    "department_failed": "The department's system or its plugin failed",
    "internal": "The hub made a mistake",
    "http": "The request was refused",
}
_CODES = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    503: "unavailable",
}


def trace_id(scope: Mapping[str, object]) -> str:
    """The request's trace id. When nothing traces, a random one that the log has, too."""
    known = scope.get(TRACE_KEY)
    if isinstance(known, str):
        return known
    around = telemetry.traceparent()
    return around[3:35] if around is not None else secrets.token_hex(16)


def problem(
    scope: Mapping[str, object],
    status: int,
    code: str,
    detail: str,
    *,
    errors: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
    refused: TransitionRefused | None = None,
) -> Response:
    """The response of a refusal; in a mount's own words to those who asked there."""
    own = cast("Refusal | None", scope.get(REFUSAL_KEY))
    if own is not None and (said := own(str(scope["path"]), status, detail)) is not None:
        return Response(said[1], status, dict(headers or {}), said[0])
    body = Problem(
        type=f"urn:hub:problem:{code.replace('_', '-')}",
        title=TITLES.get(code, TITLES["http"]),
        status=status,
        detail=detail,
        trace_id=trace_id(scope),
        errors=errors,
        state=None if refused is None else refused.state,
        command=None if refused is None else refused.command,
        rule=None if refused is None else refused.rule,
    )
    return Response(msgspec.json.encode(body), status, dict(headers or {}), MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of an app with a problem."""
    app.add_exception_handler(HubError, _hub_error)
    app.add_exception_handler(CallbackRejected, _callback)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _hub_error(request: Request, error: Exception) -> Response:
    scope = request.scope
    match error:
        case Failure():
            return problem(scope, error.status, error.code, error.message, errors=error.errors, headers=error.headers)
        case TransitionRefused():
            return problem(scope, 409, "transition_refused", error.message, refused=error)
        case InvalidInput():
            code = "key_reused" if error.subject == "Idempotency-Key" else "invalid_input"
            fields = (FieldError(field=error.subject, message=error.message),) if error.subject else ()
            return problem(scope, 422, code, error.message, errors=fields)
        case NotAllowed():
            return problem(scope, 404, "not_found", "There is no such thing, or it is not for you to see.")
        case ConfigError():
            where = ":".join(str(part) for part in (error.file, error.line, error.key) if part is not None)
            return problem(scope, 422, "config_error", str(error), errors=(FieldError(field=where, message=error.reason),))
        case PluginError():
            return problem(scope, 422, "plugin_error", error.message)
        case DeliveryError():
            return problem(scope, 502, "department_failed", error.message)
        case Undecided():
            return problem(scope, 503, "undecided", f"{error.message}; try again.", headers={"Retry-After": "1"})
        case LedgerConflict():
            return problem(
                scope, 503, "conflict", "Others changed it again and again; try again.", headers={"Retry-After": "1"}
            )
        case BusUnavailable():
            return problem(
                scope,
                503,
                "unavailable",
                "The message bus does not answer. Nothing is known to be stored; try again with the same key.",
                headers={"Retry-After": "1"},
            )
        case _:
            return _unexpected(request, error)


def _callback(request: Request, error: Exception) -> Response:
    if not isinstance(error, CallbackRejected):
        return _unexpected(request, error)
    status = error.status if error.status in range(400, 600) else 400  # a plugin's word
    return problem(request.scope, status, "callback_rejected", plain(str(error.reason))[:500])


def _validation(request: Request, error: Exception) -> Response:
    """FastAPI's own checks of parameters."""
    if not isinstance(error, RequestValidationError):
        return _unexpected(request, error)
    errors = tuple(
        FieldError(field=".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0]), message=str(item["msg"]))
        for item in error.errors()
    )
    detail = "; ".join(f"{item.field}: {item.message}" for item in errors)
    return problem(request.scope, 422, "invalid_input", detail, errors=errors)


def _http(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: unknown address, unknown method."""
    if not isinstance(error, HTTPException):
        return _unexpected(request, error)
    code = _CODES.get(error.status_code, "http")
    detail = HTTPStatus(error.status_code).phrase if error.status_code in (404, 405) else str(error.detail)
    return problem(request.scope, error.status_code, code, detail, headers=error.headers)


def _unexpected(request: Request, error: Exception) -> Response:
    """A bug: the log has it with its stack, the caller gets the trace id to name it by."""
    id = trace_id(request.scope)
    request.scope[TRACE_KEY] = id
    log.error("request failed", method=request.method, trace_id=id, error=type(error).__name__, exc_info=error)
    return problem(request.scope, 500, "internal", "It is logged under the trace id.")
