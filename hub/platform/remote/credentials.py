"""Keys of adapters elsewhere: issued, listed, revoked, and admitted by the embedded server without a restart.

A bucket keeps the list of keys. Their secret halves are shown once and kept nowhere. The hub can't admit anybody to an operator's own
server; it gives the lines for that server's configuration. Called by the API and by the workers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec
import nkeys
import structlog

from hub.bus.buckets import Bucket
from hub.bus.embedded import EmbeddedServer
from hub.bus.permissions import RemoteUser, remotes_account
from hub.errors import InvalidInput, NotAllowed
from hub.platform.remote.credentials_file import CredentialsFile
from hub.settings import NatsSettings
from hub.spine.ledger.desk import utc_now

log = structlog.get_logger("hub.remote")


class Server(Protocol):
    """The part of the embedded server that is used."""

    async def admit(self, users: Sequence[RemoteUser]) -> None:
        """Exactly these may connect from now on."""
        ...


class Grant(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One key of one instance."""

    adapter: str
    key: str
    """Public NKey, U…."""
    at: datetime
    by: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Access:
    """The bus's address, and the trusted certificate (PEM; None: the system's authorities)."""

    urls: tuple[str, ...]
    authority: str | None = None
    check_hostname: bool = True


class Credentials:
    """All keys. `server` None: a server of one's own. `outside`: how departments reach the bus, `local`: how this machine does."""

    def __init__(
        self,
        bucket: Bucket,
        server: Server | None,
        outside: Access,
        *,
        local: Access | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._bucket = bucket
        self._server = server
        self._outside = outside
        self._local = local or outside
        self._clock = clock
        self._lent: dict[str, RemoteUser] = {}
        self._lock = asyncio.Lock()

    @property
    def embedded(self) -> bool:
        """Whether keys take effect by themselves."""
        return self._server is not None

    async def start(self) -> None:
        """Make the kept keys known to the embedded server."""
        await self._admit()

    async def issue(self, adapter: str, by: str, *, note: str = "") -> CredentialsFile:
        """A new key beside those there are; the secret half is in the answer and nowhere else."""
        seed, key = new_key()
        grant = Grant(adapter=adapter, key=key, at=self._clock(), by=by, note=note)
        await self._bucket.create(f"{adapter}.{key}", msgspec.json.encode(grant))
        await self._admit()
        log.info("credentials issued", adapter=adapter, user=key, by=by)
        return _file(self._outside, adapter, seed, key)

    async def revoke(self, adapter: str, key: str | None = None) -> int:
        """Take back one key of an instance, or all. Their users are cut off at once. Returns how many; raises NotAllowed when none."""
        found = [grant for grant in await self.list(adapter) if key in (None, grant.key)]
        if not found:
            raise NotAllowed("no such credentials", subject=adapter)
        for grant in found:
            await self._bucket.purge(f"{adapter}.{grant.key}")
        await self._admit()
        log.warning("credentials revoked", adapter=adapter, count=len(found))
        return len(found)

    async def list(self, adapter: str | None = None) -> list[Grant]:
        """The keys there are, oldest first."""
        stored = await self._bucket.entries(">" if adapter is None else f"{adapter}.*")
        grants = [msgspec.json.decode(entry.value, type=Grant) for entry in stored.values()]
        return sorted(grants, key=lambda grant: (grant.adapter, grant.at))

    async def lend(self, adapter: str) -> CredentialsFile:
        """A key for a worker process of this hub, kept in memory only; the one lent before ends."""
        if self._server is None:
            raise InvalidInput("the hub can't admit workers to a server of one's own", subject=adapter)
        seed, key = new_key()
        self._lent[adapter] = RemoteUser(adapter=adapter, key=key)
        await self._admit()
        return _file(self._local, adapter, seed, key)

    async def take_back(self, adapter: str) -> None:
        """End a worker's key."""
        if self._lent.pop(adapter, None) is not None:
            await self._admit()

    async def account(self) -> str:
        """What a server of one's own needs in its `accounts` block."""
        return remotes_account([RemoteUser(adapter=grant.adapter, key=grant.key) for grant in await self.list()])

    async def _admit(self) -> None:
        if self._server is None:
            return
        async with self._lock:
            kept = [RemoteUser(adapter=grant.adapter, key=grant.key) for grant in await self.list()]
            await self._server.admit([*kept, *self._lent.values()])


def _file(access: Access, adapter: str, seed: str, key: str) -> CredentialsFile:
    return CredentialsFile(
        adapter=adapter,
        urls=access.urls,
        user=key,
        seed=seed,
        authority=access.authority,
        check_hostname=access.check_hostname,
    )


def new_key() -> tuple[str, str]:
    """(seed, public key) of a new user."""
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return bytes(seed).decode(), bytes(nkeys.from_seed(bytearray(seed)).public_key).decode()


def access_of(server: EmbeddedServer | None, settings: NatsSettings) -> tuple[Access, Access]:
    """(how departments reach the bus, how this machine does)."""
    if server is None:
        own = Access(urls=tuple(_bare(url) for url in (settings.public_url or settings.url or "").split(",") if url))
        return own, own
    scheme, certificate = "nats", None
    if settings.certificate is not None:
        scheme, certificate = "tls", _first(settings.certificate.read_text(encoding="ascii"))
    local = Access(urls=(f"{scheme}://127.0.0.1:{server.port}",), authority=certificate, check_hostname=False)
    urls = (settings.public_url,) if settings.public_url else local.urls
    if settings.authority is not None:
        return Access(urls=urls, authority=settings.authority.read_text(encoding="ascii")), local
    return Access(urls=urls, authority=certificate, check_hostname=False), local


def _first(pem: str) -> str:
    """The first certificate of a chain: exactly it is trusted."""
    end = "-----END CERTIFICATE-----"
    return pem.partition(end)[0] + end + "\n"


def _bare(url: str) -> str:
    """The URL without user and password."""
    scheme, mark, rest = url.rpartition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
