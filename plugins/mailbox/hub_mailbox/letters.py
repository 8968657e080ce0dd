"""What goes out: the mail of an assignment, an urge, a recall; text and HTML in Chinese. Pure; a case can't break a header."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, MessageIDHeader
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime
from typing import cast
from zoneinfo import ZoneInfo

from hub import Assignment, Severity
from hub_mailbox.numbers import Numbers, ticket_of

ABOVE = "———— 请在此线以上回复 ————"
"""Everything below it in a reply is our own words."""

_ZONE = ZoneInfo("Asia/Shanghai")
_SEVERITY = {Severity.MINOR: "轻微", Severity.ORDINARY: "一般", Severity.MAJOR: "较大", Severity.URGENT: "紧急"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069]+")
_HOW = (
    "请直接回复本邮件，并在正文第一行写明：受理 / 处理中 / 已办结 / 退回，其后写情况说明（退回请写明理由）；"
    "照片等材料请作为附件。请勿改动主题中的编号。"
)


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One mail and to whom: `to` has to be taken by the server, `others` may be refused."""

    message: EmailMessage
    message_id: str
    to: str
    others: tuple[str, ...]
    copy: bool
    """Whether `others` holds our own address: the copy proves that the mail was taken."""


class Letters:
    """Writes the mails of one instance."""

    def __init__(self, numbers: Numbers, *, address: str, display_name: str, cc: tuple[str, ...], copy: bool) -> None:
        self._numbers = numbers
        self._address = address
        self._name = one_line(display_name)
        self._cc = cc
        self._copy = copy

    def assignment(self, assignment: Assignment, to: str, now: datetime) -> Letter:
        """The work order."""
        message_id = self._numbers.message_id(assignment.key, "deliver")
        rows = _rows(assignment)
        intro = f"您好，现将以下事项派给贵单位办理，派单编号 {ticket_of(assignment.key)}。"
        return self._letter("派单", assignment, to, now, message_id, intro, rows)

    def urge(self, assignment: Assignment, to: str, message: str, now: datetime) -> Letter:
        """A reminder, in the thread of the work order; the same words in the same hour have the same Message-ID."""
        message_id = self._numbers.message_id(assignment.key, "urge", f"{now:%Y%m%d%H}{message}")
        return self._letter("催办", assignment, to, now, message_id, f"催办：{message}", _rows(assignment)[:4])

    def recall(self, assignment: Assignment, to: str, reason: str, now: datetime) -> Letter:
        """Say that the work order is taken back, in its thread."""
        message_id = self._numbers.message_id(assignment.key, "recall")
        intro = f"以下派单已撤回，请停止办理。原因：{reason}"
        return self._letter("撤回", assignment, to, now, message_id, intro, _rows(assignment)[:4])

    def _letter(
        self,
        tag: str,
        assignment: Assignment,
        to: str,
        now: datetime,
        message_id: str,
        intro: str,
        rows: list[tuple[str, str]],
    ) -> Letter:
        message = EmailMessage(policy=_policy())
        message["From"] = Address(self._name, addr_spec=self._address)
        message["To"] = Address(addr_spec=to)
        if self._cc:
            message["Cc"] = tuple(Address(addr_spec=address) for address in self._cc)
        message["Subject"] = f"[{tag} {assignment.key} {ticket_of(assignment.key)}] {one_line(assignment.title)[:80]}"
        message["Date"] = format_datetime(now.astimezone(_ZONE))
        message["Message-ID"] = message_id
        first = self._numbers.message_id(assignment.key, "deliver")
        if message_id != first:
            message["In-Reply-To"] = first
            message["References"] = first
        message["Auto-Submitted"] = "auto-generated"
        if assignment.severity is Severity.URGENT:
            message["Importance"] = "high"
        message.set_content(_text(intro, rows), charset="utf-8", cte="base64")
        message.add_alternative(_html(intro, rows), subtype="html", charset="utf-8", cte="base64")
        others = (*self._cc, self._address) if self._copy else self._cc
        return Letter(message=message, message_id=message_id, to=to, others=others, copy=self._copy)


def _policy() -> EmailPolicy[EmailMessage]:
    """SMTP's, but long Message-IDs stay as they are: encoded words there would break the thread."""
    headers = HeaderRegistry()
    for name in ("in-reply-to", "references"):
        headers.map_to_type(name, cast(type[BaseHeader], MessageIDHeader))
    return SMTP.clone(header_factory=headers)


def one_line(text: str) -> str:
    """Without line breaks, control and direction characters: fit for a header."""
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode().strip()


def _rows(assignment: Assignment) -> list[tuple[str, str]]:
    times = (("请于此前受理", assignment.accept_by), ("请于此前办结", assignment.finish_by))
    rows = [
        ("编号", ticket_of(assignment.key)),
        ("事项", assignment.title),
        ("分类", assignment.category_name),
        ("地点", " ".join((*assignment.area_path, assignment.place or "")).strip()),
        ("坐标", "" if assignment.position is None else assignment.position.line()),
        ("紧急程度", _SEVERITY[assignment.severity]),
        ("内容", assignment.text),
        ("办理要求", assignment.task or ""),
        ("上报时间", _moment(assignment.reported_at)),
        *((name, _moment(at)) for name, at in times if at is not None),
        ("系统编号", assignment.key),
    ]
    return [(name, value) for name, value in rows if value]


def _moment(at: datetime) -> str:
    local = at.astimezone(_ZONE)
    return f"{local.year}年{local.month}月{local.day}日 {local:%H:%M}"


def _text(intro: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"{name}：{value}" for name, value in rows]
    return "\n".join([ABOVE, "", intro, "", *lines, "", _HOW, ""])


def _html(intro: str, rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        '<tr><th align="left" valign="top" style="padding:4px 12px 4px 0;white-space:nowrap">'
        f'{html.escape(name)}</th><td style="padding:4px 0">{_lines(value)}</td></tr>'
        for name, value in rows
    )
    return (
        '<!DOCTYPE html><html lang="zh-CN"><body style="font-family:sans-serif">'
        f'<p style="color:#888">{ABOVE}</p><p>{_lines(intro)}</p><table>{cells}</table><p>{html.escape(_HOW)}</p></body></html>'
    )


def _lines(text: str) -> str:
    return "<br>".join(html.escape(line) for line in text.splitlines())
