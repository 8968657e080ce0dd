"""Hands orders to teams through their phone page (the desk), and reads what their people report.

One adapter for all teams of a desk: unit and area of the assignment decide which one gets it. Reports come as signed callbacks; what
did not arrive that way is fetched. Photos are fetched from the desk by id: never from an address in a callback. Called by the
hub only; see README.md for the protocol.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Self, TypeVar, cast
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, Field, HttpUrl, SecretStr, ValidationError, field_validator, model_validator

from hub import (
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
    Poll,
    Receipt,
    Refused,
    ReportedFile,
    Standing,
    StandingState,
)
from hub_page.messages import (
    PHOTO_PIECE,
    DeskEvent,
    DeskEvents,
    DeskStatus,
    OrdersFound,
    OrderStanding,
    PhotoNote,
    Team,
    TeamsFound,
)
from hub_page.routing import TeamEntry, doubled, team_of
from hub_page.signing import SignatureWrong, check_signature, webhook

_Answer = TypeVar("_Answer", bound=BaseModel)
_SUFFIX = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}
_REPORTS = 5
"""Reports of one poll: each may come with 20 MiB of photos."""
_AUDITED = 200
"""Orders of one page of the audit."""

CROSSWALK = Crosswalk(
    version=1,
    statuses={
        "accepted": FeedbackKind.ACCEPTED,
        "progress": FeedbackKind.PROGRESS,
        "resolved": FeedbackKind.RESOLVED,
        "returned": FeedbackKind.RETURNED,
    },
)
"""All that people can do on a page."""
STANDINGS: Mapping[str, StandingState] = {
    "received": StandingState.FILED,
    "accepted": StandingState.ACCEPTED,
    "in_progress": StandingState.ACCEPTED,
    "resolved": StandingState.RESOLVED,
    "returned": StandingState.RETURNED,
    "recalled": StandingState.RECALLED,
}
"""All states of an order on a page."""
POLL_EVERY = timedelta(seconds=10)
"""Callbacks bring most reports at once; a poll looks for those that did not get through."""
CAPABILITIES = frozenset(
    {
        Capability.LOOKUP,
        Capability.RECALL,
        Capability.URGE,
        Capability.CALLBACK,
        Capability.POLL,
        Capability.AUDIT,
        Capability.CATALOGUE,
        Capability.IDEMPOTENT,
    }
)


class DeskSettings(AdapterSettings):
    """How to reach one desk; whom the orders go to is said by its subclasses."""

    url: HttpUrl = Field(description="Base address of the desk.")
    secret: SecretStr = Field(min_length=1, description="Bearer secret of the desk's interface.")
    callback_secret: SecretStr | None = Field(None, description="Secret that signs the desk's callbacks; empty: `secret`.")
    former_callback_secret: SecretStr | None = Field(
        None, description="The callback secret before the present one; taken as well while a change is under way."
    )

    @field_validator("secret", "callback_secret", "former_callback_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                webhook(value.get_secret_value())
            except ValueError:
                raise ValueError("starts with whsec_ and is no base64 after it") from None
        return value


class PageSettings(DeskSettings):
    """Settings of one desk and the teams behind it."""

    teams: tuple[TeamEntry, ...] = Field((), description="Teams, the units they are for and the areas they look after.")
    fallback: Team = Field(
        default=Team(id="duty", name="值班人员"), description="Who gets the orders no team is for; with no teams: all of them."
    )

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        twice = doubled(self.teams)
        if twice is not None:
            raise ValueError(f"teams: {twice} is given twice")
        return self


class PageAdapter(Adapter):
    """Any units without a system of their own, behind one desk. Subclass it with a manifest, settings and `routing` for a special kind."""

    manifest = Manifest(
        name="page",
        department="手机工单页",
        version="0.1.0",
        owner="City Hub maintainers",
        poll_every=POLL_EVERY,
        concurrency=8,
        capabilities=CAPABILITIES,
        crosswalk=CROSSWALK,
    )
    Settings: ClassVar[type[AdapterSettings]] = PageSettings

    def routing(self) -> tuple[Sequence[TeamEntry], Team]:
        """The teams, and who gets what no team is for; a subclass with other settings says so here."""
        settings = cast(PageSettings, self.settings)
        return settings.teams, settings.fallback

    async def start(self) -> None:
        """Prepare the verifier of callbacks; asks nothing of the desk."""
        settings = self._settings
        self._base = str(settings.url).rstrip("/")
        own = settings.callback_secret or settings.secret
        former = settings.former_callback_secret
        self._verifiers = [webhook(secret.get_secret_value()) for secret in (own, former) if secret is not None]
        self._status: DeskStatus | None = None

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Put an order on the page of its team; the same key files nothing new."""
        team = team_of(assignment.unit, assignment.area, *self.routing())
        body = {**assignment.summary(), "team": team.model_dump()}
        answer = await self._send("POST", "/api/v1/orders", body=body, headers={"Idempotency-Key": assignment.key})
        if answer.status_code == 422:
            if _field(answer, "code") == "idempotency_key_reused" and (receipt := await self.lookup(assignment)) is not None:
                return receipt
            if _field(answer, "code") == "invalid":
                raise AdapterFault(f"the desk can't read the order: {_reason(answer)}")
            raise Refused(_reason(answer), subject=assignment.key)
        receipt = Receipt(ticket=_read(OrderStanding, answer, 200, 201).ticket)
        self.log.info("order is with a team", key=assignment.key, ticket=receipt.ticket, team=team.id)
        return receipt

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Search by our reference; an empty list means the desk has not got it."""
        answer = await self._send("GET", "/api/v1/orders", query={"ref": assignment.key})
        found = _read(OrdersFound, answer, 200).items
        return Receipt(ticket=found[0].ticket) if found else None

    async def recall(self, assignment: Assignment, reason: str) -> None:
        """Show the order as taken back; Refused when the team has resolved it already."""
        ticket = await self._ticket(assignment)
        if ticket is None:
            return
        answer = await self._send("POST", f"/api/v1/orders/{quote(ticket, safe='')}/recall", body={"reason": reason})
        if answer.status_code == 409:
            raise Refused(_reason(answer), subject=assignment.key)
        if answer.status_code != 404:
            _read(OrderStanding, answer, 200)

    async def urge(self, assignment: Assignment, message: str) -> None:
        """Put a red mark on the order."""
        ticket = await self._ticket(assignment)
        if ticket is None:
            raise Refused("对方工单页没有该工单", subject=assignment.key)
        answer = await self._send("POST", f"/api/v1/orders/{quote(ticket, safe='')}/urge", body={"message": message})
        if answer.status_code in (404, 409):
            raise Refused(_reason(answer), subject=assignment.key)
        _read(OrderStanding, answer, 200)

    async def parse_callback(self, request: CallbackRequest) -> Sequence[Feedback | IncomingCase]:
        """Check the signature, read what somebody did, fetch the photos it names.

        Raises CallbackRejected; with 503 when a photo can't be fetched now, so the desk calls again.
        """
        try:
            id = check_signature(self._verifiers, request.headers, request.body)
        except SignatureWrong as error:
            raise CallbackRejected(str(error)) from error
        try:
            event = DeskEvent.model_validate_json(request.body)
        except ValidationError as error:
            raise CallbackRejected(f"callback body can't be read: {_first_problem(error)}", status=400) from error
        if event.id != id:
            raise CallbackRejected("callback body and header name different events", status=400)
        try:
            files = [await self._photo(photo, number) for number, photo in enumerate(event.photos, start=1)]
        except DeliveryError as error:
            raise CallbackRejected(f"a photo can't be fetched: {error.code}", status=503) from error
        return (self._report(event, files),)

    async def poll(self, cursor: str | None) -> Poll:
        """Fetch what did not come by callback (the desk can't reach the hub, or gave up); usually nothing.

        `cursor` names the reports of the last poll: the hub has committed them, and says so by asking on. A photo that isn't there or
        isn't what the desk said is left out, and the note says so: it would hold up all reports behind it.
        """
        answer = await self._send("GET", "/api/v1/reports", query={"taken": cursor or "", "limit": str(_REPORTS)})
        found = _read(DeskEvents, answer, 200)
        items = [await self._polled(event) for event in found.items]
        return Poll(items=items, cursor=",".join(event.id for event in found.items) or None, more=found.more)

    async def audit(self, cursor: str | None) -> Audit:
        """One page of all orders, as the hub should know them: what can still be undone is not resolved yet."""
        query = {"after": cursor or "0", "limit": str(_AUDITED)}
        found = _read(OrdersFound, await self._send("GET", "/api/v1/orders", query=query), 200)
        return Audit(items=[_standing(order) for order in found.items], cursor=None if found.next is None else str(found.next))

    async def catalogue(self) -> Mapping[str, str]:
        """The teams that take orders: those of the settings and those the desk knows, under its names, without the closed ones.

        So the nightly comparison shows the centre which team was closed, opened or renamed at the desk.
        """
        teams, fallback = self.routing()
        found = {team.id: team.name for team in (*teams, fallback)}
        for team in _read(TeamsFound, await self._send("GET", "/api/v1/teams"), 200).items:
            if team.closed:
                found.pop(team.id, None)
            else:
                found[team.id] = team.name
        return found

    async def health(self) -> Health:
        """Ask the desk whether it is there and knows us; reports it has given up are said."""
        answer = await self._send("GET", "/api/v1/status")
        if answer.status_code != 200:
            return Health(ok=False, detail=f"HTTP {answer.status_code}")
        self._status = _read(DeskStatus, answer, 200)
        given_up = self._status.given_up
        return Health(ok=True, detail=f"有 {given_up} 条反馈多次未能送达，已停止发送" if given_up else "")

    async def diagnostics(self) -> Mapping[str, object]:
        """Where to, how reports come, and how many wait there (as of the last health check)."""
        settings, status = self._settings, self._status
        return {
            "host": urlsplit(self._base).hostname,
            "rotating": settings.former_callback_secret is not None,
            "reports_waiting": None if status is None else status.waiting,
            "reports_given_up": None if status is None else status.given_up,
        }

    @property
    def _settings(self) -> DeskSettings:
        return cast(DeskSettings, self.settings)

    async def _ticket(self, assignment: Assignment) -> str | None:
        if assignment.ticket is not None:
            return assignment.ticket
        receipt = await self.lookup(assignment)
        return None if receipt is None else receipt.ticket

    def _report(self, event: DeskEvent, files: Sequence[ReportedFile], *, lost: int = 0) -> Feedback:
        note = event.note
        if lost:
            note = f"{note or ''}（{lost} 张照片未能取得）"
        return Feedback(
            id=event.id,
            kind=self.words.kind(event.kind, about=event.key),
            key=event.key,
            ticket=event.ticket,
            at=event.at,
            by=event.by,
            note=note,
            files=tuple(files),
        )

    async def _polled(self, event: DeskEvent) -> Feedback:
        files: list[ReportedFile] = []
        for number, photo in enumerate(event.photos, start=1):
            try:
                files.append(await self._photo(photo, number))
            except AdapterFault as problem:
                self.log.warning("a photo is left out", key=event.key, report=event.id, reason=problem.message)
        return self._report(event, files, lost=len(event.photos) - len(files))

    async def _photo(self, photo: PhotoNote, number: int) -> ReportedFile:
        """Fetch a photo in pieces; raises AdapterFault when it is not what the callback says it is."""
        content = bytearray()
        while len(content) < photo.size:
            query = {"offset": str(len(content)), "length": str(min(PHOTO_PIECE, photo.size - len(content)))}
            answer = await self._send("GET", f"/api/v1/photos/{photo.id}", query=query)
            if answer.status_code != 200 or not answer.content:
                raise AdapterFault(f"the desk gave no photo ({answer.status_code})")
            content += answer.content
        if hashlib.sha256(content).hexdigest() != photo.sha256:
            raise AdapterFault("a photo is not what the desk said it is")
        return ReportedFile(
            name=f"照片{number}.{_SUFFIX[photo.media_type]}", media_type=photo.media_type, content=bytes(content)
        )

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        secret = self._settings.secret.get_secret_value()
        return await self.http.request(
            method,
            self._base + path,
            params=query,
            json=body,
            headers={**(headers or {}), "Authorization": f"Bearer {secret}"},
        )


def _read(kind: type[_Answer], answer: httpx.Response, *expected: int) -> _Answer:
    """The answer as `kind`; raises AdapterFault when it is something else. Says where it is wrong, never the values."""
    if answer.status_code not in expected:
        raise AdapterFault(f"the desk answered {answer.status_code}")
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise AdapterFault(f"the desk's answer can't be read: {_first_problem(error)}") from error


def _standing(order: OrderStanding) -> Standing:
    state = STANDINGS.get(order.state)
    if state is None:
        raise AdapterFault(f"the desk's answer can't be read: state {order.state[:40]!r} is unknown")
    return Standing(ticket=order.ticket, state=state, key=order.ref, at=order.changed_at)


def _first_problem(error: ValidationError) -> str:
    """Where a body is wrong, without its values."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['type']}"


def _field(answer: httpx.Response, name: str) -> str | None:
    try:
        body: Any = answer.json()
    except ValueError:
        return None
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) and value else None


def _reason(answer: httpx.Response) -> str:
    """The reason of a refusal, in the desk's words."""
    return (_field(answer, "reason") or f"对方工单页不予受理（{answer.status_code}）")[:500]
