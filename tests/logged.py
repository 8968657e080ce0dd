"""What this process logs, as the hub writes it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from hub.observing import logs


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged while inside."""
    out = io.StringIO()
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    logs.setup("info", stream=out)
    try:
        yield out
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers[:] = handlers
