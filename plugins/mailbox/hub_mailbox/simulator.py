"""A mail server with a department behind it: takes our mails, its clerk answers as clerks do, and we read the answers from our mailbox.

Real SMTP (aiosmtpd) and IMAP on ports of their own (`GET /_sim/mail`), on disk like every simulator. The clerk writes in plain text or
HTML, in UTF-8 or the gb2312 of old clients, with a quote and a signature; takes steps accepted, working, resolved (or returned).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import re
import socket
import time
from collections.abc import Coroutine, Sequence
from email import message_from_bytes
from email.utils import formatdate
from typing import Any, ClassVar

import httpx
from fastapi import FastAPI, Request

from hub.testing.scripts import Trouble
from hub.testing.simulator import FaultKind, Simulator, Step, Ticket
from hub_mailbox.decoding import header_of
from hub_mailbox.imap_server import ImapServer
from hub_mailbox.smtp_server import AFTER_DATA, SmtpDesk

HUB_ADDRESS = "dispatch@hub.example.gov.cn"
CLERK_ADDRESS = "clerk@department.example.gov.cn"
SERVER_NAME = "mx.hub.example.gov.cn"
_TAG = re.compile(r"\[(派单|催办|撤回) (\S+) (\S+)\]")
_WORDS = {
    "accepted": "受理。已安排人员前往现场。",
    "working": "处理中，现场正在作业。",
    "resolved": "已办结：现场已清理完毕，详见附件照片。",
    "returned": "退回：不属于本单位职责范围，请改派。",
}
_PHOTO = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


class MailboxSimulator(Simulator):
    """A mail server and a department's clerk."""

    department: ClassVar[str] = "mailbox"
    prefix: ClassVar[str] = "YJ"
    statuses: ClassVar[Sequence[str]] = ("受理", "处理中", "已办结", "退回")

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(arguments)
        self.validity = int(self.store.note("validity") or "1")
        self._mails: list[tuple[int, bytes]] = []

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """How the clerk writes and how often work is given back."""
        parser.add_argument("--returns", type=float, default=0.0, metavar="SHARE", help="share of assignments given back")

    def routes(self, app: FastAPI) -> None:
        """Where its ports are told, and mails can be put into our mailbox by hand."""
        app.get("/_sim/mail")(self._ports)
        app.post("/_sim/mail")(self._put_mail)
        app.post("/_sim/renumber")(self._renumber)

    def background(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Both servers."""
        return (self._serve_smtp(), self._serve_imap())

    def planned(self, ticket: Ticket) -> None:
        """A new assignment: the clerk reads it after one step."""
        returns = self.random(ticket.ticket, "returns").random() < self.arguments.returns
        self.after(1, "returned" if returns else "accepted", ticket.ticket)

    def step(self, step: Step) -> None:
        """Answer, and plan the next step."""
        ticket = self.store.ticket(step.ticket)
        if ticket is None or ticket.state == "recalled":
            return
        if step.kind == "late":
            self._append(base64.b64decode(step.body["mail"]))
            return
        self.store.set_ticket(ticket.ticket, state=step.kind)
        if step.kind == "resolved":
            self.attach(ticket.ticket, "现场.png", "image/png", _PHOTO)
        mail = self._reply(ticket, step.kind)
        if self.faults.draw(FaultKind.REORDER_CALLBACKS):
            self.after(3, "late", ticket.ticket, {"mail": base64.b64encode(mail).decode()}, most=1.0)
        else:
            self._append(mail)
        if self.faults.draw(FaultKind.DUPLICATE_CALLBACK):
            self._append(mail)
        follows = {"accepted": "working", "working": "resolved"}.get(step.kind)
        if follows is not None:
            self.after(1, follows, ticket.ticket)

    # what the IMAP server serves

    def folders(self) -> Sequence[str]:
        """Our inbox, and what the provider keeps of sent mail."""
        return ("INBOX", "Sent Messages")

    def mails(self, folder: str) -> Sequence[tuple[int, bytes]]:
        """Everything in our mailbox; numbers are those of the feed."""
        since = self._mails[-1][0] if self._mails else 0
        while items := self.store.feed_since(since):
            self._mails += [(item.seq, base64.b64decode(item.body["mail"])) for item in items]
            since = items[-1].seq
        return self._mails

    def admits(self, user: str, password: str) -> str | None:
        """Why a user is not let in, or None."""
        if user != HUB_ADDRESS or password != self.secret or self.faults.draw(FaultKind.BAD_CREDENTIALS):
            return "[AUTHENTICATIONFAILED] LOGIN Login error or password error"
        return None

    def closed(self) -> bool:
        """Whether the server is out of order right now."""
        return self.faults.outage

    async def take(self, content: bytes, recipients: Sequence[str]) -> None:
        """A mail the server has taken; durable when it returns."""
        message = message_from_bytes(content)
        tag = _TAG.search(header_of(message, "Subject"))
        with self.store.change():
            if HUB_ADDRESS in recipients:
                self._append(content)
            if tag is not None:
                self._received(tag[1], tag[2], tag[3], header_of(message, "Message-ID"))
        await self.store.durable()

    def trouble(self) -> Trouble:
        """What hits this mail once it was sent: the script's next step, else a fault that is set."""
        scripted = self.script.take(filing=True)
        if scripted is not None:
            return scripted
        return Trouble(next((kind for kind in AFTER_DATA if self.faults.draw(kind)), None))

    def rubbish(self) -> bool:
        """Whether the IMAP server talks rubbish."""
        return self.faults.draw(FaultKind.GARBAGE)

    def _received(self, what: str, key: str, number: str, message_id: str) -> None:
        ticket = self.store.ticket_of_key(key)
        if what == "派单":
            self.file(key=key, unit="mailbox", body={"message_id": message_id}, ticket=number)
        elif what == "撤回" and ticket is not None:
            self.store.set_ticket(ticket.ticket, state="recalled")
            self.store.cancel_steps(ticket.ticket)

    def _reply(self, ticket: Ticket, kind: str) -> bytes:
        """The clerk's mail. Which client he has depends on the ticket."""
        draw = self.random(ticket.ticket, "client")
        charset = draw.choice(["utf-8", "gb2312"])
        text = (
            f"{_WORDS[kind]}\r\n\r\n发自我的iPhone\r\n\r\n------------------ 原始邮件 ------------------\r\n"
            f"发件人: 城市运行管理中心\r\n主题: [派单 {ticket.key} {ticket.ticket}]\r\n\r\n请直接回复本邮件\r\n"
        )
        coded = base64.encodebytes(text.encode(charset)).decode().replace("\n", "\r\n")
        subject = base64.b64encode(f"回复：[派单 {ticket.key} {ticket.ticket}]".encode(charset)).decode()
        answers = "" if draw.random() < 0.2 else f"In-Reply-To: {ticket.body['message_id']}\r\n"
        photo = base64.encodebytes(_PHOTO).decode().replace("\n", "\r\n")
        return (
            f"Authentication-Results: {SERVER_NAME};\r\n spf=pass smtp.mailfrom={CLERK_ADDRESS};\r\n dkim=none\r\n"
            f"From: =?{charset}?B?{base64.b64encode('值班员'.encode(charset)).decode()}?= <{CLERK_ADDRESS}>\r\n"
            f"To: <{HUB_ADDRESS}>\r\nSubject: =?{charset}?B?{subject}?=\r\nDate: {formatdate()}\r\n"
            f"Message-ID: <{ticket.ticket}.{kind}@department.example.gov.cn>\r\n{answers}MIME-Version: 1.0\r\n"
            'Content-Type: multipart/mixed; boundary="part"\r\n\r\n--part\r\n'
            f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n"
            + (
                "--part\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename*=utf-8''%E7%8E%B0%E5%9C%BA.png\r\n"
                f"Content-Transfer-Encoding: base64\r\n\r\n{photo}\r\n"
                if kind == "resolved"
                else ""
            )
            + "--part--\r\n"
        ).encode()

    def _append(self, mail: bytes) -> None:
        self.store.feed("mail", "", {"mail": base64.b64encode(mail).decode()})

    async def _serve_smtp(self) -> None:
        desk = SmtpDesk(self, account=HUB_ADDRESS, secret=self.secret, hostname=SERVER_NAME)
        server = await asyncio.get_running_loop().create_server(desk.protocol, sock=self._listener("smtp_port"))
        await server.serve_forever()

    async def _serve_imap(self) -> None:
        listener = self._listener("imap_port")
        server = await ImapServer(self).start(listener)
        await server.serve_forever()

    def _listener(self, name: str) -> socket.socket:
        """A listening port that stays the same over restarts."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(self.store.note(name) or "0")))
        listener.listen()
        self.store.set_note(name, str(listener.getsockname()[1]))
        return listener

    async def _ports(self) -> dict[str, int]:
        """Where SMTP and IMAP listen."""
        while self.store.note("imap_port") is None or self.store.note("smtp_port") is None:
            await asyncio.sleep(0.01)
        await self.store.durable()
        return {"smtp": int(self.store.note("smtp_port") or 0), "imap": int(self.store.note("imap_port") or 0)}

    async def _put_mail(self, request: Request) -> dict[str, int]:
        """Put the body, a whole mail, into our mailbox."""
        self._append(await request.body())
        await self.store.durable()
        return {"uid": self.mails("INBOX")[-1][0]}

    async def _renumber(self) -> dict[str, int]:
        """Number the mails anew, as servers do after a restore: another UIDVALIDITY."""
        self.validity = int(time.time() * 1000) % 2**31
        self.store.set_note("validity", str(self.validity))
        await self.store.durable()
        return {"validity": self.validity}


def adapter_settings(url: str, secret: str) -> dict[str, object]:
    """The adapter settings that fit a running simulator."""
    ports = httpx.get(f"{url}/_sim/mail", timeout=10, trust_env=False).json()
    server = {"host": "127.0.0.1", "security": "none", "username": HUB_ADDRESS, "password": secret}
    return {
        "smtp": {**server, "port": ports["smtp"]},
        "imap": {**server, "port": ports["imap"]},
        "address": HUB_ADDRESS,
        "to": CLERK_ADDRESS,
        "senders": [CLERK_ADDRESS],
        "authenticated_by": SERVER_NAME,
        "timeout": 2.0,
    }


if __name__ == "__main__":
    MailboxSimulator.main()
