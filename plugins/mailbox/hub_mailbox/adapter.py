"""A department with nothing but an e-mail account: one mail for each assignment, replies are its reports.

Called by the hub only; see README.md for settings and limits. What the adapter has sent stands in its journal, so the same key sends
nothing new; a lost answer is settled by the copy in a mailbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar, TypeVar, cast

from hub import (
    Adapter,
    AdapterFault,
    AdapterSettings,
    Assignment,
    Audit,
    Capability,
    CredentialsRejected,
    Crosswalk,
    DeliveryError,
    Feedback,
    FeedbackKind,
    Health,
    Manifest,
    OutcomeUnknown,
    Poll,
    Receipt,
    Refused,
    Standing,
    StandingState,
    Unavailable,
)
from hub_mailbox.decoding import header_of
from hub_mailbox.fetching import Fetcher, Header
from hub_mailbox.journal import Journal, Sent, SentState
from hub_mailbox.letters import Letter, Letters
from hub_mailbox.numbers import Numbers, is_key, ticket_of
from hub_mailbox.reading import (
    Limits,
    about,
    bounce_of,
    is_bounce,
    parsed,
    report_of,
    why_automatic,
)
from hub_mailbox.sending import Sender, Unprovable
from hub_mailbox.settings import WORDS, MailboxSettings
from hub_mailbox.trust import is_allowed, sender_of, why_not_genuine

_T = TypeVar("_T")
_ENDED = {FeedbackKind.RESOLVED: StandingState.RESOLVED, FeedbackKind.RETURNED: StandingState.RETURNED}
"""Replies that end an assignment. Others may be found after those, so they don't say how it stands: the copy does, as filed."""
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What the standard library's parser may raise on rubbish."""


