"""SMTP: one mail by one connection, bounded in time; what the server says becomes the hub's errors.

Up to the moment the content goes out everything is Unavailable (nothing was sent); from then on a lost answer is OutcomeUnknown.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiosmtplib
import structlog

from hub import CredentialsRejected, DeliveryError, OutcomeUnknown, Refused, Unavailable
from hub_mailbox.letters import Letter
from hub_mailbox.settings import Server

_WAIT = re.compile(r"(\d{1,5})\s*(s|secs?|seconds?|秒|m|mins?|minutes?|分钟)(?![a-z])", re.IGNORECASE)
_CLOCK = re.compile(r"(?<!\d)(\d{2}):(\d{2}):(\d{2})(?!\d)")
_LONGEST_WAIT = timedelta(hours=1)


class Unprovable(OutcomeUnknown):
    """The answer was lost, and our own copy was not taken either: nothing will show whether the mail went out."""


_CREDENTIALS = frozenset({530, 534, 535, 538})


class Sender:
    """Hands mails to our server. `timeout` bounds, in seconds, getting ready and handing over, each."""

    def __init__(self, server: Server, address: str, timeout: float, log: structlog.stdlib.BoundLogger) -> None:
        self._server = server
        self._address = address
        self._timeout = timeout
        self._log = log
        self._tls: ssl.SSLContext | None = None

    async def send(self, letter: Letter) -> None:
        """Hand one mail over; returns when the server has taken it. Raises the delivery errors."""
        content = letter.message.as_bytes()
        async with self._session() as session:
            async with _before_content(self._timeout):
                await session.mail(
                    self._address, options=[f"SIZE={len(content)}"] if session.supports_extension("size") else []
                )
                await session.rcpt(letter.to)
                taken = [address for address in letter.others if await self._other(session, address)]
            await self._content(session, content, provable=not letter.copy or self._address in taken)

    async def check(self) -> None:
        """Log in and out again; raises the delivery errors."""
        async with self._session() as session, _before_content(self._timeout):
            await session.noop()

    async def _other(self, session: aiosmtplib.SMTP, address: str) -> bool:
        """A copy the server doesn't want is no reason to leave the department without its mail; False then."""
        try:
            await session.rcpt(address)
        except aiosmtplib.SMTPRecipientRefused as refusal:
            if refusal.code == 421:
                raise
            self._log.warning("mailbox_copy_refused", code=refusal.code)
            return False
        return True

    async def _content(self, session: aiosmtplib.SMTP, content: bytes, *, provable: bool) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await session.data(content)
        except aiosmtplib.SMTPDataError as answer:
            raise _said(answer.code, answer.message) from answer
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as problem:
            lost = OutcomeUnknown if provable else Unprovable
            raise lost(f"the mail server's answer was lost: {type(problem).__name__}") from problem

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """A logged-in connection; closed at the end without waiting for the server's farewell."""
        server = self._server
        if server.security != "none" and self._tls is None:
            self._tls = await asyncio.to_thread(server.tls_context)
        session = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            timeout=self._timeout,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=self._tls,
            local_hostname=self._address.partition("@")[2],
        )
        try:
            async with _before_content(self._timeout):
                await session.connect()
                await session.login(server.username, server.password.get_secret_value())
            yield session
        finally:
            session.close()


@asynccontextmanager
async def _before_content(timeout: float) -> AsyncIterator[None]:
    """Bounds a step before the content goes out, in seconds, and turns what goes wrong in it into delivery errors."""
    try:
        async with asyncio.timeout(timeout):
            yield
    except aiosmtplib.SMTPAuthenticationError as answer:
        raise _said(answer.code, answer.message, login=True) from answer
    except aiosmtplib.SMTPSenderRefused as answer:
        if 500 <= answer.code < 600 and answer.code != 552:
            raise CredentialsRejected(f"the mail server refuses our address: {_words(answer.code, answer.message)}") from answer
        raise _said(answer.code, answer.message) from answer
    except aiosmtplib.SMTPResponseException as answer:
        raise _said(answer.code, answer.message) from answer
    except aiosmtplib.SMTPNotSupported as problem:
        raise Unavailable("the mail server does not offer what the settings ask for (STARTTLS, AUTH)") from problem
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as problem:
        cause = problem.__cause__ or problem
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise Unavailable(f"the mail server's certificate is not trusted: {cause.verify_message}") from problem
        raise Unavailable(f"the mail server can't be reached: {type(problem).__name__}") from problem


def _said(code: int, text: str, *, login: bool = False) -> DeliveryError:
    """The delivery error of an SMTP answer (RFC 5321, 4.2.1: 4yz transient, 5yz permanent)."""
    words = _words(code, text)
    if code in _CREDENTIALS or (login and code >= 500):
        return CredentialsRejected(f"the mail server does not accept our credentials: {words}")
    if 500 <= code < 600:
        return Refused(f"邮件服务器拒收：{words}")
    return Unavailable(f"the mail server says: {words}", retry_after=_wait(text))


def _wait(text: str) -> timedelta | None:
    """How long a server that greylists or limits asks us to wait, where it says so in words; at most an hour."""
    clock = _CLOCK.search(text)
    if clock:
        hours, minutes, seconds = map(int, clock.groups())
        return min(timedelta(hours=hours, minutes=minutes, seconds=seconds), _LONGEST_WAIT)
    found = _WAIT.search(text)
    if found is None:
        return None
    count = int(found[1])
    asked = timedelta(minutes=count) if found[2].lower().startswith(("m", "分")) else timedelta(seconds=count)
    return min(asked, _LONGEST_WAIT)


def _words(code: int, text: str) -> str:
    return f"{code} {' '.join(text.split())}"[:300]
