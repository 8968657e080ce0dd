"""Rights as words: the roles of people, the scopes of keys, and the roles for each kind of command. Pure.

A command says its roles and its scope in its form (`hub.model.forms`). Tokens carry a role and perhaps scopes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a token is for."""

    ADMIN = "admin"
    OPERATOR = "operator"
    CLERK = "clerk"
    GRID_WORKER = "grid_worker"
    DEPARTMENT = "department"
    DEVOPS = "devops"
    VIEWER = "viewer"


class KeyScope(StrEnum):
    """What a key may be for."""

    CASES_READ = "cases:read"
    CASES_REPORT = "cases:report"
    CONTACT_READ = "contact:read"
    FEEDBACK_WRITE = "feedback:write"
    DELIVERIES_READ = "deliveries:read"
    DELIVERIES_RESEND = "deliveries:resend"
    KEYS = "keys"


OPERATORS: Final = frozenset((Role.ADMIN, Role.OPERATOR))
CLERKS: Final = OPERATORS | {Role.CLERK}
"""Those who sit at a desk and steer matters."""
GRID: Final = CLERKS | {Role.GRID_WORKER}
"""Those who settle matters, in the grid or above it."""
WORKERS: Final = GRID | {Role.DEPARTMENT}
"""Those who work on matters, and report them."""
RUNNERS: Final = OPERATORS | {Role.DEVOPS}
"""Those who keep the hub and its adapters going."""
EVERYBODY: Final = frozenset(Role)
