"""The boundary to the plugins: everything a plugin author writes against, and nothing of the hub's insides.

The hub owns retry, idempotency, tracing, rate, secrets and acknowledgement. A plugin only speaks its department's protocol. Authors import
these names from `hub`.

- `values`: data that crosses the border
- `manifest`: a plugin's description of itself
- `plugin`: the classes to subclass
- `crosswalk`: the department's words as data
- `instances`: a plugin with settings, areas and limits
- `routes`: paths it mounts beside the API
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
from hub.contract.routes import (
    DistrictFacts,
    Filed,
    Mount,
    MountSettings,
    News,
    Publishing,
    Reception,
    ShownCase,
    Visitor,
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
    Feedback,
    FeedbackKind,
    Health,
    IncomingCase,
    Notice,
    Poll,
    Receipt,
    ReportedFile,
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
    "DistrictFacts",
    "Feedback",
    "FeedbackKind",
    "Filed",
    "Health",
    "IncomingCase",
    "IntakeChannel",
    "Manifest",
    "Mount",
    "MountSettings",
    "News",
    "Notice",
    "Notifier",
    "Placement",
    "Plugin",
    "Poll",
    "Publishing",
    "Receipt",
    "Reception",
    "ReportedFile",
    "ShownCase",
    "Standing",
    "StandingState",
    "Suggestion",
    "Visitor",
    "WordTable",
    "Words",
]