class MailboxAdapter(Adapter):
    """SMTP out, IMAP in."""

    manifest = Manifest(
        name="mailbox",
        department="邮箱单位",
        version="0.1.0",
        owner="City Hub maintainers",
        capabilities=frozenset(
            {
                Capability.LOOKUP,
                Capability.RECALL,
                Capability.URGE,
                Capability.POLL,
                Capability.IDEMPOTENT,
                Capability.AUDIT,
            }
        ),
        poll_every=timedelta(seconds=30),
        attempt_timeout=timedelta(seconds=60),
        concurrency=2,
        crosswalk=Crosswalk(version=1, statuses=WORDS),
    )
    Settings: ClassVar[type[AdapterSettings]] = MailboxSettings

    async def start(self) -> None:
        """Make ready; asks nothing of the servers."""
        settings = self._settings
        self._down: set[str] = set()
        self._journal = Journal(self.store)
        self._numbers = Numbers(await self._journal.secret(), settings.address.partition("@")[2].lower())
        self._letters = Letters(
            self._numbers,
            address=settings.address,
            display_name=settings.display_name,
            cc=settings.cc,
            copy=settings.proof == "copy",
        )
        self._sender = Sender(settings.smtp, settings.address, settings.timeout, self.log)
        self._fetcher = Fetcher(settings.imap, settings.timeout, whole=settings.message_max_bytes)
        crosswalk = getattr(self.words, "crosswalk", None)
        mapped = crosswalk.statuses if isinstance(crosswalk, Crosswalk) else {}
        self._vocabulary: dict[str, FeedbackKind] = {**WORDS, **mapped, **settings.words}
        self._limits = Limits(attachment_bytes=settings.attachment_max_bytes, attachments=settings.attachments_max)

    async def stop(self) -> None:
        """Hang up."""
        await self._fetcher.close()

    async def health(self) -> Health:
        """Log in at both servers; raises what they say."""
        async with asyncio.TaskGroup() as group:
            out = group.create_task(_outcome(self._checked("smtp", self._sender.check())))
            back = group.create_task(_outcome(self._checked("imap", self._fetcher.check(self._settings.inbox))))
        for problem in (out.result(), back.result()):
            if problem is not None:
                raise problem
        return Health(ok=True)

    async def diagnostics(self) -> Mapping[str, object]:
        """Where it writes to and reads from, and which of the servers is down."""
        settings = self._settings
        return {
            "smtp": f"{settings.smtp.host}:{settings.smtp.port} {settings.smtp.security}",
            "imap": f"{settings.imap.host}:{settings.imap.port} {settings.imap.security}",
            "inbox": settings.inbox,
            "proof": settings.proof,
            "down": sorted(self._down),
        }

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Send the mail of an assignment; the same key sends nothing new."""
        to = self._recipient(assignment)
        if await self._journal.of(assignment.key) is not None:
            known = await self.lookup(assignment)
            if known is not None:
                return known
        letter = self._letters.assignment(assignment, to, datetime.now(UTC))
        await self._journal.note(assignment.key, SentState.BEGUN, datetime.now(UTC))
        try:
            await self._checked("smtp", self._sender.send(letter))
        except Unprovable:
            await self._journal.note(assignment.key, SentState.UNPROVABLE, datetime.now(UTC))
            raise
        except (Unavailable, CredentialsRejected, Refused):
            await self._journal.forget(assignment.key)
            raise
        await self._journal.note(assignment.key, SentState.TAKEN, datetime.now(UTC))
        return Receipt(ticket=ticket_of(assignment.key))

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """What became of a mail: by the journal, after a lost answer by the copy in a mailbox.

        Raises Unavailable while a missing copy may still turn up, OutcomeUnknown when there is nothing to look at.
        """
        key = assignment.key
        sent = await self._journal.of(key)
        if sent is not None and sent.state in (SentState.TAKEN, SentState.RECALLED):
            return Receipt(ticket=ticket_of(key))
        if not is_key(key):
            return None
        folder = self._proof_folder()
        if sent is not None and (folder is None or sent.state is SentState.UNPROVABLE):
            raise OutcomeUnknown("nothing shows whether the mail went out: look into the account's sent mail", subject=key)
        if folder is not None:
            message_id = self._numbers.message_id(key, "deliver")
            if await self._checked("imap", self._fetcher.has(folder, message_id)):
                await self._journal.note(key, SentState.TAKEN, datetime.now(UTC))
                return Receipt(ticket=ticket_of(key))
        if sent is not None:
            self._settled(sent, key)
            await self._journal.forget(key)
        return None

    async def recall(self, assignment: Assignment, reason: str) -> None:
        """Write that the assignment is taken back, once; nothing when it was never sent."""
        sent = await self._journal.of(assignment.key)
        if sent is not None and sent.state is SentState.RECALLED:
            return
        if assignment.ticket is None and await self.lookup(assignment) is None:
            return
        await self._send(self._letters.recall(assignment, self._recipient(assignment), reason, datetime.now(UTC)))
        await self._journal.note(assignment.key, SentState.RECALLED, datetime.now(UTC))

    async def urge(self, assignment: Assignment, message: str) -> None:
        """Remind the department, in the thread of its assignment."""
        await self._send(self._letters.urge(assignment, self._recipient(assignment), message, datetime.now(UTC)))

    async def poll(self, cursor: str | None) -> Poll:
        """Read new mail; the cursor is `<UIDVALIDITY>.<UID>` of the last mail looked at.

        Stops early when the time of one poll is nearly used up, so that a slow mailbox still gets on.
        """
        settings = self._settings
        validity, after = _parse_cursor(cursor)
        enough_at = asyncio.get_running_loop().time() + settings.timeout
        look = await self._checked("imap", self._fetcher.look(settings.inbox, validity, after, settings.batch))
        reports: list[Feedback] = []
        last, more = look.last, look.more
        for header in look.headers:
            report = await self._read(header)
            if report is not None:
                reports.append(report)
                if asyncio.get_running_loop().time() > enough_at and header.uid < look.last:
                    last, more = header.uid, True
                    break
        return Poll(items=reports, cursor=f"{look.validity}.{last}", more=more)

    async def audit(self, cursor: str | None) -> Audit:
        """How assignments stand by the mails in the mailbox, in their order; the last page that names a ticket counts.

        Raises Refused with proof none: our own mails are in no folder then.
        """
        settings = self._settings
        folders = {"copy": (settings.inbox,), "sent": (settings.sent_folder, settings.inbox), "none": ()}[settings.proof]
        if not folders:
            raise Refused("未保存发出邮件的副本（proof: none），无法对账")
        step, validity, after = _parse_page(cursor, len(folders))
        look = await self._checked("imap", self._fetcher.look(folders[step], validity, after, settings.batch))
        items = [standing for header in look.headers if (standing := await self._standing(header, folders[step])) is not None]
        if look.more:
            return Audit(items=items, cursor=f"{step}.{look.validity}.{look.last}")
        return Audit(items=items, cursor=f"{step + 1}.0.0" if step + 1 < len(folders) else None)

    async def _standing(self, header: Header, folder: str) -> Standing | None:
        """What one mail says of how its assignment stands."""
        head = parsed(header.content)
        own = self._numbers.own(header_of(head, "Message-ID")) if sender_of(head) == self._settings.address.lower() else None
        if own is not None:
            state = {"deliver": StandingState.FILED, "recall": StandingState.RECALLED}.get(own[1])
            return None if state is None else Standing(ticket=ticket_of(own[0]), key=own[0], state=state)
        report = await self._read(header) if folder == self._settings.inbox else None
        if report is None or report.kind not in _ENDED:
            return None
        ticket = report.ticket or ticket_of(report.key or "")
        return Standing(ticket=ticket, key=report.key, state=_ENDED[report.kind], at=report.at)

    async def _read(self, header: Header) -> Feedback | None:
        """The report in a mail; decided by its head whether the rest is fetched at all."""
        now = datetime.now(UTC)
        try:
            if not self._concerns_us(header):
                return None
            content, whole = await self._content(header)
            message = parsed(content)
            if is_bounce(message):
                return bounce_of(message, self._numbers, self._settings.address, now)
            return report_of(message, self._numbers, self._vocabulary, self._limits, whole=whole, now=now)
        except _UNREADABLE as problem:
            self.log.warning("mailbox_mail_unreadable", uid=header.uid, error=type(problem).__name__)
            return None

    def _concerns_us(self, header: Header) -> bool:
        """Whether a mail may be a report or a bounce, and who sent it may say so; says in the log why not."""
        head = parsed(header.content)
        if is_bounce(head):
            return True
        sender = sender_of(head)
        if sender is None or not is_allowed(sender, self._settings.senders):
            return False
        key, ticket = about(head, self._numbers)
        reason = why_not_genuine(head, sender, self._settings.authenticated_by) or why_automatic(head)
        if reason is None and key is None and ticket is None:
            reason = "no number of ours"
        if reason is not None:
            self.log.info("mailbox_mail_ignored", uid=header.uid, reason=reason, key=key)
        return reason is None

    async def _content(self, header: Header) -> tuple[bytes, bool]:
        """A mail; of one that does not come in time only the text."""
        inbox = self._settings.inbox
        try:
            return await self._checked(
                "imap", self._fetcher.mail(inbox, header.uid, whole=header.size <= self._settings.message_max_bytes)
            )
        except Unavailable:
            self.log.warning("mailbox_mail_too_slow", uid=header.uid, size=header.size)
            return await self._checked("imap", self._fetcher.mail(inbox, header.uid, whole=False))

    async def _send(self, letter: Letter) -> None:
        await self._checked("smtp", self._sender.send(letter))

    async def _checked(self, server: str, call: Awaitable[_T]) -> _T:
        """Log once when a server goes down, and once when it is back."""
        try:
            answer = await call
        except (Unavailable, CredentialsRejected) as problem:
            if server not in self._down:
                self._down.add(server)
                self.log.warning(f"mailbox_{server}_down", error=problem.message)
            raise
        if server in self._down:
            self._down.discard(server)
            self.log.info(f"mailbox_{server}_back")
        return answer

    def _recipient(self, assignment: Assignment) -> str:
        """The department's address; raises Refused for a unit without one, AdapterFault for a made-up key."""
        if not is_key(assignment.key):
            raise AdapterFault("a delivery key of another form may not get into a header", subject=assignment.key[:100])
        to = self._settings.recipient(assignment.unit)
        if to is None:
            raise Refused(f"没有为单位 {assignment.unit} 设置邮箱地址", subject=assignment.key)
        return to

    def _proof_folder(self) -> str | None:
        settings = self._settings
        return {"copy": settings.inbox, "sent": settings.sent_folder, "none": None}[settings.proof]

    def _settled(self, sent: Sent, key: str) -> None:
        """Raise Unavailable while a missing copy of a mail begun lately may still turn up."""
        missing = timedelta(seconds=self._settings.settle_seconds) - (datetime.now(UTC) - sent.at)
        if missing > timedelta(0):
            raise Unavailable("the mail's copy may still turn up", retry_after=missing, subject=key)

    @property
    def _settings(self) -> MailboxSettings:
        return cast(MailboxSettings, self.settings)


async def _outcome(call: Awaitable[None]) -> DeliveryError | None:
    """The delivery error of a call, so that the other one goes on."""
    try:
        await call
    except DeliveryError as problem:
        return problem
    return None


def _parse_page(cursor: str | None, folders: int) -> tuple[int, int | None, int]:
    """Folder, UIDVALIDITY and UID of a page of the audit; raises AdapterFault."""
    if cursor is None:
        return 0, None, 0
    step, _, rest = cursor.partition(".")
    if not (step.isascii() and step.isdigit() and int(step) < folders):
        raise AdapterFault(f"not a cursor of the mailbox's audit: {cursor[:100]!r}")
    return int(step), *_parse_cursor(rest)


def _parse_cursor(cursor: str | None) -> tuple[int | None, int]:
    if cursor is None:
        return None, 0
    validity, _, uid = cursor.partition(".")
    if not (validity.isascii() and uid.isascii() and validity.isdigit() and uid.isdigit()):
        raise AdapterFault(f"not a cursor of the mailbox: {cursor[:100]!r}")
    return int(validity), int(uid)
