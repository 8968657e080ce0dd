"""The adapter against a running mail server: what counts in the mailbox, how answers are settled, TLS."""

from __future__ import annotations

import imaplib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any, cast

import httpx
import pytest
import structlog
from hub_mailbox import MailboxAdapter
from hub_mailbox.numbers import ticket_of
from hub_mailbox.simulator import CLERK_ADDRESS, HUB_ADDRESS, SERVER_NAME, adapter_settings
from msgspec.structs import replace

from hub import (
    Adapter,
    AdapterFault,
    Assignment,
    CredentialsRejected,
    Crosswalk,
    Feedback,
    FeedbackKind,
    OutcomeUnknown,
    Refused,
    Standing,
    StandingState,
    Unavailable,
)
from hub.contract import Context, WordTable
from hub.platform.adapters.outbound import departmental_client
from hub.testing.kit import MemoryStore, running_adapter, sample_assignment
from hub.testing.process import SimulatorProcess

SECRET = "mailbox-test-secret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    data = tmp_path_factory.mktemp("mail")
    with SimulatorProcess("hub_mailbox.simulator", data, secret=SECRET, options=("--pace", "600")) as process:
        yield process


@pytest.fixture
def department(server: SimulatorProcess) -> SimulatorProcess:
    server.clear_faults()
    return server


@pytest.fixture
def open_adapter(department: SimulatorProcess) -> Callable[..., Any]:
    def opened(store: MemoryStore | None = None, **changes: Any) -> Any:
        return running_adapter(MailboxAdapter, {**adapter_settings(department.url, SECRET), **changes}, store=store)

    return opened


@pytest.fixture
async def adapter(open_adapter: Callable[..., Any]) -> AsyncIterator[Adapter]:
    async with open_adapter() as adapter:
        yield adapter


def put(server: SimulatorProcess, content: bytes) -> int:
    answer = httpx.post(f"{server.url}/_sim/mail", content=content, timeout=10, trust_env=False)
    answer.raise_for_status()
    return int(answer.json()["uid"])


def reply(assignment: Assignment, text: str = "已办结", **headers: str) -> bytes:
    message = EmailMessage()
    given = {
        "Authentication-Results": f"{SERVER_NAME}; spf=pass smtp.mailfrom={CLERK_ADDRESS}",
        "From": CLERK_ADDRESS,
        "Subject": f"回复：[派单 {assignment.key} {ticket_of(assignment.key)}]",
        "Message-ID": f"<{assignment.key}.{len(text)}@department.example.gov.cn>",
        **headers,
    }
    for name, value in given.items():
        message[name] = value
    message.set_content(text)
    return message.as_bytes()


async def polled(adapter: Adapter, cursor: str | None = None) -> tuple[list[Feedback], str | None]:
    reports: list[Feedback] = []
    while True:
        poll = await adapter.poll(cursor)
        reports += [item for item in poll.items if isinstance(item, Feedback)]
        cursor = poll.cursor
        if not poll.more:
            return reports, cursor


def of(reports: Sequence[Feedback], assignment: Assignment) -> list[FeedbackKind]:
    return [report.kind for report in reports if report.key == assignment.key]


def mails(server: SimulatorProcess) -> list[tuple[int, bytes, bytes]]:
    """UID, flags and content of all mails, as the standard library's own client sees them."""
    ports = httpx.get(f"{server.url}/_sim/mail", timeout=10, trust_env=False).json()
    with imaplib.IMAP4("127.0.0.1", ports["imap"], timeout=10) as client:
        client.login(HUB_ADDRESS, SECRET)
        client.xatom("ID", "NIL")
        assert client.list()[0] == "OK"
        assert client.select("INBOX", readonly=True)[0] == "OK"
        found = []
        for uid in client.uid("SEARCH", "ALL")[1][0].split():
            parts = client.uid("FETCH", uid.decode(), "(FLAGS BODY.PEEK[])")[1]
            found.append((int(uid), parts[0][0], parts[0][1]))
    return found


