"""The boundary to the plugins: what a plugin author writes against, nothing of the hub's insides.

The hub owns retry, idempotency, tracing, rate, secrets and acknowledgement; a plugin only speaks its department's protocol. Authors
import these names from `hub`. values: what crosses the border; manifest: what a plugin says of itself; plugin: what is subclassed;
crosswalk: the department's words as data; instances: a plugin with settings, areas and limits.
"""

from hub.contract.crosswalk import Crosswalk, Words, WordTable
from hub.contract.instances import AdapterInstance, Placement
from hub.contract.manifest import PASS_STATUSES, AdapterSettings, Capability, Manifest
from hub.contract.plugin import (
    Adapter,
    AdapterContractError,
    AdapterStore,
    Classifier,
    ConsolePage,
    Context,
    IntakeChannel,
    Notifier,
    Plugin,
)
from hub.contract.values import (
    Alert,
    AlertKind,
    Assignment,
    Audit,
    CallbackRejected,
    CallbackRequest,
    CaseText,
    Contact,
    Health,
    IncomingCase,
    Notice,
    Poll,
    Receipt,
    Report,
    ReportedFile,
    ReportKind,
    Standing,
    StandingState,
    Suggestion,
)

__all__ = [
    "PASS_STATUSES",
    "Adapter",
    "AdapterContractError",
    "AdapterInstance",
    "AdapterSettings",
    "AdapterStore",
    "Alert",
    "AlertKind",
    "Assignment",
    "Audit",
    "CallbackRejected",
    "CallbackRequest",
    "Capability",
    "CaseText",
    "Classifier",
    "ConsolePage",
    "Contact",
    "Context",
    "Crosswalk",
    "Health",
    "IncomingCase",
    "IntakeChannel",
    "Manifest",
    "Notice",
    "Notifier",
    "Placement",
    "Plugin",
    "Poll",
    "Receipt",
    "Report",
    "ReportKind",
    "ReportedFile",
    "Standing",
    "StandingState",
    "Suggestion",
    "WordTable",
    "Words",
]
