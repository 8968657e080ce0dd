"""Pure: numbers, decoding, quotes, trust, letters, settings."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from hub_mailbox.decoding import body_of, file_name_of, header_of, text_of, words_of
from hub_mailbox.letters import ABOVE, Letters
from hub_mailbox.numbers import Numbers, is_key, key_in_subject, ticket_in_subject, ticket_of
from hub_mailbox.quoting import newly_written, text_of_html
from hub_mailbox.reading import kind_of
from hub_mailbox.settings import WORDS, MailboxSettings
from hub_mailbox.trust import is_allowed, sender_of, why_not_genuine
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import ValidationError

from hub import FeedbackKind, Severity
from hub.testing.kit import sample_assignment

KEY = "320113001001001-0123456789abcdef.a1"
NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
NUMBERS = Numbers(b"secret", "hub.example.gov.cn")
SERVER: dict[str, Any] = {"host": "127.0.0.1", "port": 25, "security": "none", "username": "u", "password": "p"}
SETTINGS: dict[str, Any] = {
    "smtp": SERVER,
    "imap": SERVER,
    "address": "dispatch@hub.example.gov.cn",
    "to": "clerk@dept.example.gov.cn",
    "senders": ["clerk@dept.example.gov.cn"],
    "authenticated_by": "mx.hub.example.gov.cn",
}


def letters(**changes: Any) -> Letters:
    given = {"address": "dispatch@hub.example.gov.cn", "display_name": "指挥中心", "cc": (), "copy": True, **changes}
    return Letters(NUMBERS, **given)


def mail(text: str, **headers: str) -> Message:
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return message_from_bytes(f"{head}\r\n{text}".encode())


# numbers


def test_same_key_has_the_same_message_id_and_another_key_another() -> None:
    assert NUMBERS.message_id(KEY, "deliver") == NUMBERS.message_id(KEY, "deliver")
    assert NUMBERS.message_id(KEY, "deliver") != NUMBERS.message_id(KEY[:-1] + "2", "deliver")
    assert ticket_of(KEY) == ticket_of(KEY) != ticket_of(KEY[:-1] + "2")


def test_reference_gives_the_key_back_whatever_the_mail_was_about() -> None:
    for verb, detail in (("deliver", ""), ("urge", "请尽快"), ("recall", "")):
        assert NUMBERS.key_of_reference(["<other@x>", NUMBERS.message_id(KEY, verb, detail)], genuine=True) == KEY


def test_made_up_reference_is_not_genuine() -> None:
    forged = Numbers(b"other", "hub.example.gov.cn").message_id(KEY, "deliver")
    assert NUMBERS.key_of_reference([forged]) == KEY
    assert NUMBERS.key_of_reference([forged], genuine=True) is None


@pytest.mark.parametrize("key", ["", "a.b", KEY + "\r\nBcc: x@y", "320113-x.a1"])
def test_key_of_another_form_gets_no_message_id(key: str) -> None:
    with pytest.raises(ValueError, match="not a delivery key"):
        NUMBERS.message_id(key, "deliver")


def test_numbers_are_found_in_a_subject_people_wrote() -> None:
    assert key_in_subject(f"答复: 回复：[派单 {KEY} {ticket_of(KEY)}] 下水道") == KEY
    assert ticket_in_subject(f"关于{ticket_of(KEY).lower()}的办理情况") == ticket_of(KEY)
    assert key_in_subject("下水道") is ticket_in_subject("下水道") is None


# decoding


def test_gb2312_that_is_really_gb18030_is_read() -> None:
    assert text_of("朱镕基，㐀".encode("gb18030"), "GB2312") == "朱镕基，㐀"
    assert text_of("办结".encode("gb18030"), None) == "办结"
    assert text_of("办结".encode(), "no-such-charset") == "办结"
    assert text_of("办结".encode("hz"), "hz-gb-2312") == "办结"
    assert "\ufffd" in text_of(b"\xff\xff", "gb2312")


def test_header_words_of_any_kind_are_read() -> None:
    half, other = "办结".encode("gb2312")[:3], "办结".encode("gb2312")[3:]
    cut = " ".join(f"=?gb2312?B?{base64.b64encode(part).decode()}?=" for part in (half, other))
    assert words_of(cut) == "办结"
    assert words_of("=?utf-8?q?=E5=8A=9E?= and =?gbk?B?veE=?=") == "办 and 结"
    assert words_of("=?utf-8?B?!!!?=") == ""
    assert header_of(message_from_bytes(b"Subject: " + "回复办结".encode("gb18030") + b"\r\n\r\n"), "Subject") == "回复办结"
    assert header_of(message_from_bytes(b"\r\n"), "Subject") == ""


def test_names_of_attachments_hold_no_folders() -> None:
    def named(line: str) -> str:
        return file_name_of(message_from_bytes(f"Content-Type: image/png\r\n{line}\r\n\r\n".encode()))

    assert named("Content-Disposition: attachment; filename*=gb18030''%D5%D5%C6%AC.png") == "照片.png"
    assert named('Content-Disposition: attachment; filename="../../etc/passwd"') == "passwd"
    assert named('Content-Disposition: attachment; filename="=?gbk?B?1dXGrA==?=.png"') == "照片.png"
    assert named("Content-Disposition: attachment") == ""


@given(st.binary(max_size=200), st.one_of(st.none(), st.text(max_size=12)))
def test_any_bytes_are_read_as_some_text(content: bytes, charset: str | None) -> None:
    assert "\0" not in text_of(content, charset)


@given(st.text(max_size=200))
def test_any_header_is_read(raw: str) -> None:
    assert "\n" not in words_of(raw)


# quotes and signatures


@pytest.mark.parametrize(
    "tail",
    [
        "------------------ 原始邮件 ------------------\n发件人: x",
        "发件人: 指挥中心 <a@b>\n发送时间: 2026年11月23日",
        "在 2026年11月23日 14:30，指挥中心 <a@b> 写道：\n> 请尽快",
        "On Mon, Nov 23, 2026 at 2:30 PM Hub <a@b> wrote:\n> x",
        "> 引用",
        "发自我的iPhone",
        "-- \n张三\n电话",
        f"{ABOVE}\n您好，现将以下事项派给贵单位",
        "________________________________\nFrom: x",
        "---- 回复的原邮件 ----\n| 发件人 |",
        "-----邮件原件-----\nx",
    ],
)
def test_only_what_is_newly_written_is_read(tail: str) -> None:
    assert newly_written(f"已办结\r\n\r\n管道已疏通。\r\n\r\n{tail}") == "已办结\n\n管道已疏通。"


def test_html_is_read_without_quotes_scripts_and_styles() -> None:
    markup = (
        "<html><head><style>p{}</style></head><body><div>已办结</div><p>管道&nbsp;已疏通<br>谢谢</p><script>x</script>"
        '<blockquote><p>原文<br></p></blockquote><div class="gmail_quote">引用<div>更多</div></div></p></i>完'
    )
    assert newly_written(text_of_html(markup)) == "已办结\n\n管道 已疏通\n谢谢\n\n完"


@given(st.text(max_size=300))
def test_any_text_and_markup_is_read(text: str) -> None:
    newly_written(text)
    text_of_html(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("受理。", FeedbackKind.ACCEPTED),
        ("【已办结】管道已疏通", FeedbackKind.RESOLVED),
        ("不受理，不归我们管", FeedbackKind.RETURNED),
        ("不予受理", FeedbackKind.RETURNED),
        ("退回：无管辖权", FeedbackKind.RETURNED),
        ("  处理中", FeedbackKind.PROGRESS),
        ("您好，已办结", FeedbackKind.PROGRESS),
        ("", FeedbackKind.PROGRESS),
    ],
)
def test_first_words_say_what_is_reported(text: str, kind: FeedbackKind) -> None:
    assert kind_of(text, WORDS) is kind


# trust

SENDER = "clerk@dept.example.gov.cn"
MX = "mx.hub.example.gov.cn"


@pytest.mark.parametrize(
    "results",
    [
        f"{MX}; spf=pass smtp.mailfrom={SENDER}",
        f"{MX}; spf=pass (sender SPF authorized) smtp.mailfrom=dept.example.gov.cn",
        f"{MX.upper()}; spf=fail; dkim=pass (2048-bit key) header.d=dept.example.gov.cn header.s=s1",
        f"{MX} 1; dkim=pass header.i=@dept.example.gov.cn",
        f"{MX}; dmarc=pass (p=REJECT) header.from=dept.example.gov.cn",
    ],
)
def test_sender_our_server_vouches_for_is_believed(results: str) -> None:
    assert why_not_genuine(mail("", Authentication_Results=results), SENDER, MX) is None


@pytest.mark.parametrize(
    "results",
    [
        f"{MX}; none",
        MX,
        f"{MX}; spf=pass smtp.mailfrom=x@evil.example",
        f"{MX}; dkim=pass header.d=evil.example; spf=softfail smtp.mailfrom={SENDER}",
        f"{MX}; spf=fail (x) smtp.mailfrom={SENDER}; dmarc=fail header.from=dept.example.gov.cn",
        f"{MX}; dmarc=pass",
        f'{MX}; spf=pass smtp.mailfrom="x; dkim=pass header.d=dept.example.gov.cn; y"@evil.example',
        f"{MX}; spf=none (a \\) b; dkim=pass header.d=dept.example.gov.cn (c)) smtp.mailfrom=evil.example",
        "mx.evil.example; dkim=pass header.d=dept.example.gov.cn",
        f"{MX}; reason=dkim=pass header.d=dept.example.gov.cn",
    ],
)
def test_sender_nobody_vouches_for_is_not_believed(results: str) -> None:
    assert why_not_genuine(mail("", Authentication_Results=results), SENDER, MX) is not None


def test_only_the_topmost_result_of_our_server_counts() -> None:
    raw = f"Authentication-Results: {MX}; spf=fail\r\nAuthentication-Results: {MX}; dmarc=pass header.from=dept.example.gov.cn\r\n\r\n"
    assert why_not_genuine(message_from_bytes(raw.encode()), SENDER, MX) is not None
    assert why_not_genuine(mail(""), SENDER, MX) is not None
    assert why_not_genuine(mail(""), SENDER, None) is None


def test_sender_is_one_plain_address() -> None:
    assert sender_of(mail("", From=f"=?gbk?B?1dXGrA==?= <{SENDER.upper()}>")) == SENDER
    assert sender_of(mail("", From=f'"{SENDER}" <x@evil.example>')) == "x@evil.example"
    assert sender_of(mail("", From=f"{SENDER}, x@evil.example")) is None
    assert sender_of(message_from_bytes(f"From: {SENDER}\r\nFrom: x@evil.example\r\n\r\n".encode())) is None
    for opened in (1500, 100_000):  # the parser goes down a level for each
        assert sender_of(message_from_bytes(f"From: {'(' * opened}{SENDER}\r\n\r\n".encode())) is None
    assert sender_of(mail("", From="nobody")) is sender_of(mail("")) is None
    assert is_allowed(SENDER, ("@dept.example.gov.cn",))
    assert not is_allowed("x@sub.dept.example.gov.cn", ("@dept.example.gov.cn",))


# letters


def test_mail_of_an_assignment_says_everything_in_text_and_html() -> None:
    assignment = replace(sample_assignment(), key=KEY, severity=Severity.URGENT, text="积水<b>20</b>厘米\n请处理")
    letter = letters(cc=("boss@dept.example.gov.cn",)).assignment(assignment, SENDER, NOW)
    message = message_from_bytes(letter.message.as_bytes())
    assert header_of(message, "Subject") == f"[派单 {KEY} {ticket_of(KEY)}] 小区门口下水道堵塞"
    assert message["Message-ID"] == letter.message_id == NUMBERS.message_id(KEY, "deliver")
    assert (message["Auto-Submitted"], message["Importance"], message["In-Reply-To"]) == ("auto-generated", "high", None)
    bodies = {part.get_content_type(): body_of(part) for part in message.walk()}
    plain, marked = bodies["text/plain"], bodies["text/html"]
    assert "尧化街道" in plain
    assert "积水&lt;b&gt;20&lt;/b&gt;厘米<br>请处理" in marked
    assert letter.others == ("boss@dept.example.gov.cn", "dispatch@hub.example.gov.cn")
    assert not letters(copy=False).assignment(assignment, SENDER, NOW).others


def test_urge_and_recall_answer_the_mail_of_the_assignment() -> None:
    assignment = replace(sample_assignment(), key=KEY)
    for letter in (letters().urge(assignment, SENDER, "请尽快", NOW), letters().recall(assignment, SENDER, "重复", NOW)):
        assert letter.message["In-Reply-To"] == letter.message["References"] == NUMBERS.message_id(KEY, "deliver")
        assert letter.message_id != NUMBERS.message_id(KEY, "deliver")


@given(st.text(max_size=120), st.text(max_size=40))
def test_no_text_of_a_case_gets_into_another_header(title: str, name: str) -> None:
    assignment = replace(sample_assignment(), key=KEY, title=title, text=title, place=title, task=title)
    content = letters(display_name=name).assignment(assignment, SENDER, NOW).message.as_bytes()
    head = message_from_bytes(content)
    assert set(head.keys()) == {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
    assert content.isascii()
    assert key_in_subject(header_of(head, "Subject")) == KEY


def test_line_break_in_a_title_makes_no_header() -> None:
    assignment = replace(sample_assignment(), key=KEY, title="x\r\nBcc: all@example.com\r\n\r\nbody")
    message = message_from_bytes(letters().assignment(assignment, SENDER, NOW).message.as_bytes())
    assert message["Bcc"] is None


# settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"authenticated_by": None}, "anybody could close cases"),
        ({"to": None}, "nobody to write to"),
        ({"senders": ["@hub.example.gov.cn"]}, "our own address"),
        ({"senders": ["Clerk <a@b>"]}, "neither an address"),
        ({"senders": []}, "at least 1"),
        ({"to": "a@b\r\nBcc: c@d"}, "not a plain address"),
        ({"units": {"water": "x"}}, "not a plain address"),
        ({"smtp": {**SERVER, "host": "mail.example.com"}}, "loopback only"),
        ({"imap": {**SERVER, "ca_file": "/nowhere/ca.pem"}}, "does not point to a file"),
    ],
)
def test_settings_that_can_do_harm_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MailboxSettings.model_validate({**SETTINGS, **changes})


def test_settings_of_a_closed_mail_system_are_taken() -> None:
    changes = {"authenticated_by": None, "trust_from": True, "to": None, "units": {"water": "W@x.cn"}, "cc": ["b@x.cn"]}
    settings = MailboxSettings.model_validate({**SETTINGS, **changes, "smtp": {**SERVER, "host": "localhost"}})
    assert (settings.recipient("water"), settings.recipient("gas")) == ("W@x.cn", None)
    assert "'p'" not in repr(settings)
    assert is_key(KEY)
