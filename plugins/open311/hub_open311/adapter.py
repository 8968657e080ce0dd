"""Speaks Open311 GeoReport v2 as a client: any server of that standard becomes a department by configuration alone.

Requests are posted with our key in an attribute and in the description; what becomes of them is read from FixMyStreet's
servicerequestupdates, or where a server has none from the requests themselves. Called by the hub only; see README.md.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, cast
from urllib.parse import quote, urlencode

import httpx

from hub import (
    Adapter,
    AdapterFault,
    AdapterSettings,
    Assignment,
    Audit,
    Capability,
    Crosswalk,
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
)
from hub_open311.book import Book, Entry
from hub_open311.form import STATUSES, Open311Settings, form_of
from hub_open311.messages import Filed, Request, Service, Update, read, reasons, w3

TOKEN = "token:"  # noqa: S105 - what a ticket begins with while the server has given a token only
CHUNK = 50
"""Requests asked about at once."""
MOST_PAGES = 20
LOOKUP_PAGE = 200
_SKEW = timedelta(hours=1)
_WINDOW = timedelta(days=89)
_MAY_REOPEN = 14 * 86400.0
"""Seconds an ended request is still looked at where only its status tells that it was opened again."""
FULL = 1000
"""Items of a full answer; there may be another page."""
_DONE = (FeedbackKind.RESOLVED, FeedbackKind.RETURNED)

_NOTES = {
    FeedbackKind.ACCEPTED: "对方已受理",
    FeedbackKind.PROGRESS: "对方正在办理",
    FeedbackKind.RESOLVED: "对方已办结",
    FeedbackKind.RETURNED: "对方不予办理",
}


class Open311Adapter(Adapter):
    """A GeoReport v2 server as a department."""

    manifest = Manifest(
        name="open311",
        department="Open311 系统",
        version="0.1.0",
        capabilities=frozenset({Capability.LOOKUP, Capability.URGE, Capability.POLL, Capability.AUDIT, Capability.CATALOGUE}),
        poll_every=timedelta(seconds=30),
        owner="City Hub maintainers",
        concurrency=4,
        crosswalk=Crosswalk(version=1, statuses=STATUSES),
    )
    Settings: ClassVar[type[AdapterSettings]] = Open311Settings

    async def start(self) -> None:
        """Prepare; asks nothing of the server."""
        self._base = str(self._settings.url).rstrip("/")
        self._book = Book(self.store)
        self._updates = self._settings.updates
        self._pending: tuple[str, tuple[Entry, ...]] = ("", ())

    # handing over

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Post a request; what this instance posted under the key already is not posted again."""
        known = await self._book.of_key(assignment.key)
        if known is not None:
            return Receipt(ticket=known.ticket)
        answer = await self._post("requests", form_of(assignment, self._service(assignment), self._settings))
        if answer.status_code in (400, 404, 422):
            raise Refused(_refusal(answer), subject=assignment.key)
        return await self._receipt(assignment.key, _filed(answer))

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        """Search the requests of the time since the case came in for our key; None when no page has it."""
        known = await self._book.of_key(assignment.key)
        if known is not None:
            return Receipt(ticket=known.ticket)
        since = max(assignment.reported_at - _SKEW, datetime.now(UTC) - _WINDOW)
        query = {"external_id": assignment.key, "start_date": w3(since), "end_date": w3(datetime.now(UTC) + _SKEW)}
        first = ""
        for page in range(1, MOST_PAGES + 1):
            found = read(Request, await self._get("requests", query | {"page_size": str(LOOKUP_PAGE), "page": str(page)}))
            for request in found:
                if assignment.key in (request.description or ""):
                    return await self._receipt(assignment.key, Filed(service_request_id=request.service_request_id))
            if len(found) < LOOKUP_PAGE:
                return None
            if found[0].service_request_id == first:
                if len(found) < FULL:
                    return None  # a server that knows no pages and gave all it has
                break
            first = found[0].service_request_id
        raise OutcomeUnknown("the server has more requests than can be searched for our key", subject=assignment.key)

    async def urge(self, assignment: Assignment, message: str) -> None:
        """Say it as an update of the request (FixMyStreet's extension); Refused where the server has none."""
        known = await self._book.of_key(assignment.key)
        if known is None or known.id is None or not self._updates:
            raise Refused("对方系统不支持催办，请电话联系", subject=assignment.key)
        now = datetime.now(UTC)
        said = f"{assignment.key}\n{message}\n{now:%Y-%m-%dT%H}"
        form = {
            "service_request_id": known.id,
            "update_id": hashlib.sha256(said.encode()).hexdigest()[:24],
            "status": "OPEN",
            "updated_datetime": w3(now),
            "description": f"催办：{message}",
        }
        answer = await self._post("servicerequestupdates", form)
        if answer.status_code in (400, 404, 405, 422):
            raise Refused(_refusal(answer), subject=assignment.key)
        if answer.status_code not in (200, 201):
            raise AdapterFault(f"the server answered {answer.status_code}")

    # hearing back

    async def poll(self, cursor: str | None) -> Poll:
        """Updates since the cursor, or changes of our requests' status; tokens that became numbers are noted on the way."""
        await self._resolve_tokens()
        if self._updates:
            found = await self._poll_updates(cursor)
            if found is not None:
                return found
            self._updates = False
            self.log.warning("the server has no servicerequestupdates, the status of requests is asked for instead")
        return await self._poll_requests(cursor)

    async def audit(self, cursor: str | None) -> Audit:
        """How our requests stand, fifty at a time."""
        entries = [entry for entry in await self._book.entries() if entry.id is not None]
        place = int(cursor or 0)
        if not entries:
            await self.catalogue()  # nothing to ask about, but whether the server answers is an answer, too
        found = await self._requests(entries[place : place + CHUNK])
        items = [
            Standing(
                ticket=entry.ticket,
                key=entry.key,
                state=StandingState.RESOLVED if request.status.lower() == "closed" else StandingState.ACCEPTED,
                at=request.updated_datetime,
            )
            for entry, request in found
        ]
        more = place + CHUNK < len(entries)
        return Audit(items=items, cursor=str(place + CHUNK) if more else None)

    async def catalogue(self) -> Mapping[str, str]:
        """The services the server offers."""
        found = read(Service, await self._get("services", {}))
        return {service.service_code: service.service_name or service.service_code for service in found}

    async def health(self) -> Health:
        """Ask for the services; every server has them, and none asks a key for them."""
        answer = await self._get("services", {})
        return Health(ok=answer.status_code == 200, detail="" if answer.status_code == 200 else f"HTTP {answer.status_code}")

    async def diagnostics(self) -> Mapping[str, object]:
        """How many requests are remembered and how they are followed."""
        entries = await self._book.entries()
        return {
            "requests": len(entries),
            "open": sum(entry.status != "closed" for entry in entries),
            "tokens": sum(entry.id is None for entry in entries),
            "follows": "servicerequestupdates" if self._updates else "requests",
        }

    # insides

    @property
    def _settings(self) -> Open311Settings:
        return cast(Open311Settings, self.settings)

    def _service(self, assignment: Assignment) -> str:
        """The server's code of our category: by the settings, the crosswalk, the default; raises Refused."""
        code = assignment.category
        for length in range(len(code), 0, -1):
            if code[:length] in self._settings.services:
                return self._settings.services[code[:length]]
        found = self.words.category(code) or self._settings.default_service
        if found is None:
            raise Refused(f"没有与事项分类 {assignment.category_name} 对应的服务代码", subject=assignment.key)
        return found

    async def _receipt(self, key: str, filed: Filed) -> Receipt:
        ticket = filed.service_request_id or f"{TOKEN}{filed.token}"
        await self._book.note(Entry(key=key, ticket=ticket, id=filed.service_request_id, at=0.0))
        return Receipt(ticket=ticket)

    async def _resolve_tokens(self) -> None:
        """Ask what became of tokens."""
        for entry in await self._book.entries():
            if entry.id is None:
                answer = await self._get(f"tokens/{quote(entry.ticket.removeprefix(TOKEN), safe='')}", {})
                found = read(Filed, answer) if answer.status_code == 200 else []
                if found and found[0].service_request_id:
                    await self._book.note(replace(entry, id=found[0].service_request_id))

    async def _poll_updates(self, cursor: str | None) -> Poll | None:
        """Updates since the cursor; None when the server has no such thing."""
        now = datetime.now(UTC)
        latest, seen = _read_cursor(cursor, now - timedelta(days=self._settings.history_days))
        overlap = timedelta(seconds=self._settings.overlap_seconds)
        since = max(latest - overlap, now - _WINDOW)
        query = {"start_date": w3(since), "end_date": w3(now + _SKEW)}
        updates: dict[str, Update] = {}
        for page in range(1, MOST_PAGES + 1):
            paging = {} if page == 1 else {"page": str(page), "page_size": str(FULL)}
            answer = await self._get("servicerequestupdates", query | paging)
            if answer.status_code in (404, 405, 501):
                return None
            fresh = {update.update_id: update for update in read(Update, answer) if update.update_id not in updates}
            updates |= fresh
            if len(fresh) < FULL:
                break
        found = sorted(updates.values(), key=lambda update: (update.updated_datetime, update.update_id))
        reports: list[Feedback] = []
        kept: dict[str, str] = {id: at for id, at in seen.items() if at >= w3(since)}
        for update in found:
            entry = await self._book.of_id(update.service_request_id)
            if entry is None or update.update_id in seen or update.updated_datetime < since:
                continue
            report = await self._report_of(entry, update)
            kept[update.update_id] = w3(update.updated_datetime.astimezone(UTC))
            if report is not None:
                reports.append(report)
        latest = max([latest, *(min(update.updated_datetime, now) for update in found)])
        return Poll(items=reports, cursor=json.dumps({"since": w3(latest.astimezone(UTC)), "seen": kept}))

    async def _report_of(self, entry: Entry, update: Update) -> Feedback | None:
        """An update as a report; None for a `closed` that only confirms what another update said."""
        status = update.status.lower()
        kind = self._kind(status, entry.key)
        if kind in _DONE:
            if entry.resolved_by not in (None, update.update_id):
                return None
            if entry.resolved_by is None:
                await self._book.note(replace(entry, resolved_by=update.update_id, status="closed"))
        elif status in ("open", "reopen") and entry.resolved_by is not None:
            await self._book.note(replace(entry, resolved_by=None, status="open", round=entry.round + 1))
        return Feedback(
            id=f"update-{update.update_id}",
            kind=kind,
            key=entry.key,
            ticket=entry.ticket,
            at=update.updated_datetime,
            note=update.description or _NOTES[kind],
        )

    async def _poll_requests(self, cursor: str | None) -> Poll:
        """Changes of status; a change counts as told once the hub comes back with the cursor of the poll that told it."""
        if cursor is not None and cursor == self._pending[0]:
            await self._book.note_all(self._pending[1])
        asked = [entry for entry in await self._book.entries() if entry.id is not None]
        if cursor is not None:
            asked = [entry for entry in asked if entry.status != "closed" or time.time() - entry.at < _MAY_REOPEN]
        reports: list[Feedback] = []
        changed: list[Entry] = []
        for place in range(0, len(asked), CHUNK):
            for entry, request in await self._requests(asked[place : place + CHUNK]):
                status = "closed" if request.status.lower() == "closed" else "open"
                if cursor is not None and status == entry.status:
                    continue
                told, report = self._change(entry, status, request)
                changed.append(told)
                reports.extend(report)
        number = f"r{datetime.now(UTC).timestamp():.6f}"
        self._pending = (number, tuple(changed))
        return Poll(items=reports, cursor=number)

    def _change(self, entry: Entry, status: str, request: Request) -> tuple[Entry, list[Feedback]]:
        """The entry as it is once told, and what to tell: a request that is there has been taken, whatever came after."""
        again = status == "open" and entry.status == "closed"
        told = replace(entry, status=status, round=entry.round + again)
        steps = [("open", FeedbackKind.PROGRESS if told.round else FeedbackKind.ACCEPTED)]
        if status == "closed":
            steps.append(("closed", self._kind("closed", entry.key)))
        if status == entry.status or (entry.status == "open" and status == "closed"):
            steps = steps[-1:]
        return told, [
            Feedback(
                id=f"{entry.id}-{step}-{told.round}",
                kind=kind,
                key=entry.key,
                ticket=entry.ticket,
                at=request.updated_datetime if step == status else None,
                note=(request.status_notes if step == status else None) or _NOTES[kind],
            )
            for step, kind in steps
        ]

    async def _requests(self, entries: Sequence[Entry]) -> list[tuple[Entry, Request]]:
        """How these requests stand; those the server does not list are left out."""
        by_id = {entry.id: entry for entry in entries}
        if not by_id:
            return []
        ids = ",".join(id for id in by_id if id is not None)
        found = read(Request, await self._get("requests", {"service_request_id": ids}))
        return [(by_id[request.service_request_id], request) for request in found if request.service_request_id in by_id]

    def _kind(self, status: str, about: str) -> FeedbackKind:
        given = self._settings.statuses.get(status)
        return given if given is not None else self.words.kind(status, about=about)

    async def _get(self, resource: str, query: Mapping[str, str]) -> httpx.Response:
        return await self.http.get(f"{self._base}/{resource}.{self._settings.format}", params={**query, **self._common()})

    async def _post(self, resource: str, form: Mapping[str, str]) -> httpx.Response:
        key = next((value for name, value in form.items() if name == f"attribute[{self._settings.key_attribute}]"), None)
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        if key is not None:
            headers["Idempotency-Key"] = key
        body = urlencode({**form, **self._common()}).encode()
        return await self.http.post(f"{self._base}/{resource}.{self._settings.format}", content=body, headers=headers)

    def _common(self) -> dict[str, str]:
        """What every request carries: jurisdiction and key."""
        settings = self._settings
        common = {} if settings.jurisdiction_id is None else {"jurisdiction_id": settings.jurisdiction_id}
        if settings.api_key is not None:
            common["api_key"] = settings.api_key.get_secret_value()
        return common


def _read_cursor(cursor: str | None, beginning: datetime) -> tuple[datetime, dict[str, str]]:
    """(time of the latest update seen, ids seen near it → their times); raises AdapterFault for a foreign cursor."""
    if cursor is None or re.fullmatch(r"r[\d.]+", cursor):
        return beginning, {}
    try:
        known = json.loads(cursor)
        return datetime.fromisoformat(known["since"]), {str(id): str(at) for id, at in known["seen"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise AdapterFault(f"not a cursor of this adapter: {cursor[:80]!r}") from problem


def _filed(answer: httpx.Response) -> Filed:
    """What was filed; an answer that does not say it leaves open whether anything was: OutcomeUnknown."""
    try:
        found = read(Filed, answer)
    except AdapterFault as fault:
        raise OutcomeUnknown(fault.message) from fault
    if not found or not (found[0].service_request_id or found[0].token):
        raise OutcomeUnknown("the server gave neither a service_request_id nor a token")
    return found[0]


def _refusal(answer: httpx.Response) -> str:
    said = "；".join(reasons(answer))
    return f"对方系统不予受理：{said}"[:500] if said else f"对方系统不予受理（{answer.status_code}）"
