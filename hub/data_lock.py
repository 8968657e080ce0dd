"""The data directory belongs to one hub at a time, which knows whose it was before. Owns `hub.lock` and `demo.lock` in it.

Called by the composition root, and by the demo before it starts its departments.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hub.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DataLock:
    """Held by the run `id` of a hub; the run `former` had it before and is over for certain (empty: there was none)."""

    id: str
    former: str


@contextlib.contextmanager
def alone_in(data: Path, lock_file: str = "hub.lock") -> Iterator[DataLock]:
    """Have the data directory for oneself; raises ConfigError when another hub runs on it."""
    with (data / lock_file).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise ConfigError(f"another hub runs on {data}", key="data") from problem
        file.seek(0)
        lock = DataLock(id=secrets.token_hex(8), former=file.read().strip())
        file.truncate(0)
        file.write(lock.id)
        file.flush()
        yield lock