# what counts


async def test_reply_of_the_department_counts_and_nobody_elses(adapter: Adapter, department: SimulatorProcess) -> None:
    assignment = sample_assignment()
    _, start = await polled(adapter)
    put(department, reply(assignment, From="mallory@evil.example"))
    put(department, reply(assignment, **{"Authentication-Results": f"{SERVER_NAME}; spf=fail"}))
    put(
        department,
        reply(assignment, **{"Authentication-Results": "mx.evil.example; dmarc=pass header.from=department.example.gov.cn"}),
    )
    put(department, reply(assignment, "受理", **{"Auto-Submitted": "auto-replied"}))
    put(department, reply(assignment, "无编号", Subject="关于下水道"))
    reports, cursor = await polled(adapter, start)
    assert reports == []
    put(department, reply(assignment))
    reports, _ = await polled(adapter, cursor)
    assert of(reports, assignment) == [FeedbackKind.RESOLVED]


async def test_bounce_of_our_mail_gives_the_assignment_back(adapter: Adapter, department: SimulatorProcess) -> None:
    assignment = sample_assignment()
    await adapter.deliver(assignment)
    _, start = await polled(adapter)
    ours = next(content for _, _, content in reversed(mails(department)) if assignment.key.encode() in content)
    head = f"From: MAILER-DAEMON@{SERVER_NAME}\r\nMessage-ID: <bounce@mx>\r\n"
    head += "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
    status = (
        f"Reporting-MTA: dns; mx\r\n\r\nFinal-Recipient: rfc822; {CLERK_ADDRESS}\r\nAction: failed\r\nStatus: 5.2.2\r\n\r\n"
    )
    parts = f"--b\r\nContent-Type: message/delivery-status\r\n\r\n{status}--b\r\nContent-Type: message/rfc822\r\n\r\n".encode()
    put(department, head.encode() + parts + ours + b"\r\n--b--\r\n")
    (report,), _ = await polled(adapter, start)
    assert (report.kind, report.key) == (FeedbackKind.RETURNED, assignment.key)
    assert report.note is not None
    assert "5.2.2" in report.note


async def test_nothing_in_the_mailbox_is_marked_or_deleted(adapter: Adapter, department: SimulatorProcess) -> None:
    put(department, reply(sample_assignment()))
    before = mails(department)
    await polled(adapter)
    assert mails(department) == before
    assert all(b"Seen" not in flags for _, flags, _ in before)


async def test_mailbox_numbered_anew_brings_the_same_ids(adapter: Adapter, department: SimulatorProcess) -> None:
    put(department, reply(sample_assignment()))
    first, cursor = await polled(adapter)
    assert (await polled(adapter, cursor))[0] == []
    department.control("POST", "/_sim/renumber")
    again, _ = await polled(adapter, cursor)
    assert [report.id for report in again] == [report.id for report in first] != []


async def test_mails_come_in_batches(open_adapter: Callable[..., Any], department: SimulatorProcess) -> None:
    async with open_adapter(batch=2) as adapter:
        _, start = await polled(adapter)
        wanted = [sample_assignment() for _ in range(5)]
        for assignment in wanted:
            put(department, reply(assignment))
        poll = await adapter.poll(start)
        assert (len(poll.items), poll.more) == (2, True)
        reports, _ = await polled(adapter, start)
        assert [report.key for report in reports] == [assignment.key for assignment in wanted]


async def test_large_mail_is_read_without_its_attachments(
    open_adapter: Callable[..., Any], department: SimulatorProcess
) -> None:
    assignment = sample_assignment()
    message = message_from_bytes(reply(assignment))
    big = EmailMessage()
    for name, value in message.items():
        if not name.lower().startswith(("content-", "mime-")):
            big[name] = "".join(value.splitlines())
    big.set_content("已办结")
    big.add_attachment(b"x" * 400_000, maintype="image", subtype="jpeg", filename="a.jpg")
    async with open_adapter(message_max_bytes=65_536) as adapter:
        _, start = await polled(adapter)
        put(department, big.as_bytes())
        (report,), _ = await polled(adapter, start)
    assert (report.kind, report.files) == (FeedbackKind.RESOLVED, ())
    assert report.note is not None
    assert "附件未接收" in report.note


