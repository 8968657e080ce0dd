"""The one exception tree of the hub, and what each error means for a delivery.

::

    HubError                 code, subject
    ├─ InvalidInput          the caller's fault; names the field (HTTP 422/400/413/429, problem+json)
    │  └─ TransitionRefused  the lifecycle says no; names state, command and rule (HTTP 409)
    ├─ NotAllowed            HTTP 403/404; never says what exists
    ├─ ConfigError           at start only; names file, line and key
    ├─ PluginError           at start only; names the plugin and the rule broken
    ├─ LedgerConflict        someone else committed first; reload and decide again
    │  └─ Undecided          another matter's answer is awaited; decide again when it is there
    ├─ LedgerDamaged         the ledger is behind its checkpoint or a chain is broken; the hub refuses to serve
    ├─ BusUnavailable        the message bus does not answer; nothing was accepted (HTTP 503)
    └─ DeliveryError         raised by an adapter
       ├─ Unavailable(retry_after=None)  try again
       ├─ CredentialsRejected            the adapter pauses and says so; no attempt is spent
       ├─ Withdrawn                      the department has shut this door for good: paused until an operator resumes
       ├─ Refused(reason)                the department says no: to the operator
       ├─ OutcomeUnknown                 ask the department by key; never resend blindly
       └─ AdapterFault                   a bug in the plugin; few tries, then to the operator

`disposition_of` is total over the tree (and over anything else a plugin may throw).
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class Disposition(StrEnum):
    """What dispatch does with an error."""

    RETRY = "retry"
    PAUSE = "pause"
    REFUSE = "refuse"
    UNKNOWN = "unknown"
    FAULT = "fault"


class HubError(Exception):
    """Root of every error the hub raises on purpose.

    `code` is a stable, machine-readable word; `subject` names what it is about (a field, a case, a file).
    """

    code = "hub_error"

    def __init__(self, message: str, *, subject: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject


class InvalidInput(HubError):
    """The caller sent something that can't be taken; `subject` names the field."""

    code = "invalid_input"


class TransitionRefused(InvalidInput):
    """The lifecycle refuses a command in the present state; nothing was changed."""

    code = "transition_refused"

    def __init__(self, *, state: str, command: str, rule: str, subject: str | None = None) -> None:
        super().__init__(f"{command} refused in state {state}: {rule}", subject=subject)
        self.state = state
        self.command = command
        self.rule = rule


class NotAllowed(HubError):
    """The caller may not do this, or the thing does not exist for them."""

    code = "not_allowed"


class ConfigError(HubError):
    """Configuration can't be used; names file, line and key. Raised at start and by checks only."""

    code = "config_error"

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None, key: str | None = None) -> None:
        where = ":".join(str(part) for part in (file, line) if part is not None)
        text = " ".join(part for part in (where and f"{where}:", key and f"{key}:", message) if part)
        super().__init__(text, subject=key)
        self.file = file
        self.line = line
        self.key = key
        self.reason = message


class PluginError(HubError):
    """A plugin breaks the contract; names the plugin and the rule. Raised at start only."""

    code = "plugin_error"


class LedgerConflict(HubError):
    """Another commit on the same case came first; reload and decide again."""

    code = "ledger_conflict"


class Undecided(LedgerConflict):
    """Another matter's answer is awaited that this decision depends on; decide again when it is there."""

    code = "undecided"


class LedgerDamaged(HubError):
    """The ledger lost or changed what it had acknowledged; the hub refuses to serve until it is restored."""

    code = "ledger_damaged"


class BusUnavailable(HubError):
    """The message bus did not confirm; the caller may try again with the same key."""

    code = "bus_unavailable"


class DeliveryError(HubError):
    """Root of what an adapter raises about its departmental system."""

    code = "delivery_error"
    status: int | None = None
    """HTTP status of the department's answer, where there was one; for the delivery log."""


class Unavailable(DeliveryError):
    """The departmental system can't take it now and has not taken it; try again, after `retry_after` if given."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after: timedelta | None = None, subject: str | None = None) -> None:
        super().__init__(message, subject=subject)
        self.retry_after = retry_after


class CredentialsRejected(DeliveryError):
    """The departmental system does not accept our credentials; a person has to renew them."""

    code = "credentials_rejected"


class Withdrawn(DeliveryError):
    """The department has shut this door for good (HTTP 410): the adapter pauses until an operator resumes it; no attempt is spent."""

    code = "withdrawn"


class Refused(DeliveryError):
    """The department says no for a stated reason; an operator decides what next."""

    code = "refused"


class OutcomeUnknown(DeliveryError):
    """The request went out and no answer came back; the department may or may not have it."""

    code = "outcome_unknown"


class AdapterFault(DeliveryError):
    """The plugin itself failed (a bug, or an answer it could not read)."""

    code = "adapter_fault"


def disposition_of(error: BaseException) -> Disposition:
    """Say what dispatch does with `error`; anything outside the delivery tree is a fault of the plugin."""
    match error:
        case Unavailable() | BusUnavailable():
            return Disposition.RETRY
        case CredentialsRejected() | Withdrawn():
            return Disposition.PAUSE
        case Refused():
            return Disposition.REFUSE
        case OutcomeUnknown():
            return Disposition.UNKNOWN
        case _:
            return Disposition.FAULT
