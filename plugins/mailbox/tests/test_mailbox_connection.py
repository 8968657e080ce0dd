"""Connections: TLS of both kinds, servers that are silent or answer oddly."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hub_mailbox import MailboxAdapter
from hub_mailbox.fetching import Fetcher, folder_name
from hub_mailbox.imap_server import ImapServer
from hub_mailbox.settings import Server
from hub_mailbox.simulator import CLERK_ADDRESS, HUB_ADDRESS, SERVER_NAME
from hub_mailbox.smtp_server import SmtpDesk

from hub import Feedback, Unavailable
from hub.testing.faults import Faults
from hub.testing.kit import eventually, running_adapter, sample_assignment
from hub.testing.scripts import Trouble

SECRET = "mailbox-test-secret"


async def test_silent_mailbox_holds_nobody_up_for_long() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1):
                continue
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    fetcher = Fetcher(_server(port), 0.2, whole=1)
    async with listening, asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await fetcher.check("INBOX")
        await fetcher.close()


LOGGED_IN = ("* OK hi", "* CAPABILITY IMAP4rev1", "{1} OK", "{2} OK", "* CAPABILITY IMAP4rev1", "{3} OK")
OPENED = (*LOGGED_IN, "* OK [UIDVALIDITY 1] x", "{4} OK")


@pytest.mark.parametrize(
    "lines",
    [
        ("* OK hi", "* CAPABILITY IMAP4rev1", "{1} OK", "{2} NO [UNAVAILABLE] try again later"),
        (*LOGGED_IN, "{4} OK"),
        (*OPENED, "{5} NO"),
        (*OPENED, "* SEARCH 5", "{5} OK", "{6} NO"),
        (*OPENED, "* SEARCH 5", "{5} OK", "* 1 FETCH (UID 5 BODY[HEADER] {{99999999999}}"),
    ],
)
async def test_mailbox_that_answers_oddly_is_unavailable(lines: tuple[str, ...]) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tags = ["greeting"]
        for line in lines:
            if "{" in line:
                number = int(line[1]) if line[0] == "{" else 0
                while number >= len(tags) and (asked := await reader.readline()):
                    tags.append(asked.split(b" ")[0].decode())
            writer.write((line.format(*tags) + "\r\n").encode())
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            while await reader.read(100):
                continue
        writer.close()

    listening = await asyncio.start_server(odd, "127.0.0.1", 0)
    fetcher = Fetcher(_server(listening.sockets[0].getsockname()[1]), 1.0, whole=1)
    async with listening:
        with pytest.raises(Unavailable):
            await fetcher.look("INBOX", None, 0, 10)
        await fetcher.close()


def _server(port: int, **changes: Any) -> Server:
    given = {"host": "127.0.0.1", "port": port, "security": "none", "username": HUB_ADDRESS, "password": SECRET}
    return Server.model_validate({**given, **changes})


def test_folder_names_are_written_as_imap_wants_them() -> None:
    assert folder_name("INBOX") == '"INBOX"'
    assert folder_name("已发送") == '"&XfJT0ZAB-"'
    assert folder_name('R&D "x"') == '"R&-D \\"x\\""'


# TLS


class Post:
    """A mailbox in memory, for both servers."""

    validity = 7
    faults = Faults(1)

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def folders(self) -> Sequence[str]:
        return ("INBOX",)

    def mails(self, folder: str) -> Sequence[tuple[int, bytes]]:
        return list(enumerate(self.kept, 1))

    def admits(self, user: str, password: str) -> str | None:
        return None if (user, password) == (HUB_ADDRESS, SECRET) else "no"

    def closed(self) -> bool:
        return False

    def rubbish(self) -> bool:
        return False

    def trouble(self) -> Trouble:
        return Trouble(None)

    async def take(self, content: bytes, recipients: Sequence[str]) -> None:
        self.kept.append(content)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    built = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "mail.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.asynccontextmanager
async def post_office(security: str, certificate: Path) -> AsyncIterator[tuple[Post, int, int]]:
    post = Post()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    implicit, upgrade = (tls, None) if security == "tls" else (None, tls)
    imap = await ImapServer(post, tls=implicit, starttls=upgrade).start(listener)
    desk = SmtpDesk(post, account=HUB_ADDRESS, secret=SECRET, hostname=SERVER_NAME, starttls=upgrade)
    smtp = await asyncio.get_running_loop().create_server(desk.protocol, "127.0.0.1", 0, ssl=implicit)
    try:
        yield post, smtp.sockets[0].getsockname()[1], listener.getsockname()[1]
    finally:
        smtp.close()
        imap.close()


@pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning")  # aiosmtpd: on loopback it is meant
@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_mail_goes_out_and_comes_in_over_tls(security: str, certificate: Path) -> None:
    async with post_office(security, certificate) as (post, smtp, imap):
        login = {"host": "127.0.0.1", "security": security, "username": HUB_ADDRESS, "password": SECRET}
        settings = {
            "smtp": {**login, "port": smtp, "ca_file": str(certificate)},
            "imap": {**login, "port": imap, "ca_file": str(certificate)},
            "address": HUB_ADDRESS,
            "to": CLERK_ADDRESS,
            "senders": [CLERK_ADDRESS],
            "trust_from": True,
        }
        assignment = sample_assignment()
        async with running_adapter(MailboxAdapter, settings) as adapter:
            assert (await adapter.health()).ok
            await adapter.deliver(assignment)
            post.kept.append(f"From: {CLERK_ADDRESS}\r\nSubject: {assignment.key}\r\n\r\n办结".encode())
            (report,) = (await adapter.poll(None)).items
        assert isinstance(report, Feedback)
        assert report.key == assignment.key
        unknown = {name: {**cast(dict[str, Any], settings[name]), "ca_file": None} for name in ("smtp", "imap")}
        async with running_adapter(MailboxAdapter, {**settings, **unknown}) as adapter:
            with pytest.raises(Unavailable, match="not trusted"):
                await adapter.deliver(sample_assignment())
            with pytest.raises(Unavailable, match="not trusted"):
                await adapter.poll(None)
        await eventually(lambda: len(asyncio.all_tasks()) < 20)