async def test_words_of_the_settings_and_of_the_crosswalk_count(department: SimulatorProcess) -> None:
    settings = {**adapter_settings(department.url, SECRET), "words": {"搞定": "resolved"}}
    words = WordTable(Crosswalk(statuses={"不归我管": FeedbackKind.RETURNED}))
    async with departmental_client("mailbox", timeout=1) as http:
        context = Context(
            instance="m", http=http, store=MemoryStore(), log=structlog.get_logger(), callback_url="http://x", words=words
        )
        adapter = MailboxAdapter(MailboxAdapter.Settings.model_validate(settings), context)
        await adapter.start()
        try:
            _, start = await polled(adapter)
            put(department, reply(sample_assignment(), "搞定了"))
            put(department, reply(sample_assignment(), "不归我管，请派交警"))
            reports, _ = await polled(adapter, start)
        finally:
            await adapter.stop()
    assert [report.kind for report in reports] == [FeedbackKind.RESOLVED, FeedbackKind.RETURNED]


@pytest.mark.parametrize("cursor", ["", "7", "a.b", "1.-2", "１.２"])
async def test_cursor_of_another_form_is_a_fault(cursor: str, adapter: Adapter) -> None:
    with pytest.raises(AdapterFault):
        await adapter.poll(cursor)


# reconciliation


async def audited(adapter: Adapter) -> dict[str, Standing]:
    found: dict[str, Standing] = {}
    cursor: str | None = None
    while True:
        page = await adapter.audit(cursor)
        found |= {standing.ticket: standing for standing in page.items}
        cursor = page.cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("proof", ["copy", "sent"])
async def test_standings_are_those_of_the_mails_in_the_mailbox(
    proof: str, open_adapter: Callable[..., Any], department: SimulatorProcess
) -> None:
    filed, resolved, returned, recalled = (sample_assignment() for _ in range(4))
    store = MemoryStore()
    async with open_adapter(store) as adapter:
        for assignment in (filed, resolved, returned, recalled):
            await adapter.deliver(assignment)
        await adapter.urge(filed, "请尽快")
        await adapter.recall(recalled, "重复")
    put(department, reply(resolved))
    put(department, reply(resolved, "处理中，晚到的进展"))
    put(department, reply(returned, "退回"))
    put(department, reply(filed, From="mallory@evil.example"))
    async with open_adapter(store, proof=proof, batch=3) as adapter:
        found = await audited(adapter)
    assert [found[ticket_of(assignment.key)].state for assignment in (filed, resolved, returned, recalled)] == [
        StandingState.FILED,
        StandingState.RESOLVED,
        StandingState.RETURNED,
        StandingState.RECALLED,
    ]


async def test_without_copies_there_is_nothing_to_compare(open_adapter: Callable[..., Any]) -> None:
    async with open_adapter(proof="none") as adapter:
        with pytest.raises(Refused, match="对账"):
            await adapter.audit(None)


@pytest.mark.parametrize("cursor", ["", "9.1.1", "0.x.1", "-1.1.1"])
async def test_cursor_of_the_audit_of_another_form_is_a_fault(cursor: str, adapter: Adapter) -> None:
    with pytest.raises(AdapterFault):
        await adapter.audit(cursor)


# what goes out


async def test_urge_and_recall_stand_in_the_thread_of_the_assignment(adapter: Adapter, department: SimulatorProcess) -> None:
    assignment = sample_assignment()
    await adapter.deliver(assignment)
    await adapter.urge(assignment, "请尽快处理")
    await adapter.recall(assignment, "重复派单")
    sent = [message_from_bytes(content) for _, _, content in mails(department) if assignment.key.encode() in content]
    first, *others = sent
    assert [message["In-Reply-To"] for message in others] == [first["Message-ID"]] * 2


