"""The hub of a city command centre; this module is what plugin authors import."""

from hub.contract import (
    PASS_STATUSES,
    Adapter,
    AdapterSettings,
    Assignment,
    CallbackRejected,
    CallbackRequest,
    Capability,
    Contact,
    Health,
    IncomingCase,
    Manifest,
    Notice,
    Poll,
    Receipt,
    Report,
    ReportedFile,
    ReportKind,
)
from hub.errors import (
    AdapterFault,
    CredentialsRejected,
    DeliveryError,
    HubError,
    OutcomeUnknown,
    Refused,
    Unavailable,
)
from hub.hookspecs import API_VERSION, hookimpl
from hub.model.cases import Channel, Role, Severity

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "PASS_STATUSES",
    "Adapter",
    "AdapterFault",
    "AdapterSettings",
    "Assignment",
    "CallbackRejected",
    "CallbackRequest",
    "Capability",
    "Channel",
    "Contact",
    "CredentialsRejected",
    "DeliveryError",
    "Health",
    "HubError",
    "IncomingCase",
    "Manifest",
    "Notice",
    "OutcomeUnknown",
    "Poll",
    "Receipt",
    "Refused",
    "Report",
    "ReportKind",
    "ReportedFile",
    "Role",
    "Severity",
    "Unavailable",
    "__version__",
    "hookimpl",
]
