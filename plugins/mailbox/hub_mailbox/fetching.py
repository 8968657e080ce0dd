"""IMAP: read-only looks into our mailbox, off the event loop and bounded in time.

Folders are opened with EXAMINE and mails read with BODY.PEEK: nothing is marked, moved or deleted. The standard library's client runs
in one thread of this instance; when its time is over the socket is shut under it, so no thread stays behind.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import imaplib
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from hub import CredentialsRejected, Unavailable
from hub_mailbox.settings import Server

_T = TypeVar("_T")
_UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")
_TEXT_OF_LARGE = 256 * 1024
"""How much of a mail above the size limit is read: its text comes first."""
_LITERAL_MOST = 51 * 2**20
_HEADER_BYTES = 64 * 1024
_TEMPORARY = re.compile(r"UNAVAILABLE|INUSE|LIMIT|TRY ?AGAIN|TEMPORAR|TOO MANY", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The head of a mail, by which is decided whether it concerns us."""

    uid: int
    size: int
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is new in a folder: at most as many heads as asked for, `more` when there are others."""

    validity: int
    headers: tuple[Header, ...]
    last: int
    """The highest UID looked at."""
    more: bool


class _Bounded(imaplib.IMAP4):
    """The standard library's client, that takes no literal of any size a server names."""

    def read(self, size: int) -> bytes:
        """Read a literal; raises IMAP4.abort for one larger than any mail we ask for."""
        if size > _LITERAL_MOST:
            raise self.abort(f"a literal of {size} bytes")
        return super().read(size)


class _BoundedTls(_Bounded, imaplib.IMAP4_SSL):
    """The same over TLS from the first byte."""


