"""The hub's knowledge of an instance that runs elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from hub.platform.remote.answers import Answers
    from hub.platform.remote.worker import Workers


def known_of(name: str, answers: Answers, workers: Workers, clock: Callable[[], datetime]) -> dict[str, object]:
    """An instance's last sign of life, and its worker if it has one, as the status page shows them."""
    found: dict[str, object] = {}
    seen = answers.seen(name)
    if seen is not None:
        found |= {"seen_at": seen.at.isoformat(), "silent": seen.silent(clock()), **msgspec.to_builtins(seen.beat)}
    worker = workers.status(name)
    if worker is not None:
        found |= {"worker": worker.state, "pid": worker.pid, "restarts": worker.restarts, "worker_detail": worker.detail}
    return found
