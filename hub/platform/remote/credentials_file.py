"""The file a department gets: where the bus is, who it is there, and how it proves it. Readable by its owner only."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import msgspec

from hub.errors import ConfigError
from hub.platform.remote.messages import VERSION


class CredentialsFile(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is in it."""

    adapter: str
    urls: tuple[str, ...]
    user: str
    """Public NKey of the user, U…."""
    seed: str
    """Its secret half, SU…."""
    protocol: int = VERSION
    authority: str | None = None
    """PEM of the certificate to trust; None: the system's authorities."""
    check_hostname: bool = True

    def __repr__(self) -> str:
        return f"CredentialsFile(adapter={self.adapter!r}, user={self.user!r})"

    def tls(self) -> ssl.SSLContext | None:
        """A context that trusts the file's certificate; None when the file names none. Raises ConfigError."""
        if self.authority is None:
            return None
        try:
            context = ssl.create_default_context(cadata=self.authority)
        except ssl.SSLError as problem:
            raise ConfigError(f"authority is no certificate: {problem}", key="authority") from problem
        context.check_hostname = self.check_hostname
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def read_credentials(file: Path) -> CredentialsFile:
    """Raises ConfigError naming file and field."""
    try:
        raw = file.read_bytes()
    except OSError as problem:
        raise ConfigError(f"can't be read ({problem.strerror})", file=str(file)) from problem
    return parse_credentials(raw, str(file))


def parse_credentials(raw: bytes, file: str) -> CredentialsFile:
    """Raises ConfigError naming file and field."""
    try:
        found = msgspec.json.decode(raw, type=CredentialsFile)
    except msgspec.DecodeError as problem:
        raise ConfigError(f"is no credentials file: {problem}", file=file) from problem
    if found.protocol != VERSION:
        raise ConfigError(f"is for protocol version {found.protocol}, this program speaks {VERSION}", file=file, key="protocol")
    if not found.urls:
        raise ConfigError("names no server", file=file, key="urls")
    return found


def write_credentials(file: Path, credentials: CredentialsFile) -> None:
    """Write a new file that only its owner may read; raises FileExistsError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(msgspec.json.format(msgspec.json.encode(credentials), indent=2) + b"\n")
