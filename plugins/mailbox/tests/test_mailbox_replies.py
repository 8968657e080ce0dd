"""Pure: what a mail means: reports, attachments, bounces, machines."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hub_mailbox.numbers import Numbers, ticket_of
from hub_mailbox.reading import Limits, bounce_of, is_bounce, parsed, report_of, why_automatic
from hub_mailbox.settings import WORDS
from hypothesis import given
from hypothesis import strategies as st

from hub import Feedback, FeedbackKind

KEY = "320113001001001-0123456789abcdef.a1"
NUMBERS = Numbers(b"secret", "hub.example.gov.cn")
OURS = NUMBERS.message_id(KEY, "deliver")
CLERK = "clerk@dept.example.gov.cn"
OWN = "dispatch@hub.example.gov.cn"
NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
FEW = Limits(attachment_bytes=1000, attachments=2)


def reply(text: str = "已办结", **headers: str) -> EmailMessage:
    message = EmailMessage()
    given = {"From": "clerk@dept.example.gov.cn", "Subject": "回复", "Message-ID": "<1@dept>", "In-Reply-To": OURS, **headers}
    for name, value in given.items():
        if value:
            message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


def read(message: EmailMessage, *, limits: Limits = FEW, whole: bool = True) -> Feedback:
    report = report_of(parsed(message.as_bytes()), NUMBERS, WORDS, limits, whole=whole, now=NOW)
    assert report is not None
    return report


def bounce(
    action: str = "failed", recipient: str = "clerk@dept.example.gov.cn", original: str = OURS, kind: str = "rfc822"
) -> bytes:
    heads = f"Message-ID: {original}\r\nSubject: x\r\n\r\n"
    part = "message/rfc822" if kind == "rfc822" else "text/rfc822-headers"
    return (
        "From: MAILER-DAEMON@mx.hub.example.gov.cn\r\nSubject: Undelivered Mail\r\nMessage-ID: <b1@mx>\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nsorry\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 User unknown\r\n\r\n"
        f"--b\r\nContent-Type: {part}\r\n\r\n{heads}--b--\r\n"
    ).encode()


def test_reply_is_matched_by_what_it_answers_and_else_by_the_number_in_its_subject() -> None:
    assert read(reply()).key == KEY
    assert read(reply(In_Reply_To="", References=f"<x@y> {OURS}", **{"In-Reply-To": ""})).key == KEY
    by_subject = read(reply(**{"In-Reply-To": "", "Subject": f"答复：[派单 {KEY} x]"}))
    assert (by_subject.key, by_subject.ticket) == (KEY, None)
    by_ticket = read(reply(**{"In-Reply-To": "", "Subject": f"关于 {ticket_of(KEY)}"}))
    assert (by_ticket.key, by_ticket.ticket) == (None, ticket_of(KEY))
    stranger = parsed(reply(**{"In-Reply-To": ""}).as_bytes())
    assert report_of(stranger, NUMBERS, WORDS, FEW, whole=True, now=NOW) is None


def test_same_mail_has_the_same_id_and_another_another() -> None:
    assert read(reply()).id == read(reply()).id
    assert read(reply()).id != read(reply(**{"Message-ID": "<2@dept>"})).id
    assert read(reply()).id != read(reply("退回")).id


@pytest.mark.parametrize(
    ("date", "at"),
    [
        ("Mon, 23 Nov 2026 14:00:00 +0800", datetime(2026, 11, 23, 6, 0, tzinfo=UTC)),
        ("Mon, 23 Nov 2026 06:00:00 -0000", datetime(2026, 11, 23, 6, 0, tzinfo=UTC)),
        ("Mon, 23 Nov 2099 14:00:00 +0800", None),
        ("Thu, 01 Jan 1970 00:00:00 +0000", None),
    ],
)
def test_time_is_that_of_the_mail_where_it_can_be_believed(date: str, at: datetime | None) -> None:
    assert read(reply(Date=date)).at == at


def test_time_that_is_none_is_left_out() -> None:
    raw = reply().as_bytes().replace(b"Subject:", b"Date: yesterday\nSubject:", 1)
    report = report_of(parsed(raw), NUMBERS, WORDS, Limits(attachment_bytes=1, attachments=1), whole=True, now=NOW)
    assert report is not None
    assert report.at is None


def test_html_only_mail_of_an_old_client_is_read() -> None:
    body = base64.encodebytes("<p>退回：不属本单位</p><blockquote>原文</blockquote>".encode("gbk")).decode()
    raw = (
        f"In-Reply-To: {OURS}\r\nContent-Type: text/html; charset=gb2312\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}"
    ).encode()
    report = report_of(parsed(raw), NUMBERS, WORDS, Limits(attachment_bytes=1, attachments=1), whole=True, now=NOW)
    assert report is not None
    assert (report.kind, report.note) == (FeedbackKind.RETURNED, "退回：不属本单位")


def test_attachments_come_once_each_and_within_limits() -> None:
    message = reply()
    for name, content in (
        ("a.jpg", b"x" * 900),
        ("again.jpg", b"x" * 900),
        ("big.jpg", b"y" * 1001),
        ("b.jpg", b"z"),
        ("c.jpg", b"w"),
    ):
        message.add_attachment(content, maintype="image", subtype="jpeg", filename=name)
    message.add_attachment(b"", maintype="image", subtype="jpeg", filename="empty.jpg")
    report = read(message)
    assert [(file.name, file.media_type, file.content) for file in report.files] == [
        ("a.jpg", "image/jpeg", b"x" * 900),
        ("b.jpg", "image/jpeg", b"z"),
    ]
    assert report.note is not None
    assert report.note.splitlines() == [
        "已办结",
        "（附件“big.jpg”超过大小限制，未接收，请在邮箱中查看）",
        "（附件“c.jpg”超过数量限制，未接收，请在邮箱中查看）",
    ]


def test_logo_in_a_signature_is_no_photo_and_a_forwarded_mail_is_not_opened() -> None:
    message = reply()
    message.add_attachment(b"logo", maintype="image", subtype="png", filename="logo.png", disposition="inline", cid="<l@x>")
    message.add_attachment(
        b"p" * 30_000, maintype="image", subtype="png", filename="photo.png", disposition="inline", cid="<p@x>"
    )
    message.add_attachment(reply("其他"), filename="old.eml")
    message.add_attachment(b"nameless", maintype="application", subtype="pdf")
    files = read(message, limits=Limits(attachment_bytes=10**6, attachments=9)).files
    assert [(file.name, len(file.content)) for file in files] == [("photo.png", 30_000), ("附件4", 8)]


def test_mail_without_new_words_says_so() -> None:
    assert read(reply("> 原文")).note == "（来信没有新写的内容）"
    message = reply(" ")
    message.add_attachment(b"x", maintype="image", subtype="png", filename="a.png")
    assert read(message).note == "（来信没有正文）"


def test_mail_too_large_is_read_without_its_files() -> None:
    message = reply()
    message.add_attachment(b"x", maintype="image", subtype="png", filename="a.png")
    report = read(message, whole=False)
    assert report.files == ()
    assert report.note == "已办结\n（邮件过大，附件未接收，请在邮箱中查看）"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Auto-Submitted": "auto-replied; owner-email=x"}, "Auto-Submitted"),
        ({"Precedence": "bulk"}, "Precedence"),
        ({"X-Autoreply": "yes"}, "X-Autoreply"),
        ({"Return-Path": "<>"}, "Return-Path"),
        ({"Subject": "自动回复: 受理"}, "Subject"),
        ({"Subject": "Automatic reply: x"}, "Subject"),
        ({"Auto-Submitted": "no"}, None),
        ({}, None),
    ],
)
def test_machine_is_told_from_a_person(headers: dict[str, str], reason: str | None) -> None:
    assert why_automatic(parsed(reply(**headers).as_bytes())) == reason


def test_read_receipt_is_a_machine() -> None:
    raw = b"From: a@b\r\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b--\r\n"
    assert why_automatic(parsed(raw)) == "multipart/report"
    assert not is_bounce(parsed(raw))


@pytest.mark.parametrize("kind", ["rfc822", "headers"])
def test_bounce_gives_the_assignment_back_with_its_reason(kind: str) -> None:
    message = parsed(bounce(kind=kind))
    assert is_bounce(message)
    report = bounce_of(message, NUMBERS, OWN, NOW)
    assert report is not None
    assert (report.kind, report.key) == (FeedbackKind.RETURNED, KEY)
    assert report.note == "派单邮件被退回，未能送达：clerk@dept.example.gov.cn 550 5.1.1 User unknown"


@pytest.mark.parametrize(
    "content",
    [
        bounce(action="delayed"),
        bounce(recipient=OWN.upper()),
        bounce(original="<stranger@x>"),
        bounce(original=Numbers(b"other", "hub.example.gov.cn").message_id(KEY, "deliver")),
        bounce(original=NUMBERS.message_id(KEY, "urge", "x")),
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\n--b--",
    ],
)
def test_bounce_that_is_late_or_foreign_or_forged_gives_nothing_back(content: bytes) -> None:
    assert bounce_of(parsed(content), NUMBERS, OWN, NOW) is None


@given(st.binary(max_size=400))
def test_any_bytes_are_some_mail(tail: bytes) -> None:
    raw = f"In-Reply-To: {OURS}\r\n".encode() + tail
    message = parsed(raw)
    why_automatic(message)
    is_bounce(message)
    report_of(message, NUMBERS, WORDS, Limits(attachment_bytes=1, attachments=1), whole=True, now=NOW)