class Fetcher:
    """Looks into the mailbox of one instance, one question at a time. `timeout`, in seconds, bounds a step; two of it a question."""

    def __init__(self, server: Server, timeout: float, *, whole: int) -> None:
        self._server = server
        self._timeout = timeout
        self._whole = whole
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mailbox")
        self._turn = asyncio.Lock()
        self._client: imaplib.IMAP4 | None = None
        self._socket: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None

    async def look(self, folder: str, validity: int | None, after: int, limit: int) -> Look:
        """Heads of the mails after UID `after`; from the first when the folder's UIDVALIDITY isn't `validity` any more."""
        return await self._ask(lambda client: _look(client, folder, validity, after, limit))

    async def mail(self, folder: str, uid: int, *, whole: bool) -> tuple[bytes, bool]:
        """A mail and whether it is whole; its first part only when `whole` isn't asked for. Empty when it was deleted meanwhile."""
        part = f"BODY.PEEK[]<0.{self._whole if whole else _TEXT_OF_LARGE}>"
        return await self._ask(lambda client: _mail(client, folder, uid, part)), whole

    async def has(self, folder: str, message_id: str) -> bool:
        """Whether a mail with this Message-ID is in the folder."""
        return await self._ask(lambda client: _has(client, folder, message_id))

    async def check(self, folder: str) -> None:
        """Whether we are let in and the folder is there; raises the delivery errors."""
        await self._ask(lambda client: _open(client, folder))

    async def close(self) -> None:
        """Hang up and end the thread."""
        self._hang_up()
        await asyncio.to_thread(self._thread.shutdown, wait=True)

    async def _ask(self, question: Callable[[imaplib.IMAP4], _T]) -> _T:
        """Ask over the open connection; over a new one when that was lost meanwhile."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(2 * self._timeout), self._turn:
                try:
                    return await loop.run_in_executor(self._thread, self._answer, question)
                except BaseException:
                    self._hang_up()
                    raise
        except TimeoutError as problem:
            raise Unavailable("the mailbox did not answer in time") from problem

    def _answer(self, question: Callable[[imaplib.IMAP4], _T]) -> _T:
        """In the thread."""
        try:
            if self._client is not None:
                with contextlib.suppress(imaplib.IMAP4.abort, OSError):
                    return question(self._client)
                self._put_down()
            self._client = self._connect()
            return question(self._client)
        except ssl.SSLCertVerificationError as problem:
            raise Unavailable(f"the mailbox's certificate is not trusted: {problem.verify_message}") from problem
        except (imaplib.IMAP4.error, OSError) as problem:
            raise Unavailable(f"the mailbox can't be read: {_words(problem)}") from problem

    def _connect(self) -> imaplib.IMAP4:
        server = self._server
        if server.security != "none" and self._tls is None:
            self._tls = server.tls_context()
        client: imaplib.IMAP4
        if server.security == "tls":
            client = _BoundedTls(server.host, server.port, ssl_context=self._tls, timeout=self._timeout)
        else:
            client = _Bounded(server.host, server.port, timeout=self._timeout)
        self._socket = client.socket()
        try:
            if server.security == "starttls":
                client.starttls(self._tls)
                self._socket = client.socket()
            self._log_in(client)
            if "ID" in _capabilities(
                client
            ):  # RFC 2971; 163.com and 126.com open no folder for those that don't say who they are
                client.xatom("ID", '("name" "city-hub" "version" "1")')
        except BaseException:
            _close(client)
            raise
        return client

    def _log_in(self, client: imaplib.IMAP4) -> None:
        server = self._server
        password = server.password.get_secret_value()
        try:
            if (server.username + password).isascii():
                client.login(server.username, password)
            else:
                client.authenticate("PLAIN", lambda _: f"\0{server.username}\0{password}".encode())
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as answer:
            words = _words(answer)
            if _TEMPORARY.search(words):
                raise Unavailable(f"the mailbox lets nobody in for now: {words}") from answer
            raise CredentialsRejected(f"the mailbox does not accept our credentials: {words}") from answer

    def _hang_up(self) -> None:
        """Shut the connection, so that a thread that waits on it comes back; the thread itself closes it then."""
        line, self._socket = self._socket, None
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self._thread.submit(self._put_down)

    def _put_down(self) -> None:
        """In the thread."""
        client, self._client = self._client, None
        if client is not None:
            _close(client)


def _close(client: imaplib.IMAP4) -> None:
    """Close a connection without a farewell, whatever its state."""
    with contextlib.suppress(OSError):
        client.shutdown()


def folder_name(name: str) -> str:
    """A folder's name as IMAP wants it: modified UTF-7 (RFC 3501, 5.1.3), quoted."""
    coded = re.sub(r"[^\x20-\x7e]+|&", _shifted, name)
    return '"' + coded.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _shifted(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    return "&" + base64.b64encode(match[0].encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"


def _capabilities(client: imaplib.IMAP4) -> Sequence[str]:
    """What the server offers after login."""
    _, lines = client.capability()
    return (lines[-1] or b"").decode("ascii", "replace").upper().split()


def _open(client: imaplib.IMAP4, folder: str) -> int:
    """Open read-only; returns UIDVALIDITY."""
    answer, lines = client.select(folder_name(folder), readonly=True)
    if answer != "OK":
        raise Unavailable(f"the mailbox has no folder {folder}: {_first(lines).decode('utf-8', 'replace')[:200]}")
    _, said = client.response("UIDVALIDITY")
    validity = _first(said)
    if not validity.isdigit():
        raise Unavailable("the mailbox tells no UIDVALIDITY")
    return int(validity)


def _look(client: imaplib.IMAP4, folder: str, validity: int | None, after: int, limit: int) -> Look:
    now = _open(client, folder)
    start = after if now == validity else 0
    found = _uids(client, "UID", f"{start + 1}:*")
    uids = sorted(uid for uid in found if uid > start)  # `n:*` always holds the last mail
    chosen = uids[:limit]
    headers = _headers(client, chosen) if chosen else ()
    return Look(validity=now, headers=headers, last=chosen[-1] if chosen else start, more=len(uids) > limit)


def _headers(client: imaplib.IMAP4, uids: Sequence[int]) -> tuple[Header, ...]:
    parts = f"(UID RFC822.SIZE BODY.PEEK[HEADER]<0.{_HEADER_BYTES}>)"
    answer, items = client.uid("FETCH", ",".join(map(str, uids)), parts)
    if answer != "OK":
        raise Unavailable("the mailbox gives no heads")
    headers = []
    for item in items:
        if isinstance(item, tuple):
            uid, size = _UID.search(item[0]), _SIZE.search(item[0])
            if uid and size:
                headers.append(Header(uid=int(uid[1]), size=int(size[1]), content=item[1]))
    return tuple(sorted(headers, key=lambda header: header.uid))


def _mail(client: imaplib.IMAP4, folder: str, uid: int, part: str) -> bytes:
    _open(client, folder)
    answer, items = client.uid("FETCH", str(uid), f"(UID {part})")
    if answer != "OK":
        raise Unavailable("the mailbox does not give the mail")
    return next((bytes(item[1]) for item in items if isinstance(item, tuple)), b"")


def _has(client: imaplib.IMAP4, folder: str, message_id: str) -> bool:
    _open(client, folder)
    return bool(_uids(client, "HEADER", "Message-ID", f'"{message_id}"'))


def _uids(client: imaplib.IMAP4, *criteria: str) -> list[int]:
    answer, lines = client.uid("SEARCH", *criteria)
    if answer != "OK":
        raise Unavailable("the mailbox does not search")
    return [int(uid) for uid in _first(lines).split()]


def _first(lines: Sequence[object]) -> bytes:
    return lines[0] if lines and isinstance(lines[0], bytes) else b""


def _words(problem: Exception) -> str:
    text = problem.args[0] if problem.args and not isinstance(problem, OSError) else type(problem).__name__
    return " ".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)).split())[:200]