async def test_unit_decides_the_address(open_adapter: Callable[..., Any]) -> None:
    async with open_adapter(to=None, units={"water": CLERK_ADDRESS}) as adapter:
        await adapter.deliver(sample_assignment(unit="water"))
        with pytest.raises(Refused, match="police"):
            await adapter.deliver(sample_assignment(unit="police"))


async def test_key_of_another_form_is_no_header(adapter: Adapter) -> None:
    strange = replace(sample_assignment(), key="x\r\nBcc: a@b")
    with pytest.raises(AdapterFault):
        await adapter.deliver(strange)
    assert await adapter.lookup(strange) is None


async def test_address_the_server_does_not_know_is_refused_with_its_words(open_adapter: Callable[..., Any]) -> None:
    async with open_adapter(to="nobody@department.example.gov.cn") as adapter:
        with pytest.raises(Refused, match="550 5\\.1\\.1 User unknown"):
            await adapter.deliver(sample_assignment())


async def test_greylisting_server_says_how_long_to_wait(open_adapter: Callable[..., Any]) -> None:
    async with open_adapter(to="later@department.example.gov.cn") as adapter:
        with pytest.raises(Unavailable) as put_off:
            await adapter.deliver(sample_assignment())
    assert put_off.value.retry_after == timedelta(minutes=5)


async def test_sender_address_the_account_may_not_use_is_a_matter_of_credentials(open_adapter: Callable[..., Any]) -> None:
    async with open_adapter(address="other@hub.example.gov.cn") as adapter:
        with pytest.raises(CredentialsRejected, match="553"):
            await adapter.deliver(sample_assignment())


async def test_copy_the_server_does_not_want_keeps_no_mail_back(
    open_adapter: Callable[..., Any], department: SimulatorProcess
) -> None:
    async with open_adapter(cc=["nobody@department.example.gov.cn"]) as adapter:
        assignment = sample_assignment()
        receipt = await adapter.deliver(assignment)
    assert [ticket["ticket"] for ticket in department.tickets() if ticket["key"] == assignment.key] == [receipt.ticket]


# what becomes of a lost answer


async def test_missing_copy_may_still_turn_up_for_a_while(
    open_adapter: Callable[..., Any], department: SimulatorProcess
) -> None:
    store, assignment = MemoryStore(), sample_assignment()
    await store.put(f"sent.{assignment.key}", b'{"state":"begun","at":"%s"}' % datetime.now(UTC).isoformat().encode())
    async with open_adapter(store) as adapter:
        with pytest.raises(Unavailable) as waits:
            await adapter.lookup(assignment)
        assert waits.value.retry_after is not None
        with pytest.raises(Unavailable):
            await adapter.deliver(assignment)
    async with open_adapter(store, settle_seconds=0) as adapter:
        assert await adapter.lookup(assignment) is None
        receipt = await adapter.deliver(assignment)
    assert [ticket["ticket"] for ticket in department.tickets() if ticket["key"] == assignment.key] == [receipt.ticket]


async def test_mail_the_journal_forgot_is_found_by_its_copy(open_adapter: Callable[..., Any]) -> None:
    store, assignment = MemoryStore(), sample_assignment()
    async with open_adapter(store) as adapter:
        receipt = await adapter.deliver(assignment)
        await store.delete(f"sent.{assignment.key}")
        assert await adapter.lookup(assignment) == receipt


@pytest.mark.parametrize("proof", ["none", "sent"])
async def test_lost_answer_without_a_copy_is_for_an_operator_or_the_sent_folder(
    proof: str, open_adapter: Callable[..., Any], department: SimulatorProcess
) -> None:
    assignment = sample_assignment()
    async with open_adapter(proof=proof, settle_seconds=0) as adapter:
        assert await adapter.lookup(assignment) is None
        department.fault("timeout_after_accept", count=1)
        with pytest.raises(OutcomeUnknown):
            await adapter.deliver(assignment)
        if proof == "none":
            with pytest.raises(OutcomeUnknown, match="sent mail"):
                await adapter.lookup(assignment)
        else:
            assert await adapter.lookup(assignment) is None


