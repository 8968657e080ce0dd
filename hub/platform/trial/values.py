"""A trial's results: calls, requests, answers, errors with dispatch's next step, log lines, spans. Blotted, JSON-ready.

Read by the interface, the command line and cassettes; made by `hub.platform.trial.trying`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A body as it may be shown: read as JSON or as a form where it is one, else text, else base64. `size`: bytes of the whole."""

    size: int = 0
    kind: str = "empty"
    """json, form, xml, text, multipart, binary, empty, or left_out (too long)."""
    content: Any = None
    encoding: str = ""
    """Of text that is not UTF-8."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the department's system."""

    method: str
    url: str
    headers: dict[str, str]
    body: Body


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back; `body` None: not read, or not to its end."""

    status: int
    headers: dict[str, str]
    body: Body | None


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A request and its answer. `ms`: until the end of the answer; `waited_ms`: for its turn under the rate limit."""

    at: datetime
    ms: float
    waited_ms: float
    request: Request
    answer: Answer | None
    error: str | None = None
    """Code of the hub's error the client made of it."""


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """Dispatch's step after an error.

    `what`: again, lookup, pause, operator or dead_letter. `after`: seconds, from and to. `attempts`: the most there are.
    """

    what: str
    text: str
    after: tuple[float, float] | None = None
    attempts: int | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The hub's error a call ended with."""

    error: str
    code: str
    disposition: str
    message: str
    next: Next
    status: int | None = None
    retry_after: float | None = None
    traceback: list[str] = []
    """Where it arose, for a fault of the plugin."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call into the plugin: start, health, deliver, lookup, recall. `number` counts the calls of its kind."""

    call: str
    number: int
    at: datetime
    ms: float
    result: dict[str, Any] | None
    """What it gave: ok and detail, ticket or found."""
    problem: Problem | None
    exchanges: list[Exchange]

    @property
    def ok(self) -> bool:
        """Whether it ended as it should."""
        return self.problem is None and (self.result or {}).get("ok", True) is not False


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """What the plugin logged."""

    level: str
    event: str
    fields: dict[str, Any]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it. `outcome`: one word; `text`: one sentence for operators; `ticket`: under which the sample was filed."""

    instance: str
    plugin: str
    plugin_version: str
    settings_version: int
    at: datetime
    ms: float
    ok: bool
    outcome: str
    """usable, unusable, recalled, filed, refused, not_filed, unsure or left_behind."""
    text: str
    settings: dict[str, Any]
    calls: list[Call]
    assignment: dict[str, Any] | None = None
    """The sample, as the plugin got it."""
    ticket: str | None = None
    unmapped: list[str] = []
    """Words that are in no crosswalk."""
    logs: list[LogLine] = []
    left_out: int = 0
    """Log lines and exchanges that were too many to keep."""
    trace: dict[str, Any] | None = None
    """The spans as `hub.observing.case_trace` assembles them."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


def from_json(values: object) -> Trial:
    """Read what `Trial.to_json` gave. Raises msgspec.ValidationError."""
    return msgspec.convert(values, Trial)
