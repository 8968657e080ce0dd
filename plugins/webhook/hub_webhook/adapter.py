"""Speaks to any department with an HTTP endpoint: events out and callbacks in by Standard Webhooks, the rest by configuration.

Every event has an id that stays over its retries, which is what makes a repeated one harmless; README.md says what the other side has to
do. Called by the hub only.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn, cast
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

import httpx

from hub import (
    PASS_STATUSES,
    Adapter,
    AdapterFault,
    AdapterSettings,
    Assignment,
    Audit,
    CallbackRejected,
    CallbackRequest,
    Capability,
    Crosswalk,
    DeliveryError,
    Feedback,
    FeedbackKind,
    Health,
    IncomingCase,
    Manifest,
    Notice,
    OutcomeUnknown,
    Receipt,
    Refused,
    ReportedFile,
    Unavailable,
    Withdrawn,
)
from hub.webhooks import (
    RETRY_DELAYS,
    AddressForbidden,
    AddressGuard,
    NameUnknown,
    PayloadTooLarge,
    SignatureRejected,
    Signer,
    Verifier,
    envelope,
    event_id,
    fitted,
    parse_retry_after,
)
from hub_webhook.inbound import (
    MOST_FILE,
    FileToFetch,
    case_of,
    checked_file,
    document_of,
    files_of,
    report_of,
    type_of,
    wrong,
)
from hub_webhook.listings import audit_of, catalogue_of
from hub_webhook.pointers import at, text_at
from hub_webhook.settings import Bodies, WebhookSettings
from hub_webhook.templates import BodyTemplate, BodyWrong
from hub_webhook.throttle import STATUSES, Throttle

_GONE = 410
_HOUR = 3600


class WebhookAdapter(Adapter):
    """One endpoint of one department."""

    manifest = Manifest(
        name="webhook",
        department="通用 Webhook",
        version="0.1.0",
        owner="City Hub maintainers",
        capabilities=frozenset(
            {
                Capability.LOOKUP,
                Capability.RECALL,
                Capability.URGE,
                Capability.INFORM,
                Capability.CALLBACK,
                Capability.IDEMPOTENT,
                Capability.AUDIT,
                Capability.CATALOGUE,
            }
        ),
        concurrency=8,
        retry_schedule=RETRY_DELAYS,
        crosswalk=Crosswalk(
            statuses={
                "assignment.accepted": FeedbackKind.ACCEPTED,
                "assignment.progressed": FeedbackKind.PROGRESS,
                "assignment.resolved": FeedbackKind.RESOLVED,
                "assignment.returned": FeedbackKind.RETURNED,
            }
        ),
    )
    Settings: ClassVar[type[AdapterSettings]] = WebhookSettings

    async def start(self) -> None:
        """Prepare signatures, templates and the guard; asks nobody."""
        settings = self._settings
        self._signer, self._verifier = Signer(settings.signing), Verifier(settings.verifying)
        self._guard = AddressGuard(allowed=settings.private_networks, plain_http=settings.plain_http)
        self._throttle = Throttle(time.monotonic)
        self._zone = ZoneInfo(settings.zone)
        self._extra = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._templates = {
            name: BodyTemplate(source, as_json=settings.as_json)
            for name in Bodies.model_fields
            if (source := getattr(settings.bodies, name)) is not None
        }
        self._turn = 0
        self._down = False

    # out

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Send the assignment; the same key has the same id, so that nothing is filed twice."""
        answer = await self._event("made", assignment.key, self._data(assignment), key=assignment.key)
        document = _json(answer)
        ticket = text_at(document, self._settings.answers.ticket, most=200)
        if ticket is None and self._settings.answers.ticket_required:
            raise _with_status(AdapterFault("the answer holds no ticket number", subject=assignment.key), answer)
        return Receipt(ticket=ticket or assignment.key)

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Ask under `lookup_url`. Without one the same event is simply sent again: its id makes that harmless."""
        template = self._settings.lookup_url
        if template is None:
            return None
        answer = await self._ask("GET", template.replace("{key}", quote(assignment.key, safe="")), f"{assignment.key}.lookup")
        if answer.status_code == 404:
            return None
        self._needs_success(answer)
        document = _json(answer)
        if not isinstance(document, dict | list):  # read as "not there" it could be filed twice
            raise _with_status(AdapterFault("the answer to a lookup is no JSON", subject=assignment.key), answer)
        ticket = text_at(document, self._settings.answers.ticket, most=200)
        return None if ticket is None else Receipt(ticket=ticket)

    async def recall(self, assignment: Assignment, reason: str) -> None:
        """Tell that it is taken back; no error when they don't have it."""
        try:
            await self._event("recalled", assignment.key, self._data(assignment), key=assignment.key, message=reason)
        except _NotThere:
            return

    async def urge(self, assignment: Assignment, message: str) -> None:
        """Remind. The same words within the same hour are one reminder, however often they are sent."""
        digest = hashlib.sha256(message.encode()).hexdigest()[:12]
        suffix = f"{digest}.{int(time.time()) // _HOUR}"
        try:
            await self._event(
                "urged", assignment.key, self._data(assignment), key=assignment.key, message=message, suffix=suffix
            )
        except _NotThere:
            raise Refused("对方系统没有该工单", subject=assignment.key) from None

    async def inform(self, notice: Notice) -> None:
        """Tell how a case stands that came from here."""
        data: dict[str, object] = {"case": notice.case, "ref": notice.ref, "stage": notice.stage, "text": notice.text}
        data["at"] = notice.at.isoformat()
        suffix = f"{notice.stage}.{int(notice.at.timestamp() * 1000)}"
        try:
            await self._event("informed", notice.case, data, when=notice.at, suffix=suffix)
        except _NotThere:
            return

    async def health(self) -> Health:
        """Whether the endpoint answers: `health_url`, else HEAD of the address (whose 405 is an answer too)."""
        url = self._settings.health_url
        try:
            answer = await self._ask("GET" if url else "HEAD", str(url or self._settings.url), "health")
        except AdapterFault as problem:
            return Health(ok=False, detail=problem.message)
        ok = answer.status_code < 400 or (url is None and answer.status_code not in (404, _GONE))
        return Health(ok=ok, detail="" if ok else f"HTTP {answer.status_code}")

    async def diagnostics(self) -> Mapping[str, object]:
        """Where to, how many secrets, and whether it is held back."""
        settings = self._settings
        return {
            "host": urlsplit(str(settings.url)).hostname,
            "rotating": settings.previous_secret is not None,
            "held_back_seconds": round(self._throttle.left.total_seconds(), 1),
            "down": self._down,
            "templates": sorted(self._templates),
        }

    async def audit(self, cursor: str | None) -> Audit:
        """A page of `audit.url`; without one there is nothing to compare, and it says so."""
        rules = self._settings.audit
        if rules is None:
            raise Refused("该接口没有配置工单清单地址（audit），无法对账")
        return audit_of(await self._listed(rules.url.replace("{cursor}", quote(cursor or "", safe=""))), rules, self._zone)

    async def catalogue(self) -> Mapping[str, str]:
        """The categories of `catalogue.url`."""
        rules = self._settings.catalogue
        if rules is None:
            raise Refused("该接口没有配置分类清单地址（catalogue）")
        return catalogue_of(await self._listed(rules.url), rules)

    async def _listed(self, url: str) -> Any:
        answer = await self._ask("GET", url, "listing")
        self._needs_success(answer)
        return _json(answer)

    # in

    async def parse_callback(self, request: CallbackRequest) -> Sequence[Feedback | IncomingCase]:
        """Check the signature, then read by the configured pointers. The report's id is the webhook-id: the hub takes each once."""
        try:
            id = self._verifier.verify(request.headers, request.body, now=time.time())
        except SignatureRejected as problem:
            raise CallbackRejected(problem.reason) from None
        settings = self._settings.callbacks
        document = document_of(request.body)
        kind = type_of(document, settings)
        if kind in settings.ignore:
            return ()
        if kind in settings.cases:
            return (case_of(document, id=id, settings=settings, zone=self._zone),)
        files = tuple([await self._file(file, id) for file in files_of(document, settings)])
        means = self.words.kind
        return (report_of(document, kind, id=id, settings=settings, means=means, zone=self._zone, files=files),)

    async def _file(self, file: ReportedFile | FileToFetch, id: str) -> ReportedFile:
        """A file by address is fetched from the endpoint's own host only, and must have its hash."""
        if isinstance(file, ReportedFile):
            return file
        if urlsplit(file.url).netloc != urlsplit(str(self._settings.url)).netloc:
            raise wrong(f"the file {file.name} is not on the endpoint's own host")
        try:
            answer = await self._ask("GET", file.url, f"{id}.file"[:256])
            self._needs_success(answer)
        except DeliveryError as problem:
            raise CallbackRejected(f"the file {file.name} can't be fetched: {problem.message}", status=503) from None
        return checked_file(file.name, file.media_type, answer.content[: MOST_FILE + 1], file.sha256)

    # one request

    @property
    def _settings(self) -> WebhookSettings:
        return cast(WebhookSettings, self.settings)

    def _data(self, assignment: Assignment) -> dict[str, object]:
        data = assignment.summary()
        if self._settings.translate_categories and assignment.category:
            data["their_category"] = self.words.category(assignment.category)
        return data

    async def _event(
        self,
        event: str,
        about: str,
        data: dict[str, object],
        *,
        key: str | None = None,
        message: str | None = None,
        when: datetime | None = None,
        suffix: str = "",
    ) -> httpx.Response:
        """Send one event; returns an answer of 2xx that is no refusal."""
        kind = getattr(self._settings.events, event)
        if kind is None:
            raise Refused("该单位的接口不接收此类通知，请电话联系", subject=about)
        if message is not None:
            data["message"] = message
        body = self._body(event, kind, when or datetime.now(UTC), data)
        id = event_id(about, f"{event}.{suffix}" if suffix else event)
        headers = {} if key is None else {"Idempotency-Key": key if event == "made" else id}
        answer = await self._ask("POST", str(self._settings.url), id, body=body, headers=headers)
        self._judge(answer, about, made=event == "made")
        return answer

    def _body(self, event: str, kind: str, when: datetime, data: dict[str, object]) -> bytes:
        """The body within 20 kB; a text that is too long is shortened."""
        try:
            return fitted(lambda shown: self._rendered(event, kind, when, shown), data)
        except BodyWrong as problem:
            raise AdapterFault(f"the template bodies.{event} does not work: {problem}") from None
        except PayloadTooLarge as problem:
            raise AdapterFault(str(problem)) from None

    def _rendered(self, event: str, kind: str, when: datetime, data: Mapping[str, object]) -> bytes:
        template = self._templates.get(event)
        if template is not None:
            return template.render({"type": kind, "at": when.astimezone(self._zone).isoformat(), **data})
        return envelope(kind, when, {self.words.name(name): value for name, value in data.items()})

    async def _ask(
        self, method: str, url: str, id: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One signed request to the address that was judged; raises what is no answer."""
        self._throttle.check()
        try:
            target = await self._guard.target(url, turn=self._turn)
        except AddressForbidden as problem:
            raise AdapterFault(f"nothing is sent: {problem}") from None
        except NameUnknown as problem:
            raise self._failed(Unavailable(str(problem))) from None
        sent = {**self._extra, **(headers or {}), **self._signer.headers(id, body, now=time.time()), **target.headers}
        if body:
            sent["Content-Type"] = self._settings.media_type
        extensions: dict[str, Any] = {**target.extensions, PASS_STATUSES: STATUSES}
        try:
            answer = await self.http.request(method, target.url, content=body or None, headers=sent, extensions=extensions)
        except Unavailable as problem:
            self._turn += 1
            if problem.retry_after is not None:
                self._throttle.hold(problem.retry_after)
            raise self._failed(problem) from None
        if answer.status_code in STATUSES:
            self._overloaded(answer)
        self._throttle.passed()
        if self._down:
            self._down = False
            self.log.info("endpoint answers again")
        return answer

    def _overloaded(self, answer: httpx.Response) -> NoReturn:
        """429, 502, 504: leave them alone for a while; after a 504 nobody knows whether it arrived."""
        retry_after = parse_retry_after(answer.headers.get("retry-after"), now=datetime.now(UTC))
        self._throttle.hold(retry_after)
        problem: DeliveryError
        if answer.status_code == 504 and answer.request.method == "POST":
            problem = OutcomeUnknown(f"the endpoint answered {answer.status_code}")
        else:
            problem = Unavailable(f"the endpoint answered {answer.status_code}", retry_after=retry_after)
        raise self._failed(_with_status(problem, answer))

    def _failed(self, problem: DeliveryError) -> DeliveryError:
        """Say once that the endpoint is down, not for every attempt."""
        if not self._down:
            self._down = True
            self.log.warning("endpoint does not take events", reason=problem.message)
        return problem

    def _judge(self, answer: httpx.Response, about: str, *, made: bool) -> None:
        """Raise for everything but a 2xx that is a yes."""
        rules, status = self._settings.answers, answer.status_code
        refused = status in rules.refused_statuses
        if answer.is_success:
            document = _json(answer)
            refused = any(_said(at(document, pointer)) in values for pointer, values in rules.refused_when.items())
        if not made and status in (404, 409) and not answer.is_success:
            if status == 404:
                raise _NotThere
            refused = True
        if refused:
            reason = text_at(_json(answer), rules.reason, most=500) or f"对方系统不予受理（{status}）"
            raise _with_status(Refused(reason, subject=about), answer)
        self._needs_success(answer)

    def _needs_success(self, answer: httpx.Response) -> None:
        """Only 2xx succeeds: 410 shuts the door, a redirect and everything else is a failure to be tried again."""
        if answer.is_success:
            return
        if answer.status_code == _GONE:
            raise _with_status(Withdrawn("the endpoint answered 410: it wants no more events"), answer)
        what = "a redirect" if answer.is_redirect else str(answer.status_code)
        raise _with_status(Unavailable(f"the endpoint answered {what}", retry_after=_retry_after(answer)), answer)


class _NotThere(Exception):
    """The department does not have what the event is about."""


def _retry_after(answer: httpx.Response) -> Any:
    return parse_retry_after(answer.headers.get("retry-after"), now=datetime.now(UTC))


def _with_status(problem: DeliveryError, answer: httpx.Response) -> DeliveryError:
    problem.status = answer.status_code
    return problem


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return None


def _said(value: Any) -> str | None:
    """A value as configuration writes it: true, 40001, REJECTED."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None