async def test_lost_answer_whose_copy_was_refused_is_for_an_operator(
    open_adapter: Callable[..., Any], department: SimulatorProcess
) -> None:
    store, assignment = MemoryStore(), sample_assignment()
    async with open_adapter(store) as adapter:
        sender = cast(MailboxAdapter, adapter)._sender
        refused = AsyncRefusal(sender._other)
        sender._other = refused  # type: ignore[method-assign]
        department.fault("timeout_after_accept", count=1)
        with pytest.raises(OutcomeUnknown):
            await adapter.deliver(assignment)
        with pytest.raises(OutcomeUnknown):
            await adapter.lookup(assignment)


class AsyncRefusal:
    """The server takes no copy to our own address."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, session: Any, address: str) -> bool:
        return bool(await self.inner(session, "nobody@hub.example.gov.cn"))


async def test_damaged_journal_is_a_fault(open_adapter: Callable[..., Any]) -> None:
    store, assignment = MemoryStore(), sample_assignment()
    await store.put(f"sent.{assignment.key}", b"{}")
    async with open_adapter(store) as adapter:
        with pytest.raises(AdapterFault, match="damaged"):
            await adapter.deliver(assignment)


async def test_recall_of_a_mail_whose_outcome_was_unknown_is_sent_once_it_is_known(
    open_adapter: Callable[..., Any], department: SimulatorProcess
) -> None:
    async with open_adapter() as adapter:
        assignment = sample_assignment()
        department.fault("timeout_after_accept", count=1)
        with pytest.raises(OutcomeUnknown):
            await adapter.deliver(assignment)
        await adapter.recall(assignment, "重复")
    assert [ticket["state"] for ticket in department.tickets() if ticket["key"] == assignment.key] == ["recalled"]


# trouble with the mailbox


async def test_mailbox_that_rejects_us_is_told_apart_and_said_once(
    open_adapter: Callable[..., Any], department: SimulatorProcess
) -> None:
    settings = adapter_settings(department.url, SECRET)
    wrong = {**cast(dict[str, Any], settings["imap"]), "password": "密码"}
    with structlog.testing.capture_logs() as logs:
        async with open_adapter(imap=wrong) as adapter:
            for _ in range(3):
                with pytest.raises(CredentialsRejected):
                    await adapter.poll(None)
            assert (await adapter.diagnostics())["down"] == ["imap"]
            with pytest.raises(CredentialsRejected):
                await adapter.health()
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["mailbox_imap_down"]
    assert "密码" not in str(logs)


async def test_folder_that_is_not_there_is_unavailable(open_adapter: Callable[..., Any]) -> None:
    async with open_adapter(inbox="城市派单") as adapter:
        with pytest.raises(Unavailable, match="no folder 城市派单"):
            await adapter.poll(None)


async def test_connection_the_server_dropped_is_opened_again(adapter: Adapter, department: SimulatorProcess) -> None:
    _, cursor = await polled(adapter)
    department.kill()
    with structlog.testing.capture_logs() as logs:
        with pytest.raises(Unavailable):
            await adapter.poll(cursor)
        department.start()
        await adapter.poll(cursor)
    assert [entry["event"] for entry in logs] == ["mailbox_imap_down", "mailbox_imap_back"]


async def test_starttls_is_never_skipped(department: SimulatorProcess) -> None:
    settings = adapter_settings(department.url, SECRET)
    for name in ("smtp", "imap"):
        settings[name] = {**cast(dict[str, Any], settings[name]), "security": "starttls"}
    async with running_adapter(MailboxAdapter, settings) as adapter:
        with pytest.raises(Unavailable):
            await adapter.deliver(sample_assignment())
        with pytest.raises(Unavailable):
            await adapter.poll(None)
    assert not department.tickets() or all(ticket["key"] for ticket in department.tickets())
