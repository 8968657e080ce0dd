"""Scopes of keys: a token with scopes may do only what they name, and never more than its role may. Pure.

The kinds of matters name the scope for each of their routes. For the rest, one table names the requests that a scope opens. Another names
the requests closed to tokens with scopes, and why. A request in neither is closed, too, and a test asks for a decision. Tokens without
scopes have the whole rights of their role. `hub.surfaces.api.people.auth` checks every request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from hub.errors import InvalidInput
from hub.model.forms import Form
from hub.model.rights import KeyScope, Role
from hub.surfaces.api.people.tokens import Token

MEANING: Final[Mapping[KeyScope, str]] = {
    KeyScope.CASES_READ: "cases, timelines, traces, attachments, figures, areas, units, the stream of changes",
    KeyScope.CASES_REPORT: "report new matters",
    KeyScope.CONTACT_READ: "read a reporter's contact (each time is recorded)",
    KeyScope.FEEDBACK_WRITE: "accept, progress, resolve, return, comment, ask, attach files",
    KeyScope.DELIVERIES_READ: "the delivery log, and what needs repair at the own adapters",
    KeyScope.DELIVERIES_RESEND: "have a delivery sent again",
    KeyScope.KEYS: "list, issue and revoke keys of the own unit, never wider than the own",
}

_EVERY: Final = frozenset(KeyScope)
_READ: Final = frozenset({KeyScope.CASES_READ})
_WORK: Final = _READ | {KeyScope.CASES_REPORT, KeyScope.CONTACT_READ, KeyScope.FEEDBACK_WRITE}
_LOG: Final = frozenset({KeyScope.DELIVERIES_READ, KeyScope.DELIVERIES_RESEND})
OF_ROLE: Final[Mapping[Role, frozenset[KeyScope]]] = {
    Role.ADMIN: _EVERY,
    Role.OPERATOR: _WORK | _LOG,
    Role.CLERK: _WORK,
    Role.GRID_WORKER: _WORK,
    Role.DEPARTMENT: _EVERY,
    Role.DEVOPS: _READ | _LOG,
    Role.VIEWER: _READ,
}
"""What a role may do at all, in scopes."""

_CASE = r"/cases/[^/]+"
_TABLE: Final[tuple[tuple[str, re.Pattern[str], KeyScope | None], ...]] = tuple(
    (method, re.compile(rf"/api/v1{path}"), scope)
    for method, path, scope in (
        ("GET", "/me", None),
        ("GET", r"/attachments/[^/]+", KeyScope.CASES_READ),
        ("GET", r"/(areas|units|summary|changes)", KeyScope.CASES_READ),
        ("GET", rf"{_CASE}/contact", KeyScope.CONTACT_READ),
        ("POST", rf"{_CASE}/attachments", KeyScope.FEEDBACK_WRITE),
        ("GET", r"/deliveries(/[^/]+)?", KeyScope.DELIVERIES_READ),
        ("POST", r"/deliveries/[^/]+/resend", KeyScope.DELIVERIES_RESEND),
        ("GET", r"/repairs(/[^/]+)?", KeyScope.DELIVERIES_READ),
        ("GET", "/keys", KeyScope.KEYS),
        ("POST", "/keys", KeyScope.KEYS),
        ("DELETE", r"/keys/[^/]+", KeyScope.KEYS),
    )
)

_CLOSED: Final[tuple[tuple[str, re.Pattern[str], str], ...]] = tuple(
    (method, re.compile(rf"/api/v1{path}"), why)
    for method, path, why in (
        ("POST", r"/repairs/[^/]+/(resolve|dismiss)", "ending a repair is the operators' judgement"),
        ("POST", r"/deliveries/[^/]+/drop", "giving a delivery up is the operators' judgement"),
        (
            "(GET|POST|PATCH|DELETE)",
            r"/adapters(/.+)?",
            "instances, their settings, trials, keys, crosswalks and reconciliations",
        ),
        ("(GET|POST)", r"/plugins(/look)?", "what is installed on the hub's machine"),
        ("(GET|POST)", r"/policy(/explain)?", "the district's rules"),
        ("(GET|POST|DELETE)", r"/tokens(/[^/]+)?", "whole tokens; a key issues keys"),
        ("GET", r"/pages(/[^/]+)?", "pages are for people at the console"),
    )
)


class Routed(Protocol):
    """What scopes need of a kind of matter: its path, and the forms of its commands."""

    @property
    def path(self) -> str:
        """The word in its paths: `cases`."""
        ...

    @property
    def forms(self) -> Mapping[str, Form]:
        """The form of every command people may give, by name; it says the scope that opens the command to keys."""
        ...


def _of_kinds(method: str, path: str, kinds: Iterable[Routed]) -> tuple[bool, KeyScope | None]:
    """(whether it is a route of a kind of matter, the scope that opens it: None keeps it closed to keys)."""
    for kind in kinds:
        rest = path.removeprefix(f"/api/v1/{kind.path}")
        if rest == path or (rest and not rest.startswith("/")):
            continue
        parts = rest.split("/")[1:]
        if method == "GET" and (len(parts) < 2 or (len(parts) == 2 and parts[1] in ("timeline", "trace"))):
            return True, KeyScope.CASES_READ
        if method == "POST" and not parts:
            return True, KeyScope.CASES_REPORT
        if method == "POST" and len(parts) == 2 and parts[1] in kind.forms:
            return True, kind.forms[parts[1]].scope
    return False, None


def decided(method: str, path: str, kinds: Iterable[Routed]) -> bool:
    """Whether the tables decide on a request by tokens with scopes. They must for each route of the interface."""
    known, _ = _of_kinds(method, path, kinds)
    opened = any(have == method and pattern.fullmatch(path) for have, pattern, _ in _TABLE)
    closed = any(re.fullmatch(have, method) and pattern.fullmatch(path) for have, pattern, _ in _CLOSED)
    return [known, opened, closed].count(True) == 1


def rights_of(token: Token) -> frozenset[KeyScope]:
    """What a token may do: its scopes as far as its role has them, or all of its role."""
    whole = OF_ROLE[token.role]
    if token.scopes is None:
        return whole
    return frozenset(scope for scope in whole if scope.value in token.scopes)


def refusal(token: Token, method: str, path: str, kinds: Iterable[Routed]) -> str | None:
    """Why a token with scopes may not send a request, None when it may (the role's own rules come after)."""
    if token.scopes is None:
        return None
    asked = "GET" if method == "HEAD" else method
    for known, pattern, scope in _TABLE:
        if known == asked and pattern.fullmatch(path):
            if scope is None or scope in rights_of(token):
                return None
            return f"The key does not have the scope {scope.value}."
    _, needed = _of_kinds(asked, path, kinds)
    if needed is not None:
        return None if needed in rights_of(token) else f"The key does not have the scope {needed.value}."
    return "A key with scopes may not do this."


def parsed(scopes: Iterable[str]) -> tuple[KeyScope, ...]:
    """The scopes by their names, in the order of the list above; raises InvalidInput."""
    wanted = set(scopes)
    unknown = sorted(wanted - {scope.value for scope in KeyScope})
    if unknown:
        raise InvalidInput(f"no such scope: {', '.join(unknown)} ({', '.join(KeyScope)})", subject="scopes")
    return tuple(scope for scope in KeyScope if scope.value in wanted)
