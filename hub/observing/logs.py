"""Logging: structlog for the hub and for the standard library's loggers. One form, nothing secret or personal.

Owns the set-up (text or JSON, to stderr, so that stdout stays for answers), the trace id on every line, and the redaction of every value.
Secrets go by key name and by shape, personal data by the masks of `hub.privacy`. Known values of the person whose matter is in hand go by
`hub.privacy.marks.known_here`. Called once by the composition root. Everybody else only takes `structlog.get_logger(...)`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

from hub.errors import ConfigError
from hub.observing import telemetry
from hub.privacy.marks import hide_known, plain
from hub.privacy.masks import mask_text

REDACTED: Final = "[redacted]"
LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_SECRET_KEY = re.compile(
    r"authorization|password|passwd|passphrase|secret|token|api[-_]?key|private[-_]?key|cookie|credential|signature|nkey|seed_?key",
    re.IGNORECASE,
)
_NOT_SECRET_KEY = frozenset({"token_id", "token_name", "token_role", "tokens"})
_SECRET_SHAPES: Final = (
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\bhub_[A-Za-z0-9_-]{12,}"), REDACTED),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), REDACTED),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), REDACTED),
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), REDACTED),
    (
        re.compile(
            r"(?P<key>\b(?:password|passwd|secret|client_secret|access_token|refresh_token|token|api_key)[\"']?\s*[=:]\s*[\"']?)"
            r"[^\s\"'&,;}]{3,}",
            re.IGNORECASE,
        ),
        rf"\g<key>{REDACTED}",
    ),
)
_FOREIGN_LEVELS: Final = {"httpx": logging.WARNING, "httpcore": logging.WARNING, "uvicorn.access": logging.WARNING}
"""Libraries that log every request at info; the hub has spans for that."""


def setup(level: str = "info", *, json: bool = False, stream: TextIO | None = None) -> None:
    """Send every log line, ours and the standard library's, through one chain to `stream` (stderr when None).

    Raises ConfigError for an unknown level.
    """
    if level not in LEVELS:
        raise ConfigError(f"unknown level {level!r} (debug, info, warning or error)", key="log_level")
    out = stream if stream is not None else sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: structlog.typing.Processor
    if json:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=28)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name, least in _FOREIGN_LEVELS.items():
        logging.getLogger(name).setLevel(max(least, LEVELS[level]))


def add_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put the current span's `trace_id` and `span_id` on the line."""
    around = telemetry.traceparent()
    if around is not None:
        event.setdefault("trace_id", around[3:35])
        event.setdefault("span_id", around[36:52])
    return event


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take secrets out and mask personal data in every value, nested ones too."""
    for key, value in event.items():
        if key not in ("timestamp", "level", "trace_id", "span_id"):
            event[key] = redacted(value, key)
    return event


def redacted(value: Any, key: str = "", depth: int = 0) -> Any:
    """The value as it may be logged; deeper than six levels only its type shows."""
    if (
        key
        and key.lower() not in _NOT_SECRET_KEY
        and _SECRET_KEY.search(key)
        and value is not None
        and not isinstance(value, bool)
    ):
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return redact_text(str(value)) if isinstance(value, int) and abs(value) >= 10**10 else value
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if depth >= 6:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return {str(name): redacted(item, str(name), depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item, "", depth + 1) for item in value]
    return redact_text(str(value))


def redact_text(text: str) -> str:
    """Secrets by their shape out, personal data masked."""
    for shape, instead in _SECRET_SHAPES:
        text = shape.sub(instead, text)
    return mask_text(hide_known(plain(text)))
