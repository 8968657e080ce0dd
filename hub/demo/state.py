"""What the demo keeps in `<data>/demo.json`: ports, secrets and seed, the same over restarts.

The secrets open the simulators only. Written whole and atomically, readable by its owner only. Called by `hub.demo.run`.
"""

from __future__ import annotations

import os
import secrets
import socket
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hub.errors import ConfigError


class DemoState(msgspec.Struct, kw_only=True):
    """Ports, secrets and choices of one demo data directory."""

    seed: int
    api_port: int | None = None
    ports: dict[str, int] = {}
    """Port of each simulator, once it has one."""
    secrets: dict[str, str] = {}
    """Shared secret of each simulator."""
    tokens: dict[str, str] = {}
    """Tokens of the people played, by role and unit."""
    began_at: datetime | None = None
    """When this data directory's first replay began: the time of requests that have none."""
    run: str = ""
    """Eight characters that stand for this playing of the scenes in their keys."""
    scenes: list[str] = []
    """Names of the scenes already played."""

    def secret(self, name: str) -> str:
        """The secret of a simulator; made at first use in the form of Standard Webhooks (`whsec_` and base64)."""
        if name not in self.secrets:
            self.secrets[name] = "whsec_" + b64encode(secrets.token_bytes(24)).decode()
        return self.secrets[name]


def load_state(data: Path, *, seed: int) -> DemoState:
    """Read the state of a data directory; a new one when there is none. Raises ConfigError when the file can't be read."""
    file = data / "demo.json"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return DemoState(seed=seed, began_at=datetime.now(UTC).replace(microsecond=0))
    try:
        return msgspec.json.decode(content, type=DemoState)
    except msgspec.DecodeError as problem:
        raise ConfigError(
            f"not a demo's state ({problem}); remove the file to start with new ports", file=str(file)
        ) from problem


def save_state(data: Path, state: DemoState) -> None:
    """Write the state, atomically."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = data / "demo.json.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state), indent=2))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(data / "demo.json")


def free_port(*wanted: int | None, host: str = "127.0.0.1") -> int:
    """The first of `wanted` that can be bound on `host`, else one the system gives."""
    for port in (*wanted, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigError(f"no free port on {host}")
