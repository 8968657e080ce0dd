"""Speaks the police's incident interface 接处警: XML over SOAP, receipts fetched in batches by sequence number.

An incident gets its serial number at once; that the police took it, are on site and are done comes later, by `poll`.
Called by the hub only; see README.md for the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar, cast

from pydantic import Field, HttpUrl, SecretStr

from hub import (
    Adapter,
    AdapterSettings,
    Assignment,
    Audit,
    Capability,
    Crosswalk,
    Feedback,
    FeedbackKind,
    Health,
    Manifest,
    Poll,
    Receipt,
    Refused,
    Severity,
    Standing,
    StandingState,
)
from hub_police.soap import IncidentService, plain

PRIORITY = {Severity.URGENT: 1, Severity.MAJOR: 2, Severity.ORDINARY: 3, Severity.MINOR: 4}
"""警情等级: 1 is answered within seconds."""
_CHINA = timezone(timedelta(hours=8))
STATUSES = {
    "ACCEPTED": FeedbackKind.ACCEPTED,
    "DISPATCHED": FeedbackKind.PROGRESS,
    "ON_SITE": FeedbackKind.PROGRESS,
    "DONE": FeedbackKind.RESOLVED,
    "RETURNED": FeedbackKind.RETURNED,
}
"""Every kind of receipt the interface documents."""
_STANDINGS = {
    "filed": StandingState.FILED,
    "done": StandingState.RESOLVED,
    "returned": StandingState.RETURNED,
    "recalled": StandingState.RECALLED,
}


class PoliceSettings(AdapterSettings):
    """Settings of one incident system."""

    url: HttpUrl = Field(description="Address of the SOAP endpoint.")
    username: str = Field("city-hub", description="WS-Security user name.")
    secret: SecretStr = Field(description="WS-Security password; only its digest is sent.")
    page_size: int = Field(200, ge=1, le=1000, description="Receipts fetched by one poll.")


class PoliceAdapter(Adapter):
    """The police as a department."""

    manifest = Manifest(
        name="police",
        department="公安",
        version="0.2.0",
        owner="City Hub maintainers",
        capabilities=frozenset(
            {
                Capability.LOOKUP,
                Capability.RECALL,
                Capability.URGE,
                Capability.POLL,
                Capability.NEEDS_CONTACT,
                Capability.IDEMPOTENT,
                Capability.AUDIT,
                Capability.CATALOGUE,
            }
        ),
        poll_every=timedelta(seconds=2),
        concurrency=4,
        crosswalk=Crosswalk(statuses=STATUSES),
    )
    Settings: ClassVar[type[AdapterSettings]] = PoliceSettings

    async def start(self) -> None:
        """Read the WSDL that ships with the plugin; asks nothing of the police."""
        settings = self._settings
        self._service = IncidentService(
            self.http, url=str(settings.url), username=settings.username, password=settings.secret.get_secret_value()
        )

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Report the incident; its serial number is the ticket. The same reference gives the same serial."""
        answer = await self._service.call("ReportIncident", incident=incident(assignment))
        return Receipt(ticket=str(answer.serial))

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Ask by our reference."""
        standing = await self._service.call("FindIncident", reference=assignment.key)
        return None if standing is None else Receipt(ticket=str(standing.serial))

    async def recall(self, assignment: Assignment, reason: str) -> None:
        """Cancel the incident; Refused when the police have finished it."""
        serial = await self._serial(assignment)
        if serial is not None:
            await self._service.call("CancelIncident", serial=serial, reason=plain(reason))

    async def urge(self, assignment: Assignment, message: str) -> None:
        """Leave a reminder on the incident."""
        serial = await self._serial(assignment)
        if serial is None:
            raise Refused("公安系统没有该警情", subject=assignment.key)
        await self._service.call("UrgeIncident", serial=serial, message=plain(message))

    async def poll(self, cursor: str | None) -> Poll:
        """Fetch receipts after the sequence number `cursor`."""
        since = int(cursor) if cursor is not None else 0
        answer = await self._service.call("QueryReceipts", since=since, limit=self._settings.page_size)
        reports = [self._report(receipt) for receipt in answer.receipt or ()]
        return Poll(items=reports, cursor=str(answer.next), more=bool(answer.more))

    async def audit(self, cursor: str | None) -> Audit:
        """A page of all incidents we reported, by serial number; the cursor is the last one of the page before."""
        answer = await self._service.call("ListIncidents", after=cursor, limit=self._settings.page_size)
        found = answer.standing or ()
        return Audit(
            items=[
                Standing(
                    ticket=str(standing.serial),
                    key=str(standing.reference),
                    state=_STANDINGS.get(str(standing.state), StandingState.ACCEPTED),
                )
                for standing in found
            ],
            cursor=str(found[-1].serial) if answer.more and found else None,
        )

    async def catalogue(self) -> Mapping[str, str]:
        """The police's own kinds of incidents 警情类别."""
        answer = await self._service.call("ListCategories")
        return {str(category.code): str(category.name) for category in answer.category or ()}

    async def health(self) -> Health:
        """Ask whether the system is there and knows us."""
        await self._service.call("Ping")
        return Health(ok=True)

    @property
    def _settings(self) -> PoliceSettings:
        return cast(PoliceSettings, self.settings)

    def _report(self, receipt: Any) -> Feedback:
        """One receipt as a report; a kind the interface gained later is progress, and a repair says so."""
        return Feedback(
            id=str(receipt.receiptId),
            kind=self.words.kind(str(receipt.kind), about=str(receipt.serial)),
            key=str(receipt.reference),
            ticket=str(receipt.serial),
            at=_aware(receipt.at),
            by=receipt.squad,
            note=receipt.note,
        )

    async def _serial(self, assignment: Assignment) -> str | None:
        if assignment.ticket is not None:
            return assignment.ticket
        receipt = await self.lookup(assignment)
        return None if receipt is None else receipt.ticket


def incident(assignment: Assignment) -> dict[str, Any]:
    """The assignment as the WSDL's Incident. Texts lose what XML can't carry."""
    body: dict[str, Any] = {
        "reference": assignment.key,
        "unit": assignment.unit,
        "title": plain(assignment.title),
        "text": plain(assignment.text),
        "categoryCode": assignment.category,
        "categoryName": plain(assignment.category_name),
        "priority": PRIORITY[assignment.severity],
        "areaCode": assignment.area,
        "areaPath": plain("/".join(assignment.area_path)),
        "place": None if assignment.place is None else plain(assignment.place),
        "task": None if assignment.task is None else plain(assignment.task),
        "reportedAt": assignment.reported_at,
        "acceptBy": assignment.accept_by,
        "finishBy": assignment.finish_by,
    }
    if assignment.contact is not None:
        contact = assignment.contact
        fields = {"name": contact.name, "phone": contact.phone, "address": contact.address}
        body["contact"] = {name: plain(value) for name, value in fields.items() if value is not None}
    return body


def _aware(at: datetime) -> datetime:
    """A time without offset is China's standard time (xsd:dateTime leaves the offset optional)."""
    return at.replace(tzinfo=_CHINA) if at.tzinfo is None else at
