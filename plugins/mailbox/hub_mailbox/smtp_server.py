"""The sending side of the simulator's mail server: aiosmtpd, with the faults a mail server can have. Used by the simulator only."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from email import message_from_bytes
from math import ceil
from typing import Protocol

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from hub.testing.faults import Faults
from hub.testing.scripts import Trouble
from hub.testing.simulator import FaultKind
from hub_mailbox.decoding import header_of

AFTER_DATA = (
    FaultKind.ERROR,
    FaultKind.TIMEOUT_AFTER_ACCEPT,
    FaultKind.GARBAGE,
    FaultKind.HUGE,
    FaultKind.HANG,
    FaultKind.DRIP,
    FaultKind.CLOSE,
)
_GIVE_UP = 120.0


class Office(Protocol):
    """Who takes the mails."""

    @property
    def faults(self) -> Faults:
        """The faults set."""

    def trouble(self) -> Trouble:
        """What hits the next mail."""

    async def take(self, content: bytes, recipients: Sequence[str]) -> None:
        """Take a mail; durable when it returns."""


class SmtpDesk:
    """What aiosmtpd asks, by the names it asks by."""

    def __init__(
        self, office: Office, *, account: str, secret: str, hostname: str, starttls: ssl.SSLContext | None = None
    ) -> None:
        self._office = office
        self._account = account
        self._login = LoginPassword(account.encode(), secret.encode())
        self._hostname = hostname
        self._starttls = starttls

    def protocol(self) -> SMTP:
        """One connection."""
        return SMTP(
            self,
            hostname=self._hostname,
            ident="mailbox simulator",
            authenticator=self.authenticate,
            tls_context=self._starttls,
            require_starttls=self._starttls is not None,
            auth_required=True,
            auth_require_tls=False,
            data_size_limit=32 * 2**20,
            timeout=60,
        )

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object) -> AuthResult:
        """LOGIN and PLAIN with our one account."""
        faults = self._office.faults
        if faults.outage:
            return AuthResult(success=False, handled=False, message="454 4.7.0 Temporary authentication failure")
        if given != self._login or faults.draw(FaultKind.BAD_CREDENTIALS):
            return AuthResult(success=False, handled=False, message="535 5.7.8 Error: authentication failed")
        return AuthResult(success=True)

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        """Take a sender, or show a fault."""
        if self._office.faults.draw(FaultKind.RATE_LIMIT):
            return "450 4.7.1 Too many messages, please try again in 1 seconds"
        if self._office.faults.draw(FaultKind.UNAVAILABLE):
            return "421 4.3.2 Service not available, closing transmission channel"
        if address != self._account:
            return "553 5.7.1 Mail from must equal authorized user"
        envelope.mail_from = address
        return "250 2.1.0 Ok"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        """Take a recipient; addresses that begin with nobody are not known, those that begin with later are put off."""
        if address.startswith("nobody"):
            return "550 5.1.1 User unknown"
        if address.startswith("later"):
            return "450 4.2.0 Greylisted, come back in 00:05:00"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a mail, or show a fault: before it was taken, or in the answer."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        if "不予受理" in header_of(message_from_bytes(content), "Subject"):
            return "554 5.7.1 Message rejected by policy"
        trouble = self._office.trouble()
        match trouble.kind:
            case FaultKind.ERROR:
                return "451 4.3.0 Error: queue file write error"
            case FaultKind.UNAVAILABLE | FaultKind.OUTAGE:
                return "421 4.3.2 Service not available, closing transmission channel"
            case FaultKind.RATE_LIMIT:
                return f"450 4.7.1 Too many messages, please try again in {ceil(trouble.seconds or 1)} seconds"
            case FaultKind.BAD_CREDENTIALS:
                return "530 5.7.0 Authentication required"
        await self._office.take(content, envelope.rcpt_tos)
        return await self._answer(server, trouble)

    async def _answer(self, server: SMTP, trouble: Trouble) -> str:
        """The answer to a mail that was taken."""
        transport = server.transport
        assert isinstance(transport, asyncio.Transport)
        match trouble.kind:
            case FaultKind.TIMEOUT_AFTER_ACCEPT:
                await asyncio.sleep(_GIVE_UP)  # until the client has gone: then this is cancelled
            case FaultKind.HANG:
                await asyncio.sleep(trouble.seconds or 30.0)
            case FaultKind.DRIP:
                for _ in range(int((trouble.seconds or 30.0) / 0.1)):
                    transport.write(b"2")
                    await asyncio.sleep(0.1)
            case FaultKind.CLOSE:
                transport.abort()
            case FaultKind.GARBAGE:
                transport.write(b"\x00\xff{<html>502 Bad Gateway</html>\r\n")
            case FaultKind.HUGE:
                for _ in range((trouble.size or 50_000_000) // 64_000):
                    transport.write(b"250-" + b"x" * 994 + b"\r\n")
        return "250 2.0.0 Ok: queued"
