"""Hands orders to property companies through their phone page (the desk), and reads what their managers report.

One adapter for all companies: the area of the assignment decides which one gets it. Photos are fetched from the desk by id
when a callback names them: never from an address in the callback. Called by the hub only; see README.md for the protocol.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar, cast
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, HttpUrl, SecretStr, ValidationError, model_validator

from hub import (
    Adapter,
    AdapterFault,
    AdapterSettings,
    Assignment,
    CallbackRejected,
    CallbackRequest,
    Capability,
    DeliveryError,
    Health,
    IncomingCase,
    Manifest,
    Receipt,
    Refused,
    Report,
    ReportedFile,
    ReportKind,
)
from hub_property.messages import PHOTO_PIECE, Company, DeskEvent, OrdersFound, OrderStanding, PhotoNote
from hub_property.routing import CompanyEntry, company_of, doubled
from hub_property.signing import SignatureWrong, check_signature, webhook

_Answer = TypeVar("_Answer", bound=BaseModel)
_SUFFIX = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


class PropertySettings(AdapterSettings):
    """Settings of one desk and the companies behind it."""

    url: HttpUrl = Field(description="Base address of the property desk.")
    secret: SecretStr = Field(min_length=1, description="Bearer secret of the desk's interface.")
    callback_secret: SecretStr | None = Field(None, description="Secret that signs the desk's callbacks; empty: `secret`.")
    companies: tuple[CompanyEntry, ...] = Field((), description="Companies and the areas they look after.")
    fallback: Company = Field(
        default=Company(id="district", name="区物业管理中心"), description="Who gets orders from areas no company looks after."
    )

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        twice = doubled(self.companies)
        if twice is not None:
            raise ValueError(f"companies: {twice} is given twice")
        return self


class PropertyAdapter(Adapter):
    """All property companies of a district as one department."""

    manifest = Manifest(
        name="property",
        department="物业",
        version="0.1.0",
        capabilities=frozenset(
            {Capability.LOOKUP, Capability.RECALL, Capability.URGE, Capability.CALLBACK, Capability.IDEMPOTENT}
        ),
    )
    Settings: ClassVar[type[AdapterSettings]] = PropertySettings

    async def start(self) -> None:
        """Prepare the verifier of callbacks; asks nothing of the desk."""
        settings = self._settings
        self._base = str(settings.url).rstrip("/")
        self._verifier = webhook((settings.callback_secret or settings.secret).get_secret_value())

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Put an order on the page of the area's company; the same key files nothing new."""
        settings = self._settings
        company = company_of(assignment.area, settings.companies, settings.fallback)
        body = {**assignment.summary(), "company": company.model_dump()}
        answer = await self._send("POST", "/api/v1/orders", body=body, headers={"Idempotency-Key": assignment.key})
        if answer.status_code == 422:
            if _field(answer, "code") == "idempotency_key_reused" and (receipt := await self.lookup(assignment)) is not None:
                return receipt
            if _field(answer, "code") == "invalid":
                raise AdapterFault(f"the property desk can't read the order: {_reason(answer)}")
            raise Refused(_reason(answer), subject=assignment.key)
        receipt = Receipt(ticket=_read(OrderStanding, answer, 200, 201).ticket)
        self.log.info("order is with a company", key=assignment.key, ticket=receipt.ticket, company=company.id)
        return receipt

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Search by our reference; an empty list means the desk has not got it."""
        answer = await self._send("GET", "/api/v1/orders", query={"ref": assignment.key})
        found = _read(OrdersFound, answer, 200).items
        return Receipt(ticket=found[0].ticket) if found else None

    async def recall(self, assignment: Assignment, reason: str) -> None:
        """Show the order as taken back; Refused when the company has resolved it already."""
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
            raise Refused("物业平台没有该工单", subject=assignment.key)
        answer = await self._send("POST", f"/api/v1/orders/{quote(ticket, safe='')}/urge", body={"message": message})
        if answer.status_code in (404, 409):
            raise Refused(_reason(answer), subject=assignment.key)
        _read(OrderStanding, answer, 200)

    async def parse_callback(self, request: CallbackRequest) -> Sequence[Report | IncomingCase]:
        """Check the signature, read what a manager did, fetch the photos it names.

        Raises CallbackRejected; with 503 when a photo can't be fetched now, so the desk calls again.
        """
        try:
            id = check_signature(self._verifier, request.headers, request.body)
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
        report = Report(
            id=event.id,
            kind=ReportKind(event.kind),
            key=event.key,
            ticket=event.ticket,
            at=event.at,
            by=event.by,
            note=event.note,
            files=tuple(files),
        )
        return (report,)

    async def health(self) -> Health:
        """Ask the desk whether it is there and knows us."""
        answer = await self._send("GET", "/api/v1/status")
        return Health(ok=answer.status_code == 200, detail="" if answer.status_code == 200 else f"HTTP {answer.status_code}")

    @property
    def _settings(self) -> PropertySettings:
        return cast(PropertySettings, self.settings)

    async def _ticket(self, assignment: Assignment) -> str | None:
        if assignment.ticket is not None:
            return assignment.ticket
        receipt = await self.lookup(assignment)
        return None if receipt is None else receipt.ticket

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
        raise AdapterFault(f"the property desk answered {answer.status_code}")
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise AdapterFault(f"the property desk's answer can't be read: {_first_problem(error)}") from error


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
    return (_field(answer, "reason") or f"物业平台不予受理（{answer.status_code}）")[:500]
