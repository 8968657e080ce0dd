"""The reading side of the simulator's mail server: as much of IMAP4rev1 (RFC 3501) as mail clients need to look and fetch.

CAPABILITY, NOOP, ID, STARTTLS, LOGIN, AUTHENTICATE PLAIN, LIST, SELECT, EXAMINE, UID SEARCH (UID, HEADER, ALL), UID FETCH (FLAGS,
RFC822.SIZE, BODY.PEEK[], BODY.PEEK[HEADER], partial), LOGOUT. Anything else is BAD. Used by the simulator and tests only.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from email import message_from_bytes
from typing import Protocol

_LINE_MOST = 64 * 1024
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\([^()]*\))|(\S+)')
_SECTION = re.compile(r"BODY(?:\.PEEK)?\[(HEADER)?\](?:<(\d+)\.(\d+)>)?", re.IGNORECASE)


class Mailstore(Protocol):
    """What the server serves."""

    validity: int

    def folders(self) -> Sequence[str]:
        """Names, as IMAP writes them."""

    def mails(self, folder: str) -> Sequence[tuple[int, bytes]]:
        """UID and content, ascending."""

    def admits(self, user: str, password: str) -> str | None:
        """Why a user is not let in, or None."""

    def closed(self) -> bool:
        """Whether the server is out of order right now."""

    def rubbish(self) -> bool:
        """Whether the next answer means nothing."""


class ImapServer:
    """Serves one store on loopback; with `tls` from the first byte, with `starttls` when asked."""

    def __init__(self, store: Mailstore, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None) -> None:
        self._store = store
        self._tls = tls
        self._starttls = starttls

    async def start(self, listener: socket.socket) -> asyncio.Server:
        """Serve what comes to a listening socket."""
        return await asyncio.start_server(self._serve, sock=listener, ssl=self._tls, limit=_LINE_MOST)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(self._store, reader, writer, self._starttls)
        try:
            await session.run()
        except (OSError, asyncio.IncompleteReadError, ValueError):
            return  # the client is gone, or sent a line without end
        finally:
            writer.close()


class _Session:
    """One connection."""

    def __init__(
        self, store: Mailstore, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, starttls: ssl.SSLContext | None
    ) -> None:
        self._store = store
        self._reader = reader
        self._writer = writer
        self._starttls = starttls
        self._in = False
        self._folder: str | None = None
        self._identified = False

    async def run(self) -> None:
        """Until LOGOUT or the connection ends."""
        if self._store.closed():
            await self._say("* BYE 系统维护中")
            return
        await self._say(f"* OK [CAPABILITY {self._capabilities()}] mailbox simulator")
        while line := await self._reader.readline():
            if self._store.closed():
                await self._say("* BYE 系统维护中")
                return
            if self._store.rubbish():
                await self._say("\ufffd{}[]<html>502 Bad Gateway")
                return
            tag, _, rest = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
            name, _, arguments = rest.partition(" ")
            if name.upper() == "LOGOUT":
                await self._say("* BYE bye", f"{tag} OK LOGOUT")
                return
            await self._answer(tag, name.upper(), arguments)

    async def _answer(self, tag: str, name: str, arguments: str) -> None:
        words = [(match[1] if match[1] is not None else match[2] or match[3]) for match in _TOKEN.finditer(arguments)]
        words = [re.sub(r"\\(.)", r"\1", word) for word in words]
        match name:
            case "CAPABILITY":
                await self._say(f"* CAPABILITY {self._capabilities()}", f"{tag} OK CAPABILITY")
            case "NOOP":
                await self._say(f"{tag} OK NOOP")
            case "ID":
                self._identified = True
                await self._say('* ID ("name" "mailbox-simulator")', f"{tag} OK ID")
            case "STARTTLS" if self._starttls is not None:
                await self._say(f"{tag} OK begin TLS")
                await self._writer.start_tls(self._starttls)
                self._starttls = None
            case "LOGIN" if len(words) == 2:
                await self._log_in(tag, *words)
            case "AUTHENTICATE" if words[:1] == ["PLAIN"]:
                await self._say("+")
                await self._plain(tag, (await self._reader.readline()).strip())
            case _ if not self._in:
                await self._say(f"{tag} BAD not logged in, or unknown")
            case "LIST":
                await self._say(*(f'* LIST () "/" "{folder}"' for folder in self._store.folders()), f"{tag} OK LIST")
            case "SELECT" | "EXAMINE" if len(words) == 1:
                await self._open(tag, name, words[0])
            case "UID" if self._folder is not None and len(words) >= 2:
                await self._uid(tag, words[0].upper(), words[1:], arguments)
            case _:
                await self._say(f"{tag} BAD unknown")

    def _capabilities(self) -> str:
        return "IMAP4rev1 ID AUTH=PLAIN" + (" STARTTLS" if self._starttls is not None else "")

    async def _plain(self, tag: str, coded: bytes) -> None:
        try:
            _, user, password = base64.b64decode(coded, validate=True).decode().split("\0")
        except (binascii.Error, ValueError):
            await self._say(f"{tag} BAD not PLAIN")
            return
        await self._log_in(tag, user, password)

    async def _log_in(self, tag: str, user: str, password: str) -> None:
        refusal = self._store.admits(user, password)
        self._in = refusal is None
        await self._say(f"{tag} OK logged in" if refusal is None else f"{tag} NO {refusal}")

    async def _open(self, tag: str, name: str, folder: str) -> None:
        if not self._identified:  # as 163.com does
            await self._say(f"{tag} NO {name} Unsafe Login. Please contact the operator for help")
            return
        if folder not in self._store.folders():
            await self._say(f"{tag} NO [NONEXISTENT] no such folder")
            return
        self._folder = folder
        mails = self._store.mails(folder)
        await self._say(
            "* FLAGS (\\Seen)",
            f"* {len(mails)} EXISTS",
            "* 0 RECENT",
            f"* OK [UIDVALIDITY {self._store.validity}] UIDs valid",
            f"* OK [UIDNEXT {mails[-1][0] + 1 if mails else 1}] next",
            f"{tag} OK [{'READ-ONLY' if name == 'EXAMINE' else 'READ-WRITE'}] {name}",
        )

    async def _uid(self, tag: str, what: str, words: list[str], arguments: str) -> None:
        mails = self._store.mails(self._folder or "")
        if what == "SEARCH":
            found = _chooser(words, mails)
            if found is None:
                await self._say(f"{tag} BAD search criteria")
                return
            numbers = " ".join(str(uid) for uid, content in mails if found(uid, content))
            await self._say(f"* SEARCH {numbers}".rstrip(), f"{tag} OK SEARCH")
        elif what == "FETCH":
            wanted = _set(words[0], mails)
            for sequence, (uid, content) in enumerate(mails, 1):
                if wanted(uid):
                    self._writer.write(f"* {sequence} FETCH (".encode() + _items(uid, content, arguments) + b")\r\n")
            await self._say(f"{tag} OK FETCH")
        else:
            await self._say(f"{tag} BAD unknown")

    async def _say(self, *lines: str) -> None:
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self._writer.drain()


def _chooser(words: list[str], mails: Sequence[tuple[int, bytes]]) -> Callable[[int, bytes], bool] | None:
    match words:
        case ["ALL"]:
            return lambda uid, content: True
        case ["UID", numbers]:
            wanted = _set(numbers, mails)
            return lambda uid, content: wanted(uid)
        case ["HEADER", name, value]:
            return lambda uid, content: value.lower() in str(message_from_bytes(content).get(name, "")).lower()
    return None


def _set(numbers: str, mails: Sequence[tuple[int, bytes]]) -> Callable[[int], bool]:
    """A UID set; `n:*` always holds the last mail (RFC 3501, 6.4.8)."""
    last = mails[-1][0] if mails else 0
    ranges = []
    for part in numbers.split(","):
        low, _, high = part.partition(":")
        bounds = [last if bound == "*" else int(bound) for bound in (low, high or low)]
        ranges.append((min(bounds), max(bounds)))
    return lambda uid: any(low <= uid <= high for low, high in ranges)


def _items(uid: int, content: bytes, arguments: str) -> bytes:
    answer = [f"UID {uid} FLAGS ()".encode()]
    if "RFC822.SIZE" in arguments.upper():
        answer.append(f"RFC822.SIZE {len(content)}".encode())
    for section, offset, count in _SECTION.findall(arguments):
        chosen = content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if section else content
        name = f"BODY[{section}]"
        if count:
            chosen = chosen[int(offset) : int(offset) + int(count)]
            name += f"<{offset}>"
        answer.append(f"{name} {{{len(chosen)}}}\r\n".encode() + chosen)
    return b" ".join(answer)
